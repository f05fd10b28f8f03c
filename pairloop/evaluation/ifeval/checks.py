"""The 25 kinds of instructions by their published rules: instructions.py of google-research, as of 2026.

Each check takes an answer that is not empty, and the instruction's arguments as `reading` lets them through, and says
whether it is followed. Their quirks are kept: a keyword is a regular expression and may stand inside a word, only `,`
is a comma, and double stars count twice as a highlight.

Two things differ. Sentences are told apart by NLTK's Punkt, as there, but with the abbreviations below instead of a
model that NLTK downloads. A letter may be any character, as in Google's rules since 2025; older copies of them took
one at random for `#` or `!`.
"""

import json
import re
from collections.abc import Callable, Mapping
from functools import cache
from importlib.util import find_spec
from typing import Any

Arguments = Mapping[str, Any]
Check = Callable[[str, Arguments], bool]

_CONSTRAINED = ("My answer is yes.", "My answer is no.", "My answer is maybe.")

_ABBREVIATIONS = (
    *("mr", "mrs", "ms", "messrs", "dr", "prof", "rev", "gen", "col", "maj", "capt", "lt", "sgt", "adm", "gov", "sen"),
    *("rep", "reps", "jr", "st", "mt", "ave", "inc", "ltd", "co", "corp", "bros", "vs", "mg", "ft", "yr"),
    *("jan", "feb", "aug", "sept", "sep", "oct", "nov", "dec", "tues", "fri"),
    *("u.s", "u.k", "u.n", "u.s.a", "d.c", "n.y", "l.a", "a.m", "p.m", "a.d", "ph.d", "m.b.a"),
    *("j.k", "j.r", "j.j", "j.p", "j.b", "j.c", "c.s", "t.s", "h.g", "e.b", "w.b"),
)
"""After these a full stop ends no sentence. Not "i.e", "etc" and "no": IFEval's model does not know them either."""


def covered(kind: str) -> bool:
    """Whether instructions of a kind can be checked: it is one of the 25, and its package is installed."""
    return kind in CHECKS and (kind not in NEEDS or find_spec(NEEDS[kind]) is not None)


def _compares(count: int, relation: str, number: int) -> bool:
    return count >= number if relation == "at least" else count < number


def _keywords(text: str, own: Arguments) -> bool:
    return all(re.search(keyword, text, re.IGNORECASE) for keyword in own["keywords"])


def _keyword_frequency(text: str, own: Arguments) -> bool:
    return _compares(len(re.findall(own["keyword"].strip(), text, re.IGNORECASE)), own["relation"], own["frequency"])


def _forbidden_words(text: str, own: Arguments) -> bool:
    return not any(re.search(rf"\b{word}\b", text, re.IGNORECASE) for word in own["forbidden_words"])


def _letter_frequency(text: str, own: Arguments) -> bool:
    return _compares(text.lower().count(own["letter"].lower()), own["let_relation"], own["let_frequency"])


def _language(text: str, own: Arguments) -> bool:
    return _detected(text, own["language"])


def _detected(text: str, language: str) -> bool:
    """By langdetect, which draws at random from a seed; a text without letters counts as followed, as in IFEval."""
    from langdetect import DetectorFactory, LangDetectException, detect

    DetectorFactory.seed = 0
    try:
        return bool(detect(text) == language)
    except LangDetectException:
        return True


def _sentences(text: str, own: Arguments) -> bool:
    return _compares(len(_punkt().tokenize(text)), own["relation"], own["num_sentences"])


@cache
def _punkt() -> Any:
    from nltk.tokenize.punkt import PunktParameters, PunktSentenceTokenizer

    known = PunktParameters()
    known.abbrev_types = set(_ABBREVIATIONS)
    return PunktSentenceTokenizer(known)


def _paragraphs(text: str, own: Arguments) -> bool:
    parts = re.split(r"\s?\*\*\*\s?", text)
    inner = [part.strip() for part in parts[1:-1]]
    return all(inner) and sum(bool(part.strip()) for part in parts) == own["num_paragraphs"]


def _words(text: str, own: Arguments) -> bool:
    return _compares(len(re.findall(r"\w+", text)), own["relation"], own["num_words"])


def _first_word(text: str, own: Arguments) -> bool:
    parts = re.split(r"\n\n", text)
    count = sum(bool(part.strip()) for part in parts)
    if own["nth_paragraph"] > count:
        return False
    paragraph = parts[own["nth_paragraph"] - 1].strip()
    if not paragraph:
        return False
    word = paragraph.split()[0].strip().lstrip("'").lstrip('"')
    first = re.split(r"[.,?!'\"]", word, maxsplit=1)[0].lower()
    return bool(count == own["num_paragraphs"] and first == own["first_word"].lower())


def _placeholders(text: str, own: Arguments) -> bool:
    return bool(len(re.findall(r"\[.*?\]", text)) >= own["num_placeholders"])


