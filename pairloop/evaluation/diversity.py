"""How varied a model's words are: distinct-n, the share of different n-word sequences among all of them.

Li et al. 2016 (arXiv 1510.03055). Over all answers together, so that a model that says the same to every prompt is
found too. More words repeat more, so two models are compared at like numbers of words, prompt by prompt.
"""

from collections.abc import Sequence
from typing import Any

from pairloop.measures.statistics import Estimate, interval
from pairloop.measures.texts import words

_CELLS = 20_000_000
"""Numbers of a resample's sequences that are in memory at once: bounds it, and changes no result."""


def alike(own: Sequence[str], other: Sequence[str]) -> tuple[list[list[str]], list[list[str]]]:
    """The words of two models' answers to the same prompts, each pair of answers cut to the shorter one's number."""
    both = [(_told(mine), _told(theirs)) for mine, theirs in zip(own, other, strict=True)]
    lengths = [min(len(mine), len(theirs)) for mine, theirs in both]
    cut = list(zip(both, lengths, strict=True))
    return [mine[:n] for (mine, _), n in cut], [theirs[:n] for (_, theirs), n in cut]


def told(texts: Sequence[str]) -> list[list[str]]:
    """The words of each text, in lower case."""
    return [_told(text) for text in texts]


def _told(text: str) -> list[str]:
    return words(text.lower())


def distinct(answers: Sequence[Sequence[str]], n: int) -> float | None:
    """Different n-word sequences among all of them, from 0 to 1; None where there is none.

    Args:
        answers: the words of each answer; no sequence reaches from one answer into the next.
        n: words in a sequence.
    """
    found = [sequence for own in answers for sequence in _sequences(own, n)]
    return len(set(found)) / len(found) if found else None


def resampled(answers: Sequence[Sequence[str]], prompts: Sequence[int], n: int, drawn: Any) -> Any:
    """distinct-n in each resample of the prompts.

    A prompt that is drawn twice repeats itself, which lowers distinct-n in every resample alike: compare them with
    each other (`estimated` takes the shift off).

    Args:
        answers: the words of each answer.
        prompts: the number of each answer's prompt.
        n: words in a sequence.
        drawn: how often each prompt is drawn, [R, P], from `statistics.resamples_of`.

    Returns:
        An array of R numbers; not finite where a resample has no sequence.
    """
    import numpy as np
    from scipy.sparse import csr_array

    each = [(prompt, sequence) for prompt, own in zip(prompts, answers, strict=True) for sequence in _sequences(own, n)]
    number = {sequence: i for i, sequence in enumerate(dict.fromkeys(sequence for _, sequence in each))}
    rows = [prompt for prompt, _ in each]
    columns = [number[sequence] for _, sequence in each]
    totals = drawn @ np.bincount(rows, minlength=drawn.shape[1])
    held = csr_array((np.ones(len(each), np.float32), (columns, rows)), shape=(len(number), drawn.shape[1]))
    step = max(1, _CELLS // max(1, len(number)))
    different = [
        ((held @ drawn[first : first + step].T.astype(np.float32)) > 0).sum(0) for first in range(0, len(drawn), step)
    ]
    with np.errstate(invalid="ignore"):
        return np.concatenate(different) / totals


def estimated(value: float, shifted: Any) -> Estimate:
    """A value with its 95 % interval, from resampled ones whose mean lies elsewhere: that shift is taken off."""
    import numpy as np

    kept = shifted[np.isfinite(shifted)]
    return interval(value, kept - kept.mean() + value)


def _sequences(own: Sequence[str], n: int) -> list[tuple[str, ...]]:
    return [tuple(own[i : i + n]) for i in range(len(own) - n + 1)]
