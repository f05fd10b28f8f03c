"""Answers and scores, shard by shard."""

import gc
import json
from pathlib import Path
from typing import Any

import pytest

from pairloop.files import records
from pairloop.models import chat
from pairloop.params import Params, Rank
from pairloop.rankers import scoring
from pairloop.rankers.likelihood import Likelihood
from pairloop.rankers.verifiable import First
from pairloop.samplers import Request, Sampling, answers
from pairloop.samplers.answers import Policy, Speaker
from pairloop.work import shards

PROMPTS = [f"Say {word}." for word in ("one", "two", "three", "four", "five")]
ROWS = [{"prompt_id": str(i), "prompt": prompt} for i, prompt in enumerate(PROMPTS)]


@pytest.fixture
def speaker(tiny_base: Path, tmp_path: Path) -> Speaker:
    return Speaker(Policy(tiny_base, tiny_base, "float32"), Sampling(0.9, 0.95, 512, 8), 2, tmp_path)


def answered(speaker: Speaker, streams: tuple[Any, ...], rows: list[dict[str, str]] = ROWS) -> list[Any]:
    return [row for shard in answers.answer(rows, speaker, streams, 3) for row in shard]


def test_answers_fit_the_format_and_come_back_from_the_scratch(speaker: Speaker, tmp_path: Path) -> None:
    first = answered(speaker, (0, 1))
    assert records.write(tmp_path / "responses.parquet", records.RESPONSE, [first]) == 5
    stored = Speaker(Policy(speaker.policy.folder, speaker.policy.base, "float32"), speaker.sampling, 2, tmp_path)
    assert answered(stored, (0, 1)) == first
    assert "model" not in stored.policy.__dict__  # nothing was left to compute, so nothing was loaded


def test_an_answer_keeps_the_tokens_that_were_sampled_and_their_log_probabilities(speaker: Speaker) -> None:
    seeds = [tuple(shards.seed_of(0, 1, row["prompt_id"], k) for k in range(3)) for row in ROWS]
    sampled = speaker.sample([Request(row["prompt"], own) for row, own in zip(ROWS, seeds, strict=True)])
    ends = chat.end_ids(speaker.policy.model, speaker.policy.tokenizer)
    for row, own in zip(answered(speaker, (0, 1)), sampled, strict=True):
        assert row["token_ids"] == [list(response.token_ids) for response in own]
        assert row["logps"] == [list(response.logps or ()) for response in own]
        assert [len(ids) for ids in row["token_ids"]] == [len(logps) for logps in row["logps"]] == row["token_counts"]
        assert [ids[-1] in ends for ids in row["token_ids"]] == [reason == "stop" for reason in row["finish_reasons"]]


def test_the_seed_and_the_iteration_change_every_prompts_answers(speaker: Speaker) -> None:
    first = answered(speaker, (0, 1))
    for streams in ((1, 1), (0, 2)):
        other = answered(speaker, streams)
        assert all(mine["responses"] != yours["responses"] for mine, yours in zip(first, other, strict=True))


def test_a_prompts_answers_do_not_depend_on_its_place(speaker: Speaker) -> None:
    first = {row["prompt_id"]: row["responses"] for row in answered(speaker, (0, 1))}
    again = {row["prompt_id"]: row["responses"] for row in answered(speaker, (0, 1), ROWS[::-1])}
    assert first == again


def test_responses_take_the_temperatures_in_turn_and_each_draws_from_its_own_stream(speaker: Speaker) -> None:
    def said(*temperatures: float) -> list[list[str]]:
        wanted = answers.in_turn(temperatures, 5)
        found = [row for shard in answers.answer(ROWS, speaker, (0, 1), wanted) for row in shard]
        return [row["responses"] for row in found]

    hot, cool, both = said(2.0), said(0.2), said(2.0, 0.2)
    assert hot != cool
    for row, hotter, cooler in zip(both, hot, cool, strict=True):
        assert row == [hotter[0], cooler[1], hotter[2], cooler[3], hotter[4]]


def test_over_long_prompts_are_counted(speaker: Speaker) -> None:
    rows = [*ROWS, {"prompt_id": "long", "prompt": "word " * 200}]
    kept, dropped = answers.fitting(rows, speaker.policy.tokenizer, 100)
    assert kept == ROWS and dropped == {"prompt_too_long": 1}


def test_constraints_decide_before_the_ranker_does(tiny_base: Path, tmp_path: Path) -> None:
    shouted = json.dumps([{"kind": "case", "case": "upper"}])
    rows = [
        {"prompt": p, "responses": ["quiet", "LOUD", "soft"], "constraints": c}
        for p, c in (("a", shouted), ("b", None))
    ]
    found = {}
    for first in (True, False):
        ranking = scoring.Ranking("likelihood", scoring.Places(tiny_base, tmp_path), "float32", 512, First(first))
        found[first] = [row["scores"] for shard in scoring.score(rows, ranking, 2, tmp_path) for row in shard]
    assert found[True][0].index(max(found[True][0])) == 1
    assert found[True][1] == found[False][1]
    assert sorted([0, 2], key=found[True][0].__getitem__) == sorted([0, 2], key=found[False][0].__getitem__)


