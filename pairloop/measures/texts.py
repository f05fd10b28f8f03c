"""What shows in a text by itself: how long it is, that it refuses, loops, or repeats what it was asked."""

import math
import re
import unicodedata
from collections import Counter
from collections.abc import Hashable, Sequence
from functools import cache
from typing import Any

_SCRIPTS = (
    *("Han", "Hiragana", "Katakana", "Bopomofo", "Yi", "Thai", "Lao", "Khmer", "Myanmar", "Tibetan"),
    *("Javanese", "Balinese", "Tai_Le", "New_Tai_Lue", "Tai_Tham"),
)
"""Scripts of languages that put no space between words. Korean does."""

_REFUSAL = re.compile(
    r"\b(?:i|we)(?:['\u2019]m|\sam|\sare)?\s*(?:really\s|very\s|so\s)?(?:sorry|afraid)\b.{0,40}\b(?:can(?:not|['\u2019]t)|unable)"
    r"|\b(?:i|we)\s(?:can(?:not|['\u2019]t)|could\snot|won['\u2019]t|will\snot)\s"
    r"(?:help|assist|provide|answer|do\sthat|comply|fulfil|create|write|give|share|discuss|support|engage)"
    r"|\b(?:i|we)(?:['\u2019]m|\sam|\sare)\s(?:not\sable|unable)\sto\b"
    r"|\bas\san\s(?:ai|artificial\sintelligence)\b",
    re.IGNORECASE | re.DOTALL,
)

_OPENING = 200
"""Characters in which a refusal shows: later ones are mostly stories about somebody else's."""


_ECHO, _LONG_RUN, _SHORTEST_ECHO = 0.8, 10, 4
"""Share of a prompt's words, and number of them, that repeat it; words below which a prompt is too short to tell."""

_LIST_MARKS = re.compile(r"^\s*(?:(?:[-*\u2022]|\d+[.)])(?:\s+|$))+", re.MULTILINE)

_NO_WORD = re.compile(r"[\W_]+")


FEWEST_WORDS = 5
"""What is shorter is no full answer, except to a prompt that limits the words itself."""


def refuses(response: str) -> bool:
    """Whether a response begins with the usual words of a refusal, in English.

    An early sign of a ranker that teaches to refuse, or never to.
    """
    return bool(_REFUSAL.search(response[:_OPENING]))


def words(text: str) -> list[str]:
    """What stands between spaces; of a script that is written without them, each letter or digit.

    So 8 and 256 Japanese characters are 8 and 256 words, and English is counted as `text.split()` does. Punctuation
    beside such a letter belongs to it.
    """
    # Most texts need no second look, and are spared it.
    if text.isascii() or not unspaced().search(text):
        return text.split()
    return [piece.strip() for piece in pieces(text)]


def pieces(text: str) -> list[str]:
    """`words`, each with the white space after it: joined, they are the text without the space that it begins with."""
    found: list[str] = _pieces().findall(text)
    return found


@cache
def _pieces() -> Any:
    import regex

    rest = r"[^\p{L}\p{N}\s]*"  # punctuation, and vowel signs above or below a letter
    letter = rf"{unspaced().pattern}{rest}"
    return regex.compile(rf"(?:{rest}{letter}|(?:(?!{unspaced().pattern})\S)+)\s*")


@cache
def unspaced() -> Any:
    """A pattern of the package `regex`: one letter or digit of a script that is written without spaces."""
    import regex

    scripts = "".join(rf"\p{{Script={name}}}" for name in _SCRIPTS)
    return regex.compile(rf"(?=[\p{{L}}\p{{N}}])[{scripts}ー]")


def repetitive(text: str) -> bool:
    """Whether a text loops: of its four-word sequences or of its lines, fewer than three in four are different.

    The marks and numbers of a list do not count: of "1. Fish", "2. Fish" and "3. A duck" two lines are the same.
    """
    bare = _LIST_MARKS.sub("", text.lower())
    told, lines = words(bare), [line.strip() for line in bare.splitlines() if line.strip()]
    sequences = [tuple(told[i : i + 4]) for i in range(len(told) - 3)]
    return (len(sequences) >= 4 and _too_few_differ(sequences)) or _too_few_differ(lines)


def _too_few_differ(parts: Sequence[Hashable]) -> bool:
    return len(set(parts)) < 0.75 * len(parts)


def echoes(text: str, prompt: str) -> bool:
    """Whether an answer repeats its prompt: nearly all of the prompt's words stand in it, in one run.

    Case and punctuation do not count. The run is at least four fifths of the prompt's words and at least ten of them,
    or all where there are fewer. So a question that its answer takes up ("The trick to threading a needle is ...") is
    none, and neither is a sentence that the prompt asks to correct; a prompt of fewer than four words says nothing.
    """
    asked, told = (words(_NO_WORD.sub(" ", each.casefold())) for each in (prompt, text))
    length = max(math.ceil(_ECHO * len(asked)), min(len(asked), _LONG_RUN))
    if len(asked) < _SHORTEST_ECHO or len(told) < length:
        return False
    said = f" {' '.join(told)} "
    return any(f" {' '.join(asked[i : i + length])} " in said for i in range(len(asked) - length + 1))


def script(text: str) -> str | None:
    """The script that most of a text's letters are of, as Unicode names it: LATIN, CYRILLIC, ARABIC, HANGUL, ...

    Chinese characters and kana are both CJK, since Japanese mixes them. None where there is no letter.
    """
    names = Counter(unicodedata.name(letter, "UNKNOWN").split()[0] for letter in text if letter.isalpha())
    for kana in ("HIRAGANA", "KATAKANA", "KATAKANA-HIRAGANA"):
        names["CJK"] += names.pop(kana, 0)
    most = max(names, key=lambda name: names[name])
    return most if names[most] else None


def in_another_script(text: str, than: str) -> bool:
    """Whether an answer is written in another script `than` its prompt; not where one of them has no letters.

    A sign of a model that has left its language. It tells Chinese from English, and not German from English.
    """
    own, asked = script(text), script(than)
    return None not in (own, asked) and own != asked
