"""Preferences and scores to numbers."""

import random

import pytest

from pairloop.measures.statistics import estimate, outcomes, rank_correlation


def test_ties_count_half() -> None:
    assert outcomes([1.0, 2.0, 0.0], [0.0, 2.0, 1.0]) == [1.0, 0.5, 0.0]


def test_an_interval_holds_the_truth_about_95_times_in_100() -> None:
    draw = random.Random(0)
    hits = 0
    for trial in range(200):
        found = estimate([float(draw.random() < 0.6) for _ in range(100)], 200, trial)
        hits += found.low <= 0.6 <= found.high
    assert 180 <= hits <= 199


def test_rank_correlation_shares_ranks_among_ties() -> None:
    assert rank_correlation([1, 2, 3], [10, 20, 30]) == pytest.approx(1)
    assert rank_correlation([1, 2, 2], [3, 1, 1]) == pytest.approx(-1)
    assert rank_correlation([1, 1], [1, 2]) is None
