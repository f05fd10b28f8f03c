"""Frozen layers of a model in training: oneDNN computes them, on the weights as they lie."""

from typing import Any

import pytest
import torch
from torch import nn

from pairloop.models.packed import frozen_linears, packed_linears


def made() -> Any:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(96, 200), nn.ReLU(), nn.Linear(200, 200), nn.Linear(200, 50, bias=False))
    model[2].requires_grad_(False), model[3].requires_grad_(False)
    return model


def gradients(model: Any, states: Any) -> list[Any]:
    model.zero_grad()
    model(states).square().sum().backward()
    return [parameter.grad for parameter in model.parameters()]


def test_gradients_pass_through_frozen_layers_while_others_train() -> None:
    model, states = made(), torch.randn(7, 3, 96)
    before = gradients(model, states)
    with frozen_linears(model):
        assert ["forward" in module.__dict__ for module in model] == [False, False, True, True]
        inside = gradients(model, states)
    torch.testing.assert_close(inside[:2], before[:2], rtol=1e-4, atol=1e-4)
    assert inside[2:] == before[2:] == [None] * 3
    assert not any("forward" in module.__dict__ for module in model)


def test_frozen_layers_keep_the_only_copy_of_their_weights() -> None:
    model, states = made(), torch.randn(7, 3, 96)
    weights = [(weight, weight.data_ptr(), weight.clone()) for weight in model.parameters()]
    with frozen_linears(model):
        gradients(model, states)
        held = [cell.cell_contents for module in model[2:] for cell in module.forward.__closure__]
        assert all(isinstance(one, nn.Linear) for one in held)
    assert all(weight.data_ptr() == place and torch.equal(weight, kept) for weight, place, kept in weights)


@pytest.mark.parametrize("rows", [1, 7, 64, 300])
def test_frozen_layers_compute_what_packed_ones_do(rows: int) -> None:
    model, states = made(), torch.randn(rows, 200)
    with torch.no_grad():
        with packed_linears(model):
            packed = model[3](model[2](states))
        with frozen_linears(model):
            frozen = model[3](model[2](states))
    torch.testing.assert_close(packed, frozen, rtol=1e-5, atol=1e-5)
