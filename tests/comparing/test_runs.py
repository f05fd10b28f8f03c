"""Two runs side by side: differences prompt by prompt, and what cannot be compared."""

from typing import Any

import pytest

from pairloop.comparing import page, runs
from pairloop.comparing.runs import Model, Run
from pairloop.errors import DataError


def model(scores: list[tuple[float, float]], texts: list[str], passes: list[bool | None] | None = None) -> Model:
    held = passes or [None] * len(texts)
    rows = [
        {"prompt_id": f"p{i}", "constraints": None, "passes": held[i], "scores": {"likelihood": list(pair)}}
        for i, pair in enumerate(scores)
    ]
    return Model(rows, [{"instruction": f"Prompt {i}", "output": text} for i, text in enumerate(texts)])


def run(name: str, scores: list[float], texts: list[str], passes: list[bool | None] | None = None, **other: Any) -> Run:
    """A run of one iteration whose base scores 0 with the answer `base`."""
    base = model([(0.0, 0.0)] * len(texts), ["base"] * len(texts), passes and [False] * len(texts))
    own = model([(score, 0.0) for score in scores], texts, passes)
    return Run(name, {"train": {"beta": 0.1}, "iterations": 1} | other, [base, own])


def by_name(first: Run, second: Run) -> dict[str, runs.Difference]:
    return {found.name: found for found in runs.differences(first, second, 1, 500, 0)}


def test_differences_are_paired_prompt_by_prompt() -> None:
    first = run("a", [1, 1, -1, 0], ["one", "one two", "one", "one"], [True, False, False, True])
    second = run("b", [1, -1, 1, 1], ["one two", "one", "one", ""], [True, True, None, True])
    found = by_name(first, second)
    wins = found["win rate, likelihood"]
    assert (wins.first, wins.second, wins.change.value) == (0.625, 0.75, 0.125)
    assert (found["words"].first, found["words"].second) == (1.25, 1.0)
    held = found["constraints met"]
    assert (held.prompts, held.first, held.second) == (3, pytest.approx(2 / 3), 1.0)
    assert found["empty"].second == 0.25


def test_the_same_change_on_every_prompt_is_certain_and_no_change_is_none() -> None:
    same, other = run("a", [1.0] * 40, ["one two"] * 40), run("b", [-1.0] * 40, ["one two"] * 40)
    found = by_name(same, other)
    wins, words = found["win rate, likelihood"], found["words"]
    assert (wins.change.low, wins.change.high, wins.shown) == (-1.0, -1.0, True)
    assert (words.change.value, words.shown) == (0.0, False)
    assert page.verdict(wins) == "lower" and page.verdict(words) == "no change shown"


def test_below_thirty_prompts_the_page_cannot_tell() -> None:
    found = by_name(run("a", [1.0] * 29, ["x"] * 29), run("b", [-1.0] * 29, ["x"] * 29))
    assert found["win rate, likelihood"].shown is None
    assert "cannot tell: 29" in page.verdict(found["win rate, likelihood"])


def test_prompts_are_matched_by_their_id_and_not_by_their_place() -> None:
    first, second = run("a", [1, -1, 1], ["x", "y", "z"]), run("b", [1, -1, 1], ["x", "y", "z"])
    turned = Run("b", second.parameters, [Model(m.judgements[::-1], m.outputs[::-1]) for m in second.models])
    assert [row.answers for row in runs.answered(first, turned, 1)] == [("x", "x"), ("y", "y"), ("z", "z")]
    fewer = Run("b", second.parameters, [Model(m.judgements[1:], m.outputs[1:]) for m in second.models])
    assert [row.prompt for row in runs.answered(first, fewer, 1)] == ["Prompt 1", "Prompt 2"]


def test_answers_are_judged_against_each_other_only_by_one_judge() -> None:
    first, second = run("a", [1.0, 2.0, 3.0, 4.0], ["x"] * 4), run("b", [2.0, 3.0, 1.0, 5.0], ["x"] * 4)
    assert runs.against_each_other(first, second, 1, 500, 0)["likelihood"].value == 0.75
    for row in second.models[1].judgements:
        row["scores"]["likelihood"][1] = 0.5  # another judge: it scores the base's answers otherwise
    assert not runs.against_each_other(first, second, 1, 500, 0)


def test_a_judge_counts_on_the_prompts_whose_answers_it_compared_in_both_runs() -> None:
    first, second = run("a", [1.0, -1.0, 1.0], ["x"] * 3), run("b", [-1.0, 1.0, 1.0], ["x"] * 3)
    for model_of in second.models:
        model_of.judgements[0]["scores"].clear()
    assert [row.wins for row in runs.answered(first, second, 1)] == [
        {},
        {"likelihood": (0.0, 1.0)},
        {"likelihood": (1.0, 1.0)},
    ]
    found = by_name(first, second)
    assert found["win rate, likelihood"].prompts == 2 and found["words"].prompts == 3
    assert found["win rate, likelihood"].change.value == 0.5
    assert runs.against_each_other(first, second, 1, 500, 0)["likelihood"].value == 0.75


def test_settings_that_differ_are_named_and_those_that_a_run_lacks_are_none() -> None:
    first, second = run("a", [1], ["x"], seed=0), run("b", [1], ["x"], train={"beta": 0.2, "loss": None})
    assert runs.settings(first, second) == [
        ("train.beta", "0.1", "0.2"),
        ("seed", "0", None),
        ("train.loss", None, "null"),
    ]


def test_what_cannot_be_compared_is_said() -> None:
    first, second = run("a", [1], ["x"]), run("b", [1], ["x"])
    for found in second.models:
        found.judgements[0]["prompt_id"] = "another"
    with pytest.raises(DataError, match="a and b have no held-out prompt in common"):
        runs.answered(first, second, 1)
    torn = Run("c", {}, [second.models[0], Model(second.models[1].judgements, [])])
    with pytest.raises(DataError, match=r"c: iteration 1 has 0 answers .* and 1 rows"):
        runs.answered(first, torn, 1)


def test_the_page_escapes_what_models_write_and_runs_nothing() -> None:
    first, second = run("<b>a</b>", [1], ["<script>alert(1)</script>"]), run("b", [0], ["\x1b[31m plain"])
    compared = page.Compared(
        first,
        second,
        runs.settings(first, second),
        {1: runs.differences(first, second, 1, 500, 0)},
        {1: runs.against_each_other(first, second, 1, 500, 0)},
        runs.answered(first, second, 1),
    )
    html = page.render(compared)
    assert "<script" not in html and "&lt;script&gt;alert(1)" in html and "\x1b" not in html
    assert "&lt;b&gt;a&lt;/b&gt;" in html and "likelihood: better than the base" in html
    assert "likelihood: as good as the base" in html and "default-src 'none'" in html
