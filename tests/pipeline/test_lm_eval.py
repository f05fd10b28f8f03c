"""Tasks of lm-eval run on the models of the iterations that are named."""

import json
import sys
from pathlib import Path

import pytest
from conftest import Project, dry_make, new_project

from pairloop.errors import DataError
from pairloop.evaluation import harness
from pairloop.files.records import read_json

TASK = """
task: colours
dataset_path: json
dataset_kwargs: {data_files: {test: tasks/colours.jsonl}}
test_split: test
output_type: multiple_choice
doc_to_text: "{{question}}"
doc_to_choice: "{{choices}}"
doc_to_target: 0
num_fewshot: 0
metric_list:
  - {metric: acc, aggregation: mean, higher_is_better: true}
  - {metric: brier_score, aggregation: brier_score, higher_is_better: false}
metadata: {version: 1.0}
"""
RESULT = "results/iteration_0/lm_eval.json"


def compose(project: Project, *changes: str) -> None:
    project.run(sys.executable, "-m", "stages.schedule", "--write", *changes)


def with_task(folder: Path) -> Project:
    """A project on the smoke recipe with a task of its own."""
    project = new_project(folder)
    (project.folder / "tasks").mkdir()
    (project.folder / "tasks" / "colours.yaml").write_text(TASK)
    rows = [{"question": f"Which is colour {n}?", "choices": ["red", "seven", "often"]} for n in range(6)]
    (project.folder / "tasks" / "colours.jsonl").write_text("".join(f"{json.dumps(row)}\n" for row in rows))
    compose(project, "lm_eval.include_path=tasks", "lm_eval.limit=4")
    return project


@pytest.fixture(scope="module")
def ran(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """A project whose base has run the task, by the commands of `make lm-eval`."""
    project = with_task(tmp_path_factory.mktemp("lm_eval") / "project")
    project.run("dvc", "repro", "base")
    compose(project, "lm_eval.iterations=[0]", "lm_eval.tasks=[colours]")
    project.run("dvc", "repro", "--single-item", "lm_eval", env=away(project))
    return project


def away(project: Project) -> dict[str, str]:
    return {"HF_HUB_OFFLINE": "1", "HF_DATASETS_CACHE": str(project.folder.parent / "cache")}


@pytest.mark.clients
def test_a_local_task_gives_numbers_of_the_model_and_nothing_of_the_run(ran: Project) -> None:
    found = read_json(ran.folder / RESULT)
    own = found["colours"]
    assert set(found) == {"colours"} and (own["samples"], own["few_shot"], own["version"]) == (4, 0, 1.0)
    assert set(own["metrics"]) == {"acc", "acc_stderr", "brier_score"}
    assert 0 <= own["metrics"]["acc"] <= 1
    text = (ran.folder / RESULT).read_text()
    assert str(ran.folder) not in text and (ran.folder / "results/iteration_0/time/lm_eval.json").is_file()


@pytest.mark.clients
def test_the_same_model_gives_the_same_bytes(ran: Project) -> None:
    before = (ran.folder / RESULT).read_bytes()
    ran.run("dvc", "repro", "--force", "--single-item", "lm_eval@0", env=away(ran))
    assert (ran.folder / RESULT).read_bytes() == before
    assert "up to date" in ran.run("dvc", "status", "lm_eval@0").stdout


@pytest.mark.clients
def test_an_adapter_is_measured_on_its_base(ran: Project, tmp_path: Path) -> None:
    import torch
    from peft import LoraConfig, get_peft_model

    from pairloop.models import references

    project = ran.copy(tmp_path / "project")
    torch.manual_seed(0)
    config = LoraConfig(r=2, lora_alpha=64, target_modules=["q_proj", "v_proj", "down_proj"], init_lora_weights=False)
    base = references.load_model(project.folder / "models/iteration_0", "float32")
    get_peft_model(base, config).save_pretrained(project.folder / "models/iteration_1")
    compose(project, "lm_eval.iterations=[1]")
    project.run("dvc", "repro", "--single-item", "lm_eval", env=away(project))
    one, other = (read_json(project.folder / f"results/iteration_{n}/lm_eval.json")["colours"] for n in (0, 1))
    assert one["samples"] == other["samples"] and one["metrics"] != other["metrics"]


@pytest.mark.clients
@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("arc_eazy", "lm_eval.tasks: lm-eval has no task arc_eazy: did you mean arc_easy?"),
        ("zzzzzzzzzzzz", "lm_eval.tasks: lm-eval has no task zzzzzzzzzzzz: `lm_eval ls tasks` lists them."),
    ],
)
def test_a_task_that_there_is_not_is_named_with_the_nearest(name: str, message: str) -> None:
    with pytest.raises(DataError) as raised:
        harness.load([name], None)
    assert raised.value.message == message


@pytest.mark.clients
def test_a_task_whose_data_cannot_be_had_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "colours.yaml").write_text(TASK.replace("tasks/colours.jsonl", "none.jsonl"))
    with pytest.raises(DataError, match=r"lm_eval\.tasks: colours cannot be loaded \(.*\)\. Check the network"):
        harness.load(["colours"], str(tmp_path))


@pytest.mark.clients
def test_a_task_that_runs_what_the_model_writes_is_refused(tmp_path: Path) -> None:
    data = tmp_path / "colours.jsonl"
    data.write_text(json.dumps({"question": "?", "choices": ["a", "b"]}))
    (tmp_path / "colours.yaml").write_text(f"{TASK.replace('tasks/colours.jsonl', str(data))}\nunsafe_code: true\n")
    with pytest.raises(DataError, match="colours would run code that the model writes, which is not done here"):
        harness.load(["colours"], str(tmp_path))


def test_without_lm_eval_one_sentence_says_how_to_install_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "lm_eval.tasks", None)
    with pytest.raises(
        harness.EngineError, match=r"`make lm-eval` makes an environment .* pip install '\.\[lm-eval\]'"
    ):
        harness.load(["arc_easy"], None)


@pytest.mark.slow
def test_the_named_iterations_have_a_stage_and_no_others(tmp_path: Path) -> None:
    project = with_task(tmp_path / "project")
    compose(project, "lm_eval.iterations=[1,3]", "lm_eval.tasks=[colours]")
    listed = project.run("dvc", "stage", "list", "--name-only").stdout.split()
    assert [name for name in listed if name.startswith("lm_eval")] == ["lm_eval@1", "lm_eval@3"]


def make(*words: str) -> str:
    return dry_make("lm-eval", *words, f"PYTHON={sys.executable}")


def test_make_names_iteration_and_tasks_and_runs_only_them() -> None:
    said = make("ITERATION=3", "TASKS=arc_easy,boolq", "CHANGES=lm_eval.limit=4")
    assert '"lm_eval.iterations=[3]"' in said and '"lm_eval.tasks=[arc_easy,boolq]"' in said
    assert "stages.schedule --write lm_eval.limit=4 " in said and "dvc repro --single-item lm_eval" in said
    for words in (["ITERATION=3"], ["TASKS=boolq"]):
        assert "make lm-eval ITERATION=3 TASKS=hellaswag" in make(*words)
