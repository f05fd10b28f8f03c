"""What is told about a ranker."""

import pytest

from pairloop.rankers import advantages, quality
from pairloop.rankers.ensemble import Ensemble, standardised


def test_a_winner_that_changes_with_the_order_is_position_bias() -> None:
    steady = [[0.0, 2.0], [-1.0, 0.0]]
    first_shown = [[0.0, 2.0], [1.0, 0.0]]
    half_tied = [[0.0, 2.0], [0.0, 0.0]]
    same_text = [[0.0, 0.0], [0.0, 0.0]]
    assert quality.position_bias([steady]) == 0
    assert quality.position_bias([first_shown, steady]) == 0.5
    assert quality.position_bias([half_tied, same_text]) == 1
    assert quality.position_bias([same_text]) is None


def test_every_margin_is_in_the_histogram() -> None:
    found = quality.margins([[0.0, 1.0], [5.0, 0.0], [2.0, 2.0], [10.0, 0.0, 4.0]])
    assert found["edges"] == [float(i) for i in range(11)]
    assert found["counts"] == [1, 1, 0, 0, 0, 1, 0, 0, 0, 1]
    assert quality.margins([[1.0, 1.0], []]) == {"edges": [], "counts": []}


def test_agreement_is_about_the_pair_that_would_be_trained_on() -> None:
    scores = [[3.0, 1.0, 2.0], [0.0, 1.0], [1.0, 1.0]]
    assert quality.agreement(scores, [[9.0, 0.0, 0.0], [0.0, 5.0], [1.0, 2.0]])["best_over_worst"] == 1
    assert quality.agreement(scores, [[0.0, 9.0, 0.0], [0.0, 5.0], [1.0, 2.0]])["best_over_worst"] == 0.5
    assert quality.agreement(scores, [[1.0, 1.0, 5.0], [7.0, 5.0], [1.0, 2.0]])["best_over_worst"] == 0.25
    assert quality.agreement([[1.0, 1.0]], [[1.0, 2.0]]) == {"best_over_worst": None, "rank_correlation": None}


def test_comparisons_become_scores_that_sum_to_zero() -> None:
    assert advantages([[0.0, 2.0, 1.0], [-1.0, 0.0, 3.0], [0.0, 0.0, 0.0]]) == pytest.approx([4 / 3, 0.0, -4 / 3])
    assert advantages([]) == []


class Fixed:
    """Gives each text its score."""

    def __init__(self, **score_of: float) -> None:
        self.score_of = score_of

    def score(self, prompts: list[str], candidates: list[list[str]]) -> list[list[float]]:
        assert all(len(set(texts)) == len(texts) > 1 for texts in candidates)
        return [[self.score_of[text] for text in texts] for texts in candidates]


def test_an_ensemble_adds_up_standardised_scores_by_weight() -> None:
    small, large = Fixed(a=0.0, b=1.0, c=2.0), Fixed(a=2000.0, b=1000.0, c=0.0)
    both = Ensemble([(1.0, small), (1.0, large)])
    assert both.score(["x"], [["a", "b", "c"]])[0] == pytest.approx([0.0, 0.0, 0.0])
    leaning = Ensemble([(2.0, small), (1.0, large)]).score(["x"], [["a", "b", "c"]])[0]
    assert leaning == pytest.approx(standardised([0.0, 1.0, 2.0]))


def test_an_ensemble_asks_about_different_texts_only() -> None:
    ensemble = Ensemble([(1.0, Fixed(a=1.0, b=3.0))])
    assert ensemble.score(["x", "y", "z"], [["a", "b", "a"], ["a", "a"], []]) == [[-1.0, 1.0, -1.0], [0.0, 0.0], []]


def test_a_member_without_an_opinion_has_no_say() -> None:
    ensemble = Ensemble([(5.0, Fixed(a=7.0, b=7.0)), (1.0, Fixed(a=0.0, b=1.0))])
    assert ensemble.score(["x"], [["a", "b"]]) == [[-1.0, 1.0]]
