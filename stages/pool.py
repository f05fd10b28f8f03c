"""pool: every prompt there is, without duplicates and without those of the held-out set, in the run's order."""

from pathlib import Path

import click

from pairloop.files import records
from pairloop.prompts import pool, sources
from stages import common


@click.command(cls=common.Verb)
@click.argument("pool_file", metavar="POOL", type=Path)
@click.argument("held_out", type=Path)
@click.argument("metrics", type=Path)
def main(pool_file: Path, held_out: Path, metrics: Path) -> None:
    """Write the training prompts to POOL and the evaluation's to HELD_OUT."""
    params = common.load()
    train = sources.read_prompts(params.pool.source, params.pool.split)
    evaluation = sources.read_prompts(params.pool.eval_source, params.pool.eval_split)
    rows, held_out_rows, counts = pool.build(train, evaluation, params.pool, params.seed)
    records.write(pool_file, records.PROMPT, [rows])
    records.write(held_out, records.PROMPT, [held_out_rows])
    records.write_json(metrics, counts)


if __name__ == "__main__":
    main()
