"""The ranker `specialist`: a linear head on the frozen base model's view of an answer. `teach` makes the head.

It judges form (fluent, on topic, finished, not looping), not truth and not safety. Refusals are not judged specially:
it is fitted to answers over made-up refusals as over any other spoiled answer, so that it prefers an answer to a
refusal even where refusing is right, unless the user's own preferences say otherwise.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pairloop.errors import ModelError
from pairloop.files.records import read_json, write_json
from pairloop.rankers.reading import Asked, Read
from pairloop.rankers.specialist.hidden import HiddenStates

_WEIGHTS, _DESCRIPTION = "head.safetensors", "head.json"


@dataclass(frozen=True)
class Head:
    """A Bradley-Terry model of features: P(a beats b) = sigmoid(score(a) - score(b))."""

    weight: Any
    """float64 array [H]: what one standard deviation of each feature is worth."""

    mean: Any
    """float64 array [H]: mean of each feature over the answers that the head was fitted to."""

    scale: Any
    """float64 array [H]: their standard deviations, none of them 0."""

    layer: int
    """Layer that the features were read at, from 1."""

    depth: float
    """That layer as a share of the depth, as it was asked for."""

    base: Mapping[str, str]
    """Fingerprint of the model that was read: name and sha256 of its files."""

    def scores(self, features: Any) -> Any:
        """weight · (features - mean) / scale.

        Args:
            features: array [N, H].

        Returns:
            float64 array [N].
        """
        return ((features - self.mean) / self.scale) @ self.weight


class Specialist:
    """Ranks by a head."""

    def __init__(self, head: Head, hidden: HiddenStates) -> None:
        """Join a head and the model that it was fitted to.

        Raises:
            ModelError: the model has another shape than the one that the head was fitted to.
        """
        found = (hidden.layer, hidden.model.config.get_text_config().hidden_size)
        if found != (head.layer, len(head.weight)):
            raise ModelError(
                f"the specialist reads layer {head.layer} of a model with {len(head.weight)} hidden units, but this "
                f"one has layer {found[0]} at depth {hidden.depth} and {found[1]} units. Run the stage `teach` again"
            )
        self._head = head
        self._hidden = hidden

    def score(self, prompts: Sequence[str], candidates: Sequence[Sequence[str]]) -> list[list[float]]:
        """Log odds of winning against an average answer of those that the head was fitted to."""
        return [self._head.scores(found).tolist() for found in self._hidden.means(prompts, candidates)]

    @property
    def asks(self) -> Asked:
        """What it needs to know of an answer."""
        return Asked(layers=frozenset([self._head.layer]))

    def scores(self, reads: Sequence[Sequence[Read]]) -> list[list[float]]:
        """As `score`, of what was read already."""
        return [self._head.scores(self._hidden.stacked(own)).tolist() for own in reads]


def save(head: Head, folder: Path) -> None:
    """Write a head as head.safetensors (weight, mean, scale) and head.json (layer, depth, base)."""
    from safetensors.numpy import save as to_bytes

    folder.mkdir(parents=True, exist_ok=True)
    partial = folder / f".{_WEIGHTS}.partial"
    partial.write_bytes(to_bytes({"weight": head.weight, "mean": head.mean, "scale": head.scale}))
    partial.replace(folder / _WEIGHTS)
    write_json(folder / _DESCRIPTION, {"layer": head.layer, "depth": head.depth, "base": dict(head.base)})


def load(folder: Path, base: Mapping[str, str]) -> Head:
    """Read a head that `save` wrote.

    Args:
        folder: where it lies.
        base: fingerprint of the model that will be read.

    Raises:
        DataError: there is no head.json, or it is damaged.
        ModelError: the weights are missing or damaged, or the head was fitted to another model.
    """
    from safetensors import SafetensorError
    from safetensors.numpy import load_file

    description = read_json(folder / _DESCRIPTION)
    if description["base"] != dict(base):
        raise ModelError(f"{folder}: the specialist was fitted to another base model. Run the stage `teach` again")
    try:
        arrays = load_file(folder / _WEIGHTS)
    except (OSError, SafetensorError) as error:
        raise ModelError(f"{folder / _WEIGHTS}: cannot be read ({error}). Run the stage `teach` again") from error
    return Head(**arrays, **description)
