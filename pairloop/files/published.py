"""Preference pairs that others published: splits `train_iteration_n` and `test_iteration_n` in the format of our own.

They lie in a folder, as parquet files under the names that our own splits, the datasets library or the hub's converter
give them, or in a data set on the Hugging Face hub, of which one commit is read.
"""

import math
import re
from collections.abc import Iterator, Set
from pathlib import Path
from typing import Any

from pairloop.errors import DataError, first_line
from pairloop.files.records import PAIR, ROW_GROUP, SIDES, Row
from pairloop.params.ranking import PINNED

_PLACES = ("{split}.parquet", "{split}-*.parquet", "{split}/*.parquet")
_FOLDERS = (".", "data", "default")
_CORRECT = "Correct the row, or leave it out."


def fetch(published: str) -> Path:
    """The folder with the splits' files; those of a data set on the hub are downloaded once.

    Raises:
        DataError: there is no such folder, data set or commit, or no network and no copy.
    """
    if not published.startswith("hf:"):
        if not Path(published).is_dir():
            raise DataError(f"{published}: there is no folder of that name with the parquet files of the splits")
        return Path(published)
    from httpx2 import HTTPError  # what huggingface_hub asks the hub with
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HFValidationError

    pinned = PINNED.fullmatch(published)
    if not pinned:
        raise DataError(
            f"{published}: a data set on the hub is written hf:owner/name@commit, with 40 digits of a commit"
        )
    try:
        return Path(snapshot_download(pinned[1], revision=pinned[2], repo_type="dataset", allow_patterns=["*.parquet"]))
    except (HFValidationError, HTTPError, OSError) as error:
        raise DataError(
            f"{published}: cannot be fetched ({first_line(error)}). Check the name, the commit and the network, or "
            "set pair.published to a folder with a copy"
        ) from error


def stream(folder: Path, split: str) -> Iterator[list[Row]]:
    """The pairs of a split in batches, as rows of records.PAIR; columns that it has besides are left out.

    Raises:
        DataError: there is no such split, a file is damaged or lacks a column, or a pair is not whole: something is
            null, or a side is not the prompt and one answer. Names the file and the row.
    """
    for path in _files(folder, split):
        yield from _file(path)


def problem(pair: Row, held_out: Set[str]) -> str | None:
    """Why a pair cannot be used, or None if it can.

    Returns:
        `in_eval_set` (its prompt is one of `held_out`), `empty` (a response has no text), `identical` (chosen and
        rejected are the same text) or None.
    """
    chosen, rejected = (pair[side][1]["content"] for side in SIDES)
    if pair["prompt"] in held_out:
        return "in_eval_set"
    if not chosen.strip() or not rejected.strip():
        return "empty"
    return "identical" if chosen == rejected else None


def _files(folder: Path, split: str) -> list[Path]:
    """The files of a split, in the order of their names."""
    for inside in _FOLDERS:
        for pattern in _PLACES:
            found = sorted((folder / inside).glob(pattern.format(split=split)))
            if found:
                return found
    there = sorted({re.split(r"[-.]", path.name)[0] for path in folder.rglob("*.parquet")})
    raise DataError(
        f"{folder}: has no split {split}: no {split}.parquet and no {split}-*.parquet, in the folder itself or in "
        f"data/. It has {', '.join(there) or 'no parquet file'}. Each iteration needs its train and its test split: "
        "lower iterations, or correct pair.published"
    )


def _file(path: Path) -> Iterator[list[Row]]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    first = 0
    try:
        with pq.ParquetFile(path, page_checksum_verification=True) as file:
            names = file.schema_arrow.names
            if missing := [name for name in PAIR if name not in names]:
                raise DataError(
                    f"{path}: lacks the columns {', '.join(missing)}. It has {', '.join(names)}; a published split "
                    f"needs {', '.join(PAIR)}"
                )
            for batch in file.iter_batches(ROW_GROUP, columns=list(PAIR)):
                rows = batch.to_pylist()
                yield [_checked(row, f"{path}, row {number}") for number, row in enumerate(rows, first)]
                first += len(rows)
    except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
        raise DataError(f"{path}: cannot be read as parquet ({first_line(error)})") from error


def _checked(row: Row, place: str) -> Row:
    for name in PAIR:
        if row[name] is None:
            raise DataError(f"{place}: {name} is null, but a pair needs all of {', '.join(PAIR)}. {_CORRECT}")
    for name in ("prompt_id", "prompt"):
        if not isinstance(row[name], str):
            raise DataError(f"{place}: {name} is {row[name]!r:.80}, but a text is needed. {_CORRECT}")
    chosen, rejected = (_conversation(row, side, place) for side in SIDES)
    responses, scores = (_listed(row, name, place) for name in ("all_generated_responses", "all_rm_scores"))
    if len(scores) != len(responses):
        raise DataError(
            f"{place}: {len(responses)} all_generated_responses but {len(scores)} all_rm_scores. {_CORRECT}"
        )
    if not all(isinstance(score, int | float) and math.isfinite(score) for score in scores):
        raise DataError(f"{place}: all_rm_scores holds what is no finite number. {_CORRECT}")
    return {name: row[name] for name in PAIR} | {"chosen": chosen, "rejected": rejected}


def _conversation(row: Row, side: str, place: str) -> list[dict[str, str]]:
    """The prompt as the user's turn and one assistant's turn."""
    turns = [turn if isinstance(turn, dict) else {} for turn in _listed(row, side, place)]
    roles = [str(turn.get("role")) for turn in turns]
    if roles != ["user", "assistant"]:
        raise DataError(
            f"{place}: {side} holds {', '.join(roles) or 'no turn'}, but the prompt as the user's turn and one "
            f"assistant's turn are needed. {_CORRECT}"
        )
    if not all(isinstance(turn.get("content"), str) for turn in turns):
        raise DataError(f"{place}: {side} has a turn whose content is no text. {_CORRECT}")
    if turns[0]["content"] != row["prompt"]:
        raise DataError(f"{place}: {side} has another text as the user's turn than the prompt. {_CORRECT}")
    return [{"content": turn["content"], "role": turn["role"]} for turn in turns]


def _listed(row: Row, name: str, place: str) -> list[Any]:
    found = row[name]
    if not isinstance(found, list) or None in found:
        raise DataError(f"{place}: {name} is no list, or holds null. {_CORRECT}")
    return list(found)
