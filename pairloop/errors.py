"""What a user can get wrong. Each error is one message that says what was found, what is needed and what to do."""

import difflib
from collections.abc import Sequence

import click


class PairloopError(click.ClickException):
    """A user's mistake or a machine's limit: shown as one message, without a traceback."""

    exit_code = 1


class ParameterError(PairloopError):
    """A parameter is unknown, of the wrong type or out of range. Names the YAML key, the value and what is allowed."""


class DataError(PairloopError):
    """A file or row is missing, damaged or malformed. Names the file and the row."""


class ModelError(PairloopError):
    """Weights cannot be found, fetched, verified or loaded. Names the reference."""


class RankingError(PairloopError):
    """A score is not a finite number. Names the prompt and the response."""


class TrainingError(PairloopError):
    """Training cannot go on: no pairs, or a loss that is not a number."""


class AlarmError(PairloopError):
    """An iteration has made a model worse, and the run is to stop there. Names the measures."""


class EngineError(PairloopError):
    """What computes elsewhere cannot be had, or fails: not installed, not reached, no such device, dead actors."""


def first_line(error: Exception) -> str:
    """The first line of what a library says, or what kind of error it is."""
    return str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__


def nearest(name: str, known: Sequence[str], likeness: float = 0.6) -> str | None:
    """The known name that a misspelt one is most like; None if none is as alike, from 0 (any) to 1 (the same)."""
    near = difflib.get_close_matches(name, known, n=1, cutoff=likeness)
    return near[0] if near else None


def meant(name: str, known: Sequence[str]) -> str:
    """The end of a sentence about an unknown name: the known one that was meant, or all of them."""
    near = nearest(name, known)
    return f": did you mean {near}?" if near else f". Known: {', '.join(known)}"
