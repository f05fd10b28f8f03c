"""How far judges say the same of the same answers."""

from collections import Counter
from collections.abc import Mapping, Sequence
from itertools import combinations
from typing import Any

Side = int
"""1 where a judge prefers the model's answer, -1 where the other's, 0 at a tie."""


def agreement(wins: Mapping[str, Sequence[float]]) -> list[dict[str, Any]]:
    """How far every two judges agree.

    Args:
        wins: for each judge the share of each prompt's samples that the model wins, ties counting half, in one order
            of prompts. Above ½ the judge prefers the model's answers, below it the other's.

    Returns:
        For every two judges in their order `judges`, their names; `prompts`, on which both prefer a side; `same`, the
        share of these on which it is the same side, None where there is none; and `kappa`, Cohen's, as of `kappa`.
    """
    sides = {judge: [_side(share) for share in own] for judge, own in wins.items()}
    return [{"judges": [one, other]} | _pair(sides[one], sides[other]) for one, other in combinations(sides, 2)]


def _side(share: float) -> Side:
    return (share > 0.5) - (share < 0.5)


def _pair(one: Sequence[Side], other: Sequence[Side]) -> dict[str, Any]:
    decided = [a == b for a, b in zip(one, other, strict=True) if a and b]
    same = sum(decided) / len(decided) if decided else None
    return {"prompts": len(decided), "same": same, "kappa": kappa(one, other)}


def kappa(one: Sequence[Side], other: Sequence[Side]) -> float | None:
    """Cohen's kappa of two judges' verdicts, with a tie as a class of its own (Cohen 1960, 10.1177/001316446002000104).

    1 where they always agree, 0 where they agree as often as chance would have it; None where both always say the same
    one thing, so that chance leaves nothing to agree on.
    """
    count = len(one)
    seen = sum(a == b for a, b in zip(one, other, strict=True)) / count
    ours, theirs = Counter(one), Counter(other)
    chance = sum(ours[side] * theirs[side] for side in (-1, 0, 1)) / count**2
    return None if chance == 1 else (seen - chance) / (1 - chance)
