"""Settings of pairs that change what they should and nothing else."""

import json
import random
from pathlib import Path
from statistics import fmean
from typing import Any

import pytest
from click.testing import CliRunner
from test_pairs import made, row, settled, texts_of

from pairloop import params as parameters
from pairloop.errors import ParameterError
from pairloop.files import records
from pairloop.params import Pair
from stages import pair as verb


def words(count: int) -> str:
    return " ".join(["word"] * count)


def ranked(likes: float, prompts: int = 60, responses: int = 6) -> list[dict[str, Any]]:
    """Prompts with responses of 5 to 60 words, by a ranker that likes each word so much beside chance."""
    draw = random.Random(1)
    lengths = [draw.sample(range(5, 60), responses) for _ in range(prompts)]
    return [
        row([likes * n + draw.gauss(0, 1) for n in own], [words(n) for n in own], str(i))
        for i, own in enumerate(lengths)
    ]


def longer(pairs: list[dict[str, Any]]) -> float:
    """Words of the chosen responses less those of the rejected."""
    return fmean(len(chosen.split()) - len(rejected.split()) for chosen, rejected in map(texts_of, pairs))


@pytest.mark.parametrize("likes", [0.02, 0.1, 2.0])
def test_the_automatic_penalty_makes_chosen_as_long_as_rejected(likes: float) -> None:
    rows = ranked(likes)
    free, held = made(rows, Pair())[0], made(rows, Pair(length_penalty="auto"))[0]
    assert longer(free) > 5
    assert abs(longer(held)) < 1.5 and len(held) == len(free)
    assert settled(rows, Pair(length_penalty="auto")).penalty > 0


def test_a_ranker_that_likes_short_text_gets_a_penalty_below_zero() -> None:
    rows = ranked(-0.1)
    assert longer(made(rows, Pair())[0]) < -5
    assert settled(rows, Pair(length_penalty="auto")).penalty < 0
    assert abs(longer(made(rows, Pair(length_penalty="auto"))[0])) < 1.5


@pytest.mark.parametrize("likes", [0.1, -0.1])
def test_the_penalty_that_was_found_makes_the_same_pairs_when_it_is_set(likes: float) -> None:
    rows = ranked(likes)
    found = settled(rows, Pair(length_penalty="auto")).penalty
    assert made(rows, Pair(length_penalty=found)) == made(rows, Pair(length_penalty="auto"))


def test_no_penalty_is_found_where_none_is_needed_or_none_would_help() -> None:
    even = [row([2.0, 1.0], [words(4), words(3)], "a"), row([2.0, 1.0], [words(3), words(4)], "b")]
    alike = [row([2.0, 1.0], ["four letters", "fourxletters"])]
    for rows in (even, alike, [], [row([1.0, 1.0])]):
        assert settled(rows, Pair(length_penalty="auto")).penalty == 0


def test_lengths_are_balanced_over_the_pairs_that_are_kept() -> None:
    rows, share = ranked(-0.1, 200), 0.3
    held, _ = made(rows, Pair(length_penalty="auto", keep_share=share))
    assert len(held) == 60 and abs(longer(held)) < 0.5
    over_all = settled(rows, Pair(length_penalty="auto")).penalty
    assert abs(longer(made(rows, Pair(length_penalty=over_all, keep_share=share))[0])) > 1


TIED = row([1.0, 3.0, 3.0, 0.0, 2.0, 0.0, 0.0], [words(n) for n in (9, 8, 4, 1, 7, 6, 2)])


def test_ties_go_to_the_shorter_best_and_the_worst_nearest_to_it_in_length() -> None:
    assert texts_of(made([TIED], Pair())[0][0]) == (words(8), words(2))
    assert texts_of(made([TIED], Pair(tie_break="length"))[0][0]) == (words(4), words(6))


def test_ties_of_several_pairs_take_each_response_once() -> None:
    several = Pair(strategy="best_k_worst_k", k=3, tie_break="length")
    assert [texts_of(pair) for pair in made([TIED], several)[0]] == [
        (words(4), words(6)), (words(8), words(2)), (words(7), words(1)),
    ]  # fmt: skip


@pytest.mark.parametrize("strategy", ["best_worst", "best_random", "best_k_worst_k", "mean_minus_sigma"])
def test_breaking_ties_changes_nothing_where_there_are_none(strategy: Any) -> None:
    rows = ranked(0.1)
    assert made(rows, Pair(strategy=strategy)) == made(rows, Pair(strategy=strategy, tie_break="length"))


