"""Parameters of the ranker `judge`."""

from dataclasses import dataclass

from pairloop.params.settings import choice, integer, optional_url, real, text


@dataclass(frozen=True)
class Judge:
    """A language model that is asked how good responses are, here or behind an OpenAI-compatible endpoint."""

    model: str = text("self")
    """Who judges. `self`: the current policy (self-rewarding). A reference as in `base.model`: that model, here. With
    `judge.endpoint`: the name by which the endpoint knows the model."""

    engine: str = choice("transformers", "transformers", "vllm")
    """What a model here answers with, as in `generate.engine`. An endpoint has its own."""

    endpoint: str | None = optional_url()
    """Base URL of a server with OpenAI's chat completions, such as http://localhost:8000/v1. null: no server."""

    key_variable: str = text("OPENAI_API_KEY")
    """Name of the environment variable that holds the endpoint's key. Without it, none is sent. The key is in no
    file."""

    rubric: str = choice("additive", "additive", "pairwise")
    """`additive`: 1 to 5 points for each response. `pairwise`: which of two is better, asked in both orders."""

    temperature: float = real(0.0, "a number, at least 0", lambda v: v >= 0)
    """Softmax temperature of the verdict; 0 is greedy."""

    max_new_tokens: int = integer(256, low=1)
    """Longest verdict, in tokens."""

    top_p: float = real(1.0, "a number above 0, at most 1", lambda v: 0 < v <= 1)
    """As `generate.top_p`, for a model here."""

    top_k: int = integer(512, low=1)
    """As `generate.top_k`, for a model here."""

    shard_questions: int = integer(32, low=1)
    """Questions that a model here answers together."""

    concurrency: int = integer(8, low=1, high=1024)
    """Requests that the endpoint has to answer at a time."""

    timeout: float = real(120.0, "a number above 0", lambda v: v > 0)
    """Seconds to wait for one answer of the endpoint."""

    retries: int = integer(5, low=0)
    """Times that a request is sent again after 429, a server's error, a broken connection or the timeout."""
