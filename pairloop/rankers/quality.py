"""How a ranker behaved on an iteration's responses: figures that need no labels."""

from collections.abc import Sequence

from pairloop.measures.statistics import mean_of_defined, outcomes, rank_correlation

Matrix = Sequence[Sequence[float]]
"""M[i][j] above 0: response i, shown first, beats response j; below 0: it loses."""

BINS = 10
"""Bars of the histogram of margins."""


def position_bias(matrices: Sequence[Matrix]) -> float | None:
    """Share of the pairs of responses whose winner changes with the order in which they are shown; None without pairs.

    Equal texts, of which nobody asks, do not count; a win in one order and a tie in the other does as a change.
    """
    flips = [
        (matrix[i][j] > 0) - (matrix[i][j] < 0) != (matrix[j][i] < 0) - (matrix[j][i] > 0)
        for matrix in matrices
        for j in range(len(matrix))
        for i in range(j)
        if matrix[i][j] or matrix[j][i]
    ]
    return mean_of_defined(flips)


def margins(scores: Sequence[Sequence[float]]) -> dict[str, list[float] | list[int]]:
    """Histogram over prompts of the best score minus the worst.

    Returns:
        `edges`, BINS + 1 numbers from 0 to the largest margin, and `counts`, prompts in each of the BINS bars. Both
        empty where every prompt has one score.
    """
    import numpy as np

    found = [max(own) - min(own) for own in scores if own]
    top = max(found, default=0.0)
    if top == 0:
        return {"edges": [], "counts": []}
    counts, edges = np.histogram(found, BINS, (0.0, top))
    return {"edges": edges.tolist(), "counts": counts.tolist()}


def agreement(scores: Sequence[Sequence[float]], other: Sequence[Sequence[float]]) -> dict[str, float | None]:
    """How far a second ranker says the same.

    Args:
        scores: for each prompt the K scores that pairs are made from.
        other: the second ranker's, in the same order.

    Returns:
        `best_over_worst`: share of the prompts whose best response the second ranker also puts above the worst, its
        ties counting half; `rank_correlation`: mean over prompts of Spearman's. None where nothing can be compared.
    """
    picks = [(own.index(max(own)), own.index(min(own)), theirs) for own, theirs in zip(scores, other, strict=True)]
    same = [
        outcomes([theirs[best]], [theirs[worst]])[0]
        for (best, worst, theirs), own in zip(picks, scores, strict=True)
        if own[best] > own[worst]
    ]
    correlations = [rank_correlation(own, theirs) for own, theirs in zip(scores, other, strict=True)]
    return {
        "best_over_worst": mean_of_defined(same),
        "rank_correlation": mean_of_defined(correlations),
    }
