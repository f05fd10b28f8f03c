"""The exact numbers, as tables: one row per thing, one column per iteration."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pairloop.report.data import Iteration, Metrics, ReportData
from pairloop.report.formats import DASH, memory, number, percent, plain, plural, seconds
from pairloop.report.sentences import cannot_tell, judges

ONCE = "Before the loop"
"""What happens once: base, pool, teach and the evaluation of iteration 0."""


@dataclass(frozen=True)
class Cell:
    """One value."""

    text: str
    """The number, written out."""

    note: str = ""
    """Smaller, below it: an interval."""

    bar: float | None = None
    """Share of the cell's width that a bar fills instead of the text."""

    whisker: tuple[float, float] | None = None
    """Beside a bar the ends of its interval, as shares of the cell's width."""

    words: bool = False
    """Text, set to the left."""

    warning: str = ""
    """Smaller, below it, and not to be overlooked."""


@dataclass(frozen=True)
class Row:
    """One line of a table."""

    label: str
    cells: Sequence[Cell]
    note: str = ""
    """Smaller, below the label."""


@dataclass(frozen=True)
class Group:
    """Rows that belong together, under a heading where there is one."""

    heading: str
    rows: Sequence[Row]


@dataclass(frozen=True)
class Table:
    """A table with its caption."""

    caption: str
    columns: Sequence[str]
    groups: Sequence[Group]
    corner: str = ""
    """Heading of the column of labels."""


def _iterations(last: int, first: int = 0) -> list[str]:
    return ["base" if n == 0 else str(n) for n in range(first, last + 1)]


def _interval(low: float, high: float) -> str:
    return f"{number(100 * low)} to {number(100 * high)}"


def win_rates(models: Sequence[Metrics]) -> Table:
    """Win rates with intervals; with length taken out, and against the iteration before, where that was computed."""
    rows = []
    for judge, teacher in judges(models).items():
        rates = [model["win_rate"].get(judge) for model in models[1:]]
        twice = any(r and r.get("orders") == 2 for r in rates)
        notes = ["also the teacher"] * teacher + ["asked in both orders"] * twice
        rows.append(Row(judge, _rates(rates, models), ", ".join(notes)))
        if any(r and r.get("length_controlled") is not None for r in rates):
            controlled = [Cell(percent(r.get("length_controlled") if r else None)) for r in rates]
            rows.append(Row(f"{judge}, length-controlled", controlled))
        if any(r and r.get("previous") for r in rates):
            rows.append(Row(f"{judge}, against the previous", _rates([r and r.get("previous") for r in rates], models)))
    caption = "Win rate in numbers, with 95\N{NO-BREAK SPACE}% interval"
    return Table(caption, _iterations(len(models) - 1, first=1), [Group("", rows)], "Iteration")


def _rates(rates: Sequence[Metrics | None], models: Sequence[Metrics]) -> list[Cell]:
    """Of iterations 1, 2, …"""
    return [
        share(rate["win_rate"], rate, model["judged"]) if rate else Cell(DASH)
        for rate, model in zip(rates, models[1:], strict=True)
    ]


def share(value: float, interval: Metrics, prompts: int) -> Cell:
    """A share with its interval, and the warning that so few prompts tell nothing."""
    return Cell(percent(value), _interval(interval["low"], interval["high"]), warning=cannot_tell(prompts))


