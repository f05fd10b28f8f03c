"""Held-out prompts with every model's answer and each judge's verdict, page by page.

The first page stands in the HTML. All of them, the first included, also lie in it as blocks of JSON, one for each page,
which nothing reads before somebody turns to that page, or searches: a browser opens the report as fast as if they were
not there.
"""

import json
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pairloop.report.data import Metrics
from pairloop.report.formats import MINUS, SPACE, excerpt, visible
from pairloop.report.samples import Text, constraints, text

PAGE = 20
"""Prompts on one page."""

MOST_CHARACTERS = 20_000_000
"""Of prompts and answers that the report holds: 805 prompts with four answers of 2,000 characters are a third of it."""

SAID = {"better": "+ better", "worse": f"{MINUS} worse", "tie": "= tie"}
"""What a judge found, with a sign, since a colour tells nothing to who cannot see it."""


@dataclass(frozen=True)
class Verdict:
    """What one judge thinks of an answer beside the base model's."""

    judge: str
    kind: str
    """`better`, `worse` or `tie`."""

    said: str


@dataclass(frozen=True)
class Answer:
    """One model's answer to a held-out prompt."""

    model: str
    text: Text
    passed: bool | None
    """Whether the constraints hold; None where there are none."""

    cut_off: bool
    verdicts: Sequence[Verdict]


@dataclass(frozen=True)
class Comparison:
    """A held-out prompt with every model's answer."""

    title: str
    source: str
    prompt: Text
    constraints: Sequence[str]
    answers: Sequence[Answer]


@dataclass(frozen=True)
class Browser:
    """What the page shows of the answers, and what lies in it for later."""

    first: Sequence[Comparison]
    """The first page."""

    index: str
    """JSON: what the prompts can be filtered by, without a look at their texts."""

    pages: Sequence[str]
    """JSON: the texts, page by page."""

    sources: Sequence[str]
    shown: int
    left_out: int
    """Prompts that would have made the report too large."""

    filters: Sequence[tuple[str, str]]
    """By what prompts can be found, each with its words: only what finds any."""


KINDS = {
    "constrained": "with constraints",
    "not_met": "constraints not met",
    "changed": "verdict changed",
    "disagreed": "judges disagree",
    "cut_off": "cut off",
}
"""What a prompt may be found by."""


def browser(rows: Sequence[Metrics], teachers: Mapping[str, bool]) -> Browser | None:
    """The held-out prompts, ready for the page; None where there is none.

    Args:
        rows: see `pairloop.report`.
        teachers: every judge, and whether it also ranked the training data.
    """
    held = list(rows[: _fitting(rows)])
    if not held:
        return None
    sources = list(dict.fromkeys(_source(row) for row in held))
    kinds = [_kinds(row) for row in held]
    index = {
        "page": PAGE,
        "models": [name(n) for n in range(len(held[0]["outputs"]))],
        "judges": [label(judge, teacher) for judge, teacher in teachers.items()],
        "sources": sources,
        "source": [sources.index(_source(row)) for row in held],
        "kinds": [" ".join(found) for found in kinds],
    }
    return Browser(
        first=[_comparison(row, teachers) for row in held[:PAGE]],
        index=inert(index),
        pages=[
            inert([_stored(row, teachers) for row in held[start : start + PAGE]]) for start in range(0, len(held), PAGE)
        ],
        sources=[source for source in sources if source],
        shown=len(held),
        left_out=len(rows) - len(held),
        filters=[(kind, said) for kind, said in KINDS.items() if any(kind in found for found in kinds)],
    )


def _source(row: Metrics) -> str:
    return excerpt(str(row["source"]), 60) if row.get("source") else ""


def name(number: int) -> str:
    """What a model is called: iteration 0 is the base."""
    return f"Iteration {number}" if number else "Base model"


def label(judge: str, teacher: bool) -> str:
    """A judge's name, with a mark where it also ranked the training data."""
    return f"{judge} (the teacher)" if teacher else judge


