"""Too few prompts and too long ones are refused before anything is sampled."""

import sys
from pathlib import Path

import pytest
from conftest import Project, new_project
from warm import Warm

pytestmark = pytest.mark.slow


BASE = ["python", "-m", "stages.base", "models/iteration_0", "results/time/base.json"]
MADE = ["data/pool.parquet", "data/eval.parquet", "results/pool.json"]
POOL = ["python", "-m", "stages.pool", "models/iteration_0", *MADE]
PLAN = ["python", "-m", "stages.plan"]


@pytest.fixture
def fresh(warm: Warm, tmp_path: Path) -> Project:
    """A project that was not run."""
    return new_project(tmp_path / "project", warm)


def test_fewer_held_out_prompts_than_evaluation_answers_are_refused_when_they_are_read(fresh: Project) -> None:
    fresh.run(*BASE)
    fresh.run(*POOL)
    fresh.run(sys.executable, "-m", "stages.schedule", "--write", "eval.prompts=457")
    found = fresh.run(*POOL, check=False)
    assert found.returncode == 1
    assert found.stderr == (
        "Error: eval.prompts is 457, but data/prompts/eval.jsonl holds 456 different prompts that can be used: lower "
        "it or add prompts\n"
    )


def test_the_plan_of_more_iterations_than_the_pool_has_prompts_for_is_refused(fresh: Project) -> None:
    fresh.run(*BASE)
    fresh.run(*POOL)
    found = fresh.run(*PLAN, "prompts.per_iteration=5000", check=False)
    assert found.returncode == 1
    assert found.stderr.startswith("Error: iteration 1 needs prompts 1 to 5000, the pool has 1551 (of 1559; 8 are")


def test_prompts_that_leave_no_room_for_an_answer_are_refused_when_they_are_read_and_by_the_plan(
    fresh: Project,
) -> None:
    fresh.run(*BASE)
    fresh.run(*POOL)
    changes = ["eval.max_new_tokens=1990", "teach.max_new_tokens=1995"]  # of a context of 2048
    planned = fresh.run(*PLAN, *changes, check=False)
    fresh.run(sys.executable, "-m", "stages.schedule", "--write", *changes)
    found = fresh.run(*POOL, check=False)
    assert found.returncode == planned.returncode == 1
    assert found.stderr == planned.stderr
    assert "held-out prompts leave no room for eval.max_new_tokens (1990)" in found.stderr
    assert "that the teacher learns from leave no room for teach.max_new_tokens (1995)" in found.stderr
    assert "Traceback" not in found.stderr


def test_a_ranker_that_needs_no_teacher_asks_for_no_room(fresh: Project) -> None:
    changes = ["teach.max_new_tokens=2048", "rank.ranker=likelihood", "eval.judges=[likelihood]"]
    fresh.run(sys.executable, "-m", "stages.schedule", "--write", *changes)
    fresh.run(*BASE)
    fresh.run(*POOL)


def test_the_plan_of_another_base_asks_nothing_of_this_one(fresh: Project) -> None:
    fresh.run(*BASE)
    fresh.run(*POOL)
    fresh.run(*PLAN, "eval.max_new_tokens=1990", "base.model=random:1")


def test_every_iteration_gets_its_prompts_before_anything_is_sampled(fresh: Project) -> None:
    # A dry run stops at the first stage that reads what nobody has made yet.
    (fresh.folder / "models/iteration_0").mkdir(parents=True)
    (fresh.folder / "models/iteration_0/model.json").touch()
    (fresh.folder / "data/pool.parquet").touch()
    found = fresh.run("dvc", "repro", "--dry", check=False)
    order = [line.split("'")[1] for line in (found.stdout + found.stderr).splitlines() if "stage '" in line]
    assert order[:7] == ["schedule", "base", "pool", "prompts@1", "prompts@2", "prompts@3", "teach"]
