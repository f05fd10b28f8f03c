"""Constraints that a program can verify: "at most 20 words", "begin with 'Because'", "a JSON object with the key ...".

A constraint is a dict with a `kind` and that kind's fields:

| kind | fields | holds if |
|---|---|---|
| words, sentences, paragraphs, bullets, lines, digits | min, max (either may be absent) | there are so many of them |
| commas | max | there are no more |
| numbered | min, max | so many lines begin with a number: 1, 2, 3 and so on in this order |
| includes, avoids | text | the text stands in the answer as whole words, or does not |
| repeats | text, min, max | it stands there so often |
| starts, ends, line | text | the answer, or one of its lines, begins with it, or ends; marks around it are ignored |
| choice | options | one of them is the whole answer; marks around it are ignored |
| bold | text, min (either may be absent) | so many spans, at least one, between double asterisks have the text |
| case | case: lower, upper | no letter is of the other case |
| json | keys | the whole answer is one JSON object that has them, none of them empty |
| marks | mark, min, max | the character stands in it so often |
| last | mark | its last character is the mark; what closes after it (quotation marks, brackets) is ignored |
| quoted | mark | the mark is its first and its last character, and stands nowhere else; a full stop may follow |
| separated | by, min, max | it is one line of so many parts with this character between them, and no "and" |

Case is ignored except by `case` and in JSON. An answer without a letter or digit satisfies nothing, so an empty one
never passes for having no comma. Words are told apart by spaces and punctuation: scripts without spaces are not
supported.
"""

import json
import reprlib
from collections.abc import Callable
from typing import Any

from pairloop.errors import DataError, meant
from pairloop.prompts import counting, kinds

Constraint = kinds.Constraint


def parse(value: Any) -> list[Constraint]:
    """Constraints from a list of dicts, its JSON text (as in records.PROMPT), or None, which means that there are none.

    A field that is null is absent: files of columns give every constraint the fields of all, in an order of their own.
    Here each has its kind's order, so that a prompt is the same wherever it comes from.

    Raises:
        DataError: which constraint is wrong, and what it must be. Names no file: the caller knows it.
    """
    if isinstance(value, str):
        try:
            value = json.loads(value)
        except (ValueError, RecursionError):
            raise DataError(f"constraints is the text {value[:80]!r}, which is no JSON: it must be a list") from None
    if value is None:
        return []
    if not isinstance(value, list):
        raise DataError(f"constraints is {reprlib.repr(value)}: it must be a list of constraints, or null")
    stated = [_without_nulls(constraint) for constraint in value]
    for number, constraint in enumerate(stated, 1):
        problem = _problem(constraint)
        if problem:
            raise DataError(f"constraint {number} {problem}")
    return [{name: each[name] for name in ("kind", *_names(each["kind"])) if name in each} for each in stated]


def check(constraint: Constraint, response: str) -> bool:
    """Whether a response satisfies one constraint that `parse` has accepted. One without letter or digit never does."""
    return kinds.satisfied(constraint, response)


def share(constraints: list[Constraint], response: str) -> float:
    """Share of the constraints that a response satisfies, from 0 to 1.

    1.0 if there are none, so that such prompts tie: leave them out of averages, which they would flatter.
    """
    return sum(check(c, response) for c in constraints) / len(constraints) if constraints else 1.0


def holds(constraints: list[Constraint], response: str) -> bool:
    """Whether a response satisfies all constraints; True if there are none."""
    return all(check(c, response) for c in constraints)


def holds_loosely(constraints: list[Constraint], response: str) -> bool:
    """Whether each constraint is satisfied by the response, or by one of its `variants`; True if there are none.

    Each may be satisfied by another variant, as in IFEval's loose accuracy.
    """
    tried = variants(response)
    return all(any(check(c, text) for text in tried) for c in constraints)


def variants(response: str) -> list[str]:
    """A response, and what is left of it without a frame: IFEval's loose reading (arXiv 2311.07911, section 2.2).

    Returns:
        Eight texts: the response, without its first line ("Sure, here it is:"), without its last line, without both,
        and each of these without asterisks, which are Markdown's marks.
    """
    lines = response.split("\n")
    framed = [response, *("\n".join(part).strip() for part in (lines[1:], lines[:-1], lines[1:-1]))]
    return [*framed, *(text.replace("*", "") for text in framed)]


def _without_nulls(constraint: Any) -> Any:
    if not isinstance(constraint, dict):
        return constraint
    return {name: value for name, value in constraint.items() if value is not None}


def _problem(constraint: Any) -> str | None:
    """What is wrong with a constraint, as the end of a sentence that begins with its name."""
    if not isinstance(constraint, dict):
        return f"is {reprlib.repr(constraint)}: it must be an object with a kind"
    if "kind" not in constraint:
        return f"has no kind. Known: {', '.join(kinds.FIELDS)}"
    kind = constraint["kind"]
    if not isinstance(kind, str) or kind not in kinds.FIELDS:
        return f"has the unknown kind {kind!r}{meant(str(kind), list(kinds.FIELDS))}"
    return _wrong_name(kind, constraint) or _wrong_value(kind, constraint)


def _names(kind: str) -> list[str]:
    return [name for group in kinds.FIELDS[kind] for name in group]


def _wrong_name(kind: str, constraint: Constraint) -> str | None:
    """What fields it has that its kind does not, or lacks."""
    known = _names(kind)
    for name in constraint:
        if name not in ("kind", *known):
            return f"({kind}) has the unknown field {name!r}{meant(str(name), known)}"
    lacking = [group for group in kinds.FIELDS[kind] if not set(group) & set(constraint)]
    return f"({kind}) has no {' and no '.join(lacking[0])}" if lacking else None


def _wrong_value(kind: str, constraint: Constraint) -> str | None:
    wrong = [f for f in constraint if f != "kind" and not _ALLOWED[f][1](constraint[f])]
    if wrong:
        return f"({kind}): {wrong[0]} is {constraint[wrong[0]]!r}, it must be {_ALLOWED[wrong[0]][0]}"
    if constraint.get("min", 0) > constraint.get("max", constraint.get("min", 0)):
        return f"({kind}): min is {constraint['min']}, above max, which is {constraint['max']}"
    if constraint.get("max") == 0 and kind in kinds.NEVER_NONE:
        return f"({kind}): max is 0, which no answer can satisfy"
    return None


def _is_text(value: Any) -> bool:
    return isinstance(value, str) and counting.has_content(value)


def _is_mark(value: Any) -> bool:
    one = isinstance(value, str) and len(value) == 1
    return one and value.isprintable() and not value.isalnum() and not value.isspace()


def _are_names(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(name, str) and name for name in value) and _distinct(value)


def _distinct(names: list[str]) -> bool:
    return len(set(names)) == len(names)


_MARK = ("one character that is no letter, digit or space", _is_mark)

_ALLOWED: dict[str, tuple[str, Callable[[Any], bool]]] = {
    "min": ("a whole number, at least 1", lambda v: type(v) is int and v >= 1),
    "max": ("a whole number, at least 0", lambda v: type(v) is int and v >= 0),
    "text": ("a text with a letter or digit", _is_text),
    "case": ("lower or upper", lambda v: isinstance(v, str) and v in ("lower", "upper")),
    "keys": ("a list of one or more different names", lambda v: _are_names(v) and len(v) > 0),
    "options": (
        "a list of two or more different texts with a letter or digit",
        lambda v: _are_names(v) and len(v) > 1 and all(map(_is_text, v)),
    ),
    "mark": _MARK,
    "by": _MARK,
}
