"""due: which stages would run after a change, and why, without running or writing anything."""

import io
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import click

from pairloop import params as parameters
from pairloop.errors import PairloopError
from stages import common
from stages.schedule import composed

THERE = "there"
UNPULLED = "runs unless pulled"


@click.command(cls=common.Verb)
@click.argument("changes", nargs=-1)
def main(changes: tuple[str, ...]) -> None:
    """Say of each stage whether `dvc exp run -S CHANGE ...` would run it.

    `there`: its outputs are here and current. `runs`, and why: what changed first, which stage before it would run, or
    that its outputs are not here, which `dvc pull` brings or `dvc checkout`, where DVC has them. Whether the new output
    of a stage equals the old, so that the rest need not run after all, is known only then.
    """
    from omegaconf import OmegaConf

    values: Any = OmegaConf.to_container(composed(changes))
    parameters.parse(values)
    for stage, state in states(values).items():
        click.echo(f"{stage:<12} {state}")


def states(values: Mapping[str, Any]) -> dict[str, str]:
    """What DVC has of each stage with these parameters, in an order in which they can run; empty where there is no DVC.

    Raises:
        PairloopError: DVC cannot read the pipeline.
    """
    from dvc.exceptions import DvcException, NotDvcRepoError
    from dvc.repo import Repo

    try:
        with Repo(str(Path.cwd()), fs=_with(values)) as repo:
            return dict(_states(repo))
    except NotDvcRepoError:
        return {}
    except DvcException as error:
        raise PairloopError(f"dvc: {error}") from error


def _with(values: Mapping[str, Any]) -> Any:
    """A file system for DVC in which params.yaml holds other values than on disk."""
    import yaml
    from dvc.fs import LocalFileSystem

    found: Any = LocalFileSystem()
    as_it_is, text, place = found.open, yaml.safe_dump(dict(values)), common.PARAMS.absolute()

    def opened(path: Any, mode: str = "r", **options: Any) -> Any:
        if Path(path).absolute() != place:
            return as_it_is(path, mode=mode, **options)
        return io.BytesIO(text.encode()) if "b" in mode else io.StringIO(text)

    found.open = opened
    return found


def _states(repo: Any) -> Iterator[tuple[str, str]]:
    from networkx import topological_sort

    graph = repo.index.graph
    found: dict[str, str] = {}
    for stage in reversed(list(topological_sort(graph))):
        before = list(graph.successors(stage))
        found[stage.addressing] = _state(stage, before, found)
        yield stage.addressing, found[stage.addressing]


def _state(stage: Any, before: list[Any], found: Mapping[str, str]) -> str:
    """The state of one stage, when those of the stages `before` it are `found`."""
    changed = _changed(stage, before)
    upset = [one.addressing for one in before if found[one.addressing].startswith("runs") and not _unpulled(one, found)]
    if not changed and upset:
        return f"runs after {upset[0]}"
    if changed:
        return f"runs: {changed}"
    if any(_unpulled(one, found) for one in before) and all(out.exists for out in stage.outs):
        return f"runs after {next(one.addressing for one in before if _unpulled(one, found))}"
    if all(out.exists and not out.status() for out in stage.outs):
        return THERE
    return UNPULLED


def _unpulled(stage: Any, found: Mapping[str, str]) -> bool:
    return found[stage.addressing] == UNPULLED


def _changed(stage: Any, before: list[Any]) -> str | None:
    """What differs first from the run that dvc.lock tells of: a parameter, a file or the command."""
    from dvc.dependency import ParamsDependency

    made = {Path(out.fs_path): out.hash_info for one in before for out in one.outs}
    for dep in sorted(stage.deps, key=lambda dep: not isinstance(dep, ParamsDependency)):
        if isinstance(dep, ParamsDependency):
            if dep.status():
                return _first_difference(dep.hash_info.value, dep.read_params(), "")
        elif dep.exists:
            if dep.status():
                return str(dep)
        elif made.get(Path(dep.fs_path), dep.hash_info) != dep.hash_info:
            return str(dep)
        elif not any(path in (Path(dep.fs_path), *Path(dep.fs_path).parents) for path in made):
            return f"no {dep}"
    return "its command" if stage.changed_stage() else None


def _first_difference(old: Any, new: Any, name: str) -> str | None:
    """The first key, with the keys above it, whose values differ; None: they do not."""
    if not isinstance(new, Mapping) or not isinstance(old, Mapping):
        return None if old == new else name or "new"
    # Whatever follows from the others is not what was changed.
    keys = sorted({*old, *new}, key=lambda key: (key.startswith("schedule"), key))
    steps = (_first_difference(old.get(key), new.get(key), f"{name}.{key}" if name else key) for key in keys)
    return next((step for step in steps if step), None)


if __name__ == "__main__":
    main()
