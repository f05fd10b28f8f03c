"""IFEval's prompts: a file of lines of JSON, or `hf:google/IFEval@revision`.

A line has `key`, `prompt`, `instruction_id_list`, and `kwargs`: the arguments of each instruction. A null argument is
none. Arguments that no rule has are passed over, as the hub's copy gives each instruction those of all.
"""

import re
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from pairloop.errors import DataError
from pairloop.evaluation.ifeval import Instruction, Prompt
from pairloop.files import jsonl
from pairloop.files.records import Row
from pairloop.prompts import sources

SPLIT = "train"
"""The only split of google/IFEval."""

_EXAMPLE = (
    '{"key": 1, "prompt": "Write a haiku without commas.", "instruction_id_list": ["punctuation:no_comma"], '
    '"kwargs": [{}]}'
)

Allowed = tuple[str, Callable[[Any], bool]]
"""What an argument must be, in words and as a test."""


def read(source: str) -> list[Prompt]:
    """All prompts of a source, in its order.

    Args:
        source: a .jsonl file or `hf:owner/name@revision`.

    Raises:
        DataError: it cannot be read, is empty, or rows are malformed; names the file and every such row.
    """
    found = jsonl.each(_rows(source), lambda item: _prompt(*item))
    if not found:
        raise DataError(f"{source}: has no prompts. Needed, one a line: {_EXAMPLE}")
    return found


def _rows(source: str) -> Iterator[tuple[str, bytes | Row]]:
    if source.startswith("hf:"):
        for number, row in enumerate(sources.hub(source, SPLIT, iter)):
            yield f"{source}, split {SPLIT}, row {number}", row
        return
    path = Path(source)
    if path.suffix != ".jsonl":
        raise DataError(
            f"{source}: IFEval's prompts are read from a .jsonl file, one object a line, or from hf:google/IFEval@"
            f"revision. Needed: {_EXAMPLE}"
        )
    yield from jsonl.lines(path)


def _prompt(place: str, values: bytes | Row) -> Prompt:
    row = jsonl.parse(values, place, _EXAMPLE) if isinstance(values, bytes) else values
    for name in ("key", "prompt", "instruction_id_list", "kwargs"):
        if row.get(name) is None:
            raise DataError(f"{place}: has no {name}. Needed: {_EXAMPLE}")
    key, text, kinds, arguments = row["key"], row["prompt"], row["instruction_id_list"], row["kwargs"]
    if type(key) not in (int, str):
        raise DataError(f"{place}: key is {key!r:.80}: it must be a whole number or a text")
    if not isinstance(text, str) or sources.problem(text):
        raise DataError(f"{place}: prompt is {text!r:.80}: it must be a text, not empty, without control characters")
    jsonl.check_encodable(row, place)
    if not _texts(kinds):
        raise DataError(f"{place}: instruction_id_list is {kinds!r:.80}: it must be a list of one or more ids")
    if not isinstance(arguments, list) or len(arguments) != len(kinds):
        raise DataError(f"{place}: kwargs is {arguments!r:.80}: it must be a list with an object for each instruction")
    both = zip(kinds, arguments, strict=True)
    return Prompt(str(key), text, tuple(_instruction(kind, own, place) for kind, own in both))


def _instruction(kind: str, arguments: Any, place: str) -> Instruction:
    """An instruction whose arguments its check can read; of kinds that are not known, as it stands."""
    if not isinstance(arguments, Mapping | None):
        raise DataError(f"{place}: the kwargs of {kind} are {arguments!r:.80}: they must be an object")
    own = {name: value for name, value in (arguments or {}).items() if value is not None}
    for name, (needed, allows) in ARGUMENTS.get(kind, {}).items():
        if name not in own:
            raise DataError(f"{place}: {kind} has no {name} among its kwargs: it must be {needed}")
        if not allows(own[name]):
            raise DataError(f"{place}: {name} of {kind} is {own[name]!r:.80}: it must be {needed}")
    return Instruction(kind, own)


def _is_text(value: Any) -> bool:
    return isinstance(value, str) and bool(value.strip())


def _texts(value: Any) -> bool:
    return isinstance(value, list) and bool(value) and all(map(_is_text, value))


def _is_pattern(value: Any) -> bool:
    try:
        return _is_text(value) and bool(re.compile(value))
    except re.error:
        return False


def _patterns(value: Any) -> bool:
    return _texts(value) and all(map(_is_pattern, value))


_RELATION: Allowed = ("'at least' or 'less than'", lambda value: value in ("at least", "less than"))
_COUNT: Allowed = ("a whole number, at least 0", lambda value: type(value) is int and value >= 0)
_PLACE: Allowed = ("a whole number, at least 1", lambda value: type(value) is int and value >= 1)
_TEXT: Allowed = ("a text", _is_text)
_LETTER: Allowed = ("one character", lambda value: _is_text(value) and len(value) == 1)
_PATTERN: Allowed = ("a text that is a regular expression", _is_pattern)
_PATTERNS: Allowed = ("a list of texts that are regular expressions", _patterns)

ARGUMENTS: Mapping[str, Mapping[str, Allowed]] = {
    "keywords:existence": {"keywords": _PATTERNS},
    "keywords:frequency": {"keyword": _PATTERN, "relation": _RELATION, "frequency": _COUNT},
    "keywords:forbidden_words": {"forbidden_words": _PATTERNS},
    "keywords:letter_frequency": {"letter": _LETTER, "let_relation": _RELATION, "let_frequency": _COUNT},
    "language:response_language": {"language": _TEXT},
    "length_constraints:number_sentences": {"relation": _RELATION, "num_sentences": _COUNT},
    "length_constraints:number_paragraphs": {"num_paragraphs": _COUNT},
    "length_constraints:number_words": {"relation": _RELATION, "num_words": _COUNT},
    "length_constraints:nth_paragraph_first_word": {
        "num_paragraphs": _COUNT,
        "nth_paragraph": _PLACE,
        "first_word": _TEXT,
    },
    "detectable_content:number_placeholders": {"num_placeholders": _COUNT},
    "detectable_content:postscript": {"postscript_marker": _PATTERN},
    "detectable_format:number_bullet_lists": {"num_bullets": _COUNT},
    "detectable_format:number_highlighted_sections": {"num_highlights": _COUNT},
    "detectable_format:multiple_sections": {"section_spliter": _PATTERN, "num_sections": _COUNT},
    "combination:repeat_prompt": {"prompt_to_repeat": _TEXT},
    "startend:end_checker": {"end_phrase": _TEXT},
    "change_case:capital_word_frequency": {"capital_relation": _RELATION, "capital_frequency": _COUNT},
}
"""What the checks need of each kind; the others need nothing."""
