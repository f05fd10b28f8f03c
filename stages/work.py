"""work: the scratch folder of unfinished work."""

import click

from pairloop.work import shards
from stages import common


@click.group()
def main() -> None:
    """Look after the scratch folder in .dvc/tmp/pairloop."""


@main.command(cls=common.Verb)
@click.option("--max-gigabytes", type=click.FloatRange(min=0), default=5.0, show_default=True)
def prune(max_gigabytes: float) -> None:
    """Delete the work unused for longest, but never what a running stage uses."""
    freed = shards.prune(common.scratch(), int(max_gigabytes * 1e9))
    click.echo(f"{freed / 1e6:.1f} MB freed")


if __name__ == "__main__":
    main()