def inert(content: object) -> str:
    """JSON that stands in an HTML `script` element of a type that no browser runs, and that no text in it can end.

    Control characters are shown as pictures, as everywhere on the page. No `<` is left: neither `</script>` nor `<!--`
    can arise, whatever a model wrote.
    """
    found = json.dumps(_visible(content), ensure_ascii=False, separators=(",", ":"))
    for character in "<>&\u2028\u2029":
        found = found.replace(character, f"\\u{ord(character):04x}")
    return found


def _visible(content: Any) -> Any:
    if isinstance(content, str):
        return visible(content)
    if isinstance(content, Mapping):
        return {visible(str(key)): _visible(value) for key, value in content.items()}
    return [_visible(item) for item in content] if isinstance(content, list | tuple) else content


def _fitting(rows: Sequence[Metrics]) -> int:
    """How many rows, from the first, have at most MOST_CHARACTERS together."""
    total = 0
    for number, row in enumerate(rows):
        total += sum(len(text(shown).text) for shown in (row["prompt"], *row["outputs"]))
        if total > MOST_CHARACTERS:
            return number
    return len(rows)


def _kinds(row: Metrics) -> list[str]:
    compared = [wins for wins in row.get("wins", ())[1:] if wins]
    judges = {judge for wins in compared for judge in wins}
    by_judge = [{verdict(wins[judge]) for wins in compared if judge in wins} for judge in judges]
    by_model = [{verdict(share) for share in wins.values()} for wins in compared]
    found = {
        "constrained": bool(row["constraints"]),
        "not_met": False in row["passes"],
        "changed": any(len(kinds) > 1 for kinds in by_judge),
        "disagreed": any(kinds >= {"better", "worse"} for kinds in by_model),
        "cut_off": any(row.get("cut_off", ())),
    }
    return [kind for kind, holds in found.items() if holds]


def verdict(share: float) -> str:
    """Better, worse or tie: by the share of its samples that a model's answers win."""
    return "better" if share > 0.5 else "worse" if share < 0.5 else "tie"


def _said(share: float) -> str:
    """The verdict in words; with several samples, also in how many of them it is so."""
    kind = verdict(share)
    agreeing = 1 - share if kind == "worse" else share
    return SAID[kind] if agreeing in (0.5, 1) else f"{SAID[kind]} in {math.floor(100 * agreeing + 0.5)}{SPACE}%"


def _comparison(row: Metrics, teachers: Mapping[str, bool]) -> Comparison:
    return Comparison(
        excerpt(row["prompt"]),
        _source(row),
        text(row["prompt"]),
        constraints(row),
        [
            Answer(name(n), text(output), passed, cut_off, list(_verdicts(wins, teachers)))
            for n, (output, passed, cut_off, wins) in enumerate(_models(row))
        ],
    )


def _verdicts(wins: Mapping[str, float], teachers: Mapping[str, bool]) -> Iterable[Verdict]:
    for judge, teacher in teachers.items():
        if (share := wins.get(judge)) is not None:
            yield Verdict(label(judge, teacher), verdict(share), _said(share))


def _models(row: Metrics) -> Iterable[tuple[str, bool | None, bool, Mapping[str, float]]]:
    """Each model's answer, whether its constraints hold, whether it was cut off, and by judge the share that it won."""
    models = len(row["outputs"])
    cut_off, wins = row.get("cut_off") or [False] * models, row.get("wins") or [{}] * models
    for n, (output, passed) in enumerate(zip(row["outputs"], row["passes"], strict=True)):
        yield output, passed, bool(cut_off[n]), (wins[n] or {}) if n else {}


def _stored(row: Metrics, teachers: Mapping[str, bool]) -> dict[str, Any]:
    """A prompt as the page's script reads it: the same as `_comparison`, short."""

    def cut(shown: Text) -> list[Any]:
        return [shown.text, shown.left_out, int(shown.long)]

    return {
        "title": excerpt(row["prompt"]),
        "prompt": cut(text(row["prompt"])),
        "rules": constraints(row),
        "answers": [
            [*cut(text(output)), passed, int(cut_off), [wins.get(judge) for judge in teachers]]
            for output, passed, cut_off, wins in _models(row)
        ],
    }
