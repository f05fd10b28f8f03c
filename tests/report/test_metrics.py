"""The numbers by which runs are compared."""

import report_data

from pairloop.report import metrics
from pairloop.report.data import ReportData

ALL = ["pass", "gain", "least", "alike", "win", "low", "lc", "words", "cut", "seconds"]


def test_the_win_rate_is_the_independent_judges_and_the_last_iterations() -> None:
    data = report_data.demo(rates=(0.57, 0.61, 0.63))
    found = metrics.numbers(data.models[-1], data.times)
    assert list(found) == ALL
    assert found["win"] == 0.63 and found["low"] == 0.55
    assert (found["pass"], found["gain"], found["least"], found["alike"]) == (0.62, 0.14, 0.05, 0.12)
    assert found["seconds"] == round(sum(row["seconds"] for row in data.times))


def test_what_does_not_exist_is_left_out() -> None:
    def names(data: ReportData) -> set[str]:
        return set(ALL) - set(metrics.numbers(data.models[-1], data.times))

    assert names(report_data.demo(gains=None)) == {"pass", "gain", "least", "alike"}
    assert names(report_data.demo(judges=("likelihood",))) == set()
    assert names(report_data.demo(judges=("specialist",))) == {"win", "low", "lc"}
    assert names(report_data.demo(judges=())) == {"win", "low", "lc"}


def test_every_number_is_a_number() -> None:
    data = report_data.demo()
    assert all(type(value) in (int, float) for value in metrics.numbers(data.models[-1], data.times).values())
