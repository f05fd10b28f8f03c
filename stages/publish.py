"""publish: put the committed run's data and models into the remote that lies in the repository, and where others read.

Of a git URL, DVC has the objects of git and no folder: the remote in the repository serves only who has a clone.
"""

import re
import shutil
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import click

from pairloop.errors import PairloopError
from pairloop.files import records
from stages import check, common

REMOTE = "published"
FOLDER = Path("published")
PUBLIC = "public"
"""The remote that others read, in .dvc/config and hence in every clone."""

PUSHED = "publishing"
"""A remote for one push, where what is pushed is read at another address."""

LOCAL = Path(".dvc/config.local")
PARAMETERS = Path("conf/published.yaml")
MOST_BYTES = 25_000_000
EXPORTS = "export@"
"""How the stages begin whose outs published/ never takes: whole models, of which git would keep every version."""

_run = partial(common.run, "publish")


@dataclass(frozen=True)
class Shared:
    """Where a run is pushed to, nothing if `read` shows the folder published/ itself, and where others read it."""

    to: str | None
    read: str


@click.command(cls=common.Verb)
@click.option("--to", metavar="URL", help="Push the run there too: s3://…, ssh://…, a directory, the name of a remote.")
@click.option("--read", metavar="URL", help="Where others read what is pushed, if the address is another: https://…")
def main(to: str | None, read: str | None) -> None:
    """Store what dvc.lock names in published/. Refuses unless the run is clean and committed.

    With --to or --read, others get files by the repository's git URL, without a clone: .dvc/config names the address.
    """
    shared = sharing(to, read)
    common.refuse_unless_clean("publish")
    exports = list(common.raw()["schedule"]["export"])
    if exports and not (shared and shared.to):
        _refuse(exports)
    _refuse_unless_compared()
    if shared and shared.to:
        _push(shared.to, shared.read)
    if not (shared and shared.to) or fits():
        _store(without=exports)
    if shared:
        _name(shared.read)
    click.echo(f"Commit it: {'git add .dvc/config && ' if shared else ''}git commit")


def _refuse(exports: list[str]) -> None:
    """Where published/ is the only remote, a clone's `dvc pull` and `dvc status` would miss the exports for ever."""
    raise PairloopError(
        f"publish: the run has {len(exports)} exports, the first is {EXPORTS}{exports[0]}, and {FOLDER}/ takes none: "
        "git would keep every version of a whole model. Needed: "
        'python -m stages.schedule --write "export.iterations=[]", '
        "`dvc repro` and a commit, which leave exports/ as it is; or make publish TO=…, which pushes exports too."
    )


def _store(without: list[str]) -> None:
    """Replace published/ by what dvc.lock names, but for the exports."""
    folder = FOLDER.with_name(".published.partial")
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    # A remote of its own for this one push: an interrupted one leaves the published files as they were.
    _run("dvc", "remote", "add", "--local", "--force", PUSHED, str(folder.resolve()))
    try:
        names = _run("dvc", "stage", "list", "--all", "--name-only").splitlines() if without else []
        _run("dvc", "push", "--remote", PUSHED, *(name for name in names if not name.startswith(EXPORTS)))
        _replace(folder)
    finally:
        _run("dvc", "remote", "remove", "--local", PUSHED)
        shutil.rmtree(folder, ignore_errors=True)
    if without:
        click.echo(f"{FOLDER}/ is without the {len(without)} exports, which `dvc pull` brings from where TO is.")


def sharing(to: str | None, read: str | None) -> Shared | None:
    """Where to push and where others read, from what was given and from what .dvc/config says of the time before.

    Returns:
        None where clones alone shall read.

    Raises:
        PairloopError: an address is missing, in the project, no address, or holds a password.
    """
    default, before = configured("core.remote"), configured(f"remote.{PUBLIC}.url")
    if to is None and read is None:
        if default == PUBLIC:
            raise PairloopError(
                f"publish: others read this project's runs at {before} (the remote `{PUBLIC}`), and nothing says where "
                "to push. Needed: make publish TO=…, or READ= for an address that shows published/ itself. To serve "
                f"clones alone again: dvc remote default {REMOTE}"
            )
        return None
    place = None if to is None else to if _is_remote(to) else _place("TO", to)
    # Nobody pushes to a web server: an address of before that is one still shows what is pushed elsewhere.
    shown = before if to == PUBLIC or before.startswith("http") else None
    readable = _place("READ", read or shown or place or "")
    if urlsplit(readable).password:
        raise PairloopError(
            f"publish: the address for readers holds a password, and .dvc/config is committed. Needed: READ= without "
            f"one; `dvc remote modify --local {PUBLIC} password …` keeps it on this machine."
        )
    return Shared(place, readable)


def _is_remote(given: str) -> bool:
    """Whether it is the name of a remote for pushing, which may have options of its own: an endpoint, a profile."""
    return given != REMOTE and bool(re.fullmatch(r"[\w-]+", given)) and bool(configured(f"remote.{given}.url", ()))


def _place(name: str, given: str) -> str:
    """A URL as it is, or a directory's absolute path; none inside the project, which publishing replaces or git has."""
    if "://" in given:
        return given
    path = Path(given).expanduser()
    if not given or (name == "READ" and not path.is_absolute()):
        raise PairloopError(
            f"publish: {name}={given} is no URL (https://…, s3://…), no absolute path of a directory and no remote to "
            "push to"
        )
    path = path.resolve()
    if path.is_relative_to(Path.cwd().resolve()):
        raise PairloopError(f"publish: {name}={given} lies in the project. Needed: a directory outside of it, or a URL")
    return str(path)


