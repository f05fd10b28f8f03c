"""Numbers and texts as a reader wants to see them."""

import math
import re
from collections.abc import Mapping
from typing import Any

DASH = "\N{EN DASH}"
"""Stands for a number that does not exist."""

SPACE = "\N{NO-BREAK SPACE}"

MINUS = "\N{MINUS SIGN}"

EMPTY = "(empty)"
"""Stands for a text without a visible character."""

LONGEST_TEXT = 8000
"""Characters of one prompt or response that the page shows: bounds its size whatever a model writes."""

_PICTURES = {code: 0x2400 + code for code in range(32) if chr(code) not in "\n\t"} | {127: 0x2421}
"""Control characters to their visible pictures: some are invalid in HTML, and none should act."""

_UNPRINTABLE = re.compile("[\x80-\x9f\ud800-\udfff\ufdd0-\ufdef\ufffe\uffff]")

_KINDS = {
    "numbered": "numbered items",
    "separated": "parts on one line, separated by",
    "repeats": "the word",
    "last": "last character",
    "quoted": "first and last character",
    "line": "a line starts",
}
"""Constraint kinds whose names alone do not say what they demand."""

Number = float | int | None


def visible(text: str) -> str:
    """The text with nothing in it that HTML cannot hold: control characters shown as pictures, half characters as �."""
    text = text.replace("\r\n", "\n").replace("\r", "\n").translate(_PICTURES)
    return _UNPRINTABLE.sub("\N{REPLACEMENT CHARACTER}", text)


def number(value: Number, digits: int = 0) -> str:
    """`1,234.5`, with a true minus sign; a dash for None and what is not finite."""
    if value is None or not math.isfinite(value):
        return DASH
    rounded = f"{value:,.{digits}f}"
    zero = not rounded.strip("-0.,")
    return rounded.lstrip("-") if zero else rounded.replace("-", MINUS)


def percent(share: Number, digits: int = 0) -> str:
    """`63 %` for 0.63."""
    return DASH if share is None or not math.isfinite(share) else f"{number(100 * share, digits)}{SPACE}%"


def digits_beside(border: float, *shares: float) -> int:
    """Decimals of a percentage needed so that rounding moves no share onto, or across, the border."""
    for digits in range(3):
        rounded = [round(100 * share, digits) - 100 * border for share in shares]
        if all((r > 0) == (s > border) and (r < 0) == (s < border) for r, s in zip(rounded, shares, strict=True)):
            return digits
    return 3


def seconds(value: Number) -> str:
    """`0.4 s`, `12 s`, `3 min 5 s`, `2 h 5 min`."""
    if value is None or not math.isfinite(value):
        return DASH
    if value < 9.95:
        return f"{value:.1f}{SPACE}s"
    whole = round(value)
    if whole < 60:
        return f"{whole}{SPACE}s"
    if whole < 3600:
        return f"{whole // 60}{SPACE}min {whole % 60}{SPACE}s"
    minutes = round(value / 60)
    return f"{minutes // 60}{SPACE}h {minutes % 60}{SPACE}min"


def memory(value: Number) -> str:
    """`1.2 GiB` for 1,200 MiB."""
    return DASH if value is None or not math.isfinite(value) else f"{value / 1024:.1f}{SPACE}GiB"


def plural(count: int, noun: str) -> str:
    """`1 prompt`, `2 prompts`."""
    return f"{number(count)}{SPACE}{noun}{'' if count == 1 else 's'}"


def plain(name: str) -> str:
    """`near_duplicate` as words."""
    return name.replace("_", " ")


def excerpt(text: str, characters: int = 110) -> str:
    """The beginning of a text on one line; `(empty)` where there is nothing to see."""
    line = " ".join(visible(text[: 4 * characters]).split())
    if len(line) <= characters and len(text) <= 4 * characters:
        return line or EMPTY
    words, _, rest = line[: characters + 1].rpartition(" ")
    return (words if len(words) > characters / 2 else words + " " + rest[: characters - len(words)]).strip() + "…"


def clipped(text: str) -> tuple[str, int]:
    """At most `LONGEST_TEXT` characters, and how many are left out."""
    return text[:LONGEST_TEXT], max(0, len(text) - LONGEST_TEXT)


def constraint(rule: Any) -> str:
    """A checkable demand in words: `words: at most 30`, `includes: gentle`, `marks "!": none`, `choice: yes or no`."""
    if not isinstance(rule, Mapping):
        return str(rule)
    low, high = rule.get("min"), rule.get("max")
    kind = plain(_KINDS.get(str(rule.get("kind")), str(rule.get("kind", "constraint"))))
    values = [_stated(name, v) for name, v in rule.items() if name not in ("kind", "min", "max") and v is not None]
    if low is None and high is None:
        return f"{kind}: {', '.join(values)}" if values else kind
    return " ".join([kind, *(f'"{value}"' for value in values)]) + f": {_range(low, high)}"


def _stated(name: str, value: Any) -> str:
    between = " or " if name == "options" else ", "
    return between.join(map(str, value)) if isinstance(value, list) else str(value)


def _range(low: Any, high: Any) -> str:
    if high == 0:
        return "none"
    if low is None:
        return f"at most {high}"
    if high is None:
        return f"at least {low}"
    return f"exactly {low}" if low == high else f"{low} to {high}"
