"""Files of one JSON object a line, as people write them: read with the file and the line of whatever is wrong."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pairloop.errors import DataError

CONTROL = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]")
"""Control characters other than tab, line feed and carriage return."""


def objects(path: Path, example: str) -> Iterator[tuple[int, dict[str, Any]]]:
    """Each object of a UTF-8 file with the number of its line, from 1. Blank lines are passed over.

    Args:
        path: an existing file.
        example: a line as it should be, for messages.

    Raises:
        DataError: a line is no UTF-8, no JSON or no object. Names the file and the line.
    """
    with path.open("rb") as file:
        for number, line in enumerate(file, 1):
            values = _object(
                line.removeprefix(b"\xef\xbb\xbf") if number == 1 else line, f"{path}, line {number}", example
            )
            if values is not None:
                yield number, values


def _object(line: bytes, place: str, example: str) -> dict[str, Any] | None:
    """The JSON object in a line, or None for a blank line."""
    try:
        text = line.decode()
        value = json.loads(text) if text.strip() else None
    except UnicodeDecodeError as error:
        raise DataError(
            f"{place}: byte {error.start + 1} is no UTF-8 ({error.reason}). Save the file as UTF-8"
        ) from None
    except json.JSONDecodeError as error:
        raise DataError(f"{place}: no JSON ({error.msg}, character {error.pos + 1}). Each line is one object") from None
    except (ValueError, RecursionError):
        raise DataError(f"{place}: JSON that cannot be read: a number or a nesting is too large") from None
    if not text.strip():
        return None
    if not isinstance(value, dict):
        raise DataError(f"{place}: {value!r:.80} is no JSON object. Needed: {example}")
    return value


def check_encodable(value: Any, what: str) -> None:
    """JSON can spell half a surrogate pair, `"\\ud800"`, which is no character and has no UTF-8.

    Raises:
        DataError: such a half is somewhere in `value`; begins with `what`.
    """
    try:
        json.dumps(value, ensure_ascii=False).encode()
    except UnicodeEncodeError as error:
        half = ord(error.object[error.start])
        raise DataError(f"{what} has half a surrogate pair (\\u{half:04x}), which is no text") from None


def check_control(text: str, what: str) -> None:
    """Refuse control characters.

    Raises:
        DataError: `text` has one; begins with `what`.
    """
    control = CONTROL.search(text)
    if control:
        character = f"U+{ord(control[0]):04X}"
        raise DataError(f"{what} has the control character {character} at {control.start()}. Delete it")
