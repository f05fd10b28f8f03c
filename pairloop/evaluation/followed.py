"""Whether more instructions are followed for another reason than the answers' length, and which kinds of them."""

import json
import operator
import statistics
from collections.abc import Sequence
from typing import Any

from pairloop.evaluation.comparison import constraint_rate, passes
from pairloop.files.records import Row
from pairloop.measures.texts import FEWEST_WORDS, repetitive, words
from pairloop.prompts import constraints, kinds

MOST_RATIO = 1.25
"""By how much the longer of two answers of like length may exceed the other, in words."""

Held = Sequence[list[bool] | None]
"""For each prompt whether its answers satisfy all constraints; None for one without any."""


def apart_from_length(own: Sequence[Row], base: Sequence[Row], resamples: int, seed: int) -> dict[str, Any]:
    """The gain over iteration 0 where length has no part in it, in three forms, as `comparison.constraint_rate`.

    Args:
        own: the model's rows of answers, with `constraints` and `responses`.
        base: iteration 0's to the same prompts, at least as many answers to each.
        resamples: resamples of the bootstrap.
        seed: the run's seed.

    Returns:
        `beyond_length`: on the prompts of which no constraint is satisfied by length alone (`kinds.beyond_length`).
        `like_length`: over the pairs of answers, the i-th of one model and the i-th of the other, of which the longer
        has at most MOST_RATIO times the words of the other, with that `ratio`; a prompt counts once, with the mean over
        its pairs. `in_full`: on all prompts, where an answer that loops satisfies nothing, nor one of fewer than
        FEWEST_WORDS words, unless the prompt limits the words. Each is None where there is no such prompt.
    """
    mine, theirs = passes(own), passes(base)
    unmeetable = [beyond_length(row) for row in own]
    alike = [_alike(*both) for both in zip(own, base, strict=True)]
    like = constraint_rate(_only(mine, alike), _only(theirs, alike), resamples, seed)
    return {
        "beyond_length": constraint_rate(_where(mine, unmeetable), _where(theirs, unmeetable), resamples, seed),
        "like_length": like and {**like, "ratio": MOST_RATIO},
        "in_full": constraint_rate(_in_full(own, mine), _in_full(base, theirs), resamples, seed),
    }


def beyond_length(row: Row) -> bool:
    """Whether a prompt has constraints, none of which an answer satisfies by its length alone."""
    return bool(row["constraints"]) and all(map(kinds.beyond_length, json.loads(row["constraints"])))


def _in_full(rows: Sequence[Row], held: Held) -> Held:
    """The same, of answers that are no full ones False."""
    return [of and [*map(operator.and_, of, _full(row))] for row, of in zip(rows, held, strict=True)]


def _full(row: Row) -> list[bool]:
    """Which of the answers to a prompt with constraints are full ones."""
    limited = any(map(kinds.limits_words, json.loads(row["constraints"])))
    fewest = 0 if limited else FEWEST_WORDS
    return [not repetitive(text) and len(words(text)) >= fewest for text in row["responses"]]


def _alike(own: Row, base: Row) -> list[int]:
    """Which pairs of answers are of like length."""
    lengths = [[len(words(text)) for text in row["responses"]] for row in (own, base)]
    pairs = enumerate(zip(*lengths, strict=False))
    return [i for i, both in pairs if max(both) <= MOST_RATIO * min(both)]


def _only(held: Held, places: Sequence[Sequence[int]]) -> Held:
    return [[own[i] for i in of] if own is not None and of else None for own, of in zip(held, places, strict=True)]


def _where(held: Held, wanted: Sequence[bool]) -> Held:
    return [own if of else None for own, of in zip(held, wanted, strict=True)]


def by_kind(own: Sequence[Row], base: Sequence[Row]) -> dict[str, dict[str, float]]:
    """How each kind of constraint is satisfied, by the model and by iteration 0.

    Args:
        own: as of `apart_from_length`.
        base: likewise.

    Returns:
        By kind, in the kinds' own order: `prompts` that have such a constraint, `pass_rate`, the share of these whose
        constraints of this kind hold, means over answers, and `base`, iteration 0's.
    """
    asked = {kind: [i for i, row in enumerate(own) if _of_kind(row, kind)] for kind in kinds.FIELDS}
    return {
        kind: {
            "prompts": len(rows),
            "pass_rate": statistics.fmean(_share(own[i], kind, len(own[i]["responses"])) for i in rows),
            "base": statistics.fmean(_share(base[i], kind, len(own[i]["responses"])) for i in rows),
        }
        for kind, rows in asked.items()
        if rows
    }


def _of_kind(row: Row, kind: str) -> list[constraints.Constraint]:
    return [one for one in json.loads(row["constraints"] or "[]") if one["kind"] == kind]


def _share(row: Row, kind: str, answers: int) -> float:
    """Of the first answers to a prompt."""
    demanded = _of_kind(row, kind)
    return statistics.fmean(constraints.holds(demanded, text) for text in row["responses"][:answers])


def met(row: Row) -> list[bool] | None:
    """Which constraints of a prompt the first answer satisfies, in their order; None for a prompt without any."""
    if not row["constraints"]:
        return None
    return [constraints.check(one, row["responses"][0]) for one in json.loads(row["constraints"])]
