"""Win probabilities from rankings."""

from math import exp, log
from typing import Any

import pytest

from pairloop.rankers import advantages
from pairloop.rankers.verifiable import constraints_first
from pairloop.training.wins import win_probabilities


def row(scores: list[float], comparisons: list[list[float]] | None = None, ranker: str = "pairrm") -> dict[str, Any]:
    return {"scores": scores, "comparisons": comparisons, "ranker": ranker}


def sigmoid(logit: float) -> float:
    return 1 / (1 + exp(-logit))


def test_scores_alone_give_the_mean_sigmoid_of_their_differences_as_sppo_does() -> None:
    first, second, third = win_probabilities(row([log(3), 0.0, 0.0], ranker="reward"))
    assert first == pytest.approx((0.5 + 0.75 + 0.75) / 3)
    assert second == third == pytest.approx((0.25 + 0.5 + 0.5) / 3)


def test_comparisons_give_the_mean_over_the_opponents_and_both_orders() -> None:
    matrix = [[0.0, 2.0, -1.0], [1.0, 0.0, 0.5], [3.0, -0.5, 0.0]]
    found = win_probabilities(row(advantages(matrix), matrix))
    beats = [[(sigmoid(matrix[i][j]) + 1 - sigmoid(matrix[j][i])) / 2 for j in range(3)] for i in range(3)]
    assert found == pytest.approx([sum(own) / 3 for own in beats])
    assert sum(found) == pytest.approx(1.5)


def test_a_judges_verdicts_are_wins_ties_and_losses() -> None:
    matrix = [[0.0, 1.0, 1.0], [-1.0, 0.0, 0.0], [1.0, 0.0, 0.0]]  # on 0 and 2 it says first, whoever that is
    found = win_probabilities(row(advantages(matrix), matrix, "judge"))
    assert found == pytest.approx([(0.5 + 1 + 0.5) / 3, (0 + 0.5 + 0.5) / 3, 0.5])


@pytest.mark.parametrize("shares", [[0.0, 1.0, 0.0, 0.5], [0.2, 0.2, 1.0, 0.2], [0.0, 0.4, 1.0, 0.6]])
@pytest.mark.parametrize("scale", [0.0, 0.01, 5.0])
def test_who_satisfies_more_constraints_beats_the_others_surely(shares: list[float], scale: float) -> None:
    matrix = [[scale * (7 * i - 3 * j) % 5 if i != j else 0.0 for j in range(4)] for i in range(4)]
    alone = advantages(matrix)
    (scores,) = constraints_first([alone], [shares])
    found = win_probabilities(row(scores, matrix, "constraints, then pairrm"))
    even = [[(sigmoid(matrix[i][j]) + 1 - sigmoid(matrix[j][i])) / 2 for j in range(4)] for i in range(4)]
    expected = [
        sum(even[i][j] if shares[i] == shares[j] else float(shares[i] > shares[j]) for j in range(4)) / 4
        for i in range(4)
    ]
    assert found == pytest.approx(expected)


def test_constraints_that_all_satisfy_alike_change_nothing() -> None:
    matrix = [[0.0, 2.0], [1.0, 0.0]]
    (scores,) = constraints_first([advantages(matrix)], [[0.5, 0.5]])
    named = "constraints, then pairrm"
    assert win_probabilities(row(scores, matrix, named)) == win_probabilities(row(advantages(matrix), matrix))


def test_equal_texts_are_even_and_far_apart_is_certain() -> None:
    assert win_probabilities(row([1.0, 1.0])) == [0.5, 0.5]
    assert win_probabilities(row([-2000.0, 2000.0])) == [0.25, 0.75]
    assert win_probabilities(row([3.0])) == [0.5]
