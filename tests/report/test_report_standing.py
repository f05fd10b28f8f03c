"""The table that the page begins with, and what else was measured of the models."""

import dataclasses
import re
from typing import Any

import pytest
import report_data
from report_data import demo, full

from pairloop.errors import DataError
from pairloop.report import (
    annotated,
    changed,
    curves,
    formats,
    instructions,
    lineage,
    preferred,
    sentences,
    standing,
    tables,
    watched,
)
from pairloop.report.data import ReportData
from pairloop.report.page import render
from pairloop.report.tables import Cell, Table


def cells(table: Table | None) -> dict[str, list[Cell]]:
    """The cells of each row, by its label."""
    assert table is not None
    return {row.label: list(row.cells) for group in table.groups for row in group.rows}


def texts(table: Table | None) -> dict[str, list[str]]:
    return {label: [cell.text.replace(formats.SPACE, " ") for cell in row] for label, row in cells(table).items()}


def with_further(*rows: dict[str, Any]) -> ReportData:
    """A run of whose last iteration more was measured, each time with these changes."""
    data = demo()
    last = dict(data.models[-1])
    further = [{**last, **row} for row in rows]
    return dataclasses.replace(data, models=[*data.models[:-1], {**last, "further": further, "temperature": 1.0}])


def test_the_independent_judge_stands_first_and_the_teacher_is_marked() -> None:
    table = standing.standing(demo().models)
    assert list(table.columns) == [
        *("Win rate by likelihood", "By specialist (the teacher)", "Length-controlled", "Against the previous"),
        *("Constraints", "Words", "Cut off"),
    ]
    assert texts(table)["Iteration 3"] == ["63 %", "70 %", "61 %", "–", "62 %", "46.9", "32 %"]
    assert texts(table)["Base model"][:3] == ["50 %", "50 %", "50 %"]


def test_each_iteration_is_followed_by_what_else_was_measured_of_it() -> None:
    best = {"best_of": 16, "temperature": 0.7, "mean_words": 60.0}
    shown = texts(standing.standing(with_further({"factor": 0.3}, {"temperature": 0.7}, best).models))
    assert list(shown)[-4:] == [
        *("Iteration 3", "Iteration 3, moved on by 0.3", "Iteration 3, at temperature 0.7"),
        "Iteration 3, best of 16, at temperature 0.7",
    ]
    assert shown["Iteration 3, best of 16, at temperature 0.7"][5] == "60.0"


def test_what_was_not_measured_is_a_dash() -> None:
    shown = texts(standing.standing(with_further({"factor": 0.3, "constraints": None, "win_rate": {}}).models))
    assert shown["Iteration 3, moved on by 0.3"][:5] == ["–"] * 5


def test_the_previous_iteration_is_the_judge_s_that_leads() -> None:
    shown = cells(standing.standing(full().models))
    assert shown["Iteration 3"][4].text == f"52{formats.SPACE}%" and shown["Iteration 3"][4].note == "44 to 60"
    assert shown["Iteration 1"][4].text == formats.DASH


def test_a_row_that_lacks_a_figure_is_refused() -> None:
    data = with_further({"factor": 0.3})
    del data.models[-1]["further"][0]["win_rate"]
    with pytest.raises(DataError, match="iteration 3, eval metrics, further: lacks win_rate"):
        dataclasses.replace(data)


def of_prompts(count: int) -> ReportData:
    data = demo()
    return dataclasses.replace(
        data, models=[dict(model) | {"prompts": count, "judged": count} for model in data.models]
    )


def test_fewer_than_30_prompts_cannot_tell_and_the_page_says_so() -> None:
    few, enough = (cells(standing.standing(of_prompts(n).models))["Iteration 3"][0] for n in (29, 30))
    assert (few.note, few.warning) == ("55 to 71", "cannot tell") and enough.warning == ""
    said = sentences.headline(of_prompts(29).models).claim.replace(formats.SPACE, " ")
    assert said == "One cannot tell whether iteration 3 helped: it wins on 63 % of only 29 held-out prompts"
    assert "beats the base model" in sentences.headline(of_prompts(30).models).claim
    assert {cell.warning for cell in cells(tables.win_rates(of_prompts(29).models))["likelihood"]} == {"cannot tell"}


