"""Scores to pairs."""

from typing import Any

import pytest

from pairloop.pairing import choosing, pairs, rules, summary
from pairloop.params import Pair


def made(ranked: list[dict[str, Any]], params: Pair, iteration: int = 1) -> tuple[list[dict[str, Any]], dict[str, str]]:
    """The pairs of an iteration, and why a prompt gave none."""
    return pairs.pair(ranked, settled(ranked, params, iteration))


def settled(ranked: list[dict[str, Any]], params: Pair, iteration: int = 1) -> rules.Rule:
    return rules.settle(params, 0, iteration, {own["prompt_id"]: choosing.seen(own) for own in ranked})


def row(
    scores: list[float], texts: list[str] | None = None, prompt_id: str = "a", cut: tuple[int, ...] = ()
) -> dict[str, Any]:
    texts = texts or [f"text {i}" for i in range(len(scores))]
    reasons = ["length" if i in cut else "stop" for i in range(len(scores))]
    return {"prompt_id": prompt_id, "prompt": "q", "responses": texts, "finish_reasons": reasons, "scores": scores}


def texts_of(pair: dict[str, Any]) -> tuple[str, str]:
    return pair["chosen"][1]["content"], pair["rejected"][1]["content"]


def test_the_best_is_chosen_and_the_worst_rejected() -> None:
    found, reasons = made([row([1.0, 3.0, -2.0, 0.0])], Pair())
    assert texts_of(found[0]) == ("text 1", "text 2")
    assert found[0]["chosen"][0] == {"content": "q", "role": "user"}
    assert found[0]["all_rm_scores"] == [1.0, 3.0, -2.0, 0.0]
    assert reasons == {}


@pytest.mark.parametrize(
    ("bad", "params", "reason"),
    [
        (row([1.0, 1.0]), Pair(), "tie"),
        (row([1.0, 1.0], ["same", "same"]), Pair(), "identical"),
        (row([1.0, 2.0], ["", " \n"]), Pair(), "empty"),
        (row([1.0, 2.0, 3.0], ["", "x", ""]), Pair(), "empty"),
        (row([1.0, 1.2]), Pair(min_margin=0.5), "min_margin"),
        (row([1.0, 2.0], ["two words", "no less than five words"]), Pair(max_length_ratio=2.0), "max_length_ratio"),
        (row([2.0, 1.0], ["two words", "no less than five words"]), Pair(max_length_ratio=2.0), "max_length_ratio"),
        (row([2.0, 1.0], ["雨が降る。" * 50, "雨が降る。"]), Pair(max_length_ratio=2.0), "max_length_ratio"),
        (row([1.0, 2.0, 3.0], cut=(1, 2)), Pair(drop_truncated=True), "truncated"),
        (row([1.0, 0.0], ["garden", "no such word"]), Pair(fewest_words=2), "fewest_words"),
        (row([1.0, 0.0], ["", "no such word"]), Pair(fewest_words=2), "empty"),
    ],
)
def test_a_prompt_that_gives_no_pair_is_counted_with_its_reason(bad: Any, params: Pair, reason: str) -> None:
    found, reasons = made([bad, row([1.0, 2.0], prompt_id="b")], params)
    assert reasons == {"a": reason}
    assert [pair["prompt_id"] for pair in found] == ["b"]


def test_truncated_responses_can_be_left_out() -> None:
    ranked = [row([3.0, 2.0, 1.0], cut=(0,))]
    assert texts_of(made(ranked, Pair())[0][0]) == ("text 0", "text 2")
    assert texts_of(made(ranked, Pair(drop_truncated=True))[0][0]) == ("text 1", "text 2")


def test_a_length_penalty_prefers_the_shorter_of_near_equals() -> None:
    ranked = [row([1.0, 1.1, 0.0], ["short", "long " * 40, "middle " * 5])]
    assert texts_of(made(ranked, Pair())[0][0])[0].startswith("long")
    assert texts_of(made(ranked, Pair(length_penalty=0.5))[0][0])[0] == "short"


