"""Too few prompts are refused before anything is sampled."""

import sys
from pathlib import Path

import pytest
from conftest import Project, new_project

pytestmark = pytest.mark.slow


@pytest.fixture
def fresh(tmp_path: Path) -> Project:
    """A project that was not run."""
    return new_project(tmp_path / "project")


def test_fewer_held_out_prompts_than_evaluation_answers_are_refused_when_they_are_read(fresh: Project) -> None:
    made = ["data/pool.parquet", "data/eval.parquet", "results/pool.json"]
    fresh.run(sys.executable, "-m", "stages.pool", *made)
    fresh.run(sys.executable, "-m", "stages.schedule", "--write", "eval.prompts=127")
    found = fresh.run(sys.executable, "-m", "stages.pool", *made, check=False)
    assert found.returncode == 1
    assert found.stderr == (
        "Error: eval.prompts is 127, but data/prompts/eval.jsonl holds 126 different prompts that can be used: lower "
        "it or add prompts\n"
    )


def test_every_iteration_gets_its_prompts_before_anything_is_sampled(fresh: Project) -> None:
    # A dry run stops at the first stage that reads what nobody has made yet.
    (fresh.folder / "models/iteration_0").mkdir(parents=True)
    (fresh.folder / "models/iteration_0/model.json").touch()
    (fresh.folder / "data/pool.parquet").touch()
    found = fresh.run("dvc", "repro", "--dry", check=False)
    order = [line.split("'")[1] for line in (found.stdout + found.stderr).splitlines() if "stage '" in line]
    assert order[:7] == ["schedule", "base", "pool", "prompts@1", "prompts@2", "prompts@3", "teach"]
