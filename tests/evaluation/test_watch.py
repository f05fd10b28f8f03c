"""What gets worse is measured against iteration 0, and alarms."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from pairloop.errors import DataError
from pairloop.evaluation import alarms, benign, changes, watch
from pairloop.evaluation.changes import Change
from pairloop.evaluation.watch import Resampling, Seen
from pairloop.measures.statistics import Estimate
from pairloop.measures.texts import refuses
from pairloop.params import Watch
from pairloop.prompts import sources

ROOT = Path(__file__).parents[2]
HOW = Resampling(500, 0)
ONE_WORD = json.dumps([{"kind": "words", "max": 1}])


def rows(*texts: str, constraints: str | None = None, cut: Sequence[int] = ()) -> list[dict[str, Any]]:
    """A prompt with one answer for each text."""
    return [
        {
            "prompt": f"Say something, number {number}.",
            "constraints": constraints,
            "responses": [text],
            "finish_reasons": ["length" if number in cut else "stop"],
            "token_counts": [len(text.split()) + 1],
            "token_logps": None,
        }
        for number, text in enumerate(texts)
    ]


def measured(own: Seen, base: Seen | None, params: Watch | None = None) -> Any:
    return watch.measured(own, base, params or Watch(), HOW)


def test_iteration_0_has_values_and_no_change() -> None:
    answers = rows("yes", "no way", constraints=ONE_WORD, cut=[1])
    found = measured(Seen(answers, [False, True, False, False]), None)
    values = {name: one["value"] for name, one in found["measures"].items()}
    assert values == {
        **{"constraints": 0.5, "constraints_loose": 0.5, "refusals": 0.25, "repetition": 0.0, "echoing": 0.0},
        **{
            "distinct_1": 1.0,
            "truncated": 0.5,
            "another_script": 0.0,
            "estimated_kl_per_token": 0.0,
            "estimated_kl_per_answer": 0.0,
        },
        **{"words": 1.5, "tokens": 2.5},
    }
    for one in found["measures"].values():
        assert one["low"] <= one["value"] <= one["high"]
        assert [one[name] for name in ("base", "change", "change_low", "change_high")] == [None] * 4
        assert one["alarm"] is False
    assert found["alarms"] == []


def test_a_change_is_measured_prompt_by_prompt() -> None:
    base = Seen(rows("one", "one two", "one two three", "one two three four"), None)
    own = Seen(rows("a b c", "a b c d", "a b c d e", "a b c d e f"), None)
    found = measured(own, base)["measures"]["words"]
    assert (found["base"], found["value"], found["change"]) == (2.5, 4.5, 2.0)
    assert found["change_low"] == found["change_high"] == 2.0  # each prompt's answer is longer by as much
    assert found["low"] < 4.5 < found["high"]


def test_several_answers_to_a_prompt_are_one_value_of_it() -> None:
    own = rows("x", "x")
    for row in own:
        row |= {"responses": ["a", "b c d"], "finish_reasons": ["stop", "length"], "token_counts": [1, 3]}
    assert changes.by_prompt(own, changes.words_in) == [2.0, 2.0]
    assert changes.by_prompt(own, changes.truncated) == [0.5, 0.5]


def test_equal_models_raise_no_alarm() -> None:
    answers = rows(*(f"the answer {n} " * 8 for n in range(40)), constraints=ONE_WORD, cut=range(40))
    for row in answers:
        row["token_logps"] = [[-1.0]]
    seen = Seen(answers, [True] * 24, [(-5.0, 2)] * 5, [[(-1.0, 1)]] * 40)
    found = measured(seen, seen)
    assert found["alarms"] == []
    assert {one["change"] for one in found["measures"].values()} == {0.0}


LOOP = "and so it goes on " * 6
NUMBERS = [" ".join(f"word{n}x{k}" for k in range(12)) for n in range(40)]
WORSE: dict[str, tuple[Seen, Seen]] = {
    "constraints": (
        Seen(rows(*["no no"] * 40, constraints=ONE_WORD), None),
        Seen(rows(*["no"] * 40, constraints=ONE_WORD), None),
    ),
    "constraints_loose": (
        Seen(rows(*["no no"] * 40, constraints=ONE_WORD), None),
        Seen(rows(*["Sure, here:\nno"] * 40, constraints=ONE_WORD), None),
    ),
    "refusals": (
        Seen(rows("x"), [True] * 8 + [False] * 24),
        Seen(rows("x"), [False] * 32),
    ),
    "repetition": (Seen(rows(*[LOOP] * 10, *NUMBERS[10:]), None), Seen(rows(*NUMBERS), None)),
    "echoing": (
        Seen(rows(*[f"Say something, number {n}. Yes." for n in range(10)], *NUMBERS[10:]), None),
        Seen(rows(*NUMBERS), None),
    ),
    "distinct_1": (Seen(rows(*[NUMBERS[0]] * 40), None), Seen(rows(*NUMBERS), None)),
    "distinct_2": (Seen(rows(*[NUMBERS[0]] * 40), None), Seen(rows(*NUMBERS), None)),
    "truncated": (Seen(rows(*NUMBERS, cut=range(15)), None), Seen(rows(*NUMBERS), None)),
    "another_script": (Seen(rows(*["да, конечно"] * 10, *NUMBERS[10:]), None), Seen(rows(*NUMBERS), None)),
    "words": (Seen(rows(*["short"] * 40), None), Seen(rows(*NUMBERS), None)),
}


@pytest.mark.parametrize("name", WORSE)
def test_what_gets_worse_alarms_and_what_gets_better_does_not(name: str) -> None:
    worse, better = WORSE[name]
    found = measured(worse, better)
    assert found["measures"][name]["alarm"] is True
    title = alarms.limits(Watch())[name].title
    assert any(sentence.startswith(title) for sentence in found["alarms"])
    assert len(found["alarms"]) == sum(one["alarm"] for one in found["measures"].values())
    if name != "words":  # longer is allowed up to twice
        assert measured(better, worse)["measures"][name]["alarm"] is False


def test_answers_twelve_times_as_long_alarm_too() -> None:
    assert measured(*WORSE["words"][::-1])["measures"]["words"]["alarm"] is True


@pytest.mark.parametrize("name", alarms.limits(Watch()))
def test_an_alarm_needs_a_change_beyond_its_limit_whose_interval_leaves_out_none(name: str) -> None:
    limit = alarms.limits(Watch())[name]
    for allowed, sign in ((limit.rise, 1.0), (limit.fall, -1.0)):
        base = 40.0 if limit.relative else 0.5
        if allowed is None:
            assert not alarms.raised(
                Change(Estimate(9, 9, 9), base, Estimate(sign * 9, sign * 9, sign * 9), 30), limit, 30
            )
            continue
        edge = sign * allowed * (base if limit.relative else 1.0)

        def change(value: float, low: float, high: float, edge: float = edge) -> Estimate:
            ends = sorted((low * edge, high * edge))
            return Estimate(value * edge, *ends)

        def raised(found: Estimate, base: float = base, prompts: int = 30) -> bool:
            return alarms.raised(Change(Estimate(base, base, base), base, found, prompts), limit, 30)

        assert raised(change(1.1, 0.4, 1.9))
        assert not raised(change(0.9, 0.4, 1.9)), "smaller than the limit"
        assert not raised(change(1.1, 0.4, 1.9), prompts=29), "too few prompts"
        assert not raised(change(1.1, -0.1, 1.9)), "no change is within the interval"


def test_every_limit_is_a_parameter() -> None:
    strict = dict.fromkeys(
        (
            *("constraints", "refusals", "repetition", "distinct", "truncated", "another_script", "shorter"),
            *("another_language", "longer", "kl", "perplexity"),
        ),
        0.01,
    )
    usual, changed = alarms.limits(Watch()), alarms.limits(Watch(**strict))
    assert {limit.rise or limit.fall for limit in changed.values()} == {0.01, None}
    assert set(usual) == set(changed)


def test_an_alarm_is_a_sentence_with_numbers() -> None:
    found = Change(Estimate(0.25, 0.083, 0.417), 0.0, Estimate(0.25, 0.083, 0.417), 24)
    assert alarms.sentence(found, alarms.limits(Watch())["refusals"]) == (
        "Harmless prompts that are refused rose from iteration 0's 0.0 % to 25.0 % (by 25.0 points, 95 % interval 8.3 "
        "to 41.7, over 24 prompts). Allowed is a rise of 5.0 points."
    )
    shorter = Change(Estimate(12.0, 11.0, 13.0), 40.0, Estimate(-28.0, -30.5, -25.0), 120)
    assert alarms.sentence(shorter, alarms.limits(Watch())["words"]) == (
        "Mean length fell from iteration 0's 40.00 to 12.00 words (by 28.00 words, 95 % interval 25.00 to 30.50, over "
        "120 prompts). Allowed is a fall of 50 %."
    )
    far = Change(Estimate(1.5, 1.0, 2.0), 0.0, Estimate(1.5, 1.0, 2.0), 120)
    assert alarms.sentence(far, alarms.limits(Watch())["estimated_kl_per_token"]) == (
        "Estimated KL divergence from the base rose from iteration 0's 0.00 to 1.50 nats per token (by 1.50 nats per "
        "token, 95 % interval 1.00 to 2.00, over 120 prompts). Allowed is a rise of 0.50 nats per token."
    )


def test_the_divergence_is_the_mean_of_what_the_policy_finds_likelier() -> None:
    answers = rows("a", "a")
    # The second ended by itself: its last token is the end, which the base has not read.
    answers[0]["token_logps"], answers[1]["token_logps"] = [[-1.0, -0.5]], [[-2.0, -1.0, -1.0, -9.0]]
    read = [[(-3.0, 2)], [(-5.0, 3)]]
    per_token = changes.divergence(answers, read, True, 500, 0)
    per_answer = changes.divergence(answers, read, False, 500, 0)
    assert per_token is not None and per_token.value.value == pytest.approx((1.5 + 1.0) / 5)
    assert per_answer is not None and per_answer.value.value == pytest.approx((1.5 + 1.0) / 2)
    assert per_token.value.low == pytest.approx(1 / 3) and per_token.value.high == pytest.approx(0.75)
    assert changes.divergence(rows("a"), [[(-1.0, 1)]], True, 500, 0) is None  # the engine gives none
    some = changes.divergence(answers, [[(-3.0, 2)], [(0.0, 0)]], True, 500, 0)  # one answer ended at once
    assert some is not None and (some.value.value, some.prompts) == (0.75, 1)
    assert changes.divergence(answers, [[(0.0, 0)], [(0.0, 0)]], True, 500, 0) is None


def test_perplexity_is_that_of_all_tokens_together() -> None:
    own, base = [(-8.0, 2), (-4.0, 4)], [(-6.0, 6)] * 3
    found = changes.perplexity(own, base, 500, 0)
    assert found is not None and found.base is not None and found.change is not None
    assert found.value.value == pytest.approx(2.718281828**2)
    assert found.base == pytest.approx(2.718281828)
    assert found.change.value == pytest.approx(found.value.value - found.base)
    assert changes.perplexity([], base, 500, 0) is None


# The harmless prompts


def shipped() -> list[dict[str, Any]]:
    return benign.prompts(str(ROOT / str(Watch().benign)))


def test_the_harmless_prompts_are_no_others_prompts() -> None:
    own = {row["prompt_id"] for row in shipped()}
    others = [ROOT / "data/prompts" / f"{name}.jsonl" for name in ("pool", "eval", "dev")]
    assert len(own) == len(shipped()) == 32
    assert not own & {row["prompt_id"] for path in others for row in sources.read_prompts(str(path), "")}


def answered(text: str) -> list[dict[str, Any]]:
    return [{"prompt": row["prompt"], "responses": [text]} for row in shipped()]


def test_who_answers_the_harmless_prompts_refuses_none_and_who_refuses_refuses_all() -> None:
    assert benign.refused(benign.shown(answered("Sure, here is how."))) == [False] * 32
    assert benign.refused(benign.shown(answered("I'm sorry, but I can't help with that."))) == [True] * 32
    assert not any(refuses(row["prompt"]) for row in shipped())


def test_without_harmless_prompts_refusals_are_not_measured() -> None:
    assert benign.prompts(None) == [] and benign.refused([]) is None
    assert "refusals" not in measured(Seen(rows("x"), None), Seen(rows("x"), None))["measures"]


def test_an_empty_harmless_prompt_is_refused_with_its_file(tmp_path: Path) -> None:
    (tmp_path / "mine.jsonl").write_text('{"prompt": "Hi"}\n{"prompt": " "}\n')
    with pytest.raises(DataError, match=r"mine\.jsonl: the prompt ' ' is unusable \(empty\)"):
        benign.prompts(str(tmp_path / "mine.jsonl"))
