"""The published run, and what `make publish` refuses."""

import subprocess
import sys
from pathlib import Path

import pytest
from conftest import Project

from pairloop.params import reading
from stages import publish

ROOT = Path(__file__).parents[2]
PUBLISH = (sys.executable, "-m", "stages.publish")


def test_a_run_that_is_not_committed_is_refused(project: Project) -> None:
    (project.folder / "note.txt").write_text("new")
    found = project.run(*PUBLISH, check=False)
    assert found.returncode == 1 and "not committed" in found.stderr and "note.txt" in found.stderr
    assert not (project.folder / "published").exists()


def test_a_run_that_is_not_up_to_date_is_refused(project: Project) -> None:
    params = project.folder / "params.yaml"
    params.write_text(params.read_text().replace("beta: 0.1", "beta: 0.2"))
    project.commit("Change beta without running")
    found = project.run(*PUBLISH, check=False)
    assert found.returncode == 1 and "the run is not clean" in found.stderr


def test_a_clone_pulls_the_published_run_without_set_up(project: Project, tmp_path: Path) -> None:
    found = project.run(*PUBLISH, check=False)
    assert found.returncode == 1 and "conf/published.yaml now holds this run's parameters" in found.stderr
    project.run("dvc", "repro")
    project.commit("Say in the report that this is the published run")
    page = (project.folder / "report" / "index.html").read_text(encoding="utf-8")
    assert "Every parameter is as in the published run." in page
    project.run(*PUBLISH)
    project.commit("Publish")
    assert project.run("git", "status", "--porcelain").stdout == ""
    subprocess.run(["git", "clone", "-q", str(project.folder), str(tmp_path / "clone")], check=True)
    clone = Project(tmp_path / "clone")
    clone.run("dvc", "pull")
    assert "up to date" in clone.run("dvc", "status").stdout
    assert "Running stage" not in clone.run("dvc", "repro").stdout


def test_the_report_compares_with_the_parameters_of_the_committed_run() -> None:
    run = reading.mapping((ROOT / "params.yaml").read_text(encoding="utf-8"), "params.yaml")
    assert (ROOT / publish.PARAMETERS).read_text(encoding="utf-8") == publish.parameters(run), "run `make publish`"


@pytest.mark.slow
def test_the_published_run_of_this_repository_is_whole_and_small(tmp_path: Path) -> None:
    files = [path for path in (ROOT / "published").rglob("*") if path.is_file()]
    assert sum(path.stat().st_size for path in files) <= 25_000_000
    subprocess.run(["git", "clone", "-q", str(ROOT), str(tmp_path / "clone")], check=True)
    clone = Project(tmp_path / "clone")
    clone.run("dvc", "pull")
    assert "up to date" in clone.run("dvc", "status").stdout
    assert "Running stage" not in clone.run("dvc", "repro").stdout
