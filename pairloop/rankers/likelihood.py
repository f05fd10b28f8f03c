"""How much likelier a prompt makes a response, by the frozen base model alone. Nothing is trained."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import log
from typing import Any

from pairloop.models import chat
from pairloop.rankers.prefix import read_after, read_opening

PRIOR = 0.5
"""Share of log p(r) that is subtracted: halfway between likelihood (0), which likes bland text, and mutual information
(1), which likes odd text. The best of the three on 61 blind judgements."""


@dataclass(frozen=True)
class Likelihood:
    """Scores (log p(r | x) - ½ log p(r)) / tokens of r, in nats per token.

    log p(r | x): r in the assistant turn after the user turn x; log p(r): the same after an empty user turn. The end
    token is not counted, since a response that was cut off has none. Memory: the logits of one forward pass, at most
    `batch_tokens` times the vocabulary's size.
    """

    model: Any
    """A causal language model of transformers: the frozen base."""

    tokenizer: Any
    """Its tokenizer, with a chat template."""

    batch_tokens: int
    """Padded tokens in one forward pass."""

    def score(self, prompts: Sequence[str], candidates: Sequence[Sequence[str]]) -> list[list[float]]:
        """Scores in nats per token.

        An empty response has no likelihood per token: it gets that of blind guessing among the vocabulary, minus the
        logarithm of its size, which no fluent text comes near.
        """
        from pairloop.models.packed import packed_linears

        ids = [[chat.encode_response(self.tokenizer, text, end=False) for text in texts] for texts in candidates]
        told = [[answer for answer in own if answer] for own in ids]
        with packed_linears(self.model):
            opening = read_opening(self.model, chat.opening_ids(self.tokenizer), self._fill)
            given = [self.log_probabilities(prompt, own, opening) for prompt, own in zip(prompts, told, strict=True)]
            # All prompts' answers together: the empty turn before them is the same, and read once.
            alone = iter(self.log_probabilities("", [answer for own in told for answer in own], opening))
        each = iter(
            (g - PRIOR * next(alone)) / len(answer)
            for own, found in zip(told, given, strict=True)
            for answer, g in zip(own, found, strict=True)
        )
        return [
            [next(each) if answer else -log(self.model.config.get_text_config().vocab_size) for answer in own]
            for own in ids
        ]

    def log_probabilities(self, prompt: str, answers: Sequence[Sequence[int]], opening: Any = None) -> list[float]:
        """log p of each answer's token ids after a prompt, in nats, summed over its tokens.

        `opening`, from `read_opening`, saves reading what all prompts begin with.
        """
        from torch.nn.functional import cross_entropy

        found = [0.0] * len(answers)
        prompt_ids = chat.encode_prompt(self.tokenizer, prompt)
        reading = read_after(self.model, prompt_ids, answers, self.batch_tokens, self._fill, self._logits, opening)
        for batch, logits in reading:
            for row, i in enumerate(batch):
                predicted = logits[row, : len(answers[i])].float()
                actual = predicted.new_tensor(answers[i]).long()
                found[i] = -float(cross_entropy(predicted, actual, reduction="sum"))
        return found

    def _fill(self, input_ids: Any, cache: Any) -> Any:
        return self.model.base_model(input_ids=input_ids, past_key_values=cache, use_cache=True)

    def _logits(self, input_ids: Any, cache: Any) -> Any:
        return self.model(input_ids=input_ids, past_key_values=cache, use_cache=True).logits
