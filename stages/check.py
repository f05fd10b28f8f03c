"""check: verify by checksum everything that is at hand, and say what to do about what is damaged.

DVC does not look at a file again that it believes to know: this reads every byte.
"""

import hashlib
import json
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click

from pairloop.errors import DataError, ModelError, PairloopError
from pairloop.files.records import read_json
from pairloop.models import references, stored
from stages import common

PUBLISHED = Path("published")
LOCK = Path("dvc.lock")

Problem = tuple[Path, str]
"""What is damaged, and a sentence or two on that and on what to do."""


@click.command(cls=common.Verb)
def main() -> None:
    """Verify DVC's cache, the run's files, published/ and the models of this machine."""
    cache = _cache()
    broken = {path.resolve() for folder in (cache, PUBLISHED) for path in damaged_objects(folder)}
    problems = [*_objects(cache), *_published(), *_strays(), *_workspace(cache, broken), *_models()]
    for path, remedy in problems:
        click.echo(f"{path}: {remedy}")
    if problems:
        raise PairloopError(
            f"check: {len(problems)} damaged or out of place. Do what is said above, in this order, then check again."
        )
    click.echo("check: all that is here is as it was made")


def damaged_objects(folder: Path) -> list[Path]:
    """Objects of a DVC cache, or of a remote that is a folder, whose content is not what their name says."""
    found = sorted((folder / "files" / "md5").glob("[0-9a-f][0-9a-f]/*"))
    return [path for path in found if path.is_file() and _named(path) != _md5(path)]


def _named(path: Path) -> str:
    return f"{path.parent.name}{path.name.removesuffix('.dir')}"


def _md5(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "md5").hexdigest()


def _cache() -> Path:
    found = subprocess.run(["dvc", "cache", "dir"], capture_output=True, text=True)
    if found.returncode:
        raise PairloopError(f"check: `dvc cache dir` failed:\n{found.stderr.strip()}")
    return Path(found.stdout.strip())


def _objects(cache: Path) -> Iterator[Problem]:
    for path in damaged_objects(cache):
        yield path, f"damaged. Delete it: rm -f {path} (`dvc pull` or `dvc repro` brings back what the run needs)"


def _published() -> Iterator[Problem]:
    for path in damaged_objects(PUBLISHED):
        yield path, f"damaged. Take it from git again: rm -f {path} && git checkout -- {path}"


def _strays() -> Iterator[Problem]:
    """What a `dvc push` without a remote of one's own left: git ignores it, so that it is nobody else's."""
    command = ["git", "ls-files", "--others", str(PUBLISHED)]
    found = subprocess.run(command, capture_output=True, text=True).stdout.splitlines()
    if found:
        yield (
            PUBLISHED,
            f"{len(found)} objects that no commit has. `dvc push` put them there, and nobody gets them: add a remote "
            f"of your own (docs/remotes.md) and push to it. Take them out: git clean -fdX {PUBLISHED}",
        )


def _workspace(cache: Path, broken: set[Path]) -> Iterator[Problem]:
    """The outs that lie in the workspace and differ from dvc.lock, by damage or by an edit."""
    for stage, out in outs():
        path, md5 = Path(out["path"]), out["md5"]
        if path.exists() and _content(path) != md5:
            yield path, f"not what dvc.lock names: {_remedy(stage, path, md5, cache, broken)}"


def _remedy(stage: str, path: Path, md5: str, cache: Path, broken: set[Path]) -> str:
    if _sound(cache, md5, broken):
        return f"rm -r {path} && dvc checkout {path}"
    if _sound(PUBLISHED, md5, broken):
        return f"rm -r {path} && dvc pull --remote published {path}"
    if subprocess.run(["git", "ls-files", "--error-unmatch", path], capture_output=True).returncode == 0:
        return f"git checkout -- {path}, if it is not meant to differ"
    return f"dvc repro --force --single-item {stage}"


def _sound(folder: Path, md5: str, broken: set[Path]) -> bool:
    """Whether an object is in the folder, with all those that it lists, and none of them is damaged."""
    path = folder / "files" / "md5" / md5[:2] / md5[2:]
    if not path.is_file() or path.resolve() in broken:
        return False
    listed = json.loads(path.read_bytes()) if md5.endswith(".dir") else []
    return all(_sound(folder, entry["md5"], broken) for entry in listed)


def outs() -> Iterator[tuple[str, dict[str, Any]]]:
    """The stage and entry of every out in dvc.lock."""
    import yaml

    if not LOCK.is_file():
        return
    try:
        stages = yaml.safe_load(LOCK.read_text(encoding="utf-8"))["stages"]
        yield from [(name, out) for name, stage in stages.items() for out in stage.get("outs", [])]
    except (yaml.YAMLError, UnicodeDecodeError, KeyError, TypeError, AttributeError):
        raise DataError(f"{LOCK}: cannot be read. Take it from git again: git checkout -- {LOCK}") from None


def _content(path: Path) -> str:
    """What DVC calls a file's or folder's md5."""
    if path.is_file():
        return _md5(path)
    files = sorted((file.relative_to(path).parts, file) for file in path.rglob("*") if file.is_file())
    listed = [{"md5": _md5(file), "relpath": "/".join(parts)} for parts, file in files]
    return f"{hashlib.md5(json.dumps(listed, sort_keys=True).encode()).hexdigest()}.dir"


def _models() -> Iterator[Problem]:
    kept = stored.cache_root() / "models"
    for manifest in sorted(kept.glob(f"[!.]*/{stored.MANIFEST}")):
        if names := stored.damaged(manifest.parent):
            named = ", ".join(names)
            yield manifest.parent, f"damaged: {named}. Delete the folder, it is fetched anew: rm -r {manifest.parent}"
    pointer = Path("models/iteration_0/model.json")
    content = read_json(pointer) if pointer.is_file() else None
    if content and not content["reference"].startswith(("pypi:", "random:")):  # those are in the cache
        try:
            references.locate(content, stored.cache_root())
        except ModelError as error:
            yield pointer, error.message


if __name__ == "__main__":
    main()
