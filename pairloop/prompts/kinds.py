"""The kinds of constraints: which fields each has, and whether a response satisfies one.

`constraints` lists them in words, reads them from files and puts them together.
"""

import json
import re
from collections.abc import Callable
from typing import Any

from pairloop.measures.texts import unspaced
from pairloop.prompts import counting

Constraint = dict[str, Any]

_BOUNDS = ("min", "max")

FIELDS: dict[str, tuple[tuple[str, ...], ...]] = {
    "words": (_BOUNDS,),
    "sentences": (_BOUNDS,),
    "paragraphs": (_BOUNDS,),
    "bullets": (_BOUNDS,),
    "commas": (("max",),),
    "includes": (("text",),),
    "avoids": (("text",),),
    "starts": (("text",),),
    "ends": (("text",),),
    "case": (("case",),),
    "json": (("keys",),),
    "choice": (("options",),),
    "numbered": (_BOUNDS,),
    "lines": (_BOUNDS,),
    "separated": (("by",), _BOUNDS),
    "digits": (_BOUNDS,),
    "marks": (("mark",), _BOUNDS),
    "last": (("mark",),),
    "quoted": (("mark",),),
    "repeats": (("text",), _BOUNDS),
    "line": (("text",),),
    "bold": (("text", "min"),),
}
"""The fields of each kind, in groups: a constraint has at least one of every group."""

NEVER_NONE = ("words", "sentences", "paragraphs", "lines", "separated")
"""Kinds of which every answer with a letter or digit has one, so that a max of 0 cannot be met."""

BEYOND_LENGTH = (
    *("case", "json", "choice", "starts", "ends", "line", "includes", "repeats"),
    *("bullets", "numbered", "bold", "quoted", "last"),
)
"""Kinds that no answer satisfies by being of the right length: they demand a form, or words, that a text which knows
nothing of the demand hardly ever has, however far it is cut.

The others are met by length alone, at least now and then, and are left out of what is said of instructions apart from
length: words, sentences, paragraphs, lines (counts of what a shorter text has fewer of: cut to a few words, it is one
sentence), commas, digits, marks, avoids (a short text has none), separated (a short line with a comma has two parts).
Tried on 120 answers of SmolLM2-135M to other prompts, each cut to the number of words that suits a demand best: of the
kinds above they meet 0 to 3 % by kind, of the others 9 to 100 %.
"""

_COUNTERS: dict[str, Callable[[str], int]] = {
    "words": counting.words,
    "sentences": counting.sentences,
    "paragraphs": counting.paragraphs,
    "bullets": counting.bullets,
    "commas": counting.commas,
    "lines": counting.lines,
    "digits": counting.digits,
}

_DOUBLE_QUOTES = str.maketrans(dict.fromkeys("\u201c\u201d\u201e\u201f\u00ab\u00bb", '"'))
_CLOSING = "\"'*_`)]}\u201d\u00bb \t\n"
_BOLD = re.compile(r"\*\*(?=\S)([^*\n]+)(?<=\S)\*\*")


def satisfied(constraint: Constraint, response: str) -> bool:
    """Whether a response satisfies one constraint. One without letter or digit never does."""
    if not counting.has_content(response):
        return False
    kind, text = constraint["kind"], counting.clean(response).strip()
    if kind in _COUNTERS:
        return _within(constraint, _COUNTERS[kind](counting.clean(response)))
    if kind in ("case", "json"):
        return _has_case(response, constraint["case"]) if kind == "case" else _is_json(response, constraint["keys"])
    if "mark" in constraint or "by" in constraint:
        return _has_marks(constraint, text)
    return _has_texts(constraint, text)


def beyond_length(constraint: Constraint) -> bool:
    """Whether no answer satisfies a constraint by its length alone: its kind is such, and none is not enough.

    "At most two bullets" is met by every text without any.
    """
    return constraint["kind"] in BEYOND_LENGTH and ("max" not in constraint or "min" in constraint)


def limits_words(constraint: Constraint) -> bool:
    """Whether a constraint asks for an answer that is short: one of some options, or at most so many words."""
    return constraint["kind"] == "choice" or (constraint["kind"] == "words" and "max" in constraint)


def _has_texts(constraint: Constraint, text: str) -> bool:
    """Kinds that look for words, which stand for themselves whatever their case and the marks around them."""
    match constraint["kind"]:
        case "includes":
            return _times(text, constraint["text"]) > 0
        case "avoids":
            return _times(text, constraint["text"]) == 0
        case "repeats":
            return _within(constraint, _times(text, constraint["text"]))
        case "starts":
            return _starts(text, constraint["text"])
        case "line":
            lines = (line for line in text.split("\n") if counting.has_content(line))
            return any(_starts(line, constraint["text"]) for line in lines)
        case "ends":
            return _whole(constraint["text"], "$").search(_trimmed(text)) is not None
        case "choice":
            return _trimmed(text) in {_trimmed(option) for option in constraint["options"]}
        case "numbered":
            numbers = counting.numbers(text)
            return numbers == list(range(1, len(numbers) + 1)) and _within(constraint, len(numbers))
        case _:
            spans = sum(_is_bold(span, constraint) for span in _BOLD.findall(text))
            return _within({"min": 1} | constraint, spans)


def _has_marks(constraint: Constraint, text: str) -> bool:
    """Kinds that look for a character that is no letter, digit or space."""
    mark = counting.clean(constraint.get("mark") or constraint["by"])
    match constraint["kind"]:
        case "marks":
            return _within(constraint, text.count(mark))
        case "last":
            return text.rstrip(_CLOSING.replace(mark, "")).endswith(mark)
        case "quoted":
            plain = text.translate(_DOUBLE_QUOTES).removesuffix(".")
            return plain[0] == plain[-1] == mark.translate(_DOUBLE_QUOTES) and plain.count(plain[0]) == 2
        case _:
            parts = text.split(mark)
            whole = all(counting.has_content(part) and not _times(part, "and") for part in parts)
            return whole and "\n" not in text and _within(constraint, len(parts))


def _within(constraint: Constraint, count: int) -> bool:
    high = constraint.get("max")
    return bool(constraint.get("min", 0) <= count and (high is None or count <= high))


def _is_bold(span: str, constraint: Constraint) -> bool:
    return counting.has_content(span) and ("text" not in constraint or _times(span, constraint["text"]) > 0)


def _starts(response: str, text: str) -> bool:
    return _whole(text).match(_trimmed(response)) is not None


def _times(response: str, text: str) -> int:
    """How often a text stands in a response as whole words."""
    return len(_whole(text).findall(_plain(response)))


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


def _has_case(response: str, case: str) -> bool:
    lower, upper = response.lower(), response.upper()
    return lower != upper and response == (lower if case == "lower" else upper)


def _is_json(response: str, keys: list[str]) -> bool:
    """Whether it is one object that has the keys, none of them empty."""
    fenced = re.fullmatch(r"```(?:json)?\s*\n(.*)\n\s*```", response.strip(), re.DOTALL | re.IGNORECASE)
    try:
        found = json.loads(fenced[1] if fenced else response)
    except (ValueError, RecursionError):
        return False
    return isinstance(found, dict) and all(found.get(key) not in (None, "", [], {}) for key in keys)
