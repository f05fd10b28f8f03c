"""Better-PairRM: the same network, which reads a prompt as a user's turn and keeps its end."""

from pathlib import Path

import pytest
from pairrm_data import WORDS, cases, largest_difference, write_checkpoints
from test_pairrm import plain_scores

from pairloop.params import Rankers
from pairloop.rankers import scoring
from pairloop.rankers.pairrm.forms import READINGS
from pairloop.rankers.pairrm.ranker import PairRM

BETTER = READINGS["better_pairrm"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_checkpoints(tmp_path_factory.mktemp("pairrm"))["hf"]


def test_scores_follow_the_definition_on_the_turns_that_rewardbench_writes(folder: Path) -> None:
    prompts, candidates = cases(6, 4, 3)
    found = PairRM(folder, "float32", 4096, BETTER).score(prompts, candidates)
    turns = [f"USER: {prompt.strip()}\n    \n    ASSISTANT: " for prompt in prompts]
    assert largest_difference(found, plain_scores(folder, turns, candidates, (2030, 670))) <= 1e-6
    assert largest_difference(found, PairRM(folder, "float32", 4096).score(prompts, candidates)) > 1e-3


def test_of_a_longer_prompt_the_end_is_kept(folder: Path) -> None:
    ranker = PairRM(folder, "float32", 4096, BETTER)
    ids = ranker._encode("<|source|>", BETTER.text(" ".join(["mola", *WORDS * 50])), 2030, BETTER.keeps_end)
    other = ranker._encode("<|source|>", BETTER.text(" ".join(["kano", *WORDS * 50])), 2030, BETTER.keeps_end)
    assert len(ids) == 2030 and ids == other
    whole = ranker._encode("<|source|>", BETTER.text("mola kano"), 2030, BETTER.keeps_end)
    assert ids[:2] == whole[:2] and ids[-5:] == whole[-5:]


def test_the_parameter_chooses_how_prompts_are_read(folder: Path, tmp_path: Path) -> None:
    prompts, candidates = cases(7, 3, 3)
    rows = [{"prompt": p, "responses": own, "constraints": None} for p, own in zip(prompts, candidates, strict=True)]
    places = scoring.Places(tmp_path, tmp_path)
    for form, reading in READINGS.items():
        weights = Rankers(pairrm=str(folder), pairrm_form=form)
        ranking = scoring.Ranking("pairrm", places, "float32", 4096, rankers=weights)
        (found,) = scoring.score(rows, ranking, 3, tmp_path)
        expected = PairRM(folder, "float32", 4096, reading).score(prompts, candidates)
        assert largest_difference([row["scores"] for row in found], expected) == 0
