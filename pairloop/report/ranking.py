"""How the ranker behaved, iteration by iteration, as tables."""

from collections.abc import Callable, Sequence
from typing import Any

from pairloop.report.data import Iteration
from pairloop.report.formats import DASH, number, percent
from pairloop.report.tables import Cell, Group, Row, Table


def behaviour(iterations: Sequence[Iteration]) -> Table:
    """Ties, position bias, agreement with a second ranker, and refusals among chosen and rejected responses."""
    rows = [
        _row("Mean score margin", iterations, lambda i: number(i.pair["mean_margin"], 2), "in the ranker’s unit"),
        _row("Chosen that refuse", iterations, lambda i: percent(i.pair["chosen_refusals"])),
        _row("Rejected that refuse", iterations, lambda i: percent(i.pair["rejected_refusals"])),
    ]
    ranked = [i.rank for i in iterations if i.rank]
    if any(rank["position_bias"] is not None for rank in ranked):
        note = "share of pairs of responses whose winner changes with the order"
        rows.insert(1, _row("Position bias", iterations, lambda i: percent(_found(i, "position_bias"), 1), note))
    if ranked:
        rows.insert(1, _row("Tied responses", iterations, lambda i: number(_found(i, "ties"))))
    name = next((rank["second"]["ranker"] for rank in ranked if rank["second"]), None)
    if name:
        rows += [
            _row(f"{name} also puts best over worst", iterations, lambda i: percent(_second(i, "best_over_worst"))),
            _row(f"Rank correlation with {name}", iterations, lambda i: number(_second(i, "rank_correlation"), 2)),
        ]
    columns = [str(n) for n in range(1, len(iterations) + 1)]
    return Table("The ranker in numbers", columns, [Group("", rows)], "Iteration")


def _found(iteration: Iteration, key: str) -> Any:
    return iteration.rank[key] if iteration.rank else None


def _second(iteration: Iteration, key: str) -> float | None:
    second = _found(iteration, "second")
    return second[key] if second else None


def _row(label: str, iterations: Sequence[Iteration], show: Callable[[Iteration], str], note: str = "") -> Row:
    return Row(label, [Cell(show(iteration)) for iteration in iterations], note)


def margins(iterations: Sequence[Iteration]) -> Table | None:
    """Histogram of the last iteration's margins, best score minus worst, over prompts; None where there are none."""
    found = _found(iterations[-1], "margins")
    if not found or not found["counts"]:
        return None
    top = max(found["counts"])
    bars = zip(found["edges"], found["edges"][1:], found["counts"], strict=False)
    rows = [_bar(low, high, count, top) for low, high, count in bars]
    return Table(f"Margins in iteration {len(iterations)}", ["Prompts", ""], [Group("", rows)], "Best minus worst")


def _bar(low: float, high: float, count: int, top: int) -> Row:
    return Row(f"{number(low, 2)} to {number(high, 2)}", [Cell(number(count)), Cell("", bar=count / top)])


_CONTROLLED = {
    "chosen_words": ("Words, chosen", 1),
    "rejected_words": ("Words, rejected", 1),
    "length_correlation": ("Score with length", 2),
}
_WITHOUT = "without length control"


def length_control(iterations: Sequence[Iteration]) -> list[Row]:
    """Rows that tell what length control changed: chosen against rejected, and score against length, with and without.

    Empty where nothing controls length: then both would say the same.
    """
    if all(i.pair[key] == i.pair[f"uncontrolled_{key}"] for i in iterations for key in _CONTROLLED):
        return []
    return [
        Row(label, [Cell(DASH), *(Cell(number(i.pair[f"uncontrolled_{key}"], digits)) for i in iterations)], _WITHOUT)
        for key, (label, digits) in _CONTROLLED.items()
    ]