def test_the_share_with_the_largest_margins_is_kept_and_the_others_are_counted() -> None:
    rows = [row([float(i), 0.0, -1.0], prompt_id=str(i)) for i in range(1, 21)]
    rows += [row([1.0, 1.0], prompt_id="tie")]
    everything, _ = made(rows, Pair())
    kept, reasons = made(rows, Pair(keep_share=0.25))
    assert kept == [pair for pair in everything if int(pair["prompt_id"]) > 15]
    assert reasons == {"tie": "tie"} | {str(i): "keep_share" for i in range(1, 16)}


def test_a_kept_prompt_keeps_all_its_pairs_and_one_prompt_is_always_kept() -> None:
    rows = [row([5.0, 4.0, 2.0, 1.0], prompt_id="a"), row([3.0, 2.5, 2.0, 1.0], prompt_id="b")]
    kept, reasons = made(rows, Pair(strategy="best_k_worst_k", keep_share=0.01))
    assert [pair["prompt_id"] for pair in kept] == ["a", "a"] and reasons == {"b": "keep_share"}


def test_of_equal_margins_the_same_prompts_are_kept_in_any_order() -> None:
    rows = [row([1.0, 0.0], prompt_id=str(i)) for i in range(20)]
    kept = {pair["prompt_id"] for pair in made(rows, Pair(keep_share=0.5))[0]}
    assert len(kept) == 10 and kept == {pair["prompt_id"] for pair in made(rows[::-1], Pair(keep_share=0.5))[0]}


def test_two_sigma_below_the_mean_is_neither_the_worst_nor_an_average_response() -> None:
    scores = [3.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0, -1.5, -9.0, 0.5]  # mean 0, less two deviations: -6.5
    farther = [*scores[:8], -40.0, 0.5]  # mean -3.1, less two deviations: -29.1
    params = Pair(strategy="mean_minus_sigma")
    assert texts_of(made([row(scores)], params)[0][0]) == ("text 0", "text 8")
    even = [float(i) for i in range(40)] + [-60.0]  # mean 17.6, less two deviations: -15.1
    assert texts_of(made([row(even)], params)[0][0]) == ("text 39", "text 0")
    assert texts_of(made([row(farther)], params)[0][0]) == ("text 0", "text 8")
    assert texts_of(made([row([1.0, 1.0, 0.0])], params)[0][0]) == ("text 0", "text 2")


@pytest.mark.parametrize("n", [2, 5, 7])
def test_two_sigma_below_the_mean_is_refused_where_no_response_lies_so_far(n: int) -> None:
    values: dict[str, Any] = {"pair": {"strategy": "mean_minus_sigma"}, "generate": {"n": n}}
    with pytest.raises(ParameterError, match=rf"generate\.n is {n}: .* = {(n - 1) / n**0.5:.2f} standard deviations"):
        parameters.parse(values)
    values["generate"]["n"] = 8
    assert parameters.parse(values).pair.strategy == "mean_minus_sigma"


@pytest.mark.parametrize(
    "change",
    [{"length_penalty": "auto"}, {"tie_break": "length"}, {"keep_share": 0.5}, {"strategy": "mean_minus_sigma"}],
    ids=str,
)
def test_a_setting_changes_pairs_only(change: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    more = {"token_counts": [1] * 24, "ranker": "reward", "comparisons": None}
    rows = [own | more for own in ranked(0.1, responses=24)]
    rows[0]["scores"] = [1.0, 1.0] + [0.0] * 22
    records.write(Path("rankings"), records.RANKING, [rows])
    prompts = [{"prompt_id": own["prompt_id"], "prompt": "q", "source": "s", "constraints": None} for own in rows]
    records.write(Path("prompts"), records.PROMPT, [prompts])
    plain, changed = (_paired(own) for own in ({}, change))
    assert changed["pairs"] != plain["pairs"]
    assert len({pair["prompt_id"] for pair in changed["pairs"]}) == (30 if "keep_share" in change else 60)
    for name in ("rows_in", "uncontrolled_length_correlation"):
        assert changed["metrics"][name] == plain["metrics"][name]
    assert changed["metrics"]["dropped"] == ({"keep_share": 30} if "keep_share" in change else {})
    assert (changed["metrics"]["length_penalty"] != 0) == (change == {"length_penalty": "auto"})


def _paired(change: dict[str, Any]) -> dict[str, Any]:
    """What the verb writes."""
    Path("params.yaml").write_text(json.dumps({"generate": {"n": 8}, "pair": change}))
    outs = ["train", "test", "pair.json", "samples.json"]
    found = CliRunner().invoke(verb.main, ["--iteration", "1", "prompts", "rankings", *outs])
    assert found.exit_code == 0, found.output
    pairs = records.read(Path("train"), records.PAIR) + records.read(Path("test"), records.PAIR)
    return {"pairs": pairs, "metrics": json.loads(Path("pair.json").read_text())}
