"""The pool: prompts without repetition and without the held-out ones, in one shuffled order, and its slices."""

from collections import Counter
from collections.abc import Callable, Iterable
from typing import Any

from pairloop import params
from pairloop.files.records import Row
from pairloop.prompts import similarity, sources
from pairloop.work import shards

Counts = dict[str, Any]


def build(
    train_rows: Iterable[Row], eval_rows: Iterable[Row], settings: params.Pool, seed: int
) -> tuple[list[Row], list[Row], Counts]:
    """Leave out prompts that cannot be used or stand there already, and shuffle the rest.

    Dropped, for the first reason that applies: `empty`, `control_characters`, `too_long`, `in_eval` (the same as a
    held-out prompt, nearly so, or with one inside it), `duplicate` (the same text), `near_duplicate`. Of two alike,
    the first stays.

    Args:
        train_rows, eval_rows: rows of records.PROMPT.
        settings: lengths and similarity.
        seed: decides the order of the pool and nothing else.

    Returns:
        The pool in its shuffled order, the held-out rows in their own, and counts: `rows_in`, `rows_out`, `dropped`
        by reason, the same with `eval_` before them, and of the pool `with_constraints` and `by_source`.
    """
    held_out, eval_counts = _distinct(eval_rows, settings, lambda _: False)
    texts = [row["prompt"] for row in held_out]
    evaluated = similarity.HeldOut(texts, settings.near_duplicate, settings.contained)
    kept, counts = _distinct(train_rows, settings, evaluated.alike)
    kept.sort(key=lambda row: (shards.seed_of(seed, row["prompt_id"]), row["prompt_id"]))
    summary = counts | {f"eval_{name}": value for name, value in eval_counts.items()}
    summary["with_constraints"] = sum(row["constraints"] is not None for row in kept)
    summary["by_source"] = dict(sorted(Counter(row["source"] for row in kept).items()))
    return kept, held_out, summary


def left_out(counts: Counts, settings: params.Pool) -> str:
    """What became of the prompts that were read, as a sentence: for whoever wonders why so few are left."""
    because = {
        "near_duplicate": f" (pool.near_duplicate is {settings.near_duplicate}; 1 leaves out only repetitions)",
        "too_long": f" (pool.max_characters is {settings.max_characters})",
    }
    reasons = [
        f"{count} as {reason}{because.get(reason, '')}"
        for reason, count in sorted(counts["dropped"].items(), key=lambda found: -found[1])
    ]
    return f"Of {counts['rows_in']} prompts that were read, left out are {', '.join(reasons) or 'none'}"


def _distinct(rows: Iterable[Row], settings: params.Pool, in_eval: Callable[[str], bool]) -> tuple[list[Row], Counts]:
    """The rows to keep, and what was dropped and why."""
    seen = similarity.Seen(settings.near_duplicate)
    kept: list[Row] = []
    dropped: Counter[str] = Counter()
    for row in rows:
        prompt = row["prompt"]
        reason = _unusable(prompt, settings) or ("in_eval" if in_eval(prompt) else seen.repeats(prompt))
        if reason:
            dropped[reason] += 1
        else:
            kept.append(row)
    counts = {"rows_in": len(kept) + dropped.total(), "rows_out": len(kept), "dropped": dict(sorted(dropped.items()))}
    return kept, counts


def _unusable(prompt: str, settings: params.Pool) -> str | None:
    return sources.problem(prompt) or ("too_long" if len(prompt) > settings.max_characters else None)
