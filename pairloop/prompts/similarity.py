"""Which prompts are alike: the same, nearly the same, or one inside the other.

Prompts are compared by their shingles: all pieces of five characters, without case and spacing.
"""

import math
import unicodedata
from collections.abc import Sequence
from functools import cache
from typing import Any

_SHINGLE = 5
_BITS = 2048
_TOLERANCE = 2.33
"""Standard deviations that a sketch may be off: of pairs just at the threshold 1 % are overlooked, of others fewer."""

_SHORTEST = 16
"""Shingles of a held-out prompt that can be recognised inside another; "Write a poem." stands in too many."""

_STRETCH = 1.5
"""A held-out prompt is looked for in stretches of this many times its length."""


def jaccard(one: str, other: str) -> float:
    """Jaccard similarity of two prompts' sets of shingles, from 0 to 1."""
    left, right = _distinct(one), _distinct(other)
    both = _common(left, right)
    return both / int(left.size + right.size - both)


def contained(inner: str, outer: str) -> float:
    """Share of `inner`'s shingles that one stretch of `outer`, half as long again as `inner`, has; from 0 to 1.

    Somewhere in 4,000 characters stand four fifths of the shingles of many a short prompt, but not together.
    """
    import numpy as np

    wanted, places = _distinct(inner), _shingles(outer)
    stretch = math.ceil(_STRETCH * _shingles(inner).size)
    found = np.concatenate([[0], np.cumsum(np.isin(places, wanted))])
    together = int(np.max(found[stretch:] - found[:-stretch])) if found.size > stretch else int(found[-1])
    return min(together, _common(wanted, _distinct(outer))) / int(wanted.size)


class Seen:
    """Prompts that were seen, to ask whether another is the same or nearly so.

    Sketches propose pairs and `jaccard` decides, so that whatever is found is exact. A sketch is compared with all
    that were seen, at a few nanoseconds each: tables that pass over dissimilar pairs do not help where all prompts
    share half of their text.
    """

    def __init__(self, threshold: float) -> None:
        """Look for pairs whose `jaccard` is at least `threshold`, above 0 and at most 1."""
        import numpy as np

        self.threshold = threshold
        differing = (1 - threshold) / 2  # bits of sketches with nothing in common differ by half
        self._limit = _BITS * differing + _TOLERANCE * math.sqrt(_BITS * differing * (1 - differing))
        self._prompts: list[str] = []
        self._texts: set[str] = set()
        self._sketches = np.empty((_BITS // 64, 256), np.uint64)

    def repeats(self, prompt: str) -> str | None:
        """Whether a prompt is a `duplicate` (the same text), or a `near_duplicate`. If neither, it is remembered."""
        if prompt in self._texts:
            return "duplicate"
        sketch = _sketch(prompt)
        if any(jaccard(prompt, self._prompts[place]) >= self.threshold for place in self._close(sketch)):
            return "near_duplicate"
        self._add(prompt, sketch)
        return None

    def _close(self, sketch: Any) -> Any:
        """Places of the sketches that differ in few enough bits."""
        import numpy as np

        count = len(self._prompts)
        differing = np.zeros(count, np.uint16)
        for known, word in zip(self._sketches, sketch, strict=True):
            differing += np.bitwise_count(known[:count] ^ word)
        return np.flatnonzero(differing <= self._limit)

    def _add(self, prompt: str, sketch: Any) -> None:
        import numpy as np

        if len(self._prompts) == self._sketches.shape[1]:
            self._sketches = np.concatenate([self._sketches, np.empty_like(self._sketches)], axis=1)
        self._sketches[:, len(self._prompts)] = sketch
        self._prompts.append(prompt)
        self._texts.add(prompt)


class HeldOut:
    """The held-out prompts, to ask whether a training prompt gives one of them away."""

    def __init__(self, prompts: Sequence[str], near: float, inside: float) -> None:
        """Look for prompts whose `jaccard` is at least `near`, or that contain at least the share `inside` of one."""
        import numpy as np

        self._prompts = prompts
        self._near, self._inside = near, inside
        found = [_distinct(prompt) for prompt in prompts]
        self._sizes = np.array([own.size for own in found])
        shingles = np.concatenate([*found, np.empty(0, np.uint64)])
        order = np.argsort(shingles, kind="stable")
        self._shingles = shingles[order]
        self._owners = np.repeat(np.arange(len(found)), self._sizes.astype(int))[order]

    def alike(self, prompt: str) -> bool:
        """Whether a prompt is the same as a held-out one, nearly so, or has one inside it."""
        import numpy as np

        own = _distinct(prompt)
        both = self._in_common(own)
        if np.any(both / (self._sizes + own.size - both) >= self._near):
            return True
        inside = (both / self._sizes >= self._inside) & (self._sizes >= _SHORTEST)
        return any(contained(self._prompts[place], prompt) >= self._inside for place in np.flatnonzero(inside).tolist())

    def _in_common(self, own: Any) -> Any:
        """How many of these shingles each held-out prompt has."""
        import numpy as np

        first, last = (np.searchsorted(self._shingles, own, side) for side in ("left", "right"))
        counts = last - first
        places = np.repeat(last - np.cumsum(counts), counts) + np.arange(counts.sum())
        return np.bincount(self._owners[places], minlength=len(self._prompts))


def _distinct(prompt: str) -> Any:
    """The set of a prompt's shingles: different 64-bit numbers in ascending order."""
    import numpy as np

    ordered = np.sort(_shingles(prompt))  # np.unique takes ten times as long
    return ordered[np.append(True, ordered[1:] != ordered[:-1])]


def _shingles(prompt: str) -> Any:
    """A prompt's shingles in their order, each as a 64-bit hash. A shorter text is one shingle."""
    import numpy as np

    text = " ".join(unicodedata.normalize("NFKC", prompt).casefold().split()).ljust(_SHINGLE, "\0")
    points = np.frombuffer(text.encode("utf-32-le"), "<u4").astype(np.uint64)
    hashes = np.zeros(points.size - _SHINGLE + 1, np.uint64)
    for start in range(_SHINGLE):
        hashes = (hashes ^ points[start : start + hashes.size]) * np.uint64(0x9E3779B97F4A7C15)
        hashes ^= hashes >> np.uint64(32)
    return hashes


def _common(one: Any, other: Any) -> int:
    import numpy as np

    return int(np.intersect1d(one, other, assume_unique=True).size)


def _sketch(prompt: str) -> Any:
    """A bit for each of many orders of all shingles, which depends on the prompt's first shingle in that order.

    Two prompts' bits are equal with chance (1 + jaccard) / 2 (Li and König, b-bit minwise hashing, WWW 2010).
    """
    import numpy as np

    shingles = _distinct(prompt).astype(np.uint32)
    firsts = [np.multiply(factors, shingles).min(axis=1) for factors in _orders()]
    bits = (np.concatenate(firsts) * np.uint32(0x9E3779B1)) >> np.uint32(31)
    return np.packbits(bits.astype(bool)).view(np.uint64)


@cache
def _orders() -> list[Any]:
    """Odd factors, each of which puts all shingles in an order of its own; in blocks that a processor's cache holds."""
    import numpy as np

    factors = np.random.Generator(np.random.PCG64(1)).integers(0, 2**32, (_BITS, 1), np.uint32) | np.uint32(1)
    return np.split(factors, _BITS // 64)
