"""A frequency penalty: each token is the less likely, the more often a response has it already."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any


@contextmanager
def lowered(logits: Any, told: Any, penalty: float) -> Iterator[None]:
    """Within the block each token's logit is lower by the penalty times the number of its occurrences.

    After it the logits are as the model gave them, to the bit. That is OpenAI's and vLLM's `frequency_penalty`.

    Args:
        logits: torch tensor [rows, vocabulary], changed in place: a copy would take as long as the choice of a token.
        told: torch tensor [rows, tokens], the ids of what each row has answered so far.
        penalty: in nats; at 0 nothing is done.
    """
    if not penalty:
        yield
        return
    given = logits.gather(1, told)
    logits.scatter_add_(1, told, given.new_full(given.shape, -penalty))
    yield
    logits.scatter_(1, told, given)
