"""The verdicts on IFEval's instructions equal those of lm-eval's own implementation."""

import importlib.util
import os
import random
from pathlib import Path
from typing import Any

import pytest
from ifeval_cases import CASES

from pairloop.evaluation.ifeval import Instruction, Prompt, accuracy

pytestmark = pytest.mark.clients

ANSWERS = sorted({answer for cases in CASES.values() for _, answer, _ in cases})
AROUND = ("{}", "Sure:\n{}", "{}\nIs that fine?", "Sure:\n{}\nIs that fine?", "**{}**")
PER_KIND = 60


def punkt() -> Path:
    """The model of NLTK's Punkt, which lm-eval would download, in a package that brings it."""
    spec = importlib.util.find_spec("llama_index")
    assert spec and spec.submodule_search_locations
    return Path(spec.submodule_search_locations[0]) / "core" / "_static" / "nltk_cache"


@pytest.fixture(scope="module")
def theirs() -> Any:
    """lm-eval's module."""
    os.environ["NLTK_DATA"] = str(punkt())
    import langdetect
    from lm_eval.tasks.ifeval import utils

    langdetect.DetectorFactory.seed = 0  # where it is not set, a short text's language is a matter of luck
    return utils


def drawn(kind: str) -> list[tuple[dict[str, Any], str]]:
    """Arguments of a kind with answers to all kinds, as they are and inside other text."""
    # Where the paragraph is beyond their number, lm-eval takes one at random.
    own = [case[0] for case in CASES[kind] if case[0].get("nth_paragraph", 1) <= case[0].get("num_paragraphs", 9)]
    every = [(arguments, around.format(answer)) for arguments in own for answer in ANSWERS for around in AROUND]
    meant = [(arguments, answer) for arguments, answer, _ in CASES[kind] if arguments in own]
    return meant + random.Random(kind).sample(every, PER_KIND)


@pytest.mark.parametrize("kind", sorted(CASES))
def test_verdicts_are_those_of_lm_eval_strictly_and_loosely(theirs: Any, kind: str) -> None:
    different = []
    for arguments, answer in drawn(kind):
        ours = Prompt("1", "Write.", (Instruction(kind, arguments),))
        asked = theirs.InputExample(1, [kind], "Write.", [arguments])
        strict = theirs.test_instruction_following_strict(asked, answer).follow_instruction_list
        loose = theirs.test_instruction_following_loose(asked, answer).follow_instruction_list
        if (accuracy.strict(ours, answer), accuracy.loose(ours, answer)) != (strict, loose):
            different.append((arguments, answer, strict, loose))
    assert different == []
