"""Scores that a program verifies: the share of a prompt's constraints that a response satisfies."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal

from pairloop.errors import RankingError
from pairloop.files.records import Row
from pairloop.measures.texts import echoes, repetitive, words
from pairloop.prompts import constraints, kinds
from pairloop.prompts.constraints import Constraint

_SAYING_AGAIN, _SHORT = -0.5, -1.0
"""Of a response that loops or repeats its prompt, and of one with too few words: below all shares."""


class Verifiable:
    """Ranks by satisfied constraints alone."""

    def __init__(self, constraints_of: Mapping[str, Sequence[Constraint]]) -> None:
        """Remember which constraints each prompt has.

        Args:
            constraints_of: for each prompt that will be scored its constraints, as `constraints.parse` gives them;
                empty for a prompt without any.
        """
        self._constraints_of = constraints_of

    def score(self, prompts: Sequence[str], candidates: Sequence[Sequence[str]]) -> list[list[float]]:
        """Shares from 0 to 1; 0 for every response to a prompt without constraints, so that they tie.

        Raises:
            RankingError: a prompt was not among those of the constructor.
        """
        return [
            [self._share(prompt, response) for response in responses]
            for prompt, responses in zip(prompts, candidates, strict=True)
        ]

    def _share(self, prompt: str, response: str) -> float:
        if prompt not in self._constraints_of:
            raise RankingError(f"no constraints are known for the prompt {prompt!r}: give an empty list if it has none")
        return _share(self._constraints_of[prompt], response)


@dataclass(frozen=True)
class First:
    """What a program sees in a response, and what decides before the ranker's score does."""

    constraints: bool | Literal["only"] = False
    """The share of the prompt's constraints that holds; with `only`, nothing else where a prompt has any."""

    loops_last: bool = False
    """Before that, whether the response loops: as if it held less than nothing."""

    echoes_last: bool = False
    """And whether it repeats its prompt, in the same way."""

    fewest_words: int = 0
    """Before both, whether it has fewer words, unless the prompt limits them."""

    def name(self, kind: str) -> str:
        """What a ranker of a kind is called with this before it."""
        own = [f"{self.fewest_words} words"] * (self.fewest_words > 0) + ["no loops"] * self.loops_last
        own += ["no echoes"] * self.echoes_last
        if self.constraints == "only":
            return ", then ".join([*own, f"constraints or else {kind}"])
        return ", then ".join([*own, *["constraints"] * self.constraints, kind])

    def leaves_out(self, row: Row) -> bool:
        """Whether the ranker has no say about the responses to a prompt; `constraints` (JSON or None) are read."""
        return self.constraints == "only" and bool(row["constraints"])

    def ordered(self, rows: Sequence[Row], scores: Sequence[Sequence[float]]) -> list[list[float]]:
        """The scores of each row's responses, ordered by this first.

        Args:
            rows: `prompt`, `responses` and `constraints` are read.
            scores: for each row its K scores, finite; those of a row that is left out do not count.
        """
        counted = [
            [0.0] * len(own) if self.leaves_out(row) else list(own) for row, own in zip(rows, scores, strict=True)
        ]
        return constraints_first(counted, [self._shares(row) for row in rows])

    def _shares(self, row: Row) -> list[float]:
        stated = constraints.parse(row["constraints"]) if row["constraints"] else []
        fewest = 0 if any(map(kinds.limits_words, stated)) else self.fewest_words
        decides = stated if self.constraints else []

        def share(text: str) -> float:
            if len(words(text)) < fewest:
                return _SHORT
            loops, repeats = self.loops_last and repetitive(text), self.echoes_last and echoes(text, row["prompt"])
            return _SAYING_AGAIN if loops or repeats else _share(decides, text)

        return [share(text) for text in row["responses"]]


def unscored(row: Row) -> Row:
    """What stands for a ranker's finding where none was asked."""
    return {"scores": [0.0] * len(row["responses"]), "comparisons": None, "judge": None}


def _share(stated: Sequence[Constraint], response: str) -> float:
    return constraints.share(list(stated), response) if stated else 0.0


def constraints_first(scores: Sequence[Sequence[float]], shares: Sequence[Sequence[float]]) -> list[list[float]]:
    """Scores whose order is decided by the satisfied share, and by the ranker only where that is equal.

    A prompt whose shares are all equal keeps its scores. Otherwise score + 2 r (share - lowest share) / s, where r is
    the range of the prompt's scores (½ if they are all equal) and s the smallest step between two different shares of
    the prompt. So margins stay in the ranker's unit: within a share they are the ranker's own, and a response with a
    higher share is ahead by at least r, whatever the ranker says.

    Args:
        scores: for each prompt its K scores, finite.
        shares: for each prompt the K shares, from 0 to 1, or below 0 for what comes after all of them.

    Returns:
        For each prompt its K finite scores.
    """
    return [_constraints_first(own, held) for own, held in zip(scores, shares, strict=True)]


def _constraints_first(scores: Sequence[float], shares: Sequence[float]) -> list[float]:
    different = sorted(set(shares))
    if len(different) < 2:
        return list(scores)
    step = min(higher - lower for lower, higher in pairwise(different))
    spread = max(scores) - min(scores) or 0.5
    return [score + 2 * spread * (share - different[0]) / step for score, share in zip(scores, shares, strict=True)]
