"""Models as this machine keeps them: folders that exist only when complete, with a manifest that tells of damage."""

import errno
import hashlib
import os
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from uuid import uuid4

from pairloop.errors import ModelError
from pairloop.files.records import file_sha256, read_json, write_json

MANIFEST = "manifest.json"
"""In each folder of the cache: the licence, and name and sha256 of every file as it was written."""


def cache_root() -> Path:
    """The machine-wide cache: $PAIRLOOP_CACHE, else ~/.cache/pairloop.

    Raises:
        ModelError: neither that variable nor a home is known.
    """
    try:
        return Path(os.environ.get("PAIRLOOP_CACHE") or Path.home() / ".cache" / "pairloop")
    except RuntimeError:
        raise ModelError("there is no home folder to keep models in: set PAIRLOOP_CACHE to a folder") from None


def files(folder: Path) -> list[Path]:
    """The files that make up a model: not what lies in folders beside them, nor hidden files, nor the manifest.

    Raises:
        ModelError: a file is a link that leads nowhere.
    """
    found = [path for path in sorted(folder.iterdir()) if not path.name.startswith(".") and path.name != MANIFEST]
    for path in found:
        if not path.exists():
            raise ModelError(
                f"{path}: is a link to {path.readlink()}, which does not exist. Restore that, or delete it"
            )
    return [path for path in found if path.is_file()]


def damaged(folder: Path) -> list[str]:
    """Names of files that are not as they were when the folder was made: missing, changed or additional.

    Told by the manifest of a folder of our cache, and in the hub's cache by the files' own names: a link leads to a
    file named by the sha256 of its content, or a small one's by git's sha1.
    """
    if (folder / MANIFEST).is_file():
        made: dict[str, str] = read_json(folder / MANIFEST)["files"]
        names = sorted({*made, *(path.name for path in files(folder))})
        return [name for name in names if not (folder / name).is_file() or file_sha256(folder / name) != made.get(name)]
    return [path.name for path in files(folder) if path.is_symlink() and not _is_what_its_name_says(path.resolve())]


def _is_what_its_name_says(blob: Path) -> bool:
    if re.fullmatch("[0-9a-f]{64}", blob.name):
        return file_sha256(blob) == blob.name
    if re.fullmatch("[0-9a-f]{40}", blob.name):
        content = blob.read_bytes()
        return hashlib.sha1(b"blob %d\0%b" % (len(content), content)).hexdigest() == blob.name
    return True


def once(folder: Path, fill: Callable[[Path], str]) -> str:
    """Make a folder under a temporary name, so that it exists only when complete; another process may be faster.

    Args:
        folder: with the permissions that the user gives new folders: others may read this cache too.
        fill: writes files into an empty folder, and returns their licence, which is returned.
    """
    if not folder.is_dir():
        from transformers.utils import logging

        logging.disable_progress_bar()
        partial = folder.with_name(f".partial-{uuid4().hex}")
        _make(partial)
        try:
            licence = fill(partial)
            for path in files(partial):
                path.chmod(partial.stat().st_mode & 0o666)  # some writers leave files to their owner alone
            made = {path.name: file_sha256(path) for path in files(partial)}
            write_json(partial / MANIFEST, {"licence": licence, "files": made})
            if not folder.is_dir():
                partial.rename(folder)
        finally:
            shutil.rmtree(partial, ignore_errors=True)
    if not (folder / MANIFEST).is_file():
        raise ModelError(
            f"{folder}: is not complete: it has no {MANIFEST}. Delete it and run again: it is fetched anew"
        )
    found: str = read_json(folder / MANIFEST)["licence"]
    return found


def _make(folder: Path) -> None:
    try:
        folder.mkdir(parents=True)
    except OSError as error:
        if error.errno == errno.ENOSPC:
            raise
        raise ModelError(
            f"{folder.parent}: models cannot be kept there ({error.strerror}). Set PAIRLOOP_CACHE to a folder that you "
            "may write to"
        ) from error
