"""Single files that others published: on this machine, in a data set on the Hugging Face hub, or on the web."""

import hashlib
import re
from pathlib import Path
from typing import Any
from uuid import uuid4

from pairloop.errors import DataError, first_line
from pairloop.files import disk

HUB_FILE = re.compile(r"hf:([\w.-]+/[\w.-]+)@([0-9a-f]{40})/([\w.-][\w./-]*)")
"""How a file in a data set on the hub is named: with the commit, since a branch may be other data tomorrow."""

_TIMEOUT = 60
"""Seconds that a server may be silent."""


def bring(reference: str, cache: Path, key: str = "") -> Path:
    """Where a file lies on this machine; one of the hub or the web is downloaded once.

    Args:
        reference: a path, `hf:owner/name@commit/path` or `https://…`.
        cache: folder for what comes from the web.
        key: the parameter that names it, for messages; empty: not said.

    Raises:
        DataError: there is no such file, or no network and no copy.
    """
    if reference.startswith("hf:"):
        return from_hub(reference, key)
    if reference.startswith("https:"):
        return _from_web(reference, cache, key)
    if not Path(reference).is_file():
        raise DataError(f"{_named(reference, key)}: there is no file of that name. {_ALLOWED}")
    return Path(reference)


_ALLOWED = "Allowed: a path, hf:owner/name@commit/path with 40 digits of a commit, https://…"


def from_hub(reference: str, key: str = "") -> Path:
    """As `bring`, of a file in a data set on the hub."""
    from httpx2 import HTTPError  # what huggingface_hub asks the hub with
    from huggingface_hub import hf_hub_download
    from huggingface_hub.errors import HFValidationError

    found = HUB_FILE.fullmatch(reference)
    if not found:
        raise DataError(f"{_named(reference, key)}: that is no file on the hub. {_ALLOWED}")
    try:
        return Path(hf_hub_download(found[1], found[3], revision=found[2], repo_type="dataset"))
    except (HFValidationError, HTTPError, OSError) as error:
        raise DataError(_unfetched(reference, key, error)) from error


def _from_web(address: str, cache: Path, key: str) -> Path:
    import requests

    name = re.sub(r"[^\w.-]", "_", address.rpartition("/")[2]) or "file"
    path = cache / "files" / hashlib.sha256(address.encode()).hexdigest()[:16] / name
    if path.is_file():
        return path
    try:
        answer: Any = requests.get(address, timeout=_TIMEOUT)
        answer.raise_for_status()
    except requests.RequestException as error:
        raise DataError(_unfetched(address, key, error)) from error
    partial = path.with_name(f".{name}.{uuid4().hex}.partial")
    with disk.writing(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            partial.write_bytes(answer.content)
            partial.replace(path)
        finally:
            partial.unlink(missing_ok=True)
    return path


def _unfetched(reference: str, key: str, error: Exception) -> str:
    return (
        f"{_named(reference, key)}: it cannot be fetched ({first_line(error)}). Check the name and the network, or "
        "name a file with a copy"
    )


def _named(reference: str, key: str) -> str:
    return f"{key} is {reference}" if key else reference