def test_pairs_of_like_length_pass_the_length_limit() -> None:
    ranked = [row([1.0, 2.0], ["two words", "here are four words"])]
    assert len(made(ranked, Pair(max_length_ratio=2.0))[0]) == 1


def test_best_k_worst_k_pairs_without_overlap() -> None:
    found, _ = made([row([5.0, 4.0, 3.0, 2.0, 1.0])], Pair(strategy="best_k_worst_k", k=2))
    assert [texts_of(pair) for pair in found] == [("text 0", "text 4"), ("text 1", "text 3")]


KS = Pair(strategy="best_k_worst_k", k=3, drop_truncated="chosen")
"""As a program's verdicts are learnt from, where the model shall learn to end too."""


def indices(ranked: dict[str, Any], params: Pair) -> list[tuple[int, int]]:
    """Of each pair the places of the two texts, which are numbered as `row` does it."""
    return [(int(c[5:]), int(r[5:])) for c, r in map(texts_of, made([ranked], params)[0])]


@pytest.mark.parametrize(
    ("scores", "cut", "expected"),
    [
        # Three pass: each once, with the worst from the last up.
        ([1, 1, 1, 0, 0, 0, 0, 0], (), [(0, 7), (1, 6), (2, 5)]),
        # Fewer pass, or fewer fail, than pairs are wanted.
        ([1, 1, 0, 0, 0, 0, 0, 0], (), [(0, 7), (1, 6)]),
        ([1, 1, 1, 1, 1, 1, 0, 0], (), [(0, 7), (1, 6)]),
        # What passes but was cut off is neither chosen, nor rejected against what passes.
        ([1, 1, 1, 1, 0, 0, 0, 0], (0, 2), [(1, 7), (3, 6)]),
        ([1, 1, 1, 1, 1, 1, 0, 1], (0, 7), [(1, 6)]),
        # What fails is rejected, whether it was cut off or not.
        ([1, 1, 0, 0, 0, 0, 0, 0], (6, 7), [(0, 7), (1, 6)]),
        # Shares between: a cut-off response above a finished one changes nothing.
        ([1, 0.5, 0.5, 0, 0, 0, 0, 0], (0,), [(1, 7), (2, 6)]),
        ([1, 0.5, 0.5, 0, 0, 0, 0, 0], (), [(0, 7), (1, 6), (2, 5)]),
        # The best that ended beats the worst, but nothing else.
        ([1, 1, 0.5, 0.5, 0, 0.5, 0.5, 1], (0, 1, 7), [(2, 4)]),
    ],
)
def test_of_the_k_best_only_those_that_ended_are_chosen(
    scores: list[float], cut: tuple[int, ...], expected: list[tuple[int, int]]
) -> None:
    assert indices(row(scores, cut=cut), KS) == expected


def test_a_text_that_was_sampled_twice_is_in_one_pair() -> None:
    texts = [f"text {n}" for n in (0, 0, 2, 3, 4, 4, 4, 7)]
    assert indices(row([1, 1, 1, 0, 0, 0, 0, 0], texts), KS) == [(0, 7), (2, 4)]
    # Rankers that sum floats in batches may score a text twice a little differently.
    assert indices(row([1, 0.9, 0.5, 0.1, 0.05, 0.05, 0.01, 0], texts), KS) == [(0, 7), (2, 4)]


@pytest.mark.parametrize("strategy", ["best_worst", "best_random", "best_k_worst_k", "mean_minus_sigma"])
def test_no_strategy_chooses_a_response_that_was_cut_off_where_those_may_only_be_rejected(strategy: Any) -> None:
    params = Pair(strategy=strategy, drop_truncated="chosen")
    [(chosen, rejected), *_] = indices(row([3.0, 2.0, 1.0, 0.0], cut=(0, 2, 3)), params)
    assert chosen == 1 and rejected in (2, 3)
    for cut in ((0, 1, 2), (0, 1, 2, 3)):
        assert made([row([3.0, 2.0, 1.0, 0.0], cut=cut)], params) == ([], {"a": "truncated"})
    assert made([row([1.0, 1.0], cut=(0,))], params) == ([], {"a": "tie"})


