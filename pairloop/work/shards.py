"""Work that survives a kill: fixed shards, each stored when finished, found again by what it was made from."""

import hashlib
import json
import os
import shutil
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from importlib.metadata import version
from itertools import islice
from pathlib import Path
from typing import Any, Protocol
from uuid import uuid4

import click

from pairloop.errors import DataError
from pairloop.files import disk, locks

Item = dict[str, Any]
Function = Callable[[Sequence[Item]], list[Item]]
Keyed = tuple[str, list[Item]]
"""A shard, or what became of it, and a name for it."""


class Elsewhere(Protocol):
    """Whoever computes shards outside this process."""

    @property
    def fingerprint(self) -> Item:
        """What decides the result there and not here; empty where it is the same."""
        ...

    def map(self, function: Function, shards: Iterable[Keyed]) -> Iterator[Keyed]:
        """Take all the shards in, then give what `function` makes of each, in any order."""
        ...


def seed_of(*parts: int | str) -> int:
    """A 64-bit seed that depends on nothing but `parts`: the first 8 bytes of their sha256."""
    return int.from_bytes(hashlib.sha256(_canonical(list(parts))).digest()[:8])


def versions(*packages: str) -> dict[str, str]:
    """The installed versions of packages whose code can change a result, for fingerprints."""
    return {package: version(package) for package in packages}


def shards(
    items: Iterable[Item],
    size: int,
    fingerprint: Item,
    function: Function,
    scratch: Path,
    elsewhere: Elsewhere | None = None,
) -> Iterator[list[Item]]:
    """Apply `function` to `items`, `size` at a time; a shard that an earlier run finished is read, not made again.

    A shard is the unit of determinism: its items are always computed together, in the same order, so a resumed run
    gives the same bytes as an unbroken one. Only one shard is in memory at a time.

    Args:
        items: what to work on; JSON values.
        size: items in a shard; the last may have fewer.
        fingerprint: whatever else decides the result: model checksums, parameters, versions. JSON values.
        function: makes a list of JSON values from one shard's items.
        scratch: folder for finished shards; those of one fingerprint share a folder, which `prune` spares meanwhile.
        elsewhere: where `function` is applied; None: here. A run may go on with another.
    """
    if elsewhere:
        folder = scratch / _sha256(fingerprint | elsewhere.fingerprint)
        with locks.shared(_lock(folder)):
            yield from _gathered(_cut(items, size), folder, function, elsewhere)
        return
    for done in together(items, size, {"": fingerprint}, lambda shard, _: {"": function(shard)}, scratch):
        yield done[""]


def together(
    items: Iterable[Item],
    size: int,
    fingerprints: Mapping[str, Item],
    function: Callable[[Sequence[Item], Sequence[str]], Mapping[str, list[Item]]],
    scratch: Path,
) -> Iterator[dict[str, list[Item]]]:
    """As `shards`, of several results at once: each is stored by itself, so that only what is missing is made.

    Args:
        items: what to work on; JSON values.
        size: items in a shard; the last may have fewer.
        fingerprints: by the results' names, as of `shards`.
        function: makes of one shard's items the results of these names, each a list of JSON values.
        scratch: folder for finished shards.
    """
    folders = {name: scratch / _sha256(fingerprint) for name, fingerprint in fingerprints.items()}
    with ExitStack() as held:
        for folder in folders.values():
            held.enter_context(locks.shared(_lock(folder)))
        for shard in _cut(items, size):
            places = {name: _place(folder, shard) for name, folder in folders.items()}
            stored = {name: _stored(place) for name, place in places.items()}
            done = {name: found for name, found in stored.items() if found is not None}
            missing = [name for name in folders if name not in done]
            made = function(shard, missing) if missing else {}
            for name in missing:
                _store(places[name], made[name])
            yield done | {name: made[name] for name in missing}


def _gathered(
    cut: Iterator[list[Item]], folder: Path, function: Function, elsewhere: Elsewhere
) -> Iterator[list[Item]]:
    """The shards in order, while `elsewhere` finishes them in any: each is stored when it comes."""
    places: list[Path] = []
    missing: set[Path] = set()

    def sent() -> Iterator[Keyed]:
        for shard in cut:
            places.append(_place(folder, shard))
            if places[-1] not in missing and _stored(places[-1]) is None:
                missing.add(places[-1])
                yield places[-1].name, shard

    coming = elsewhere.map(function, sent())
    for place in places:
        while place in missing:
            key, done = next(coming)
            _store(folder / key[:2] / key, done)
            missing.remove(folder / key[:2] / key)
        found = _stored(place)
        if found is None:
            raise DataError(f"{place}: stored a moment ago, and now missing or damaged. Look at the disk; run again.")
        yield found


def _cut(items: Iterable[Item], size: int) -> Iterator[list[Item]]:
    rest = iter(items)
    while shard := list(islice(rest, size)):
        yield shard


def _place(folder: Path, shard: Sequence[Item]) -> Path:
    key = _sha256(list(shard))
    return folder / key[:2] / key


def _lock(folder: Path) -> Path:
    return folder.with_name(f"{folder.name}.lock")


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
    partial = path.with_name(f"{path.name}.{uuid4().hex}.partial")
    with disk.writing(path.parent):
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            with partial.open("wb") as file:
                file.write(hashlib.sha256(content).hexdigest().encode() + b"\n" + content)
                file.flush()
                os.fsync(file.fileno())
            partial.replace(path)
        finally:
            partial.unlink(missing_ok=True)


def prune(scratch: Path, max_bytes: int) -> int:
    """Delete the files unused for longest until `max_bytes` are left; never one of work that a process is at.

    Work is a folder with a lock of its name beside it: the shards of one fingerprint, the checkpoints of one training.

    Returns:
        The number of bytes freed.
    """
    total = sum(path.stat().st_size for path in _files(scratch))
    freed = 0
    with ExitStack() as held:
        marked = [path.with_suffix("") for path in sorted(scratch.rglob("*.lock"))]
        idle = [folder for folder in marked if held.enter_context(locks.alone(_lock(folder)))]
        for path in sorted((p for folder in idle for p in _files(folder)), key=lambda p: p.stat().st_mtime):
            if total - freed <= max_bytes:
                break
            freed += path.stat().st_size
            path.unlink()
        for folder in idle:
            if not _files(folder):
                shutil.rmtree(folder, ignore_errors=True)
                _lock(folder).unlink(missing_ok=True)
    return freed


def _files(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.is_file()]


def _sha256(value: object) -> str:
    return hashlib.sha256(_canonical(value)).hexdigest()


def _canonical(value: object) -> bytes:
    return json.dumps(value, sort_keys=True, ensure_ascii=False, separators=(",", ":"), allow_nan=False).encode()
