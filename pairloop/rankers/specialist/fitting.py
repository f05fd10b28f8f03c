"""The linear fit behind a specialist, and the choice of its layer and penalty by cross-validation."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pairloop.errors import TrainingError
from pairloop.rankers.specialist.comparisons import Comparison
from pairloop.work.shards import seed_of

Key = tuple[str, str]
"""A prompt and an answer to it."""

Features = Mapping[Key, Any]
"""Array [H] of each prompt and answer: the states of one layer."""

FOLDS = 5
"""Parts of the fitted prompts, each of which is predicted once from the others."""

ITERATIONS = 500
"""Most steps of one fit. It ends by itself after a few dozen, but for very weak penalties."""


@dataclass(frozen=True)
class Candidate:
    """A layer and a penalty, and how well they predict comparisons that they were not fitted to."""

    layer: int
    """Layer that the features were read at, from 1."""

    regularisation: float
    """scikit-learn's C."""

    accuracy: float | None
    """Share of the fitted comparisons that the folds without them get right, a tie being half; None if untested."""

    log_likelihood: float | None
    """Mean natural logarithm of the probability that those folds give to the right answer."""


def fit(comparisons: Sequence[Comparison], features: Features, regularisation: float) -> tuple[Any, Any, Any]:
    """Fit a Bradley-Terry model: logistic regression without intercept on differences of standardised features.

    Args:
        comparisons: N comparisons.
        features: array [H] of each prompt and answer in them.
        regularisation: scikit-learn's C, for the 2 N differences of both signs.

    Returns:
        weight, mean and scale of a Head: float64 arrays [H].

    Raises:
        TrainingError: there is no comparison.
    """
    difference, mean, scale = _standardised(comparisons, features)
    return _weight(difference, regularisation), mean, scale


def choose(
    comparisons: Sequence[Comparison],
    features: Mapping[int, Features],
    regularisations: Sequence[float],
    seed: int,
) -> tuple[Candidate, list[Candidate]]:
    """The best layer and penalty by cross-validation over prompts, so that no prompt is on both sides.

    Features are standardised once for each layer, over all comparisons: mean and scale know no label.

    Args:
        comparisons: N comparisons, none of a held-out prompt.
        features: for each layer its features.
        regularisations: penalties to try with each layer.
        seed: which prompts are in which of FOLDS folds.

    Returns:
        The candidate of the highest accuracy, among equals the one of the highest log-likelihood, among these the
        first; and all, in their order. With fewer than two prompts nothing can be tested: the first is taken.

    Raises:
        TrainingError: there is no comparison.
    """
    folds = _folds(comparisons, seed)
    found = []
    for layer, own in features.items():
        difference, _, _ = _standardised(comparisons, own)
        found += [Candidate(layer, value, *_tested(difference, folds, value)) for value in regularisations]
    if len(set(folds)) < 2:
        return found[0], found
    return max(found, key=lambda c: (c.accuracy, c.log_likelihood)), found


def _standardised(comparisons: Sequence[Comparison], features: Features) -> tuple[Any, Any, Any]:
    """Better minus worse in standard deviations [N, H], and the mean and standard deviation of the features [H]."""
    import numpy as np
    from sklearn.preprocessing import StandardScaler

    if not comparisons:
        raise TrainingError(
            "no comparison is left to fit the specialist to: give more prompts (teach.prompts) or more preferences "
            "(teach.preferences)"
        )
    better = np.array([features[c.prompt, c.better] for c in comparisons], dtype=np.float64)
    worse = np.array([features[c.prompt, c.worse] for c in comparisons], dtype=np.float64)
    scaler = StandardScaler().fit(np.concatenate([better, worse]))
    return (better - worse) / scaler.scale_, scaler.mean_, scaler.scale_


def _weight(difference: Any, regularisation: float) -> Any:
    import numpy as np
    from sklearn.linear_model import LogisticRegression

    model = LogisticRegression(C=regularisation, fit_intercept=False, max_iter=ITERATIONS)
    model.fit(np.concatenate([difference, -difference]), np.repeat([1, 0], len(difference)))
    return model.coef_[0].copy()


def _folds(comparisons: Sequence[Comparison], seed: int) -> Any:
    """Number of each comparison's fold: int array [N]. Folds differ by at most one prompt."""
    import numpy as np

    prompts = sorted({c.prompt for c in comparisons}, key=lambda prompt: seed_of(seed, "teach", "fold", prompt))
    place = {prompt: i % FOLDS for i, prompt in enumerate(prompts)}
    return np.array([place[c.prompt] for c in comparisons])


def _tested(difference: Any, folds: Any, regularisation: float) -> tuple[float | None, float | None]:
    """Accuracy and mean log-likelihood of differences [N, H], each by a fit without its fold."""
    import numpy as np

    numbers = np.unique(folds)
    if len(numbers) < 2:
        return None, None
    margin = np.empty(len(difference))
    for number in numbers:
        margin[folds == number] = difference[folds == number] @ _weight(difference[folds != number], regularisation)
    right = (margin > 0) + 0.5 * (margin == 0)
    return float(right.mean()), float(-np.logaddexp(0.0, -margin).mean())
