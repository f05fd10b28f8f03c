"""A dvc.lock that a kill cut is put back by the same command; no other is touched."""

import subprocess
import sys
from pathlib import Path

import pytest
from conftest import Project, dry_make, new_project
from dvc.dvcfile import Lockfile
from dvc.exceptions import DvcException
from dvc.repo import Repo

from pairloop.files import locks
from stages.lock import is_whole

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]
COMMITTED = (ROOT / "dvc.lock").read_text()
CUT = COMMITTED[: COMMITTED.index("md5:") + 3]


@pytest.fixture
def locked(tmp_path: Path) -> Project:
    """A project with a committed dvc.lock."""
    project = new_project(tmp_path / "project")
    (project.folder / "dvc.lock").write_text(COMMITTED)
    project.commit("Lock")
    return project


def put_back(project: Project, check: bool = True) -> "subprocess.CompletedProcess[str]":
    return project.run(sys.executable, "-m", "stages.lock", check=check)


def test_a_cut_lock_stops_dvc_and_is_put_back(locked: Project) -> None:
    lock = locked.folder / "dvc.lock"
    lock.write_text(CUT)
    assert locked.run("dvc", "status", "schedule", check=False).returncode != 0
    said = put_back(locked).stderr
    assert said.startswith("dvc.lock: cut, since DVC was killed while it wrote it; the committed one is back.")
    assert len(said.splitlines()) == 1
    assert lock.read_text() == COMMITTED
    assert (locked.folder / ".dvc/tmp/pairloop/dvc.lock.cut").read_text() == CUT
    locked.run("dvc", "status", "schedule")


def test_a_cut_lock_that_was_never_committed_is_begun_anew(locked: Project) -> None:
    locked.run("git", "rm", "-q", "dvc.lock")
    locked.commit("No lock")
    (locked.folder / "dvc.lock").write_text("")
    assert "DVC begins a new one" in put_back(locked).stderr
    assert not (locked.folder / "dvc.lock").exists()
    locked.run("dvc", "status", "schedule")


def test_a_whole_lock_a_missing_one_and_one_that_dvc_is_writing_are_left_alone(locked: Project) -> None:
    lock = locked.folder / "dvc.lock"
    whole = COMMITTED[: COMMITTED.index("  pool:")]  # what a first stage leaves, not committed
    lock.write_text(whole)
    assert put_back(locked).stderr == ""
    assert lock.read_text() == whole
    lock.write_text(CUT)
    with locks.alone(locked.folder / ".dvc/tmp/lock"):
        assert put_back(locked).stderr == ""
    assert lock.read_text() == CUT
    lock.unlink()
    assert put_back(locked).stderr == ""
    assert not lock.exists()


def test_a_merge_conflict_is_yours_to_decide(locked: Project) -> None:
    lock = locked.folder / "dvc.lock"
    conflict = f"<<<<<<< ours\n{COMMITTED}=======\n{COMMITTED}>>>>>>> theirs\n"
    lock.write_text(conflict)
    found = put_back(locked, check=False)
    assert found.returncode == 1
    assert "dvc.lock: holds a merge conflict" in found.stderr
    assert lock.read_text() == conflict


def test_what_dvc_notes_of_its_readers_may_be_cut_too(locked: Project) -> None:
    notes = locked.folder / ".dvc/tmp/rwlock"
    notes.parent.mkdir(parents=True, exist_ok=True)
    notes.write_text('{"read": {')
    put_back(locked)
    locked.run("dvc", "repro", "schedule", "--force")


def test_a_lock_is_whole_exactly_where_dvc_reads_it(tmp_path: Path) -> None:
    lock = tmp_path / "dvc.lock"
    with Repo.init(str(tmp_path), no_scm=True) as repo:
        for end in range(0, 1200, 7):
            lock.write_text(COMMITTED[:end])
            try:
                Lockfile(repo, str(lock)).load()
                read = True
            except DvcException:
                read = False
            assert is_whole(COMMITTED[:end]) == read, COMMITTED[:end][-60:]


def test_make_repro_looks_at_the_lock_first() -> None:
    shown = dry_make("repro", "--assume-old=.venv/installed").splitlines()
    assert [line.partition(" ")[2] for line in shown[-2:]] == ["python -m stages.lock", "dvc repro"]
