"""The user's own preferences: .jsonl files of a prompt, a chosen response and a rejected one."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pairloop.errors import DataError
from pairloop.files import jsonl
from pairloop.rankers.specialist.comparisons import Preference

EXAMPLE = '{"prompt": "…", "chosen": "…", "rejected": "…"}'


@dataclass(frozen=True)
class Preferences:
    """What a file, or a folder of them, holds."""

    pairs: tuple[Preference, ...]
    """The different pairs, in the order of the files and lines."""

    rows: int
    """Lines with a pair, duplicates too."""

    contradictions: int
    """Pairs that stand there the other way round as well. Both are kept: who disagrees says that it is a toss-up."""

    @property
    def counts(self) -> dict[str, int]:
        """rows, duplicates (left out) and contradictions (kept)."""
        duplicates = self.rows - len(self.pairs)
        return {"rows": self.rows, "duplicates": duplicates, "contradictions": self.contradictions}


def read(path: Path) -> Preferences:
    """Read preferences.

    A line is an object with `prompt`, `chosen` and `rejected`; other keys are passed over. A response is a text, or a
    conversation `[{"role": "user", "content": …}, {"role": "assistant", "content": …}]` as in this program's own
    splits, whose user turn, if it is there, is the prompt.

    Args:
        path: a .jsonl file, or a folder whose .jsonl files are read in the order of their names.

    Raises:
        DataError: there is no such file or no pair in it, or a line is malformed: no JSON, a key missing, a value that
            is no text or empty, control characters, equal responses. Names the file and every such line.
    """
    rows = [row for file in _files(path) for row in _rows(file)]
    if not rows:
        raise DataError(f"{path}: has no preferences. Needed: one {EXAMPLE} a line")
    pairs = dict.fromkeys(rows)
    opposed = sum((prompt, rejected, chosen) in pairs for prompt, chosen, rejected in pairs)
    return Preferences(tuple(pairs), len(rows), opposed // 2)


def _files(path: Path) -> list[Path]:
    if path.is_dir():
        found = sorted(path.glob("*.jsonl"))
        if not found:
            raise DataError(f"{path}: the folder has no .jsonl file. Needed: one with a {EXAMPLE} a line")
        return found
    if path.suffix != ".jsonl" or not path.is_file():
        what = "no such file" if path.suffix == ".jsonl" else "no .jsonl file and no folder"
        raise DataError(f"{path}: {what}. Preferences are read from a .jsonl file or a folder of them: {EXAMPLE}")
    return [path]


def _rows(path: Path) -> list[Preference]:
    return jsonl.each(jsonl.lines(path), _row)


def _row(found: tuple[str, bytes]) -> Preference:
    place, line = found
    values = jsonl.parse(line, place, EXAMPLE)
    for name in ("prompt", "chosen", "rejected"):
        if values.get(name) is None:
            raise DataError(f"{place}: has no {name}. Needed: {EXAMPLE}")
    prompt = _text(values["prompt"], f"{place}: prompt")
    chosen, rejected = (_response(values, name, prompt, place) for name in ("chosen", "rejected"))
    if chosen.strip() == rejected.strip():
        raise DataError(f"{place}: chosen and rejected are the same text. Delete the line, or correct one of them")
    return prompt, chosen, rejected


def _response(values: Mapping[str, Any], name: str, prompt: str, place: str) -> str:
    """The text of a response, whether it stands alone or ends a conversation."""
    value, what = values[name], f"{place}: {name}"
    if not isinstance(value, list):
        return _text(value, what)
    roles = [turn.get("role") if isinstance(turn, dict) else None for turn in value]
    if roles not in (["user", "assistant"], ["assistant"]):
        raise DataError(f"{what} is a conversation of {len(value)} turns: needed is the user's prompt, then one answer")
    if len(value) == 2 and value[0].get("content") != prompt:
        raise DataError(f"{what} begins with another prompt than the line's own. Both must be the same text")
    return _text(value[-1].get("content"), what)


def _text(value: Any, what: str) -> str:
    if not isinstance(value, str):
        raise DataError(f"{what} is {value!r:.80}: it must be a text")
    if not value.strip():
        raise DataError(f"{what} is empty. Write one, or delete the line")
    jsonl.check_encodable(value, what)
    jsonl.check_control(value, what)
    return value
