"""Preferences and scores to numbers."""

import random

import pytest

from pairloop.measures import statistics
from pairloop.measures.statistics import estimate, interval, outcomes, rank_correlation, resamples_of


def test_ties_count_half() -> None:
    assert outcomes([1.0, 2.0, 0.0], [0.0, 2.0, 1.0]) == [1.0, 0.5, 0.0]


def test_an_interval_holds_the_truth_about_95_times_in_100() -> None:
    draw = random.Random(0)
    hits = 0
    for trial in range(200):
        found = estimate([float(draw.random() < 0.6) for _ in range(100)], 200, trial)
        hits += found.low <= 0.6 <= found.high
    assert 180 <= hits <= 199


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("values", [[0.3], [0.1, 0.1, 0.1], [1.0] * 40])
def test_where_nothing_varies_the_interval_is_the_mean_and_nothing_is_warned_of(values: list[float]) -> None:
    found = estimate(values, 200, 0)
    assert (found.low, found.high) == (found.value, found.value) == pytest.approx((values[0], values[0]))


@pytest.mark.filterwarnings("error")
def test_an_interval_is_the_same_again_and_holds_the_mean(monkeypatch: pytest.MonkeyPatch) -> None:
    values = [i / 10 for i in range(11)]
    found = estimate(values, 200, 0)
    assert found == estimate(values, 200, 0) != estimate(values, 200, 1)
    assert 0 <= found.low < found.value == 0.5 < found.high <= 1
    with monkeypatch.context() as patched:
        patched.setattr(statistics, "_BATCH", 30)
        assert found == estimate(values, 200, 0)


def test_values_of_one_group_are_drawn_together() -> None:
    draw = random.Random(0)
    values = [float(draw.random() < 0.5) for _ in range(50)]
    alone = estimate(values, 500, 0)
    doubled = estimate([value for value in values for _ in range(8)], 500, 0, [i for i in range(50) for _ in range(8)])
    assert doubled == alone
    assert estimate(values, 500, 0, ["one prompt"] * 50).low == alone.value


def test_rank_correlation_shares_ranks_among_ties() -> None:
    assert rank_correlation([1, 2, 3], [10, 20, 30]) == pytest.approx(1)
    assert rank_correlation([1, 2, 2], [3, 1, 1]) == pytest.approx(-1)
    assert rank_correlation([1, 2, 3, 4], [1, 3, 2, 4]) == pytest.approx(0.8)


@pytest.mark.filterwarnings("error")
def test_rank_correlation_is_unknown_where_one_side_is_constant() -> None:
    assert rank_correlation([1, 1], [1, 2]) is None
    assert rank_correlation([1, 2, 3], [0.5, 0.5, 0.5]) is None
    assert rank_correlation([1], [1]) is None
    assert rank_correlation([], []) is None


def test_every_resample_draws_as_many_prompts_as_there_are() -> None:
    drawn = resamples_of(7, 50, 0)
    assert drawn.shape == (50, 7) and set(drawn.sum(1)) == {7}
    assert (drawn == resamples_of(7, 50, 0)).all() and (drawn != resamples_of(7, 50, 0, "other")).any()


def test_an_interval_leaves_out_a_fortieth_on_each_side() -> None:
    found = interval(3.0, range(201))
    assert (found.value, found.low, found.high) == (3.0, 5.0, 195.0)
