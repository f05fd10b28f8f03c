"""export: one iteration's model in a form that other tools load."""

import shutil
from pathlib import Path

import click

from pairloop import exporting
from pairloop.exporting import Exported, adapter, card, gguf_file, merged
from pairloop.models import references
from pairloop.training.output import base_name
from stages import common


@click.command(cls=common.Verb)
@click.option("--iteration", type=click.IntRange(min=0), required=True)
@click.option("--form", required=True, help="merged, adapter, or gguf-f16, gguf-q8_0, gguf-q4_0.")
@click.argument("base", type=Path)
@click.argument("policy", type=Path)
@click.argument("exported_base", type=Path)
@click.argument("out", type=Path)
def main(iteration: int, form: str, base: Path, policy: Path, exported_base: Path, out: Path) -> None:
    """Write POLICY into the folder OUT, in the number format of `export.dtype` where its weights are merged.

    An adapter whose base is no model of the hub gets EXPORTED_BASE for it.
    """
    params = common.load()
    own = params.export
    factor = own.extrapolate if iteration else None  # the base is where the others are moved away from
    dtype = form.partition("-")[2] or own.dtype or params.base.dtype
    made = Exported(iteration, base_name(base), form, dtype, factor)
    file = f"iteration_{iteration}-{dtype}.gguf" if form.startswith("gguf") else ""
    with exporting.whole(out) as folder, exporting.moved(policy, base, factor, common.scratch()) as moved:
        if form == "adapter":
            adapter.write(moved, made.base, exported_base, folder)
        else:
            model = merged.load(moved, base)
            if form == "merged":
                merged.write(model, moved, base, dtype, folder)
            else:
                gguf_file.write(model, references.load_tokenizer(base), made, folder / file)
        if (policy / "lineage.json").is_file():
            shutil.copyfile(policy / "lineage.json", folder / "lineage.json")
        card.write(made, folder, file)


if __name__ == "__main__":
    main()
