"""What a frozen language model makes of an answer: the mean of a middle layer's states over its tokens."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from pairloop.rankers.reading import Asked, Read, Reader, decoder_layers


@dataclass(frozen=True)
class Layers:
    """Reads answers at several layers of a decoder in one forward pass, which ends at the deepest of them."""

    model: Any
    """A causal language model of transformers, never trained meanwhile."""

    tokenizer: Any
    """Its tokenizer, with a chat template."""

    depths: Sequence[float]
    """Layers to read, as shares of the layers, each above 0, at most 1. At least one."""

    batch_tokens: int
    """Padded tokens in one forward pass."""

    @property
    def depth_of(self) -> dict[int, float]:
        """Each different layer that is read, from 1, and the first depth that names it, in the order of `depths`.

        Its states are what the layer puts out, before any final norm.
        """
        count = len(decoder_layers(self.model))
        found: dict[int, float] = {}
        for depth in self.depths:
            found.setdefault(max(1, round(depth * count)), depth)
        return found

    def means(self, prompts: Sequence[str], answers: Sequence[Sequence[str]]) -> list[Any]:
        """Mean state over each answer's tokens, without the end token; of an empty answer, the prompt's last state.

        Args:
            prompts: P raw user prompts.
            answers: for each prompt its K answers; K may differ between prompts.

        Returns:
            P float32 arrays [L, K, H], L being the number of different layers and H the model's hidden size.
        """
        asked = Asked(layers=frozenset(self.depth_of))
        reads = Reader(self.model, self.tokenizer, self.batch_tokens).read(prompts, answers, asked)
        return [self.stacked(own) for own in reads]

    def stacked(self, reads: Sequence[Read]) -> Any:
        """What was read of K answers, as a float32 array [L, K, H]."""
        import numpy as np

        found = np.empty(
            (len(self.depth_of), len(reads), self.model.config.get_text_config().hidden_size), dtype=np.float32
        )
        for i, layer in enumerate(self.depth_of):
            for j, read in enumerate(reads):
                found[i, j] = read.states[layer]
        return found


@dataclass(frozen=True)
class HiddenStates:
    """Reads answers at one layer of a decoder. Layers above it are not computed."""

    model: Any
    """A causal language model of transformers, never trained meanwhile."""

    tokenizer: Any
    """Its tokenizer, with a chat template."""

    depth: float
    """Layer to read, as a share of the layers, above 0, at most 1."""

    batch_tokens: int
    """Padded tokens in one forward pass."""

    @property
    def layer(self) -> int:
        """Number of the layer that is read, from 1."""
        return next(iter(self._only.depth_of))

    def means(self, prompts: Sequence[str], answers: Sequence[Sequence[str]]) -> list[Any]:
        """As `Layers.means`, of the one layer.

        Returns:
            P float32 arrays [K, H], H being the model's hidden size.
        """
        return [found[0] for found in self._only.means(prompts, answers)]

    def stacked(self, reads: Sequence[Read]) -> Any:
        """What was read of K answers, as a float32 array [K, H]."""
        return self._only.stacked(reads)[0]

    @property
    def _only(self) -> Layers:
        return Layers(self.model, self.tokenizer, (self.depth,), self.batch_tokens)
