"""The pipeline itself: real DVC on the real dvc.yaml, with the smoke recipe's tiny random model."""

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml
from conftest import Project, generation, new_project
from pairrm_data import write_checkpoints

Edit = Callable[[Project, str, object], None]
LOOP = ["prompts", "generate", "rank", "pair", "train", "eval"]


def stages(*names: str) -> set[str]:
    return set(names)


def from_train(first: int, last: int = 3) -> set[str]:
    """Everything that follows from training iteration `first` anew."""
    found = {f"train@{first}", f"eval@{first}", "report"}
    for n in range(first + 1, last + 1):
        found |= {f"{step}@{n}" for step in LOOP[1:]}
    return found


def test_a_second_repro_runs_nothing_in_five_seconds(project: Project) -> None:
    start = time.monotonic()
    found = project.run("dvc", "repro").stdout
    assert "Data and pipelines are up to date" in found and "Running stage" not in found
    assert time.monotonic() - start < 10  # 5 s on an idle machine; tests share theirs
    assert "up to date" in project.run("dvc", "status").stdout


def test_every_iteration_leaves_what_the_design_says(reproduced: Project) -> None:
    for n in (1, 2, 3):
        for name in ("prompts", "responses", "rankings"):
            assert (reproduced.folder / f"data/iteration_{n}/{name}.parquet").is_file()
        assert (reproduced.folder / f"models/iteration_{n}/adapter_model.safetensors").is_file()
    assert (reproduced.folder / "report/index.html").stat().st_size > 10_000
    outputs = json.loads((reproduced.folder / "results/iteration_2/model_outputs.json").read_text())
    assert list(outputs[0]) == ["instruction", "output", "generator", "dataset"]


def test_later_models_are_compared_with_the_answers_that_the_evaluation_of_the_base_wrote(reproduced: Project) -> None:
    locked = yaml.safe_load((reproduced.folder / "dvc.lock").read_text())["stages"]
    read = {n: {dep["path"] for dep in locked[f"eval@{n}"]["deps"]} for n in range(4)}
    assert "data/iteration_0/answers.parquet" in {out["path"] for out in locked["eval@0"]["outs"]}
    assert "data/eval.parquet" in read[0]
    for n in (1, 2, 3):
        before = {f"data/iteration_{m}/answers.parquet" for m in (0, n - 1)}
        assert {path for path in read[n] if path.endswith("answers.parquet")} == before
        assert "data/eval.parquet" not in read[n]


def test_every_model_is_measured_in_every_setting_beside_the_base_and_the_iteration_before(
    project: Project, tmp_path: Path
) -> None:
    weights = write_checkpoints(tmp_path / "pairrm")["hf"]
    asked = ["eval.temperatures=[1.0,0.7]", "eval.samples=2", "eval.best_of=2", "eval.extrapolate=[0.5]"]
    asked += [f"rankers.pairrm={weights}", "eval.judges=[specialist,pairrm]"]
    project.run("dvc", "exp", "run", *(word for change in asked for word in ("-S", change)))
    metrics = [json.loads((project.folder / f"results/iteration_{n}/metrics.json").read_text()) for n in range(4)]
    for n, model in enumerate(metrics):
        rows = [model, *model["further"]]
        settings = [(row["temperature"], row["samples"], row.get("best_of"), row.get("factor")) for row in rows]
        plain, moved = [(1.0, 2, None, None), (0.7, 2, None, None), (0.7, 1, 2, None)], (1.0, 1, None, 0.5)
        assert settings == (plain if n == 0 else [*plain, moved])
        for row in rows:
            rates = row["win_rate"]
            assert {judge: (rate["orders"], rate["teacher"]) for judge, rate in rates.items()} == {
                "specialist": (1, True),
                "pairrm": (2, False),
            }
            assert all(("previous" in rate) == (n > 1) for rate in rates.values())
            assert [both["judges"] for both in row["agreement"]] == [["specialist", "pairrm"]]
    found = project.run("dvc", "repro").stdout
    assert "Running stage" not in found


def test_rows_are_counted_in_out_and_dropped_and_add_up(reproduced: Project) -> None:
    for n in (1, 2, 3):
        for step in ("generate", "rank", "pair", "train"):
            found = json.loads((reproduced.folder / f"results/iteration_{n}/{step}.json").read_text())
            assert found["rows_in"] == found["rows_out"] + sum(found["dropped"].values()), (n, step)


