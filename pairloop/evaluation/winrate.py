"""The win rate of answers that are longer, or shorter, than the ones they are compared with."""

import statistics
from collections.abc import Sequence


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
    return float(model.predict_proba([[0.0]])[0, 1])
