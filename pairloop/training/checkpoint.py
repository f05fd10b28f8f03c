"""Checkpoints of a training run: found again only by the run that wrote them, and only when complete."""

import re
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path

import click

from pairloop.errors import DataError, TrainingError
from pairloop.files import records
from pairloop.models import references

_MARK = "complete.json"
_PACKAGES = ("torch", "transformers", "trl", "peft")


def packages() -> dict[str, str]:
    """Versions of the packages that decide what training gives."""
    return {name: version(name) for name in _PACKAGES}


@contextmanager
def owned(folder: Path) -> Iterator[Path]:
    """The folder of a job's checkpoints, for one process at a time; deleted when the job ends.

    Two experiments that differ only in what comes after training train the same job, perhaps at once. The second waits:
    it must not touch the first one's checkpoints.
    """
    from filelock import FileLock, Timeout

    folder.parent.mkdir(parents=True, exist_ok=True)
    lock = FileLock(f"{folder}.lock")
    try:
        lock.acquire(timeout=0)
    except Timeout:
        click.echo("train: another run is training the same; waiting until it ends", err=True)
        lock.acquire()
    try:
        yield folder
        _forget(folder)
    except TrainingError:
        _forget(folder)  # the same steps from the same checkpoint would end at the same error
        raise
    finally:
        lock.release()


def _forget(folder: Path) -> None:
    shutil.rmtree(folder, ignore_errors=True)
    Path(f"{folder}.lock").unlink(missing_ok=True)


def mark(checkpoint: Path) -> None:
    """Declare a checkpoint complete: the trainer writes its files one by one, and a kill may come between two.

    The mark holds every file's sha256, so that files damaged later are noticed as well.
    """
    records.write_json(checkpoint / _MARK, _checksums(checkpoint))


def newest(folder: Path) -> Path | None:
    """The complete checkpoint with the most steps, if there is one. Incomplete and damaged ones are deleted."""
    found = {int(path.name.split("-")[1]): path for path in folder.glob("checkpoint-*") if _named(path)}
    for _, path in sorted(found.items(), reverse=True):
        if _is_complete(path):
            return path
        click.echo(f"{path.name}: incomplete or damaged; training goes on from an earlier one", err=True)
        shutil.rmtree(path)
    return None


def _named(path: Path) -> bool:
    return re.fullmatch(r"checkpoint-\d+", path.name) is not None


def _is_complete(checkpoint: Path) -> bool:
    mark = checkpoint / _MARK
    try:
        marked: Mapping[str, str] = records.read_json(mark)
    except DataError:
        return False
    return marked == _checksums(checkpoint)


def _checksums(checkpoint: Path) -> dict[str, str]:
    files = sorted(path for path in checkpoint.rglob("*") if path.is_file() and path.name != _MARK)
    return {path.relative_to(checkpoint).as_posix(): references.file_sha256(path) for path in files}
