"""Files of one JSON object a line, as people write them: read with the file and the line of whatever is wrong."""

import json
import re
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, TypeVar

from pairloop.errors import DataError

CONTROL = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]")
"""Control characters other than tab, line feed and carriage return."""

Item = TypeVar("Item")
Found = TypeVar("Found")

_LISTED = 20
"""Bad rows that one message describes; the others are counted."""


def lines(path: Path) -> Iterator[tuple[str, bytes]]:
    """Each line of a file that is not blank, with where it stands: "mine.jsonl, line 3".

    Raises:
        DataError: the file cannot be read.
    """
    try:
        with path.open("rb") as file:
            for number, line in enumerate(file, 1):
                line = line.removeprefix(b"\xef\xbb\xbf") if number == 1 else line
                if line.strip():
                    yield f"{path}, line {number}", line
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror})") from None


def parse(line: bytes, place: str, example: str) -> dict[str, Any]:
    """The JSON object in a line.

    Args:
        line: UTF-8.
        place: where it stands, for messages.
        example: a line as it should be, for messages.

    Raises:
        DataError: it is no UTF-8, no JSON or no object, or has a key twice.
    """
    try:
        value = loads(line.decode())
    except UnicodeDecodeError as error:
        raise DataError(
            f"{place}: byte {error.start + 1} is no UTF-8 ({error.reason}). Save the file as UTF-8"
        ) from None
    except json.JSONDecodeError as error:
        raise DataError(f"{place}: no JSON ({error.msg}, character {error.pos + 1}). Each line is one object") from None
    except (ValueError, RecursionError):
        raise DataError(f"{place}: JSON that cannot be read: a number or a nesting is too large") from None
    except DataError as error:
        raise DataError(f"{place}: {error.message}") from None
    if not isinstance(value, dict):
        raise DataError(f"{place}: {value!r:.80} is no JSON object. Needed: {example}")
    return value


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """An object, if it has no key twice: which of the values is meant, nobody can tell."""
    found = dict(pairs)
    if len(found) < len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in found if names.count(name) > 1)
        raise DataError(f"the key {twice!r:.80} stands there more than once. Delete one")
    return found


def loads(text: str) -> Any:
    """The JSON value in a text; raises as `json.loads` does, and DataError where an object has a key twice."""
    return json.loads(text, object_pairs_hook=_once)


def each(items: Iterable[Item], convert: Callable[[Item], Found]) -> list[Found]:
    """Convert every row, and refuse those that cannot be all together, so that they are mended in one go.

    Raises:
        DataError: `convert` raised it, once or more often.
    """
    found: list[Found] = []
    wrong: list[str] = []
    for item in items:
        try:
            found.append(convert(item))
        except DataError as error:
            wrong.append(error.message)
    if wrong:
        more = [f"and {len(wrong) - _LISTED} rows more"] if len(wrong) > _LISTED else []
        raise DataError("\n".join([*wrong[:_LISTED], *more]))
    return found


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
