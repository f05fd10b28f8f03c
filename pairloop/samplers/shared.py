"""Attention of many rows over prompts that several of them have in common.

A decoding step reads every key and value once, and on a CPU it is the reading that takes the time. Where five
responses share a prompt, its keys and values are read once here instead of five times.
"""

from typing import Any

import numpy as np
import torch

from pairloop.samplers.cache import RowCache, RowLayer, closed_up


class SharedCache(RowCache):
    """The keys and values of the prompts, once for each prompt, and those of the tokens that follow, for each row."""

    def __init__(self, prompts: RowCache, mask: Any, counts: Any) -> None:
        """
        Args:
            prompts: a row for each of P prompts, all of width W.
            mask: [P, W], true where a prompt has a token.
            counts: [P] rows of each prompt.
        """
        rows = int(counts.sum())
        super().__init__(layers=[RowLayer(layer.keys, layer.values, rows, 0) for layer in prompts.layers])
        self.prompts = prompts
        self.bias = torch.zeros(mask.shape).masked_fill(~mask, -torch.inf)[:, None, None]
        self._settle(np.arange(len(counts)).repeat(counts.numpy()))

    def keep(self, order: Any) -> None:
        """As `RowCache.keep`. Prompts without rows are left out from then on."""
        super().keep(order)
        owners = self.owners[order]
        left = closed_up([bool(answered) for answered in np.isin(np.arange(len(self.bias)), owners)])
        if len(left) < len(self.bias):
            self.prompts.keep(left)
            self.bias = self.bias[torch.from_numpy(left)]
            owners = np.argsort(left)[np.searchsorted(np.sort(left), owners)]
        self._settle(owners)

    def _settle(self, owners: Any) -> None:
        """Give each row a place among those of its prompt; `owners` are the numbers of the rows' prompts."""
        self.owners = owners
        taken = np.zeros(len(self.bias), dtype=np.int64)
        ranks = np.empty(len(owners), dtype=np.int64)
        for row, owner in enumerate(owners):
            ranks[row] = taken[owner]
            taken[owner] += 1
        self.most = int(taken.max())
        self.places = torch.from_numpy(owners * self.most + ranks)

    def attend(self, module: Any, query: Any, key: Any, value: Any, *_: Any, **options: Any) -> tuple[Any, None]:
        """Attention as transformers calls it, of one token for each row.

        Args:
            module: the layer's attention.
            query: [rows, heads, 1, size].
            key, value: [rows, key heads, tokens, size], of what follows the prompts.

        Returns:
            [rows, 1, heads, size], and no weights.
        """
        layer = self.prompts.layers[module.layer_idx]
        rows, heads, _, size = query.shape
        scaling = options.get("scaling")
        query = query.reshape(rows, key.shape[1], -1, size) * (size**-0.5 if scaling is None else scaling)
        told = self._by_row(self._by_prompt(query) @ layer.keys.transpose(2, 3) + self.bias)
        weights = torch.cat([told, query @ key.transpose(2, 3)], dim=-1).softmax(dim=-1)
        width = told.shape[-1]
        heard = self._by_row(self._by_prompt(weights[..., :width]) @ layer.values)
        result = heard + weights[..., width:] @ value
        return result.reshape(rows, 1, heads, -1), None

    def _by_prompt(self, states: Any) -> Any:
        """[rows, key heads, group, size] to [prompts, key heads, most rows of a prompt x group, size]."""
        prompts = len(self.bias)
        spread = states.new_zeros(prompts * self.most, *states.shape[1:]).index_copy_(0, self.places, states)
        return spread.unflatten(0, (prompts, self.most)).transpose(1, 2).flatten(2, 3)

    def _by_row(self, states: Any) -> Any:
        """The way back."""
        return states.unflatten(2, (self.most, -1)).transpose(1, 2).flatten(0, 1)[self.places]
