"""Several rankers as one: each is brought to the same scale within a prompt, then they are added up."""

import statistics
from collections.abc import Sequence
from dataclasses import dataclass

from pairloop.rankers import Ranker, score_all


@dataclass(frozen=True)
class Ensemble:
    """Scores Σ weight × (score - mean) / standard deviation, both over the prompt's different responses.

    A ranker that gives all of them one score has no say for that prompt.
    """

    members: Sequence[tuple[float, Ranker]]
    """Weight and ranker of each member."""

    def score(self, prompts: Sequence[str], candidates: Sequence[Sequence[str]]) -> list[list[float]]:
        """Scores without a unit. Equal texts of a prompt have equal scores; a single different text has 0."""
        different = [list(dict.fromkeys(texts)) for texts in candidates]
        compared = [i for i, texts in enumerate(different) if len(texts) > 1]
        totals = [[0.0] * len(texts) for texts in different]
        for weight, ranker in self.members:
            found = score_all(ranker, [prompts[i] for i in compared], [different[i] for i in compared])
            for i, scores in zip(compared, found, strict=True):
                own = standardised(scores)
                totals[i] = [total + weight * score for total, score in zip(totals[i], own, strict=True)]
        score_of = [dict(zip(texts, own, strict=True)) for texts, own in zip(different, totals, strict=True)]
        return [[own[text] for text in texts] for texts, own in zip(candidates, score_of, strict=True)]


def standardised(scores: Sequence[float]) -> list[float]:
    """Scores with mean 0 and standard deviation 1; all 0 where they are equal."""
    mean, spread = statistics.fmean(scores), statistics.pstdev(scores)
    return [(score - mean) / spread if spread else 0.0 for score in scores]
