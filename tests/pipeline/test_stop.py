"""Real DVC: a run that collapses stops before its next iteration, with the reason."""

import sys
from pathlib import Path

import pytest
from conftest import Project, new_project
from warm import Warm

from pairloop.files import records

pytestmark = pytest.mark.slow

SMALL = ("iterations=2", "rank.ranker=likelihood", "eval.judges=[likelihood]")


def ran(project: Project, *command: str, fails: bool = False) -> tuple[set[str], str]:
    """The stages that a command of DVC ran, and all that it said."""
    found = project.run("dvc", *command, check=False)
    said = found.stdout + found.stderr
    assert (found.returncode != 0) == fails, said[-4000:]
    return {line.split("'")[1] for line in said.splitlines() if line.startswith("Running stage")}, said


def test_a_run_that_collapses_stops_before_the_next_iteration_with_the_reason(warm: Warm, tmp_path: Path) -> None:
    project = new_project(tmp_path / "project", warm)
    write = [sys.executable, "-m", "stages.schedule", "--write"]
    project.run(*write, *SMALL, "watch.stop=true", "train.learning_rate=0.1", "watch.kl=0.05", "watch.fewest=5")
    done, said = ran(project, "repro", fails=True)
    assert {"eval@0", "eval@1", "gate@1"} <= done
    assert not done & {"generate@2", "rank@2", "pair@2", "train@2", "eval@2", "report"}
    assert "iteration 1 is worse than iteration 0, and watch.stop is true, so iteration 2 does not begin" in said
    assert "- Estimated KL divergence from the base rose from iteration 0's 0.00 to " in said
    assert "Traceback" not in said

    again, said = ran(project, "repro", fails=True)
    assert again <= {"gate@1", "prompts@2"} and "iteration 2 does not begin" in said

    project.run(*write, "watch.stop=false")
    done, _ = ran(project, "repro")
    assert {"generate@2", "train@2", "eval@2", "report"} <= done and not done & {"gate@1", "train@1", "eval@1"}
    assert records.read_json(project.folder / "results/iteration_1/watch.json")["alarms"]
    assert not (project.folder / "results/iteration_1/gate.json").exists()
