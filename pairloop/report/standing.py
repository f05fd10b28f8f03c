"""Every model that was evaluated, one row each, by the judges: the table that the page begins with."""

from collections.abc import Sequence
from typing import Any

from pairloop.report.data import Metrics
from pairloop.report.formats import DASH, number, percent
from pairloop.report.sentences import cannot_tell, judges, leading_judge
from pairloop.report.tables import Cell, Group, Row, Table, share


def standing(models: Sequence[Metrics]) -> Table:
    """The base model, each iteration, and what else was measured of them: best of n, moved on, other temperatures.

    The independent judge that the headline quotes stands first; the teacher is marked.
    """
    marked = judges(models)
    leading = leading_judge(models[-1])
    names = sorted(marked, key=lambda judge: judge != leading)
    lines = [line for n, model in enumerate(models) for line in _rows(n, model, names, leading)]
    columns = [f"{judge} (the teacher)" if marked[judge] else judge for judge in names]
    shown = [f"Win rate by {column}" if i == 0 else f"By {column}" for i, column in enumerate(columns)]
    shown += ["Length-controlled", "Against the previous"] if names else []
    caption = "All models, with 95\N{NO-BREAK SPACE}% intervals"
    return Table(caption, [*shown, "Constraints", "Words", "Cut off"], [Group("", lines)], "Model")


def beyond(label: str, further: Metrics, temperature: float | None) -> str:
    """The name of what else was measured of a model: `Iteration 3, best of 16, at temperature 0.7`."""
    parts = [label]
    if further.get("best_of"):
        parts.append(f"best of {further['best_of']}")
    if further.get("factor"):
        parts.append(f"moved on by {further['factor']:g}")
    if "temperature" in further and further["temperature"] != temperature:
        parts.append(f"at temperature {further['temperature']:g}")
    return ", ".join(parts)


def _rows(n: int, model: Metrics, names: Sequence[str], leading: str | None) -> list[Row]:
    label = f"Iteration {n}" if n else "Base model"
    own = _cells(model, model["judged"], names, leading) if n else _of_the_base(model, names)
    return [Row(label, own)] + [
        Row(
            beyond(label, more, model.get("temperature")),
            _cells(more, model["judged"], names, leading),
            f"picked by {more['ranker']}" if more.get("ranker") else "",
        )
        for more in model.get("further", ())
    ]


def _of_the_base(model: Metrics, names: Sequence[str]) -> list[Cell]:
    """What everything is compared with: against itself it wins half."""
    half = [Cell(percent(0.5)) for _ in names]
    return [*half, *([Cell(percent(0.5)), Cell(DASH)] if names else []), *_form(model)]


def _cells(model: Metrics, judged: int, names: Sequence[str], leading: str | None) -> list[Cell]:
    rates = model["win_rate"]
    count = model.get("judged", judged)
    cells = [share(rates[judge]["win_rate"], rates[judge], count) if judge in rates else Cell(DASH) for judge in names]
    if names:
        first: dict[str, Any] = rates.get(leading, {})
        previous = first.get("previous")
        cells.append(Cell(percent(first.get("length_controlled"))))
        cells.append(share(previous["win_rate"], previous, count) if previous else Cell(DASH))
    return [*cells, *_form(model)]


def _form(model: Metrics) -> list[Cell]:
    held = model["constraints"]
    return [
        share(held["pass_rate"], held, held["prompts"]) if held else Cell(DASH),
        Cell(number(model["mean_words"], 1)),
        Cell(percent(model["truncated_share"])),
    ]


def agreement(models: Sequence[Metrics]) -> Table | None:
    """How often two judges prefer the same side, where both prefer one; None where there is one judge only."""
    found = [{tuple(row["judges"]): row for row in model.get("agreement") or ()} for model in models[1:]]
    pairs = list(dict.fromkeys(pair for rows in found for pair in rows))
    if not pairs:
        return None
    lines = [Row(" and ".join(pair), [_agreed(rows.get(pair)) for rows in found]) for pair in pairs]
    columns = [str(n) for n in range(1, len(models))]
    return Table("Judges that prefer the same side", columns, [Group("", lines)], "Iteration")


def _agreed(row: Metrics | None) -> Cell:
    if row is None:
        return Cell(DASH)
    note = f"of {number(row['prompts'])}, \N{GREEK SMALL LETTER KAPPA} {number(row.get('kappa'), 2)}"
    return Cell(percent(row["same"]), note, warning=cannot_tell(row["prompts"]))
