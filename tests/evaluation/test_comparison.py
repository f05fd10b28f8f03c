"""Scores of answers to win rates, counts and agreement, on cases whose results are known."""

import random

import pytest

from pairloop.evaluation import comparison
from pairloop.evaluation.agreement import agreement, kappa
from pairloop.measures.statistics import estimate

SCORES = [[(2.0, 1.0), (1.0, 1.0)], [(0.0, 3.0), (0.5, 1.0)], [(1.0, 0.0), (1.0, 0.0)]]
"""Three prompts with two samples each: won and tied, lost twice, won twice."""


def test_ties_count_half_and_a_prompt_has_the_mean_of_its_samples() -> None:
    wins = comparison.wins(SCORES)
    assert wins == [[1.0, 0.5], [0.0, 0.0], [1.0, 1.0]]
    assert comparison.shares(wins) == [0.75, 0.0, 1.0]
    assert comparison.counted(wins) == {"wins": 3, "ties": 1, "losses": 2}
    assert comparison.rate(wins, 100, 0)["win_rate"] == pytest.approx(3.5 / 6)


def test_more_samples_of_the_same_prompts_do_not_narrow_the_interval_as_more_prompts_would() -> None:
    draw = random.Random(0)
    prompts = [float(draw.random() < 0.6) for _ in range(50)]
    once = comparison.rate([[win] for win in prompts], 2000, 0)
    # Ten samples that all say the same tell no more than one.
    assert comparison.rate([[win] * 10 for win in prompts], 2000, 0) == once
    counted_alone = estimate([win for win in prompts for _ in range(10)], 2000, 0)
    assert once["high"] - once["low"] > 2.5 * (counted_alone.high - counted_alone.low)


def test_length_control_sees_every_sample_beside_the_others_of_its_number() -> None:
    wins = [[1.0, 0.0], [0.0, 1.0]]
    own, theirs = [["a", "bb"], ["cc", "d"]], [["a", "bb", "not compared"], ["cc", "d", ""]]
    assert comparison.at_equal_length(wins, own, theirs) == 0.5  # no difference in length: the plain rate
    assert comparison.at_equal_length([[1.0], [1.0]], [["a"], ["b"]], theirs) == 1.0


def test_judges_agree_where_both_prefer_a_side_and_it_is_the_same() -> None:
    wins = {"one": [1.0, 1.0, 0.0, 0.5, 0.75], "other": [1.0, 0.0, 0.0, 1.0, 1.0], "third": [0.5] * 5}
    found = agreement(wins)
    assert [row["judges"] for row in found] == [["one", "other"], ["one", "third"], ["other", "third"]]
    assert (found[0]["prompts"], found[0]["same"]) == (4, 0.75)
    assert (found[1]["prompts"], found[1]["same"]) == (0, None)
    # Seen 3 of 5; by chance, with shares 3, 1, 1 and 3, 2, 0 of wins, losses and ties, (9 + 2) / 25.
    assert found[0]["kappa"] == pytest.approx((3 / 5 - 11 / 25) / (1 - 11 / 25))


def test_kappa_is_cohens_with_ties_as_a_class() -> None:
    from sklearn.metrics import cohen_kappa_score

    draw = random.Random(1)
    one, other = ([draw.choice([-1, 0, 1]) for _ in range(60)] for _ in range(2))
    near = [side if draw.random() < 0.7 else draw.choice([-1, 0, 1]) for side in one]
    for them in (other, near):
        assert kappa(one, them) == pytest.approx(cohen_kappa_score(one, them))
    assert kappa([1, 1], [1, 1]) is None
