"""Preferences to numbers."""

import random

import pytest

from pairloop.evaluation import comparison, winrate


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


def test_the_gain_in_constraints_is_measured_prompt_by_prompt() -> None:
    own = [[True], [True], [True], [False], None]
    base = [[False], [True], [False], [False], None]
    found = comparison.constraint_rate(own, base, 500, 0)
    assert found is not None
    assert (found["prompts"], found["pass_rate"], found["gain"]) == (4, 0.75, 0.5)
    assert found["gain_low"] <= 0.5 <= found["gain_high"]
    assert comparison.constraint_rate([None], [None], 500, 0) is None


def test_a_prompt_with_several_answers_counts_once_in_the_constraints_too() -> None:
    found = comparison.constraint_rate([[True, False], [True, True]], [[False, True], [False, False]], 500, 0)
    assert found is not None
    assert (found["prompts"], found["few"], found["pass_rate"], found["gain"]) == (2, True, 0.75, 0.5)
    # One answer that was picked of many is beside iteration 0's first.
    picked = comparison.constraint_rate([[True], [True]], [[False, True], [False, False]], 500, 0)
    assert picked is not None and picked["gain"] == 1.0
