"""The pool: prompts without repetition and without the held-out ones, in one shuffled order, and its slices."""

import unicodedata
import zlib
from collections import Counter
from collections.abc import Callable, Iterable
from functools import lru_cache
from typing import Any

from pairloop import params
from pairloop.files.records import Row
from pairloop.prompts import sources
from pairloop.work import shards

_SHINGLE = 5
_PERMUTATIONS = 128
_MISSED = 0.01
"""Chance that MinHash overlooks a pair just at the threshold; more similar ones are missed much more rarely."""

Counts = dict[str, Any]


def build(
    train_rows: Iterable[Row], eval_rows: Iterable[Row], settings: params.Pool, seed: int
) -> tuple[list[Row], list[Row], Counts]:
    """Leave out prompts that cannot be used or stand there already, and shuffle the rest.

    Dropped, for the first reason that applies: `empty`, `control_characters`, `too_long`, `in_eval` (the same as, or
    nearly, a held-out prompt), `duplicate` (the same text), `near_duplicate`. Of two alike, the first stays.

    Args:
        train_rows, eval_rows: rows of records.PROMPT.
        settings: lengths and similarity.
        seed: decides the order of the pool and nothing else.

    Returns:
        The pool in its shuffled order, the held-out rows in their own, and counts: `rows_in`, `rows_out`, `dropped`
        by reason, the same with `eval_` before them, and of the pool `with_constraints` and `by_source`.
    """
    held_out, eval_counts, evaluated = _distinct(eval_rows, settings, lambda _: None)
    kept, counts, _ = _distinct(train_rows, settings, lambda row: "in_eval" if evaluated.alike(row) else None)
    kept.sort(key=lambda row: (shards.seed_of(seed, row["prompt_id"]), row["prompt_id"]))
    summary = counts | {f"eval_{name}": value for name, value in eval_counts.items()}
    summary["with_constraints"] = sum(row["constraints"] is not None for row in kept)
    summary["by_source"] = dict(sorted(Counter(row["source"] for row in kept).items()))
    return kept, held_out, summary


def similarity(one: str, other: str) -> float:
    """Jaccard similarity of two prompts' sets of five-character shingles, from 0 to 1, without case and spacing."""
    left, right = _shingles(one), _shingles(other)
    return len(left & right) / len(left | right)


class Index:
    """Prompts that were seen, to ask whether another is the same or nearly so.

    MinHash proposes pairs and `similarity` decides, so that whatever is found is exact; a pair just at the threshold
    is overlooked once in a hundred times.
    """

    def __init__(self, threshold: float) -> None:
        """Ask for pairs whose `similarity` is at least `threshold`, above 0 and at most 1."""
        from datasketch import MinHashLSH

        self.threshold = threshold
        self._prompts: dict[str, str] = {}
        self._buckets = MinHashLSH(num_perm=_PERMUTATIONS, params=_bands(threshold))

    def add(self, row: Row) -> None:
        """Remember a row's prompt, once."""
        if row["prompt_id"] not in self._prompts:
            self._prompts[row["prompt_id"]] = row["prompt"]
            self._buckets.insert(row["prompt_id"], _minhash(row["prompt"]))

    def has(self, row: Row) -> bool:
        """Whether this very text was seen."""
        return row["prompt_id"] in self._prompts

    def alike(self, row: Row) -> bool:
        """Whether the same text was seen, or one at least as similar as the threshold."""
        if self.has(row):
            return True
        found = self._buckets.query(_minhash(row["prompt"]))
        return any(similarity(row["prompt"], self._prompts[other]) >= self.threshold for other in found)


def _distinct(
    rows: Iterable[Row], settings: params.Pool, reason_of_own: Callable[[Row], str | None]
) -> tuple[list[Row], Counts, Index]:
    """The rows to keep, what was dropped and why, and an index of the kept."""
    index = Index(settings.near_duplicate)
    kept: list[Row] = []
    dropped: Counter[str] = Counter()
    for row in rows:
        reason = _unusable(row["prompt"], settings) or reason_of_own(row) or _repeats(row, index)
        if reason:
            dropped[reason] += 1
        else:
            index.add(row)
            kept.append(row)
    counts = {"rows_in": len(kept) + dropped.total(), "rows_out": len(kept), "dropped": dict(sorted(dropped.items()))}
    return kept, counts, index


def _unusable(prompt: str, settings: params.Pool) -> str | None:
    return sources.problem(prompt) or ("too_long" if len(prompt) > settings.max_characters else None)


def _repeats(row: Row, index: Index) -> str | None:
    if index.has(row):
        return "duplicate"
    return "near_duplicate" if index.alike(row) else None


@lru_cache(maxsize=1)  # one prompt is looked up in several indexes, then added to one
def _minhash(prompt: str) -> Any:
    minhash = _empty_minhash().copy()
    minhash.update_batch(shingle.encode() for shingle in _shingles(prompt))
    return minhash


@lru_cache(maxsize=1)
def _empty_minhash() -> Any:
    from datasketch import MinHash

    return MinHash(num_perm=_PERMUTATIONS, seed=1, hashfunc=zlib.crc32)


def _shingles(prompt: str) -> set[str]:
    text = " ".join(unicodedata.normalize("NFKC", prompt).casefold().split())
    return {text[start : start + _SHINGLE] for start in range(max(1, len(text) - _SHINGLE + 1))}


def _bands(threshold: float) -> tuple[int, int]:
    """Bands and rows per band: as long as may be, so that few pairs are compared, yet few at the threshold missed.

    A pair of similarity s shares a band of r values with chance s^r, and none of b bands with (1 - s^r)^b (Leskovec,
    Rajaraman and Ullman, Mining of Massive Datasets, section 3.4).
    """
    for rows in range(_PERMUTATIONS // 2, 1, -1):
        bands = _PERMUTATIONS // rows
        if (1 - threshold**rows) ** bands <= _MISSED:
            return bands, rows
    return _PERMUTATIONS, 1
