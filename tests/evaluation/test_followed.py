"""More instructions followed, and whether the answers' length explains it."""

import json
from typing import Any

import pytest

from pairloop.evaluation import comparison, followed
from pairloop.evaluation.followed import apart_from_length, by_kind, met

LOWER = {"kind": "case", "case": "lower"}
SHORT = {"kind": "words", "max": 3}
BULLETS = {"kind": "bullets", "max": 2}
LONG = "a long answer that goes on for ten words now"


def row(rules: list[dict[str, Any]] | None, *texts: str, prompt: str = "What?") -> dict[str, Any]:
    return {"prompt": prompt, "constraints": json.dumps(rules) if rules else None, "responses": list(texts)}


def test_where_length_cannot_help_only_prompts_count_of_which_no_constraint_is_met_by_length() -> None:
    rules = [[LOWER], [SHORT], [LOWER, SHORT], [BULLETS], None]
    own = [row(rule, "yes it is") for rule in rules]
    base = [row(rule, "Yes It Is, and I would say so at any time.") for rule in rules]
    found = apart_from_length(own, base, 200, 0)["beyond_length"]
    assert (found["prompts"], found["pass_rate"], found["gain"]) == (1, 1.0, 1.0)
    assert apart_from_length(own[1:], base[1:], 200, 0)["beyond_length"] is None


def test_a_model_that_only_gets_shorter_gains_nothing_at_like_length() -> None:
    base = [row([SHORT], LONG if i % 2 else "so it is") for i in range(40)]
    own = [row([SHORT], "so it was") for _ in range(40)]
    whole = comparison.constraint_rate(comparison.passes(own), comparison.passes(base), 200, 0)
    alike = apart_from_length(own, base, 200, 0)["like_length"]
    assert whole is not None and whole["gain"] == 0.5
    assert (alike["prompts"], alike["gain"], alike["gain_high"]) == (20, 0.0, 0.0)


def test_a_gain_at_like_length_has_an_interval_over_prompts() -> None:
    base = [row([LOWER], "This Is Not") for _ in range(40)]
    own = [row([LOWER], "this is it" if i % 2 else "This Is It") for i in range(40)]
    alike = apart_from_length(own, base, 500, 0)["like_length"]
    assert alike["gain"] == 0.5 and 0.3 < alike["gain_low"] < 0.5 < alike["gain_high"] < 0.7
    assert alike["ratio"] == followed.MOST_RATIO and alike["few"] is False


@pytest.mark.parametrize(("words", "counts"), [(4, True), (5, True), (6, False), (3, False)])
def test_like_length_is_a_ratio_of_words(words: int, counts: bool) -> None:
    found = apart_from_length([row([LOWER], "word " * words)], [row([LOWER], "word " * 4)], 10, 0)
    assert (found["like_length"] is not None) is counts


def test_answers_that_loop_or_are_next_to_nothing_are_no_full_ones() -> None:
    garden = {"kind": "includes", "text": "garden"}
    own = [
        row([garden], "garden"),
        row([garden], "We met in the garden."),
        row([garden, {"kind": "words", "max": 8}], "A green garden"),
        row([{"kind": "choice", "options": ["garden", "house"]}], "garden"),
        row([garden], "1. a garden with a gate\n2. a garden with a gate"),
        row(None, "house"),
    ]
    base = [row(json.loads(one["constraints"] or "null"), "A house with some trees") for one in own]
    found = apart_from_length(own, base, 200, 0)["in_full"]
    assert (found["prompts"], found["pass_rate"], found["gain"]) == (5, 0.6, 0.6)
    assert apart_from_length(base, own, 200, 0)["in_full"]["gain"] == -0.6
    assert apart_from_length(own[5:], base[5:], 200, 0)["in_full"] is None


def test_of_several_answers_those_are_paired_that_have_the_same_number_and_a_prompt_counts_once() -> None:
    own = [row([LOWER], "one two", "one two", LONG), row([LOWER], "one", "one", "one")]
    base = [row([LOWER], "One two", LONG, LONG.title(), "not compared"), row([LOWER], LONG, LONG, LONG, "one")]
    found = apart_from_length(own, base, 200, 0)
    # The first prompt's first and third pairs are of like length, and both gain; the second prompt has none.
    assert (found["like_length"]["prompts"], found["like_length"]["gain"]) == (1, 1.0)
    assert (found["beyond_length"]["prompts"], found["beyond_length"]["pass_rate"]) == (2, 1.0)
    assert found["beyond_length"]["gain"] == pytest.approx((2 / 3 + 0) / 2)


def test_each_kind_has_its_own_rates_and_another_kind_of_the_same_prompt_does_not_count() -> None:
    own = [row([LOWER, SHORT], "yes", LONG), row([SHORT], "no", "no"), row(None, "so", "so")]
    base = [row([LOWER, SHORT], "Yes", "Yes", "yes"), row([SHORT], LONG, "no", "no"), row(None, "so", "so")]
    assert by_kind(own, base) == {
        "words": {"prompts": 2, "pass_rate": 0.75, "base": 0.75},
        "case": {"prompts": 1, "pass_rate": 1.0, "base": 0.0},
    }


def test_each_constraint_is_judged_by_itself() -> None:
    assert met(row([LOWER, SHORT, BULLETS], "Yes it is", "not asked")) == [False, True, True]
    assert met(row(None, "Yes")) is None


def test_the_win_rate_without_constraints_leaves_out_the_others() -> None:
    wins = [[1.0, 0.5], [0.0, 0.0], [0.0, 1.0]]
    rows = [row(None, "a", "b"), row([LOWER], "a", "b"), row(None, "a", "b")]
    found = comparison.unconstrained(wins, rows, 200, 0)
    assert found is not None and (found["prompts"], found["win_rate"]) == (2, 0.625)
    assert found["low"] <= 0.625 <= found["high"]
    assert comparison.unconstrained(wins[1:2], rows[1:2], 200, 0) is None
