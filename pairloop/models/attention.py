"""A model's attention, computed by a function of ours for a while."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

_NAME = "pairloop"


def replaceable(model: Any) -> bool:
    """Whether a causal language model's attention can be replaced, and gains by it: one without extras, on a CPU."""
    import torch

    return (
        model.device.type == "cpu"
        and model.dtype == torch.float32
        and model.config._attn_implementation == "sdpa"
        and bool(getattr(model, "_supports_attention_backend", False))
    )


@contextmanager
def attending(model: Any, attend: Callable[..., tuple[Any, None]]) -> Iterator[None]:
    """Let the model's layers attend through `attend` inside the `with` block; it is called as transformers calls it.

    A mask of four dimensions is handed on as it is: transformers makes none of its own then.
    """
    from transformers import AttentionInterface

    before = model.config._attn_implementation
    AttentionInterface.register(_NAME, attend)
    model.config._attn_implementation = _NAME
    try:
        yield
    finally:
        model.config._attn_implementation = before
        AttentionInterface._global_mapping.pop(_NAME)
