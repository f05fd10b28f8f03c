"""What a plan says of the stages is what DVC does, and it changes nothing."""

import sys

from tests.conftest import Project


def states(project: Project, *changes: str) -> dict[str, str]:
    """What `stages.due` says of each stage but the guard's."""
    lines = project.run(sys.executable, "-m", "stages.due", *changes).stdout.splitlines()
    found = dict(line.split(maxsplit=1) for line in lines)
    del found["schedule"]
    return found


def test_a_finished_run_is_there_and_a_change_runs_what_dvc_runs(reproduced: Project) -> None:
    before = {path: path.read_bytes() for name in ("params.yaml", "dvc.lock") for path in [reproduced.folder / name]}
    assert set(states(reproduced).values()) == {"there"}

    found = states(reproduced, "++overrides.2.train.beta=0.3")
    runs = {stage for stage, state in found.items() if state.startswith("runs")}
    assert found["train@2"].startswith("runs: ") and found["eval@2"] == "runs after train@2"
    third = {f"{verb}@3" for verb in ("generate", "rank", "pair", "train", "eval")}
    assert runs == {"train@2", "eval@2", *third, "report"}

    more = states(reproduced, "iterations=4")
    assert {stage for stage, state in more.items() if state.startswith("runs")} == {
        *("prompts@4", "generate@4", "rank@4", "pair@4", "train@4", "eval@4", "report")
    }
    assert states(reproduced, "pool.max_characters=3999")["pool"] == "runs: pool.max_characters"

    shown = reproduced.run(sys.executable, "-m", "stages.plan", "--price", "2.5")
    assert "0 of 23 stages" in shown.stdout and max(map(len, shown.stdout.splitlines())) <= 100
    assert all(path.read_bytes() == content for path, content in before.items())
    assert not reproduced.run("git", "status", "--porcelain", "--", "params.yaml", "dvc.lock").stdout


def test_what_left_the_workspace_runs_unless_it_is_brought_back(project: Project) -> None:
    """As `dvc repro`, which does not look for the output in its cache."""
    (project.folder / "data/iteration_1/rankings.parquet").unlink()
    found = states(project)
    assert found["rank@1"] == "runs unless pulled" and found["pair@1"] == "runs after rank@1"
    assert {stage for stage, state in found.items() if state.startswith("runs")} == project.would_run()
    project.run("dvc", "checkout", "data/iteration_1/rankings.parquet")
    assert set(states(project).values()) == {"there"}


def test_a_plan_that_cannot_go_says_what_stops_it_and_exits_with_1(project: Project) -> None:
    changed = ("+recipe=mistral-7b", "train.launcher=null")
    shown = project.run(sys.executable, "-m", "stages.plan", *changed, "--device", "8x H100 80GB", check=False)
    assert shown.returncode == 1
    assert "no-go    memory: train" in shown.stdout and "train.launcher" in shown.stdout
    assert max(map(len, shown.stdout.splitlines())) <= 100
    unknown = project.run(sys.executable, "-m", "stages.plan", "--device", "8x H1000", check=False)
    assert unknown.returncode == 1 and "RTX 4090 24GB" in unknown.stderr and "Traceback" not in unknown.stderr
