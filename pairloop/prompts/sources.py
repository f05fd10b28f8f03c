"""Where prompts come from: a .jsonl or .parquet file, or a dataset on the Hugging Face hub."""

import difflib
import hashlib
import json
import re
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from pairloop.errors import DataError
from pairloop.files import jsonl
from pairloop.files.records import PROMPT, Row
from pairloop.prompts import constraints


def read_prompts(source: str, split: str) -> list[Row]:
    """All prompts of a source as rows of records.PROMPT, in its order.

    Args:
        source: a .jsonl or .parquet file, or `hf:owner/name@revision`.
        split: which split of a hub dataset; files have none.

    Returns:
        Rows. In a file, an empty prompt, one with control characters, or a wrong prompt_id is an error. A hub dataset
        is not the user's to mend: such prompts are kept, for `pool.build` to drop and count, and its ids are not read.

    Raises:
        DataError: the source cannot be read, or a row is malformed. Names the file and the line or row.
    """
    if source.startswith("hf:"):
        name = source.removeprefix("hf:").partition("@")[0]
        rows = [normalise(values, place, name) for place, values in _hub(source, split)]
    else:
        name = Path(source).stem
        rows = [_usable(normalise(values, place, name), place) for place, values in _file(Path(source))]
    if not rows:
        raise DataError(f"{source}: has no prompts")
    return rows


def prompt_id(prompt: str) -> str:
    """The sha256 of the prompt's UTF-8 in hex, as in UltraFeedback binarized."""
    return hashlib.sha256(prompt.encode()).hexdigest()


def problem(prompt: str) -> str | None:
    """Why no model can be asked this: `empty`, `control_characters`, or None if it can."""
    if not prompt.strip():
        return "empty"
    return "control_characters" if jsonl.CONTROL.search(prompt) else None


def normalise(values: Mapping[str, Any], place: str, source: str) -> Row:
    """A row of records.PROMPT from the columns that a source has.

    Args:
        values: `prompt`, and optionally `prompt_id`, `source` and `constraints` (a list, its JSON text, or None).
        place: where the row stands, for messages: "prompts.jsonl, line 3".
        source: what `source` is where the row does not say it.

    Raises:
        DataError: a value is missing, of the wrong type, or an id that is not the prompt's sha256.
    """
    if values.get("prompt") is None:
        raise DataError(f"{place}: has no prompt. Needed: a text named prompt")
    for name in ("prompt", "prompt_id", "source"):
        value = values.get(name)
        if value is not None and not isinstance(value, str):
            raise DataError(f"{place}: {name} is {value!r:.80}: it must be a text")
    for name in PROMPT:
        jsonl.check_encodable(values.get(name), f"{place}: {name}")
    prompt, given = values["prompt"], values.get("prompt_id")
    if given is not None and given != prompt_id(prompt):
        raise DataError(
            f"{place}: prompt_id is {given[:80]!r}, but the sha256 of the prompt is {prompt_id(prompt)}. "
            "Correct it, or leave prompt_id out"
        )
    try:
        parsed = constraints.parse(values.get("constraints"))
    except DataError as error:
        raise DataError(f"{place}: {error.message}") from None
    return {
        "prompt_id": prompt_id(prompt),
        "prompt": prompt,
        "source": values.get("source") or source,
        "constraints": json.dumps(parsed, ensure_ascii=False) if parsed else None,
    }


def _usable(row: Row, place: str) -> Row:
    if problem(row["prompt"]) == "empty":
        raise DataError(f"{place}: the prompt is empty. Write one, or delete the line")
    jsonl.check_control(row["prompt"], f"{place}: the prompt")
    return row


def _file(path: Path) -> Iterator[tuple[str, Mapping[str, Any]]]:
    if path.suffix not in (".jsonl", ".parquet"):
        raise DataError(
            f"{path}: prompts are read from a .jsonl or .parquet file, or from hf:owner/name@revision, a hub dataset"
        )
    if not path.is_file():
        raise DataError(f"{path}: no such file. It must hold the prompts, one JSON object a line or one row each")
    return _jsonl(path) if path.suffix == ".jsonl" else _parquet(path)


def _jsonl(path: Path) -> Iterator[tuple[str, Mapping[str, Any]]]:
    first_with: dict[str, int] = {}
    for number, values in jsonl.objects(path, '{"prompt": "..."}'):
        place = f"{path}, line {number}"
        for name in values:
            if name not in PROMPT:
                raise DataError(f"{place}: unknown field {name!r:.80}{_nearest(name)}")
        given = values.get("prompt_id")
        if isinstance(given, str) and first_with.setdefault(given, number) != number:
            raise DataError(f"{place}: prompt_id {given[:80]} stands in line {first_with[given]} too. Delete one")
        yield place, values


def _nearest(name: str) -> str:
    near = difflib.get_close_matches(name, list(PROMPT), n=1, cutoff=0.5)
    return f": did you mean {near[0]}?" if near else f". Known: {', '.join(PROMPT)}"


def _parquet(path: Path) -> Iterator[tuple[str, Mapping[str, Any]]]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    number = 0
    try:
        with pq.ParquetFile(path) as file:
            columns = _columns(file.schema_arrow.names, str(path))
            for batch in file.iter_batches(1024, columns=columns):
                for values in batch.to_pylist():
                    yield f"{path}, row {number}", values
                    number += 1
    except (pa.ArrowException, OSError) as error:
        raise DataError(f"{path}: cannot be read as parquet ({_first_line(error)})") from error


def _hub(source: str, split: str) -> Iterator[tuple[str, Mapping[str, Any]]]:
    found = re.fullmatch(r"hf:([\w.-]+/[\w.-]+)@([\w./-]+)", source)
    if not found:
        raise DataError(f"{source}: a hub dataset is written hf:owner/name@revision; the revision fixes what is read")
    from datasets import load_dataset

    try:
        dataset: Iterable[Mapping[str, Any]] = load_dataset(found[1], revision=found[2], split=split)
    # Whatever a hub, a proxy or a damaged cache does wrong: the user can only check these four.
    except Exception as error:
        raise DataError(
            f"{source}: split {split} cannot be loaded ({_first_line(error)}). "
            "Check the name, the revision, the split and the network, or point at a local .jsonl or .parquet file"
        ) from error
    return rows_of_dataset(dataset, source, split)


def rows_of_dataset(dataset: Any, source: str, split: str) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """The columns that a prompt has, of each row of a `datasets.Dataset`, with where the row stands.

    Raises:
        DataError: there is no column `prompt`.
    """
    columns = [c for c in _columns(dataset.column_names, f"{source}, split {split}") if c != "prompt_id"]
    for number, values in enumerate(dataset.select_columns(columns)):
        yield f"{source}, split {split}, row {number}", values | {"prompt": values["prompt"] or ""}


def _columns(names: list[str], where: str) -> list[str]:
    if "prompt" not in names:
        raise DataError(f"{where}: has the columns {', '.join(names)}, but a column prompt is needed")
    return [name for name in names if name in PROMPT]


def _first_line(error: Exception) -> str:
    return str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
