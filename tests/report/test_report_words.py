"""What the report says, without a browser."""

import dataclasses

import pytest
import report_data

from pairloop.errors import DataError
from pairloop.report import formats, ranking, samples, sentences, tables
from pairloop.report.page import render


def test_rounding_never_moves_an_interval_onto_or_across_the_border() -> None:
    def claim(low: float, rate: float, high: float) -> str:
        win_rate = {"judge": {"win_rate": rate, "low": low, "high": high, "teacher": False}}
        said = sentences.headline([{"win_rate": {}}, {"prompts": 900, "judged": 900, "win_rate": win_rate}])
        return f"{said.claim} {said.qualifier}".replace("\N{NO-BREAK SPACE}", " ")

    assert "beats the base model on 54.1 % of 900" in claim(0.504, 0.541, 0.57)
    assert "50.4 to 57.0 %)" in claim(0.504, 0.541, 0.57)
    assert "No improvement" in claim(0.496, 0.541, 0.57) and "49.6 to 57.0 %, which includes" in claim(
        0.496, 0.541, 0.57
    )
    assert "No improvement" in claim(0.5, 0.55, 0.6)
    assert "got worse" in claim(0.4, 0.44, 0.4996) and "40.00 to 49.96 %, all below" in claim(0.4, 0.44, 0.4996)


def test_rows_that_vanished_without_a_reason_are_shown() -> None:
    data = report_data.demo()
    data = dataclasses.replace(data, pool=dict(data.pool) | {"rows_out": 699})
    assert tables.rows(data).groups[0].rows[0].cells[2].text.endswith("in eval set 6, not accounted for 3")


def test_a_missing_number_is_named_with_its_file() -> None:
    data = report_data.demo()
    pair = {key: value for key, value in data.iterations[1].pair.items() if key != "mean_margin"}
    broken = [data.iterations[0], dataclasses.replace(data.iterations[1], pair=pair), data.iterations[2]]
    with pytest.raises(DataError, match="iteration 2, pair metrics: lacks mean_margin"):
        dataclasses.replace(data, iterations=broken)
    with pytest.raises(DataError, match="3 iterations and 3 evaluated models"):
        dataclasses.replace(data, models=data.models[:3])


def test_numbers_are_written_as_people_read_them() -> None:
    plain = {formats.number(1234.5, 1): "1,234.5", formats.number(-0.004, 2): "0.00", formats.number(-2.5, 1): "−2.5"}
    plain |= {
        formats.percent(0.634): "63\N{NO-BREAK SPACE}%",
        formats.percent(None): "–",
        formats.number(float("inf")): "–",
    }
    spoken = {formats.seconds(s).replace("\N{NO-BREAK SPACE}", " ") for s in (0.41, 9.96, 59.6, 3599.7, 7500)}
    assert all(found == expected for found, expected in plain.items())
    assert spoken == {"0.4 s", "10 s", "1 min 0 s", "1 h 0 min", "2 h 5 min"}


def test_constraints_are_put_in_words() -> None:
    rules = [
        ({"kind": "words", "max": 30}, "words: at most 30"),
        ({"kind": "bullets", "min": 4, "max": 4}, "bullets: exactly 4"),
        ({"kind": "sentences", "min": 2, "max": 3}, "sentences: 2 to 3"),
        ({"kind": "includes", "text": "gentle"}, "includes: gentle"),
        ({"kind": "case", "case": "lower"}, "case: lower"),
        ({"kind": "json", "keys": ["name", "age"]}, "json: name, age"),
        ({"kind": "commas", "max": 0}, "commas: none"),
        ({"kind": "choice", "options": ["yes", "no"]}, "choice: yes or no"),
        ({"kind": "numbered", "min": 3, "max": 3}, "numbered items: exactly 3"),
        ({"kind": "lines", "min": 4}, "lines: at least 4"),
        ({"kind": "separated", "by": ",", "min": 3, "max": 3}, 'parts on one line, separated by ",": exactly 3'),
        ({"kind": "digits", "max": 0}, "digits: none"),
        ({"kind": "marks", "mark": "!", "min": 1}, 'marks "!": at least 1'),
        ({"kind": "last", "mark": "?"}, "last character: ?"),
        ({"kind": "quoted", "mark": '"'}, 'first and last character: "'),
        ({"kind": "repeats", "text": "rain", "min": 2}, 'the word "rain": at least 2'),
        ({"kind": "line", "text": "P.S."}, "a line starts: P.S."),
        ({"kind": "bold", "min": 1}, "bold: at least 1"),
        ({"kind": "bold", "text": "warm"}, "bold: warm"),
        ({"kind": "bold", "text": "warm", "min": 2}, 'bold "warm": at least 2'),
    ]
    assert [formats.constraint(rule) for rule, _ in rules] == [words for _, words in rules]


