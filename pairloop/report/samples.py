"""Prompts and texts as the page shows them: ordered, labelled, and cut where they would flood it."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pairloop.report.data import Metrics
from pairloop.report.formats import clipped, constraint, excerpt, number, visible

REASONS = {
    "empty": "fewer than two responses have any text",
    "truncated": "too few responses ended by themselves, or none of those beats another",
    "identical": "all responses are the same",
    "tie": "all scores are the same",
    "min_margin": "the scores differ by less than pair.min_margin",
    "keep_share": "the margin is not among the largest, of which pair.keep_share are kept",
}
"""What pairing's reasons for a prompt without a pair mean."""

KINDS = {
    "constrained": "with constraints",
    "held_out": "held out",
    "no_pair": "no pair",
    "cut_off": "cut off",
}
"""What a sample may be found by."""

LONG = 900
"""Characters from which a text gets a box that scrolls, and can be reached with the keyboard."""


@dataclass(frozen=True)
class Text:
    """A prompt's or model's text, cut to what the page can bear."""

    text: str
    left_out: int
    """Characters that are not shown."""

    long: bool


@dataclass(frozen=True)
class Response:
    """One of a prompt's responses."""

    text: Text
    score: str
    label: str
    """`chosen`, `rejected` or nothing."""

    cut_off: bool
    """It reached the limit of tokens."""


@dataclass(frozen=True)
class Sample:
    """A prompt of the training data with all its responses, best first."""

    iteration: int
    title: str
    tag: str
    prompt: Text
    constraints: Sequence[str]
    responses: Sequence[Response]
    no_pair: str
    """Why there is none; empty where there is one."""

    kinds: str
    """What it may be found by: `constrained`, `held_out`, `no_pair` and `cut_off`, with spaces between."""


def samples(rows: Sequence[Metrics]) -> dict[int, list[Sample]]:
    """Samples by iteration, in order."""
    found: dict[int, list[Sample]] = {}
    for row in sorted(rows, key=lambda row: int(row["iteration"])):
        found.setdefault(row["iteration"], []).append(_sample(row))
    return found


def kinds(rows: Sequence[Metrics]) -> list[tuple[str, str]]:
    """What there is of KINDS, each with its words."""
    known = {kind for row in rows for kind in _kinds(row)}
    return [(kind, said) for kind, said in KINDS.items() if kind in known]


def _sample(row: Metrics) -> Sample:
    order = sorted(range(len(row["responses"])), key=lambda i: (-row["scores"][i], i))
    paired = row["chosen"] is not None
    return Sample(
        row["iteration"],
        excerpt(row["prompt"]),
        (row["split"] or "train") if paired else "no pair",
        text(row["prompt"]),
        constraints(row),
        [_response(row, i) for i in order],
        "" if paired else REASONS.get(row["reason"] or "", (row["reason"] or "no reason is known").replace("_", " ")),
        " ".join(_kinds(row)),
    )


def _kinds(row: Metrics) -> list[str]:
    found = {
        "constrained": bool(row["constraints"]),
        "held_out": row["split"] == "test",
        "no_pair": row["chosen"] is None,
        "cut_off": "length" in row["finish_reasons"],
    }
    return [kind for kind, holds in found.items() if holds]


def _response(row: Metrics, index: int) -> Response:
    label = {row["rejected"]: "rejected", row["chosen"]: "chosen"}.get(index, "")
    cut_off = row["finish_reasons"][index] == "length"
    return Response(text(row["responses"][index]), number(row["scores"][index], 2), label, cut_off)


def text(whole: str) -> Text:
    """A text as the page shows it."""
    shown, left_out = clipped(whole)
    shown = visible(shown)
    return Text(shown, left_out, len(shown) > LONG or shown.count("\n") > 14)


def constraints(row: Metrics) -> list[str]:
    """A row's checkable demands, in words."""
    return [constraint(rule) for rule in row["constraints"] or []]


def flattened(values: Mapping[str, Any], path: str = "") -> list[tuple[str, str]]:
    """Nested parameters as dotted names and YAML-like values, in order."""
    found: list[tuple[str, str]] = []
    for key, value in values.items():
        name = f"{path}.{key}" if path else str(key)
        if isinstance(value, Mapping) and value:
            found += flattened(value, name)
        else:
            found.append(
                (name, value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str))
            )
    return found


def differing(first: Mapping[str, Any], second: Mapping[str, Any]) -> list[tuple[str, str | None, str | None]]:
    """Parameters with different values, as `flattened` has them, in order; None where one side has no such."""
    own, other = dict(flattened(first)), dict(flattened(second))
    return [(name, own.get(name), other.get(name)) for name in {**own, **other} if own.get(name) != other.get(name)]
