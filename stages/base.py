"""base: find the model that the loop starts from, and pin it as models/iteration_0.

Weights stay in the machine-wide cache; the output is a pointer with every file's checksum.
"""

from pathlib import Path

import click

from pairloop.files import records
from pairloop.models import chat, fetch, four_bit, references, suitable
from stages import common


@click.command(cls=common.Verb)
@click.argument("model", type=Path)
@click.argument("times", type=Path)
def main(model: Path, times: Path) -> None:
    """Pin the base model in MODEL/model.json."""
    params = common.load()
    base, cache = params.base, references.cache_root()
    targets = params.train.lora_target_modules if params.train.method != "full" else None
    with common.clock(times):
        pointer = references.pin(base.model, base.sha256, cache)
        folder = fetch.bring(base.model, base.sha256, cache).folder
        suitable.check(base.model, folder, targets)
        if params.train.method == "qlora":
            four_bit.check(references.load_config(folder, folder))
        records.write_json(model / "model.json", pointer | {"template_date": chat.DATE.isoformat()})


if __name__ == "__main__":
    main()
