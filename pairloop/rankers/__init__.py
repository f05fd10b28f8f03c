"""What a ranker is: one method. No base class, no registry: whoever needs one picks the class by its name."""

import math
from collections.abc import Sequence
from typing import Protocol

from pairloop.errors import RankingError


class Ranker(Protocol):
    """Says how good responses are."""

    def score(self, prompts: Sequence[str], candidates: Sequence[Sequence[str]]) -> list[list[float]]:
        """Score every candidate of every prompt; higher is better.

        Args:
            prompts: P raw user prompts, without a chat template.
            candidates: for each prompt its K responses; K may differ between prompts.

        Returns:
            P lists of K scores. Comparable within a prompt only.
        """
        ...


def score_unique(ranker: Ranker, prompts: Sequence[str], candidates: Sequence[Sequence[str]]) -> list[list[float]]:
    """Score as `ranker` does, but each of a prompt's different candidates only once, and refuse unusable scores.

    Only for rankers whose score does not depend on the prompt's other candidates.

    Args:
        ranker: who scores.
        prompts: P raw user prompts.
        candidates: for each prompt its K responses; K may differ between prompts.

    Returns:
        P lists of K finite scores; equal texts of a prompt have equal scores.

    Raises:
        RankingError: a score is not finite (names the prompt and the response), or there are not as many scores as
            different candidates.
    """
    unique = [list(dict.fromkeys(texts)) for texts in candidates]
    score_of = [
        dict(zip(different, found, strict=True))
        for different, found in zip(unique, score_all(ranker, prompts, unique), strict=True)
    ]
    return [[own[text] for text in texts] for texts, own in zip(candidates, score_of, strict=True)]


def score_all(ranker: Ranker, prompts: Sequence[str], candidates: Sequence[Sequence[str]]) -> list[list[float]]:
    """Score as `ranker` does, and refuse unusable scores: arguments, result and errors as of `score_unique`."""
    if len(prompts) != len(candidates):
        raise RankingError(f"{len(prompts)} prompts, but candidates for {len(candidates)}: each prompt needs its own")
    scores = ranker.score(prompts, candidates)
    if len(scores) != len(prompts):
        raise RankingError(f"{_name(ranker)} scored {len(scores)} prompts of {len(prompts)}")
    return [
        _checked(ranker, prompt, texts, found) for prompt, texts, found in zip(prompts, candidates, scores, strict=True)
    ]


def _checked(ranker: Ranker, prompt: str, texts: Sequence[str], found: Sequence[float]) -> list[float]:
    if len(found) != len(texts):
        raise RankingError(
            f"{_name(ranker)} gave {len(found)} scores for {len(texts)} responses to the prompt {prompt!r}"
        )
    for text, score in zip(texts, found, strict=True):
        if not math.isfinite(score):
            raise RankingError(
                f"{_name(ranker)} gave the score {score} for the prompt {prompt!r} and the response {text!r}. Scores "
                "must be finite numbers: look whether the base model's weights are, and try base.dtype float32"
            )
    return [float(score) for score in found]


def _name(ranker: Ranker) -> str:
    return type(ranker).__name__