def _push(to: str, read: str) -> None:
    """Push to one address, and see that everything arrives at the other."""
    with _kept(LOCAL):
        # Where both are one, what was set for readers (endpoint, profile) and for this machine (keys) holds here too.
        remote = to if _is_remote(to) else PUBLIC if read == to else PUSHED
        if remote != to:
            _run("dvc", "config", "--local", f"remote.{remote}.url", to)
        # Not captured: hours may pass, and DVC shows how far it is.
        if subprocess.run(["dvc", "push", "--remote", remote]).returncode:
            raise PairloopError(
                f"publish: the push to {to} failed, as DVC says above. Nothing else has changed, and what has arrived "
                "stays there: the same command goes on from it."
            )
        if read != to:
            _run("dvc", "config", "--local", f"remote.{PUBLIC}.url", read)
            _refuse_unless_there(to, read)


def _refuse_unless_there(to: str, read: str) -> None:
    if absent := unpushed(PUBLIC):
        raise PairloopError(
            f"publish: what was pushed to {to} is not all at {read}: {len(absent)} files are not found there, the "
            f"first is {absent[0]}. Does a server show TO under that address, and is it up? READ= names another."
        )


def unpushed(remote: str) -> list[str]:
    """Files of the run, as dvc.lock has them, that a remote does not have."""
    import json

    states = json.loads(_run("dvc", "status", "--cloud", "--json", "--remote", remote))
    return [path for path, state in states.items() if state in ("new", "missing")]


@contextmanager
def _kept(path: Path) -> Iterator[None]:
    """Leave a file as it was, whatever happens to it meanwhile."""
    before = path.read_text(encoding="utf-8") if path.is_file() else None
    try:
        yield
    finally:
        if before is None:
            path.unlink(missing_ok=True)
        else:
            records.write_text(path, before)


def _name(read: str) -> None:
    """Let every clone, and whoever has the git URL, read there."""
    _run("dvc", "config", f"remote.{PUBLIC}.url", read)
    _run("dvc", "config", f"remote.{PUBLIC}.verify", "true")
    _run("dvc", "config", "core.remote", PUBLIC)
    click.echo(f"Others read the run at {read}: `{PUBLIC}` is now the default remote in .dvc/config.")


def configured(name: str, level: Sequence[str] = ("--project",)) -> str:
    """A value of .dvc/config, or of all of DVC's configuration, empty if it has none."""
    found = subprocess.run(["dvc", "config", *level, name], capture_output=True, text=True)
    return found.stdout.strip() if found.returncode == 0 else ""


def fits() -> bool:
    """Whether the repository takes the run, by the sizes in dvc.lock: before gigabytes are copied to find out."""
    tracked = _run("git", "ls-files").splitlines()
    in_git = {str(folder) for name in tracked for folder in (Path(name), *Path(name).parents)}
    kept = [out for stage, out in check.outs() if not stage.startswith(EXPORTS)]
    size: int = sum(out["size"] for out in kept if out["path"] not in in_git)
    if size > MOST_BYTES:
        click.echo(
            f"{FOLDER}/ stays as it is: the run's files have {size / 1e6:.1f} MB, and at most "
            f"{MOST_BYTES / 1e6:.0f} MB go into the repository."
        )
    return size <= MOST_BYTES


def _refuse_unless_compared() -> None:
    """The page compares a run with the published one's parameters: they are to be this run's, before it is drawn."""
    if written(PARAMETERS, parameters(common.raw())):
        raise PairloopError(
            f"publish: {PARAMETERS} now holds this run's parameters, from which the report says what differs. Run "
            "`dvc repro`, commit, and publish again."
        )


def parameters(values: dict[str, Any]) -> str:
    """params.yaml without the schedule, which follows from the rest, as text."""
    import yaml

    kept = {key: value for key, value in values.items() if key != "schedule"}
    text = yaml.safe_dump(kept, sort_keys=False)
    return f"# The parameters of the published run, written by `make publish`.\n{text}"


def written(path: Path, text: str) -> bool:
    """Write a text where there was another, and say whether there was."""
    if path.is_file() and path.read_text(encoding="utf-8") == text:
        return False
    records.write_text(path, text)
    return True


def _replace(folder: Path) -> None:
    if damaged := check.damaged_objects(folder):
        raise PairloopError(
            f"publish: {len(damaged)} objects of DVC's cache are damaged. `python -m stages.check` says what to do."
        )
    size = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
    if size > MOST_BYTES:
        raise PairloopError(
            f"publish: the run's files have {size / 1e6:.1f} MB, at most {MOST_BYTES / 1e6:.0f} MB go into the "
            "repository. Lower train.lora_r, use fewer train.lora_target_modules, or set train.save_dtype: float16."
        )
    shutil.rmtree(FOLDER, ignore_errors=True)
    folder.rename(FOLDER)
    # By force: git ignores what others write there.
    _run("git", "add", "--all", "--force", str(FOLDER))
    click.echo(f"{FOLDER}/ holds {size / 1e6:.1f} MB, and git has them staged.")


if __name__ == "__main__":
    main()
