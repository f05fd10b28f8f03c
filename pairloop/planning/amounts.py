"""What a stage of a run comes to, in rows, tokens and operations; and what is assumed of texts."""

from dataclasses import dataclass

from pairloop.params import Params

FRAME = 30
"""Tokens that a chat template adds to a prompt."""

CHARACTERS = 4.3
"""Characters in a token of English: 112 of the shipped prompts' characters are 26 tokens of SmolLM2."""

HUB_PROMPT = 185.0
"""Tokens of a prompt of UltraFeedback (Cui et al. 2023, https://arxiv.org/abs/2310.01377, table 1)."""

FILLED = 0.7
"""Share of a short limit that a base's responses fill: 0.54 of the default's 96 tokens, 0.83 of 64 in `specialist`."""

LONGEST_MEAN = 500.0
"""Tokens of a response without a limit that cuts it: AlpacaEval has 1,676 characters of Mistral-7B-Instruct-v0.2 and
2,736 of the published model."""

PAIRRM = 435e6
"""Parameters of PairRM: its file has 1.74 GB in float32."""

ENCODER = 22.7e6
"""Parameters of MiniLM-L6."""

IFEVAL = 541, 211.0
"""Prompts of IFEval, and their mean length in characters."""

PREFERENCES = 64
"""Held-out preferences that are measured on: as many as data/preferences/examples has of a kind."""

VLLM_ROWS = 256
"""Responses that vLLM works on at a time; its default, at the least."""


@dataclass(frozen=True)
class Counts:
    """Mean lengths in tokens."""

    prompt: float
    """With the chat template."""

    response: float
    """Of `generate`."""

    source: str
    """Where they come from."""

    pairs: float = 1.0
    """Share of the pairs that are asked for that prompts give."""

    unconstrained: float = 1.0
    """Share of the held-out prompts that have no constraints."""

    ranked: float = 1.0
    """Share of an iteration's prompts whose responses the ranker is asked about."""


@dataclass(frozen=True)
class Work:
    """What one stage does."""

    stage: str
    """As DVC names it, such as train@2."""

    rows: int = 0
    """Prompts, responses or pairs."""

    tokens: float = 0.0
    """Read and sampled."""

    read: float = 0.0
    """Operations of forward passes over whole texts."""

    compared: float = 0.0
    """Operations of forward passes of a ranker that reads in both directions."""

    trained: float = 0.0
    """Operations of training."""

    sampled: float = 0.0
    """Tokens sampled one after another."""

    together: int = 1
    """Responses that are sampled at a time on one device."""

    fetched: float = 0.0
    """Bytes that are downloaded."""

    engine: str = "transformers"
    """What computes: transformers, vllm, or nothing."""

    spread: bool = False
    """Whether every device takes part."""

    devices: int = 1
    """Devices that hold the model together, where not every one takes part."""

    @property
    def verb(self) -> str:
        """The stage's name without its number."""
        return self.stage.partition("@")[0]


def longest(params: Params) -> int:
    """Tokens that a prompt and its response may have together."""
    return params.generate.max_prompt_tokens + params.generate.max_new_tokens


def typical(limit: int) -> float:
    """Tokens of a response that may have `limit`, as assumed."""
    return min(FILLED * limit, LONGEST_MEAN)
