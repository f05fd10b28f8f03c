"""Preference pairs as the token ids that DPO trains on: the same ids that the policy was prompted with."""

from collections.abc import Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from typing import Any

from pairloop.errors import DataError
from pairloop.files.records import Row
from pairloop.models import chat
from pairloop.work import shards

Truncated = AbstractSet[tuple[str, str]]
"""(prompt_id, response) of every response that sampling cut off: these did not end by themselves."""


@dataclass(frozen=True)
class Encoded:
    """A split in TRL's tokenised form."""

    rows: list[dict[str, list[int]]]
    """`prompt_ids`, `chosen_ids`, `rejected_ids` of each pair; the prompt ends where the answer begins."""

    dropped: dict[str, int]
    """Pairs left out, by reason."""

    truncated_responses: int
    """Responses that do not fit into max_length; training sees their beginning."""

    tokens: int
    """Tokens that one pass over the rows reads: the prompt twice, with each of its responses."""


def encode(pairs: Sequence[Row], tokenizer: Any, max_length: int, truncated: Truncated) -> Encoded:
    """Tokenise pairs, without text becoming a control token.

    A response gets the end-of-turn token unless it is in `truncated`: learning that a cut-off answer ends there
    would teach the policy to stop in the middle of a sentence.

    Args:
        pairs: rows of `records.PAIR`.
        tokenizer: the base's, with its chat template.
        max_length: tokens of prompt and response together. A pair whose prompt alone has as many is dropped.
        truncated: which responses were cut off while sampling.

    Raises:
        DataError: a conversation is not the prompt and one answer.
    """
    rows = []
    for number, pair in enumerate(pairs):
        row = {"prompt_ids": chat.encode_prompt(tokenizer, pair["prompt"])}
        for side in ("chosen", "rejected"):
            text = _answer(number, pair, side)
            ended = (pair["prompt_id"], text) not in truncated
            row[f"{side}_ids"] = chat.encode_response(tokenizer, text, end=ended)
        rows.append(row)
    kept = [row for row in rows if len(row["prompt_ids"]) < max_length]
    lengths = [len(row["prompt_ids"]) + len(row[side]) for row in kept for side in ("chosen_ids", "rejected_ids")]
    return Encoded(
        rows=kept,
        dropped={"prompt_too_long": len(rows) - len(kept)},
        truncated_responses=sum(length > max_length for length in lengths),
        tokens=sum(min(length, max_length) for length in lengths),
    )


def shuffle(pairs: Sequence[Row], seed: int, iteration: int) -> list[Row]:
    """The pairs in the order of training, which depends on nothing but their content, the seed and the iteration.

    The trainer then reads them one after the other in every epoch, as it does for the reference: the same pairs share
    a batch in both, so that equal models give bit-equal log-probabilities.
    """

    def place(pair: Row) -> int:
        return shards.seed_of(seed, iteration, pair["prompt_id"], *(pair[side][-1]["content"] for side in _SIDES))

    return sorted(pairs, key=place)


_SIDES = ("chosen", "rejected")


def _answer(number: int, pair: Row, side: str) -> str:
    turns = [(turn["role"], turn["content"]) for turn in pair[side]]
    if [role for role, _ in turns] != ["user", "assistant"] or turns[0][1] != pair["prompt"]:
        found = ", ".join(role for role, _ in turns) or "nothing"
        raise DataError(
            f"pair {number} (prompt_id {pair['prompt_id']}): {side} holds {found}, but DPO needs the prompt as the "
            "user's turn and one assistant's turn"
        )
    return str(turns[1][1])
