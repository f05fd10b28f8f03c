"""The measures of the watch: each takes one model's answers and iteration 0's to a value, a change and intervals."""

import json
import math
import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from pairloop.evaluation import diversity
from pairloop.evaluation.languages import in_another_language
from pairloop.evaluation.likely import Read
from pairloop.files.records import Row
from pairloop.measures.statistics import Estimate, estimate, interval, resamples_of
from pairloop.measures.texts import echoes, in_another_script, repetitive, words
from pairloop.prompts import constraints

Value = Callable[[Row, int], float | None]
"""What a measure is of the i-th answer in a row; None where the prompt has no part in it."""


@dataclass(frozen=True)
class Change:
    """One measure of one model."""

    value: Estimate
    """With its 95 % interval over prompts."""

    base: float | None
    """Iteration 0's; None for iteration 0 itself."""

    change: Estimate | None
    """From `base` to `value`; None for iteration 0 itself."""

    prompts: int
    """That have a part in it."""


def by_prompt(rows: Sequence[Row] | None, value: Value) -> list[float | None] | None:
    """For each prompt the mean over its answers; None where the prompt has no part, and for no rows."""
    return None if rows is None else [_mean([value(row, i) for i in range(len(row["responses"]))]) for row in rows]


def _mean(values: Sequence[float | None]) -> float | None:
    told = [value for value in values if value is not None]
    return statistics.fmean(told) if told else None


def holds(row: Row, i: int) -> float | None:
    """Whether all constraints of the prompt hold."""
    return float(constraints.holds(json.loads(row["constraints"]), row["responses"][i])) if row["constraints"] else None


def holds_loosely(row: Row, i: int) -> float | None:
    """The same without a frame around the answer: see `constraints.variants`."""
    if not row["constraints"]:
        return None
    return float(constraints.holds_loosely(json.loads(row["constraints"]), row["responses"][i]))


def loops(row: Row, i: int) -> float:
    """Whether the answer loops."""
    return float(repetitive(row["responses"][i]))


def repeats_prompt(row: Row, i: int) -> float:
    """Whether the answer repeats its prompt."""
    return float(echoes(row["responses"][i], row["prompt"]))


def truncated(row: Row, i: int) -> float:
    """Whether the answer is cut off."""
    return float(row["finish_reasons"][i] == "length")


def another_script(row: Row, i: int) -> float:
    """Whether the answer is in another script than its prompt."""
    return float(in_another_script(row["responses"][i], row["prompt"]))


def another_language(row: Row, i: int) -> float | None:
    """Whether the answer is in another language than its prompt, where both can be told."""
    differs = in_another_language(row["responses"][i], row["prompt"])
    return None if differs is None else float(differs)


def words_in(row: Row, i: int) -> float:
    """Number of words."""
    return float(len(words(row["responses"][i])))


def tokens_in(row: Row, i: int) -> float:
    """Number of tokens."""
    return float(row["token_counts"][i])


def paired(
    own: Sequence[float | None] | None, base: Sequence[float | None] | None, resamples: int, seed: int
) -> Change | None:
    """A mean over prompts, and its change prompt by prompt.

    Args:
        own: for each prompt the model's value; None where it has no part. Prompts in which one side has none are left
            out where there is something to compare with.
        base: iteration 0's on the same prompts; None: there is none to compare with.
        resamples: of the prompts.
        seed: the run's seed.

    Returns:
        None where no prompt has a part.
    """
    mine = [value for value in own or () if value is not None]
    if not mine:
        return None
    both = [
        (one, other)
        for one, other in zip(own or (), base or (), strict=bool(base))
        if one is not None and other is not None
    ]
    if not both:
        return Change(estimate(mine, resamples, seed), None, None, len(mine))
    value = estimate([one for one, _ in both], resamples, seed)
    change = estimate([one - other for one, other in both], resamples, seed)
    return Change(value, statistics.fmean(other for _, other in both), change, len(both))


