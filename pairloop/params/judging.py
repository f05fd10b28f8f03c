"""Parameters of the ranker `judge`."""

from typing import Annotated, Literal

from pydantic import Field

from pairloop.params.settings import Count, NotNegative, Positive, Section, Share, Text, Url, Variable


class Judge(Section):
    """A language model that is asked how good responses are, here or behind an OpenAI-compatible endpoint."""

    model: Text = "self"
    """Who judges. `self`: the current policy (self-rewarding). A reference as in `base.model`: that model, here. With
    `judge.endpoint`: the name by which the endpoint knows the model."""

    engine: Literal["transformers", "vllm"] = "transformers"
    """What a model here answers with, as in `generate.engine`. An endpoint has its own."""

    endpoint: Url | None = None
    """Base URL of a server with OpenAI's chat completions, such as http://localhost:8000/v1. null: no server."""

    key_variable: Variable = "OPENAI_API_KEY"
    """Name of the environment variable that holds the endpoint's key. Without it, none is sent. The key is in no
    file."""

    rubric: Literal["additive", "pairwise"] = "additive"
    """`additive`: 1 to 5 points for each response. `pairwise`: which of two is better, asked in both orders."""

    temperature: NotNegative = 0.0
    """Softmax temperature of the verdict; 0 is greedy."""

    max_new_tokens: Count = 256
    """Longest verdict, in tokens, with thoughts. One that is cut off before it comes to a verdict cannot be read."""

    temperature_field: Text | None = "temperature"
    """What the endpoint calls `judge.temperature` in a request. null: it is left out, for servers that refuse it."""

    max_tokens_field: Text | None = "max_tokens"
    """What the endpoint calls `judge.max_new_tokens` in a request, such as max_completion_tokens. null: it is left out,
    and the server's own limit holds."""

    top_p: Share = 1.0
    """As `generate.top_p`, for a model here."""

    top_k: Count = 512
    """As `generate.top_k`, for a model here."""

    shard_questions: Count = 32
    """Questions that a model here answers together."""

    concurrency: Annotated[int, Field(ge=1, le=1024)] = 8
    """Requests that the endpoint has to answer at a time."""

    timeout: Positive = 120.0
    """Seconds to wait for one answer of the endpoint."""

    retries: Annotated[int, Field(ge=0)] = 5
    """Times that a request is sent again after 429, a server's error, a broken connection or the timeout."""
