"""A plan as text of at most 100 columns."""

import textwrap
from collections.abc import Mapping, Sequence

from pairloop.planning.estimate import Estimate
from pairloop.planning.preflight import Finding, gigabytes

WIDTH = 100
"""Columns that a terminal has at least."""

_STATE = 22

_COLUMNS = "{:<11} {:<22} {:>7} {:>7} {:>8} {:>7} {:>7} {:>7} {:>7}"


def stages(estimates: Sequence[Estimate], states: Mapping[str, str], rented: int, price: float | None) -> list[str]:
    """A line for each stage, and one with the sums of those that would run.

    Args:
        estimates: of each stage, in the order in which they run; at least one.
        states: what is there of each, by stage; it begins with `runs` where it would run.
        rented: GPUs that are paid for while the run lasts, used or not; 0: none.
        price: of one GPU for an hour; None: no column of money.
    """
    names = ("stage", "state", "rows", "tokens", "time", "GPU-h", "memory", "scratch", "outputs")
    found = [_COLUMNS.format(*names) + ("" if price is None else f" {'money':>8}")]
    for one in estimates:
        state = _short(states[one.work.stage])
        found.append(
            _line((one.work.stage, state, _count(one.work.rows), _count(one.work.tokens)), [one], rented, price)
        )
    runs = to_run(estimates, states)
    found.append(_line(("to run", f"{len(runs)} of {len(estimates)} stages", "", ""), runs, rented, price))
    if any(state.startswith("runs after") for state in states.values()):
        found += wrapped("What runs after another stage may turn out not to: if that one's output is what it was.")
    return found


def to_run(estimates: Sequence[Estimate], states: Mapping[str, str]) -> list[Estimate]:
    """Those of the stages that would run."""
    return [one for one in estimates if states[one.work.stage].startswith("runs")]


def scratch(estimates: Sequence[Estimate]) -> float:
    """Bytes of scratch at most: training's checkpoints go when it has ended."""
    training = [one.cache for one in estimates if one.work.verb == "train"]
    return sum(one.cache for one in estimates) - sum(training) + max(training, default=0.0)


def _line(cells: Sequence[str], own: Sequence[Estimate], rented: int, price: float | None) -> str:
    hours = sum(one.hours for one in own)
    paid = f"{hours * rented:.1f}" if rented else "-"
    memory = gigabytes(max((one.memory for one in own), default=0.0))
    sizes = (_size(scratch(own)), _size(sum(one.artifacts for one in own)))
    money = "" if price is None else f" {hours * rented * price:>8.2f}"
    return (_COLUMNS.format(*cells, duration(3600 * hours), paid, memory, *sizes) + money).rstrip()


def _short(state: str) -> str:
    """A state that fits: of a path the end tells more than the beginning."""
    return state if len(state) <= _STATE else f"{state[:6]}…{state[7 - _STATE :]}"


def _size(size: float) -> str:
    if size < 0.5e6:
        return "-"
    return f"{size / 1e6:.0f} MB" if size < 0.95e9 else gigabytes(size)


def _count(number: float) -> str:
    if number < 10_000:
        return f"{number:.0f}" if number else ""
    return (
        f"{number / 1e3:.0f}k" if number < 1e6 else f"{number / 1e6:.1f}M" if number < 1e9 else f"{number / 1e9:.1f}G"
    )


def duration(seconds: float) -> str:
    """Seconds as people say them."""
    if seconds < 600:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"


def wrapped(text: str, first: str = "", rest: str = "  ") -> list[str]:
    """A text in lines that fit."""
    return textwrap.wrap(text, WIDTH, initial_indent=first, subsequent_indent=rest, break_on_hyphens=False)


def checks(findings: Sequence[Finding]) -> list[str]:
    """A line or two for each finding, the worst last, where one looks."""
    order = ("OK", "warning", "no-go")
    ordered = sorted(findings, key=lambda finding: order.index(finding.level))
    return [line for one in ordered for line in wrapped(one.text, f"{one.level:<9}", " " * 9)]
