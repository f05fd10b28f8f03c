"""Linear layers in the weight layout that oneDNN multiplies fastest by, while their float32 weights stay as they are.

Plain layers repack or stride through their weights in every call. Packed once, the same products take between a third
and two thirds of the time for the 5 to 100 rows of a decoding step and for the few hundred of a training step, and a
row's result does not depend on the number of rows beside it.
"""

from collections import Counter
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
        training: leave layers alone whose weights are trained or used elsewhere too. Gradients pass through the others,
            which takes memory for one more copy of their weights; the weights themselves are given up meanwhile, and
            made again, to the bit, from the packed ones when the block ends.
    """
    shared = _shared(model) if training else set()
    linears = [module for module in model.modules() if _packable(module, training) and id(module.weight) not in shared]
    packed = [_Packed(linear, training) for linear in linears]
    if training:
        _own({id(linear.weight) for linear in linears}, model)
    try:
        for linear, weights in zip(linears, packed, strict=True):
            linear.forward = _packed_forward(linear, weights)
        yield
    finally:
        for linear, weights in zip(linears, packed, strict=True):
            linear.__dict__.pop("forward", None)
            weights.restore()


def _own(given_up: set[int], model: Any) -> None:
    """Copy the frozen weights that stay. A file is mapped as a whole: one weight in use keeps all of it in memory."""
    for weight in model.parameters():
        if id(weight) not in given_up and not weight.requires_grad and weight.device.type == "cpu":
            weight.data = weight.data.clone()


def _shared(model: Any) -> set[int]:
    """Weights that are used by more than one module, or by others than their own: that of the head among them."""
    found = Counter(id(weight) for module in model.modules() for weight in module._parameters.values())
    heads = [module.get_output_embeddings() for module in model.modules() if hasattr(module, "get_output_embeddings")]
    return {each for each, count in found.items() if count > 1} | {id(head.weight) for head in heads if head}


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


def _packed_forward(linear: nn.Linear, weights: "_Packed") -> Callable[[torch.Tensor], torch.Tensor]:
    def forward(states: torch.Tensor) -> torch.Tensor:
        if torch.is_grad_enabled() and states.requires_grad:
            result: torch.Tensor = _Product.apply(states, weights, linear.bias)
            return result
        return _product(states, weights.forward, linear.bias)

    return forward


class _Packed:
    """A layer's weights, packed when first needed."""

    def __init__(self, linear: nn.Linear, gives_up: bool) -> None:
        self._linear = linear
        self._gives_up = gives_up

    @cached_property
    def forward(self) -> torch.Tensor:
        packed = _pack(self._linear.weight.detach())
        if self._gives_up:
            self._linear.weight.data = self._linear.weight.new_empty(0)
        return packed

    @cached_property
    def backward(self) -> torch.Tensor:
        return _pack(self._plain().t().contiguous())

    def restore(self) -> None:
        """Give the layer its weights again, if it gave them up."""
        if not self._linear.weight.numel():
            self._linear.weight.data = self._plain()

    def _plain(self) -> torch.Tensor:
        weight = self._linear.weight.detach()
        return weight if weight.numel() else self.forward.to_dense()


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
