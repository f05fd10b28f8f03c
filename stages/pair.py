"""pair: turn an iteration's rankings into its train and test splits."""

from pathlib import Path

import click

from pairloop import pairing, records
from stages import common


@click.command(cls=common.Verb)
@click.option("--iteration", type=click.IntRange(min=1), required=True)
@click.argument("rankings", type=Path)
@click.argument("train_split", type=Path)
@click.argument("test_split", type=Path)
@click.argument("metrics", type=Path)
def main(iteration: int, rankings: Path, train_split: Path, test_split: Path, metrics: Path) -> None:
    """Pair the responses in RANKINGS and write TRAIN_SPLIT and TEST_SPLIT."""
    params = common.load(iteration)
    ranked = records.read(rankings, records.RANKING)
    pairs, dropped = pairing.pair(ranked, params.pair, params.seed, iteration)
    train, test = pairing.split(pairs, params.pair.test_fraction, params.seed)
    records.write(train_split, records.PAIR, [train])
    records.write(test_split, records.PAIR, [test])
    counts = {"rows_in": len(ranked), "rows_out": len(ranked) - sum(dropped.values()), "dropped": dropped}
    split = {"train_pairs": len(train), "test_pairs": len(test)}
    records.write_json(metrics, counts | split | {k: round(v, 4) for k, v in pairing.summary(pairs).items()})


if __name__ == "__main__":
    main()
