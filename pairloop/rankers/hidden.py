"""What a frozen language model makes of an answer: one vector, the mean of a middle layer's states over its tokens."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from pairloop import chat
from pairloop.errors import ModelError
from pairloop.rankers.prefix import read_after, read_opening


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
        """Number of the layer that is read, from 1; its states are what the layer puts out, before any final norm."""
        return max(1, round(self.depth * len(_layers(self.model))))

    def means(self, prompts: Sequence[str], answers: Sequence[Sequence[str]]) -> list[Any]:
        """Mean state over each answer's tokens, without the end token; of an empty answer, the prompt's last state.

        Args:
            prompts: P raw user prompts.
            answers: for each prompt its K answers; K may differ between prompts.

        Returns:
            P float32 arrays [K, H], H being the model's hidden size.
        """
        from pairloop.packed import packed_linears

        with packed_linears(self.model):
            opening = read_opening(self.model, chat.opening_ids(self.tokenizer), self._states)
            return [self._means(prompt, texts, opening) for prompt, texts in zip(prompts, answers, strict=True)]

    def _means(self, prompt: str, answers: Sequence[str], opening: Any) -> Any:
        import numpy as np

        prompt_ids = chat.encode_prompt(self.tokenizer, prompt)
        ids = [chat.encode_response(self.tokenizer, answer, end=False) for answer in answers]
        found = np.empty((len(ids), self.model.config.hidden_size), dtype=np.float32)
        reading = read_after(self.model, prompt_ids, ids, self.batch_tokens, self._states, self._states, opening)
        for batch, states in reading:
            for row, i in enumerate(batch):
                tokens = slice(1, 1 + len(ids[i])) if ids[i] else slice(0, 1)
                found[i] = states[row, tokens].float().mean(0).cpu().numpy()
        return found

    def _states(self, input_ids: Any, cache: Any) -> Any:
        """States [B, T, H] that the layer puts out."""
        layer = _layers(self.model)[self.layer - 1]
        hook = layer.register_forward_hook(_stop)
        try:
            self.model.base_model(input_ids=input_ids, past_key_values=cache, use_cache=True)
        except _Reached as reached:
            return reached.states
        finally:
            hook.remove()
        raise ModelError(
            f"{self.model.name_or_path}: layer {self.layer} is never called; such a model is not supported"
        )


class _Reached(Exception):
    """Ends a forward pass at the layer whose states are wanted."""

    def __init__(self, states: Any) -> None:
        super().__init__()
        self.states = states


def _stop(module: Any, inputs: Any, output: Any) -> None:
    raise _Reached(output[0] if isinstance(output, tuple) else output)


def _layers(model: Any) -> Any:
    """The list of decoder layers, whatever the architecture calls it."""
    from torch.nn import ModuleList

    count = model.config.num_hidden_layers
    for module in model.base_model.modules():
        if isinstance(module, ModuleList) and len(module) == count:
            return module
    raise ModelError(f"{model.name_or_path}: no list of {count} decoder layers is found; such a model is not supported")
