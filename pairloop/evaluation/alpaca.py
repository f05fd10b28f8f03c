"""AlpacaEval 2.0's numbers from preferences: the same win rates to the digit, computed without its package.

Dubois et al. 2024, https://arxiv.org/abs/2404.04475; alpaca_eval 0.6.6, metrics/winrate.py and metrics/glm_winrate.py.
"""

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

from pairloop.errors import DataError

GAMED_WEIGHT = 0.2
"""`regularize_to_baseline_lambda` of alpaca_eval's length_controlled_v1: what its two gamed sets weigh together."""

FOLDS = 5
"""`n_splits` of the same."""

_SEED = 123
_STEPS, _LARGE = 50, 30.0

Form = Literal["exact", "cross_validated"]
"""How the logistic model is fitted: to the likelihood alone, or with the L1 penalty that cross-validation chooses, as
the package does. On 805 prompts the two differ by at most 0.2 points, on fewer by more than one."""


@dataclass(frozen=True)
class WinRate:
    """What alpaca_eval calls the head-to-head of a model and the reference; shares and errors in per cent."""

    win_rate: float
    """Mean preference; a draw counts half."""

    standard_error: float
    """Of the win rate."""

    discrete_win_rate: float
    """The same with every preference rounded to a win, a draw or a loss."""

    wins: int
    """Verdicts for the model."""

    losses: int
    """Verdicts for the reference."""

    draws: int
    """Verdicts for neither."""

    total: int
    """Verdicts; rows without one do not count."""


@dataclass(frozen=True)
class Gamed:
    """The rows that keep the model of length honest: GPT-4 told to be concise, and to be verbose, against itself.

    alpaca_eval's df_gamed.csv, as columns of equal length.
    """

    preferences: Sequence[float]
    """From 0, the reference, to 1."""

    differences: Sequence[float]
    """Characters by which the reference is longer, divided by their standard deviation."""

    difficulties: Sequence[float]
    """Of the instructions."""


def win_rate(preferences: Sequence[float | None]) -> WinRate:
    """The win rate of a model.

    Args:
        preferences: of each instruction from 1 (the reference is better) to 2 (the model is); 1.5 and 0 are draws,
            None and NaN no verdict.

    Raises:
        DataError: fewer than two verdicts, or one outside 0 and 1 to 2.
    """
    given = list(shares(preferences).values())
    if len(given) < 2:
        raise DataError(f"a win rate needs two verdicts or more, and of {len(preferences)} rows {len(given)} have one")
    discrete = [0.5 if value == 0.5 else float(round(value)) for value in given]
    return WinRate(
        win_rate=100 * statistics.fmean(given),
        standard_error=100 * statistics.stdev(given) / math.sqrt(len(given)),
        discrete_win_rate=100 * statistics.fmean(discrete),
        wins=sum(value > 0.5 for value in given),
        losses=sum(value < 0.5 for value in given),
        draws=sum(value == 0.5 for value in given),
        total=len(given),
    )


def shares(preferences: Sequence[float | None]) -> dict[int, float]:
    """Preferences as shares of a win, from 0 to 1, by the row; rows without a verdict are left out.

    Raises:
        DataError: a preference is outside 0 and 1 to 2.
    """
    return {row: _share(row, value) for row, value in enumerate(preferences) if _is_verdict(value)}


def length_controlled(
    preferences: Sequence[float | None],
    lengths: Sequence[int],
    reference_lengths: Sequence[int],
    difficulties: Sequence[float],
    gamed: Gamed,
    form: Form = "exact",
) -> tuple[float, float]:
    """The win rate that the full logistic model predicts if both outputs were equally long, and its standard error.

    logit p = a·tanh(difference in length) + b·difficulty + c; the result is the mean of sigmoid(b·difficulty + c) over
    all instructions. Model and gamed rows are fitted together; c belongs to the model's own rows.

    Args:
        preferences: as for `win_rate`, in the benchmark's order, which the difficulties have too.
        lengths: characters of the model's outputs.
        reference_lengths: characters of the reference's outputs.
        difficulties: of each instruction (alpaca_eval's instruction_difficulty).
        gamed: alpaca_eval's gamed rows.
        form: see `Form`.

    Returns:
        Both in per cent.

    Raises:
        DataError: columns of different length, or too few verdicts.
    """
    import numpy as np

    _check_columns(preferences, lengths, reference_lengths, difficulties)
    found = shares(preferences)
    features = np.stack([_shorter(lengths, reference_lengths), difficulties, np.ones(len(preferences))], 1)
    others = np.stack([np.tanh(gamed.differences), gamed.difficulties, np.zeros(len(gamed.differences))], 1)
    weights = np.concatenate([np.full(len(others), GAMED_WEIGHT / 2), np.ones(len(found))])
    outcomes = np.concatenate([gamed.preferences, list(found.values())])
    _, difficulty, constant = _FITS[form](np.concatenate([others, features[list(found)]]), outcomes, weights)
    predicted = 100 / (1 + np.exp(-(difficulty * features[:, 1] + constant)))
    return float(predicted.mean()), float(predicted.std(ddof=1) / math.sqrt(len(predicted)))


