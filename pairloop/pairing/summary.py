"""Figures about pairs, beside those that there would be without length control."""

import statistics
from collections.abc import Iterator, Sequence

from pairloop.files import records
from pairloop.files.records import Row
from pairloop.measures.statistics import length_correlation, mean_of_defined, rank_correlation
from pairloop.measures.texts import refuses, words
from pairloop.pairing.choosing import penalised, seen
from pairloop.pairing.pairs import pair
from pairloop.pairing.rules import Rule
from pairloop.params import Pair


def uncontrolled(params: Pair) -> Pair:
    """The same parameters without those that control length."""
    return params.model_copy(update={"length_penalty": 0.0, "max_length_ratio": 0.0, "tie_break": "none"})


class Summary:
    """Figures about pairs, gathered a batch at a time: numbers stay in memory, texts do not.

    Beside the pairs stand those that there would be if nothing controlled length.
    """

    def __init__(self, rule: Rule | None = None, free: Rule | None = None) -> None:
        """Start with nothing.

        Args:
            rule: what made the pairs; None where others did.
            free: the same without length control.
        """
        self._rule, self._free = rule, free
        self._figures: list[tuple[float, ...]] = []
        self._uncontrolled: list[tuple[float, ...]] = []
        self._correlations: list[float | None] = []
        self._uncontrolled_correlations: list[float | None] = []

    def add(self, ranked: Sequence[Row], pairs: Sequence[Row]) -> None:
        """Count ranked rows and the pairs made from them by the rules."""
        assert self._rule is not None and self._free is not None
        self._figures += map(_figures, pairs)
        self._uncontrolled += map(_figures, pair(ranked, self._free)[0])
        self._correlations += _length_correlations(ranked, self._rule.penalty)
        self._uncontrolled_correlations += _length_correlations(ranked, 0.0)

    def add_given(self, pairs: Sequence[Row]) -> None:
        """Count pairs that others made, whose length nothing here controlled."""
        figures = [*map(_figures, pairs)]
        self._figures += figures
        self._uncontrolled += figures
        for row in pairs:
            found = length_correlation(row["all_rm_scores"], row["all_generated_responses"])
            self._correlations.append(found)
            self._uncontrolled_correlations.append(found)

    def result(self) -> dict[str, float | None]:
        """The figures.

        Returns:
            Means over pairs: `mean_margin` in the ranker's unit, `chosen_words` and `rejected_words`, and
            `chosen_refusals` and `rejected_refusals`, the shares that refuse to answer; 0 where there are no pairs.
            `length_correlation`, the mean rank correlation within a prompt of penalised score and number of words; and
            with the prefix `uncontrolled_` the same of the scores as they are, and `pairs`, `chosen_words` and
            `rejected_words` of the pairs that `uncontrolled` parameters make.
        """
        free = _means(self._uncontrolled)
        return _means(self._figures) | {
            "length_correlation": mean_of_defined(self._correlations),
            "uncontrolled_length_correlation": mean_of_defined(self._uncontrolled_correlations),
            "uncontrolled_pairs": len(self._uncontrolled),
            "uncontrolled_chosen_words": free["chosen_words"],
            "uncontrolled_rejected_words": free["rejected_words"],
        }


def _figures(pair: Row) -> tuple[float, ...]:
    chosen, rejected = (pair[side][1]["content"] for side in records.SIDES)
    return margin(pair), len(words(chosen)), len(words(rejected)), refuses(chosen), refuses(rejected)


def _means(figures: Sequence[tuple[float, ...]]) -> dict[str, float | None]:
    names = ("mean_margin", "chosen_words", "rejected_words", "chosen_refusals", "rejected_refusals")
    columns = zip(*figures, strict=True) if figures else [(0.0,)] * len(names)
    return {name: statistics.fmean(column) for name, column in zip(names, columns, strict=True)}


def _length_correlations(ranked: Sequence[Row], penalty: float) -> Iterator[float | None]:
    for row in ranked:
        if usable := seen(row):
            yield rank_correlation(penalised(usable, penalty), [response.words for response in usable])


def margin(row: Row) -> float:
    """Score of the chosen response minus score of the rejected one.

    Of published pairs whose texts are not among the responses: highest minus lowest score, or 0 where there is none.
    """
    scores = dict(zip(row["all_generated_responses"], row["all_rm_scores"], strict=True))
    chosen, rejected = (row[side][1]["content"] for side in records.SIDES)
    if chosen in scores and rejected in scores:
        return float(scores[chosen] - scores[rejected])
    return float(max(scores.values(), default=0.0) - min(scores.values(), default=0.0))
