"""base: find the model that the loop starts from, and pin it as models/iteration_0.

Weights stay in the machine-wide cache; the output is a pointer with every file's checksum.
"""

from pathlib import Path

import click

from pairloop.files import records
from pairloop.models import chat, references
from stages import common


@click.command(cls=common.Verb)
@click.argument("model", type=Path)
@click.argument("times", type=Path)
def main(model: Path, times: Path) -> None:
    """Pin the base model in MODEL/model.json."""
    base = common.load().base
    with common.clock(times):
        pointer = references.pin(base.model, base.sha256, references.cache_root())
        records.write_json(model / "model.json", pointer | {"template_date": chat.DATE.isoformat()})


if __name__ == "__main__":
    main()
