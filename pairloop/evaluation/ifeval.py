"""IFEval: instructions that a program can verify, checked by its published rules.

Zhou et al. 2023, https://arxiv.org/abs/2311.07911; google-research/instruction_following_eval, instructions.py. Each
function below takes a response and the instruction's arguments and says whether it is followed. Two of its helpers need
data that no package brings: sentences are counted by `prompts.counting` instead of NLTK's Punkt model, and words in
capitals by NLTK's tokenizer without it.
"""

import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pairloop.errors import DataError
from pairloop.prompts import counting

Arguments = Mapping[str, Any]
Check = Callable[[str, Arguments], bool]

_CONSTRAINED = ("My answer is yes.", "My answer is no.", "My answer is maybe.")


def _compares(count: int, relation: str, number: int) -> bool:
    if relation not in ("at least", "less than"):
        raise DataError(f"an IFEval relation is {relation!r}: it must be 'at least' or 'less than'")
    return count >= number if relation == "at least" else count < number


def _keywords(text: str, own: Arguments) -> bool:
    return all(re.search(keyword, text, re.IGNORECASE) for keyword in own["keywords"])


def _keyword_frequency(text: str, own: Arguments) -> bool:
    return _compares(len(re.findall(own["keyword"], text, re.IGNORECASE)), own["relation"], own["frequency"])


def _forbidden_words(text: str, own: Arguments) -> bool:
    return not any(re.search(rf"\b{word}\b", text, re.IGNORECASE) for word in own["forbidden_words"])


def _letter_frequency(text: str, own: Arguments) -> bool:
    return _compares(text.lower().count(own["letter"].lower()), own["let_relation"], own["let_frequency"])


def _language(text: str, own: Arguments) -> bool:
    return _detected(text, own["language"])


def _detected(text: str, language: str) -> bool:
    """By langdetect, as IFEval does; a text that has no language counts as followed there."""
    from langdetect import DetectorFactory, LangDetectException, detect

    DetectorFactory.seed = 0
    try:
        return bool(detect(text) == language)
    except LangDetectException:
        return True


def _sentences(text: str, own: Arguments) -> bool:
    return _compares(counting.sentences(counting.clean(text)), own["relation"], own["num_sentences"])


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
    return count == own["num_paragraphs"] and first == own["first_word"].lower()


def _placeholders(text: str, own: Arguments) -> bool:
    return len(re.findall(r"\[.*?\]", text)) >= own["num_placeholders"]


def _postscript(text: str, own: Arguments) -> bool:
    marker = own["postscript_marker"]
    known = {"P.P.S": r"p\.\s?p\.\s?s.*$", "P.S.": r"p\.\s?s\..*$"}
    return bool(re.findall(rf"\s*{known.get(marker, marker.lower() + '.*$')}", text.lower(), re.MULTILINE))


def _bullets(text: str, own: Arguments) -> bool:
    stars = re.findall(r"^\s*\*[^\*].*$", text, re.MULTILINE)
    return len(stars) + len(re.findall(r"^\s*-.*$", text, re.MULTILINE)) == own["num_bullets"]


def _constrained_response(text: str, own: Arguments) -> bool:
    return any(answer in text.strip() for answer in _CONSTRAINED)


def _highlights(text: str, own: Arguments) -> bool:
    single = [found.strip("*") for found in re.findall(r"\*[^\n\*]*\*", text)]
    double = [found.removeprefix("**").removesuffix("**") for found in re.findall(r"\*\*[^\n\*]*\*\*", text)]
    return sum(bool(found.strip()) for found in single + double) >= own["num_highlights"]


def _sections(text: str, own: Arguments) -> bool:
    return len(re.split(rf"\s?{own['section_spliter']}\s?\d+\s?", text)) - 1 >= own["num_sections"]


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

    capital = sum(word.isupper() for word in NLTKWordTokenizer().tokenize(text))
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
