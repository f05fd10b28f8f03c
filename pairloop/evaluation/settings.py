"""What an evaluation measures, of which model and with what: at each temperature, best of several, moved on."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path

from pairloop.files.records import Row
from pairloop.params import Eval, Params


@dataclass(frozen=True)
class Setting:
    """One way of answering the held-out prompts: a row of the results."""

    temperature: float
    """Softmax temperature; 0 is greedy."""

    samples: int = field(default=1, compare=False)
    """Answers to each prompt that are measured."""

    best_of: int = 1
    """Answers to each prompt of which one is picked and measured; 1: none is picked."""

    moved_on: float = 0.0
    """The factor by which the model is moved on from iteration 0; 0: it is as training left it."""

    @property
    def plain(self) -> bool:
        """Whether a model answers as it is, with all its answers measured."""
        return self.best_of == 1 and not self.moved_on

    @property
    def columns(self) -> Row:
        """Those of records.ANSWER that tell one setting's rows from another's."""
        return {"temperature": self.temperature, "best_of": self.best_of, "moved_on": self.moved_on}

    def __str__(self) -> str:
        picked = f", best of {self.best_of}" if self.best_of > 1 else ""
        moved = f", moved on by {self.moved_on:g}" if self.moved_on else ""
        return f"at temperature {self.temperature:g}{picked}{moved}"


def settings(own: Eval, base: bool) -> list[Setting]:
    """All that `eval` asks for, the main one first.

    Args:
        own: the parameters. A greedy answer is given once, whatever `samples` is: it would always be the same.
        base: whether it is iteration 0 that answers, which cannot be moved on from itself.
    """
    found = [Setting(t, samples=own.samples if t else 1) for t in own.temperatures]
    if own.best_of > 1:
        found.append(Setting(own.best_of_temperature, best_of=own.best_of))
    return found + [Setting(found[0].temperature, moved_on=factor) for factor in (() if base else own.extrapolate)]


@dataclass(frozen=True)
class Models:
    """Where the models lie."""

    policy: Path
    """The one that is measured."""

    base: Path
    """models/iteration_0."""

    teacher: Path
    """models/teacher, which `rank.ranker` and judges may read."""


@dataclass(frozen=True)
class Means:
    """What answering and judging need beside models."""

    params: Params
    """Of the whole run."""

    scratch: Path
    """Folder for finished shards."""

    collect: Callable[[Iterable[list[Row]], int, str], list[Row]]
    """Puts the rows of all shards into one list; it is told how many there will be and what they are, to show it."""

    label: str
    """What is evaluated, such as eval@2."""
