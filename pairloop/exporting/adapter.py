"""What was trained alone, beside a base that PEFT finds by the name in adapter_config.json.

PEFT takes that name as a model of the hub or as a path from where it is called. A base of the hub keeps its name and
revision. Any other is exported too, and the adapter names it by its path in the project, such as
exports/iteration_0/merged: it loads from the project's folder as it is, and elsewhere with the base given to PeftModel.
"""

import shutil
from pathlib import Path

from pairloop.errors import ModelError
from pairloop.files import records
from pairloop.models import references
from pairloop.training.output import BaseName


def write(policy: Path, base: BaseName, exported: Path, folder: Path) -> None:
    """Copy an adapter with its tokenizer, and name its base.

    Args:
        policy: models/iteration_n.
        base: what iteration 0 is.
        exported: where that is exported, from the project's folder; taken unless it is a model of the hub.
        folder: what is filled.

    Raises:
        ModelError: the policy is no adapter.
    """
    if not references.is_adapter(policy):
        raise ModelError(
            f"{policy}: holds all weights, and no adapter. Leave adapter out of export.forms, and take merged or gguf"
        )
    for path in sorted(policy.iterdir()):
        if path.is_file() and path.name not in ("README.md", "adapter_config.json"):
            shutil.copyfile(path, folder / path.name)
    config = records.read_json(policy / "adapter_config.json")
    named = {"base_model_name_or_path": base.name if base.kind == "hf" else exported.as_posix()}
    records.write_json(folder / "adapter_config.json", config | named | {"revision": base.revision})
