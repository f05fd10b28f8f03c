"""Where prompts come from: .jsonl, .parquet and .json files, folders, and datasets on the Hugging Face hub.

One rule holds for all of them. A prompt that is missing, empty or has control characters is kept, for `pool.build` to
drop and count. Whatever else is wrong is refused, all rows that have it together. Other columns are passed over.
"""

import hashlib
import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import lru_cache
from itertools import chain
from pathlib import Path
from typing import Any, TypeVar

from pairloop.errors import DataError, first_line, nearest
from pairloop.files import jsonl, remote
from pairloop.files.records import Row
from pairloop.prompts import constraints

PROMPTS = ("prompt", "instruction", "question", "text", "turns")
"""The names that prompts go by; of several, the first that a row has. Of `turns`, a list, the first is the prompt.
After an `instruction` comes its `input` or `context`, if it has one, or the input of the first of its `instances`."""

_INPUTS = ("input", "context", "instances")
_READ = (*PROMPTS, *_INPUTS, "source", "constraints")
_EXAMPLE = '{"prompt": "..."}'

Place = str
Values = Mapping[str, Any]
Item = TypeVar("Item")


def read_prompts(source: str, split: str) -> list[Row]:
    """All prompts of a source as rows of records.PROMPT, in its order.

    Args:
        source: a .jsonl or .parquet file, a folder of such files, which are read in the order of their names, a .json
            file with a list of rows, `hf:owner/name@revision`, or one file of a dataset, `hf:owner/name@commit/file`.
        split: which split of a hub dataset; files have none.

    Raises:
        DataError: the source cannot be read, has no column that prompts go by, or rows are malformed. Names the file
            and every such line or row.
    """
    name = source.removeprefix("hf:").partition("@")[0] if source.startswith("hf:") else Path(source).stem
    named: set[str] = set()

    def row(item: tuple[Place, bytes | Values]) -> Row:
        place, values = item
        values = jsonl.parse(values, place, _EXAMPLE) if isinstance(values, bytes) else values
        if not isinstance(values, Mapping):
            raise DataError(f"{place}: {values!r:.80} is no JSON object. Needed: {_EXAMPLE}")
        named.update(values)
        return normalise(values, place, name)

    rows = jsonl.each(_items(source, split), row)
    if not rows:
        raise DataError(f"{source}: has no prompts")
    if named.isdisjoint(PROMPTS):
        raise DataError(f"{source}: {_no_prompt(named)}")
    return rows


def prompt_id(prompt: str) -> str:
    """The sha256 of the prompt's UTF-8 in hex, as in UltraFeedback binarized."""
    return hashlib.sha256(prompt.encode()).hexdigest()


def problem(prompt: str) -> str | None:
    """Why no model can be asked this: `empty`, `control_characters`, or None if it can."""
    if not prompt.strip():
        return "empty"
    return "control_characters" if jsonl.CONTROL.search(prompt) else None


def normalise(values: Values, place: Place, source: str) -> Row:
    """A row of records.PROMPT from the columns that a source has. Null is the same as absent.

    Args:
        values: a prompt by one of the names in PROMPTS, and optionally `source` and `constraints` (a list or its JSON
            text). Without a prompt, the row's is empty. Other names are passed over.
        place: where the row stands, for messages: "prompts.jsonl, line 3".
        source: what `source` is where the row does not say it.

    Raises:
        DataError: a value is of the wrong type, or a name is misspelt.
    """
    _check_names(values, place)
    prompt, own, stated = _prompt(values, place), values.get("source"), values.get("constraints")
    if own is not None and not isinstance(own, str):
        raise DataError(f"{place}: source is {own!r:.80}: it must be a text")
    for name, value in (("prompt", prompt), ("source", own), ("constraints", stated)):
        jsonl.check_encodable(value, f"{place}: {name}")
    try:
        parsed = constraints.parse(stated)
        if isinstance(stated, str):
            jsonl.loads(stated)  # refuses a key that stands there twice
    except DataError as error:
        raise DataError(f"{place}: {error.message}") from None
    return {
        "prompt_id": prompt_id(prompt),
        "prompt": prompt,
        "source": own or source,
        "constraints": json.dumps(parsed, ensure_ascii=False) if parsed else None,
    }


def _prompt(values: Values, place: Place) -> str:
    name = next((name for name in PROMPTS if values.get(name) is not None), None)
    if name is None:
        return ""
    value = values[name]
    if name == "turns" and isinstance(value, list) and value:
        value = value[0]
    if not isinstance(value, str):
        raise DataError(f"{place}: {name} is {value!r:.80}: it must be a text")
    given = _input(values) if name == "instruction" else None
    return f"{value}\n\n{given}" if given else value


def _input(values: Values) -> str | None:
    """What an instruction is about, where that stands by itself."""
    instances = values.get("instances")
    if isinstance(instances, list) and instances and isinstance(instances[0], dict):
        values = instances[0]
    found = next((values[name] for name in _INPUTS if isinstance(values.get(name), str)), "")
    return found.strip() or None


