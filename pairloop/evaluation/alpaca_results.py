"""AlpacaEval's numbers of one model's answers, with intervals, and the table of all models on one scale."""

import csv
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pairloop.errors import DataError
from pairloop.evaluation import alpaca
from pairloop.evaluation.alpaca_answers import Matched, Pair
from pairloop.files import records
from pairloop.files.records import Row
from pairloop.measures.statistics import estimate
from pairloop.work import shards

FITS = 200
"""Fits behind the interval of a length-controlled win rate."""

_COLUMNS = ("index", "preference", "std_delta_len", "instruction_difficulty")


@dataclass(frozen=True)
class Difficulties:
    """AlpacaEval's df_gamed.csv."""

    of: list[float]
    """Of each instruction, in the benchmark's order."""

    gamed: alpaca.Gamed
    """The rows that the full form is fitted to besides a model's own."""


def difficulties(path: Path) -> Difficulties:
    """What the full length-controlled form needs.

    Raises:
        DataError: the file has not these columns, or one of them not a number in each row.
    """
    with path.open(encoding="utf-8", newline="") as lines:
        rows = list(csv.DictReader(lines))
    missing = [name for name in _COLUMNS if not rows or name not in rows[0]]
    if missing:
        raise DataError(f"{path}: has no column {', '.join(missing)}: AlpacaEval's df_gamed.csv is needed")
    by_index: dict[int, float] = {}
    columns: list[list[float]] = [[], [], []]
    for number, row in enumerate(rows, 2):
        try:
            index, *values = int(row["index"]), *(float(row[name]) for name in _COLUMNS[1:])
        except (ValueError, TypeError):
            raise DataError(f"{path}, line {number}: {row} must have a number in {', '.join(_COLUMNS)}") from None
        by_index.setdefault(index, values[2])
        for column, value in zip(columns, values, strict=True):
            column.append(value)
    if sorted(by_index) != list(range(len(by_index))):
        raise DataError(f"{path}: index must be the place of each instruction, from 0 without a gap")
    return Difficulties([by_index[i] for i in range(len(by_index))], alpaca.Gamed(*columns))


def numbers(
    preferences: Sequence[float | None],
    matched: Matched,
    given: Difficulties | None,
    form: alpaca.Form,
    resamples: int,
    seed: int,
) -> dict[str, Any]:
    """Win rates in per cent.

    Args:
        preferences: of each pair, as for `alpaca.win_rate`.
        matched: the answers.
        given: of AlpacaEval's instructions, where the full form is wanted.
        form: how that is fitted.
        resamples, seed: of the bootstrap.

    Returns:
        instructions, verdicts, without_verdict, win_rate with standard_error and the interval low and high,
        discrete_win_rate, wins, losses, draws, length_controlled with length_controlled_low and _high (of FITS exact
        fits), length_controlled_form (`full` or `minimal`), length_controlled_fit and the package's lc_standard_error
        (of the full form; it says how much instructions differ, not how sure the fit is), mean_characters.

    Raises:
        DataError: fewer than two verdicts.
    """
    characters = [len(one.own) for one in matched.pairs]
    return (
        {"instructions": len(matched.pairs)}
        | _uncontrolled(preferences, resamples, seed)
        | _controlled(preferences, matched, given, form, seed)
        | {"mean_characters": int(sum(characters) / len(characters))}
    )


def _uncontrolled(preferences: Sequence[float | None], resamples: int, seed: int) -> dict[str, Any]:
    rate = alpaca.win_rate(preferences)
    interval = estimate([100 * share for share in alpaca.shares(preferences).values()], resamples, seed)
    return {
        "verdicts": rate.total,
        "without_verdict": len(preferences) - rate.total,
        "win_rate": rate.win_rate,
        "standard_error": rate.standard_error,
        "low": interval.low,
        "high": interval.high,
        "discrete_win_rate": rate.discrete_win_rate,
        "wins": rate.wins,
        "losses": rate.losses,
        "draws": rate.draws,
    }


def _controlled(
    preferences: Sequence[float | None], matched: Matched, given: Difficulties | None, fit: alpaca.Form, seed: int
) -> dict[str, Any]:
    own, others = [len(one.own) for one in matched.pairs], [len(one.reference) for one in matched.pairs]
    if not (given and matched.is_benchmark and len(given.of) == len(matched.pairs)):

        def minimal(rows: Sequence[int]) -> float:
            return alpaca.length_controlled_minimal(*_picked(rows, preferences, own, others))

        return _named(minimal(range(len(own))), None, _interval(minimal, len(own), seed), "minimal", "exact")

    def full(rows: Sequence[int]) -> float:
        verdicts, *lengths, difficulty = _picked(rows, preferences, own, others, given.of)
        return alpaca.length_controlled(verdicts, lengths[0], lengths[1], difficulty, given.gamed)[0]

    value, error = alpaca.length_controlled(preferences, own, others, given.of, given.gamed, fit)
    return _named(value, error, _interval(full, len(own), seed), "full", fit)


def _picked(rows: Sequence[int], *columns: Sequence[Any]) -> list[Any]:
    return [[column[row] for row in rows] for column in columns]


def _interval(value: Callable[[Sequence[int]], float], rows: int, seed: int) -> tuple[float, float]:
    """Between which 95 % of the values lie, where the instructions are drawn again and the model fitted anew."""
    import numpy as np

    rng = np.random.default_rng(shards.seed_of(seed, "length_controlled"))
    found = [value(rng.integers(0, rows, rows).tolist()) for _ in range(FITS)]
    low, high = np.percentile(found, [2.5, 97.5])
    return float(low), float(high)


def _named(value: float, error: float | None, interval: tuple[float, float], form: str, fit: str) -> dict[str, Any]:
    return {
        "length_controlled": value,
        "length_controlled_low": interval[0],
        "length_controlled_high": interval[1],
        "length_controlled_form": form,
        "length_controlled_fit": fit,
        "lc_standard_error": error,
    }


def annotations(
    preferences: Sequence[float | None], pairs: Sequence[Pair], names: tuple[str, str], annotator: str
) -> list[Row]:
    """The verdicts in the format of AlpacaEval's annotations.json; `names` are the reference's and the model's."""
    return [
        {
            "instruction": one.instruction,
            "dataset": one.dataset,
            "output_1": one.reference,
            "generator_1": names[0],
            "output_2": one.own,
            "generator_2": names[1],
            "annotator": annotator,
            "preference": value,
        }
        for one, value in zip(pairs, preferences, strict=True)
    ]


def table(folder: Path) -> list[Row]:
    """What `result.json` says of each model in a folder, with `judged`: "judged by X on DATE".

    The iterations come first, in their order, then the others, the best first.
    """
    rows = []
    for path in sorted(folder.glob("*/result.json")):
        found = records.read_json(path)
        date = records.read_json(path.with_name("time.json"))["judged_on"]
        rows.append(found | {"judged_on": date, "judged": f"judged by {found['annotator']} on {date}"})
    return sorted(rows, key=_place)


def _place(row: Row) -> tuple[int, float, str]:
    iteration = re.fullmatch("iteration_([0-9]+)(_best_of)?", row["name"])
    return (0, int(iteration[1]), row["name"]) if iteration else (1, -row["win_rate"], row["name"])
