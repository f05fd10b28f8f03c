"""Preferences and scores to numbers: means and how sure they are, and rank correlations."""

import random
import statistics
from collections.abc import Sequence
from dataclasses import dataclass

from pairloop.work.shards import seed_of


@dataclass(frozen=True)
class Estimate:
    """A mean with its 95 % bootstrap interval over prompts."""

    value: float
    low: float
    high: float


def outcomes(scores: Sequence[float], opponent_scores: Sequence[float]) -> list[float]:
    """1 where the model's answer scores higher than the opponent's, 0 where lower, ½ where equal."""
    return [0.5 if a == b else float(a > b) for a, b in zip(scores, opponent_scores, strict=True)]


def estimate(values: Sequence[float], resamples: int, seed: int) -> Estimate:
    """Mean of one value per prompt, with the percentile interval of resampling the prompts.

    Paired comparisons are estimated by passing the differences, prompt by prompt.
    """
    draw = random.Random(seed_of(seed, "bootstrap"))
    means = sorted(statistics.fmean(draw.choices(values, k=len(values))) for _ in range(resamples))
    low, high = means[int(0.025 * resamples)], means[min(resamples - 1, int(0.975 * resamples))]
    return Estimate(statistics.fmean(values), low, high)


def rank_correlation(values: Sequence[float], others: Sequence[float]) -> float | None:
    """Spearman's rank correlation, ties sharing their mean rank; None where one side is constant."""
    first, second = _ranks(values), _ranks(others)
    if len(set(first)) < 2 or len(set(second)) < 2:
        return None
    return statistics.correlation(first, second)


def mean_length_correlation(scores: Sequence[Sequence[float]], texts: Sequence[Sequence[str]]) -> float | None:
    """Mean over prompts of the rank correlation between score and number of words; None where none is defined."""
    return mean_of_defined([length_correlation(*both) for both in zip(scores, texts, strict=True)])


def length_correlation(scores: Sequence[float], texts: Sequence[str]) -> float | None:
    """Rank correlation between the scores of one prompt's texts and their numbers of words."""
    return rank_correlation(scores, [len(text.split()) for text in texts])


def mean_of_defined(values: Sequence[float | None]) -> float | None:
    """Mean of those that are not None; None where none is left."""
    defined = [value for value in values if value is not None]
    return statistics.fmean(defined) if defined else None


def _ranks(values: Sequence[float]) -> list[float]:
    ordered = sorted(values)
    return [ordered.index(v) + (ordered.count(v) - 1) / 2 for v in values]
