"""diagram: the loop as docs/architecture.md shows it, drawn from dvc.yaml."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

import click

from pairloop.errors import DataError
from pairloop.files import records
from stages import common

ITERATIONS = ("${schedule.iterations}", "${schedule.sampled}")
"""What the stages of the loop are repeated over."""

ASIDE = ("${schedule.gated}",)
"""What those are repeated over that only say whether to go on, where they are asked for at all: they are not drawn."""

READ = {
    "${item.previous}": "n-1",
    "${item.model}": "models/iteration_n",
    "${item.slice}": "data/iteration_n/prompts.parquet",
    "${item.rankings}": "data/iteration_n/rankings.parquet",
    "${item.responses}": "data/iteration_n/responses.parquet",
    "${item.outputs}": "results/iteration_n/model_outputs.json",
    "${item.reference}": "results/iteration_0/model_outputs.json",
}
"""What stands for an iteration's files, where its pairs are its own."""

Arrows = dict[tuple[str, str], list[str]]
"""From one stage to another, with what is handed over."""


@dataclass(frozen=True)
class Step:
    """A stage of dvc.yaml. In its paths stands n for the iteration's number and n-1 for the one before."""

    name: str
    """As in dvc.yaml, without the number."""

    each: str | None
    """What it is repeated over; None: it runs once."""

    reads: Sequence[str]
    """Paths of its deps."""

    writes: Sequence[str]
    """Paths of its outs, metrics and plots."""


@click.command(cls=common.Verb)
@click.argument("pipeline", type=Path)
@click.argument("page", type=Path)
def main(pipeline: Path, page: Path) -> None:
    """Draw the stages of PIPELINE, which is dvc.yaml, between the marks in PAGE."""
    renew(page, "loop", draw(steps(pipeline)))


def renew(page: Path, part: str, text: str) -> None:
    """Put a text between the marks of a part of a page.

    Raises:
        DataError: the page has no such marks.
    """
    begin, end = f"<!-- {part}: made by a command -->\n", f"<!-- {part}: end -->"
    before, _, rest = page.read_text(encoding="utf-8").partition(begin)
    _, found, after = rest.partition(end)
    if not found:
        raise DataError(f"{page}: a part of it is made. Needed where it shall stand: the lines\n{begin}{end}")
    records.write_text(page, f"{before}{begin}{text}\n{end}{after}")


def steps(pipeline: Path) -> list[Step]:
    """The stages of dvc.yaml, in its order."""
    import yaml

    stages = yaml.safe_load(pipeline.read_text(encoding="utf-8"))["stages"]
    return [_step(name, stage.get("foreach"), stage.get("do", stage)) for name, stage in stages.items()]


def _step(name: str, each: str | None, body: Mapping[str, Any]) -> Step:
    written = [entry for kind in ("outs", "metrics", "plots") for entry in body.get(kind, [])]
    paths = [entry if isinstance(entry, str) else next(iter(entry)) for entry in written]
    return Step(name, each, [*map(_numbered, body.get("deps", []))], [*map(_numbered, paths)])


def _numbered(path: str) -> str:
    for name, value in READ.items():
        path = path.replace(name, value)
    return re.sub(r"\$\{(?:key|item)\}", "n", path)


def draw(found: Sequence[Step]) -> str:
    """A Mermaid flowchart of one iteration, in Markdown.

    An arrow that a longer way implies is left out, and so is a stage that hands nothing on. Dotted: to iteration n + 1.
    """
    found = [step for step in found if step.each not in ASIDE]
    onward, back = arrows(found)
    drawn = _direct(onward)
    named = [step for step in found if any(step.name in both for both in drawn)]
    lines = [f"    {_box(step)}" for step in named if step.each not in ITERATIONS]
    lines += ['    subgraph loop ["for n = 1 … iterations"]']
    lines += [f"        {_box(step)}" for step in named if step.each in ITERATIONS]
    lines += ["    end"]
    lines += [f'    {start} -- "{"<br>".join(paths)}" --> {end}' for (start, end), paths in drawn.items()]
    lines += [f'    {start} -. "{"<br>".join(paths)}, for n + 1" .-> {end}' for (start, end), paths in back.items()]
    return "\n".join(["```mermaid", "flowchart TD", *lines, "```"])


def _box(step: Step) -> str:
    return f'{step.name}["{step.name}{"@n" if step.each else ""}"]'


def arrows(found: Sequence[Step]) -> tuple[Arrows, Arrows]:
    """Who hands what to whom within an iteration, and to the first stage of the next one that needs it."""
    onward: Arrows = {}
    back: Arrows = {}
    for step in found:
        for path in step.reads:
            for source, out in _sources(path, found):
                again = "n-1" in path and source.each in ITERATIONS
                given = (back if again else onward).setdefault((source.name, step.name), [])
                shown = path if PurePosixPath(out).is_relative_to(path) else out
                given += [shown] if shown not in given else []
    first = dict(reversed(back))
    return onward, {both: paths for both, paths in back.items() if first[both[0]] == both[1]}


def _sources(path: str, found: Sequence[Step]) -> list[tuple[Step, str]]:
    """The steps that write what lies at a path, and where; of other iterations, where none of this one does."""
    written = [(step, out) for step in found for out in step.writes]
    same = [(step, out) for step, out in written if _overlap(path, out)]
    return same or [(step, out) for step, out in written if _overlap(_any_iteration(path), _any_iteration(out))]


def _overlap(path: str, other: str) -> bool:
    one, two = PurePosixPath(path), PurePosixPath(other)
    return one.is_relative_to(two) or two.is_relative_to(one)


def _any_iteration(path: str) -> str:
    return re.sub(r"_(?:n-1|n|\d+)(?=[./]|$)", "_*", path)


def _direct(onward: Arrows) -> Arrows:
    """The arrows between stages that no longer way connects."""
    following: dict[str, set[str]] = {}
    for start, end in onward:
        following.setdefault(start, set()).add(end)

    def reached(name: str) -> set[str]:
        return following.get(name, set()).union(*map(reached, following.get(name, ())))

    return {
        (start, end): paths
        for (start, end), paths in onward.items()
        if not any(end in reached(other) for other in following[start])
    }


if __name__ == "__main__":
    main()
