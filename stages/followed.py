"""followed: two prompts of a run, through every file that holds them, as docs/architecture.md shows them."""

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import click

from pairloop.files import jsonl, records
from pairloop.files.records import Row
from stages import common, diagram

NUMBERS = 8
"""Of a longer list of numbers, so many are shown."""

CHARACTERS = 90
"""Of a text that are shown, and of a list before it gets a line for each item."""

COLUMN = 24
"""Room for a column's name."""

OPTIONAL = ("earlier", "gate", "annotate", "ifeval", "preferences", "lm_eval", "export")
"""Stages that a run has only where they are asked for, and the published run has not."""


@click.command(cls=common.Verb)
@click.argument("pipeline", type=Path)
@click.argument("authored", type=Path)
@click.argument("pairs", type=Path)
@click.argument("held_out", type=Path)
@click.argument("page", type=Path)
def main(pipeline: Path, authored: Path, pairs: Path, held_out: Path, page: Path) -> None:
    """Follow the first prompt of PAIRS and that of HELD_OUT from the files in AUTHORED to the last one of PIPELINE.

    Writes between the marks in PAGE what iteration 1 made of them.
    """
    places = [(path, "written by hand") for path in sorted(authored.glob("*.jsonl"))]
    for step in diagram.steps(pipeline):
        stage = f"{step.name}@1" if step.each else step.name
        written = () if step.name in OPTIONAL else step.writes
        places += [(Path(_first(path)), f"written by `{stage}`") for path in written]
    for part, start in (("learnt", pairs), ("held out", held_out)):
        prompt = records.read_unchecked(start)[0]
        diagram.renew(page, part, "\n\n".join(follow(prompt, places)))


def _first(path: str) -> str:
    return path.replace("_n/", "_1/").replace("_n.", "_1.")


def follow(prompt: Row, places: Sequence[tuple[Path, str]]) -> Iterator[str]:
    """What each file says of a prompt that the ones before it did not, in Markdown; nothing of files without it.

    Args:
        prompt: its `prompt_id` and `prompt`.
        places: files, and where they come from.
    """
    seen: Row = {}
    for path, origin in places:
        rows = _rows(path)
        number = next((number for number, row in enumerate(rows, 1) if _is_about(row, prompt)), None)
        if number is not None:
            row = records.rounded(rows[number - 1])
            yield f"**`{path}`**, {origin}, row {number} of {len(rows)}.{_shown(row, seen)}"
            seen |= row


def _rows(path: Path) -> list[Row]:
    """The rows of a file, if it is one of rows."""
    if path.suffix == ".parquet":
        return records.read_unchecked(path)
    if path.suffix == ".jsonl":
        return [jsonl.parse(line, place, '{"prompt": "…"}') for place, line in jsonl.lines(path)]
    content = records.read_json(path) if path.suffix == ".json" else None
    return content if isinstance(content, list) else []


def _is_about(row: Row, prompt: Row) -> bool:
    named = (row.get("prompt_id"), row.get("prompt"), row.get("instruction"))
    return prompt["prompt_id"] in named or prompt["prompt"] in named


def _shown(row: Row, seen: Row) -> str:
    known = [name for name in row if name in seen and seen[name] == row[name]]
    lines = [line for name in row if name not in known for line in _lines(name, row[name], seen)]
    again = f"\nAs before: {', '.join(f'`{name}`' for name in known)}." if known else ""
    return again + ("\n\n" + "\n".join(["```text", *lines, "```"]) if lines else "")


def _lines(name: str, value: Any, seen: Row) -> list[str]:
    """A column: one line, or one for each item of a list that is too long for that."""
    same = next((other for other in seen if isinstance(value, list) and seen[other] == value), None)
    if same:
        return [f"{name:<{COLUMN}} the same as {same}"]
    whole = json.dumps(value, ensure_ascii=False)
    items = value if isinstance(value, list) and len(whole) > CHARACTERS else [value]
    texts = [json.dumps(_short(item), ensure_ascii=False) for item in items]
    return [f"{name if i == 0 else '':<{COLUMN}} {text}" for i, text in enumerate(texts)]


def _short(value: Any) -> Any:
    """The same with its texts and its lists of numbers cut."""
    if isinstance(value, str):
        return value if len(value) <= CHARACTERS else f"{value[: CHARACTERS - 1]}…"
    if isinstance(value, dict):
        return {key: _short(item) for key, item in value.items()}
    if isinstance(value, list):
        numbers = len(value) > NUMBERS and not any(isinstance(item, str | dict | list) for item in value)
        return [*value[:NUMBERS], "…"] if numbers else [_short(item) for item in value]
    return value


if __name__ == "__main__":
    main()
