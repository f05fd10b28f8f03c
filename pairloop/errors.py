"""What a user can get wrong. Each error is one message that says what was found, what is needed and what to do."""

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


class EngineError(PairloopError):
    """What computes elsewhere cannot be had, or fails: not installed, not reached, no such device, dead actors."""
