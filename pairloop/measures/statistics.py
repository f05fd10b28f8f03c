"""Preferences and scores to numbers: means and how sure they are, and rank correlations."""

import statistics
from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from typing import Any

from pairloop.measures.texts import words
from pairloop.work.shards import seed_of

FEW = 30
"""Prompts, or pairs, of which fewer can tell nothing: the bootstrap's interval is then too narrow to go by."""

_BATCH = 10_000_000
"""Values drawn at once: bounds memory, and changes no result."""


@dataclass(frozen=True)
class Estimate:
    """A mean with its 95 % bootstrap interval over prompts."""

    value: float
    low: float
    high: float


def outcomes(scores: Sequence[float], opponent_scores: Sequence[float]) -> list[float]:
    """1 where the model's answer scores higher than the opponent's, 0 where lower, ½ where equal."""
    return [0.5 if a == b else float(a > b) for a, b in zip(scores, opponent_scores, strict=True)]


def estimate(values: Sequence[float], resamples: int, seed: int, groups: Sequence[Hashable] | None = None) -> Estimate:
    """Mean of values, with the percentile interval of resampling them.

    Paired comparisons are estimated by passing the differences, prompt by prompt. Where all values are equal,
    resampling sees no doubt: the interval is the mean itself.

    Args:
        values: at least one.
        resamples: how often they are drawn again.
        seed: decides what is drawn.
        groups: what each value belongs to, as a prompt: its values are drawn together. None: each stands alone.
    """
    import numpy as np
    from scipy.stats import bootstrap

    mean = statistics.fmean(values)
    names = range(len(values)) if groups is None else groups
    number = {name: i for i, name in enumerate(dict.fromkeys(names))}
    places = [number[name] for name in names]
    counts = np.bincount(places)
    if len(set(values)) == 1 or len(counts) == 1:
        return Estimate(mean, mean, mean)
    found = bootstrap(
        (np.bincount(places, values), counts),
        lambda sums, sizes, axis: sums.sum(axis) / sizes.sum(axis),
        paired=True,
        n_resamples=resamples,
        batch=max(1, _BATCH // len(counts)),
        method="percentile",
        rng=np.random.default_rng(seed_of(seed, "bootstrap")),
    ).confidence_interval
    return Estimate(mean, float(found.low), float(found.high))


def resamples_of(count: int, resamples: int, seed: int, stream: str = "bootstrap") -> Any:
    """How often each of `count` prompts is drawn in each resample: an array [resamples, count] of whole numbers.

    For what is no mean of values: count it for every row, and take `interval` of what comes out. Other streams are
    drawn independently of each other.
    """
    import numpy as np

    draw = np.random.default_rng(seed_of(seed, stream))
    return draw.multinomial(count, np.full(count, 1 / count), size=resamples)


def interval(value: float, resampled: Any) -> Estimate:
    """A value with the 2.5th and the 97.5th percentile of an array of resampled ones."""
    import numpy as np

    low, high = np.percentile(resampled, [2.5, 97.5])
    return Estimate(value, float(low), float(high))


def rank_correlation(values: Sequence[float], others: Sequence[float]) -> float | None:
    """Spearman's rank correlation, ties sharing their mean rank; None where one side is constant."""
    from scipy.stats import spearmanr

    if len(set(values)) < 2 or len(set(others)) < 2:
        return None
    return float(spearmanr(values, others).statistic)


def mean_length_correlation(scores: Sequence[Sequence[float]], texts: Sequence[Sequence[str]]) -> float | None:
    """Mean over prompts of the rank correlation between score and number of words; None where none is defined."""
    return mean_of_defined([length_correlation(*both) for both in zip(scores, texts, strict=True)])


def length_correlation(scores: Sequence[float], texts: Sequence[str]) -> float | None:
    """Rank correlation between the scores of one prompt's texts and their numbers of words."""
    return rank_correlation(scores, [len(words(text)) for text in texts])


def mean_of_defined(values: Sequence[float | None]) -> float | None:
    """Mean of those that are not None; None where none is left."""
    defined = [value for value in values if value is not None]
    return statistics.fmean(defined) if defined else None
