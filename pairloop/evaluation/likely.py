"""How likely the frozen base finds what others wrote: for the distance from it, and for perplexity."""

from collections.abc import Callable, Sequence
from typing import Any

from pairloop.files.records import Row
from pairloop.models import chat

Read = tuple[float, int]
"""log p of a text's tokens, in nats, and how many they are, without an end token."""

ReadTokens = Callable[[Sequence[Row]], list[list[float]]]
"""The base's log p of the `token_ids` of each row, after its `prompt`."""


def sampled(rows: Sequence[Row], tokenizer: Any, read_tokens: ReadTokens) -> list[list[Read]]:
    """The base's log p of the tokens that were sampled as each answer, without an end token.

    Rankers read the text of an answer. Mostly it gives the same tokens again, and what they have read holds; where it
    does not, as with white space around it or half a character, the tokens are read by themselves. That is rare until a
    model collapses, and then it matters.

    Args:
        rows: with `prompt`, `responses`, `finish_reasons`, `token_ids`, and the `base_logps` of each text.
        tokenizer: the base's.
        read_tokens: reads what rankers have not.
    """
    told = [[_told(row, i) for i in range(len(row["responses"]))] for row in rows]
    same = [
        [
            ids == chat.encode_response(tokenizer, text, end=False)
            for ids, text in zip(own, row["responses"], strict=True)
        ]
        for own, row in zip(told, rows, strict=True)
    ]
    unread = [
        {"prompt": row["prompt"], "token_ids": [ids for ids, known in zip(own, found, strict=True) if not known]}
        for row, own, found in zip(rows, told, same, strict=True)
        if not all(found)
    ]
    others = iter([total for own in (read_tokens(unread) if unread else []) for total in own])
    return [
        [
            (row["base_logps"][i] if known else next(others), len(ids))
            for i, (ids, known) in enumerate(zip(own, found, strict=True))
        ]
        for row, own, found in zip(rows, told, same, strict=True)
    ]


def _told(row: Row, i: int) -> list[int]:
    """The tokens of an answer without the one that ended it."""
    ids = list(row["token_ids"][i])
    return ids[:-1] if row["finish_reasons"][i] == "stop" else ids


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
