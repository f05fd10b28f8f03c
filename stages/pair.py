"""pair: turn an iteration's rankings into its train and test splits."""

import dataclasses
import json
from collections.abc import Callable, Iterator, Set
from pathlib import Path

import click

from pairloop.files import contents, published, records
from pairloop.files.records import Row
from pairloop.pairing import choosing, pairs, rules, summary
from pairloop.pairing.given import Given
from pairloop.params import Params
from stages import common

SHOWN = 12
"""Prompts with their responses that are kept as readable JSON, for the report."""


@click.command(cls=common.Verb)
@click.option("--iteration", type=click.IntRange(min=1), required=True)
@click.argument("prompts", type=Path)
@click.argument("rankings", type=Path)
@click.argument("train_split", type=Path)
@click.argument("test_split", type=Path)
@click.argument("metrics", type=Path)
@click.argument("samples", type=Path)
def main(
    iteration: int, prompts: Path, rankings: Path, train_split: Path, test_split: Path, metrics: Path, samples: Path
) -> None:
    """Pair the responses in RANKINGS, which answer PROMPTS, and write TRAIN_SPLIT and TEST_SPLIT.

    Where pair.published names pairs that others made, those are written instead, without the ones about PROMPTS, which
    are then the held-out prompts; RANKINGS is not read.
    """
    params = common.load(iteration)
    asked = records.read(prompts, records.PROMPT)
    found = _given(asked, params, iteration) if params.pair.published else _Found(rankings, params, iteration)
    # The test split first: published pairs to train on must not have its prompts.
    records.write(test_split, records.PAIR, found.test())
    records.write(train_split, records.PAIR, found.train())
    out = found.rows - sum(found.dropped.values())
    counts = {"rows_in": found.rows, "rows_out": out, "dropped": dict(sorted(found.dropped.items()))}
    files = {"train": contents.content(train_split), "test": contents.content(test_split)}
    split = {f"{name}_pairs": file.num_examples for name, file in files.items()}
    # Not rounded: a penalty that was found makes the same pairs again when it is set.
    described = {
        "length_penalty": found.penalty,
        "files": {name: dataclasses.asdict(file) for name, file in files.items()},
    }
    records.write_json(metrics, records.rounded(counts | split | found.summary.result()) | described)
    stated = {row["prompt_id"]: row["constraints"] for row in asked}
    records.write_json(samples, [_sample(row, own, stated, found.reasons, found.held_out) for row, own in found.shown])


def _given(held_out: list[Row], params: Params, iteration: int) -> Given:
    return Given(published.fetch(str(params.pair.published)), {row["prompt"] for row in held_out}, iteration, SHOWN)


class _Found:
    """What the rankings give, read once for the figures and again for the pairs: their texts need not fit in memory."""

    def __init__(self, rankings: Path, params: Params, iteration: int) -> None:
        self.rankings = rankings
        settings = params.pair, summary.uncontrolled(params.pair)
        everything = self._everything() if any(map(rules.needs_all, settings)) else {}
        self.rule, free = (rules.settle(own, params.seed, iteration, everything) for own in settings)
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
            self.shown += [(row, pairs.pair([row], self.rule)[0]) for row in ranked[: SHOWN - len(self.shown)]]
        self.held_out = pairs.test_prompts(paired, params.pair.test_fraction, params.seed)
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


def _sample(row: Row, own: list[Row], stated: Row, reasons: dict[str, str], test: Set[str]) -> Row:
    """One prompt with everything that happened to it, as the report shows it."""
    prompt_id = row["prompt_id"]
    sides = {
        side: row["responses"].index(own[-1][side][1]["content"]) if own else None for side in ("chosen", "rejected")
    }
    return {
        "prompt": row["prompt"],
        # Published prompts state none.
        "constraints": json.loads(stated[prompt_id]) if stated.get(prompt_id) else None,
        "responses": row["responses"],
        "scores": [round(score, 4) for score in row["scores"]],
        "finish_reasons": row["finish_reasons"],
        **sides,
        "reason": reasons.get(prompt_id),
        "split": ("test" if prompt_id in test else "train") if own else None,
    }


if __name__ == "__main__":
    main()
