"""Where this run differs from the published one, and how its rows flow from the pool to the splits."""

from collections.abc import Mapping
from typing import Any

from pairloop.report.data import Iteration, Metrics, ReportData
from pairloop.report.formats import DASH, number
from pairloop.report.samples import differing
from pairloop.report.tables import Cell, Group, Row, Table

UNSET = "not there"
"""Instead of the value of a parameter that one of the two runs does not have."""


def differences(published: Mapping[str, Any], parameters: Mapping[str, Any]) -> Table | None:
    """Every parameter whose value differs from the published run's; None where none does."""
    lines = [
        Row(name, [Cell(UNSET if value is None else value, words=True) for value in values])
        for name, *values in differing(published, parameters)
    ]
    if not lines:
        return None
    return Table("What differs from the published run", ["Published", "This run"], [Group("", lines)], "Parameter")


def flow(data: ReportData) -> Table:
    """How many rows each step handed on, from the pool to the two splits."""
    pool = data.pool
    first = Row("Pool", [_out(pool), *[Cell("")] * 6])
    lines = [_flow(n, iteration) for n, iteration in enumerate(data.iterations, 1)]
    columns = ["Pool →", "Slice →", "Responses →", "Ranked →", "Pairs →", "Train", "Held out"]
    return Table("Rows, from the pool to the splits", columns, [Group("", [first, *lines])], "Step")


def _flow(n: int, iteration: Iteration) -> Row:
    sampled, ranked, pair = iteration.generate, iteration.rank, iteration.pair
    asked = iteration.prompts["rows_out"] if iteration.prompts else sampled["rows_in"] if sampled else None
    trained = iteration.train
    lost = trained["rows_in"] - trained["rows_out"]
    cells = [
        Cell(""),
        Cell(number(asked)),
        Cell(number(sampled["responses"]), f"to {number(sampled['rows_out'])} prompts") if sampled else Cell(DASH),
        Cell(number(ranked["responses"]), f"of {number(ranked['rows_out'])} prompts") if ranked else Cell(DASH),
        _out(pair),
        Cell(number(pair["train_pairs"]), f"{number(lost)} not trained on" if lost else ""),
        Cell(number(pair["test_pairs"])),
    ]
    return Row(f"Iteration {n}", cells)


def _out(counted: Metrics) -> Cell:
    gone = counted["rows_in"] - counted["rows_out"]
    return Cell(number(counted["rows_out"]), f"of {number(counted['rows_in'])}" if gone else "")
