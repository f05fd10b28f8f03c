"""The page of two runs: settings, numbers with intervals, and the same prompts answered by both."""

import base64
import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from pairloop.comparing.runs import Answered, Difference, Run
from pairloop.measures.statistics import Estimate
from pairloop.report import formats
from pairloop.report.page import filled
from pairloop.report.samples import Text, text

HERE = Path(__file__).parent
STYLE = HERE.parent / "report" / "style.css"

WORDS = {1.0: "better than the base", 0.0: "worse than the base", 0.5: "as good as the base"}
"""A verdict in words."""


@dataclass(frozen=True)
class Compared:
    """What the page shows."""

    first: Run
    second: Run
    settings: Sequence[tuple[str, str | None, str | None]]
    """Parameters that differ: name, value of the first run, value of the second."""

    numbers: Mapping[int, Sequence[Difference]]
    """By iteration."""

    direct: Mapping[int, Mapping[str, Estimate]]
    """By iteration and judge, how often the second run's answers beat the first's."""

    answers: Sequence[Answered]
    """Of the last iteration that both have."""


def render(compared: Compared) -> str:
    """One HTML file that asks the network for nothing and runs no script; every text is escaped."""
    from markupsafe import Markup

    style = STYLE.read_text(encoding="utf-8")
    return filled(
        HERE,
        first=compared.first.name,
        second=compared.second.name,
        settings=[(name, own or formats.DASH, other or formats.DASH) for name, own, other in compared.settings],
        groups=[(n, [_line(found) for found in rows]) for n, rows in sorted(compared.numbers.items())],
        direct=[beaten(n, judge, e) for n, rates in sorted(compared.direct.items()) for judge, e in rates.items()],
        answers=[_shown(row) for row in compared.answers],
        last=max(compared.numbers),
        style=Markup(style),
        policy=base64.b64encode(hashlib.sha256(style.encode()).digest()).decode(),
    )


def _line(found: Difference) -> tuple[str, str, str, str, str, str]:
    """A row of the table: name, both values, the change with its interval, and what that says."""
    return (found.name, *texts(found), verdict(found))


def texts(found: Difference) -> tuple[str, str, str, str]:
    """Both values, the change, and its interval, in the number's unit."""
    if found.unit == "share":
        first, second = formats.percent(found.first), formats.percent(found.second)
        scale, digits = 100, 0
    else:
        first, second = formats.number(found.first, 1), formats.number(found.second, 1)
        scale, digits = 1, 1
    change, low, high = (
        formats.number(scale * v, digits) for v in (found.change.value, found.change.low, found.change.high)
    )
    unit = " points" if found.unit == "share" else ""
    sign = "+" if found.change.value > 0 and change != "0" else ""
    return first, second, f"{sign}{change}{unit}", f"{low} to {high}"


def verdict(found: Difference) -> str:
    """What the interval says: higher, lower, nothing, or that there are too few prompts to tell."""
    if found.shown is None:
        return f"cannot tell: {formats.plural(found.prompts, 'prompt')}"
    if not found.shown:
        return "no change shown"
    return "higher" if found.change.value > 0 else "lower"


def beaten(iteration: int, judge: str, rate: Estimate) -> str:
    """How often the second run's answers beat the first's, in words."""
    share, low, high = (formats.percent(value) for value in (rate.value, rate.low, rate.high))
    return f"Iteration {iteration}, by {judge}: {share} (95{formats.SPACE}% interval {low} to {high})"


@dataclass(frozen=True)
class Shown:
    """A prompt with both runs' answers, ready to be drawn."""

    title: str
    prompt: Text
    columns: Sequence[tuple[Text, Sequence[str]]]
    """For each run its answer, and what is known of it."""

    differs: bool
    """Whether a judge or the constraints say another thing of the two."""


def _shown(row: Answered) -> Shown:
    columns = [(text(row.answers[i]), [*_met(row.passes[i]), *_verdicts(row.wins, i)]) for i in (0, 1)]
    differs = row.passes[0] != row.passes[1] or any(own != other for own, other in row.wins.values())
    return Shown(formats.excerpt(row.prompt), text(row.prompt), columns, differs)


def _met(passed: bool | None) -> list[str]:
    return [] if passed is None else ["✓ constraints met" if passed else "✗ constraints not met"]


def _verdicts(wins: Mapping[str, tuple[float, float]], side: int) -> list[str]:
    return [f"{judge}: {WORDS[own[side]]}" for judge, own in wins.items()]
