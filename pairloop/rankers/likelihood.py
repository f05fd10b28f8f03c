"""How much likelier a prompt makes a response, by the frozen base model alone. Nothing is trained."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import log
from typing import Any

from pairloop.rankers.reading import Asked, Read, Reader

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

    @property
    def asks(self) -> Asked:
        """What it needs to know of an answer."""
        return Asked(given=True, alone=True)

    def score(self, prompts: Sequence[str], candidates: Sequence[Sequence[str]]) -> list[list[float]]:
        """Scores in nats per token.

        An empty response has no likelihood per token: it gets that of blind guessing among the vocabulary, minus the
        logarithm of its size, which no fluent text comes near.
        """
        return self.scores(Reader(self.model, self.tokenizer, self.batch_tokens).read(prompts, candidates, self.asks))

    def scores(self, reads: Sequence[Sequence[Read]]) -> list[list[float]]:
        """The same of what was read already."""
        guessing = -log(self.model.config.get_text_config().vocab_size)
        return [
            [(read.given - PRIOR * read.alone) / read.tokens if read.tokens else guessing for read in own]
            for own in reads
        ]


@dataclass(frozen=True)
class LogProbability:
    """log p(r | x) in nats, summed over the tokens of r without an end token: no ranker, but what divergences from the
    frozen base are estimated from."""

    reader: Reader
    """Of the frozen base."""

    @property
    def asks(self) -> Asked:
        """What it needs to know of an answer."""
        return Asked(given=True)

    def score(self, prompts: Sequence[str], candidates: Sequence[Sequence[str]]) -> list[list[float]]:
        """log p of each candidate; 0 of an empty one."""
        return self.scores(self.reader.read(prompts, candidates, self.asks))

    def scores(self, reads: Sequence[Sequence[Read]]) -> list[list[float]]:
        """The same of what was read already."""
        return [[read.given for read in own] for own in reads]
