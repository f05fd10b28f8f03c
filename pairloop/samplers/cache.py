"""Keys and values of many rows in buffers that grow now and then: a step writes one token in place and a finished row
costs a copy of one row, where transformers' DynamicCache copies everything each time."""

import copy
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from transformers import DynamicCache
from transformers.cache_utils import Cache, DynamicLayer, DynamicSlidingWindowLayer

from pairloop.errors import ModelError

_COLUMNS = 32
"""By how many tokens a buffer grows: most rows have ended before the longest has, and need no room by then."""


class RowLayer(DynamicLayer):
    """One layer's keys and values. Columns before `length` hold what was read: the opening, padding, the rest."""

    def __init__(self, like: torch.Tensor, values_like: torch.Tensor, rows: int, length: int) -> None:
        super().__init__()
        self.dtype, self.device, self.is_initialized = like.dtype, like.device, True
        # Zeros, since what is masked out still enters sums with weight 0, and 0 times garbage may be NaN.
        self.key_buffer = like.new_zeros(rows, like.shape[1], length, like.shape[3])
        self.value_buffer = like.new_zeros(rows, values_like.shape[1], length, values_like.shape[3])
        self.rows = rows
        self.length = length
        self._show()

    def fill(self, layer: DynamicLayer, rows: slice, repeats: torch.Tensor, opening: int) -> None:
        """Copy a prefilled batch into `rows`, row i of it `repeats[i]` times: the opening left, the rest right."""
        rest = layer.keys.shape[2] - opening
        columns = torch.cat([torch.arange(opening), torch.arange(self.length - rest, self.length)])
        columns, repeats = (each.to(layer.keys.device) for each in (columns, repeats))
        self.key_buffer[rows].index_copy_(2, columns, layer.keys.repeat_interleave(repeats, dim=0))
        self.value_buffer[rows].index_copy_(2, columns, layer.values.repeat_interleave(repeats, dim=0))

    def update(self, key_states: Any, value_states: Any, *_: Any, **__: Any) -> tuple[torch.Tensor, torch.Tensor]:
        """Append keys and values [rows, heads, tokens, size] and return all, as views of the buffers."""
        end = self.length + key_states.shape[2]
        if end > self.key_buffer.shape[2]:
            self.key_buffer, self.value_buffer = (
                self._grown(each, end + _COLUMNS) for each in (self.keys, self.values)
            )
        self.key_buffer[: self.rows, :, self.length : end] = key_states
        self.value_buffer[: self.rows, :, self.length : end] = value_states
        self.length = end
        self._show()
        return self.keys, self.values

    def keep(self, count: int, into: torch.Tensor, out_of: torch.Tensor) -> None:
        """Go on with `count` rows, after copying the rows `out_of` over the rows `into`."""
        for buffer in (self.key_buffer, self.value_buffer):
            buffer[into, :, : self.length] = buffer[out_of, :, : self.length]
        self.rows = count
        self._show()

    def _grown(self, states: torch.Tensor, columns: int) -> torch.Tensor:
        """The rows that go on, with room for more tokens."""
        larger = states.new_zeros(*states.shape[:2], columns, states.shape[3])
        larger[:, :, : self.length] = states
        return larger

    def _show(self) -> None:
        self.keys = self.key_buffer[: self.rows, :, : self.length]
        self.values = self.value_buffer[: self.rows, :, : self.length]


class RowCache(Cache):
    """The keys and values of all layers."""

    def keep(self, order: Any) -> None:
        """Go on with the rows that `order`, a numpy array, names; most of them should be where they were."""
        order = torch.from_numpy(order)
        into = (order != torch.arange(len(order))).nonzero()[:, 0]
        for layer in self.layers:
            layer.keep(len(order), into.to(layer.device), order[into].to(layer.device))


def empty(config: Any) -> Any:
    """A cache to prefill a batch into.

    Layers with a sliding window keep everything too: the attention mask, which transformers makes from the model's
    config, hides what the window leaves behind.

    Raises:
        ModelError: the model keeps something else than keys and values, such as a recurrent state.
    """
    for layer in DynamicCache(config=config).layers:
        if type(layer) not in (DynamicLayer, DynamicSlidingWindowLayer):
            raise ModelError(f"{config.model_type}: its layers keep a {type(layer).__name__}, which cannot be sampled")
    return DynamicCache()


def windowed(config: Any) -> bool:
    """Whether a layer sees only the last so many columns."""
    return any(isinstance(layer, DynamicSlidingWindowLayer) for layer in DynamicCache(config=config).layers)


def repeated(read: Any, rows: int) -> Any:
    """A copy of a cache of one row, with as many equal rows; an empty cache gives an empty one."""
    copied = copy.deepcopy(read)
    if copied.get_seq_length():
        copied.batch_repeat_interleave(rows)
    return copied


def joined(batches: Sequence[Any], repeats: Sequence[torch.Tensor], opening: int) -> RowCache:
    """One cache of all rows of prefilled batches, each row repeated.

    Args:
        batches: prefilled caches, of different lengths, padded between the opening and the rest.
        repeats: for each batch, how many rows each of its rows becomes.
        opening: columns that all rows have in common.
    """
    length = max(batch.get_seq_length() for batch in batches)
    counts = [int(repeat.sum()) for repeat in repeats]
    layers = []
    for index, first in enumerate(batches[0].layers):
        layer = RowLayer(first.keys, first.values, sum(counts), length)
        start = 0
        for batch, repeat, count in zip(batches, repeats, counts, strict=True):
            layer.fill(batch.layers[index], slice(start, start + count), repeat, opening)
            start += count
        layers.append(layer)
    return RowCache(layers=layers)


def closed_up(going: Sequence[bool]) -> Any:
    """The rows that go on, in their places; those beyond the new end are moved into the gaps."""
    left = sum(going)
    movers = iter([row for row in range(left, len(going)) if going[row]])
    return np.array([row if going[row] else next(movers) for row in range(left)], dtype=np.int64)
