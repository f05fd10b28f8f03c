"""Looking through what was written, tables unpacked, for words that must not be there."""

import io
import json
import socket
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from conftest import PEOPLE, ROOT, Project


def texts(content: bytes) -> Iterator[bytes]:
    """A file's bytes, and what a table holds unpacked."""
    yield content
    if content[:4] == b"PAR1":
        import pyarrow.parquet as pq

        table = pq.read_table(io.BytesIO(content))
        yield json.dumps(table.to_pylist(), ensure_ascii=False).encode()
        yield repr(pq.read_metadata(io.BytesIO(content)).metadata).encode()


def holding(folder: Path, *words: str) -> dict[str, set[str]]:
    """The files in a folder, or the one file, that hold one of the words, and which."""
    paths = [folder] if folder.is_file() else [path for path in sorted(folder.rglob("*")) if path.is_file()]
    found = {
        str(path): {word for text in texts(path.read_bytes()) for word in words if word.encode() in text}
        for path in paths
    }
    return {path: own for path, own in found.items() if own}


def machine(project: Project) -> list[str]:
    """Places of this machine, its name and its user's: none may be in what others see."""
    places = {project.folder, project.made_in, ROOT, Path.home(), Path(tempfile.gettempdir()), Path(sys.prefix)} - {
        Path("/")
    }
    names = {*PEOPLE.values(), socket.gethostname()} - {"localhost"}
    return [
        *(f"{place}/" for place in places),
        str(project.folder),
        str(project.made_in),
        *(name for name in names if len(name) > 5),
    ]
