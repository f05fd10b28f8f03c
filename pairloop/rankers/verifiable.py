"""Scores that a program verifies: the share of a prompt's constraints that a response satisfies."""

from collections.abc import Mapping, Sequence
from itertools import pairwise

from pairloop.errors import RankingError
from pairloop.files.records import Row
from pairloop.measures.texts import repetitive
from pairloop.prompts import constraints
from pairloop.prompts.constraints import Constraint

_LOOPING = -1.0
"""Stands for the share of a response that loops: below all shares."""


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


def in_order(
    rows: Sequence[Row], scores: Sequence[Sequence[float]], constrained: bool = True, loops_last: bool = False
) -> list[list[float]]:
    """The scores of each row's responses, ordered by what a program sees in them first.

    Args:
        rows: `responses` and `constraints` (JSON or None) are read.
        scores: for each row its K scores, finite.
        constrained: the share of the row's constraints that holds decides.
        loops_last: before that, whether a response loops: as if it held less than nothing.
    """
    stated = [constraints.parse(row["constraints"]) if constrained and row["constraints"] else [] for row in rows]
    shares = [
        [_LOOPING if loops_last and repetitive(text) else _share(own, text) for text in row["responses"]]
        for own, row in zip(stated, rows, strict=True)
    ]
    return constraints_first(scores, shares)


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
