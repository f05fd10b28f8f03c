"""eval at several temperatures, with several samples, best of n, and beside two models before, on a tiny model."""

import json
import os
import statistics
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from evaluated import PROMPTS, SHORT, invoke, run, write_adapter, write_prompts
from pairrm_data import write_checkpoints

from pairloop.files import records
from pairloop.files.records import Row
from pairloop.prompts.constraints import holds
from pairloop.samplers.transformers import TransformersSampler

Metrics = dict[int, dict[str, Any]]
PLAIN: dict[str, Any] = {"eval": {}}


@pytest.fixture(scope="module")
def asked(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """Two temperatures, two samples, best of three, a judge of single answers and one that compares two."""
    weights = write_checkpoints(tmp_path_factory.mktemp("pairrm"))["hf"]
    own = {"temperatures": [1.0, 0.7], "samples": 2, "best_of": 3, "judges": ["likelihood", "pairrm"]}
    return {"rankers": {"pairrm": str(weights)}, "eval": own}


@pytest.fixture(scope="module")
def policies(tiny_base: Path, tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """The base and two iterations after it."""
    folder = tmp_path_factory.mktemp("policies")
    return [tiny_base, *(write_adapter(tiny_base, folder / str(seed), seed) for seed in (1, 2))]


@pytest.fixture(scope="module")
def chain(
    policies: list[Path], asked: dict[str, Any], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[Path, Metrics]]:
    """A folder with the evaluations of iterations 0, 1 and 2, and their metrics."""
    folder, before = tmp_path_factory.mktemp("chain"), Path.cwd()
    os.chdir(folder)
    write_prompts(Path("eval.parquet"))
    yield folder, {n: run(n, policies[0], policy, asked) for n, policy in enumerate(policies)}
    os.chdir(before)


def stored(folder: Path, n: int) -> dict[tuple[float, int], list[Row]]:
    """A model's answers by temperature and best_of."""
    found: dict[tuple[float, int], list[Row]] = {}
    for row in records.read(folder / f"answers_{n}.parquet", records.ANSWER):
        found.setdefault((row["temperature"], row["best_of"]), []).append(row)
    return found


def scores(rows: list[Row]) -> list[list[float]]:
    return [json.loads(row["judged"])["likelihood"] for row in rows]


def share(own: list[list[float]], theirs: list[list[float]]) -> float:
    """The win rate by hand: sample beside sample, ties half, a prompt's mean."""
    return statistics.fmean(
        statistics.fmean((a > b) + (a == b) / 2 for a, b in zip(*both, strict=False))
        for both in zip(own, theirs, strict=True)
    )


def test_answers_are_kept_for_every_setting_with_all_samples(chain: tuple[Path, Metrics]) -> None:
    for n in range(3):
        found = stored(chain[0], n)
        assert list(found) == [(1.0, 1), (0.7, 1), (0.7, 3)]
        assert {key: {len(row["responses"]) for row in rows} for key, rows in found.items()} == {
            (1.0, 1): {2},
            (0.7, 1): {2},
            (0.7, 3): {1},
        }
        assert all([row["prompt"] for row in rows] == PROMPTS for rows in found.values())
        assert all(logp < 0 for rows in found.values() for row in rows for logp in row["logps"])


def test_each_temperature_is_measured_against_iteration_0_at_the_same_and_against_the_iteration_before(
    chain: tuple[Path, Metrics],
) -> None:
    folder, metrics = chain
    base, previous, own = (stored(folder, n) for n in (0, 1, 2))
    rows = [metrics[2], *metrics[2]["further"]]
    assert [(row["temperature"], row.get("best_of"), row["samples"]) for row in rows] == [
        (1.0, None, 2),
        (0.7, None, 2),
        (0.7, 3, 1),
    ]
    for row, key, reference in zip(rows, own, [(1.0, 1), (0.7, 1), (1.0, 1)], strict=True):
        found = row["win_rate"]["likelihood"]
        assert found["win_rate"] == pytest.approx(share(scores(own[key]), scores(base[reference])), abs=1e-4)
        assert found["previous"]["win_rate"] == pytest.approx(share(scores(own[key]), scores(previous[key])), abs=1e-4)
        assert found["wins"] + found["ties"] + found["losses"] == len(PROMPTS) * row["samples"]
        assert row["few"] and row["prompts"] == len(PROMPTS)
    assert rows[2]["ranker"] == "constraints, then likelihood"
    assert "previous" not in metrics[1]["win_rate"]["likelihood"] and "previous" not in metrics[0]["win_rate"]["pairrm"]


def test_a_frequency_penalty_is_every_models_and_greedy_answers_have_it_too(
    policies: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    write_prompts(Path("eval.parquet"))
    given: dict[float, dict[tuple[int, float], list[str]]] = {}
    for penalty in (0.0, 2.0):
        asked = {"eval": {"temperatures": [1.0, 0.0], "frequency_penalty": penalty}}
        for n in (0, 1):
            assert run(n, policies[0], policies[n], asked)["frequency_penalty"] == penalty
            answers = {(n, key[0]): [row["responses"][0] for row in own] for key, own in stored(tmp_path, n).items()}
            given.setdefault(penalty, {}).update(answers)
    assert len(given[0.0]) == 4
    for setting, plain in given[0.0].items():
        assert given[2.0][setting] != plain
        repeated = [sum(len(text) - len(set(text)) for text in own) for own in (plain, given[2.0][setting])]
        assert repeated[1] < repeated[0]


def test_iteration_0_ties_with_itself_but_its_best_of_several_does_not(chain: tuple[Path, Metrics]) -> None:
    plain, warm, best = [chain[1][0], *chain[1][0]["further"]]
    for row in (plain, warm):
        assert {judge: rate["ties"] for judge, rate in row["win_rate"].items()} == {"likelihood": 8, "pairrm": 8}
    assert best["win_rate"]["likelihood"]["ties"] < len(PROMPTS)


def test_a_judge_that_compares_sees_both_orders_and_judges_agree_or_not(chain: tuple[Path, Metrics]) -> None:
    metrics = chain[1][2]
    assert {judge: rate["orders"] for judge, rate in metrics["win_rate"].items()} == {"likelihood": 1, "pairrm": 2}
    assert {judge: rate["teacher"] for judge, rate in metrics["win_rate"].items()} == {
        "likelihood": True,
        "pairrm": False,
    }
    [both] = metrics["agreement"]
    assert both["judges"] == ["likelihood", "pairrm"] and 0 <= both["prompts"] <= len(PROMPTS)


def test_judgements_hold_means_over_samples_and_outputs_the_first(chain: tuple[Path, Metrics]) -> None:
    folder = chain[0]
    base, own = (stored(folder, n)[1.0, 1] for n in (0, 2))
    outputs, judgements = (
        records.read_json(folder / f"results_2/{name}.json") for name in ("model_outputs", "judgements")
    )
    assert [row["output"] for row in outputs] == [row["responses"][0] for row in own]
    assert list(judgements[0]) == ["prompt_id", "constraints", "passes", "met", "cut_off", "scores", "wins"]
    for row, mine, theirs in zip(judgements, scores(own), scores(base), strict=True):
        assert row["scores"]["likelihood"] == pytest.approx(
            [statistics.fmean(mine), statistics.fmean(theirs)], abs=1e-6
        )
        assert row["wins"]["likelihood"] == share([mine], [theirs])
    cut_off = [row["finish_reasons"][0] == "length" for row in own]
    assert [row["cut_off"] for row in judgements] == cut_off and True in cut_off
    assert isinstance(judgements[0]["passes"], bool) and judgements[1]["passes"] is None
    assert judgements[0]["met"] == [judgements[0]["passes"]] and judgements[1]["met"] is None


def test_instructions_followed_are_compared_at_every_temperature_with_all_samples(
    chain: tuple[Path, Metrics],
) -> None:
    folder, metrics = chain
    base, own = (stored(folder, n) for n in (0, 2))
    rows = [metrics[2], *metrics[2]["further"]]
    for row, key, reference in zip(rows, own, [(1.0, 1), (0.7, 1), (1.0, 1)], strict=True):
        held, before = (
            [holds(json.loads(SHORT), text) for text in answers[0]["responses"]]
            for answers in (own[key], base[reference])
        )
        mine, theirs = statistics.fmean(held), statistics.fmean(before[: len(held)])
        found = row["constraints"]
        assert (found["prompts"], found["pass_rate"]) == (1, pytest.approx(mine, abs=1e-4))
        assert found["gain"] == pytest.approx(mine - theirs, abs=1e-4)
        assert found["by_kind"]["words"] == {"prompts": 1, "pass_rate": round(mine, 4), "base": round(theirs, 4)}
        # "At most one word" is met by length alone.
        assert found["beyond_length"] is None and "like_length" in found
        assert {rate["unconstrained"]["prompts"] for rate in row["win_rate"].values()} == {len(PROMPTS) - 1}
        assert 0 <= row["echoing_share"] <= 1


def test_the_best_of_several_is_the_one_that_the_ranker_likes_best(
    chain: tuple[Path, Metrics], policies: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    write_prompts(Path("eval.parquet"))
    run(0, policies[0], policies[0], {"eval": {"temperatures": [0.7], "samples": 3}})
    candidates = stored(tmp_path, 0)[0.7, 1]
    picked = stored(chain[0], 0)[0.7, 3]
    # The first prompt has a constraint, which comes first.
    for best, row, own in list(zip(picked, candidates, scores(candidates), strict=True))[1:]:
        assert best["responses"] == [row["responses"][own.index(max(own))]]
        assert best["logps"] == [row["logps"][own.index(max(own))]]


def test_more_samples_and_temperatures_leave_the_first_answers_as_they_are(
    chain: tuple[Path, Metrics], policies: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    write_prompts(Path("eval.parquet"))
    run(0, policies[0], policies[0], PLAIN)
    alone = stored(tmp_path, 0)[1.0, 1]
    assert [row["responses"][0] for row in alone] == [row["responses"][0] for row in stored(chain[0], 0)[1.0, 1]]


def test_a_greedy_answer_is_given_once_whatever_the_number_of_samples(
    policies: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    write_prompts(Path("eval.parquet"))
    metrics = run(0, policies[0], policies[0], {"eval": {"temperatures": [1.0, 0.0], "samples": 2}})
    assert (metrics["samples"], metrics["further"][0]["samples"]) == (2, 1)
    assert {len(row["responses"]) for row in stored(tmp_path, 0)[0.0, 1]} == {1}


def test_another_judge_answers_nothing_anew(
    policies: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    write_prompts(Path("eval.parquet"))
    run(0, policies[0], policies[0], PLAIN)

    def refuse(*_: object) -> None:
        raise AssertionError("it answers")

    monkeypatch.setattr(TransformersSampler, "sample", refuse)
    found = run(0, policies[0], policies[0], {"eval": {"judges": ["likelihood", "verifiable"]}})
    assert list(found["win_rate"]) == ["likelihood", "verifiable"]


@pytest.fixture
def judge(tmp_path: Path) -> Iterator[dict[str, Any]]:
    """Parameters of a judge behind a server that prefers whatever it sees first."""
    script = Path(__file__).parents[1] / "rankers" / "judge" / "judge_server.py"
    command = [sys.executable, str(script), str(tmp_path / "log"), "--verdict", "first"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout
        yield {"model": "m", "endpoint": f"http://127.0.0.1:{int(process.stdout.readline())}/v1", "rubric": "pairwise"}
        process.kill()


def test_a_judge_that_favours_a_place_prefers_nobody_and_its_questions_are_counted(
    judge: dict[str, Any], policies: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    write_prompts(Path("eval.parquet"))
    asked = {"judge": judge, "eval": {"judges": ["judge"], "temperatures": [0.0]}}
    metrics = [run(n, policies[0], policy, asked)["win_rate"]["judge"] for n, policy in enumerate(policies)]
    for rate in metrics:
        assert (rate["win_rate"], rate["ties"], rate["orders"]) == (0.5, len(PROMPTS), 2)
    texts = [[row["responses"][0] for row in stored(tmp_path, n)[0.0, 1]] for n in range(3)]
    # Twice about each prompt where answers differ, beside iteration 0; from iteration 2 on beside the one before too.
    different = [
        sum(a != b for a, b in zip(texts[m], texts[n], strict=True)) for m, n in ((0, 0), (0, 1), (0, 2), (1, 2))
    ]
    assert [rate["asked"]["requests"] for rate in metrics] == [
        0,
        2 * different[1],
        2 * (different[2] + different[3]),
    ]
    assert min(different[1:]) > 0


def test_answers_of_before_that_cannot_be_compared_are_refused_by_name(
    policies: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    write_prompts(Path("eval.parquet"))
    base, first, second = policies
    run(0, base, base, PLAIN)
    run(1, base, first, PLAIN)
    whole = records.read(Path("answers_1.parquet"), records.ANSWER)
    answers = Path("answers_2.parquet")

    def said(rows: list[Row], params: dict[str, Any] = PLAIN) -> str:
        records.write(Path("answers_1.parquet"), records.ANSWER, [rows])
        found = invoke(2, base, second, params)
        assert found.exit_code == 1 and not answers.exists()
        return " ".join(found.output.split())

    names = "answers_1.parquet (at temperature 1) and answers_0.parquet (at temperature 1) "
    assert f"{names}answer other prompts: in row 0 " in said(whole[::-1])
    assert f"{names}answer 3 and 4 prompts" in said(whole[:-1])
    warm: dict[str, Any] = {"eval": {"temperatures": [0.7]}}
    assert "answers_0.parquet: holds no answers at temperature 0.7, 1 to a prompt" in said(whole, warm)
    assert "not judged by verifiable" in said(whole, {"eval": {"judges": ["verifiable"]}})
