"""A base in four bits, for QLoRA: an adapter is trained beside it, and it needs a quarter of bfloat16's memory.

As in the paper (Dettmers et al. 2023, arXiv 2305.14314): NormalFloat numbers, whose scales are quantised a second time;
products are computed in the dtype of training. Embeddings, norms and the layer that gives the logits stay as they are.
The quantiser is bitsandbytes.
"""

from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from pairloop.errors import ModelError
from pairloop.models import references


def check(config: Any) -> None:
    """Refuse what cannot be loaded in four bits.

    Args:
        config: the base's, of transformers.

    Raises:
        ModelError: bitsandbytes is not installed, or the base is quantised already.
    """
    if find_spec("bitsandbytes") is None:
        raise ModelError(
            "train.method is qlora, which needs bitsandbytes: `pip install '.[qlora]'` installs it, and lora works "
            "without"
        )
    if getattr(config, "quantization_config", None):
        raise ModelError(
            "train.method is qlora, but the base is quantised already: take lora, which trains an adapter beside it as "
            "it is, or an unquantised base"
        )


def load(folder: Path, dtype: str) -> Any:
    """A base in four bits, in evaluation mode, on the GPU if there is one.

    Args:
        folder: models/iteration_0.
        dtype: float32, bfloat16 or float16: of the products, and of what is not quantised.

    Raises:
        ModelError: see `check`.
    """
    import torch
    from transformers import BitsAndBytesConfig

    check(references.load_config(folder, references.weights(folder)))
    quantiser = BitsAndBytesConfig(
        load_in_4bit=True,
        bnb_4bit_quant_type="nf4",
        bnb_4bit_use_double_quant=True,
        bnb_4bit_compute_dtype=getattr(torch, dtype),
    )
    model = references.load_model(folder, dtype, quantiser=quantiser)
    for module in model.modules():
        if hasattr(module, "support_avx512bf16_for_cpu"):
            # On some CPUs bitsandbytes rounds the scales anew at the first pass in evaluation mode: reference and
            # policy would be two models.
            module.support_avx512bf16_for_cpu = False
    return model


def trained(policy: Any) -> dict[str, Any]:
    """Copies of the weights that are trained, by name."""
    return {name: weight.detach().clone() for name, weight in policy.named_parameters() if weight.requires_grad}


def keep_precise(policy: Any, before: Mapping[str, Any]) -> None:
    """Give trained weights the values and the precision that they had, or float32 if they are new.

    TRL makes them bfloat16 where the base is quantised. With eight bits of precision training would not go on from the
    adapter that was saved, and small steps would be rounded away.

    Args:
        policy: the model that TRL's trainer holds.
        before: what `trained` gave of it before.
    """
    for name, weight in policy.named_parameters():
        if weight.requires_grad:
            weight.data = before[name] if name in before else weight.data.float()
