"""Work that survives a kill: fixed shards, each stored when finished, found again by what it was made from."""

import hashlib
import json
import os
import time
from collections.abc import Callable, Iterator, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

import click

Item = dict[str, Any]


def seed_of(*parts: int | str) -> int:
    """A 64-bit seed that depends on nothing but `parts`: the first 8 bytes of their sha256."""
    return int.from_bytes(hashlib.sha256(_canonical(list(parts))).digest()[:8])


def versions(*packages: str) -> dict[str, str]:
    """The installed versions of packages whose code can change a result, for fingerprints."""
    return {package: version(package) for package in packages}


def shards(
    items: Sequence[Item],
    size: int,
    fingerprint: Item,
    function: Callable[[Sequence[Item]], list[Item]],
    scratch: Path,
) -> Iterator[list[Item]]:
    """Apply `function` to `items`, `size` at a time; a shard that an earlier run finished is read, not made again.

    A shard is the unit of determinism: its items are always computed together, in the same order, so a resumed run
    gives the same bytes as an unbroken one.

    Args:
        items: what to work on; JSON values.
        size: items in a shard; the last may have fewer.
        fingerprint: whatever else decides the result: model checksums, parameters, versions. JSON values.
        function: makes a list of JSON values from one shard's items.
        scratch: folder for finished shards.
    """
    for start in range(0, len(items), size):
        shard = items[start : start + size]
        key = hashlib.sha256(_canonical([fingerprint, list(shard)])).hexdigest()
        path = scratch / key[:2] / key
        done = _stored(path)
        if done is None:
            done = function(shard)
            _store(path, done)
        yield done


def _stored(path: Path) -> list[Item] | None:
    try:
        checksum, _, content = path.read_bytes().partition(b"\n")
    except FileNotFoundError:
        return None
    if hashlib.sha256(content).hexdigest().encode() != checksum:
        click.echo(f"{path.name[:12]}: a stored shard is damaged; it is computed again", err=True)
        return None
    os.utime(path)
    found: list[Item] = json.loads(content)
    return found


def _store(path: Path, result: list[Item]) -> None:
    content = _canonical(result)
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f"{path.name}.{os.getpid()}.partial")
    try:
        with partial.open("wb") as file:
            file.write(hashlib.sha256(content).hexdigest().encode() + b"\n" + content)
            file.flush()
            os.fsync(file.fileno())
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)


def prune(scratch: Path, max_bytes: int, idle_seconds: float = 3600) -> int:
    """Delete the shards unused for longest until `max_bytes` are left; never one used in the last `idle_seconds`.

    Returns:
        The number of bytes freed.
    """
    files = sorted((p for p in scratch.rglob("*") if p.is_file()), key=lambda p: p.stat().st_mtime)
    total = sum(p.stat().st_size for p in files)
    freed = 0
    for path in files:
        if total - freed <= max_bytes or time.time() - path.stat().st_mtime < idle_seconds:
            break
        freed += path.stat().st_size
        path.unlink()
    return freed


def _canonical(value: object) -> bytes:
    return json.dumps(value, sort_keys=True, ensure_ascii=False, separators=(",", ":"), allow_nan=False).encode()
