"""Damage that DVC does not see: on the disk, in its cache, in what is published and in the machine's models."""

import os
import re
import shutil
from pathlib import Path

import pytest
from conftest import Project, new_project
from warm import Warm

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def begun(warm: Warm, tmp_path_factory: pytest.TempPathFactory) -> Project:
    """A project whose base and pool are made and published."""
    project = new_project(tmp_path_factory.mktemp("begun") / "project", warm)
    project.run("dvc", "repro", "base", "pool")
    project.run("dvc", "push")
    project.run("git", "add", "--force", "published")
    project.commit("Begin")
    return project


@pytest.fixture
def own(begun: Project, tmp_path: Path) -> Project:
    return begun.copy(tmp_path / "project")


def flip(path: Path) -> None:
    """Change one bit as a disk would: neither the time nor the mode of the file tells."""
    before, content = path.stat(), bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.chmod(0o644)
    path.write_bytes(content)
    path.chmod(before.st_mode)
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


def stored_as(project: Project, out: str, folder: str) -> Path:
    md5 = project.md5s()[out]
    return project.folder / folder / "files" / "md5" / md5[:2] / md5[2:]


def check(project: Project) -> tuple[int, str]:
    found = project.run("python", "-m", "stages.check", check=False)
    assert "Traceback" not in found.stderr
    return found.returncode, found.stdout + found.stderr


def test_what_is_sound_is_said_to_be(own: Project) -> None:
    assert check(own) == (0, "check: all that is here is as it was made\n")


def test_damage_to_a_file_does_not_reach_the_cache_and_checkout_repairs_it(own: Project) -> None:
    pool = own.folder / "data/pool.parquet"
    sound = pool.read_bytes()
    own.run("dvc", "checkout", "--relink", "data/pool.parquet")
    flip(pool)
    assert stored_as(own, "data/pool.parquet", ".dvc/cache").read_bytes() == sound
    pool.unlink()
    own.run("dvc", "checkout", "data/pool.parquet")
    assert pool.read_bytes() == sound


@pytest.mark.parametrize("places", [["."], [".", "cache"], ["cache", "published"], [".", "cache", "published"]])
def test_what_check_says_repairs_what_is_damaged(own: Project, places: list[str]) -> None:
    out = "data/pool.parquet"
    where = {
        ".": own.folder / out,
        "cache": stored_as(own, out, ".dvc/cache"),
        "published": stored_as(own, out, "published"),
    }
    sound = where["."].read_bytes()
    for place in places:
        flip(where[place])
    assert check(own)[0] == 1
    for command in re.findall(r": ((?:rm|dvc|git) [^(\n]*)", check(own)[1]):
        own.run("bash", "-c", command)
    assert check(own)[0] == 0
    own.run("dvc", "repro", "pool")
    assert {path.read_bytes() for path in where.values()} == {sound}


def test_a_push_without_a_remote_of_ones_own_stays_out_of_git_and_check_says_so(own: Project) -> None:
    (own.folder / "notes.txt").write_text("mine")
    own.run("dvc", "add", "notes.txt")
    own.commit("Note")
    before = own.run("git", "ls-files", "published").stdout
    own.run("dvc", "push", "notes.txt")
    own.commit("Nothing that was pushed")
    assert own.run("git", "ls-files", "published").stdout == before
    code, said = check(own)
    assert code == 1 and "published: 1 objects that no commit has" in said
    own.run("bash", "-c", said.split("Take them out: ")[1].splitlines()[0])
    assert check(own)[0] == 0
    assert own.run("git", "status", "--porcelain").stdout == ""


def test_a_damaged_object_is_not_pulled(own: Project) -> None:
    flip(stored_as(own, "data/pool.parquet", "published"))
    shutil.rmtree(own.folder / ".dvc/cache")
    (own.folder / "data/pool.parquet").unlink()
    assert own.run("dvc", "pull", "data/pool.parquet", check=False).returncode == 1
    assert not (own.folder / "data/pool.parquet").exists()


def test_a_damaged_model_of_the_machine_is_found_by_check_and_refused_by_base(own: Project, tmp_path: Path) -> None:
    settings = {"PAIRLOOP_CACHE": str(tmp_path / "cache")}
    base = ["python", "-m", "stages.base", "model", "times.json"]
    own.run(*base, env=settings)
    weights = next((tmp_path / "cache/models").glob("*/model.safetensors"))
    flip(weights)
    refused = own.run(*base, check=False, env=settings)
    assert refused.returncode == 1 and f"model.safetensors in {weights.parent}: damaged" in refused.stderr
    found = own.run("python", "-m", "stages.check", check=False, env=settings)
    assert f"{weights.parent}: damaged: model.safetensors. Delete the folder" in found.stdout
    shutil.rmtree(weights.parent)
    own.run(*base, env=settings)
