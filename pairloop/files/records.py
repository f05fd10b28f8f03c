"""The files between the steps: their Arrow schemas, and the only reader and writer of them."""

import hashlib
import json
import os
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from itertools import chain, islice
from pathlib import Path
from typing import Any
from uuid import uuid4

from pairloop.errors import DataError, first_line
from pairloop.files import disk, locks

Row = dict[str, Any]

_STRINGS = "list<string>"
_MESSAGES = "list<struct<content: string, role: string>>"

PROMPT = {"prompt_id": "string", "prompt": "string", "source": "string", "constraints": "string"}
"""A prompt. `prompt_id` is the sha256 of its UTF-8 in hex; `constraints` is a JSON list or null."""

TEXT = {
    "prompt_id": "string",
    "prompt": "string",
    "responses": _STRINGS,
    "finish_reasons": _STRINGS,
    "token_counts": "list<int32>",
}
"""A prompt's K responses; a finish reason is `stop` (ended by itself) or `length` (cut off)."""

RESPONSE = TEXT | {"token_ids": "list<list<int32>>", "logps": "list<list<float>>"}
"""The responses with the tokens that were sampled, the end token among them where there is one, and their
log-probabilities at temperature 1, in nats (null where the engine gives none)."""

ANSWER = (
    PROMPT
    | TEXT
    | {"temperature": "double", "best_of": "int32", "moved_on": "double", "logps": "list<double>", "judged": "string"}
)
"""A held-out prompt with a model's answers in one setting, which later models are compared with: a row for each
setting and prompt, the main setting first. `best_of`: of how many answers this one was picked, 1 where none was.
`moved_on`: the factor by which the model was moved on from the base, 0 where it was not. `logps`: the sum of each
answer's log-probabilities at temperature 1, in nats, or null. `judged`: a JSON mapping of each judge that scores an
answer by itself to the K scores, empty where no judge compares the answers."""

INSTRUCTED = {"key": "string"} | TEXT | {"instructions": "string", "strict": "string", "loose": "string"}
"""An IFEval prompt with a model's answer. JSON lists: the instructions, {"kind", "arguments"}, and for each whether it
is followed, strictly and loosely; null where its kind cannot be checked."""

_MATRIX = "list<list<double>>"

RANKING = TEXT | {"scores": "list<double>", "ranker": "string", "comparisons": _MATRIX}
"""Responses, without their tokens, and their K scores, higher is better, comparable within the prompt only.
`comparisons` is null, or what a ranker that compares two responses said: [i][j] above 0 where response i, shown first,
beats response j."""

PAIR = {
    "prompt_id": "string",
    "prompt": "string",
    "chosen": _MESSAGES,
    "rejected": _MESSAGES,
    "all_generated_responses": _STRINGS,
    "all_rm_scores": "list<double>",
}
"""A preference pair: the six columns of snorkelai/Snorkel-Mistral-PairRM-DPO-Dataset, in its order."""

SIDES = ("chosen", "rejected")
"""A pair's two conversations."""

EARLIER = {
    "iteration": "int32",
    **{name: PAIR[name] for name in ("prompt_id", "prompt", *SIDES)},
    "chosen_ids": "list<int32>",
    "rejected_ids": "list<int32>",
}
"""A preference pair of an iteration before, with the tokens of its responses, null where only the text is known."""

Schema = dict[str, str]

_CONTENT = b"pairloop.rows.sha256"
"""Key in a parquet file's own metadata: sha256 of its rows as lines of JSON. The checksums of pages leave out what is
read before and after them."""

ROW_GROUP = 256
"""Rows that are written together: with five responses of 8 kB each, 10 MB."""


def arrow_schema(schema: Schema) -> Any:
    """The pyarrow schema of one of the formats above."""
    import pyarrow as pa

    message = pa.struct([("content", pa.string()), ("role", pa.string())])
    types = {
        "string": pa.string(),
        "int32": pa.int32(),
        _STRINGS: pa.list_(pa.string()),
        "double": pa.float64(),
        "list<int32>": pa.list_(pa.int32()),
        "list<list<int32>>": pa.list_(pa.list_(pa.int32())),
        "list<list<float>>": pa.list_(pa.list_(pa.float32())),
        "list<double>": pa.list_(pa.float64()),
        _MATRIX: pa.list_(pa.list_(pa.float64())),
        _MESSAGES: pa.list_(message),
    }
    return pa.schema([(name, types[kind]) for name, kind in schema.items()])


def read(path: Path, schema: Schema) -> list[Row]:
    """All rows of a parquet file, after checking that it has the format.

    Raises:
        DataError: the file is missing, damaged, has other columns, or a row breaks the format's rules. Damage is told
            at the latest when all is read; of a file that others wrote, only what parquet itself notices.
    """
    return [row for batch in stream(path, schema) for row in batch]


def read_unchecked(path: Path) -> list[Row]:
    """All rows of a parquet file of any format, to look at.

    Raises:
        DataError: there is no such file.
    """
    import pyarrow.parquet as pq

    if not path.is_file():
        raise DataError(f"{path}: no such file. `dvc pull` brings what is committed, `dvc repro` makes it.")
    rows: list[Row] = pq.read_table(path).to_pylist()
    return rows


