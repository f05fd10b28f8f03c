"""What a frozen language model makes of answers: each is read once, however many rankers ask.

The first pass over an answer gives a middle layer's states and how likely its prompt makes it; how likely it is by
itself takes a second one, after an empty user turn.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from pairloop.errors import ModelError
from pairloop.models import attention, chat
from pairloop.rankers import packing
from pairloop.rankers.packing import Unit
from pairloop.rankers.prefix import check_ids, read_after, read_opening

Ids = Sequence[int]


@dataclass(frozen=True)
class Asked:
    """What a ranker needs to know of an answer. The rest is not computed."""

    layers: frozenset[int] = frozenset()
    """Layers whose states it needs, from 1."""

    given: bool = False
    """log p(answer | prompt)."""

    alone: bool = False
    """log p(answer)."""

    def __or__(self, other: "Asked") -> "Asked":
        return Asked(self.layers | other.layers, self.given or other.given, self.alone or other.alone)


@dataclass(frozen=True)
class Read:
    """What was asked about one answer."""

    tokens: int
    """Of the answer, without an end token."""

    given: float = 0.0
    """log p(answer | prompt) in nats, summed over its tokens; 0 for an empty answer."""

    alone: float = 0.0
    """log p(answer), the same after an empty user turn."""

    states: Mapping[int, Any] = field(default_factory=dict)
    """By layer a float32 array [H]: the mean of what the layer puts out, before any final norm, over the answer's
    tokens; of an empty answer, what it puts out for the prompt's last token."""


@dataclass(frozen=True)
class Reader:
    """Reads answers with one model. What it finds does not depend on who else asks, to the bit.

    Memory: the logits of one forward pass, at most `batch_tokens` times the vocabulary's size.
    """

    model: Any
    """A causal language model of transformers, never trained meanwhile."""

    tokenizer: Any
    """Its tokenizer, with a chat template."""

    batch_tokens: int
    """Padded tokens in one forward pass."""

    def read(self, prompts: Sequence[str], answers: Sequence[Sequence[str]], asked: Asked) -> list[list[Read]]:
        """What is asked about each answer.

        Args:
            prompts: P raw user prompts.
            answers: for each prompt its K answers; K may differ between prompts.
            asked: what to find.

        Returns:
            P lists of K.

        Raises:
            ModelError: the model has no such layer, or not every token.
        """
        import torch

        from pairloop.models.packed import packed_linears

        ids = [[chat.encode_response(self.tokenizer, answer, end=False) for answer in own] for own in answers]
        asks = [chat.encode_prompt(self.tokenizer, prompt) for prompt in prompts]
        first, second = Asked(asked.layers, asked.given), Asked(given=asked.alone)
        with packed_linears(self.model), torch.inference_mode():
            given = self._after(asks, ids, chat.opening_ids(self.tokenizer), first)
            empty = chat.encode_prompt(self.tokenizer, "")
            flat = [answer for own in ids for answer in own]
            alone = iter(self._after([empty], [flat], empty[:-1], second)[0])
        return [
            [
                Read(len(answer), one.given, next(alone).given, one.states)
                for answer, one in zip(own, found, strict=True)
            ]
            for own, found in zip(ids, given, strict=True)
        ]

    def read_tokens(self, prompts: Sequence[str], answers: Sequence[Sequence[Ids]]) -> list[list[float]]:
        """log p(answer | prompt) in nats of answers that are given as token ids; 0 of an empty one.

        Args:
            prompts: P raw user prompts.
            answers: for each prompt the token ids of its K answers.

        Returns:
            P lists of K.
        """
        import torch

        from pairloop.models.packed import packed_linears

        asks = [chat.encode_prompt(self.tokenizer, prompt) for prompt in prompts]
        with packed_linears(self.model), torch.inference_mode():
            found = self._after(asks, answers, chat.opening_ids(self.tokenizer), Asked(given=True))
        return [[one.given for one in own] for own in found]

    def _after(self, prompts: Sequence[Ids], answers: Sequence[Sequence[Ids]], opening: Ids, asked: Asked) -> Any:
        """Of each prompt and answer what is asked but `alone`: P lists of K."""
        found = [[Read(len(answer)) for answer in own] for own in answers]
        if not (asked.layers or asked.given):
            return found
        read = read_opening(self.model, opening, lambda tokens, cache: self._read_on(tokens, cache, asked))
        packed, rest = self._units(prompts, answers, len(opening))
        for numbers in packing.together([unit for _, unit in packed]):
            reads = self._packed([packed[i][1] for i in numbers], read, asked)
            for (prompt, at), own in zip((place for i in numbers for place in packed[i][0]), reads, strict=True):
                found[prompt][at] = own
        for prompt in rest:
            found[prompt] = self._one_by_one(prompts[prompt], answers[prompt], read, asked)
        return found

    def _units(self, prompts: Sequence[Ids], answers: Sequence[Sequence[Ids]], known: int) -> Any:
        """What is read in rows, each with the prompt's and the answers' numbers; and the prompts that are not."""
        packed, rest = [], []
        for prompt, own in enumerate(answers):
            ids = prompts[prompt][known:]
            # Where little of the prompt is left to read, every answer can be read with it.
            parts = [[i] for i in range(len(own))] if len(ids) == 1 else [list(range(len(own)))]
            units = [([(prompt, i) for i in part], Unit(ids, [own[i] for i in part])) for part in parts if part]
            if ids and self._packs and all(unit.tokens <= self.batch_tokens for _, unit in units):
                packed += units
            else:
                rest.append(prompt)
        return packed, rest

    @cached_property
    def _packs(self) -> bool:
        return packing.applies(self.model)

    def _packed(self, units: Sequence[Unit], read: Any, asked: Asked) -> list[Read]:
        """Of each answer of each unit, in order."""
        import torch

        row = packing.Row(units, read.get_seq_length())
        check_ids(self.model, [row.tokens])
        told = [at for end, own in row.places for at in [end, *range(own.start, own.stop)][: own.stop - own.start]]
        inputs = {
            "input_ids": torch.tensor([row.tokens]),
            "position_ids": torch.tensor([row.positions]),
            # With four dimensions transformers makes no mask of its own.
            "attention_mask": torch.ones(1, 1, 1, 1, dtype=torch.bool),
            "use_cache": False,
            "logits_to_keep": torch.tensor(told, dtype=torch.long),
        }
        with attention.attending(self.model, packing.Attention(row, read).attend):
            states, logits = self._run(asked, asked.given, **inputs)
        given = [0.0] * len(row.places)
        if logits is not None:
            actual = [token for unit in units for answer in unit.answers for token in answer]
            each = _log_probabilities(logits[0], actual).split([own.stop - own.start for _, own in row.places])
            given = [float(found.sum()) for found in each]
        return [
            Read(
                own.stop - own.start,
                log_p,
                states={layer: _mean(found[0], end, own) for layer, found in states.items()},
            )
            for (end, own), log_p in zip(row.places, given, strict=True)
        ]

    def _one_by_one(self, prompt: Ids, answers: Sequence[Ids], opening: Any, asked: Asked) -> list[Read]:
        """The answers of one prompt, padded, after what was read of the prompt."""
        found = [Read(0)] * len(answers)

        def fill(tokens: Any, cache: Any) -> Any:
            return self._read_on(tokens, cache, asked)

        def forward(tokens: Any, cache: Any) -> Any:
            return self._run(asked, asked.given, input_ids=tokens, past_key_values=cache, use_cache=True)

        for batch, (states, logits) in read_after(
            self.model, prompt, answers, self.batch_tokens, fill, forward, opening
        ):
            for row, i in enumerate(batch):
                own = slice(1, 1 + len(answers[i]))
                given = (
                    0.0 if logits is None else float(_log_probabilities(logits[row, : own.stop - 1], answers[i]).sum())
                )
                means = {layer: _mean(each[row], 0, own) for layer, each in states.items()}
                found[i] = Read(len(answers[i]), given, states=means)
        return found

    def _read_on(self, tokens: Any, cache: Any, asked: Asked) -> Any:
        """Read tokens into a cache."""
        return self._run(asked, False, input_ids=tokens, past_key_values=cache, use_cache=True)

    def _run(self, asked: Asked, logits: bool, **inputs: Any) -> tuple[dict[int, Any], Any]:
        """States [B, T, H] of each layer, and logits if wanted. Layers that nobody asks for are not computed."""
        if not logits:
            inputs.pop("logits_to_keep", None)
        last = None if asked.given else max(asked.layers)
        output = None
        with suppress(_Reached), _watched(self.model, asked.layers, last) as states:
            output = (self.model if logits else self.model.base_model)(**inputs)
        if missing := asked.layers - set(states):
            raise ModelError(
                f"{self.model.name_or_path}: layer {max(missing)} is never called; such a model is not supported"
            )
        return states, output.logits if logits and output is not None else None


