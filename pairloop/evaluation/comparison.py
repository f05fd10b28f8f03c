"""One model's held-out answers beside iteration 0's: win rates, constraints, lengths and faults."""

import json
import statistics
from collections.abc import Sequence

from pairloop.evaluation.winrate import length_controlled
from pairloop.files.records import Row
from pairloop.measures.statistics import estimate, outcomes
from pairloop.measures.texts import repetitive, words
from pairloop.prompts import constraints


def judge(
    scores: Sequence[Sequence[float]], own: Sequence[str], base: Sequence[str], resamples: int, seed: int
) -> dict[str, float]:
    """Win rate of a model against iteration 0, by one judge.

    Args:
        scores: for each prompt the score of the model's answer and of iteration 0's.
        own: the model's answers.
        base: iteration 0's answers.
        resamples: resamples of the bootstrap.
        seed: the run's seed.

    Returns:
        win_rate (ties count half) with the 95 % interval low and high, and length_controlled.
    """
    wins = outcomes([pair[0] for pair in scores], [pair[1] for pair in scores])
    rate = estimate(wins, resamples, seed)
    controlled = length_controlled(wins, [len(text) for text in own], [len(text) for text in base])
    return {"win_rate": rate.value, "low": rate.low, "high": rate.high, "length_controlled": controlled}


def passes(prompts: Sequence[Row], texts: Sequence[str]) -> list[bool | None]:
    """Whether each answer satisfies all constraints of its prompt; None for a prompt without constraints."""
    return [
        constraints.holds(json.loads(row["constraints"]), text) if row["constraints"] else None
        for row, text in zip(prompts, texts, strict=True)
    ]


def constraint_rate(
    own: Sequence[bool | None], base: Sequence[bool | None], resamples: int, seed: int
) -> dict[str, float] | None:
    """Share of the constrained prompts whose constraints all hold, and the gain over iteration 0, prompt by prompt.

    Returns:
        prompts, pass_rate with low and high, gain with gain_low and gain_high; None if no prompt is constrained.
    """
    both = [
        (float(mine), float(theirs))
        for mine, theirs in zip(own, base, strict=True)
        if mine is not None and theirs is not None
    ]
    if not both:
        return None
    rate = estimate([mine for mine, _ in both], resamples, seed)
    gain = estimate([mine - theirs for mine, theirs in both], resamples, seed)
    return {
        "prompts": len(both),
        "pass_rate": rate.value,
        "low": rate.low,
        "high": rate.high,
        "gain": gain.value,
        "gain_low": gain.low,
        "gain_high": gain.high,
    }


def form(answers: Sequence[Row]) -> dict[str, float]:
    """How the answers look: mean_words, mean_tokens, truncated_share, repetitive_share, empty_share.

    Args:
        answers: rows of records.RESPONSE with one response each.
    """
    texts = [row["responses"][0] for row in answers]
    return {
        "mean_words": statistics.fmean(len(words(text)) for text in texts),
        "mean_tokens": statistics.fmean(row["token_counts"][0] for row in answers),
        "truncated_share": statistics.fmean(row["finish_reasons"][0] == "length" for row in answers),
        "repetitive_share": statistics.fmean(repetitive(text) for text in texts),
        "empty_share": statistics.fmean(not text.strip() for text in texts),
    }