def stream(path: Path, schema: Schema, batch_rows: int = ROW_GROUP) -> Iterator[list[Row]]:
    """The rows of a parquet file in batches, so that memory does not grow with the file. Checks as `read` does."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    first, content = 0, hashlib.sha256()
    try:
        with pq.ParquetFile(path, page_checksum_verification=True) as file:
            if file.schema_arrow != arrow_schema(schema):
                found = ", ".join(f"{f.name}: {f.type}" for f in file.schema_arrow)
                raise DataError(f"{path}: has the columns {found}, but {', '.join(schema)} are needed. {_REMAKE}")
            for batch in file.iter_batches(batch_rows):
                rows = batch.to_pylist()
                for number, row in enumerate(rows, first):
                    _check_row(path, number, row)
                first += len(rows)
                _add(content, rows)
                yield rows
            written = (file.metadata.metadata or {}).get(_CONTENT)
            if written not in (None, content.hexdigest().encode()):
                raise DataError(f"{path}: is damaged: its rows are not those that were written. {_REMAKE}")
    except FileNotFoundError:
        raise DataError(f"{path}: no such file. {_REMAKE}") from None
    except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
        raise DataError(f"{path}: cannot be read as parquet ({first_line(error)}). {_REMAKE}") from error


def _add(content: Any, rows: list[Row]) -> None:
    for row in rows:
        content.update(f"{json.dumps(row)}\n".encode())


_MAY_BE_NULL = ("constraints", "comparisons", "logps", "chosen_ids", "rejected_ids")

_REMAKE = "Delete it and run `dvc repro`. If it comes back the same, `python -m stages.check` says why and what to do."


def _check_row(path: Path, number: int, row: Row) -> None:
    """Every list of a row has one item per response, and no cell is empty that must not be."""
    for name, value in row.items():
        if value is None and name not in _MAY_BE_NULL:
            raise DataError(f"{path}, row {number}: {name} is null. {_REMAKE}")
    count = len(row["responses"]) if "responses" in row else None
    for name in ("finish_reasons", "token_counts", "token_ids", "logps", "scores", "comparisons"):
        if count is not None and row.get(name) is not None and len(row[name]) != count:
            raise DataError(f"{path}, row {number}: {count} responses but {len(row[name])} {name}. {_REMAKE}")
    for name in ("token_ids", "logps") if "token_ids" in row else ():
        if row[name] is not None and [len(own) for own in row[name]] != row["token_counts"]:
            raise DataError(f"{path}, row {number}: {name} has not token_counts' lengths. {_REMAKE}")


def write(path: Path, schema: Schema, batches: Iterable[list[Row]]) -> int:
    """Write batches of rows as parquet, under a temporary name until complete.

    Returns:
        The number of rows. The same rows give the same bytes, however they are cut into batches; no more than
        ROW_GROUP of them are in memory besides a batch.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    count, content = 0, hashlib.sha256()
    arrow = arrow_schema(schema)
    rows = chain.from_iterable(batches)
    settings = {"compression": "zstd", "write_page_checksum": True}
    with _replacing(path) as partial, pq.ParquetWriter(partial, arrow, **settings) as writer:
        while group := list(islice(rows, ROW_GROUP)):
            table = pa.Table.from_pylist(group, schema=arrow)
            writer.write_table(table)
            _add(content, table.to_pylist())  # as it will be read: 1 in a column of doubles is 1.0
            count += len(group)
        writer.add_key_value_metadata({_CONTENT: content.hexdigest()})
    return count


@contextmanager
def _replacing(path: Path) -> Iterator[Path]:
    """A name beside `path` to write to, which becomes `path` when all went well.

    Each process has its own, so that two that write the same file do not mix. What a killed one left is deleted.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    for left in path.parent.glob(f".{path.name}.*.partial"):
        with locks.alone(left) as is_left:
            if is_left:
                left.unlink(missing_ok=True)
    partial = path.with_name(f".{path.name}.{uuid4().hex}.partial")
    with disk.writing(path), locks.shared(partial):
        try:
            yield partial
            with partial.open("rb") as file:
                os.fsync(file.fileno())
            partial.replace(path)
        finally:
            partial.unlink(missing_ok=True)


def write_json(path: Path, content: object) -> None:
    """Write JSON with stable formatting, under a temporary name until complete."""
    write_text(path, json.dumps(content, indent=2, ensure_ascii=False, allow_nan=False) + "\n")


def write_text(path: Path, content: str) -> None:
    """Write a UTF-8 text, under a temporary name until complete."""
    with _replacing(path) as partial:
        partial.write_text(content, encoding="utf-8")


def file_sha256(path: Path) -> str:
    """sha256 of a file's content, in hex."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def read_json(path: Path) -> Any:
    """The content of a JSON file.

    Raises:
        DataError: the file is missing or no JSON.
    """
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise DataError(f"{path}: no such file. {_REMAKE}") from None
    except ValueError as error:
        raise DataError(f"{path}: no valid JSON ({error}). {_REMAKE}") from None


def rounded(value: Any, digits: int = 4) -> Any:
    """The same structure with its numbers rounded, for files that people read."""
    if isinstance(value, float):
        return round(value, digits)
    if isinstance(value, Mapping):
        return {key: rounded(item, digits) for key, item in value.items()}
    if isinstance(value, list):
        return [rounded(item, digits) for item in value]
    return value
