"""pair: turn an iteration's rankings into its train and test splits."""

import dataclasses
from pathlib import Path

import click

from pairloop.files import contents, published, records
from pairloop.pairing.given import Given
from pairloop.pairing.ranked import Ranked
from pairloop.pairing.samples import sample
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
    if params.pair.published:
        folder = published.fetch(params.pair.published)
        found: Given | Ranked = Given(folder, {row["prompt"] for row in asked}, iteration, SHOWN)
    else:
        found = Ranked(rankings, params.pair, params.seed, iteration, SHOWN)
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
    records.write_json(samples, [sample(row, own, stated, found.reasons, found.held_out) for row, own in found.shown])


if __name__ == "__main__":
    main()
