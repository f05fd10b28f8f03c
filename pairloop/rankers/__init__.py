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
    unique = different(candidates)
    return told_all(candidates, unique, score_all(ranker, prompts, unique))


def different(candidates: Sequence[Sequence[str]]) -> list[list[str]]:
    """Each prompt's different candidates, in order."""
    return [list(dict.fromkeys(texts)) for texts in candidates]


def told_all(
    candidates: Sequence[Sequence[str]], unique: Sequence[Sequence[str]], scores: Sequence[Sequence[float]]
) -> list[list[float]]:
    """Scores of each prompt's candidates, from those of its `different` ones."""
    score_of = [dict(zip(texts, found, strict=True)) for texts, found in zip(unique, scores, strict=True)]
    return [[own[text] for text in texts] for texts, own in zip(candidates, score_of, strict=True)]


def score_all(ranker: Ranker, prompts: Sequence[str], candidates: Sequence[Sequence[str]]) -> list[list[float]]:
    """Score as `ranker` does, and refuse unusable scores: arguments, result and errors as of `score_unique`."""
    if len(prompts) != len(candidates):
        raise RankingError(f"{len(prompts)} prompts, but candidates for {len(candidates)}: each prompt needs its own")
    return check_all(ranker, prompts, candidates, ranker.score(prompts, candidates))


def check_all(
    ranker: object,
    prompts: Sequence[str],
    candidates: Sequence[Sequence[str]],
    scores: Sequence[Sequence[float]],
) -> list[list[float]]:
    """The scores, if there is a finite one for every candidate.

    Raises:
        RankingError: a score is missing or not finite; names the prompt and the response.
    """
    if len(scores) != len(prompts):
        raise RankingError(f"{_name(ranker)} scored {len(scores)} prompts of {len(prompts)}")
    return [
        _checked(ranker, prompt, texts, found) for prompt, texts, found in zip(prompts, candidates, scores, strict=True)
    ]


def advantages(matrix: Sequence[Sequence[float]]) -> list[float]:
    """Scores from comparisons, as llm_blender makes them: for each response i the mean over all j of M_ij - M_ji.

    Args:
        matrix: M [n][n], where M_ij is how far response i, shown first, beats response j.

    Returns:
        n numbers whose sum is 0 but for rounding: relative to the other responses of the prompt.
    """
    import numpy as np

    found = np.asarray(matrix, dtype=np.float32).reshape(len(matrix), len(matrix))
    return [float(score) for score in (found - found.T).mean(axis=-1)] if len(matrix) else []


def _checked(ranker: object, prompt: str, texts: Sequence[str], found: Sequence[float]) -> list[float]:
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


def _name(ranker: object) -> str:
    return type(ranker).__name__
