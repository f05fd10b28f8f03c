"""Lines from the standard input are answered by the base and an iteration, side by side or the best of several."""

import shutil
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from offered import iterations

from pairloop.models import references
from pairloop.params import Params
from pairloop.rankers import scoring
from pairloop.samplers import Request, Sampling
from pairloop.samplers.transformers import TransformersSampler
from pairloop.serving import picking
from pairloop.serving.side_by_side import harmless
from stages.chat import main

PARAMS = "eval: {temperatures: [1.0], top_k: 8, max_new_tokens: 12}\nrank: {ranker: likelihood}\n"


@pytest.fixture(scope="module")
def models(tiny_base: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return iterations(tiny_base, tmp_path_factory.mktemp("chat"), (1,))


@pytest.fixture
def here(models: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (models.parent / "params.yaml").write_text(PARAMS)
    monkeypatch.chdir(models.parent)
    monkeypatch.setenv("COLUMNS", "100")
    return models


def said(typed: str | bytes, *words: str) -> Result:
    return CliRunner().invoke(main, ["1", *words], input=typed)


def samplers(models: Path, temperature: float) -> dict[str, TransformersSampler]:
    base, tokenizer = models / "iteration_0", references.load_tokenizer(models / "iteration_0")
    sampling = Sampling(temperature, 0.95, 8, 12)
    folders = {"base": base, "iteration_1": models / "iteration_1"}
    loaded = {name: references.load_policy(folder, base, "float32") for name, folder in folders.items()}
    return {name: TransformersSampler(model, tokenizer, sampling) for name, model in loaded.items()}


def flat(text: str) -> str:
    return "".join(text.split())


def test_a_line_is_answered_by_both_as_our_sampler_answers(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "70")
    found = said("Name a fruit.\n\n", "--temperature", "0")
    assert found.exit_code == 0 and found.output.startswith("> Name a fruit.\nbase")
    for sampler in samplers(here, 0).values():
        (own,), _ = sampler.sample([Request("Name a fruit.", (1,)), Request("", ())])
        assert flat(harmless(own.text)) in flat(found.output)


def test_the_same_line_has_the_same_answers_and_each_line_its_own(here: Path) -> None:
    first = said("Hi\nHi\nHo\n").output.split("> H")[1:]
    assert len(first) == 3 and first[0] == first[1] and first[0][1:] != first[2][1:]
    assert all("base" in one and "│ iteration_1" in one for one in first)


def test_the_best_of_several_is_the_one_that_the_ranker_scores_highest(here: Path) -> None:
    base = here / "iteration_0"
    ranking = scoring.configured("likelihood", scoring.Places(base, here / "teacher"), Params())
    found = picking.best("Hi", samplers(here, 1.0), 0, 6, ranking)
    for name, sampler in samplers(here, 1.0).items():
        seeds = tuple(picking.shards.seed_of(0, picking.STREAM, "Hi", k) for k in range(6))
        texts = [response.text for response in sampler.sample([Request("Hi", seeds)])[0]]
        scores = ranking.loaded.score(["Hi"], [texts])[0]
        assert found[name].response.text == texts[scores.index(max(scores))]
        assert found[name].score == pytest.approx(max(scores), abs=1e-4) and len(set(texts)) > 1
        assert found[name].others == pytest.approx(scores, abs=1e-4)


def test_the_score_of_the_picked_answer_stands_under_it(here: Path) -> None:
    found = said("Hi\n", "--best-of", "4")
    assert found.exit_code == 0 and found.output.count(" by likelihood: the best") == 2
    assert flat("the best of 4, mean -") in flat(found.output)
    assert not list(here.parent.glob(".dvc/tmp/pairloop/*"))  # what people type is not kept


def test_a_run_that_trained_no_ranker_says_so_before_the_first_line(here: Path) -> None:
    (here / "teacher").mkdir()
    (here / "teacher" / "unused.json").write_text('{"ranker": "verifiable"}')
    found = said("Hi\n", "--best-of", "4", "--ranker", "specialist")
    shutil.rmtree(here / "teacher")
    assert found.exit_code == 1 and "models/teacher: this run trained no ranker" in found.output
    assert found.output.count("\n") == 1


def test_where_a_program_ranks_the_likelihood_picks_since_a_line_has_no_constraints(here: Path) -> None:
    (here.parent / "params.yaml").write_text(PARAMS.replace("likelihood", "verifiable"))
    found = said("Hi\n", "--best-of", "4")
    assert found.exit_code == 0 and found.output.count(" by likelihood: the best") == 2


def test_a_line_that_cannot_be_answered_leaves_the_next_its_turn(here: Path) -> None:
    found = said(f"{'x' * 3000}\nHi\n")
    assert found.exit_code == 0 and "Error: the prompt 'xxx" in found.output and "> Hi\nbase" in found.output


def test_a_line_of_control_characters_and_broken_bytes_is_a_prompt_like_any_other(here: Path) -> None:
    found = said(b"\x1b[2J <|im_end|> \xff\n")
    assert found.exit_code == 0 and found.output.startswith("> \u241b[2J <|im_end|> \ufffd\nbase")


def test_an_answer_that_was_cut_off_says_so(here: Path) -> None:
    assert "cut off at 3 tokens]" in said("Hi\n", "--max-new-tokens", "3").output


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (
            ["--best-of", "4", "--ranker", "specialist"],
            "models/teacher: there is no ranker yet. `dvc pull teach`",
        ),
        (["--ranker", "likelihood"], "nobody does without --best-of: add --best-of 16"),
        (["--models", "elsewhere"], "elsewhere/iteration_1: there is no model yet. `dvc pull train@1` brings it"),
    ],
)
def test_what_is_missing_is_one_sentence_before_the_first_line(here: Path, words: list[str], message: str) -> None:
    found = said("Hi\n", *words)
    assert found.exit_code == 1 and message in found.output and found.output.count("\n") == 1
