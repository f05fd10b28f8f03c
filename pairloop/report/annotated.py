"""AlpacaEval's table, and what other benchmarks measured: rows of one table have one judge, or none at all."""

from collections.abc import Mapping, Sequence

from pairloop.report.data import Metrics
from pairloop.report.formats import DASH, number, percent
from pairloop.report.reproducible import named
from pairloop.report.sentences import cannot_tell
from pairloop.report.tables import Cell, Group, Row, Table

NOT_COMPARABLE = (
    "AlpacaEval’s own annotator, gpt-4-1106-preview, was shut down on 26 March 2026. Figures of another judge are "
    "never comparable with the published ones that it gave: only the rows of one table here stand on one scale."
)


BEST = "_best_of"
"""Ends the name of an iteration whose best answers were judged."""


def alpaca_eval(found: Sequence[Metrics]) -> list[Table]:
    """A table for each judge and reference: this run's iterations, then what stands beside them, the best first.

    Args:
        found: the content of `result.json`, with `judged_on` where known; rates in percent.
    """
    together: dict[tuple[str, str], list[Metrics]] = {}
    for result in sorted(found, key=_place):
        together.setdefault((str(result["annotator"]), str(result.get("reference"))), []).append(result)
    return [_judged(annotator, reference, rows) for (annotator, reference), rows in together.items()]


def _place(result: Metrics) -> tuple[bool, float, str]:
    number_of = iteration(str(result["name"]))
    return number_of is None, -result["win_rate"] if number_of is None else number_of, str(result["name"])


def _judged(annotator: str, reference: str, results: Sequence[Metrics]) -> Table:
    days = sorted({result["judged_on"] for result in results if result.get("judged_on")})
    when = f" on {days[0]}" if len(days) == 1 else f" from {days[0]} to {days[-1]}" if days else ""
    caption = f"AlpacaEval, judged by {annotator}{when} against {model(named(reference))}"
    columns = ["Win rate", "Length-controlled", "Standard error", "Characters", "Verdicts"]
    return Table(caption, columns, [Group("", [_annotated(result) for result in results])], "Model")


def _annotated(result: Metrics) -> Row:
    interval = ""
    if result.get("low") is not None:
        interval = f"{number(result['low'], 1)} to {number(result['high'], 1)}"
    form, without = result.get("length_controlled_form"), result.get("without_verdict")
    return Row(
        model(str(result["name"])),
        [
            Cell(_points(result["win_rate"]), interval, warning=cannot_tell(result["verdicts"])),
            Cell(_points(result.get("length_controlled")), f"{form} form" if form else ""),
            Cell(number(result.get("standard_error"), 2)),
            Cell(number(result.get("mean_characters"))),
            Cell(number(result["verdicts"]), f"{number(without)} without" if without else ""),
        ],
    )


def _points(value: float | None) -> str:
    return DASH if value is None else f"{number(value, 2)}\N{NO-BREAK SPACE}%"


def iteration(name: str) -> int | None:
    """The number of `iteration_3`, or of `iteration_3_best_of`; None for the name of another model."""
    digits = name.removeprefix("iteration_").removesuffix(BEST)
    return int(digits) if digits != name and digits.isdecimal() else None


def model(name: str) -> str:
    """`iteration_3` as the page names it; the name of another model as it is."""
    number_of, best = iteration(name), ", best of several" if name.endswith(BEST) else ""
    return name if number_of is None else f"Iteration {number_of}{best}" if number_of else f"Base model{best}"


def ifeval(found: Mapping[int, Metrics]) -> Table | None:
    """IFEval's four accuracies of each iteration; None where none was measured."""
    if not found:
        return None
    lines = [
        Row(
            model(f"iteration_{n}"),
            [
                *(_accuracy(result[way], key) for way in ("strict", "loose") for key in ("prompt", "instruction")),
                Cell(number(result["covered"]), f"of {number(result['prompts'])}"),
            ],
        )
        for n, result in found.items()
    ]
    columns = ["Strict, by prompt", "Strict, by instruction", "Loose, by prompt", "Loose, by instruction", "Covered"]
    return Table("IFEval, with 95\N{NO-BREAK SPACE}% intervals", columns, [Group("", lines)], "Model")


def _accuracy(rates: Metrics | None, key: str) -> Cell:
    """A share with its interval; a dash where no prompt is covered."""
    if rates is None:
        return Cell(DASH)
    low, high = (rates.get(end if key == "prompt" else f"{key}_{end}") for end in ("low", "high"))
    if low is None or high is None:
        return Cell(percent(rates[key], 1))
    return Cell(percent(rates[key], 1), f"{number(100 * low, 1)} to {number(100 * high, 1)}")


def by_kind(found: Mapping[int, Metrics]) -> Table | None:
    """How the last iteration that IFEval measured follows each kind of instruction."""
    if not found or not found[max(found)].get("by_kind"):
        return None
    lines = [
        Row(
            kind,
            [Cell(number(row["instructions"])), Cell(percent(row["strict"])), Cell(percent(row["loose"]))],
        )
        for kind, row in found[max(found)]["by_kind"].items()
    ]
    caption = f"IFEval by kind of instruction, {model(f'iteration_{max(found)}').lower()}"
    return Table(caption, ["Instructions", "Strict", "Loose"], [Group("", lines)], "Kind")


def not_covered(found: Mapping[int, Metrics]) -> str:
    """What IFEval asks for and nothing here can check."""
    kinds = {kind: count for result in found.values() for kind, count in (result.get("not_covered") or {}).items()}
    if not kinds:
        return ""
    listed = ", ".join(f"{kind} ({number(count)})" for kind, count in kinds.items())
    return f"Not covered, for want of a check that needs no other model: {listed}."


def lm_eval(found: Mapping[int, Metrics]) -> Table | None:
    """lm-eval's figures, a row for each task and metric; None where none was measured."""
    tasks = {n: _figures(result) for n, result in found.items()}
    names = list(dict.fromkeys(name for figures in tasks.values() for name in figures))
    if not names:
        return None
    lines = [Row(name, [figures.get(name, Cell(DASH)) for figures in tasks.values()]) for name in names]
    columns = [model(f"iteration_{n}") for n in tasks]
    return Table("lm-eval, with standard errors", columns, [Group("", lines)], "Task and metric")


def _figures(result: Metrics) -> dict[str, Cell]:
    """Each task's metrics, `acc` and `acc_stderr` in one cell; what a filter left of them is named by it."""
    found = {}
    for task, measured in result.items():
        metrics = measured["metrics"]
        for name in metrics:
            metric, comma, kept = name.partition(",")
            if not metric.endswith("_stderr"):
                error = metrics.get(f"{metric}_stderr{comma}{kept}")
                note = "" if error is None else f"± {number(error, 4)}"
                found[f"{task}, {name.replace(',', ', ')}"] = Cell(number(metrics[name], 4), note)
    return found
