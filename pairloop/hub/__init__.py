"""What goes to the Hugging Face hub: the files of a folder, each known by its name, as one commit."""

import hashlib
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from pairloop.errors import DataError
from pairloop.files import records


@dataclass(frozen=True)
class File:
    """A file that is uploaded."""

    name: str
    """Its path on the hub."""

    content: Path | bytes
    """Where it lies, or what it holds."""

    size: int
    """In bytes."""

    sha256: str
    """In hex."""


@dataclass(frozen=True)
class Target:
    """A repository on the hub and a branch of it."""

    repository: str
    """owner/name"""

    kind: Literal["model", "dataset"]

    revision: str = "main"
    """A branch, which is made where it is not there."""

    private: bool = False
    """Whether only its owner may see it."""

    def __str__(self) -> str:
        return f"hf:{self.repository}@{self.revision}"


_REPOSITORY = re.compile(r"hf:([A-Za-z0-9](?:[\w.-]*[A-Za-z0-9])?/[A-Za-z0-9](?:[\w.-]*[A-Za-z0-9_])?)", re.ASCII)
_BRANCH = re.compile(r"[A-Za-z0-9][\w./-]*", re.ASCII)


def target(text: str, kind: Literal["model", "dataset"], revision: str, private: bool) -> Target:
    """What `hf:owner/name` and a branch mean.

    Raises:
        DataError: they are no such names.
    """
    found = _REPOSITORY.fullmatch(text)
    if not found or "--" in text or ".." in text or text.endswith(".git"):
        raise DataError(f"--to {text}: that is no repository on the hub. Needed: hf:owner/name")
    if not _BRANCH.fullmatch(revision) or ".." in revision or revision.endswith(("/", ".lock")):
        raise DataError(f"--revision {revision}: that is no name of a branch. Needed: letters, digits, . _ - and /")
    return Target(found[1], kind, revision, private)


MODEL = re.compile(
    r"README\.md|(lineage|config|generation_config|adapter_config)\.json"
    r"|adapter_model\.safetensors|model(-\d+-of-\d+)?\.safetensors|model\.safetensors\.index\.json"
    r"|tokenizer[\w.-]*\.(json|model)(\.v\d+)?|(special_tokens_map|added_tokens|vocab)\.json|vocab\.txt|merges\.txt"
    r"|chat_template[\w.-]*\.(jinja|json)"
)
"""Names of a model's files."""

EXPORT = re.compile(MODEL.pattern + r"|[\w.-]+\.gguf")
"""Likewise of an export's."""

DATA = re.compile(r"README\.md|(train|test)_iteration_\d+\.parquet")
"""Likewise of what a data set consists of."""


def files(folder: Path, names: re.Pattern[str], beside: re.Pattern[str] | None = None) -> list[Path]:
    """The files of a folder, by name.

    Args:
        folder: where they lie.
        names: those that they may have.
        beside: names of files and folders that may lie there too, and are not listed.

    Raises:
        DataError: there is no such folder, it has no such file, or it has something that has none of these names.
    """
    if not folder.is_dir():
        raise DataError(f"{folder}: no such folder. `dvc pull` brings what is committed, `dvc repro` makes it.")
    found = [path for path in sorted(folder.iterdir()) if not (beside and beside.fullmatch(path.name))]
    if strange := [path for path in found if not (path.is_file() and names.fullmatch(path.name))]:
        raise DataError(
            f"{strange[0]}: that is nothing that a run writes there, so that nothing is uploaded. Move it away."
        )
    if not any(path.suffix in (".safetensors", ".parquet", ".gguf") for path in found):
        raise DataError(f"{folder}: it has no weights and no rows. `dvc pull` brings what is committed.")
    return found


def file(name: str, content: Path | bytes) -> File:
    """A file with its size and checksum."""
    if isinstance(content, bytes):
        return File(name, content, len(content), hashlib.sha256(content).hexdigest())
    return File(name, content, content.stat().st_size, records.file_sha256(content))
