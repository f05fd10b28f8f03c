"""Parameters of the rankers that have weights of their own, and of their mixture."""

from collections.abc import Mapping
from dataclasses import dataclass

from pairloop.params.settings import text, weights

KINDS = ("specialist", "likelihood", "pairrm", "verifiable", "ensemble")
"""Every ranker, by the name that parameters call it by."""


@dataclass(frozen=True)
class Rankers:
    """Weights of the rankers that come trained, and the mixture that `ensemble` is."""

    pairrm: str = text("hf:llm-blender/PairRM-hf")
    """Weights of `pairrm`. `hf:owner/name`, where `@commit` after it fixes what is fetched, or the path of a folder
    with config.json, model.safetensors and tokenizer.json."""

    ensemble: Mapping[str, float] = weights(
        {"specialist": 1.0, "likelihood": 1.0}, *(kind for kind in KINDS if kind != "ensemble")
    )
    """Rankers that `ensemble` mixes, and the weight of each. Scores are standardised within a prompt first."""
