"""What a frozen language model makes of an answer: the mean of a middle layer's states over its tokens."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from pairloop.errors import ModelError
from pairloop.models import chat
from pairloop.rankers.prefix import read_after, read_opening


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
        count = len(_layers(self.model))
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
        from pairloop.models.packed import packed_linears

        with packed_linears(self.model):
            opening = read_opening(self.model, chat.opening_ids(self.tokenizer), self._states)
            return [self._means(prompt, texts, opening) for prompt, texts in zip(prompts, answers, strict=True)]

    def _means(self, prompt: str, answers: Sequence[str], opening: Any) -> Any:
        import numpy as np

        prompt_ids = chat.encode_prompt(self.tokenizer, prompt)
        ids = [chat.encode_response(self.tokenizer, answer, end=False) for answer in answers]
        found = np.empty(
            (len(self.depth_of), len(ids), self.model.config.get_text_config().hidden_size), dtype=np.float32
        )
        reading = read_after(self.model, prompt_ids, ids, self.batch_tokens, self._states, self._states, opening)
        for batch, states in reading:
            for row, i in enumerate(batch):
                tokens = slice(1, 1 + len(ids[i])) if ids[i] else slice(0, 1)
                found[:, i] = states[row, tokens].float().mean(0).cpu().numpy()
        return found

    def _states(self, input_ids: Any, cache: Any) -> Any:
        """States [B, T, L, H] that the layers put out."""
        import torch

        layers, wanted = _layers(self.model), list(self.depth_of)
        states: dict[int, Any] = {}

        def keep(layer: int) -> Callable[[Any, Any, Any], None]:
            def hook(module: Any, inputs: Any, output: Any) -> None:
                states[layer] = output[0] if isinstance(output, tuple) else output
                if layer == max(wanted):
                    raise _Reached

            return hook

        hooks = [layers[layer - 1].register_forward_hook(keep(layer)) for layer in wanted]
        try:
            self.model.base_model(input_ids=input_ids, past_key_values=cache, use_cache=True)
        except _Reached:
            return torch.stack([states[layer] for layer in wanted], dim=2)
        finally:
            for hook in hooks:
                hook.remove()
        raise ModelError(
            f"{self.model.name_or_path}: layer {max(wanted)} is never called; such a model is not supported"
        )


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

    @property
    def _only(self) -> Layers:
        return Layers(self.model, self.tokenizer, (self.depth,), self.batch_tokens)


class _Reached(Exception):
    """Ends a forward pass at the deepest layer whose states are wanted."""


def _layers(model: Any) -> Any:
    """The list of decoder layers, whatever the architecture calls it."""
    from torch.nn import ModuleList

    count = model.config.get_text_config().num_hidden_layers
    for module in model.base_model.modules():
        if isinstance(module, ModuleList) and len(module) == count:
            return module
    raise ModelError(f"{model.name_or_path}: no list of {count} decoder layers is found; such a model is not supported")
