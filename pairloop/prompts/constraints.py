"""Constraints that a program can verify: "at most 20 words", "begin with 'Because'", "a JSON object with the key ...".

A constraint is a dict with a `kind` and that kind's fields:

| kind | fields | holds if |
|---|---|---|
| words, sentences, paragraphs, bullets | min, max (either may be absent) | there are so many of them |
| commas | max | there are no more |
| includes, avoids | text | the text stands in the answer as whole words, or does not |
| starts, ends | text | the answer begins or ends with it; marks around it are ignored |
| case | case: lower, upper | no letter is of the other case |
| json | keys | the whole answer is one JSON object that has them, none of them empty |

Case is ignored except by `case` and in JSON. An answer without a letter or digit satisfies nothing, so an empty one
never passes for having no comma. Words are told apart by spaces and punctuation: scripts without spaces are not
supported.
"""

import json
import re
import reprlib
from collections.abc import Callable
from typing import Any

from pairloop.errors import DataError, meant
from pairloop.measures.texts import unspaced
from pairloop.prompts import counting

Constraint = dict[str, Any]

_COUNTERS: dict[str, Callable[[str], int]] = {
    "words": counting.words,
    "sentences": counting.sentences,
    "paragraphs": counting.paragraphs,
    "bullets": counting.bullets,
    "commas": counting.commas,
}

_FIELDS = {
    "words": ("min", "max"),
    "sentences": ("min", "max"),
    "paragraphs": ("min", "max"),
    "bullets": ("min", "max"),
    "commas": ("max",),
    "includes": ("text",),
    "avoids": ("text",),
    "starts": ("text",),
    "ends": ("text",),
    "case": ("case",),
    "json": ("keys",),
}


def parse(value: Any) -> list[Constraint]:
    """Constraints from a list of dicts, its JSON text (as in records.PROMPT), or None, which means that there are none.

    A field that is null is absent: files of columns give every constraint the fields of all.

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
    return stated


def check(constraint: Constraint, response: str) -> bool:
    """Whether a response satisfies one constraint that `parse` has accepted. One without letter or digit never does."""
    if not counting.has_content(response):
        return False
    match constraint["kind"]:
        case "includes":
            return _includes(response, constraint["text"])
        case "avoids":
            return not _includes(response, constraint["text"])
        case "starts":
            return _whole(constraint["text"]).match(_trimmed(response)) is not None
        case "ends":
            return _whole(constraint["text"], "$").search(_trimmed(response)) is not None
        case "case":
            return _has_case(response, constraint["case"])
        case "json":
            return _is_json_with(response, constraint["keys"])
        case counted:
            low, high = constraint.get("min", 0), constraint.get("max")
            count = _COUNTERS[counted](counting.clean(response))
            return low <= count and (high is None or count <= high)


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
        return f"has no kind. Known: {', '.join(_FIELDS)}"
    kind = constraint["kind"]
    if not isinstance(kind, str) or kind not in _FIELDS:
        return f"has the unknown kind {kind!r}{meant(str(kind), list(_FIELDS))}"
    for name in constraint:
        if name not in ("kind", *_FIELDS[kind]):
            return f"({kind}) has the unknown field {name!r}{meant(str(name), list(_FIELDS[kind]))}"
    if not set(_FIELDS[kind]) & set(constraint):
        return f"({kind}) has no {' and no '.join(_FIELDS[kind])}"
    wrong = [f for f in _FIELDS[kind] if f in constraint and not _ALLOWED[f][1](constraint[f])]
    if wrong:
        return f"({kind}): {wrong[0]} is {constraint[wrong[0]]!r}, it must be {_ALLOWED[wrong[0]][0]}"
    if constraint.get("min", 0) > constraint.get("max", constraint.get("min", 0)):
        return f"({kind}): min is {constraint['min']}, above max, which is {constraint['max']}"
    if constraint.get("max") == 0 and kind in ("words", "sentences", "paragraphs"):
        return f"({kind}): max is 0, which no answer can satisfy"
    return None


_ALLOWED: dict[str, tuple[str, Callable[[Any], bool]]] = {
    "min": ("a whole number, at least 1", lambda v: type(v) is int and v >= 1),
    "max": ("a whole number, at least 0", lambda v: type(v) is int and v >= 0),
    "text": ("a text with a letter or digit", lambda v: isinstance(v, str) and counting.has_content(v)),
    "case": ("lower or upper", lambda v: isinstance(v, str) and v in ("lower", "upper")),
    "keys": (
        "a list of one or more different names",
        lambda v: isinstance(v, list) and len(v) > 0 and all(isinstance(k, str) and k for k in v) and _distinct(v),
    ),
}


def _distinct(names: list[str]) -> bool:
    return len(set(names)) == len(names)


def _plain(text: str) -> str:
    """Folded for comparison: no case, no Markdown marks, single spaces."""
    return " ".join(re.sub(r"[*_`]", "", counting.clean(text)).casefold().split())


def _trimmed(text: str) -> str:
    """Plain text from its first letter or digit to its last."""
    text = _plain(text)
    kept = [place for place, character in enumerate(text) if character.isalnum()]
    return text[kept[0] : kept[-1] + 1]


def _whole(text: str, after: str = "") -> Any:
    """A pattern for a text, plain, as whole words. "dog" stands in "dog's" and "dog-eared", but "can" not in "can't".

    Beside a letter of a script that is written without spaces, a word may begin and end anywhere.
    """
    import regex

    letter = unspaced().pattern
    begins = rf"(?:(?<!\w)|(?<={letter})|(?={letter}))(?<!\w')"
    ends = rf"(?:(?!\w)|(?={letter})|(?<={letter}))(?!'t(?!\w))"
    return regex.compile(f"{begins}{re.escape(_trimmed(text))}{ends}{after}")


def _includes(response: str, text: str) -> bool:
    return _whole(text).search(_plain(response)) is not None


def _has_case(response: str, case: str) -> bool:
    lower, upper = response.lower(), response.upper()
    return lower != upper and response == (lower if case == "lower" else upper)


def _is_json_with(response: str, keys: list[str]) -> bool:
    fenced = re.fullmatch(r"```(?:json)?\s*\n(.*)\n\s*```", response.strip(), re.DOTALL | re.IGNORECASE)
    try:
        found = json.loads(fenced[1] if fenced else response)
    except (ValueError, RecursionError):
        return False
    return isinstance(found, dict) and all(found.get(key) not in (None, "", [], {}) for key in keys)
