"""How varied a model's words are: distinct-n, the share of different n-word sequences among all of them.

Li et al. 2016 (arXiv 1510.03055). Over all answers together, so that a model that says the same to every prompt is
found too. More words repeat more, so two models are compared at like numbers of words, prompt by prompt.

Intervals are the jackknife's over prompts, not the bootstrap's: a prompt that is drawn twice repeats itself, which is
what distinct-n counts.
"""

import math
import statistics
from collections import Counter
from collections.abc import Iterator, Sequence

from pairloop.measures.statistics import Estimate
from pairloop.measures.texts import words

Told = Sequence[Sequence[str]]
"""The words of each of a prompt's answers, in lower case."""

_HALF_WIDTH = 1.96
"""Standard errors on each side of a value that hold it with 95 %."""


def told(texts: Sequence[Sequence[str]]) -> list[Told]:
    """The words of each prompt's answers."""
    return [[words(text.lower()) for text in own] for own in texts]


def alike(own: Sequence[Told], other: Sequence[Told]) -> tuple[list[Told], list[Told]]:
    """The words of two models' answers to the same prompts, each two answers cut to the shorter one's number."""
    lengths = [
        [min(map(len, both)) for both in zip(mine, theirs, strict=True)]
        for mine, theirs in zip(own, other, strict=True)
    ]
    return _cut(own, lengths), _cut(other, lengths)


def _cut(answers: Sequence[Told], lengths: Sequence[Sequence[int]]) -> list[Told]:
    return [
        [text[:length] for text, length in zip(own, kept, strict=True)]
        for own, kept in zip(answers, lengths, strict=True)
    ]


def distinct(answers: Sequence[Told], n: int) -> tuple[float, list[float]] | None:
    """Different n-word sequences among all of them, from 0 to 1; None where there is none, or all are one prompt's.

    Args:
        answers: of P prompts; no sequence reaches from one answer into the next.
        n: words in a sequence.

    Returns:
        The share, and for each prompt the share among the other prompts' sequences.
    """
    own = [Counter(sequence for text in texts for sequence in _sequences(text, n)) for texts in answers]
    prompts_of = Counter(sequence for counts in own for sequence in counts)
    total, different = sum(counts.total() for counts in own), len(prompts_of)
    if not total or any(counts.total() == total for counts in own):
        return None
    without = [
        (different - sum(prompts_of[sequence] == 1 for sequence in counts)) / (total - counts.total()) for counts in own
    ]
    return different / total, without


def estimated(value: float, without: Sequence[float]) -> Estimate:
    """A value with its 95 % interval, from the values that leaving out each prompt gives."""
    count, mean = len(without), statistics.fmean(without)
    error = math.sqrt((count - 1) / count * math.fsum((one - mean) ** 2 for one in without))
    return Estimate(value, value - _HALF_WIDTH * error, value + _HALF_WIDTH * error)


def _sequences(text: Sequence[str], n: int) -> Iterator[tuple[str, ...]]:
    return (tuple(text[i : i + n]) for i in range(len(text) - n + 1))
