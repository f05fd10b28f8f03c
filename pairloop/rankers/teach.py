"""How a specialist is made: from a frozen base model's own answers, good ones over worse ones, and a linear fit.

The recipe and what it is worth: answers at low over high temperature, answers over spoiled ones, Bradley-Terry on the
mean hidden state at two thirds of the depth. 0.70 agreement with 61 blind judgements of SmolLM2-135M's answers, 95 %
interval ±0.12, where the longest answer is right in 0.53.
"""

import statistics
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from pairloop import winrate
from pairloop.errors import TrainingError
from pairloop.params import Teach
from pairloop.rankers.comparisons import (
    HIGH,
    LOW,
    USUAL,
    Answers,
    Comparison,
    Preference,
    compare,
    hack,
    held_out_prompts,
)
from pairloop.rankers.hidden import HiddenStates
from pairloop.rankers.specialist import Head
from pairloop.rankers.spoilers import HACKS
from pairloop.records import Row
from pairloop.samplers import Request, Sampler
from pairloop.work import seed_of

Key = tuple[str, str]
"""A prompt and an answer to it."""

CONSTRUCTED = ("low_over_high", "usual_over_high", "spoiled", "preference")
"""Kinds of comparison that are fitted and, on held-out prompts, tested."""


def teach(
    prompts: Sequence[Row],
    sampler_at: Callable[[float], Sampler],
    hidden: HiddenStates,
    base: Mapping[str, str],
    params: Teach,
    seed: int,
    preferences: Sequence[Preference] = (),
) -> tuple[Head, Row]:
    """Make a specialist from a frozen base model.

    Args:
        prompts: rows with prompt_id and prompt, used for nothing else.
        sampler_at: a sampler of the base's answers at a temperature.
        hidden: how the base reads answers.
        base: fingerprint of the base, kept with the head.
        params: how many spoiled versions, how strong the penalty, what share is held out.
        seed: the run's seed.
        preferences: the user's own comparisons, fitted with the others; a share of their prompts is held out too.

    Returns:
        The head, and how good it is, as JSON values (see `measure`), with the number of `unusable` comparisons: those
        whose better answer is empty or the same as the worse one.

    Raises:
        TrainingError: there is no usable comparison.
    """
    answers = sample(prompts, sampler_at, seed)
    held_out = held_out_prompts(prompts, preferences, params.held_out, seed)
    made = compare(prompts, answers, held_out, params.spoilers, seed) + hack(prompts, answers, held_out)
    made += [Comparison(*own, "preference", own[0] not in held_out) for own in preferences]
    comparisons = [comparison for comparison in made if comparison.usable]
    sampled = [(row["prompt"], [texts[i] for texts in answers.values()]) for i, row in enumerate(prompts)]
    features = read(hidden, comparisons, sampled)
    weights = fit([c for c in comparisons if c.fitted], features, params.regularisation)
    head = Head(*weights, hidden.layer, hidden.depth, base)
    scores = {key: float(head.scores(feature)) for key, feature in features.items()}
    counts = {"prompts": len(prompts), "unusable": len(made) - len(comparisons)}
    return head, counts | measure(comparisons, scores) | {"length_correlation": _length_correlation(sampled, scores)}


def sample(prompts: Sequence[Row], sampler_at: Callable[[float], Sampler], seed: int) -> Answers:
    """One answer to each of the P prompts at each temperature."""
    answers = {}
    for temperature in (LOW, USUAL, HIGH):
        requests = [
            Request(row["prompt"], (seed_of(seed, "teach", row["prompt_id"], str(temperature)),)) for row in prompts
        ]
        answers[temperature] = [responses[0].text for responses in sampler_at(temperature).sample(requests)]
    return answers


def read(
    hidden: HiddenStates, comparisons: Sequence[Comparison], sampled: Sequence[tuple[str, list[str]]]
) -> dict[Key, Any]:
    """Features of each different prompt and answer among comparisons and sampled answers: float32 arrays [H]."""
    texts: dict[str, dict[str, None]] = {}
    for prompt, own in [*((c.prompt, [c.better, c.worse]) for c in comparisons), *sampled]:
        texts.setdefault(prompt, {}).update(dict.fromkeys(own))
    means = hidden.means(list(texts), [list(own) for own in texts.values()])
    return {
        (prompt, text): feature
        for (prompt, own), found in zip(texts.items(), means, strict=True)
        for text, feature in zip(own, found, strict=True)
    }


def fit(comparisons: Sequence[Comparison], features: Mapping[Key, Any], regularisation: float) -> tuple[Any, Any, Any]:
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
    import numpy as np
    from sklearn.linear_model import LogisticRegression

    if not comparisons:
        raise TrainingError("no comparison is left to fit the specialist to: give more prompts (teach.prompts)")
    better = np.array([features[c.prompt, c.better] for c in comparisons], dtype=np.float64)
    worse = np.array([features[c.prompt, c.worse] for c in comparisons], dtype=np.float64)
    both = np.concatenate([better, worse])
    mean, scale = both.mean(0), both.std(0)
    scale[scale == 0] = 1.0
    difference = (better - worse) / scale
    model = LogisticRegression(C=regularisation, fit_intercept=False, max_iter=1000)
    model.fit(np.concatenate([difference, -difference]), np.repeat([1, 0], len(difference)))
    return model.coef_[0].copy(), mean, scale


def measure(comparisons: Sequence[Comparison], scores: Mapping[Key, float]) -> Row:
    """How often the better answer of comparisons has the higher score; equal scores count half.

    Returns:
        pairs (fitted), fitted_accuracy; held_out_pairs, held_out_accuracy (total and of each kind that was
        constructed); low_over_usual, of which none is fitted; and hacks: for each the share of held-out good answers
        that their hacked version beats. None where there is no such comparison.
    """

    def accuracy(kind: str | None, fitted: bool) -> float | None:
        found = [c for c in comparisons if c.fitted == fitted and (c.kind == kind if kind else c.kind in CONSTRUCTED)]
        better = [scores[c.prompt, c.better] for c in found]
        worse = [scores[c.prompt, c.worse] for c in found]
        return statistics.fmean(winrate.preferences(better, worse)) if found else None

    def beaten(hack: str) -> float | None:
        share = accuracy(hack, fitted=False)
        return None if share is None else 1 - share

    return {
        "pairs": sum(c.fitted for c in comparisons),
        "fitted_accuracy": accuracy(None, fitted=True),
        "held_out_pairs": sum(not c.fitted and c.kind in CONSTRUCTED for c in comparisons),
        "held_out_accuracy": {"total": accuracy(None, fitted=False)}
        | {kind: accuracy(kind, fitted=False) for kind in CONSTRUCTED},
        "low_over_usual": accuracy("low_over_usual", fitted=False),
        "hacks": {name: beaten(name) for name in HACKS},
    }


def _length_correlation(sampled: Sequence[tuple[str, list[str]]], scores: Mapping[Key, float]) -> float | None:
    """Mean rank correlation, within a prompt, of score and number of words."""
    own = [[scores[prompt, text] for text in texts] for prompt, texts in sampled]
    return winrate.mean_length_correlation(own, [texts for _, texts in sampled])
