"""Dropout, which DPO trains without: a policy that forgets at random does not start equal to its reference."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

_RANDOM = ("drop", "jitter")
"""What probabilities of dropping, and amounts of noise, have in their names in every architecture of transformers."""


@contextmanager
def without_dropout(model: Any) -> Iterator[None]:
    """No dropout of any kind inside the `with` block; afterwards every probability is as before.

    Not by the modules of type Dropout alone: many architectures (OPT and Llama among them) keep a probability as a
    plain number of a layer, or read it from the config in every pass.
    """
    places = {id(place): place for module in model.modules() for place in (module, vars(module).get("config"))}
    kept: list[tuple[Any, str, float]] = []
    for place in places.values():
        for name, value in vars(place).items() if place is not None else ():
            if _is_probability(place, name, value):
                kept.append((place, name, value))
    try:
        for place, name, value in kept:
            setattr(place, name, type(value)(0))
        yield
    finally:
        for place, name, value in kept:
            setattr(place, name, value)


def _is_probability(place: Any, name: str, value: Any) -> bool:
    from torch.nn.modules.dropout import _DropoutNd

    named = any(part in name for part in _RANDOM) or (name == "p" and isinstance(place, _DropoutNd))
    return named and isinstance(value, int | float) and not isinstance(value, bool) and value != 0
