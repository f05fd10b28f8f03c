"""Checkpoints of a training run: found again only by the run that wrote them, and only when complete."""

import json
import re
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path
from typing import Any

import click

from pairloop.errors import DataError, TrainingError
from pairloop.files import records
from pairloop.models import references

_MARK = "complete.json"
_FINISHED = "finished.json"
_PACKAGES = ("torch", "transformers", "trl", "peft")

History = list[tuple[int, dict[str, float]]]
"""What a run has reported: the number of each step and its values."""


def packages(method: str) -> dict[str, str]:
    """Versions of the packages that decide what training by `train.method` gives."""
    return {name: version(name) for name in (*_PACKAGES, *(["bitsandbytes"] if method == "qlora" else []))}


@contextmanager
def owned(folder: Path) -> Iterator[Path]:
    """The folder of a job's checkpoints, for one process at a time; they are deleted when the job ends.

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
        for path in folder.glob("*"):
            if path.is_dir():
                shutil.rmtree(path)
            elif path.name != _FINISHED:
                path.unlink()
    except TrainingError:
        _forget(folder)  # the same steps from the same checkpoint would end at the same error
        raise
    finally:
        lock.release()


def place(scratch: Path, name: str, processes: int, config: str | None) -> Path:
    """Where the checkpoints of a job lie: only with as many processes as wrote them does it go on to the same bytes.

    Args:
        scratch: folder of all jobs.
        name: of the job.
        processes: how many train it.
        config: an accelerate config that starts them, or None.
    """
    started = f"-{records.file_sha256(Path(config))[:8]}" if config else ""
    folder = scratch / (name if processes == 1 and not config else f"{name}-{processes}{started}")
    others = sorted({path.parent for path in scratch.glob(f"{name}*/checkpoint-*")} - {folder})
    if others:
        click.echo(
            f"train: {others[0]} holds checkpoints of this training on other devices, which are left alone: going on "
            f"from them on {processes} would give the bytes of neither. Training starts anew. Train on as many devices "
            "as before to go on, or delete that folder.",
            err=True,
        )
    return folder


def _forget(folder: Path) -> None:
    shutil.rmtree(folder, ignore_errors=True)
    Path(f"{folder}.lock").unlink(missing_ok=True)


def finish(folder: Path, model: Path, metrics: Mapping[str, Any], log: History) -> None:
    """Leave in a job's folder how it went, for a run of the same job that waits; it knows `model` by its files."""
    finished = {"model": references.fingerprint(model), "metrics": metrics, "log": log}
    records.write_text(folder / _FINISHED, json.dumps(finished))


def finished(folder: Path, model: Path) -> tuple[dict[str, Any], History] | None:
    """Metrics and log of the run that made `model` from this very job; None if another job made it."""
    path = folder / _FINISHED
    found = records.read_json(path) if path.is_file() else None
    if found is None or found["model"] != references.fingerprint(model):
        return None
    return found["metrics"], [(step, values) for step, values in found["log"]]


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
    return {path.relative_to(checkpoint).as_posix(): records.file_sha256(path) for path in files}
