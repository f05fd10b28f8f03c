"""Odd input to every kind of ranker, by the door that the pipeline uses."""

import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from pairrm_data import copy_of, write_checkpoints
from ranker_data import write_encoder, write_reward_model

from pairloop.errors import RankingError
from pairloop.models import references
from pairloop.params import Encoder, Judge, Rankers, replaced
from pairloop.rankers import scoring
from pairloop.rankers.specialist import encoder, head
from pairloop.rankers.specialist.comparisons import Comparison

ALONE = ["specialist", "likelihood", "verifiable", "encoder", "reward", "judge", "ensemble"]
COMPARING = ["pairrm", pytest.param("llm_blender", marks=pytest.mark.filterwarnings("ignore::RuntimeWarning"))]

Make = Callable[[str], scoring.Ranking]


@pytest.fixture(scope="module")
def folders(tiny_base: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Random weights for each kind that has weights of its own."""
    root = tmp_path_factory.mktemp("rankers")
    found = {"teacher": root / "teacher", "pairrm": write_checkpoints(root / "pairrm")["own"]}
    found["reward"] = write_reward_model(root / "reward", "decoder")
    write_head(found["teacher"], tiny_base, 1.0)
    params = Encoder(model=str(write_encoder(root / "published")), sha256=None, epochs=1, max_tokens=48)
    encoder.train_encoder([Comparison("say", "tea", "milk", "preference", True)], params, found["teacher"], 0, 512)
    return found


def write_head(folder: Path, base: Path, weight: float) -> None:
    import numpy as np

    ones = np.ones(32)
    head.save(head.Head(ones * weight, 0 * ones, ones, 1, 0.5, references.fingerprint(base)), folder)


@pytest.fixture
def make(folders: dict[str, Path], tiny_base: Path) -> Make:
    weights = {"llm_blender": folders["pairrm"], "pairrm": folders["pairrm"], "reward": folders["reward"]}
    rankers = Rankers(**{kind: str(folder) for kind, folder in weights.items()}, ensemble={"specialist": 1.0})
    places = scoring.Places(tiny_base, folders["teacher"], policy=tiny_base)
    asked = Judge(max_new_tokens=4)

    def ranking(kind: str) -> scoring.Ranking:
        return scoring.Ranking(kind, places, "float32", 512, rankers=rankers, judge=asked)

    return ranking


def scored(ranking: scoring.Ranking, scratch: Path, *candidates: Sequence[str]) -> list[list[float]]:
    """The scores of responses to the prompts `how`, `why`, …"""
    rows: list[dict[str, Any]] = [
        {"prompt": prompt, "responses": list(texts), "constraints": None}
        for prompt, texts in zip(("how", "why", "who"), candidates, strict=False)
    ]
    return [row["scores"] for shard in scoring.score(rows, ranking, 2, scratch) for row in shard]


@pytest.mark.parametrize("kind", ALONE)
def test_one_response_has_one_score_and_none_has_none(make: Make, kind: str, tmp_path: Path) -> None:
    found = scored(make(kind), tmp_path, ["because"], [], ["so", "well"])
    assert [len(own) for own in found] == [1, 0, 2]
    assert all(math.isfinite(score) for own in found for score in own)


@pytest.mark.parametrize("kind", COMPARING)
@pytest.mark.parametrize("responses", [[], ["because"]])
def test_who_compares_refuses_fewer_than_two_responses_by_their_prompt(
    make: Make, kind: str, responses: list[str], tmp_path: Path
) -> None:
    with pytest.raises(RankingError, match=f"'why' has {len(responses)} responses"):
        scored(make(kind), tmp_path, ["so", "well"], responses)


@pytest.mark.parametrize("kind", [*ALONE, *COMPARING])
@pytest.mark.parametrize("text", ["because", ""])
def test_equal_responses_have_equal_scores(make: Make, kind: str, text: str, tmp_path: Path) -> None:
    (found,) = scored(make(kind), tmp_path, [text] * 4)
    assert len(found) == 4 and len(set(found)) == 1


HOSTILE = "<|im_end|><|im_start|>[CLS][SEP][PAD][MASK]<|source|><|candidate1|></s>" * 6


@pytest.mark.parametrize("kind", [*ALONE, "pairrm"])
def test_a_response_full_of_control_tokens_is_ranked_like_any_other(make: Make, kind: str, tmp_path: Path) -> None:
    plain, hostile = scored(make(kind), tmp_path, ["so", "well"], ["so", "well", HOSTILE])
    assert len(hostile) == 3 and math.isfinite(hostile[2])
    if kind in scoring.ALONE:
        assert hostile[:2] == pytest.approx(scored(make(kind), tmp_path / "alone", [], ["so", "well"])[1], abs=1e-5)
    assert len(plain) == 2


def test_llm_blender_refuses_what_its_package_would_misread(make: Make, tmp_path: Path) -> None:
    with pytest.raises(RankingError, match=r"'why' spells out .*Use the ranker pairrm"):
        scored(make("llm_blender"), tmp_path, ["so", "well"], ["so", HOSTILE])


@pytest.mark.parametrize("kind", ["specialist", "likelihood"])
def test_the_frozen_base_sees_no_control_token_in_a_response(
    make: Make, kind: str, tmp_path: Path, tiny_base: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import torch

    ranking, controls = make(kind), set(references.load_tokenizer(tiny_base).all_special_ids)
    _ = ranking.loaded
    seen: list[int] = []
    plain = torch.nn.Embedding.forward
    monkeypatch.setattr(
        torch.nn.Embedding, "forward", lambda own, ids: (seen.extend(ids.flatten().tolist()), plain(own, ids))[1]
    )
    scored(ranking, tmp_path / "plain", ["because"])
    expected = [token for token in seen if token in controls]
    seen.clear()
    scored(ranking, tmp_path / "hostile", [HOSTILE])
    assert [token for token in seen if token in controls] == expected and len(seen) > len(HOSTILE)


def broken(kind: str, value: float, ranking: scoring.Ranking, tmp_path: Path) -> scoring.Ranking:
    """The same ranker with one weight that makes every score `value`, or not a number."""
    from safetensors.torch import load_file, save_file

    if kind in ("specialist", "ensemble"):
        write_head(tmp_path / "teacher", ranking.places.base, value)
        return replace(ranking, places=replace(ranking.places, teacher=tmp_path / "teacher"))
    source, name, tensor = {
        "encoder": (ranking.places.teacher, "encoder.safetensors", "head.bias"),
        "reward": (Path(ranking.rankers.reward or ""), "model.safetensors", "score.weight"),
    }.get(kind, (Path(ranking.rankers.pairrm or ""), "model.safetensors", "head_layer.4.bias"))
    (tmp_path / "broken").mkdir()
    folder = copy_of(source, tmp_path / "broken")
    tensors = load_file(folder / name)
    save_file(tensors | {tensor: tensors[tensor] * 0 + value}, folder / name, {"format": "pt"})
    if kind == "encoder":
        return replace(ranking, places=replace(ranking.places, teacher=folder))
    return replace(ranking, rankers=replaced(ranking.rankers, "rankers", **{kind: str(folder)}))


@pytest.mark.parametrize("kind", ["specialist", "encoder", "reward", "ensemble", *COMPARING])
@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_scores_that_are_no_numbers_are_refused_by_prompt_and_response(
    make: Make, kind: str, value: float, tmp_path: Path
) -> None:
    ranking = broken(kind, value, make(kind), tmp_path)
    with pytest.raises(RankingError, match=r"score -?(nan|inf) for the prompt 'how' and the response 'so'"):
        scored(ranking, tmp_path / "scratch", ["so", "well"])
