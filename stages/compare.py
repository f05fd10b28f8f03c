"""compare: two runs side by side: what was set differently, what came of it, and what both answered."""

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from pairloop.comparing import page, runs
from pairloop.comparing.runs import Model, Run
from pairloop.errors import DataError
from pairloop.files import records
from stages import common

WORKSPACE = "workspace"
"""What DVC calls the files as they lie."""

Read = Callable[[str], str | None]
"""The text of a file of the project at a revision; None where it is not there."""


@click.command(cls=common.Verb)
@click.argument("first")
@click.argument("second", default=WORKSPACE)
@click.option("--out", type=Path, help="The page to write.  [default: build/compare/FIRST-SECOND.html]")
def main(first: str, second: str, out: Path | None) -> None:
    """Compare the runs FIRST and SECOND: revisions of git, experiments of DVC, or `workspace`.

    Says which parameters differ and how the numbers do, and writes one page with the answers of both.
    """
    params = common.load()
    sides = [run(name, files_of(name)) for name in (first, second)]
    compared = collect(sides[0], sides[1], params.eval.bootstrap, params.seed)
    target = out or Path("build") / "compare" / f"{_plain(first)}-{_plain(second)}.html"
    records.write_text(target, page.render(compared))
    _say(compared)
    click.echo(f"\n\n{target} has the answers of both.")


def collect(first: Run, second: Run, resamples: int, seed: int) -> page.Compared:
    """Everything that the page shows, of the iterations that both runs have."""
    shared = range(1, min(len(first.models), len(second.models)))
    if not shared:
        raise DataError(f"{first.name} and {second.name} have no iteration in common: one of them has only the base")
    chances = resamples, seed
    return page.Compared(
        first,
        second,
        runs.settings(first, second),
        {n: runs.differences(first, second, n, *chances) for n in shared},
        {n: found for n in shared if (found := runs.against_each_other(first, second, n, *chances))},
        runs.answered(first, second, shared[-1]),
    )


def run(name: str, read: Read) -> Run:
    """A run as its files tell it.

    Raises:
        DataError: there is no run, or a file of it is missing or no JSON.
    """
    from pairloop.params import reading

    text = read(str(common.PARAMS))
    if text is None:
        raise DataError(f"{name} has no {common.PARAMS}: it is no revision of this project")
    parameters = reading.mapping(text, f"{common.PARAMS} of {name}")
    parameters.pop("schedule", None)
    return Run(name, parameters, [_model(name, n, read) for n in range(int(parameters["iterations"]) + 1)])


def _model(name: str, iteration: int, read: Read) -> Model:
    folder = f"results/iteration_{iteration}"
    return Model(*(_rows(name, f"{folder}/{file}.json", read) for file in ("judgements", "model_outputs")))


def _rows(name: str, path: str, read: Read) -> list[dict[str, Any]]:
    text = read(path)
    if text is None:
        raise DataError(f"{name} has no {path}: it was not run to its end, or what it wrote was not committed")
    try:
        rows: list[dict[str, Any]] = json.loads(text)
    except json.JSONDecodeError as error:
        raise DataError(f"{name}: {path} is no JSON (line {error.lineno}): `dvc repro` remakes it") from error
    return rows


def files_of(revision: str) -> Read:
    """A reader of a revision's files: of git's, by whatever name git or DVC knows it, or of those that lie here.

    Raises:
        DataError: nobody knows the revision.
    """
    if revision == WORKSPACE:
        return lambda path: Path(path).read_text(encoding="utf-8") if Path(path).is_file() else None
    from dvc.exceptions import DvcException
    from dvc.repo import Repo
    from dvc.scm import SCMError, resolve_rev

    try:
        with Repo() as repo:
            files = repo.scm.get_fs(resolve_rev(repo.scm, revision))
    except (SCMError, DvcException) as error:
        raise DataError(
            f"compare: there is no revision or experiment {revision}. `git log` and `dvc exp show` list them, and "
            f"`{WORKSPACE}` is what lies here"
        ) from error
    return lambda path: files.read_text(path, encoding="utf-8") if files.isfile(path) else None


def _plain(name: str) -> str:
    """A name that can be a file's."""
    return re.sub(r"[^\w.~^-]+", "_", name)


def _say(compared: page.Compared) -> None:
    """The page's tables as lines."""
    first, second = compared.first.name, compared.second.name
    click.echo(f"{'Parameter':32}{first:>20}{second:>20}")
    for name, *values in compared.settings:
        click.echo(f"{name:32}" + "".join(f"{_short(value or '-'):>20}" for value in values))
    if not compared.settings:
        click.echo("no parameter differs")
    for iteration, found in compared.numbers.items():
        click.echo(f"\n{f'Iteration {iteration}':32}{first:>12}{second:>12}{'change':>14}  95 % interval")
        for row in found:
            own, other, change, interval = page.texts(row)
            click.echo(f"{row.name:32}{own:>12}{other:>12}{change:>14}  {interval:18} {page.verdict(row)}")
    for iteration, rates in compared.direct.items():
        for judge, rate in rates.items():
            click.echo(f"\n{second} against {first}: {page.beaten(iteration, judge, rate)}", nl=False)


def _short(text: str) -> str:
    return text if len(text) <= 18 else f"{text[:17]}…"


if __name__ == "__main__":
    main()
