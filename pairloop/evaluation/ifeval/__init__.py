"""IFEval: prompts with instructions that a program can verify, and how many of them answers follow.

Zhou et al. 2023, https://arxiv.org/abs/2311.07911. The prompts and rules are Google's, in google-research,
instruction_following_eval; the code here is this project's own. No rule is shared with `prompts.constraints`: those
count as a reader would, these as IFEval's figures have always been counted, so that they compare.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Instruction:
    """One thing that an answer must do."""

    kind: str
    """Its id, as `punctuation:no_comma`."""

    arguments: Mapping[str, Any]
    """What the kind's check needs, as `{"relation": "at least", "num_words": 300}`; none of them is null."""


@dataclass(frozen=True)
class Prompt:
    """A prompt and the instructions that it states."""

    key: str
    """Its number in the published file."""

    text: str
    """What the model is asked."""

    instructions: Sequence[Instruction]
    """At least one."""
