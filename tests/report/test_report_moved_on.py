"""Models that were moved on, in the report."""

import dataclasses
from typing import Any

import pytest
from report_data import demo

from pairloop.errors import DataError
from pairloop.report.data import ReportData
from pairloop.report.extrapolated import moved_on
from pairloop.report.page import render


def with_factors(*factors: float, **changes: Any) -> ReportData:
    """A run whose last iteration was moved on; the changes are those of what was then measured."""
    data = demo()
    last = data.models[-1]
    beyond = [{**last, "factor": factor, "mean_words": 60.0, **changes} for factor in factors]
    return dataclasses.replace(data, models=[*data.models[:-1], {**last, "further": beyond}])


def test_a_row_for_each_factor_stands_under_the_iteration_itself() -> None:
    table = moved_on(with_factors(0.3, 0.5).models)
    assert table is not None
    assert list(table.columns) == ["specialist", "likelihood", "Constraints", "Words", "Cut off"]
    rows = {row.label: [cell.text for cell in row.cells] for group in table.groups for row in group.rows}
    assert list(rows) == ["Iteration 3", "Iteration 3, moved on by 0.3", "Iteration 3, moved on by 0.5"]
    assert rows["Iteration 3"][1] == rows["Iteration 3, moved on by 0.3"][1] == "63\N{NO-BREAK SPACE}%"
    assert rows["Iteration 3, moved on by 0.5"][3] == "60.0"


def test_the_page_shows_them_only_where_there_are_some() -> None:
    assert "moved on by 0.3" in render(with_factors(0.3))
    assert "oved on" not in render(demo())


def test_what_was_not_measured_is_a_dash() -> None:
    table = moved_on(with_factors(0.3, constraints=None, win_rate={}).models)
    assert table is not None
    assert [cell.text for cell in table.groups[0].rows[1].cells[:3]] == ["–"] * 3


def test_a_row_that_lacks_a_figure_is_refused() -> None:
    data = with_factors(0.3)
    del data.models[-1]["further"][0]["win_rate"]
    with pytest.raises(DataError, match="iteration 3, eval metrics, further: lacks win_rate"):
        dataclasses.replace(data)
