"""How many words, sentences, paragraphs, lines, list items, digits and commas a text has, as a reader would count them.

All take text from `clean`.
"""

import re
import unicodedata

from pairloop.measures.texts import unspaced

_APOSTROPHES = dict.fromkeys("\u2018\u2019\u02bc", "'")
_HYPHENS = dict.fromkeys("\u2010\u2011", "-")
_LOOK_ALIKES = str.maketrans(_APOSTROPHES | _HYPHENS | {"\u2028": "\n", "\u2029": "\n\n"})

_MARKER = re.compile(r"^[ \t>]*(?:[-*][ \t]+|•[ \t]*|(?:\*\*)?\d{1,3}[.)](?:\*\*)?[ \t]+)", re.MULTILINE)
"""What a bullet or numbered line begins with; "**1.** Mix" is one, "**Note**" and "1.5 litres" are not."""

_NUMBER = re.compile(r"[ \t>]*(?:\*\*)?(\d{1,3})[.)](?:\*\*)?[ \t]+")

_HEADING = re.compile(r"#{1,6}\s.*|\*\*[^*\n]+\*\*:?")

_WORD = re.compile(r"(?<![^\W_])(?:[^\W\d_]\.){2,}|[^\W_]+(?:(?:['-]|(?<=\d)[.,:/](?=\d))[^\W_]+)*")
"""An abbreviation like "e.g.", or letters and digits with inner apostrophes, hyphens and decimal points."""

# A stop, what closes after it, and the space after that, which may be missing ("red.It"); stops of other scripts.
_STOP = re.compile(
    r"(?<![.!?\u2026])(?P<mark>[.!?\u2026]+)(?P<close>[\"\u201d\u00bb')\]*_]*)"
    r"(?:\s+|$|(?<=[^\W\d_]{2}[.!?])(?=[A-Z][a-z]))"
    r"|[\u3002\uff01\uff1f\u061f\u0964]+"
)
_TITLES = {"mr", "mrs", "ms", "dr", "prof", "st", "mt", "vs", "e.g", "i.e", "eg", "ie", "cf", "approx"}
_NUMBERED = {"no", "nos", "fig", "p", "pp", "vol", "ch"}
_OTHERS = {"etc", "inc", "ltd", "co", "jr", "sr", "a.m", "p.m", "u.s", "u.k", "al"}


def has_content(text: str) -> bool:
    """Whether there is a letter or digit."""
    return any(character.isalnum() for character in text)


def clean(text: str) -> str:
    """One spelling for what looks the same: apostrophes, hyphens, composed letters; invisible characters removed."""
    text = unicodedata.normalize("NFC", text).translate(_LOOK_ALIKES).replace("\r\n", "\n").replace("\r", "\n")
    return "".join(character for character in text if unicodedata.category(character) != "Cf")


def words(text: str) -> int:
    """Words. "ice-cold", "don't", "3.5", "1,000" and "e.g." are one each; marks and numbers of list items are none.

    Of a script that is written without spaces, each letter is one.
    """
    spaced, letters = unspaced().subn(" ", _MARKER.sub("", text))
    return int(letters) + len(_WORD.findall(spaced))


def paragraphs(text: str) -> int:
    """Blocks between blank lines, headings left out. A list is one block unless blank lines divide it."""
    blocks = [block.strip() for block in re.split(r"\n\s*\n", text)]
    return sum(has_content(block) and not _HEADING.fullmatch(block) for block in blocks)


def bullets(text: str) -> int:
    """Lines that begin as an item of a bulleted or numbered list, nested ones too, and go on with text."""
    return sum(has_content(line[found.end() :]) for line in text.split("\n") if (found := _MARKER.match(line)))


def numbers(text: str) -> list[int]:
    """What the items of a numbered list are numbered with, in their order: lines like "1. Mix" and "2) Bake"."""
    found = ((_NUMBER.match(line), line) for line in text.split("\n"))
    return [int(number[1]) for number, line in found if number and has_content(line[number.end() :])]


def lines(text: str) -> int:
    """Lines with a letter or digit."""
    return sum(has_content(line) for line in text.split("\n"))


def digits(text: str) -> int:
    """Digits, those of list items too; "10" has two."""
    return sum(character.isdecimal() for character in text)


def commas(text: str) -> int:
    """Commas, those inside numbers and of other scripts too."""
    return sum(text.count(comma) for comma in ",\uff0c\u3001\u060c")


def sentences(text: str) -> int:
    """Sentences: up to . ! ? or …, not after an abbreviation, initial or inside a number.

    A line of a list, a title and a signature without a full stop are one each; a salutation belongs to what follows.
    Quoted speech belongs to the sentence around it: `"Hurry!" said Ben` is one.
    """
    return sum(_sentences_in(block) for block in _blocks(text))


def _blocks(text: str) -> list[str]:
    """Text that no sentence reaches beyond: list items, and lines that the next does not continue.

    A line goes on if it ends with a comma, as "Dear Sam," does, or the next one begins in lower case.
    """
    blocks: list[str] = []
    after_blank = True
    for line in text.split("\n"):
        content = _MARKER.sub("", line).strip()
        is_item = content != line.strip()
        after_comma = bool(blocks) and blocks[-1].endswith(",")
        if content and not is_item and (after_comma or (content[0].islower() and not after_blank)):
            blocks[-1] += " " + content
        elif content:
            blocks.append(content)
        after_blank = not content
    return blocks


def _sentences_in(block: str) -> int:
    has_capitals = any(character.isupper() for character in block)
    count, start = 0, 0
    for found in _STOP.finditer(block):
        before = block[max(start, found.start() - 100) : found.start()]
        if _ends_sentence(before, found, block[found.end() : found.end() + 1], has_capitals):
            count += has_content(block[start : found.start()])
            start = found.end()
    return count + has_content(block[start:])


def _ends_sentence(before: str, found: "re.Match[str]", after: str, has_capitals: bool) -> bool:
    if found["mark"] is None or not after:
        return True
    if after.islower() and found["mark"] in ("...", "\u2026"):
        return False
    if after.islower() and found["close"].strip("*_"):
        return not has_capitals  # `"Hurry!" said Ben` goes on; where all is in lower case, "said" tells nothing
    return found["mark"] != "." or not _abbreviates(before, after)


def _abbreviates(before: str, after: str) -> bool:
    """Whether the full stop after `before` belongs to an abbreviation, an initial or a list number."""
    words = before.split()
    last = words[-1].lstrip("\"\u201c'([*_") if words else ""
    name = last.casefold()
    if name in _TITLES or (name in _NUMBERED and after.isdigit()):
        return True
    if last.isdecimal() and (len(words) == 1 or words[-2].endswith(":")):
        return True
    initial = len(last) == 1 and last.isupper() and last != "I"
    if initial and after.isupper():
        return len(words) == 1 or words[-2][0].isupper()
    return after.islower() and (name in _OTHERS or initial)