def test_prompts_of_iterations_tests_teacher_and_evaluation_never_meet(reproduced: Project) -> None:
    import pyarrow.parquet as pq

    def ids(name: str) -> set[str]:
        return set(pq.read_table(reproduced.folder / f"data/{name}.parquet")["prompt_id"].to_pylist())

    slices = [ids(f"iteration_{n}/prompts") for n in (1, 2, 3)]
    assert len(set.union(*slices)) == sum(len(found) for found in slices)
    assert not set.union(*slices) & ids("eval")
    for n in (1, 2, 3):
        assert ids(f"train_iteration_{n}") and ids(f"test_iteration_{n}")
        assert not ids(f"train_iteration_{n}") & ids(f"test_iteration_{n}")


def test_the_splits_load_as_one_data_set(reproduced: Project, tmp_path: Path) -> None:
    import datasets

    found = datasets.load_dataset(str(reproduced.folder / "data"), cache_dir=str(tmp_path))
    names = [f"{split}_iteration_{n}" for n in (1, 2, 3) for split in ("train", "test")]
    assert list(found) == names
    assert found["train_iteration_1"].column_names[:4] == ["prompt_id", "prompt", "chosen", "rejected"]


PAIR = from_train(1) | stages("pair@1")
RANK = PAIR | stages("rank@1")
JUDGE = RANK | stages("eval@0")
TEACH = JUDGE | stages("teach")
GENERATE = RANK | stages("generate@1")
SLICES = GENERATE | {f"prompts@{n}" for n in (1, 2, 3)}
ALL = SLICES | TEACH | stages("base", "pool")
REFUSED = ALL - {"base"}
"""What follows from the pool, which these may refuse, but do not change: a real run goes on where they are read."""
EVAL = stages("eval@0", "eval@1", "eval@2", "eval@3", "report")


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        ("train.beta", 0.2, from_train(1)),
        ("train.average", 0.5, from_train(1)),
        ("pair.min_margin", 0.1, PAIR),
        ("teach.spoilers", 2, TEACH),
        ("teach.prompts", 9, REFUSED),
        ("teach.max_new_tokens", 13, REFUSED),
        ("encoder.epochs", 2, TEACH),
        ("rank.constraints_first", False, JUDGE),
        ("rank.constraints_first", "only", JUDGE),
        ("rank.loops_last", True, JUDGE),
        ("rank.echoes_last", True, JUDGE),
        ("rank.fewest_words", 2, JUDGE),
        ("rank.second", "likelihood", TEACH),
        ("rank.ranker", "likelihood", TEACH),
        ("rank.batch_tokens", 2048, TEACH),
        ("rankers.reward", "hf:owner/name@main", JUDGE),
        ("rankers.ensemble.likelihood", 2.0, TEACH),
        ("judge.temperature", 0.5, JUDGE),
        ("generate.temperature", 1.1, GENERATE),
        ("generate.temperature", [1.0, 0.7, 0.0], GENERATE),
        ("generate.engine", "vllm", GENERATE),
        ("vllm.enforce_eager", True, GENERATE | JUDGE),
        ("ray.actors", 2, GENERATE | EVAL),
        ("prompts.per_iteration", 7, SLICES),
        ("eval.bootstrap", 300, EVAL),
        ("eval.engine", "vllm", REFUSED),
        ("eval.max_new_tokens", 13, REFUSED),
        ("eval.judges", ["likelihood"], TEACH),
        ("eval.temperatures", [0.7, 1.0], EVAL),
        ("eval.samples", 2, EVAL),
        ("eval.judged", "unconstrained", EVAL),
        ("watch.kl", 2.0, EVAL),
        ("pool.near_duplicate", 0.9, ALL - {"base"}),
        ("seed", 1, ALL - {"base"}),
        ("base.dtype", "bfloat16", ALL),
    ],
)
def test_a_parameter_reruns_what_depends_on_it_and_nothing_else(
    project: Project, edit: Edit, name: str, value: object, expected: set[str]
) -> None:
    edit(project, name, value)
    assert project.would_run() == expected | {"schedule"}


def test_the_reports_look_reruns_the_report_only(project: Project) -> None:
    style = project.folder / "pairloop/report/style.css"
    style.write_text(style.read_text() + "\n/* wider */\n")
    assert project.would_run() == {"report"}


