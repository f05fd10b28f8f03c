"""Linear layers in the weight layout that oneDNN multiplies fastest by, while a CPU only reads with them in float32.

Plain layers repack or stride through their weights in every call. Packed once, the same products take between a third
and two thirds of the time for the 5 to 100 rows of a decoding step, and a row's result does not depend on the number
of rows beside it.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn


@contextmanager
def packed_linears(model: Any) -> Iterator[None]:
    """Run the model's linear layers on packed copies of their weights inside the `with` block, then as before.

    Weights are copied on entry (their memory is needed twice meanwhile), so the block must not train the model. Layers
    of another type, dtype or device, and builds of torch without oneDNN, are left as they are.
    """
    linears = [module for module in model.modules() if _packable(module)]
    try:
        for linear in linears:
            linear.forward = _packed_forward(linear)
        yield
    finally:
        for linear in linears:
            linear.__dict__.pop("forward", None)


def _packable(module: nn.Module) -> bool:
    return (
        type(module) is nn.Linear  # a subclass may compute something else
        and "forward" not in module.__dict__
        and module.weight.dtype == torch.float32
        and module.weight.device.type == "cpu"
        and torch.backends.mkldnn.is_available()
        and hasattr(torch.ops.mkldnn, "_linear_pointwise")
    )


def _packed_forward(linear: nn.Linear) -> Callable[[torch.Tensor], torch.Tensor]:
    weight = torch.ops.mkldnn._reorder_linear_weight(linear.weight.detach(), None)

    def forward(states: torch.Tensor) -> torch.Tensor:
        result: torch.Tensor = torch.ops.mkldnn._linear_pointwise(states, weight, linear.bias, "none", [], "")
        return result

    return forward