def models_in_memory() -> int:
    from transformers import LlamaForCausalLM

    gc.collect()
    return sum(isinstance(found, LlamaForCausalLM) for found in gc.get_objects())


def test_what_answered_or_scored_is_out_of_memory_before_another_ranker_loads(tiny_base: Path, tmp_path: Path) -> None:
    places = scoring.Places(tiny_base, tmp_path)
    frozen, other = (scoring.Ranking(kind, places, "float32", 512) for kind in ("likelihood", "reward"))
    scoring.make_room(other)
    before = models_in_memory()

    def work() -> None:
        policy = Policy(tiny_base, tiny_base, "float32")
        answered(Speaker(policy, Sampling(0.9, 0.95, 512, 8), 2, tmp_path), (0, 1))
        rows = [{"prompt": "Hi", "responses": ["a", "b"], "constraints": None}]
        list(scoring.score(rows, scoring.Ranking("likelihood", places, "float32", 512), 2, tmp_path))
        assert models_in_memory() == before + 2

    work()
    scoring.make_room(frozen)
    assert models_in_memory() == before + 1  # the base, which the next one reads with too
    scoring.make_room(other)
    assert models_in_memory() == before


def test_the_verifiable_ranker_scores_by_constraints_alone(tiny_base: Path, tmp_path: Path) -> None:
    two = json.dumps([{"kind": "words", "max": 1}, {"kind": "includes", "text": "tea"}])
    rows = [{"prompt": "a", "responses": ["tea", "black tea", "some coffee"], "constraints": two}]
    ranking = scoring.Ranking("verifiable", scoring.Places(tiny_base, tmp_path), "float32", 512)
    found = list(scoring.score(rows, ranking, 2, tmp_path))
    assert found == [[{"scores": [1.0, 0.5, 0.0], "comparisons": None, "judge": None}]]


def test_only_the_ranker_that_decides_puts_constraints_first_and_loops_last() -> None:
    found = Params(rank=Rank(constraints_first=True, loops_last=True, echoes_last=True, fewest_words=5))
    places = scoring.Places(Path("base"), Path("teacher"))
    decides, beside = (scoring.configured("likelihood", places, found, deciding) for deciding in (True, False))
    before = "5 words, then no loops, then no echoes"
    assert (decides.name, beside.name) == (f"{before}, then constraints, then likelihood", "likelihood")
    assert scoring.configured("verifiable", places, found, True).name == f"{before}, then verifiable"
    only = Params(rank=Rank(constraints_first="only"))
    assert scoring.configured("likelihood", places, only, True).name == "constraints or else likelihood"


def test_a_ranker_is_not_asked_about_prompts_where_nothing_but_constraints_counts(
    tiny_base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []
    score = Likelihood.score

    def noted(self: Likelihood, prompts: Any, candidates: Any) -> Any:
        asked.extend(prompts)
        return score(self, prompts, candidates)

    monkeypatch.setattr(Likelihood, "score", noted)
    tea = json.dumps([{"kind": "includes", "text": "tea"}])
    rows = [
        {"prompt": p, "responses": ["tea", "some milk"], "constraints": c}
        for p, c in (("a", tea), ("b", None), ("c", tea), ("d", None))
    ]
    places = scoring.Places(tiny_base, tmp_path)
    only, alone = (scoring.Ranking("likelihood", places, "float32", 512, First(first)) for first in ("only", False))
    found = [row for shard in scoring.score(rows, only, 3, tmp_path) for row in shard]
    assert asked == ["b", "d"]
    assert found[0]["scores"] == found[2]["scores"] == [1.0, 0.0]
    assert "loaded" in vars(only)
    unasked = scoring.Ranking("likelihood", places, "float32", 512, First("only"))
    assert [shard[0]["scores"] for shard in scoring.score(rows[:1], unasked, 3, tmp_path / "b")] == [[1.0, 0.0]]
    assert "loaded" not in vars(unasked)
    plain = [row for shard in scoring.score(rows, alone, 3, tmp_path) for row in shard]
    assert [found[i]["scores"] for i in (1, 3)] == [plain[i]["scores"] for i in (1, 3)]


def test_loops_come_last_for_the_ranker_that_asks_for_it(tmp_path: Path) -> None:
    rows = [
        {
            "prompt": "a",
            "responses": ["no no no no no no no no no", "tea", "milk"],
            "constraints": '[{"kind": "includes", "text": "no"}]',
        }
    ]
    ranking = scoring.Ranking("verifiable", scoring.Places(tmp_path, tmp_path), "float32", 512, First(loops_last=True))
    ((row,),) = scoring.score(rows, ranking, 2, tmp_path)
    assert row["scores"][0] < row["scores"][1] == row["scores"][2]
