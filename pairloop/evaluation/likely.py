"""How likely the frozen base finds what others wrote: for the distance from it, and for perplexity."""

from collections.abc import Sequence
from typing import Any

from pairloop.files.records import Row
from pairloop.models import chat

Read = tuple[float, int]
"""log p of a text's tokens, in nats, and how many they are, without an end token."""


def sampled(rows: Sequence[Row], tokenizer: Any) -> list[list[Read | None]]:
    """The base's log p of each answer, where it read the tokens that were sampled.

    Rankers read the text of an answer. Tokens that it does not give again, as white space around it, it did not read:
    then what it found cannot be set beside the policy's, token by token.

    Args:
        rows: with `responses`, `finish_reasons`, `token_ids`, and the `base_logps` of each text.
        tokenizer: the base's.

    Returns:
        For each row and answer what was read; None where that is other tokens, or none.
    """
    return [[_sampled(row, i, tokenizer) for i in range(len(row["responses"]))] for row in rows]


def _sampled(row: Row, i: int, tokenizer: Any) -> Read | None:
    ended = row["finish_reasons"][i] == "stop"
    ids = list(row["token_ids"][i][:-1] if ended else row["token_ids"][i])
    same = ids and ids == chat.encode_response(tokenizer, row["responses"][i], end=False)
    return (row["base_logps"][i], len(ids)) if same else None


def chosen(pairs: Sequence[Row]) -> list[Row]:
    """Rows for rankers of the chosen answers of preference pairs: `prompt`, `responses` [1] and no `constraints`."""
    return [
        {"prompt": row["prompt"], "responses": [row["chosen"][-1]["content"]], "constraints": None} for row in pairs
    ]


def counted(rows: Sequence[Row], logps: Sequence[Sequence[float]], tokenizer: Any) -> list[Read]:
    """log p and tokens of the first response of each row; of those that are not empty.

    Args:
        rows: with `responses`.
        logps: for each the base's log p of its responses.
        tokenizer: the base's.
    """
    texts = [row["responses"][0] for row in rows]
    lengths = [len(chat.encode_response(tokenizer, text, end=False)) for text in texts]
    return [(own[0], length) for own, length in zip(logps, lengths, strict=True) if length]
