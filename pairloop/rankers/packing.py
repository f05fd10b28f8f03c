"""Many prompts and their answers read in one row, without padding: each token attends to its own prompt and answer.

What a model makes of a token depends on those before it alone, and a product with its weights is fastest for a few
hundred tokens at once. So the tokens of several prompts stand one after another, and attention, the only place where
tokens meet, is computed piece by piece: a prompt with its first answer, and every further answer after that prompt.
"""

import inspect
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from pairloop.models import attention

TOKENS = 512
"""Tokens that several prompts share a row up to: enough to keep a processor busy, and few enough for its caches. No
figure of quality."""


@dataclass(frozen=True)
class Unit:
    """A prompt and what is read after it."""

    prompt: Sequence[int]
    """Its token ids without those that are read already, at least one."""

    answers: Sequence[Sequence[int]]
    """Token ids of the K answers, which may be empty."""

    @property
    def tokens(self) -> int:
        """How many are read."""
        return len(self.prompt) + sum(map(len, self.answers))


class Row:
    """Units laid out one after another."""

    def __init__(self, units: Sequence[Unit], known: int) -> None:
        """
        Args:
            units: at least one.
            known: tokens that are read already and stand before every unit.
        """
        self.tokens: list[int] = []
        self.positions: list[int] = []
        """Of each token in the sequence that it belongs to."""
        self.pieces: list[tuple[slice, slice]] = []
        """Tokens that attend causally to each other, and those before them, all of which each of them sees."""
        self.places: list[tuple[int, slice]] = []
        """For each answer of each unit, where the prompt's last token stands, and where the answer's."""
        for unit in units:
            self._add(unit, known)

    def _add(self, unit: Unit, known: int) -> None:
        start = len(self.tokens)
        self._append(unit.prompt, known)
        end = len(self.tokens)
        for number, answer in enumerate(unit.answers):
            place = self._append(answer, known + len(unit.prompt))
            self.places.append((end - 1, place))
            if number and answer:
                self.pieces.append((place, slice(start, end)))
        # The first answer goes on where the prompt ends.
        first = len(unit.answers[0]) if unit.answers else 0
        self.pieces.append((slice(start, end + first), slice(start, start)))

    def _append(self, tokens: Sequence[int], position: int) -> slice:
        start = len(self.tokens)
        self.tokens += tokens
        self.positions += range(position, position + len(tokens))
        return slice(start, len(self.tokens))


def together(units: Sequence[Unit]) -> Iterator[list[int]]:
    """Numbers of the units that are read in one row, in order."""
    found: list[int] = []
    tokens = 0
    for number, unit in enumerate(units):
        if found and tokens + unit.tokens > TOKENS:
            yield found
            found, tokens = [], 0
        found.append(number)
        tokens += unit.tokens
    if found:
        yield found


def applies(model: Any) -> bool:
    """Whether a causal language model can be told what each token sees, and is fastest so."""
    from transformers import DynamicCache
    from transformers.cache_utils import DynamicLayer

    return (
        attention.replaceable(model)
        and {"position_ids", "logits_to_keep"} <= set(inspect.signature(model.forward).parameters)
        # Others see no further than a window, or keep something else than keys and values.
        and all(type(layer) is DynamicLayer for layer in DynamicCache(config=model.config).layers)
    )


class Attention:
    """Attention of a row to itself and to what was read before."""

    def __init__(self, row: Row, read: Any) -> None:
        """
        Args:
            row: what is read.
            read: a cache of one row, of what stands before every unit; may be empty.
        """
        self._row = row
        self._read = read
        self._known = read.get_seq_length()
        self._seen = [self._visible(*piece) for piece in row.pieces]

    def _visible(self, own: slice, before: slice) -> Any:
        """Which keys each token of a piece sees: booleans [tokens, known + before + tokens]."""
        import torch

        tokens, others = own.stop - own.start, self._known + before.stop - before.start
        return torch.ones(tokens, others + tokens, dtype=torch.bool).tril(others)

    def attend(self, module: Any, query: Any, key: Any, value: Any, *_: Any, **options: Any) -> tuple[Any, None]:
        """Attention as transformers calls it.

        Args:
            module: the layer's attention.
            query: [1, heads, N, size].
            key, value: [1, key heads, N, size].

        Returns:
            [1, N, heads, size], and no weights.
        """
        from torch.nn.functional import scaled_dot_product_attention

        layer = self._read.layers[module.layer_idx] if self._known else None
        result = query.new_empty(1, query.shape[2], query.shape[1], value.shape[3])
        for (own, before), seen in zip(self._row.pieces, self._seen, strict=True):
            keys = self._joined(layer and layer.keys, key, own, before)
            values = self._joined(layer and layer.values, value, own, before)
            options_of = {"scale": options.get("scaling"), "enable_gqa": key.shape[1] != query.shape[1]}
            found = scaled_dot_product_attention(query[:, :, own], keys, values, seen, **options_of)
            result[:, own] = found.transpose(1, 2)
        return result, None

    def _joined(self, known: Any, states: Any, own: slice, before: slice) -> Any:
        """Keys or values that a piece sees: [1, key heads, known + before + own, size]."""
        import torch

        parts = [states[:, :, place] for place in (before, own) if place.stop > place.start]
        return torch.cat(parts if known is None else [known, *parts], dim=2)
