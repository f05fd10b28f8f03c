"""A full disk and a forbidden place are one sentence that names them."""

import errno
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from pairloop.errors import PairloopError
from pairloop.files import disk, records
from stages import common

FULL = Path("/dev/full")
"""What Linux has in place of a disk without space."""


def said(tmp_path: Path, raised: OSError) -> str | None:
    return disk.problem(raised, (tmp_path,))


@pytest.mark.skipif(os.geteuid() != 0, reason="mounting a small file system needs root")
def test_of_a_copy_the_disk_that_is_written_is_named_not_the_one_that_is_read(tmp_path: Path, small_disk: Path) -> None:
    (tmp_path / "source").write_bytes(bytes(100_000))
    with pytest.raises(OSError, match="No space") as found:
        shutil.copyfile(tmp_path / "source", small_disk / "copy")
    assert found.value.filename == str(tmp_path / "source")
    assert str(said(tmp_path, found.value)).startswith(f"the disk is full ({small_disk}/copy; ")


def test_where_an_error_names_no_file_the_place_with_the_least_space_is_named(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="No space") as found, FULL.open("wb", buffering=0) as file:
        file.write(b"much")
    assert found.value.filename is None
    small = Path("/sys/kernel")  # a file system without any space
    assert disk.problem(found.value, (tmp_path, small, tmp_path)) == (
        f"the disk is full ({small}; 0.0 MB free). Free some space and run again: finished work is kept."
    )
    assert str(said(tmp_path / "not" / "made", found.value)).startswith(f"the disk is full ({tmp_path}/not/made; ")


def test_a_block_that_writes_names_its_place_and_lets_other_errors_pass(tmp_path: Path) -> None:
    with pytest.raises(PairloopError, match=r"the disk is full \(.*/mine; "), disk.writing(tmp_path / "mine"):
        FULL.write_text("much")
    with pytest.raises(FileNotFoundError), disk.writing(tmp_path):
        (tmp_path / "missing").read_text()
    with pytest.raises(RuntimeError, match="mine"), disk.writing(tmp_path, RuntimeError):
        raise RuntimeError("mine")


@pytest.mark.skipif(os.geteuid() != 0, reason="mounting a small file system needs root")
def test_a_disk_that_fills_while_records_are_written_is_named(small_disk: Path) -> None:
    prompt = {"prompt_id": "0", "prompt": os.urandom(50_000).hex(), "source": "here", "constraints": None}
    for write_to in (
        lambda path: records.write(path, records.PROMPT, [[prompt]]),
        lambda path: records.write_json(path, prompt),
        lambda path: records.write_text(path, prompt["prompt"]),
    ):
        with pytest.raises(PairloopError, match=rf"^the disk is full \({small_disk}/out; .* Free some space"):
            write_to(small_disk / "out")
        assert not list(small_disk.iterdir())


def test_of_records_that_come_from_elsewhere_the_disk_that_is_full_there_is_named(tmp_path: Path) -> None:
    def rows() -> Iterator[list[records.Row]]:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), "/elsewhere/file")
        yield []

    with pytest.raises(PairloopError, match=r"^the disk is full \(/elsewhere/file; "):
        records.write(tmp_path / "out", records.PROMPT, rows())


@click.command(cls=common.Verb)
@click.argument("path", type=Path)
def write(path: Path) -> None:
    path.write_text("text")


def test_a_verb_says_in_a_sentence_that_a_place_is_forbidden() -> None:
    # A parameter of the kernel that not even root may set.
    place = "/proc/sys/kernel/ostype"
    found = CliRunner().invoke(write, [place])
    assert found.exit_code == 1
    assert found.output.startswith(f"Error: {place}: ")
    assert "Change who may read and write there" in found.output
    assert len(found.output.splitlines()) == 1


def test_no_place_for_temporary_files_is_a_sentence(tmp_path: Path) -> None:
    raised = FileNotFoundError(2, "No usable temporary directory found in ['/tmp']")
    assert "Set TMPDIR to a folder" in str(said(tmp_path, raised))
    assert said(tmp_path, FileNotFoundError(2, os.strerror(2), "file")) is None
