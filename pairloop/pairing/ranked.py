"""Pairs of responses that a ranker scored here, counted and shown."""

from collections.abc import Callable, Iterator
from pathlib import Path

from pairloop.files import records
from pairloop.files.records import Row
from pairloop.pairing import choosing, pairs, rules, summary
from pairloop.params import Pair


class Ranked:
    """The pairs of a file of rankings, read for the figures and again for the pairs: no texts are kept."""

    def __init__(self, rankings: Path, params: Pair, seed: int, iteration: int, shown: int) -> None:
        """Read the figures.

        Args:
            rankings: rows of records.RANKING.
            params: how to pair.
            seed: of the parameters.
            iteration: number of the iteration.
            shown: rows to keep for the report.
        """
        self.rankings = rankings
        settings = params, summary.uncontrolled(params)
        everything = self._everything() if any(map(rules.needs_all, settings)) else {}
        self.rule, free = (rules.settle(own, seed, iteration, everything) for own in settings)
        self.penalty = self.rule.penalty
        self.rows = 0
        self.reasons: dict[str, str] = {}
        self.summary = summary.Summary(self.rule, free)
        self.shown: list[tuple[Row, list[Row]]] = []
        paired: set[str] = set()
        for ranked in records.stream(rankings, records.RANKING):
            found, reasons = pairs.pair(ranked, self.rule)
            self.rows += len(ranked)
            paired |= {pair["prompt_id"] for pair in found}
            self.reasons |= reasons
            self.summary.add(ranked, found)
            self.shown += [(row, pairs.pair([row], self.rule)[0]) for row in ranked[: shown - len(self.shown)]]
        self.held_out = pairs.test_prompts(paired, params.test_fraction, seed)
        self.dropped = pairs.count(self.reasons)

    def test(self) -> Iterator[list[Row]]:
        """The pairs that are held out, a batch at a time."""
        return self._pairs(lambda prompt_id: prompt_id in self.held_out)

    def train(self) -> Iterator[list[Row]]:
        """The others."""
        return self._pairs(lambda prompt_id: prompt_id not in self.held_out)

    def _pairs(self, wanted: Callable[[str], bool]) -> Iterator[list[Row]]:
        for ranked in records.stream(self.rankings, records.RANKING):
            yield pairs.pair([row for row in ranked if wanted(row["prompt_id"])], self.rule)[0]

    def _everything(self) -> dict[str, list[choosing.Response]]:
        """What decides about every response, without the texts."""
        stream = records.stream(self.rankings, records.RANKING)
        return {row["prompt_id"]: choosing.seen(row) for ranked in stream for row in ranked}
