"""Facts about files and folders that parameters name: a change in them is seen, and reruns what depends on them."""

import json
import shutil
import sys
from pathlib import Path

import pytest
from conftest import ROOT, Project, new_project
from warm import Warm

from pairloop.models import fetch, references

pytestmark = pytest.mark.slow


@pytest.fixture
def fresh(warm: Warm, tmp_path: Path) -> Project:
    """A project on the smoke recipe that has not run."""
    return new_project(tmp_path / "project", warm)


def point(project: Project, *changes: str) -> None:
    """Change parameters as `dvc exp run -S` does."""
    project.run(sys.executable, "-m", "stages.schedule", "--write", *changes)


def modified(project: Project, *stages: str) -> dict[str, set[str]]:
    """The dependencies that differ from those a stage has run with, by stage."""
    status = json.loads(project.run("dvc", "status", "--json", *stages).stdout)
    deps = {stage: dep for stage, found in status.items() for part in found for dep in [part.get("changed deps", {})]}
    return {stage: {path for path, how in dep.items() if how == "modified"} for stage, dep in deps.items()}


def shipped(name: str) -> str:
    return (ROOT / "data/prompts" / name).read_text(encoding="utf-8")


def test_a_change_in_the_users_own_prompts_reruns_the_pool(fresh: Project, tmp_path: Path) -> None:
    mine, elsewhere = fresh.folder / "mine.jsonl", tmp_path / "held_out"
    mine.write_text(shipped("dev.jsonl"), encoding="utf-8")
    elsewhere.mkdir()
    (elsewhere / "a.jsonl").write_text(shipped("eval.jsonl"), encoding="utf-8")
    point(fresh, "pool.source=mine.jsonl", f"pool.eval_source={elsewhere}")
    fresh.run("dvc", "repro", "pool")
    assert modified(fresh, "pool") == {}
    line = json.dumps({"prompt": "What do hedgehogs do in winter?"})
    mine.write_text(f"{mine.read_text(encoding='utf-8')}{line}\n", encoding="utf-8")
    assert modified(fresh, "pool") == {"pool": {"mine.jsonl"}}
    fresh.run("dvc", "repro", "pool")
    assert json.loads((fresh.folder / "results/pool.json").read_text())["rows_out"] == 186
    (elsewhere / "b.jsonl").write_text(line, encoding="utf-8")
    assert modified(fresh, "pool") == {"pool": {str(elsewhere)}}
    fresh.run("dvc", "repro", "pool")
    assert json.loads((fresh.folder / "results/pool.json").read_text())["dropped"] == {"in_eval": 1}


def test_a_change_in_the_users_own_base_model_is_seen(fresh: Project) -> None:
    model = fresh.folder / "mine"
    shutil.copytree(fetch.fetch("random:0", None, references.cache_root()).folder, model)
    point(fresh, "base.model=mine")
    fresh.run("dvc", "repro", "base")
    assert modified(fresh, "base") == {}
    (model / "config.json").write_text((model / "config.json").read_text() + "\n")
    assert modified(fresh, "base") == {"base": {"mine"}}
    fresh.run("dvc", "repro", "base")
    assert modified(fresh, "base") == {}


def test_a_change_in_a_local_ranker_judge_or_preferences_reruns_what_reads_them(project: Project) -> None:
    paths = {"rankers.reward": "reward", "judge.model": "judge", "teach.preferences": "likes"}
    for path in paths.values():
        (project.folder / path).mkdir()
        (project.folder / path / "a.jsonl").write_text("1")
    point(project, *(f"{name}={path}" for name, path in paths.items()))
    project.run("dvc", "commit", "-f", "-q")  # as if all had run with them
    assert modified(project) == {}
    for path in paths.values():
        (project.folder / path / "a.jsonl").write_text("-1")
    judged = {*(f"rank@{n}" for n in (1, 2, 3)), *(f"eval@{n}" for n in range(4))}
    assert modified(project) == {"teach": {"likes"}} | {stage: {"judge", "reward"} for stage in judged}


def test_a_path_that_is_not_there_is_named_with_its_parameter(fresh: Project) -> None:
    point(fresh, "teach.preferences=likes.jsonl")
    found = fresh.run("dvc", "repro", check=False)
    message = "teach.preferences is likes.jsonl: there is no file or folder of that name"
    assert found.returncode != 0 and message in found.stderr


def test_a_path_that_only_the_project_and_not_its_temporary_copy_has_is_explained(fresh: Project) -> None:
    (fresh.folder / "mine.jsonl").write_text(shipped("dev.jsonl"), encoding="utf-8")
    run = ("dvc", "exp", "run", "--temp", "-S", "pool.source=mine.jsonl")
    found = fresh.run(*run, check=False)
    assert found.returncode != 0
    assert "pool.source is mine.jsonl" in found.stderr and "holds only what git tracks" in found.stderr
    fresh.run(*run, "--copy-paths", "mine.jsonl", "schedule", "pool")
