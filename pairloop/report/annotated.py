"""AlpacaEval's table, and what other benchmarks measured: rows of one table have one judge, or none at all."""

from collections.abc import Mapping, Sequence
from typing import Any

from pairloop.report.data import Metrics
from pairloop.report.formats import DASH, number, percent
from pairloop.report.reproducible import named
from pairloop.report.standing import cannot_tell
from pairloop.report.tables import Cell, Group, Row, Table

NOT_COMPARABLE = (
    "AlpacaEval’s own annotator, gpt-4-1106-preview, was shut down on 26 March 2026. Figures of another judge are "
    "never comparable with the published ones that it gave: only the rows of one table here stand on one scale."
)


def alpaca_eval(found: Sequence[Metrics]) -> list[Table]:
    """A table for each judge and reference: what they annotated, this run's iterations before what stands beside them.

    Args:
        found: the content of `result.json`, with `judged_on` where known; rates in percent.
    """
    together: dict[tuple[str, str], list[Metrics]] = {}
    for result in found:
        together.setdefault((str(result["annotator"]), str(result.get("reference"))), []).append(result)
    return [_judged(annotator, reference, rows) for (annotator, reference), rows in together.items()]


def _judged(annotator: str, reference: str, results: Sequence[Metrics]) -> Table:
    days = sorted({result["judged_on"] for result in results if result.get("judged_on")})
    when = f" on {days[0]}" if len(days) == 1 else f" from {days[0]} to {days[-1]}" if days else ""
    caption = f"AlpacaEval, judged by {annotator}{when} against {named(reference)}"
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


def model(name: str) -> str:
    """`iteration_3` as the page names it; the name of another model as it is."""
    number_of = name.removeprefix("iteration_")
    if not name.startswith("iteration_") or not number_of.isdigit():
        return name
    return f"Iteration {number_of}" if number_of != "0" else "Base model"


def ifeval(found: Mapping[int, Metrics]) -> Table | None:
    """IFEval's four accuracies of each iteration; None where none was measured."""
    if not found:
        return None
    lines = []
    for n, result in found.items():
        cells = [
            cell
            for strictness in ("strict", "loose")
            for cell in (_accuracy(result[strictness]), Cell(percent(result[strictness]["instruction"], 1)))
        ]
        covered = Cell(number(result["covered"]), f"of {number(result['prompts'])}")
        lines.append(Row(model(f"iteration_{n}"), [*cells, covered]))
    columns = ["Strict, by prompt", "Strict, by instruction", "Loose, by prompt", "Loose, by instruction", "Covered"]
    return Table("IFEval, with 95\N{NO-BREAK SPACE}% intervals by prompt", columns, [Group("", lines)], "Model")


def _accuracy(rates: Metrics) -> Cell:
    low = rates.get("low")
    note = "" if low is None else f"{number(100 * low, 1)} to {number(100 * rates['high'], 1)}"
    return Cell(percent(rates["prompt"], 1), note)


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
    """`acc,none` and `acc_stderr,none` of each task as one cell."""
    found = {}
    for task, metrics in result.get("results", result).items():
        for name, value in metrics.items() if isinstance(metrics, Mapping) else ():
            if _measured(name, value):
                metric, _, kept = name.partition(",")
                error = metrics.get(f"{metric}_stderr,{kept}" if kept else f"{metric}_stderr")
                note = f"± {number(error, 4)}" if isinstance(error, float) else ""
                filtered = f" ({kept})" if kept not in ("", "none") else ""
                found[f"{task}, {metric}{filtered}"] = Cell(number(value, 4), note)
    return found


def _measured(name: str, value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and "_stderr" not in name
