"""A model's weights as a GGUF file holds them: their names, their layout and their number format."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from pairloop.errors import ModelError

_NAMES = {"f16": "F16", "q8_0": "Q8_0", "q4_0": "Q4_0"}
"""Number formats, and what GGUF calls them."""


@dataclass(frozen=True)
class Tensor:
    """One tensor of the file."""

    name: str
    """GGUF's."""

    weight: Any
    """Of torch, in float32; rows of numbers, or one row."""

    format: Any
    """gguf.GGMLQuantizationType."""

    heads: int | None = None
    """Of queries or keys whose rows are put into the original's order; None: as they are."""

    @property
    def bytes(self) -> int:
        """Size in the file."""
        from gguf import GGML_QUANT_SIZES

        numbers, size = GGML_QUANT_SIZES[self.format]
        return int(self.weight.numel() // numbers * size)

    def content(self) -> Any:
        """What the file holds: an array of numpy.

        Raises:
            ModelError: a number is beyond what the format holds.
        """
        import numpy as np
        from gguf import GGMLQuantizationType, quants

        rows = self.weight.detach().to("cpu").float().contiguous().numpy()
        if self.heads:
            # Halves of a head that rotate together lie side by side there, and one behind the other here.
            halves = rows.reshape(self.heads, 2, rows.shape[0] // self.heads // 2, *rows.shape[1:])
            rows = halves.swapaxes(1, 2).reshape(rows.shape)
        if self.format == GGMLQuantizationType.F16 and np.abs(rows).max() > np.finfo(np.float16).max:
            raise ModelError(f"{self.name}: holds numbers beyond float16. Leave f16 out of export.gguf")
        return quants.quantize(np.ascontiguousarray(rows), self.format)


def of(model: Any, architecture: str, dtype: str) -> list[Tensor]:
    """The tensors of a model.

    Args:
        model: of transformers, in float32.
        architecture: GGUF's name for its type.
        dtype: f16, q8_0 or q4_0.

    Raises:
        ModelError: GGUF has no name for one, or its rows cannot be cut into blocks of that format.
    """
    import gguf

    config = model.config
    known = {name: key for key, name in gguf.MODEL_ARCH_NAMES.items()}
    names = gguf.get_tensor_name_map(known[architecture], config.num_hidden_layers)
    # Of a family that keeps queries and keys as the first Llama had them.
    heads = {"attn_q": config.num_attention_heads, "attn_k": config.num_key_value_heads}
    found = []
    for own, weight in model.state_dict().items():
        if own == "lm_head.weight" and config.tie_word_embeddings:
            continue
        name = names.get_name(own, try_suffixes=(".weight", ".bias"))
        if name is None:
            raise ModelError(f"{config.model_type}: GGUF has no name for the tensor {own}. Take merged")
        permuted = heads.get(name.split(".")[-2]) if architecture == "llama" else None
        found.append(Tensor(name, weight, _format(name, weight, dtype), permuted))
    return found + _frequencies(config, architecture)


def _format(name: str, weight: Any, dtype: str) -> Any:
    """Vectors are small, and every number of them counts."""
    from gguf import GGML_QUANT_SIZES, GGMLQuantizationType

    if weight.dim() == 1:
        return GGMLQuantizationType.F32
    # As llama.cpp does it, the two that every token goes through stay more precise.
    kind = "q8_0" if dtype == "q4_0" and name in ("token_embd.weight", "output.weight") else dtype
    found = GGMLQuantizationType[_NAMES[kind]]
    block, row = GGML_QUANT_SIZES[found][0], weight.shape[-1]
    if row % block:
        raise ModelError(
            f"{name}: {dtype} takes {block} numbers of a row at a time, and its rows have {row}. Leave {dtype} out of "
            "export.gguf, and take f16"
        )
    return found


def _frequencies(config: Any, architecture: str) -> list[Tensor]:
    """What Llama 3.1 divides its rotary frequencies by, which llama.cpp reads from a tensor."""
    import torch
    from gguf import GGMLQuantizationType

    rope = config.rope_parameters
    kind = rope.get("rope_type", "default")
    if kind in ("default", "linear"):
        return []
    if kind != "llama3" or architecture != "llama":
        raise ModelError(
            f"{config.model_type}: a GGUF file cannot be written for rotary positions of the type {kind}. Known: "
            "default, linear, and llama3 for the model type llama. Take merged"
        )
    size = head_size(config)
    divisors = [_divisor(rope, rope["rope_theta"] ** (-i / size)) for i in range(0, size, 2)]
    return [Tensor("rope_freqs.weight", torch.tensor(divisors), GGMLQuantizationType.F32)]


def _divisor(rope: Mapping[str, Any], frequency: float) -> float:
    """By which one frequency is divided: long waves by the factor, short ones by 1, and others by what lies between."""
    context = rope["original_max_position_embeddings"]
    low, high, factor = rope["low_freq_factor"], rope["high_freq_factor"], rope["factor"]
    waves = context * frequency / (2 * math.pi)
    if waves > high:
        return 1.0
    if waves < low:
        return float(factor)
    share = (waves - low) / (high - low)
    return float(1 / ((1 - share) / factor + share))


def head_size(config: Any) -> int:
    """Numbers of a head's query or key."""
    return int(getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads)
