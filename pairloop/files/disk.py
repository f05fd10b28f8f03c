"""A disk that is full, or a place that nobody may write to: one sentence that names it, whatever a library calls it."""

import errno
import os
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from pairloop.errors import PairloopError

_FULL = (errno.ENOSPC, errno.EDQUOT)
_FORBIDDEN = (errno.EACCES, errno.EPERM, errno.EROFS)
# What safetensors says, and torch.save, whose archive is shorter than it must be.
_SAID = ("No space left on device", "PytorchStreamWriter failed writing", "inline_container.cc")
_NO_TEMPORARY = "No usable temporary directory"


@contextmanager
def writing(place: Path, *kinds: type[Exception]) -> Iterator[None]:
    """Name the disk that is full, should one be.

    Args:
        place: file or folder that the block writes: what is named where the error names no other.
        kinds: what a library that writes there raises instead of an OSError.

    Raises:
        PairloopError: the disk is full.
    """
    caught: tuple[type[Exception], ...] = (OSError, *kinds)
    try:
        yield
    except caught as error:
        if not _is_full(error):
            raise
        raise PairloopError(_full(_named(error) or place)) from error


def problem(error: OSError, places: Sequence[Path]) -> str | None:
    """The sentence for a disk that is full or a place that is forbidden; None for any other error.

    Args:
        error: what was raised.
        places: where this program writes. The one with the least space is named where the error names none.
    """
    named = _named(error)
    if _is_full(error):
        return _full(named or min(places, key=_free))
    if error.errno in _FORBIDDEN and named:
        return (
            f"{named}: {error.strerror}. Change who may read and write there, or who runs this; "
            "PAIRLOOP_CACHE and TMPDIR say where models and temporary files lie."
        )
    if _NO_TEMPORARY in str(error):
        return "TMPDIR: no temporary file can be written there, nor in /tmp. Set TMPDIR to a folder with space."
    return None


def _named(error: Exception) -> Path | None:
    """What an error says was written: of a copy, the first name is what was read and the second what was written."""
    name = getattr(error, "filename2", None) or getattr(error, "filename", None)
    return Path(os.fsdecode(name)) if name else None


def _full(place: Path) -> str:
    free = _free(place) / 1e6
    return f"the disk is full ({place}; {free:.1f} MB free). Free some space and run again: finished work is kept."


def _is_full(error: BaseException | None) -> bool:
    """Whether it, or what it was raised upon, says so."""
    while error is not None:
        if getattr(error, "errno", None) in _FULL or any(said in str(error) for said in _SAID):
            return True
        error = error.__cause__ or error.__context__
    return False


def _free(place: Path) -> int:
    """Bytes left on the disk of a place, which need not exist yet."""
    while not place.exists():
        place = place.absolute().parent
    return shutil.disk_usage(place).free
