"""pool: every prompt there is, without duplicates and without those of the held-out set, in the run's order."""

from collections.abc import Iterator
from pathlib import Path

import click

from pairloop.errors import DataError
from pairloop.files import records
from pairloop.files.records import Row
from pairloop.models import references
from pairloop.params import Params
from pairloop.prompts import pool, slices, sources
from pairloop.samplers import room
from stages import common


@click.command(cls=common.Verb)
@click.argument("base", type=Path)
@click.argument("pool_file", metavar="POOL", type=Path)
@click.argument("held_out", type=Path)
@click.argument("metrics", type=Path)
def main(base: Path, pool_file: Path, held_out: Path, metrics: Path) -> None:
    """Write the training prompts to POOL and the evaluation's to HELD_OUT, if the model BASE can read them."""
    params = common.load()
    train = sources.read_prompts(params.pool.source, params.pool.split)
    evaluation = sources.read_prompts(params.pool.eval_source, params.pool.eval_split)
    rows, held_out_rows, counts = pool.build(_shown(train), evaluation, params.pool, params.seed)
    _check_enough(rows, counts, params)
    # Here, and not hours later, where they are answered.
    refuse_too_long(rows, held_out_rows, params, base)
    records.write(pool_file, records.PROMPT, [rows])
    records.write(held_out, records.PROMPT, [held_out_rows])
    records.write_json(metrics, counts)


def _shown(rows: list[Row]) -> Iterator[Row]:
    """The same rows, while a bar shows how far whoever takes them is."""
    with common.progress(len(rows), "pool") as bar:
        for row in rows:
            yield row
            bar.update()


def _check_enough(rows: list[Row], counts: pool.Counts, params: Params) -> None:
    """Refuse a pool that is too small for the last iteration, before the first one begins, and say why it is."""
    try:
        slices.slice_for(rows, params.iterations, params.prompts, params.teach.prompts)
    except DataError as error:
        raise DataError(f"{error.message}. {pool.left_out(counts, params.pool)}") from None


def refuse_too_long(rows: list[Row], held_out: list[Row], params: Params, base: Path) -> None:
    """Refuse held-out prompts that are too few or leave nothing to judge, and prompts that BASE has no room for."""
    evaluated = slices.held_out_rows(held_out, params.eval.prompts, params.pool.eval_source)
    slices.refuse_few_judged(evaluated, params.eval.judged, params.pool.eval_source)
    learns = params.teach.constructed and params.kinds & {"specialist", "encoder"}
    taught = slices.teacher_rows(rows, params.teach.prompts) if learns else []
    source = references.weights(base)
    context = references.context(references.load_config(base, source))
    asked = [room.evaluated(evaluated, params), room.taught(taught, params)]
    room.refuse_too_long(asked, references.load_tokenizer(source), context)


if __name__ == "__main__":
    main()
