"""Models that were moved on beyond where training left them, beside those that it left."""

from collections.abc import Sequence

from pairloop.report.data import Metrics
from pairloop.report.formats import DASH, number, percent
from pairloop.report.sentences import judges
from pairloop.report.tables import Cell, Group, Row, Table


def moved_on(models: Sequence[Metrics]) -> Table | None:
    """Each iteration that was moved on, as it is and by each factor; None where none was."""
    found = [(n, model) for n, model in enumerate(models) if _beyond(model)]
    if not found:
        return None
    names = list(judges(models))
    groups = [
        Group(
            "",
            [
                _row(f"Iteration {n}", model, names),
                *(_row(f"Iteration {n}, moved on by {m['factor']:g}", m, names) for m in _beyond(model)),
            ],
        )
        for n, model in found
    ]
    columns = [*names, "Constraints", "Words", "Cut off"]
    return Table("Moved on from the base model, with 95\N{NO-BREAK SPACE}% interval", columns, groups, "Model")


def _beyond(model: Metrics) -> list[Metrics]:
    return [row for row in model.get("further", ()) if "factor" in row]


def _row(label: str, model: Metrics, names: Sequence[str]) -> Row:
    rates = [model["win_rate"].get(judge) for judge in names]
    held = model["constraints"]
    return Row(
        label,
        [
            *(_share(rate["win_rate"], rate) if rate else Cell(DASH) for rate in rates),
            _share(held["pass_rate"], held) if held else Cell(DASH),
            Cell(number(model["mean_words"], 1)),
            Cell(percent(model["truncated_share"])),
        ],
    )


def _share(value: float, interval: Metrics) -> Cell:
    return Cell(percent(value), f"{number(100 * interval['low'])} to {number(100 * interval['high'])}")