def test_the_sampler_reruns_sampling_and_an_error_message_reruns_nothing(project: Project) -> None:
    errors = project.folder / "pairloop/errors.py"
    errors.write_text(errors.read_text().replace("A user's mistake", "A person's mistake"))
    assert project.would_run() == set()
    sampler = project.folder / "pairloop/samplers/transformers.py"
    sampler.write_text(sampler.read_text() + "\n# faster\n")
    assert {"teach", "generate@1", "eval@0"} <= project.would_run()


def test_one_more_iteration_runs_only_the_new_one_and_going_back_runs_nothing(project: Project) -> None:
    found = project.run("dvc", "exp", "run", "-S", "iterations=4").stdout
    ran = {line.split("'")[1] for line in found.splitlines() if line.startswith("Running stage")}
    assert ran == {"schedule", *(f"{step}@4" for step in LOOP), "report"}
    assert "up to date" in project.run("dvc", "status").stdout
    shown = project.run("dvc", "exp", "show", "--csv", "--only-changed").stdout
    assert "iterations" in shown
    found = project.run("dvc", "exp", "run", "-S", "iterations=2").stdout
    ran = {line.split("'")[1] for line in found.splitlines() if line.startswith("Running stage")}
    assert ran <= {"schedule", "report"}
    assert not (project.folder / "models/iteration_4").exists()


def test_one_iteration_can_have_its_own_value(project: Project) -> None:
    found = project.run("dvc", "exp", "run", "-S", "++overrides.2.train.beta=0.3").stdout
    ran = {line.split("'")[1] for line in found.splitlines() if line.startswith("Running stage")}
    # What follows runs only as far as it differs: the tiny model may well say the same after another beta.
    assert stages("schedule", "train@2", "generate@3", "eval@2") <= ran <= from_train(2) | {"schedule"}
    lineage = [json.loads((project.folder / f"models/iteration_{n}/lineage.json").read_text()) for n in (1, 2, 3)]
    assert [found["parameters"]["beta"] for found in lineage] == [0.1, 0.3, 0.1]


def test_an_experiment_elsewhere_leaves_the_workspace_alone_and_can_be_applied(project: Project) -> None:
    found = project.run("dvc", "exp", "run", "--temp", "--name", "gentle", "-S", "++overrides.3.train.beta=0.9")
    assert "train@3" in found.stdout + found.stderr
    assert "up to date" in project.run("dvc", "status").stdout
    project.run("dvc", "exp", "apply", "gentle")
    assert "up to date" in project.run("dvc", "status").stdout
    assert yaml.safe_load((project.folder / "params.yaml").read_text())["overrides"]["3"]["train"]["beta"] == 0.9


def test_plots_are_drawn_from_the_report(project: Project) -> None:
    project.run("dvc", "plots", "show", "-o", "plots")
    page = (project.folder / "plots/index.html").read_text()
    assert "Win rate against the base model" in page and "Training loss" in page


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("iterations", 4, "python -m stages.schedule --write && dvc repro"),
        ("train.beta", -1, "train.beta is -1: it must be a number above 0"),
        ("train.betta", 0.2, "train.betta is no parameter: did you mean beta?"),
        ("trian.beta", 0.2, "trian is no parameter: did you mean train?"),
        ("eval.prompts", 5000, "eval.prompts is 5000, but data/prompts/eval.jsonl holds"),
        ("prompts.per_iteration", 5000, "lower prompts.per_iteration"),
        ("base.model", "no/such/folder", "base.model is no/such/folder: there is no file or folder"),
        ("pool.source", "data/none.jsonl", "pool.source is data/none.jsonl: there is no file or folder"),
    ],
)
def test_a_mistake_gives_one_message_and_leaves_finished_work(
    project: Project, edit: Edit, name: str, value: object, message: str
) -> None:
    before = project.md5s()
    model = (project.folder / "models/iteration_3/adapter_model.safetensors").read_bytes()
    edit(project, name, value)
    found = project.run("dvc", "repro", check=False)
    assert found.returncode != 0
    assert message in found.stdout + found.stderr
    assert "Traceback" not in found.stdout + found.stderr
    assert project.md5s().items() >= {k: v for k, v in before.items() if "iteration_3" in k}.items()
    assert (project.folder / "models/iteration_3/adapter_model.safetensors").read_bytes() == model
    project.run("git", "checkout", "--", "params.yaml")
    found = project.run("dvc", "repro").stdout
    # DVC empties the outputs of the stage that refused before it runs, so that one is run again, which takes seconds.
    assert {line for line in found.splitlines() if line.startswith("Running stage")} <= {
        f"Running stage '{stage}':" for stage in ("schedule", "pool", "prompts@1", "report")
    }
    assert project.md5s() == before


