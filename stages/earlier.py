"""earlier: the pairs of all iterations before one, with their tokens, for a training that reads them too.

Each iteration adds its own to those before it, since a stage cannot depend on as many files as there are iterations.
"""

from pathlib import Path

import click

from pairloop.files import records
from pairloop.training import earlier
from stages import common


@click.command(cls=common.Verb)
@click.option("--iteration", type=click.IntRange(min=2), required=True)
@click.argument("before", type=Path)
@click.argument("responses", type=Path)
@click.argument("train_split", type=Path)
@click.argument("out", type=Path)
def main(iteration: int, before: Path, responses: Path, train_split: Path, out: Path) -> None:
    """Write to OUT what BEFORE holds, and the pairs of TRAIN_SPLIT, of the iteration before, with their tokens.

    For iteration 2 there is nothing before that, and BEFORE is not read. Of published pairs (pair.published) the tokens
    are not known, and RESPONSES is not read.
    """
    found = records.read(before, records.EARLIER) if iteration > 2 else []
    pairs = records.read(train_split, records.PAIR)
    given = common.load(iteration).pair.published
    tokens = {} if given else earlier.sampled(responses, pairs)[0]
    records.write(out, records.EARLIER, [found, earlier.rows(iteration - 1, pairs, tokens)])


if __name__ == "__main__":
    main()
