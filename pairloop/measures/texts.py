"""What shows in a text by itself: that it refuses, and that it loops."""

import re

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


def refuses(response: str) -> bool:
    """Whether a response begins with the usual words of a refusal, in English.

    An early sign of a ranker that teaches to refuse, or never to.
    """
    return bool(_REFUSAL.search(response[:_OPENING]))


def repetitive(text: str) -> bool:
    """Whether a text loops: of its four-word sequences, fewer than three in four are different."""
    words = text.lower().split()
    sequences = [tuple(words[i : i + 4]) for i in range(len(words) - 3)]
    return len(sequences) >= 4 and len(set(sequences)) < 0.75 * len(sequences)