def test_responses_stand_best_first_and_keep_their_labels() -> None:
    row = report_data.sample(1, 0) | {"scores": [0.1, 3, 2, -1, 2], "chosen": 1, "rejected": 3}
    shown = samples.samples([row])[1][0].responses
    assert [response.score for response in shown] == ["3.00", "2.00", "2.00", "0.10", "−1.00"]
    assert [response.label for response in shown] == ["chosen", "", "", "", "rejected"]
    assert [response.text.text for response in shown] == [row["responses"][i] for i in (1, 2, 4, 0, 3)]
    assert [response.cut_off for response in shown] == [row["finish_reasons"][i] == "length" for i in (1, 2, 4, 0, 3)]


def test_a_run_without_judges_says_that_nothing_was_compared() -> None:
    whole = report_data.demo(judges=())
    said = sentences.headline(whole.models)
    assert f"{said.claim} {said.qualifier}" == (
        "Iteration 3 was not compared with the base model: no judge gave a win rate."
    )
    assert sentences.findings(whole)[-1].endswith("14\N{NO-BREAK SPACE}% longer.")


def test_a_judge_that_the_run_trained_is_not_called_the_ranker() -> None:
    page = " ".join(render(report_data.demo(iterations=1, ranker="likelihood")).split())
    assert "The training data was ranked by likelihood. As a judge, this run also trained specialist" in page
    assert "judged by specialist, which did not rank the training data" in page


def said_of(last: tuple[float, float, float], gain: tuple[float, float, float] | None, held_out: int = 56) -> str:
    """The sentence about a learning curve, given accuracy and gain with their intervals."""
    row = {"pairs": 200, "accuracy": last[0], "low": last[1], "high": last[2]}
    doubling = gain and {"pairs_before": 100, "pairs": 200, "gain": gain[0], "low": gain[1], "high": gain[2]}
    teacher = {"learning_curve": [row], "last_doubling": doubling, "held_out_pairs": held_out}
    return (sentences.learning(teacher) or "").replace("\N{NO-BREAK SPACE}", " ")


def test_the_learning_curve_is_read_by_its_intervals() -> None:
    good = (0.9, 0.8, 0.95)
    assert said_of(good, (0.06, 0.02, 0.1)).endswith(
        "gained 6 points of accuracy (95 % interval 2 to 10): more pairs may well add more."
    )
    assert "gained 1 point of accuracy" in said_of(good, (0.01, -0.02, 0.02))
    assert said_of(good, (0.01, -0.02, 0.02)).endswith("more pairs like these would add little.")
    assert said_of(good, (0.01, -0.02, 0.03)).endswith("includes zero: that more pairs would help was not shown.")
    assert said_of(good, (-0.05, -0.08, -0.02)).startswith("From 100 to 200 pairs, the teacher lost 5 points")
    assert said_of(good, None) == "The teacher was fitted to 200 pairs: too few to say whether more would help."
    assert said_of(good, (0.06, 0.02, 0.1), held_out=20).endswith("So few held-out pairs say little.")


