"""Pairs of answers to the same prompt, chosen by a rule and not by hand: those whose verdict training changed."""

from collections.abc import Sequence
from dataclasses import dataclass

from pairloop.report.answers import name
from pairloop.report.data import Metrics
from pairloop.report.formats import number, plural
from pairloop.report.samples import Text, constraints, text

SHOWN = 6
"""Pairs on the page."""


@dataclass(frozen=True)
class Demand:
    """A constraint of a prompt, and whether an answer meets it."""

    said: str
    """In words."""

    met: bool


@dataclass(frozen=True)
class Side:
    """One model's answer."""

    model: str
    passed: bool
    """Whether it meets all demands."""

    demands: Sequence[Demand]
    text: Text


@dataclass(frozen=True)
class Pair:
    """The base model's answer to a prompt, and the last iteration's: one of them follows all instructions."""

    prompt: Text
    sides: Sequence[Side]


@dataclass(frozen=True)
class Changed:
    """What the page shows of the prompts whose verdict changed."""

    rule: str
    """How the pairs were chosen, and of how many."""

    pairs: Sequence[Pair]


def changed(rows: Sequence[Metrics]) -> Changed:
    """The first prompts, in the eval set's order, whose verdict changed between the base model and the last iteration.

    Args:
        rows: see `pairloop.report`.
    """
    held = [row for row in rows if row["passes"][0] is not None and row["passes"][-1] is not None]
    found = [row for row in held if row["passes"][0] != row["passes"][-1]]
    return Changed(_rule(held, found), [_pair(row) for row in found[:SHOWN]])


def _rule(held: Sequence[Metrics], found: Sequence[Metrics]) -> str:
    of = f"of {plural(len(held), 'held-out prompt')} with instructions"
    if not found:
        return f"The verdict on none {of} changed."
    better = sum(bool(row["passes"][-1]) for row in found)
    which = f"The first {SHOWN}" if len(found) > SHOWN else "All"
    return (
        f"{which} whose verdict changed, in the set’s own order. It changed on {number(len(found))} {of}: "
        f"{number(better)} for the better, {number(len(found) - better)} for the worse."
    )


def _pair(row: Metrics) -> Pair:
    return Pair(text(row["prompt"]), [_side(row, 0), _side(row, len(row["outputs"]) - 1)])


def _side(row: Metrics, n: int) -> Side:
    met = row["met"][n] or []
    demands = [Demand(*both) for both in zip(constraints(row), met, strict=True)]
    return Side(name(n), bool(row["passes"][n]), demands, text(row["outputs"][n]))