def lengths(models: Sequence[Metrics], iterations: Sequence[Iteration], more: Sequence[Row] = ()) -> Table:
    """Lengths of answers to held-out prompts and of the pairs, `more` about these; and how often answers loop."""
    answers = [
        _row("Words per answer", models, lambda m: number(m["mean_words"], 1)),
        _row("Tokens per answer", models, lambda m: number(m["mean_tokens"], 1)),
        _row("Cut off at the limit", models, lambda m: percent(m["truncated_share"])),
        _row("Repetitive", models, lambda m: percent(m["repetitive_share"])),
        _row("Repeat their prompt", models, lambda m: percent(m["echoing_share"])),
    ]
    if any(model.get("empty_share") for model in models):
        answers.append(_row("Empty", models, lambda m: percent(m.get("empty_share"))))
    pairs = [
        _row("Words, chosen", iterations, lambda i: number(i.pair["chosen_words"], 1), skip=1),
        _row("Words, rejected", iterations, lambda i: number(i.pair["rejected_words"], 1), skip=1),
        _row("Chosen minus rejected", iterations, _longer, skip=1),
        _row(
            "Score with length", iterations, _length_correlation, skip=1, note="rank correlation, \N{MINUS SIGN}1 to 1"
        ),
    ]
    groups = [Group("Answers to held-out prompts", answers), Group("Training pairs", [*pairs, *more])]
    return Table("Length and repetition in numbers", _iterations(len(iterations)), groups, "Iteration")


def _length_correlation(iteration: Iteration) -> str:
    return number(iteration.pair["length_correlation"], 2)


def _longer(iteration: Iteration) -> str:
    return number(iteration.pair["chosen_words"] - iteration.pair["rejected_words"], 1)


def _row(label: str, items: Iterable[Any], show: Callable[[Any], str], skip: int = 0, note: str = "") -> Row:
    return Row(label, [Cell(DASH)] * skip + [Cell(show(item)) for item in items], note)


def training(iterations: Sequence[Iteration]) -> Table:
    """What each training did, on the steps and on the held-out pairs."""

    def held_out(label: str, key: str, show: Callable[[Any], str], note: str = "") -> Row:
        tests = [(t["before"], t["after"]) for t in trains]
        cells = [Cell(show(b and a and a[key]), f"before {show(b[key])}" if b and a else "") for b, a in tests]
        return Row(label, cells, note)

    trains = [iteration.train for iteration in iterations]
    fit = [
        _row("Pairs", iterations, lambda i: number(i.pair["train_pairs"])),
        _row("Optimiser steps", iterations, lambda i: number(i.train["steps"])),
        Row(
            "Loss, last step", [Cell(number(t["loss_last"], 2), f"first {number(t['loss_first'], 2)}") for t in trains]
        ),
    ]
    test = [
        _row("Pairs", iterations, lambda i: number(i.pair["test_pairs"])),
        held_out("Reward margin", "margin", lambda v: number(v, 2), "0 where policy and reference are the same"),
        held_out("Reward accuracy", "accuracy", percent, "share of margins above 0"),
        held_out("Likelihood accuracy", "logp_accuracy", percent, "share where chosen is likelier per token"),
    ]
    tested = any(train["before"] and train["after"] for train in trains)
    groups = [Group("Pairs trained on", fit), *([Group("Pairs held out", test)] if tested else [])]
    return Table("Training in numbers", _iterations(len(iterations), first=1), groups, "Iteration")


def rows(data: ReportData) -> Table:
    """Rows in, out and dropped of every step, with the reasons."""
    pool = data.pool
    held_out = {key: pool[f"eval_{key}"] for key in ("rows_in", "rows_out", "dropped")}
    groups = [Group("Pool", [_counts("prompts to train on", pool), _counts("held-out prompts", held_out)])]
    for n, iteration in enumerate(data.iterations, 1):
        paired = "prompts" if iteration.rank else "published pairs"
        steps = [("generate", "prompts"), ("rank", "prompts"), ("pair", paired), ("train", "pairs")]
        found = [(step, getattr(iteration, step), unit) for step, unit in steps]
        lines = [_counts(step, counted, unit) for step, counted, unit in found if counted is not None]
        groups.append(Group(f"Iteration {n}", lines))
    return Table("Rows in, out and dropped", ["In", "Out", "Dropped, and why"], groups, "Step")


def _counts(label: str, metrics: Mapping[str, Any], unit: str = "") -> Row:
    reasons = {plain(reason): count for reason, count in metrics["dropped"].items() if count}
    lost = metrics["rows_in"] - metrics["rows_out"] - sum(reasons.values())
    if lost > 0:
        reasons["not accounted for"] = lost
    why = ", ".join(f"{reason} {number(count)}" for reason, count in reasons.items())
    cells = [Cell(number(metrics["rows_in"])), Cell(number(metrics["rows_out"])), Cell(why or "none", words=True)]
    return Row(label, cells, unit)