def test_a_teacher_that_learnt_nothing_is_not_said_to_gain() -> None:
    said = said_of((0.56, 0.43, 0.69), (0.1, 0.02, 0.18))
    assert said == (
        "On 56 held-out pairs its accuracy is 56 % (95 % interval 43 to 69 %), and chance is 50 %: it was not shown to "
        "have learnt anything."
    )
    assert "worse than chance" in said_of((0.3, 0.2, 0.4), None)
    assert "not shown" in said_of((0.6, 0.5, 0.7), None)


def test_the_page_says_what_the_teacher_was_trained_on() -> None:
    whole = report_data.demo()
    own = {"preferences": {"rows": 210, "duplicates": 10, "contradictions": 0}}

    def page(changes: dict[str, object]) -> str:
        teacher = dict(whole.teacher or {}) | changes
        return " ".join(render(dataclasses.replace(whole, teacher=teacher)).replace("\N{NO-BREAK SPACE}", " ").split())

    assert "was trained by this run on answers of the base model. It judges" in page({})
    assert "run on answers of the base model and 200 preferences of the user. It" in page(own)
    assert "was trained by this run on 200 preferences of the user. It" in page(own | {"prompts": 0})


def test_a_teacher_without_a_learning_curve_has_a_page() -> None:
    whole = report_data.demo()
    known = ("pairs", "held_out_pairs", "held_out_accuracy", "by_kind", "length_correlation", "hacks")
    page = render(dataclasses.replace(whole, teacher={key: (whole.teacher or {})[key] for key in known}))
    assert "Accuracy, by what is wrong" in page and "by pairs learnt from" not in page


def said(table: tables.Table) -> dict[str, list[str]]:
    """The cells of each row, by its label, with plain spaces."""
    rows = [row for group in table.groups for row in group.rows]
    return {row.label: [cell.text.replace(formats.SPACE, " ") for cell in row.cells] for row in rows}


def test_the_ranker_s_behaviour_stands_iteration_by_iteration() -> None:
    agreed = {"ranker": "likelihood", "best_over_worst": 0.75, "rank_correlation": 0.4}
    first, second = report_data.demo(iterations=2).iterations
    first = dataclasses.replace(first, rank=first.rank | {"ties": 4, "position_bias": 0.25, "second": agreed})
    second = dataclasses.replace(second, pair=second.pair | {"chosen_refusals": 0.1, "rejected_refusals": 0.3})
    second = dataclasses.replace(second, rank=second.rank | {"ties": 1234, "position_bias": None})
    found = said(ranking.behaviour([first, second]))
    assert found["Position bias"] == ["25.0 %", formats.DASH]
    assert found["likelihood also puts best over worst"] == ["75 %", formats.DASH]
    assert found["Rank correlation with likelihood"] == ["0.40", formats.DASH]
    assert found["Tied responses"] == ["4", "1,234"]
    assert found["Chosen that refuse"][1] == "10 %" and found["Rejected that refuse"][1] == "30 %"


def test_rows_of_what_was_not_asked_are_left_out() -> None:
    quiet = [dataclasses.replace(i, rank=i.rank | {"position_bias": None}) for i in report_data.demo().iterations]
    assert list(said(ranking.behaviour(quiet))) == [
        *("Mean score margin", "Tied responses", "Chosen that refuse", "Rejected that refuse"),
    ]


def test_the_histogram_shows_the_last_iteration_s_margins_and_none_where_all_are_0() -> None:
    *_, last = report_data.demo().iterations
    shown = ranking.margins([last])
    assert shown is not None
    rows = [row for group in shown.groups for row in group.rows]
    assert [int(row.cells[0].text) for row in rows] == last.rank["margins"]["counts"]
    assert rows[0].label == "0.00 to 0.50" and max(row.cells[1].bar or 0 for row in rows) == 1
    empty = dataclasses.replace(last, rank=last.rank | {"margins": {"edges": [], "counts": []}})
    assert ranking.margins([empty]) is None
