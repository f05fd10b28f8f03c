"""prompts: the slice of the pool that one iteration works on."""

from pathlib import Path
from typing import Any

import click

from pairloop.files import records
from pairloop.prompts import slices
from stages import common


@click.command(cls=common.Verb)
@click.option("--iteration", type=click.IntRange(min=1), required=True)
@click.argument("pool_file", metavar="POOL", type=Path)
@click.argument("prompts", type=Path)
@click.argument("metrics", type=Path)
def main(iteration: int, pool_file: Path, prompts: Path, metrics: Path) -> None:
    """Write the iteration's prompts from POOL to PROMPTS."""
    params = common.load()
    rows = records.read(pool_file, records.PROMPT)
    own = slices.slice_for(rows, iteration, params.prompts, params.teach.prompts)
    records.write(prompts, records.PROMPT, [own])
    constrained = sum(row["constraints"] is not None for row in own)
    counts: dict[str, Any] = {"rows_in": len(rows), "rows_out": len(own), "with_constraints": constrained}
    if params.prompts.constrained == "only":
        # Of all prompts but the teacher's, whichever iteration's they would have been.
        passed_over = len(rows) - params.teach.prompts - len(slices.askable(rows, params.prompts, params.teach.prompts))
        counts["dropped"] = {"without_constraints": passed_over}
    records.write_json(metrics, counts)


if __name__ == "__main__":
    main()