def test_a_damaged_file_between_stages_is_named(project: Project, edit: Edit) -> None:
    path = project.folder / "data/iteration_1/responses.parquet"
    content = path.read_bytes()
    path.unlink()
    path.write_bytes(content[:200])
    models = ["models/iteration_0", "models/iteration_0", "models/teacher"]
    files = ["data/iteration_1/prompts.parquet", "data/iteration_1/responses.parquet", "data/out.parquet"]
    verb = [sys.executable, "-m", "stages.rank", "--iteration", "1"]
    found = project.run(*verb, *models, *files, "a.json", "b.json", check=False)
    assert found.returncode == 1 and found.stderr.startswith(
        "Error: data/iteration_1/responses.parquet: cannot be read"
    )
    assert not (project.folder / "data/out.parquet").exists()


def test_a_killed_generation_goes_on_and_gives_the_same_bytes(project: Project) -> None:
    whole = (project.folder / "data/iteration_2/responses.parquet").read_bytes()
    scratch = project.folder / ".dvc/tmp/pairloop"
    for path in scratch.rglob("*"):
        if path.is_file():
            path.unlink()
    project.kill_generation_after_a_shard(generation("again.parquet"))
    assert not (project.folder / "again.parquet").exists()
    project.run(*generation("again.parquet"))
    assert (project.folder / "again.parquet").read_bytes() == whole


def test_an_interrupted_generation_says_so_without_a_traceback(project: Project, edit: Edit) -> None:
    edit(project, "generate.max_new_tokens", 1500)
    running = subprocess.Popen(
        generation("long.parquet"),
        cwd=project.folder,
        stderr=subprocess.PIPE,
        text=True,
        # A shell's background job ignores SIGINT, and so does what it starts: not here.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    scratch = project.folder / ".dvc/tmp/pairloop"
    known = len(list(scratch.rglob("*/*")))
    while len(list(scratch.rglob("*/*"))) == known:
        assert running.poll() is None
        time.sleep(0.005)
    running.send_signal(signal.SIGINT)
    _, shown = running.communicate()
    assert running.returncode != 0 and "Traceback" not in shown and "Aborted" in shown
    assert not (project.folder / "long.parquet").exists()


@pytest.mark.skipif(os.geteuid() != 0, reason="mounting a small file system needs root")
def test_a_full_disk_is_one_message_and_keeps_finished_shards(project: Project, edit: Edit) -> None:
    small = project.folder / ".dvc/tmp/pairloop"
    for path in sorted(small.rglob("*"), reverse=True):
        path.unlink() if path.is_file() else path.rmdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=4k", "none", str(small)], check=True)
    try:
        found = project.run(*generation("full.parquet"), check=False)
    finally:
        subprocess.run(["umount", str(small)], check=True)
    assert found.returncode == 1 and "the disk is full" in found.stderr and "Traceback" not in found.stderr
    assert not (project.folder / "full.parquet").exists()


def test_two_fresh_projects_give_the_same_md5_for_every_out(reproduced: Project, tmp_path: Path) -> None:
    other = new_project(tmp_path / "other")
    other.run("dvc", "repro")
    assert other.md5s() == reproduced.md5s()
    pages = [(project.folder / "report/index.html").read_text() for project in (reproduced, other)]
    assert len({without_times(page) for page in pages}) == 1


def without_times(page: str) -> str:
    """The report without what it says of durations: the section on time, and one of the facts at the top."""
    for part in (r'<section id="times".*?</section>', r"<dt>Time</dt><dd>.*?</dd>"):
        page, found = re.subn(part, "", page, flags=re.S)
        assert found == 1, part
    return page


def test_a_directory_remote_gives_a_clone_everything(project: Project, tmp_path: Path) -> None:
    project.run("dvc", "remote", "add", "-d", "mine", str(tmp_path / "remote"))
    project.commit("Use my remote")
    project.run("dvc", "push")
    subprocess.run(["git", "clone", "-q", str(project.folder), str(tmp_path / "clone")], check=True)
    clone = Project(tmp_path / "clone")
    clone.run("dvc", "pull")
    assert "up to date" in clone.run("dvc", "status").stdout
    assert "Running stage" not in clone.run("dvc", "repro").stdout
