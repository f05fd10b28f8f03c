"""Pairs that others made, counted and shown as our own are."""

from collections import Counter
from collections.abc import Iterator, Set
from pathlib import Path

from pairloop.files import published, records
from pairloop.files.records import Row
from pairloop.pairing import summary


class Given:
    """The published pairs of an iteration, read once and counted as they are read: the test split comes first."""

    def __init__(self, folder: Path, evaluated: Set[str], iteration: int, shown: int) -> None:
        """Read nothing yet.

        Args:
            folder: from `published.fetch`.
            evaluated: prompts that the models are evaluated on; pairs about these are dropped, and counted.
            iteration: number of the iteration.
            shown: rows to keep for the report.
        """
        self.folder, self.evaluated, self.iteration, self._most = folder, evaluated, iteration, shown
        self.penalty = 0.0
        self.rows = 0
        self.dropped: Counter[str] = Counter()
        self.reasons: dict[str, str] = {}
        self.summary = summary.Summary()
        self.tested: set[str] = set()
        self.held_out: set[str] = set()
        self.shown: list[tuple[Row, list[Row]]] = []

    def test(self) -> Iterator[list[Row]]:
        """The pairs that can be used of the split that was held out."""
        for found in self._kept(f"test_iteration_{self.iteration}"):
            self.tested |= {pair["prompt"] for pair in found}
            self.summary.add_given(found)
            yield found

    def train(self) -> Iterator[list[Row]]:
        """The pairs that can be used of the other split, about prompts that are not in the first."""
        for found in self._kept(f"train_iteration_{self.iteration}"):
            own = [pair for pair in found if pair["prompt"] not in self.tested]
            self.dropped.update(["in_test_split"] * (len(found) - len(own)))
            self.summary.add_given(own)
            self._show(own)
            yield own

    def _show(self, found: list[Row]) -> None:
        """Keep the first pairs whose texts are among the responses; what ended these is not known."""
        whole = [pair for pair in found if {*_texts(pair)} <= {*pair["all_generated_responses"]}]
        self.shown += [(_ranked(pair), [pair]) for pair in whole[: self._most - len(self.shown)]]

    def _kept(self, split: str) -> Iterator[list[Row]]:
        for found in published.stream(self.folder, split):
            self.rows += len(found)
            problems = [published.problem(pair, self.evaluated) for pair in found]
            self.dropped.update(problem for problem in problems if problem)
            yield [pair for pair, problem in zip(found, problems, strict=True) if not problem]


def _texts(pair: Row) -> list[str]:
    return [pair[side][1]["content"] for side in records.SIDES]


def _ranked(pair: Row) -> Row:
    """A published pair as a row of rankings."""
    responses, scores = pair["all_generated_responses"], pair["all_rm_scores"]
    named = {name: pair[name] for name in ("prompt_id", "prompt")}
    return named | {"responses": responses, "scores": scores, "finish_reasons": [None] * len(responses)}