def length_controlled_minimal(
    preferences: Sequence[float | None], lengths: Sequence[int], reference_lengths: Sequence[int]
) -> float:
    """The same without difficulties, for any instructions, in per cent: logit p = a·tanh(difference in length) + c.

    alpaca_eval's length_controlled_minimal, fitted to the likelihood alone. Arguments as of `length_controlled`.
    """
    import numpy as np

    _check_columns(preferences, lengths, reference_lengths)
    found = shares(preferences)
    features = np.stack([_shorter(lengths, reference_lengths), np.ones(len(preferences))], 1)
    _, constant = _exact(features[list(found)], np.array(list(found.values())), np.ones(len(found)))
    return float(100 / (1 + math.exp(-constant)))


def _shorter(lengths: Sequence[int], reference_lengths: Sequence[int]) -> Any:
    """How much shorter each output is than the reference's, from -1 to 1; 0 where that is the same for all."""
    import numpy as np

    difference = np.array(reference_lengths, dtype=float) - np.array(lengths, dtype=float)
    spread = difference.std(ddof=1)
    return np.tanh(difference / spread) if spread else np.zeros(len(difference))


def _is_verdict(value: float | None) -> bool:
    return value is not None and not math.isnan(value)


def _share(row: int, value: float | None) -> float:
    """A preference as a share of a win. 0 is alpaca_eval's other name for a draw."""
    if value is None or not (value == 0 or 1 <= value <= 2):
        raise DataError(f"row {row}: the preference is {value}, and must be from 1 to 2, or 0 for a draw")
    return 0.5 if value == 0 else value - 1


def _check_columns(*columns: Sequence[Any]) -> None:
    if len({len(column) for column in columns}) > 1:
        found = ", ".join(str(len(column)) for column in columns)
        raise DataError(
            f"preferences, lengths, the reference's lengths, difficulties have {found} rows: each needs one for "
            "every instruction, in the benchmark's order"
        )


def _doubled(features: Any, outcomes: Any, weights: Any) -> tuple[Any, Any, Any]:
    """Each row once as a win and once as a loss, weighted by how far it is one."""
    import numpy as np

    wins = np.repeat([1, 0], len(outcomes))
    shares = np.concatenate([outcomes, 1 - outcomes])
    return np.tile(features, (2, 1)), wins, np.tile(weights, 2) * shares


def _exact(features: Any, outcomes: Any, weights: Any) -> Any:
    """The maximum of the likelihood, by Newton's method: three coefficients need about eight steps."""
    import numpy as np

    coefficients = np.zeros(features.shape[1])
    for _ in range(_STEPS):
        chances = 1 / (1 + np.exp(-np.clip(features @ coefficients, -_LARGE, _LARGE)))
        slope = features.T @ (weights * (outcomes - chances))
        bend = (features * (weights * chances * (1 - chances))[:, None]).T @ features
        # Where all won, or a feature is constant, there is no single maximum: then the flat direction stays as it is.
        step = np.linalg.lstsq(bend, slope, rcond=1e-12)[0]
        coefficients += np.clip(step, -1, 1)
        if np.abs(step).max() < 1e-10:
            break
    return coefficients


def _cross_validated(features: Any, outcomes: Any, weights: Any) -> Any:
    """The package's fit: L1 by liblinear, of ten strengths the one with the least weighted log loss on five folds."""
    import numpy as np
    from sklearn.linear_model import LogisticRegression
    from sklearn.model_selection import GroupKFold

    doubled, wins, shares = _doubled(features, outcomes, weights)

    def fitted(strength: float, rows: Any, state: Any) -> Any:
        model = LogisticRegression(C=strength, l1_ratio=1, solver="liblinear", fit_intercept=False, random_state=state)
        return model.fit(doubled[rows], wins[rows], sample_weight=shares[rows])

    def losses(train: Any, test: Any) -> list[float]:
        # One stream for all strengths of a fold: where several are about equal, it decides which seems the best.
        state, found = np.random.RandomState(_SEED), []
        for strength in strengths:
            chances = np.clip(fitted(strength, train, state).predict_proba(doubled[test])[:, 1], 1e-15, 1 - 1e-15)
            found.append(float(np.mean(-np.log(np.where(wins[test], chances, 1 - chances)) * shares[test])))
        return found

    strengths = np.logspace(-4, 4, 10)
    groups = np.tile(np.arange(len(outcomes)), 2)
    folds = [losses(train, test) for train, test in GroupKFold(FOLDS).split(doubled, wins, groups)]
    best = strengths[np.mean(folds, axis=0).argmin()]
    return fitted(best, slice(None), _SEED).coef_[0]


_FITS = {"exact": _exact, "cross_validated": _cross_validated}
