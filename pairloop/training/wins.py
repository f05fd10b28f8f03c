"""How likely a response is to beat the others of its prompt, from what rankings hold."""

import statistics
from collections.abc import Mapping, Sequence
from math import exp
from typing import Any

JUDGE = "judge"
"""The one ranker whose comparisons are verdicts, 1, 0 or -1; those of the others are logits."""


def win_probabilities(row: Mapping[str, Any]) -> list[float]:
    """For each response of a prompt P(it beats all): the mean over the prompt's responses j of P(it beats j).

    As in Self-Play Preference Optimization (Wu et al., arXiv 2405.00675; uclaml/SPPO, scripts/compute_prob.py) each
    response is one of its own opponents, at ½; so the K numbers have the mean ½.

    P(i beats j) comes from the comparisons where there are some: of a logit its sigmoid, of a verdict 1, ½ or 0, and of
    the two orders the mean. Without comparisons it is the sigmoid of the difference of the scores, as SPPO's own code
    makes it of PairRM's. That is what a Bradley-Terry ranker means by a score (`specialist`, `reward`, `encoder`);
    `llm_blender`'s is as in SPPO; those of `likelihood`, `verifiable` and `ensemble` are on a scale of their own, so
    that only the order can be relied on. Where constraints came first, who satisfies more of them beats the others
    surely.

    Args:
        row: `scores` (K), `comparisons` ([K][K], or None) and `ranker` of a row of records.RANKING.

    Returns:
        K numbers from 0 to 1.
    """
    scores, matrix = row["scores"], row["comparisons"]
    if matrix is None:
        return _means([[_sigmoid(mine - theirs) for theirs in scores] for mine in scores])
    read = _verdict if row["ranker"].endswith(JUDGE) else _sigmoid
    said = [[read(value) for value in own] for own in matrix]
    ahead, count = _ahead(scores, matrix), range(len(scores))
    return _means([[_beats(said[i][j], said[j][i], ahead[i] - ahead[j]) for j in count] for i in count])


def _means(beats: Sequence[Sequence[float]]) -> list[float]:
    return [statistics.fmean(own) for own in beats]


def _beats(shown_first: float, other_first: float, ahead: float) -> float:
    """P(i beats j) from P(i beats j) where i is shown first, P(j beats i) where j is, and steps of constraints."""
    return (shown_first + 1 - other_first) / 2 if abs(ahead) < 0.5 else float(ahead > 0)


def _ahead(scores: Sequence[float], matrix: Sequence[Sequence[float]]) -> list[float]:
    """How many steps each response is lifted above what the comparisons say of it: only constraints lift.

    A step, of which there is at least one between different shares, is as in `rankers.verifiable.constraints_first`.
    """
    own = [statistics.fmean(matrix[i][j] - matrix[j][i] for j in range(len(scores))) for i in range(len(scores))]
    step = 2 * (max(own) - min(own)) or 1.0
    return [(score - alone) / step for score, alone in zip(scores, own, strict=True)]


def _sigmoid(logit: float) -> float:
    return 1 / (1 + exp(-logit)) if logit >= 0 else exp(logit) / (1 + exp(logit))


def _verdict(said: float) -> float:
    return (1 + said) / 2
