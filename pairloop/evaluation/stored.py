"""The answers of models before, which a model's are compared with."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from pairloop.errors import DataError
from pairloop.evaluation.settings import Setting
from pairloop.files import records
from pairloop.files.records import Row

ORDER = "`dvc repro` evaluates the models in their order: run it, or evaluate that model first."
"""What to do where a model's answers lack what is compared."""


@dataclass(frozen=True)
class Stored:
    """All answers of a model."""

    path: Path
    """The file that they stand in."""

    rows: Sequence[Row]
    """Its rows: of each setting one for each prompt, in the same order."""

    @property
    def prompts(self) -> list[Row]:
        """The prompts that it answered: the rows of the first setting."""
        names = ("temperature", "best_of", "moved_on")
        return [row for row in self.rows if all(row[name] == self.rows[0][name] for name in names)]

    def given(self, setting: Setting) -> list[Row]:
        """The rows of one setting.

        Raises:
            DataError: there are none, or fewer answers to a prompt than the setting has.
        """
        found = [row for row in self.rows if all(row[name] == value for name, value in setting.columns.items())]
        if not found or any(len(row["responses"]) < setting.samples for row in found):
            raise DataError(f"{self.path}: holds no answers {setting}, {setting.samples} to a prompt. {ORDER}")
        return found


@dataclass(frozen=True)
class Before:
    """The models that one is compared with. Iteration 0 has neither."""

    base: Stored | None
    """Iteration 0's answers."""

    previous: Stored | None
    """Those of the iteration before, where that is not iteration 0."""


def read(path: Path) -> Stored:
    """The answers in a file of records.ANSWER; errors as of `records.read`."""
    return Stored(path, records.read(path, records.ANSWER))


def check_same_prompts(one: Stored, setting: Setting, other: Stored, other_setting: Setting) -> None:
    """Refuse answers that cannot be compared row by row.

    Raises:
        DataError: the files do not answer the same prompts in the same order; names both, and the first row that
            differs.
    """
    ours, theirs = (
        [row["prompt_id"] for row in stored.given(own)] for stored, own in ((one, setting), (other, other_setting))
    )
    if ours == theirs:
        return
    raise DataError(
        f"{one.path} ({setting}) and {other.path} ({other_setting}) {_difference(ours, theirs)}. Answers are compared "
        "prompt by prompt, so both files must have the same prompts in the same order. `dvc repro` makes them so; a "
        "file of another run has others."
    )


def _difference(ours: Sequence[str], theirs: Sequence[str]) -> str:
    if len(ours) != len(theirs):
        return f"answer {len(ours)} and {len(theirs)} prompts"
    row = next(i for i, both in enumerate(zip(ours, theirs, strict=True)) if both[0] != both[1])
    return f"answer other prompts: in row {row} {ours[row][:12]}… and {theirs[row][:12]}…"