@pytest.mark.parametrize("strategy", ["best_worst", "best_random", "best_k_worst_k"])
def test_no_strategy_pairs_what_has_too_few_words(strategy: Any) -> None:
    texts = ["garden", "the garden in May", "a house with a door", "none"]
    ranked = [row([3.0, 2.0, 1.0, 0.0], texts)]
    found = made(ranked, Pair(strategy=strategy, fewest_words=4))[0]
    assert [texts_of(pair) for pair in found] == [("the garden in May", "a house with a door")]
    assert texts_of(made(ranked, Pair(strategy=strategy, fewest_words=1))[0][0])[0] == "garden"


def test_best_random_is_drawn_from_seed_iteration_and_prompt_only() -> None:
    ranked = [row([5.0, 1.0, 2.0, 3.0], prompt_id=str(i)) for i in range(40)]
    params = Pair(strategy="best_random")
    first = [texts_of(pair) for pair in made(ranked, params)[0]]
    assert first == [texts_of(pair) for pair in made(list(reversed(ranked)), params)[0]][::-1]
    assert first != [texts_of(pair) for pair in made(ranked, params, 2)[0]]
    assert {chosen for chosen, _ in first} == {"text 0"} and len({rejected for _, rejected in first}) == 3


def test_test_prompts_do_not_depend_on_order_and_differ_with_the_seed() -> None:
    ids = [str(i) for i in range(20)]
    test = pairs.test_prompts(ids, 0.1, seed=0)
    assert len(test) == 2 and test < set(ids)
    assert pairs.test_prompts(ids[::-1], 0.1, seed=0) == test
    assert pairs.test_prompts(ids, 0.1, seed=1) != test


def test_two_prompts_are_enough_for_a_test_prompt_and_one_is_not() -> None:
    assert len(pairs.test_prompts("ab", 0.01, seed=0)) == 1
    assert pairs.test_prompts("a", 0.5, seed=0) == set()


def figures(ranked: list[Any], params: Pair) -> dict[str, float | None]:
    """The summary of ranked rows that come one at a time."""
    seen = summary.Summary(settled(ranked, params), settled(ranked, summary.uncontrolled(params)))
    for one in ranked:
        seen.add([one], made([one], params)[0])
    return seen.result()


def test_the_summary_is_about_pairs() -> None:
    found = figures([row([1.0, 3.0], ["one", "two words"]), row([1.0, 2.0], ["one", "now four words here"])], Pair())
    assert {name: found[name] for name in ("mean_margin", "chosen_words", "rejected_words")} == {
        **{"mean_margin": 1.5, "chosen_words": 3.0, "rejected_words": 1.0}
    }
    assert found["chosen_refusals"] == found["rejected_refusals"] == 0.0
    assert figures([row([1.0, 1.0])], Pair())["mean_margin"] == 0.0


def test_length_control_is_shown_beside_what_pairs_would_be_without_it() -> None:
    ranked = [row([1.0, 1.1, 0.0], ["short text", "long " * 40, "middle " * 5])]
    free = figures(ranked, Pair())
    held = figures(ranked, Pair(length_penalty=2.0))
    assert free["length_correlation"] == free["uncontrolled_length_correlation"] == 0.5
    assert held["length_correlation"] == -1.0
    assert held["uncontrolled_length_correlation"] == 0.5
    assert held["uncontrolled_chosen_words"] == 40
    assert figures(ranked, Pair(max_length_ratio=2.0))["uncontrolled_pairs"] == 1