def test_where_judges_compared_prompts_without_constraints_alone_the_page_says_so() -> None:
    data = full()
    assert "without constraints" not in _judged_words(data)
    fewer = dataclasses.replace(data, models=[dict(model) | {"judged": 80} for model in data.models])
    said = _judged_words(fewer)
    assert "beats the base model on 63 % of 80 held-out prompts without constraints (" in said
    for words in (
        "base model’s, on the same held-out prompts without constraints. Bars",
        "The divergence from the base is that of answers to prompts without constraints.",
        "Answers to held-out prompts without constraints are compared.",
        "a prompt of the evaluation without constraints beats the base’s",
        "A win rate is the mean over held-out prompts without constraints of 1",
    ):
        assert words in said
    few = dataclasses.replace(data, models=[dict(model) | {"judged": 29} for model in data.models])
    assert cells(standing.standing(few.models))["Iteration 3"][0].warning == "cannot tell"
    assert "only 29 held-out prompts without constraints" in _judged_words(few)


def _judged_words(data: ReportData) -> str:
    """The page's words, those about the demands of prompts apart."""
    return " ".join(render(data).replace(formats.SPACE, " ").split())


def test_few_constrained_prompts_cannot_tell_either() -> None:
    data = demo()
    held = [dict(model) | {"constraints": dict(model["constraints"]) | {"prompts": 12}} for model in data.models]
    assert not instructions.lead(held) and instructions.few(held)[0].endswith("from so few prompts one cannot tell.")
    assert {cell.warning for cell in cells(instructions.table(held))["Pass rate"]} == {"cannot tell"}
    assert "beats the base model" in render(dataclasses.replace(data, models=held)).partition("</h1>")[0]
    assert "follows all instructions" in render(data).partition("</h1>")[0]


def test_judges_agreement_stands_with_its_prompts_and_few_of_them_cannot_tell() -> None:
    shown = cells(standing.agreement(full().models))
    assert list(shown) == ["specialist and likelihood", "specialist and judge", "likelihood and judge"]
    last = shown["likelihood and judge"][-1]
    assert (last.text, last.note, last.warning) == (f"74{formats.SPACE}%", "of 24, κ 0.47", "cannot tell")
    assert shown["specialist and judge"][0].warning == "" and standing.agreement(demo().models) is None


def drawn_numbers(svg: str) -> list[str]:
    return re.findall(r">([^<>]*%)</text>", svg)


def test_each_temperature_has_a_chart_with_a_line_for_each_judge_and_all_have_the_same_axis() -> None:
    models = full().models
    higher = {judge: dict(rate) | {"win_rate": 0.9, "high": 0.97} for judge, rate in models[3]["win_rate"].items()}
    charts = curves.win_rates([*models[:3], {**models[3], "further": [{"temperature": 0.7, "win_rate": higher}]}])
    assert [chart.title for chart in charts] == [
        f"Win rate against the base model at temperature {temperature}" for temperature in ("1", "0.7")
    ]
    assert [line.name for line in charts[0].series] == ["specialist (also the teacher)", "likelihood", "judge"]
    assert len({line.colour for line in charts[0].series}) == 3
    assert drawn_numbers(charts[0].svg) == drawn_numbers(charts[1].svg) and len(drawn_numbers(charts[0].svg)) > 2
    assert [chart.title for chart in curves.win_rates(demo().models)] == ["Win rate against the base model"]


