"""One model's held-out answers beside others': win rates, constraints, lengths and faults.

A prompt counts once, however many answers there are to it: it has the mean over them, and intervals come of drawing
prompts again. Answers to the same prompt say little about other prompts, so drawing them would promise too much.
"""

import json
import statistics
from collections.abc import Sequence

from pairloop.evaluation.winrate import length_controlled
from pairloop.files.records import Row
from pairloop.measures.statistics import FEW, estimate, outcomes
from pairloop.measures.texts import echoes, repetitive, words
from pairloop.prompts import constraints

Wins = list[list[float]]
"""For each prompt and sample 1 where the model wins, 0 where it loses, ½ at a tie."""


def wins(scores: Sequence[Sequence[tuple[float, float]]]) -> Wins:
    """Who wins, from the scores of both sides for each prompt and sample. AlpacaEval counts a tie as half too."""
    return [outcomes([mine for mine, _ in own], [theirs for _, theirs in own]) for own in scores]


def shares(found: Wins) -> list[float]:
    """For each prompt the share of its samples that the model wins."""
    return [statistics.fmean(own) for own in found]


def rate(found: Wins, resamples: int, seed: int) -> dict[str, float]:
    """win_rate with the 95 % interval low and high, from resampling prompts.

    Args:
        found: who wins.
        resamples: resamples of the bootstrap.
        seed: the run's seed.
    """
    known = estimate(shares(found), resamples, seed)
    return {"win_rate": known.value, "low": known.low, "high": known.high}


def unconstrained(found: Wins, rows: Sequence[Row], resamples: int, seed: int) -> dict[str, float] | None:
    """`prompts` without constraints, and the win rate on them alone, as of `rate`; None if each prompt has some.

    What a model learns of constraints shows in its answers to the others only as what it lost.

    Args:
        found: who wins.
        rows: of records.ANSWER, for the same prompts.
        resamples: resamples of the bootstrap.
        seed: the run's seed.
    """
    own = [won for won, row in zip(found, rows, strict=True) if not row["constraints"]]
    return {"prompts": len(own), **rate(own, resamples, seed)} if own else None


def counted(found: Wins) -> dict[str, int]:
    """wins, ties and losses: of prompts, or of samples of prompts where there are several."""
    flat = [one for own in found for one in own]
    return {"wins": flat.count(1.0), "ties": flat.count(0.5), "losses": flat.count(0.0)}


def at_equal_length(found: Wins, own: Sequence[Sequence[str]], theirs: Sequence[Sequence[str]]) -> float:
    """The length-controlled win rate over all samples.

    Args:
        found: who wins.
        own: for each prompt the model's answers.
        theirs: for each prompt the other's, at least as many.
    """
    pairs = [both for mine, others in zip(own, theirs, strict=True) for both in zip(mine, others, strict=False)]
    flat = [one for prompt in found for one in prompt]
    return length_controlled(flat, [len(mine) for mine, _ in pairs], [len(other) for _, other in pairs])


def passes(rows: Sequence[Row], loosely: bool = False) -> list[list[bool] | None]:
    """For each row of answers whether each satisfies all constraints of the prompt; None for a prompt without any.

    Args:
        rows: of records.ANSWER.
        loosely: without a frame around the answer, too: see `constraints.variants`.
    """
    holds = constraints.holds_loosely if loosely else constraints.holds
    return [
        [holds(json.loads(row["constraints"]), text) for text in row["responses"]] if row["constraints"] else None
        for row in rows
    ]


def constraint_rate(
    own: Sequence[list[bool] | None], base: Sequence[list[bool] | None], resamples: int, seed: int
) -> dict[str, float] | None:
    """Share of the constrained prompts whose constraints all hold, and the gain over iteration 0, prompt by prompt.

    Args:
        own: for each prompt whether its answers pass, or None.
        base: the same of iteration 0's answers, of which as many count as the model has.
        resamples: resamples of the bootstrap.
        seed: the run's seed.

    Returns:
        prompts and whether they are few, pass_rate with low and high, gain with gain_low and gain_high; None if no
        prompt is constrained.
    """
    both = [
        (statistics.fmean(mine), statistics.fmean(theirs[: len(mine)]))
        for mine, theirs in zip(own, base, strict=True)
        if mine is not None and theirs is not None
    ]
    if not both:
        return None
    rate = estimate([mine for mine, _ in both], resamples, seed)
    gain = estimate([mine - theirs for mine, theirs in both], resamples, seed)
    return {
        "prompts": len(both),
        "few": len(both) < FEW,
        "pass_rate": rate.value,
        "low": rate.low,
        "high": rate.high,
        "gain": gain.value,
        "gain_low": gain.low,
        "gain_high": gain.high,
    }


def loose_rate(passing: Sequence[list[bool] | None], resamples: int, seed: int) -> dict[str, float] | None:
    """pass_rate with low and high of what `passes` finds loosely; None if no prompt is constrained."""
    shares_of = [statistics.fmean(own) for own in passing if own is not None]
    if not shares_of:
        return None
    known = estimate(shares_of, resamples, seed)
    return {"pass_rate": known.value, "low": known.low, "high": known.high}


def form(rows: Sequence[Row]) -> dict[str, float]:
    """How the answers look: mean_words, mean_tokens, truncated_share, repetitive_share, echoing_share, empty_share.

    Args:
        rows: with `prompt`, `responses`, `token_counts` and `finish_reasons`, equally many in each.
    """
    texts = [text for row in rows for text in row["responses"]]
    return {
        "mean_words": statistics.fmean(len(words(text)) for text in texts),
        "mean_tokens": statistics.fmean(count for row in rows for count in row["token_counts"]),
        "truncated_share": statistics.fmean(reason == "length" for row in rows for reason in row["finish_reasons"]),
        "repetitive_share": statistics.fmean(repetitive(text) for text in texts),
        "echoing_share": statistics.fmean(echoes(text, row["prompt"]) for row in rows for text in row["responses"]),
        "empty_share": statistics.fmean(not text.strip() for text in texts),
    }
