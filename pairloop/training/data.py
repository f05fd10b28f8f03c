"""Preference pairs as the token ids that DPO trains on: the same ids that the policy was prompted with."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pairloop.errors import DataError
from pairloop.files.records import SIDES, Row
from pairloop.models import chat
from pairloop.work import shards

Sampled = Mapping[tuple[str, str], Sequence[int]]
"""Token ids of responses as they were sampled, by (prompt_id, response)."""


Wins = Mapping[tuple[str, str], float]
"""For responses, by (prompt_id, response): how likely each is to beat the policy's other ones."""


@dataclass(frozen=True)
class Encoded:
    """A split in TRL's tokenised form."""

    rows: list[dict[str, list[Any]]]
    """`prompt_ids`, `chosen_ids`, `rejected_ids` of each pair; the prompt ends where the answer begins. Where they are
    asked for also `win_probabilities`, of chosen and rejected."""

    prompts: list[str]
    """The prompt_id of each row."""

    numbers: list[int]
    """Which of the pairs each row is made from, counted from 0."""

    dropped: dict[str, int]
    """Pairs left out, by reason."""

    truncated_responses: int
    """Responses that do not fit into max_length; training sees their beginning."""

    lengths: list[tuple[int, int]]
    """Tokens of each row's prompt with its chosen response, and with its rejected one, as training reads them."""

    @property
    def longest(self) -> list[int]:
        """Tokens of the longer of each row's two, which is what its place in a batch costs."""
        return [max(row) for row in self.lengths]

    @property
    def tokens(self) -> int:
        """Tokens that one pass over the rows reads: the prompt twice, with each of its responses."""
        return sum(map(sum, self.lengths))


def encode(
    pairs: Sequence[Row], tokenizer: Any, max_length: int, sampled: Sampled, wins: Wins | None = None
) -> Encoded:
    """Pairs as tokens, without text becoming a control token.

    A response is the tokens that were sampled: what ended it is what is trained to end it, and one that was cut off
    has no end, since learning one there would teach the policy to stop in the middle of a sentence. A response of which
    only the text is known is tokenised, and ended as the template ends a turn.

    Args:
        pairs: rows of `records.PAIR`.
        tokenizer: the base's, with its chat template.
        max_length: tokens of prompt and response together. A pair whose prompt alone has as many is dropped.
        sampled: the tokens of responses that were sampled here.
        wins: of all responses in the pairs, or None where the loss does not read them.

    Raises:
        DataError: a conversation is not the prompt and one answer, or a response has no probability to win.
    """
    rows = []
    for number, pair in enumerate(pairs):
        row: dict[str, list[Any]] = {"prompt_ids": chat.encode_prompt(tokenizer, pair["prompt"])}
        for side in SIDES:
            text = _answer(number, pair, side)
            own = sampled.get((pair["prompt_id"], text))
            row[f"{side}_ids"] = chat.encode_response(tokenizer, text) if own is None else list(own)
        if wins is not None:
            row["win_probabilities"] = [_win(number, pair, side, wins) for side in SIDES]
        rows.append(row)
    numbers = [number for number, row in enumerate(rows) if len(row["prompt_ids"]) < max_length]
    kept = [rows[number] for number in numbers]
    whole = [[len(row["prompt_ids"]) + len(row[f"{side}_ids"]) for side in SIDES] for row in kept]
    return Encoded(
        rows=kept,
        prompts=[pairs[number]["prompt_id"] for number in numbers],
        numbers=numbers,
        dropped={"prompt_too_long": len(rows) - len(kept)},
        truncated_responses=sum(length > max_length for row in whole for length in row),
        lengths=[(min(chosen, max_length), min(rejected, max_length)) for chosen, rejected in whole],
    )


def shuffle(pairs: Sequence[Row], seed: int, iteration: int) -> list[Row]:
    """The pairs in the order of training, which depends on nothing but their content, the seed and the iteration.

    The trainer then reads them one after the other in every epoch, as it does for the reference: the same pairs share
    a batch in both, so that equal models give bit-equal log-probabilities.
    """

    def place(pair: Row) -> int:
        return shards.seed_of(seed, iteration, pair["prompt_id"], *(pair[side][-1]["content"] for side in SIDES))

    return sorted(pairs, key=place)


def _answer(number: int, pair: Row, side: str) -> str:
    turns = [(turn["role"], turn["content"]) for turn in pair[side]]
    if [role for role, _ in turns] != ["user", "assistant"] or turns[0][1] != pair["prompt"]:
        found = ", ".join(role for role, _ in turns) or "nothing"
        raise DataError(
            f"pair {number} (prompt_id {pair['prompt_id']}): {side} holds {found}, but DPO needs the prompt as the "
            "user's turn and one assistant's turn"
        )
    return str(turns[1][1])


def _win(number: int, pair: Row, side: str, wins: Wins) -> float:
    found = wins.get((pair["prompt_id"], _answer(number, pair, side)))
    if found is None:
        raise DataError(
            f"pair {number} (prompt_id {pair['prompt_id']}): the {side} response has no probability to win, which the "
            "loss sppo_soft needs: it must be among the rankings of this iteration. Take sppo_hard for pairs that were "
            "not ranked here"
        )
    return found