class _Reached(Exception):
    """Ends a forward pass at the deepest layer whose states are wanted."""


@contextmanager
def _watched(model: Any, wanted: frozenset[int], last: int | None) -> Iterator[dict[int, Any]]:
    """What layers put out inside the `with` block; raises _Reached after layer `last`."""
    states: dict[int, Any] = {}

    def keep(layer: int) -> Callable[[Any, Any, Any], None]:
        def hook(module: Any, inputs: Any, output: Any) -> None:
            states[layer] = output[0] if isinstance(output, tuple) else output
            if layer == last:
                raise _Reached

        return hook

    layers = decoder_layers(model) if wanted else []
    hooks = [layers[layer - 1].register_forward_hook(keep(layer)) for layer in sorted(wanted)]
    try:
        yield states
    finally:
        for hook in hooks:
            hook.remove()


def decoder_layers(model: Any) -> Any:
    """The list of decoder layers, whatever the architecture calls it.

    Raises:
        ModelError: there is none.
    """
    from torch.nn import ModuleList

    count = model.config.get_text_config().num_hidden_layers
    for module in model.base_model.modules():
        if isinstance(module, ModuleList) and len(module) == count:
            return module
    raise ModelError(f"{model.name_or_path}: no list of {count} decoder layers is found; such a model is not supported")


def _mean(states: Any, end: int, own: slice) -> Any:
    """float32 array [H]: the mean over an answer's tokens, or of none what stands at `end`, of states [T, H]."""
    tokens = own if own.stop > own.start else slice(end, end + 1)
    return states[tokens].float().mean(0).cpu().numpy()


def _log_probabilities(logits: Any, tokens: Ids) -> Any:
    """float32 tensor [n], nats: of each token under the logits [n, vocabulary] before it."""
    from torch.nn.functional import cross_entropy

    predicted = logits.float()
    return -cross_entropy(predicted, predicted.new_tensor(tokens).long(), reduction="none")
