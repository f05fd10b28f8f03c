"""All weights of a model in one folder, which needs neither a base nor this package: safetensors, tokenizer, settings.

Read alike by transformers 4.57 and 5, and by what loads models through their files: vLLM, lm-eval, TRL.
"""

from pathlib import Path
from typing import Any

from pairloop.errors import ModelError
from pairloop.files import records
from pairloop.models import chat, references
from pairloop.training import output


def load(policy: Path, base: Path) -> Any:
    """The policy with its adapter merged, in float32: rounded once, when it is written, and not before the addition.

    Args:
        policy: models/iteration_n: a pointer, an adapter or a full checkpoint.
        base: models/iteration_0, which an adapter is relative to.

    Raises:
        ModelError: the base's weights are quantised, so that merging would round the adapter away.
    """
    owner = base if references.is_adapter(policy) else policy
    config = references.load_config(owner, references.weights(owner))
    if getattr(config, "quantization_config", None):
        raise ModelError(
            f"{owner}: its weights are quantised, and an adapter that is merged into them would be rounded to their "
            "few levels: export.forms can be adapter alone"
        )
    return references.load_policy(policy, base, "float32")


def write(model: Any, policy: Path, base: Path, dtype: str, folder: Path) -> None:
    """Write weights, configuration, tokenizer with its chat template, and what ends an answer.

    Args:
        model: as `load` gives it; it is left in `dtype`.
        policy: what it was loaded from.
        base: models/iteration_0.
        dtype: float32, bfloat16 or float16.
        folder: what is filled.

    Raises:
        ModelError: a weight is beyond what `dtype` holds.
    """
    import torch

    owner = base if references.is_adapter(policy) else policy
    tokenizer = references.load_tokenizer(owner)
    ends = chat.end_ids(model, tokenizer)
    model.to(getattr(torch, dtype))
    for name, weight in model.named_parameters():
        if not weight.isfinite().all():
            raise ModelError(f"export.dtype is {dtype}: {name} holds numbers beyond it. Take bfloat16 or float32")
    output.write_full(model, owner, dtype, folder)
    output.copy_tokenizer(owner, folder)
    path = folder / "generation_config.json"
    records.write_json(path, _settings(records.read_json(path), tokenizer, ends))


def _settings(found: dict[str, Any], tokenizer: Any, ends: list[int]) -> dict[str, Any]:
    """The base's generation settings, with every token that ends an answer, the template's among them."""
    own = {"eos_token_id": ends, "bos_token_id": tokenizer.bos_token_id, "pad_token_id": tokenizer.pad_token_id}
    # As if there were none: with this mark transformers makes them anew, from config.json.
    return {name: value for name, value in (found | own).items() if name != "_from_model_config" and value is not None}
