"""Preferences to numbers: win rate, length-controlled win rate, and how sure they are."""

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


def preferences(scores: Sequence[float], opponent_scores: Sequence[float]) -> list[float]:
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


def length_controlled(wins: Sequence[float], lengths: Sequence[int], opponent_lengths: Sequence[int]) -> float:
    """The win rate that a logistic model predicts if both answers were equally long.

    AlpacaEval 2's length-controlled win rate in its minimal form, without per-instruction difficulties, which exist
    for its own 805 prompts only (alpaca_eval, metrics/glm_winrate.py): logit p = a + b·tanh(difference in characters
    divided by its standard deviation); the result is sigmoid(a). Soft preferences count as weighted wins and losses.
    """
    import numpy as np
    from sklearn.linear_model import LogisticRegression

    difference = np.array(lengths, dtype=float) - np.array(opponent_lengths, dtype=float)
    spread = difference.std(ddof=1)
    if spread == 0:
        return statistics.fmean(wins)
    feature = np.tanh(difference / spread)
    outcome = np.repeat([1, 0], len(wins))
    weight = np.concatenate([np.array(wins), 1 - np.array(wins)])
    if min(weight[outcome == 1].sum(), weight[outcome == 0].sum()) == 0:
        return statistics.fmean(wins)
    model = LogisticRegression(C=1e6).fit(np.tile(feature, 2)[:, None], outcome, sample_weight=weight)
    return float(1 / (1 + np.exp(-model.intercept_[0])))


def repetitive(text: str) -> bool:
    """Whether a text loops: of its four-word sequences, fewer than three in four are different."""
    words = text.lower().split()
    sequences = [tuple(words[i : i + 4]) for i in range(len(words) - 3)]
    return len(sequences) >= 4 and len(set(sequences)) < 0.75 * len(sequences)


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