def test_alpaca_eval_s_rows_are_apart_by_judge_and_say_who_judged_when_and_against_what() -> None:
    other = report_data.full().annotated[0] | {"annotator": "llama", "judged_on": "2026-12-01", "name": "iteration_1"}
    best = report_data.full().annotated[0] | {"name": "better", "win_rate": 40.0}
    first, second = annotated.alpaca_eval([*reversed(full().annotated), other, best])
    assert first.caption == "AlpacaEval, judged by weighted_alpaca_eval_gpt4.1 on 2026-11-26 against gpt4_turbo"
    assert second.caption == "AlpacaEval, judged by llama on 2026-12-01 against gpt4_turbo"
    rows = cells(first)
    assert list(rows) == ["Base model", "Iteration 3", "better", "seed"] and list(cells(second)) == ["Iteration 1"]
    assert [cell.note for cell in rows["seed"]] == ["27.6 to 33.2", "full form", "", "", "1 without"]
    assert texts(first)["Iteration 3"] == ["27.90 %", "24.90 %", "1.41", "1,832", "804"]
    page = render(full())
    assert "shut down on 26 March 2026" in page and "never comparable" in page


def test_ifeval_and_lm_eval_have_rows_where_they_were_run() -> None:
    data = full()
    assert texts(annotated.ifeval(data.ifeval))["Iteration 3"] == ["27.0 %", "39.0 %", "27.0 %", "39.0 %", "510"]
    unread = {3: dict(data.ifeval[3]) | {"strict": None, "loose": None}}
    assert texts(annotated.ifeval(unread))["Iteration 3"][:4] == ["–"] * 4
    assert annotated.not_covered(data.ifeval).endswith("language:response_language (31).")
    figure = cells(annotated.lm_eval(data.lm_eval))["arc_easy, acc"][0]
    assert (figure.text, figure.note) == ("0.4412", "± 0.0102")
    assert annotated.ifeval({}) is annotated.lm_eval({}) is None


def test_held_out_preferences_have_a_row_for_each_model_and_say_who_judges() -> None:
    data = full()
    rows = texts(preferred.preferences(data.preferences))
    assert rows["Base model"] == ["62.0 %", "0.120", "–", "–", "–"]
    assert rows["Iteration 3"] == ["62.0 %", "0.120", "62.0 %", "71.0 %", "70.0 %"]
    assert cells(preferred.preferences(data.preferences))["Iteration 3"][3].note == "63.0 to 78.0"
    said = preferred.judge(data.preferences).replace(formats.SPACE, " ")
    assert "of which it gets 98 % right that it was not fitted to" in said
    assert "64 held-out preferences" in render(data).replace(formats.SPACE, " ")
    assert preferred.preferences({}) is None and not preferred.judge({})


def test_alarms_stand_at_the_top_and_beside_their_measure() -> None:
    data = full()
    assert watched.alarms(data.watches) == ["Iteration 3: Refusals on harmless prompts rose from 5 % to 35 %."]
    table = watched.measures(data.watches, 3)
    assert [cell.warning for cell in cells(table)["Refusals"]] == ["", "cannot tell", "cannot tell", "alarm"]
    assert texts(table)["Refusals"] == ["5.0 %", "15.0 %", "25.0 %", "35.0 %"]
    assert cells(table)["Distinct 2"][1].note == "−1.4 to −0.6"
    assert texts(table)["Estimated KL per token"] == ["0.000", "0.210", "0.420", "0.630"]
    head = render(data).partition("<main>")[0]
    assert "1 alarm of the watch" in head and "rose from 5 % to 35 %" in head
    assert "alarm" not in render(demo()).partition("</style>")[2].partition("<main>")[0]


def test_what_differs_from_the_published_run_is_named_with_both_values() -> None:
    published = {"seed": 0, "train": {"beta": 0.1, "loss": ["sigmoid"]}, "old": 1}
    ours = {"seed": 0, "train": {"beta": 0.3, "loss": ["sigmoid"]}, "new": None}
    assert texts(lineage.differences(published, ours)) == {
        **{"train.beta": ["0.1", "0.3"], "old": ["1", "not there"], "new": ["not there", "null"]}
    }
    assert lineage.differences(ours, ours) is None
    same = dataclasses.replace(demo(), published=demo().parameters)
    assert "Every parameter is as in the published run." in render(same)


