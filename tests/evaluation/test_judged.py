"""eval where judges compare only answers to prompts without constraints, on a tiny model."""

import json
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from evaluated import PROMPTS, SHORT, invoke, run, write_adapter, write_prompts
from pairrm_data import write_checkpoints

from pairloop.errors import DataError
from pairloop.evaluation import judging
from pairloop.files import records
from pairloop.params import parse
from pairloop.prompts import slices
from pairloop.rankers import together
from pairloop.rankers.reading import Reader
from stages import pool

Found = tuple[Path, list[dict[str, Any]], set[str]]
"""A folder, the metrics of iterations 0 to 2, and the prompts whose answers a judge or the base was asked about."""


@pytest.fixture(scope="module")
def evaluated(tiny_base: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[str], Found]]:
    """Iterations 0, 1 and 2 evaluated, by a judge of single answers and one that compares two."""
    weights = write_checkpoints(tmp_path_factory.mktemp("pairrm"))["hf"]
    policies = [tiny_base, *(write_adapter(tiny_base, tmp_path_factory.mktemp("policy"), seed) for seed in (1, 2))]
    own = {"temperatures": [1.0, 0.0], "samples": 2, "best_of": 3, "judges": ["likelihood", "pairrm"]}
    before, patched = Path.cwd(), pytest.MonkeyPatch()

    def evaluate(judged: str) -> Found:
        folder, asked = tmp_path_factory.mktemp(judged), set[str]()
        os.chdir(folder)
        write_prompts(Path("eval.parquet"))
        with patched.context() as patch:
            patch.setattr(judging.together, "score_together", listening(together.score_together, asked))
            patch.setattr(Reader, "read_tokens", reading(Reader.read_tokens, asked))
            params = {"rankers": {"pairrm": str(weights)}, "eval": own | {"judged": judged}}
            return folder, [run(n, tiny_base, policy, params) for n, policy in enumerate(policies)], asked

    yield evaluate
    os.chdir(before)


def listening(score: Any, asked: set[str]) -> Any:
    def heard(rows: Any, *others: Any) -> Any:
        asked.update(row["prompt"] for row in rows)
        return score(rows, *others)

    return heard


def reading(read: Any, asked: set[str]) -> Any:
    def heard(self: Any, prompts: Any, *others: Any) -> Any:
        asked.update(prompts)
        return read(self, prompts, *others)

    return heard


@pytest.fixture(scope="module")
def every(evaluated: Callable[[str], Found]) -> Found:
    return evaluated("all")


@pytest.fixture(scope="module")
def some(evaluated: Callable[[str], Found]) -> Found:
    return evaluated("unconstrained")


def test_no_judge_is_asked_about_a_prompt_with_constraints(every: Found, some: Found) -> None:
    assert every[2] == set(PROMPTS)
    assert some[2] == set(PROMPTS[1:])


def test_win_rates_are_those_of_the_prompts_without_constraints_with_their_intervals(every: Found, some: Found) -> None:
    for whole, part in zip(every[1], some[1], strict=True):
        for of_all, own in zip([whole, *whole["further"]], [part, *part["further"]], strict=True):
            assert (of_all["judged"], own["judged"], own["prompts"]) == (len(PROMPTS), len(PROMPTS) - 1, len(PROMPTS))
            for judge, rates in own["win_rate"].items():
                expected = of_all["win_rate"][judge]["unconstrained"]
                assert {name: rates[name] for name in ("win_rate", "low", "high")} | {
                    "prompts": own["judged"]
                } == expected
                assert rates["wins"] + rates["ties"] + rates["losses"] == own["judged"] * own["samples"]
                assert rates["unconstrained"] == expected
            assert own["agreement"][0]["prompts"] <= own["judged"]


def test_what_a_program_counts_is_counted_on_all_prompts_as_before(every: Found, some: Found) -> None:
    judged = {"judged", "win_rate", "agreement", "further"}
    for whole, part in zip(every[1], some[1], strict=True):
        for of_all, own in zip([whole, *whole["further"]], [part, *part["further"]], strict=True):
            assert {k: v for k, v in own.items() if k not in judged} == {
                k: v for k, v in of_all.items() if k not in judged
            }
            assert own["constraints"]["prompts"] == 1


def test_an_answer_that_nobody_judged_has_no_score_and_the_others_have_the_same(every: Found, some: Found) -> None:
    of_all, own = (records.read_json(found[0] / "results_2/judgements.json") for found in (every, some))
    assert own[0] == of_all[0] | {"scores": {}, "wins": {}} and own[0]["passes"] is not None
    assert own[1:] == of_all[1:]
    stored = [records.read(found[0] / "answers_2.parquet", records.ANSWER) for found in (every, some)]
    for whole, part in zip(*stored, strict=True):
        assert part == whole | ({"judged": "{}"} if part["constraints"] else {})


def test_the_watch_reads_the_same_prompts_with_the_base_and_counts_on_all(every: Found, some: Found) -> None:
    for n in range(3):
        of_all, own = (records.read_json(found[0] / f"results_{n}/watch.json")["measures"] for found in (every, some))
        read = ("estimated_kl_per_token", "estimated_kl_per_answer")
        assert {own[name]["prompts"] for name in read} == {len(PROMPTS) - 1}
        assert {of_all[name]["prompts"] for name in read} == {len(PROMPTS)}
        assert {k: v for k, v in own.items() if k not in read} == {k: v for k, v in of_all.items() if k not in read}


def test_prompts_that_all_have_constraints_are_refused_before_anything_is_answered(
    tiny_base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    write_prompts(Path("eval.parquet"))
    rows = records.read(Path("eval.parquet"), records.PROMPT)
    demanding = [row | {"constraints": SHORT} for row in rows]
    slices.refuse_few_judged(demanding, "all", "eval.jsonl")
    slices.refuse_few_judged(demanding[:2] + rows[2:], "unconstrained", "eval.jsonl")
    with pytest.raises(DataError, match=r"of the 4 prompts of eval\.jsonl that are evaluated 1 have no"):
        slices.refuse_few_judged(demanding[:3] + rows[3:], "unconstrained", "eval.jsonl")
    params = parse({"eval": {"prompts": 4, "judged": "unconstrained"}})
    with pytest.raises(DataError, match=r"eval\.judged is unconstrained, but of the 4 prompts of data/prompts/eval"):
        pool.refuse_too_long([], demanding, params, Path("no model is read"))
    records.write(Path("eval.parquet"), records.PROMPT, [demanding])
    found = invoke(0, tiny_base, tiny_base, {"eval": {"judged": "unconstrained"}})
    assert (found.exit_code, Path("answers_0.parquet").exists()) == (1, False)
    said = " ".join(found.output.split())
    assert "of the 4 prompts of eval.parquet that are evaluated 0 have no constraints, and a win rate needs two" in said


def test_scores_that_were_left_out_before_are_missed_where_all_are_compared(
    some: Found, tiny_base: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(some[0])
    asked = {"temperatures": [1.0], "samples": 2, "judges": ["likelihood"]}
    assert json.loads(records.read(Path("answers_0.parquet"), records.ANSWER)[0]["judged"]) == {}
    found = invoke(1, tiny_base, tiny_base, {"eval": asked})
    assert found.exit_code == 1 and "not judged by likelihood" in " ".join(found.output.split())
