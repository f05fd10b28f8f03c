"""Answers in AlpacaEval's format, model_outputs.json: read, and set beside those that they are compared with."""

import hashlib
import json
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pairloop.errors import DataError
from pairloop.files.records import Row, file_sha256
from pairloop.measures.statistics import FEW

BENCHMARK = "bfe8c45991f635de0b1f94abeeb1335ef665d58eddd87ddf6fa71b7b0c2ce7a5"
"""The sha256 of AlpacaEval's 805 instructions in their order, with a zero byte between two."""

_NEEDED = 'Needed: a list of {"instruction", "output", "generator"} as AlpacaEval\'s model_outputs.json has it'


@dataclass(frozen=True)
class Answers:
    """What one model said to many instructions."""

    name: str
    """Where they come from, for messages."""

    sha256: str
    """Of the file."""

    rows: list[Row]
    """`instruction`, different in each, `output`, `generator` and `dataset`."""

    @property
    def generator(self) -> str:
        """Who answered."""
        return str(self.rows[0]["generator"])


@dataclass(frozen=True)
class Pair:
    """Two answers to one instruction."""

    instruction: str
    reference: str
    own: str
    dataset: str | None


@dataclass(frozen=True)
class Matched:
    """The instructions that both have answered, in the benchmark's order or else in the reference's."""

    pairs: list[Pair]
    """One for each."""

    is_benchmark: bool
    """Whether they are AlpacaEval's 805, in its order."""

    said: str | None
    """What a reader must know of what is missing; None where nothing is."""


def read(path: Path, name: str) -> Answers:
    """The answers in a file.

    Args:
        path: of the file.
        name: what it is called in messages: the parameter's value.

    Raises:
        DataError: it is no such list, or an instruction stands there twice. Names the file and the row.
    """
    try:
        rows = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise DataError(f"{name}: cannot be read ({error.strerror}). {_NEEDED}") from None
    except ValueError as error:
        raise DataError(f"{name}: no valid JSON ({error}). {_NEEDED}") from None
    if not isinstance(rows, list) or not rows:
        raise DataError(f"{name}: {str(rows)[:60]} is no list of answers. {_NEEDED}")
    found = [_row(row, f"{name}, row {number}") for number, row in enumerate(rows)]
    first: dict[str, int] = {}
    for number, row in enumerate(found):
        if first.setdefault(row["instruction"], number) != number:
            raise DataError(
                f"{name}, row {number}: the instruction of row {first[row['instruction']]} again, "
                f"{row['instruction']!r:.60}. Answers are matched by instruction: delete one of the two"
            )
    return Answers(name, file_sha256(path), found)


def _row(row: Any, place: str) -> Row:
    if not isinstance(row, dict):
        raise DataError(f"{place}: {row!r:.60} is no object. {_NEEDED}")
    for key in ("instruction", "output"):
        if not isinstance(row.get(key), str):
            raise DataError(f"{place}: {key} is {row.get(key)!r:.60}, and must be a text. {_NEEDED}")
    given = {key: row.get(key) for key in ("generator", "dataset")}
    return {
        "instruction": row["instruction"],
        "output": row["output"],
        "generator": str(given["generator"]) if given["generator"] is not None else "unnamed",
        "dataset": str(given["dataset"]) if given["dataset"] is not None else None,
    }


def matched(own: Answers, reference: Answers, left_out: Collection[str] = ()) -> Matched:
    """Both answers to each instruction that both files have, whatever order they are in.

    Args:
        own: a model's answers.
        reference: those that they are compared with.
        left_out: instructions with constraints that a program counts, which are not compared.

    Raises:
        DataError: fewer than two such instructions are in both.
    """
    answers, others = ({row["instruction"]: row for row in one.rows} for one in (own, reference))
    ordered = answers if is_benchmark(list(answers)) and not is_benchmark(list(others)) else others
    common = [text for text in ordered if text in answers and text in others and text not in left_out]
    which = "instructions without constraints" if left_out else "instructions"
    if len(common) < 2:
        raise DataError(
            f"{own.name} and {reference.name} have {len(common)} {which} in common, and answers are matched by "
            f"instruction: the first are {own.rows[0]['instruction']!r:.60} and "
            f"{reference.rows[0]['instruction']!r:.60}. Let both answer the same ones (pool.eval_source), or choose "
            "another eval.reference_outputs"
        )
    pairs = [
        Pair(text, others[text]["output"], answers[text]["output"], others[text]["dataset"] or answers[text]["dataset"])
        for text in common
    ]
    return Matched(pairs, is_benchmark(common), _missing(own, reference, len(common), bool(left_out)))


def is_benchmark(instructions: Sequence[str]) -> bool:
    """Whether these are AlpacaEval's 805 in their order, to which its difficulties belong."""
    return hashlib.sha256("\0".join(instructions).encode()).hexdigest() == BENCHMARK


def _missing(own: Answers, reference: Answers, common: int, narrowed: bool) -> str | None:
    told, which = [], " without constraints" if narrowed else ""
    if common < max(len(own.rows), len(reference.rows)):
        told.append(
            f"{own.name} has {len(own.rows)} instructions and {reference.name} {len(reference.rows)}; the {common}"
            f"{which} that both have are judged"
        )
    if common < FEW:
        told.append(f"{common} instructions are too few to tell models apart: read the interval, not the win rate")
    return ". ".join(told) or None
