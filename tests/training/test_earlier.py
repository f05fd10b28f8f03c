"""Training on pairs of the iterations before: all of them, or a share."""

import math
import subprocess
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from conftest import ROOT
from omegaconf import OmegaConf
from test_dpo import changed, make_job, pair

from pairloop.errors import TrainingError
from pairloop.files import records
from pairloop.training import earlier
from stages import train
from stages.earlier import main
from stages.schedule import composed

CURRENT = [pair(number) for number in range(200, 206)]


def whole(row: dict[str, Any]) -> dict[str, Any]:
    return row | {"all_generated_responses": ["a", "b"], "all_rm_scores": [1.0, 0.0]}


def before(count: int, iteration: int = 1) -> list[dict[str, Any]]:
    return earlier.rows(iteration, [pair(100 * iteration + number) for number in range(count)], {})


def replayed(found: list[dict[str, Any]], share: float = 0.5, seed: int = 0, iteration: int = 3) -> list[str]:
    chosen = earlier.choose(CURRENT, found, changed(data="replay", replay_share=share), seed, iteration)
    return [row["prompt"] for row in chosen]


def test_tokens_and_log_probabilities_of_the_pairs_are_found_in_one_pass(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    row = {"prompt_id": "0", "prompt": "?", "responses": ["a", "b", "a"], "finish_reasons": ["stop"] * 3}
    row |= {"token_counts": [1] * 3, "token_ids": [[1], [2], [3]], "logps": [[-0.5], [-1.5], [-2.5]]}
    without = row | {"prompt_id": "1", "logps": None}
    records.write(tmp_path / "responses.parquet", records.RESPONSE, [[row, without]])
    passes: list[Path] = []
    stream = records.stream
    monkeypatch.setattr(records, "stream", lambda path, *rest: passes.append(path) or stream(path, *rest))
    pairs = [{"prompt_id": n, **{side: [{"content": "a"}] for side in records.SIDES}} for n in "01"]
    tokens, logps = earlier.sampled(tmp_path / "responses.parquet", pairs)
    assert len(passes) == 1
    assert {key: list(ids) for key, ids in tokens.items()} == {("0", "a"): [1], ("1", "a"): [1]}
    assert {key: list(numbers) for key, numbers in logps.items()} == {("0", "a"): [-0.5]}


def test_without_a_commit_the_stage_says_to_make_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from dvc.repo import Repo

    monkeypatch.chdir(tmp_path)
    subprocess.run(["git", "init", "-q"], check=True)
    Repo.init().close()
    with pytest.raises(TrainingError, match=r"Empty git repo\. Commit first"):
        train._curves(tmp_path / "training")


def test_the_current_data_are_the_iterations_own_and_accumulated_ones_are_all() -> None:
    found = before(4)
    assert earlier.choose(CURRENT, found, changed(), 0, 2) == []
    assert earlier.choose(CURRENT, found, changed(data="accumulated"), 0, 2) == found


@pytest.mark.parametrize(("share", "count"), [(0.5, 6), (0.25, 2), (0.75, 18), (0.95, 20)])
def test_the_share_is_of_all_pairs_as_far_as_there_are_enough(share: float, count: int) -> None:
    assert len(replayed(before(20), share)) == count


def test_which_pairs_are_replayed_follows_from_seed_iteration_and_prompt_alone() -> None:
    found = before(20)
    chosen = replayed(found)
    assert sorted(replayed(found[::-1])) == sorted(chosen)
    assert len(set(chosen) & set(replayed([*found, *before(1, 2)]))) >= len(chosen) - 1
    assert set(replayed(found, seed=1)) != set(chosen) != set(replayed(found, iteration=2))


def write_iteration(folder: Path, number: int, rows: list[dict[str, Any]]) -> list[str]:
    """An iteration's split and its responses, of which the first pair's have tokens; the files' names."""
    answer = rows[0]["chosen"][1]["content"]
    response = {"prompt_id": rows[0]["prompt_id"], "prompt": rows[0]["prompt"], "responses": [answer]}
    response |= {"finish_reasons": ["stop"], "token_counts": [2], "token_ids": [[7, number]], "logps": None}
    responses, split = folder / f"responses_{number}.parquet", folder / f"train_{number}.parquet"
    records.write(responses, records.RESPONSE, [[response]])
    records.write(split, records.PAIR, [list(map(whole, rows))])
    return [str(responses), str(split)]


def test_each_iteration_hands_on_its_pairs_with_those_before_it_and_their_tokens(tmp_path: Path) -> None:
    first, second = [pair(1), pair(2)], [pair(11)]
    two, three = tmp_path / "2.parquet", tmp_path / "3.parquet"
    files = write_iteration(tmp_path, 1, first), write_iteration(tmp_path, 2, second)
    for arguments in (
        ["--iteration", "2", "conf/no_file", *files[0], str(two)],
        ["--iteration", "3", str(two), *files[1], str(three)],
    ):
        assert CliRunner().invoke(main, arguments, catch_exceptions=False).exit_code == 0
    found = records.read(three, records.EARLIER)
    assert [(row["iteration"], row["prompt"]) for row in found] == [
        (1, "Question 1?"),
        (1, "Question 2?"),
        (2, "Question 11?"),
    ]
    assert [(row["chosen_ids"], row["rejected_ids"]) for row in found] == [([7, 1], None), (None, None), ([7, 2], None)]
    assert earlier.known(found) == {
        (row["prompt_id"], row["chosen"][1]["content"]): ids for row, ids in ((first[0], [7, 1]), (second[0], [7, 2]))
    }


@pytest.mark.parametrize(
    ("values", "counts"),
    [
        ({}, {"3": 6}),
        ({"data": "accumulated"}, {"1": 20, "2": 5, "3": 6}),
        ({"data": "replay", "replay_share": 0.25}, {"3": 6}),
    ],
)
def test_the_verb_adds_them_to_the_job_and_counts_them_by_origin(
    values: dict[str, Any], counts: dict[str, int], tmp_path: Path
) -> None:
    path = tmp_path / "earlier.parquet"
    found = [*before(20), *before(5, 2)]
    found[0]["chosen_ids"] = [5, 6]
    records.write(path, records.EARLIER, [found])
    job = make_job(tmp_path, changed(**values), iteration=3, pairs=CURRENT)
    own, said = train._with_earlier(job, path)
    assert Counter({"3": 6}) <= Counter(said) and len(own.pairs) == sum(said.values())
    if values.get("data") == "replay":
        assert sum(said.values()) == 8
    else:
        assert said == counts
    key = (found[0]["prompt_id"], found[0]["chosen"][1]["content"])
    assert (own.sampled.get(key) == [5, 6]) == (found[0]["prompt"] in {row["prompt"] for row in own.pairs})
    assert ("earlier" in own.splits) == bool(values)


def test_the_probabilities_to_win_are_those_of_the_rankings(tmp_path: Path) -> None:
    row = pair(1)
    ranked = {"prompt_id": row["prompt_id"], "prompt": row["prompt"], "responses": ["a", "b", "a"]}
    ranked |= {"finish_reasons": ["stop"] * 3, "token_counts": [1] * 3, "scores": [1.0, 0.0, 1.0]}
    ranked |= {"ranker": "specialist", "comparisons": None}
    records.write(tmp_path / "rankings.parquet", records.RANKING, [[ranked, ranked | {"prompt_id": "another"}]])
    found = train._wins(tmp_path / "rankings.parquet", {row["prompt_id"]})
    sure = 1 / (1 + math.exp(-1))
    assert found == {
        (row["prompt_id"], "a"): pytest.approx((0.5 + sure + 0.5) / 3),
        (row["prompt_id"], "b"): pytest.approx((2 * (1 - sure) + 0.5) / 3),
    }


def schedule(*changes: str) -> dict[str, Any]:
    found: Any = OmegaConf.to_container(composed(changes))
    return found["schedule"]


def test_dvc_has_the_stage_and_the_dependency_only_where_they_are_used(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    assert schedule()["earlier"] == {}
    assert {own["earlier"] for own in schedule()["iterations"].values()} == {"conf/no_file"}
    found = schedule("train.data=accumulated")
    assert [own["earlier"] for own in found["iterations"].values()] == [
        "conf/no_file",
        "data/iteration_2/earlier.parquet",
        "data/iteration_3/earlier.parquet",
    ]
    assert found["earlier"]["3"] == {
        "previous": 2,
        "before": "data/iteration_2/earlier.parquet",
        "responses": "data/iteration_2/responses.parquet",
    }
    assert {own["wins"] for own in found["iterations"].values()} == {"conf/no_file"}
    soft = schedule("train.loss=[sppo_soft]")["iterations"]
    assert soft["2"]["wins"] == "data/iteration_2/rankings.parquet"
    only = schedule("++overrides.3.train.data=replay")
    assert list(only["earlier"]) == ["2", "3"]  # the second hands on to the third
    assert [own["earlier"] for own in only["iterations"].values()][:2] == ["conf/no_file"] * 2
