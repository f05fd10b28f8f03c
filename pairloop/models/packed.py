"""Linear layers multiplied by oneDNN, on float32 weights that stay as they are.

Plain layers stride through their weights in an order that oneDNN need not take. Packed once, the same products take
between a third and two thirds of the time for the 5 to 100 rows of a decoding step, and a row's result does not depend
on the number of rows beside it. For the few hundred rows of a training step packing saves a twentieth and takes the
weights' memory twice more: there oneDNN reads them as they lie, and rounds as it does with packed ones.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cached_property
from typing import Any

import torch
from torch import nn

Forward = Callable[[torch.Tensor], torch.Tensor]


@contextmanager
def packed_linears(model: Any) -> Iterator[None]:
    """Run the model's linear layers on packed copies of their weights inside the `with` block, then as before.

    A layer's weights are copied when it is first called (their memory is needed twice meanwhile), so the block must not
    change them. Layers of another type, dtype or device, and builds of torch without oneDNN, are left as they are. No
    gradient passes through the others.

    Args:
        model: any module.
    """
    with _replaced([module for module in model.modules() if _suits(module)], _packed_forward):
        yield


@contextmanager
def frozen_linears(model: Any) -> Iterator[None]:
    """Run the model's linear layers that are not trained on oneDNN inside the `with` block, then as before.

    Gradients pass through them; no weight is copied. Layers of another type, dtype or device, and builds of torch
    without oneDNN, are left as they are.

    Args:
        model: any module.
    """
    with _replaced([module for module in model.modules() if _suits(module) and _frozen(module)], _frozen_forward):
        yield


@contextmanager
def _replaced(linears: list[nn.Linear], forward: Callable[[nn.Linear], Forward]) -> Iterator[None]:
    try:
        for linear in linears:
            linear.forward = forward(linear)
        yield
    finally:
        for linear in linears:
            linear.__dict__.pop("forward", None)


def _suits(module: nn.Module) -> bool:
    return (
        type(module) is nn.Linear  # a subclass may compute something else
        and "forward" not in module.__dict__
        and module.weight.dtype == torch.float32
        and module.weight.device.type == "cpu"
        and torch.backends.mkldnn.is_available()
        and hasattr(torch.ops.mkldnn, "_linear_pointwise")
    )


def _frozen(linear: nn.Linear) -> bool:
    return not any(parameter.requires_grad for parameter in linear.parameters())


def _packed_forward(linear: nn.Linear) -> Forward:
    weights = _Packed(linear)
    return lambda states: _product(states, weights.packed, linear.bias)


def _frozen_forward(linear: nn.Linear) -> Forward:
    def forward(states: torch.Tensor) -> torch.Tensor:
        result: torch.Tensor = _Product.apply(states, linear.weight, linear.bias)
        return result

    return forward


class _Packed:
    """A layer's weights, packed when first needed."""

    def __init__(self, linear: nn.Linear) -> None:
        self._linear = linear

    @cached_property
    def packed(self) -> torch.Tensor:
        packed: torch.Tensor = torch.ops.mkldnn._reorder_linear_weight(self._linear.weight.detach(), None)
        return packed


class _Product(torch.autograd.Function):
    """A product with frozen weights, through which gradients pass."""

    @staticmethod
    def forward(ctx: Any, states: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None) -> torch.Tensor:
        ctx.save_for_backward(weight)
        return _product(states, weight, bias)

    @staticmethod
    def backward(ctx: Any, gradient: torch.Tensor) -> Any:
        (weight,) = ctx.saved_tensors
        return _product(gradient.contiguous(), weight.t(), None), None, None


def _product(states: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None) -> torch.Tensor:
    result: torch.Tensor = torch.ops.mkldnn._linear_pointwise(states, weight, bias, "none", [], "")
    return result
