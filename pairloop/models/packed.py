"""Linear layers in the weight layout that oneDNN multiplies fastest by, while their float32 weights stay as they are.

Plain layers repack or stride through their weights in every call. Packed once, the same products take between a third
and two thirds of the time for the 5 to 100 rows of a decoding step and for the few hundred of a training step, and a
row's result does not depend on the number of rows beside it.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cached_property
from typing import Any

import torch
from torch import nn


@contextmanager
def packed_linears(model: Any, training: bool = False) -> Iterator[None]:
    """Run the model's linear layers on packed copies of their weights inside the `with` block, then as before.

    A layer's weights are copied when it is first called (their memory is needed twice meanwhile), so the block must not
    change them. Layers of another type, dtype or device, and builds of torch without oneDNN, are left as they are.

    Args:
        model: any module.
        training: leave layers alone whose weights are trained. Gradients pass through the others, which takes memory
            for one more copy of their weights.
    """
    linears = [module for module in model.modules() if _packable(module, training)]
    try:
        for linear in linears:
            linear.forward = _packed_forward(linear)
        yield
    finally:
        for linear in linears:
            linear.__dict__.pop("forward", None)


def _packable(module: nn.Module, training: bool) -> bool:
    return (
        type(module) is nn.Linear  # a subclass may compute something else
        and "forward" not in module.__dict__
        and module.weight.dtype == torch.float32
        and module.weight.device.type == "cpu"
        and not (training and any(parameter.requires_grad for parameter in module.parameters()))
        and torch.backends.mkldnn.is_available()
        and hasattr(torch.ops.mkldnn, "_linear_pointwise")
    )


def _packed_forward(linear: nn.Linear) -> Callable[[torch.Tensor], torch.Tensor]:
    weights = _Packed(linear)

    def forward(states: torch.Tensor) -> torch.Tensor:
        if torch.is_grad_enabled() and states.requires_grad:
            result: torch.Tensor = _Product.apply(states, weights, linear.bias)
            return result
        return _product(states, weights.forward, linear.bias)

    return forward


class _Packed:
    """A layer's weights, packed when first needed."""

    def __init__(self, linear: nn.Linear) -> None:
        self._linear = linear

    @cached_property
    def forward(self) -> torch.Tensor:
        return _pack(self._linear.weight.detach())

    @cached_property
    def backward(self) -> torch.Tensor:
        return _pack(self._linear.weight.detach().t().contiguous())


class _Product(torch.autograd.Function):
    """A product with frozen weights, through which gradients pass."""

    @staticmethod
    def forward(ctx: Any, states: torch.Tensor, weights: _Packed, bias: torch.Tensor | None) -> torch.Tensor:
        ctx.weights = weights
        return _product(states, weights.forward, bias)

    @staticmethod
    def backward(ctx: Any, gradient: torch.Tensor) -> Any:
        return _product(gradient.contiguous(), ctx.weights.backward, None), None, None


def _pack(weight: torch.Tensor) -> torch.Tensor:
    packed: torch.Tensor = torch.ops.mkldnn._reorder_linear_weight(weight, None)
    return packed


def _product(states: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None) -> torch.Tensor:
    result: torch.Tensor = torch.ops.mkldnn._linear_pointwise(states, weight, bias, "none", [], "")
    return result
