"""Preferences to numbers."""

import random

import pytest

from pairloop.evaluation import measures, winrate


def test_ties_count_half() -> None:
    assert winrate.preferences([1.0, 2.0, 0.0], [0.0, 2.0, 1.0]) == [1.0, 0.5, 0.0]


def test_an_interval_holds_the_truth_about_95_times_in_100() -> None:
    draw = random.Random(0)
    hits = 0
    for trial in range(200):
        found = winrate.estimate([float(draw.random() < 0.6) for _ in range(100)], 200, trial)
        hits += found.low <= 0.6 <= found.high
    assert 180 <= hits <= 199


def test_length_control_gives_no_credit_for_winning_by_length_alone() -> None:
    draw = random.Random(0)
    lengths = [draw.randint(50, 400) for _ in range(400)]
    others = [draw.randint(50, 300) for _ in range(400)]
    by_length = [float(a > b) for a, b in zip(lengths, others, strict=True)]
    noisy = [win if draw.random() < 0.9 else 1 - win for win in by_length]
    assert sum(noisy) / 400 > 0.58
    assert winrate.length_controlled(noisy, lengths, others) == pytest.approx(0.5, abs=0.06)
    better = [float(draw.random() < 0.7) for _ in range(400)]
    assert winrate.length_controlled(better, lengths, others) == pytest.approx(0.7, abs=0.06)


def test_length_control_of_a_clean_sweep_or_equal_lengths_is_the_plain_rate() -> None:
    assert winrate.length_controlled([1.0, 1.0], [5, 9], [4, 2]) == 1.0
    assert winrate.length_controlled([1.0, 0.0, 1.0], [5, 5, 5], [5, 5, 5]) == pytest.approx(2 / 3)


def test_a_loop_is_repetitive_and_a_list_is_not() -> None:
    assert winrate.repetitive("the cat sat on the mat and " * 6)
    assert not winrate.repetitive("1. Wash the apples. 2. Cut them into small pieces. 3. Put them in a bowl.")
    assert not winrate.repetitive("no no no")


def test_rank_correlation_shares_ranks_among_ties() -> None:
    assert winrate.rank_correlation([1, 2, 3], [10, 20, 30]) == pytest.approx(1)
    assert winrate.rank_correlation([1, 2, 2], [3, 1, 1]) == pytest.approx(-1)
    assert winrate.rank_correlation([1, 1], [1, 2]) is None


def test_the_gain_in_constraints_is_measured_prompt_by_prompt() -> None:
    own = [True, True, True, False, None]
    base = [False, True, False, False, None]
    found = measures.constraint_rate(own, base, 500, 0)
    assert found is not None
    assert (found["prompts"], found["pass_rate"], found["gain"]) == (4, 0.75, 0.5)
    assert found["gain_low"] <= 0.5 <= found["gain_high"]
    assert measures.constraint_rate([None], [None], 500, 0) is None
