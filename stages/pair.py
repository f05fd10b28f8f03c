"""pair: turn an iteration's rankings into its train and test splits."""

import json
from pathlib import Path

import click

from pairloop import pairing, records
from pairloop.records import Row
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
    """Pair the responses in RANKINGS and write TRAIN_SPLIT and TEST_SPLIT."""
    params = common.load(iteration)
    ranked = records.read(rankings, records.RANKING)
    pairs, reasons = pairing.pair(ranked, params.pair, params.seed, iteration)
    train, test = pairing.split(pairs, params.pair.test_fraction, params.seed)
    records.write(train_split, records.PAIR, [train])
    records.write(test_split, records.PAIR, [test])
    counts = {"rows_in": len(ranked), "rows_out": len(ranked) - len(reasons), "dropped": pairing.count(reasons)}
    split = {"train_pairs": len(train), "test_pairs": len(test)}
    means = pairing.summary(pairs) | pairing.length_control(ranked, params.pair, params.seed, iteration)
    records.write_json(metrics, records.rounded(counts | split | means))
    stated = {row["prompt_id"]: row["constraints"] for row in records.read(prompts, records.PROMPT)}
    records.write_json(samples, [_sample(row, stated, reasons, train, test) for row in ranked[:SHOWN]])


def _sample(row: Row, stated: Row, reasons: dict[str, str], train: list[Row], test: list[Row]) -> Row:
    """One prompt with everything that happened to it, as the report shows it."""
    prompt_id = row["prompt_id"]
    found = {
        name: pair
        for name, pairs in (("train", train), ("test", test))
        for pair in pairs
        if pair["prompt_id"] == prompt_id
    }
    split = next(iter(found), None)
    sides = {
        side: row["responses"].index(found[split][side][1]["content"]) if split else None
        for side in ("chosen", "rejected")
    }
    return {
        "prompt": row["prompt"],
        "constraints": json.loads(stated[prompt_id]) if stated[prompt_id] else None,
        "responses": row["responses"],
        "scores": [round(score, 4) for score in row["scores"]],
        "finish_reasons": row["finish_reasons"],
        **sides,
        "reason": reasons.get(prompt_id),
        "split": split,
    }


if __name__ == "__main__":
    main()
