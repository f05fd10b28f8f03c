"""Locks on files, which the kernel gives back when their process ends, however it ends."""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def shared(path: Path) -> Iterator[None]:
    """Hold a lock together with others who use the same; waits for one who holds it alone."""
    path.parent.mkdir(parents=True, exist_ok=True)
    file = _locked(path, fcntl.LOCK_SH)
    try:
        yield
    finally:
        os.close(file)


@contextmanager
def alone(path: Path) -> Iterator[bool]:
    """Hold a lock alone, if nobody holds it: whether that is so. Does not wait."""
    try:
        file = _locked(path, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        yield False
        return
    try:
        yield True
    finally:
        os.close(file)


def _locked(path: Path, mode: int) -> int:
    while True:
        file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
        try:
            fcntl.flock(file, mode)
        except BaseException:
            os.close(file)
            raise
        if os.fstat(file).st_nlink > 0:
            return file
        os.close(file)  # whoever held it alone has deleted it meanwhile: a lock on it would lock out nobody