def _check_names(values: Values, place: Place) -> None:
    """A name that was misspelt would be passed over, and what it holds lost."""
    for name in values:
        meant = _misspelt(name)
        known = PROMPTS if meant == "prompt" else ("constraints",)
        if meant and values[name] is not None and all(values.get(other) is None for other in known):
            raise DataError(f"{place}: unknown field {name!r:.80}: did you mean {meant}?")


@lru_cache(maxsize=1024)  # the same names come in every row
def _misspelt(name: str) -> str | None:
    return None if name in _READ else nearest(name.casefold(), ("prompt", "constraints"), 0.85)


def _no_prompt(names: Iterable[str]) -> str:
    return f"has the columns {', '.join(sorted(names))}, but one named {', '.join(PROMPTS[:-1])} or turns is needed"


def _items(source: str, split: str) -> Iterator[tuple[Place, bytes | Values]]:
    """Each row with where it stands."""
    if remote.HUB_FILE.fullmatch(source):
        return chain.from_iterable(map(_file, _files(remote.from_hub(source))))
    return _hub(source, split) if source.startswith("hf:") else chain.from_iterable(map(_file, _files(Path(source))))


def _files(path: Path) -> list[Path]:
    """The file, or the files in the folder."""
    if path.is_dir():
        found = sorted(file for file in path.iterdir() if file.suffix in (".jsonl", ".parquet"))
        if not found:
            raise DataError(f"{path}: the folder has no .jsonl and no .parquet file")
        return found
    if path.suffix not in (".jsonl", ".parquet", ".json"):
        raise DataError(
            f"{path}: prompts are read from a .jsonl or .parquet file, a folder of them, a .json file, or from "
            "hf:owner/name@revision, a hub dataset"
        )
    if not path.exists():
        raise DataError(f"{path}: no such file. It must hold the prompts, one JSON object a line or one row each")
    return [path]


def _file(path: Path) -> Iterator[tuple[Place, bytes | Values]]:
    match path.suffix:
        case ".parquet":
            return _parquet(path)
        case ".json":
            return _listed(path)
    return jsonl.lines(path)


def _listed(path: Path) -> Iterator[tuple[Place, Values]]:
    """The rows of one JSON list, as AlpacaEval's files are."""
    try:
        found = jsonl.loads(path.read_text(encoding="utf-8"))
    except DataError as error:
        raise DataError(f"{path}: {error.message}") from None
    except (OSError, ValueError, RecursionError) as error:
        raise DataError(f"{path}: cannot be read as JSON ({first_line(error)})") from None
    if not isinstance(found, list):
        raise DataError(f"{path}: must hold a list of rows, such as [{_EXAMPLE}]")
    yield from ((f"{path}, row {number}", values) for number, values in enumerate(found))


def _parquet(path: Path) -> Iterator[tuple[Place, Values]]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    number = 0
    try:
        with pq.ParquetFile(path, page_checksum_verification=True) as file:
            columns = _columns(file.schema_arrow.names, str(path))
            for batch in file.iter_batches(1024, columns=columns):
                for values in batch.to_pylist():
                    yield f"{path}, row {number}", values
                    number += 1
    except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
        raise DataError(f"{path}: cannot be read as parquet ({first_line(error)})") from error


def _hub(source: str, split: str) -> Iterator[tuple[Place, Values]]:
    return hub(source, split, lambda dataset: rows_of_dataset(dataset, source, split))


def hub(source: str, split: str, rows: Callable[[Any], Iterable[Item]]) -> Iterator[Item]:
    """What a split of a dataset on the hub holds.

    Args:
        source: `hf:owner/name@revision`.
        split: its name.
        rows: reads the `datasets.Dataset`.

    Raises:
        DataError: the reference is not of that form, or the hub does not give it.
    """
    found = re.fullmatch(r"hf:([\w.-]+/[\w.-]+)@([\w./-]+)", source)
    if not found:
        raise DataError(f"{source}: a hub dataset is written hf:owner/name@revision; the revision fixes what is read")
    from datasets import load_dataset

    try:
        yield from rows(load_dataset(found[1], revision=found[2], split=split))
    except DataError:
        raise
    # Whatever a hub, a proxy or a damaged cache does wrong: the user can only check these four.
    except Exception as error:
        raise DataError(
            f"{source}: split {split} cannot be loaded ({first_line(error)}). "
            "Check the name, the revision, the split and the network, or point at a local .jsonl or .parquet file"
        ) from error


def rows_of_dataset(dataset: Any, source: str, split: str) -> Iterator[tuple[Place, Values]]:
    """The columns that are read, of each row of a `datasets.Dataset`, with where the row stands.

    Raises:
        DataError: there is no column that prompts go by.
    """
    columns = _columns(dataset.column_names, f"{source}, split {split}")
    for number, values in enumerate(dataset.select_columns(columns)):
        yield f"{source}, split {split}, row {number}", values


def _columns(names: list[str], where: str) -> list[str]:
    """The columns to read: those that are known, and those that may be misspelt."""
    found = [name for name in names if name in _READ or _misspelt(name)]
    if not any(name in PROMPTS or _misspelt(name) == "prompt" for name in found):
        raise DataError(f"{where}: {_no_prompt(names)}")
    return found
