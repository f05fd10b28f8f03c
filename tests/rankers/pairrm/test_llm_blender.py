"""The package llm_blender behind our protocol: its own scores, and what it cannot do refused."""

import json
import sys
from pathlib import Path

import pytest
from conftest import ROOT
from pairrm_data import (
    HOSTILE,
    asked_of_the_package,
    cases,
    copy_of,
    largest_difference,
    shimmed_package,
    write_checkpoints,
)

from pairloop.errors import ModelError, RankingError
from pairloop.params import Rankers
from pairloop.rankers import scoring
from pairloop.rankers.pairrm.llm_blender import LLMBlender
from pairloop.rankers.pairrm.ranker import PairRM


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    return write_checkpoints(tmp_path_factory.mktemp("pairrm"))


@pytest.fixture
def package(tmp_path, monkeypatch):
    return shimmed_package(tmp_path, monkeypatch)


@pytest.fixture(scope="module", params=["own", "hf"])
def ranker(request, folders):
    return LLMBlender(folders[request.param])


@pytest.mark.filterwarnings("ignore::RuntimeWarning:dataclasses_json")
def test_scores_are_the_package_s_own(package, folders):
    asked = cases(1, 6, 3)
    assert LLMBlender(folders["own"]).score(*asked) == asked_of_the_package(package, folders["own"], *asked)


def test_scores_are_those_of_pairrm_in_both_layouts(ranker, folders, request):
    name = request.node.callspec.params["ranker"]
    asked = cases(2, 10, 4)
    found = ranker.score(*asked)
    assert largest_difference(found, PairRM(folders[name], "float32", 2048).score(*asked)) <= 1e-6
    assert all(type(score) is float for own in found for score in own)


def test_scores_do_not_depend_on_which_prompts_come_together(ranker):
    prompts, candidates = cases(3, 6, 3)
    together = ranker.score(prompts, candidates)
    assert together == [ranker.score([p], [own])[0] for p, own in zip(prompts, candidates, strict=True)]
    assert together == ranker.score(prompts[::-1], candidates[::-1])[::-1]


def test_equal_responses_score_0_and_no_prompts_have_no_scores(ranker):
    assert ranker.score(["mola"], [["tiri"] * 3]) == [[0.0] * 3]
    assert ranker.score([], []) == []


@pytest.mark.parametrize("candidates", [[], ["mola"]])
def test_fewer_than_two_responses_are_refused(ranker, candidates):
    with pytest.raises(RankingError, match=f"'why' has {len(candidates)} responses: llm_blender .* at least two"):
        ranker.score(["how", "why"], [["a", "b"], candidates])


def test_rows_of_different_lengths_are_refused(ranker):
    with pytest.raises(RankingError, match="'why' has 3 responses and the first prompt 2"):
        ranker.score(["how", "why"], [["a", "b"], ["a", "b", "c"]])


@pytest.mark.parametrize("text", [text for text in HOSTILE if text != "[SEP]"])
def test_a_control_token_in_a_text_is_refused_with_prompt_and_response(ranker, text):
    with pytest.raises(RankingError, match=r"the response 'tiri .*' to the prompt 'mola' spells out") as error:
        ranker.score(["mola"], [["kano", f"tiri {text}"]])
    assert repr(f"tiri {text}") in error.value.message
    with pytest.raises(RankingError, match=r"^the prompt 'mola .*' spells out"):
        ranker.score([f"mola {text}"], [["kano", "tiri"]])


def test_a_separator_is_no_control_token_since_the_package_makes_it_a_space(ranker):
    assert ranker.score(["mola[SEP]"], [["a[SEP]b", "c"]]) == ranker.score(["mola "], [["a b", "c"]])


def test_nothing_is_printed_or_logged_while_it_loads(folders, package, capfd):
    LLMBlender(folders["own"])
    found = capfd.readouterr()
    assert "ranker" not in found.out + found.err and "fuser" not in found.err


def test_the_tested_versions_include_the_package_so_that_these_tests_run():
    assert "llm-blender==0.0.2" in (ROOT / "requirements.lock").read_text().splitlines()


def test_a_missing_package_names_the_extra(folders, monkeypatch):
    monkeypatch.setitem(sys.modules, "llm_blender", None)
    with pytest.raises(ModelError, match=r"pip install '\.\[llm-blender\]'"):
        LLMBlender(folders["own"])


def test_files_that_are_not_pairrm_are_refused(folders, package, tmp_path):
    target = copy_of(folders["own"], tmp_path)
    (target / "model.safetensors").rename(target / "pytorch_model.bin")
    with pytest.raises(ModelError, match=r"has no model\.safetensors"):
        LLMBlender(target)
    (target / "pytorch_model.bin").rename(target / "model.safetensors")
    (target / "config.json").write_text(json.dumps({"model_type": "llama"}))
    with pytest.raises(ModelError, match="model_type llama, but only PairRM"):
        LLMBlender(target)


def test_the_pipeline_ranks_by_it(ranker, folders, tmp_path):
    places, weights = scoring.Places(Path("none"), Path("none")), Rankers(llm_blender=str(folders["own"]))
    ranking = scoring.Ranking("llm_blender", places, "float32", 2048, rankers=weights)
    prompts, candidates = ["mola", "kano"], [["tiri", "sudu", "tiri"], ["reno", "", "lono"]]
    rows = [{"prompt": p, "responses": c, "constraints": None} for p, c in zip(prompts, candidates, strict=True)]
    (found,) = scoring.score(rows, ranking, 2, tmp_path)
    assert [row["scores"] for row in found] == LLMBlender(folders["own"]).score(prompts, candidates)
    assert ranking.fingerprint["ranker"] == "llm_blender"
