"""Responses by a language model. A sampler is one method; the stages pick the class by `generate.engine`."""

from collections.abc import Container, Sequence
from dataclasses import dataclass
from typing import Any, Literal, Protocol

from pairloop.errors import ParameterError
from pairloop.models import chat


@dataclass(frozen=True)
class Sampling:
    """How tokens are chosen."""

    temperature: float
    """Divides the logits before the softmax. 0 always takes the likeliest token (greedy): then seeds do not matter."""

    top_p: float
    """Nucleus: the likeliest tokens whose probabilities add up to this, counted within the `top_k`."""

    top_k: int
    """Only this many of the likeliest tokens can be chosen; their probabilities are normalised to 1."""

    max_new_tokens: int
    """A response is cut off after this many tokens."""

    frequency_penalty: float = 0.0
    """Before all that, each token's logit is lowered by this for each time that the response has it already, as OpenAI
    and vLLM have it, greedily too. 0: it is as the model gave it."""

    def __post_init__(self) -> None:
        if self.temperature < 0 or not 0 < self.top_p <= 1 or self.top_k < 1 or self.max_new_tokens < 1:
            raise ParameterError(
                f"{self}: needed are temperature at least 0, top_p above 0 and at most 1, top_k and max_new_tokens "
                "at least 1"
            )
        if not 0 <= self.frequency_penalty <= 2:
            raise ParameterError(f"{self}: needed is a frequency_penalty from 0, which is none, to 2")


@dataclass(frozen=True)
class Request:
    """A prompt, and how many responses are wanted."""

    prompt: str
    """The user's text, without a chat template."""

    seeds: tuple[int, ...]
    """One 64-bit seed for each response wanted, from 0: the response's whole randomness."""

    temperatures: tuple[float, ...] | None = None
    """Of each response; None: that of the sampler's `Sampling` for all."""


@dataclass(frozen=True)
class Response:
    """One answer."""

    text: str
    """Without control tokens and surrounding white space. May be empty."""

    finish_reason: Literal["stop", "length"]
    """`stop`: the model ended it. `length`: it was cut off at `max_new_tokens`."""

    token_ids: Sequence[int]
    """What the model produced, the end token among it where it ended by itself: what training reads."""

    logps: Sequence[float] | None = None
    """Log-probability of each of them at temperature 1 and without a penalty, in nats; None where the engine gives
    none."""


def temperatures_of(request: Request, sampling: Sampling) -> tuple[float, ...]:
    """The temperature of each response that is wanted.

    Raises:
        ParameterError: there are not as many as seeds, or one is below 0.
    """
    found = (sampling.temperature,) * len(request.seeds) if request.temperatures is None else request.temperatures
    if len(found) != len(request.seeds) or any(one < 0 for one in found):
        raise ParameterError(f"temperatures {found}: needed are {len(request.seeds)}, one for each seed, at least 0")
    return found


class Sampler(Protocol):
    """Whatever answers prompts."""

    def sample(self, requests: Sequence[Request]) -> list[list[Response]]:
        """Answer every prompt once for each of its seeds.

        Args:
            requests: P prompts, each of which fits the model's context together with `max_new_tokens`.

        Returns:
            P lists, in the order of `requests`, each with its responses in the order of the seeds.

        Raises:
            ModelError: a prompt is too long for the model, or the model cannot be sampled from.
            ParameterError: a request's temperatures do not fit its seeds.
        """
        ...


def response(tokenizer: Any, ids: Sequence[int], logps: Sequence[float] | None, ends: Container[int]) -> Response:
    """What a model's tokens say, and whether it ended by itself, with one of `ends`."""
    ended = ids[-1] in ends
    text = chat.decode(tokenizer, list(ids[:-1] if ended else ids))
    return Response(text, "stop" if ended else "length", list(ids), None if logps is None else list(logps))


def prompt_tokens(tokenizer: Any, prompt: str) -> int:
    """Number of tokens that a prompt takes in the model's context, chat format included."""
    return len(chat.encode_prompt(tokenizer, prompt))