def test_rows_flow_from_the_pool_to_the_splits() -> None:
    data = demo()
    first = dataclasses.replace(data.iterations[0], prompts={"rows_in": 702, "rows_out": 60, "with_constraints": 20})
    shown = lineage.flow(dataclasses.replace(data, iterations=[first, *data.iterations[1:]]))
    assert texts(shown)["Pool"][0] == "702" and cells(shown)["Pool"][0].note == "of 731"
    assert texts(shown)["Iteration 1"] == ["", "60", "300", "300", "56", "50", "6"]
    assert texts(shown)["Iteration 2"] == ["", "60", "300", "300", "55", "49", "6"]


def test_the_headline_says_how_answers_were_sampled() -> None:
    models = [dict(model) | {"temperature": 1.0} for model in demo().models]
    assert instructions.headline(models).qualifier.endswith("counted by a program at temperature 1.")
    penalised = [*models[:-1], models[-1] | {"frequency_penalty": 0.5}]
    said = instructions.headline(penalised).qualifier
    assert said.endswith("counted by a program at temperature 1 with a frequency penalty of 0.5.")


def test_every_temperature_has_its_bars_and_its_claim() -> None:
    held = dict(demo().models[-1]["constraints"]) | {"pass_rate": 0.5, "gain": 0.02, "gain_low": -0.05}
    models = with_further({"temperature": 0.0, "constraints": held}).models
    table = instructions.standing(models)
    assert list(table.columns) == [
        *("", "At temperature 1", "Gain, points", "", "Greedy, at temperature 0", "Gain, points"),
    ]
    shown = cells(table)
    assert [cell.text for cell in shown["Base model"]] == ["", "48\u00a0%", "–", "", "–", "–"]
    assert [cell.bar for cell in shown["Iteration 3"]][::3] == [0.62, 0.5]
    said = instructions.claims(models)[0].replace(formats.SPACE, " ")
    assert said == "Greedy, at temperature 0: 50 %, 2 points more (−5 to 23, which includes zero)."


def test_gains_apart_from_length_and_each_kind_stand_in_tables() -> None:
    models = demo().models
    shown = cells(instructions.table(models))
    assert [cell.text for cell in shown["Gain where length cannot help"]] == ["–", "+3", "+8", "+11"]
    assert shown["Gain at like length"][3].note == "2 to 22, 31\u00a0prompts"
    assert [cell.text for cell in shown["Gain in full answers"]] == ["–", "+2", "+7", "+10"]
    assert texts(instructions.by_kind(models)) == {
        "bullets": ["28", "40 %", "54 %", ""],
        "words": ["18", "60 %", "74 %", ""],
    }


def test_pairs_are_the_first_whose_verdict_changed_for_better_and_worse_as_they_come() -> None:
    def answer(number: int, before: bool | None, after: bool | None) -> dict[str, Any]:
        passes, rules = [before, True, after], None if before is None else [{"kind": "commas", "max": 0}]
        met = [None if passed is None else [passed] for passed in passes]
        return {"prompt": str(number), "constraints": rules, "outputs": ["a", "b", "c"], "passes": passes, "met": met}

    changes = [(None, None), (True, True), (False, True), (True, False), (False, False), *[(False, True)] * 6]
    found = changed.changed([answer(n, *change) for n, change in enumerate(changes)])
    assert [pair.prompt.text for pair in found.pairs] == ["2", "3", "5", "6", "7", "8"]
    assert [[side.passed for side in pair.sides] for pair in found.pairs[:2]] == [[False, True], [True, False]]
    assert [side.text.text for side in found.pairs[0].sides] == ["a", "c"]
    assert "It changed on 8 of 10" in found.rule and "7 for the better, 1 for the worse" in found.rule
    none = changed.changed([answer(0, True, True), answer(1, None, None)])
    assert none.pairs == [] and none.rule.replace(formats.SPACE, " ").startswith(
        "The verdict on none of 1 held-out prompt"
    )
