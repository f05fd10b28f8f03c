"""Pairs of the iterations before: handed on with their tokens, and chosen for a training that reads them too."""

from array import array
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pairloop.files import records
from pairloop.files.records import Row
from pairloop.params import Train
from pairloop.work import shards

Key = tuple[str, str]
"""A response by its prompt_id and text."""


def sampled(responses: Path, pairs: Sequence[Row]) -> "tuple[dict[Key, array[Any]], dict[Key, array[Any]]]":
    """The tokens of the pairs' responses, and these tokens' log-probabilities where they are stored.

    Of equal texts those of the first: which was paired cannot be told.

    Returns:
        Two mappings from (prompt_id, response), each to one number for each token.

    Raises:
        DataError: see `records.stream`.
    """
    wanted = {(pair["prompt_id"], pair[side][-1]["content"]) for pair in pairs for side in records.SIDES}
    tokens: dict[Key, array[Any]] = {}
    logps: dict[Key, array[Any]] = {}
    for batch in records.stream(responses, records.RESPONSE):
        for row in batch:
            for name, kind, found in (("token_ids", "i", tokens), ("logps", "d", logps)):
                for text, numbers in zip(row["responses"], row[name] or (), strict=row[name] is not None):
                    if (row["prompt_id"], text) in wanted:
                        found.setdefault((row["prompt_id"], text), array(kind, numbers))
    return tokens, logps


def rows(iteration: int, pairs: Sequence[Row], tokens: Mapping[tuple[str, str], Sequence[int]]) -> list[Row]:
    """An iteration's pairs as rows of `records.EARLIER`; ids are null where only the text is known."""
    return [_row(iteration, pair, tokens) for pair in pairs]


def _row(iteration: int, pair: Row, tokens: Mapping[tuple[str, str], Sequence[int]]) -> Row:
    own: dict[str, Any] = {name: pair[name] for name in ("prompt_id", "prompt", *records.SIDES)}
    for side in records.SIDES:
        ids = tokens.get((pair["prompt_id"], pair[side][-1]["content"]))
        own[f"{side}_ids"] = None if ids is None else list(ids)
    return {"iteration": iteration, **own}


def known(found: Sequence[Row]) -> dict[tuple[str, str], Sequence[int]]:
    """The tokens that rows of `records.EARLIER` hold, by (prompt_id, response)."""
    ids = {(row["prompt_id"], row[side][-1]["content"]): row[f"{side}_ids"] for row in found for side in records.SIDES}
    return {key: own for key, own in ids.items() if own is not None}


def choose(current: Sequence[Row], found: Sequence[Row], params: Train, seed: int, iteration: int) -> list[Row]:
    """The earlier pairs that an iteration trains on beside its own.

    Which of them are replayed depends on the seed, the iteration and each one's prompt_id alone: another pair that is
    added, or another order, exchanges none for another.

    Args:
        current: the iteration's own pairs.
        found: rows of `records.EARLIER`.
        params: `data` and `replay_share` decide.
        seed: of the parameters.
        iteration: its number.
    """
    if params.data == "current":
        return []
    if params.data == "accumulated":
        return list(found)
    share = params.replay_share
    count = round(len(current) * share / (1 - share))
    return sorted(found, key=lambda row: shards.seed_of(seed, iteration, row["prompt_id"], "replay"))[:count]