def distinct(own: Sequence[Row], base: Sequence[Row] | None, n: int) -> Change | None:
    """distinct-n over all answers, at like numbers of words where there is something to compare with.

    The base's value is that of its answers cut to the model's lengths: it differs from iteration to iteration.
    """
    mine, theirs = diversity.told([row["responses"] for row in own]), None
    if base is not None:
        # Iteration 0 may have answered more often than is compared.
        counts = [len(row["responses"]) for row in own]
        theirs = diversity.told([row["responses"][:count] for row, count in zip(base, counts, strict=True)])
        mine, theirs = diversity.alike(mine, theirs)
    found, other = diversity.distinct(mine, n), theirs and diversity.distinct(theirs, n)
    if found is None:
        return None
    value = diversity.estimated(*found)
    value = replace(value, low=max(0.0, value.low), high=min(1.0, value.high))
    if not other:
        return Change(value, None, None, len(own))
    without = [one - another for one, another in zip(found[1], other[1], strict=True)]
    return Change(value, other[0], diversity.estimated(found[0] - other[0], without), len(own))


def divergence(
    rows: Sequence[Row], read: Sequence[Sequence[Read]] | None, per_token: bool, resamples: int, seed: int
) -> Change | None:
    """Estimated KL divergence of the policy from the base, in nats: the mean of log p(policy) - log p(base).

    Of the policy's own answers at temperature 1, as far as their words go: when to end is not counted. Without bias
    only where they were sampled at temperature 1 from the whole vocabulary: top-p, top-k and lower temperatures prefer
    what the policy finds likely, which shifts it. A single answer's term may be negative.

    Args:
        rows: with the policy's `token_logps`.
        read: the base's log p of the same tokens; None: the policy is the base, and the divergence is 0.
        per_token: the sum over all tokens divided by their number; else the mean over answers of their sums.
        resamples: of the prompts.
        seed: the run's seed.

    Returns:
        None where the engine gives no log-probabilities, or no answer has a word.
    """
    if read is None:
        return Change(Estimate(0.0, 0.0, 0.0), None, None, len(rows))
    if any(row["token_logps"] is None for row in rows):
        return None
    each = [_differences(row, own) for row, own in zip(rows, read, strict=True)]
    told = [own for own in each if own]
    if not told:
        return None
    sums = [math.fsum(nats for nats, _ in own) for own in told]
    sizes = [float(sum(count for _, count in own) if per_token else len(own)) for own in told]
    value = _ratio(sums, sizes, resamples_of(len(told), resamples, seed))
    return Change(value, 0.0, value, len(told))


def _differences(row: Row, read: Sequence[Read]) -> list[tuple[float, int]]:
    """By how much the policy finds each answer that has words likelier, and its number of tokens."""
    return [
        (math.fsum(logps[:count]) - total, count)
        for logps, (total, count) in zip(row["token_logps"], read, strict=True)
        if count
    ]


def perplexity(own: Sequence[Read], base: Sequence[Read], resamples: int, seed: int) -> Change | None:
    """The base's perplexity: e to the mean of - log p over all tokens. Two sets of prompts, drawn independently.

    Args:
        own: of the answers that this iteration trains towards.
        base: of those that iteration 1 trains towards, which the base wrote.
        resamples: of the prompts.
        seed: the run's seed.
    """
    if not own or not base:
        return None
    mine, theirs = (
        _surprise(read, resamples_of(len(read), resamples, seed, stream))
        for read, stream in ((own, "own"), (base, "base"))
    )
    value = interval(math.exp(mine[0]), _exp(mine[1]))
    if own == base:
        return Change(value, value.value, Estimate(0.0, 0.0, 0.0), len(own))
    before = math.exp(theirs[0])
    change = interval(value.value - before, _exp(mine[1]) - _exp(theirs[1]))
    return Change(value, before, change, len(own))


def _surprise(read: Sequence[Read], drawn: Any) -> tuple[float, Any]:
    """Nats per token, and the same in each resample."""
    import numpy as np

    nats, counts = np.array([-total for total, _ in read]), np.array([float(count) for _, count in read])
    return float(nats.sum() / counts.sum()), (drawn @ nats) / (drawn @ counts)


def _exp(value: Any) -> Any:
    import numpy as np

    return np.exp(value)


def _ratio(sums: Sequence[float], sizes: Sequence[float], drawn: Any) -> Estimate:
    import numpy as np

    return interval(math.fsum(sums) / math.fsum(sizes), (drawn @ np.array(sums)) / (drawn @ np.array(sizes)))
