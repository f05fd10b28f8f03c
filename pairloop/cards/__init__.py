"""Cards as they are published: what a run wrote beside a model or the data, with what was known only afterwards.

A run's outputs hold no commit, and a model's card is written before the model is evaluated. Here both are added.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from pairloop.training.output import BaseName


@dataclass(frozen=True)
class Run:
    """Where models and data come from, as a card tells it."""

    iterations: int
    """Of a model its number, of data the last one, from 1."""

    base: BaseName
    """Iteration 0."""

    prompts: str
    """Where the prompts come from, by the name in the parameters."""

    licence: str | None
    """Of the prompts, as their publisher states it; None where nobody does."""

    ranker: str | None
    """What scored the responses; None where others made the pairs."""

    parameters: Mapping[str, Any]
    """All that were set, by section; paths that lead out of the project shortened to their last part."""

    rows: Mapping[int, Mapping[str, int | None]]
    """Of each iteration up to this: prompts, responses, train pairs and test pairs; None where none were made."""

    commit: str
    """Of the repository, 40 hex digits."""

    repository: str | None = None
    """Where that can be cloned from, without a name or password in it; None: nowhere that others reach."""
