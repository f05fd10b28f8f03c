"""The language of a text, by the package langdetect: as sure as so few words allow, or not at all."""

from functools import cache

LETTERS = 40
"""Letters below which a text is too short to tell: a few words of one language are often words of another."""

SURE = 0.9
"""Probability that the likeliest language must have."""


@cache
def language(text: str) -> str | None:
    """The language that a text is written in, as langdetect names it (ISO 639-1: `en`, `de`, ...).

    Drawn at random from a fixed seed, as langdetect does: the same text has the same language each time.

    Returns:
        None where the text is too short, or no language is likely enough.
    """
    from langdetect import DetectorFactory, LangDetectException, detect_langs

    if sum(letter.isalpha() for letter in text) < LETTERS:
        return None
    DetectorFactory.seed = 0
    try:
        likeliest = detect_langs(text)[0]
    except LangDetectException:  # nothing in it is a letter of a language that it knows
        return None
    return str(likeliest.lang) if likeliest.prob >= SURE else None


def in_another_language(text: str, than: str) -> bool | None:
    """Whether an answer is written in another language `than` its prompt; None where one of the two cannot be told."""
    own, asked = language(text), language(than)
    return None if own is None or asked is None else own != asked