def _postscript(text: str, own: Arguments) -> bool:
    marker = own["postscript_marker"].strip()
    known = {"P.P.S": r"p\.\s?p\.\s?s.*$", "P.S.": r"p\.\s?s\..*$"}
    return bool(re.findall(rf"\s*{known.get(marker, marker.lower() + '.*$')}", text.lower(), re.MULTILINE))


def _bullets(text: str, own: Arguments) -> bool:
    stars = re.findall(r"^\s*\*[^\*].*$", text, re.MULTILINE)
    return bool(len(stars) + len(re.findall(r"^\s*-.*$", text, re.MULTILINE)) == own["num_bullets"])


def _constrained_response(text: str, own: Arguments) -> bool:
    return any(answer in text.strip() for answer in _CONSTRAINED)


def _highlights(text: str, own: Arguments) -> bool:
    single = [found.strip("*") for found in re.findall(r"\*[^\n\*]*\*", text)]
    double = [found.removeprefix("**").removesuffix("**") for found in re.findall(r"\*\*[^\n\*]*\*\*", text)]
    return bool(sum(bool(found.strip()) for found in single + double) >= own["num_highlights"])


def _sections(text: str, own: Arguments) -> bool:
    parts = re.split(rf"\s?{own['section_spliter'].strip()}\s?\d+\s?", text)
    return bool(len(parts) > own["num_sections"])


def _json(text: str, own: Arguments) -> bool:
    text = text.strip()
    for fence in ("```json", "```Json", "```JSON", "```"):
        text = text.removeprefix(fence)
    try:
        json.loads(text.removesuffix("```").strip())
    except (ValueError, RecursionError):
        return False
    return True


def _title(text: str, own: Arguments) -> bool:
    return any(found.lstrip("<").rstrip(">").strip() for found in re.findall(r"<<[^\n]+>>", text))


def _two_responses(text: str, own: Arguments) -> bool:
    parts = text.split("******")
    if any(not part.strip() for part in parts[1:-1]):
        return False
    given = [part for part in parts if part.strip()]
    return len(given) == 2 and given[0].strip() != given[1].strip()


def _repeats_prompt(text: str, own: Arguments) -> bool:
    return text.strip().lower().startswith(own["prompt_to_repeat"].strip().lower())


def _ends(text: str, own: Arguments) -> bool:
    return text.strip().strip('"').lower().endswith(own["end_phrase"].strip().lower())


def _capital_words(text: str, own: Arguments) -> bool:
    from nltk.tokenize import NLTKWordTokenizer

    pieces = (word for sentence in _punkt().tokenize(text) for word in NLTKWordTokenizer().tokenize(sentence))
    capital = sum(word.isupper() for word in pieces)
    return _compares(capital, own["capital_relation"], own["capital_frequency"])


def _upper(text: str, own: Arguments) -> bool:
    return text.isupper() and _detected(text, "en")


def _lower(text: str, own: Arguments) -> bool:
    return text.islower() and _detected(text, "en")


def _no_comma(text: str, own: Arguments) -> bool:
    return "," not in text


def _quotation(text: str, own: Arguments) -> bool:
    text = text.strip()
    return len(text) > 1 and text[0] == '"' and text[-1] == '"'


CHECKS: Mapping[str, Check] = {
    "keywords:existence": _keywords,
    "keywords:frequency": _keyword_frequency,
    "keywords:forbidden_words": _forbidden_words,
    "keywords:letter_frequency": _letter_frequency,
    "language:response_language": _language,
    "length_constraints:number_sentences": _sentences,
    "length_constraints:number_paragraphs": _paragraphs,
    "length_constraints:number_words": _words,
    "length_constraints:nth_paragraph_first_word": _first_word,
    "detectable_content:number_placeholders": _placeholders,
    "detectable_content:postscript": _postscript,
    "detectable_format:number_bullet_lists": _bullets,
    "detectable_format:constrained_response": _constrained_response,
    "detectable_format:number_highlighted_sections": _highlights,
    "detectable_format:multiple_sections": _sections,
    "detectable_format:json_format": _json,
    "detectable_format:title": _title,
    "combination:two_responses": _two_responses,
    "combination:repeat_prompt": _repeats_prompt,
    "startend:end_checker": _ends,
    "change_case:capital_word_frequency": _capital_words,
    "change_case:english_capital": _upper,
    "change_case:english_lowercase": _lower,
    "punctuation:no_comma": _no_comma,
    "startend:quotation": _quotation,
}
"""The check of each instruction, by its id."""

_SENTENCES, _LANGUAGES = "nltk", "langdetect"

NEEDS: Mapping[str, str] = {
    "language:response_language": _LANGUAGES,
    "change_case:english_capital": _LANGUAGES,
    "change_case:english_lowercase": _LANGUAGES,
    "length_constraints:number_sentences": _SENTENCES,
    "change_case:capital_word_frequency": _SENTENCES,
}
"""The packages of the extra `ifeval` that checks use. Where one is missing, its kinds count as not covered."""