def times(data: ReportData) -> Table:
    """Seconds per stage and iteration, with a bar for each stage's share."""
    by_stage: dict[str, list[Metrics]] = {}
    for row in data.times:
        by_stage.setdefault(row["stage"], []).append(row)
    totals = {stage: sum(row["seconds"] for row in found) for stage, found in by_stage.items()}
    longest = max(totals.values(), default=0.0) or 1.0
    lines = [
        Row(
            stage,
            [
                Cell(seconds(totals[stage])),
                Cell("", bar=totals[stage] / longest),
                *(Cell(_spent(found, n)) for n in range(len(data.models))),
                Cell(number(_mean([row.get("tokens_per_second") for row in found]))),
                Cell(memory(max((row.get("peak_memory_mb") or 0.0 for row in found), default=0.0) or None)),
            ],
        )
        for stage, found in by_stage.items()
    ]
    whole = [Cell(seconds(sum(totals.values()))), Cell("")]
    whole += [Cell(_spent(data.times, n)) for n in range(len(data.models))] + [Cell(""), Cell("")]
    columns = ["Total", "", ONCE, *(f"Iteration {n}" for n in range(1, len(data.models))), "Tokens/s", "Peak memory"]
    return Table("Time per stage", columns, [Group("", lines), Group("", [Row("All stages", whole)])], "Stage")


def _spent(found: Sequence[Metrics], iteration: int) -> str:
    spent = [row["seconds"] for row in found if (row["iteration"] or 0) == iteration]
    return seconds(sum(spent)) if spent else DASH


def _mean(values: Iterable[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return sum(known) / len(known) if known else None


def hacks(teacher: Metrics) -> Table:
    """How often each known trick fools the teacher."""
    found = sorted(teacher["hacks"].items(), key=lambda item: -item[1])
    lines = [Row(plain(name), [Cell(percent(share)), Cell("", bar=share)]) for name, share in found]
    return Table("How often a trick beats the good answer", ["Fooled", ""], [Group("", lines)], "Trick")


def kinds(teacher: Metrics) -> Table:
    """How often the teacher prefers the good answer, by what was done to the bad one."""
    found = sorted(teacher["by_kind"].items(), key=lambda item: item[1])
    lines = [Row(plain(name), [Cell(percent(share)), Cell("", bar=share)]) for name, share in found]
    return Table(
        "Accuracy, by what is wrong with the other answer", ["Accuracy", ""], [Group("", lines)], "Other answer"
    )


def learning(teacher: Metrics) -> Table:
    """Accuracy by the number of pairs that were learnt from."""
    lines = [
        Row(
            number(row["pairs"]),
            [Cell(percent(row["accuracy"]), _interval(row["low"], row["high"])), Cell("", bar=row["accuracy"])],
        )
        for row in teacher["learning_curve"]
    ]
    caption = "Accuracy by pairs learnt from, with 95\N{NO-BREAK SPACE}% interval"
    return Table(caption, ["Accuracy", ""], [Group("", lines)], "Pairs")


def sources(pool: Metrics) -> str:
    """Where the pool's prompts came from, in one line."""
    return ", ".join(f"{plain(str(source))} {number(count)}" for source, count in pool["by_source"].items())


def facts(data: ReportData) -> list[tuple[str, str]]:
    """What was run, in a few words."""
    first = data.iterations[0]
    given = plural(first.pair["rows_in"], "published pair")
    if first.generate:
        given = f"{plural(first.generate['rows_in'], 'prompt')}, {data.responses}\N{NO-BREAK SPACE}responses each"
    spent = sum(row["seconds"] for row in data.times)
    return [
        ("Base model", data.base),
        ("Ranker", data.ranker),
        ("Iterations", number(len(data.iterations))),
        ("Per iteration", given),
        ("Time", seconds(spent) if spent else DASH),
    ]
