"""use: the lines that load what `export` made."""

from pathlib import Path

import click

from pairloop.errors import DataError
from pairloop.exporting import card
from stages import common


@click.command(cls=common.Verb)
@click.argument("folders", type=Path, nargs=-1, required=True)
def main(folders: tuple[Path, ...]) -> None:
    """Print the lines that load each export in FOLDERS, such as exports/iteration_3."""
    for folder in folders:
        forms = sorted(path for path in folder.glob("[!.]*") if path.is_dir())
        if not forms:
            raise DataError(f"{folder}: nothing is exported there. `make use ITERATION=3` exports a model")
        for path in forms:
            file = next((found.name for found in sorted(path.glob("*.gguf"))), "")
            click.echo("\n".join(["", *card.lines(path.name, path.as_posix(), file)]))


if __name__ == "__main__":
    main()
