"""Pairs that others published: where they may lie, and what is refused in one sentence."""

from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pairloop.errors import DataError
from pairloop.files import published, records

ASKED = {"content": "Is it?", "role": "user"}
PAIR: dict[str, Any] = {
    **{"prompt_id": "1", "prompt": "Is it?"},
    "chosen": [ASKED, {"content": "Yes.", "role": "assistant"}],
    "rejected": [ASKED, {"content": "No.", "role": "assistant"}],
    "all_generated_responses": ["Yes.", "No."],
    "all_rm_scores": [1.0, -1.0],
}


def write(path: Path, *rows: dict[str, Any]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.Table.from_pylist(list(rows)), path)
    return path


def read(folder: Path, split: str = "train_iteration_1") -> list[dict[str, Any]]:
    return [row for rows in published.stream(folder, split) for row in rows]


@pytest.mark.parametrize(
    "name",
    [
        "train_iteration_1.parquet",
        "train_iteration_1-00000-of-00001.parquet",
        "data/train_iteration_1-00000-of-00001.parquet",
        "default/train_iteration_1/0000.parquet",
    ],
)
def test_splits_are_found_under_the_names_that_they_go_by(name: str, tmp_path: Path) -> None:
    write(tmp_path / name, PAIR | {"more": 1})
    write(tmp_path / name.replace("iteration_1", "iteration_11"), PAIR | {"prompt_id": "11"})
    assert read(tmp_path) == [PAIR]


def test_the_files_of_a_split_are_read_one_after_the_other(tmp_path: Path) -> None:
    for number in ("1", "0"):
        write(tmp_path / f"train_iteration_1-0000{number}-of-00002.parquet", PAIR | {"prompt_id": number})
    assert [row["prompt_id"] for row in read(tmp_path)] == ["0", "1"]


def test_what_this_project_publishes_can_be_read_again(tmp_path: Path) -> None:
    records.write(tmp_path / "train_iteration_1.parquet", records.PAIR, [[PAIR]])
    assert read(tmp_path) == [PAIR]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"chosen": [ASKED]}, "chosen holds user, but the prompt as the user's turn and one assistant's turn"),
        ({"rejected": []}, "rejected holds no turn, but"),
        ({"rejected": [ASKED, ASKED]}, "rejected holds user, user, but"),
        ({"chosen": [ASKED, {"content": None, "role": "assistant"}]}, "chosen has a turn whose content is no text"),
        ({"prompt": "Was it?"}, "chosen has another text as the user's turn than the prompt"),
        ({"prompt": None}, "prompt is null, but a pair needs all of prompt_id, prompt, chosen"),
        ({"prompt_id": 7}, "prompt_id is 7, but a text is needed"),
        ({"all_rm_scores": [1.0, None]}, "all_rm_scores is no list, or holds null"),
        ({"all_rm_scores": [1.0, float("nan")]}, "all_rm_scores holds what is no finite number"),
        ({"all_rm_scores": [1.0]}, "2 all_generated_responses but 1 all_rm_scores"),
        ({"chosen": "Yes."}, "chosen is no list"),
    ],
)
def test_a_pair_that_is_not_whole_is_named_by_its_file_and_row(
    changes: dict[str, Any], message: str, tmp_path: Path
) -> None:
    path = write(tmp_path / "train_iteration_1.parquet", PAIR | changes)
    with pytest.raises(DataError) as error:
        read(tmp_path)
    assert error.value.message.startswith(f"{path}, row 0: {message}")


def test_rows_are_counted_over_all_batches_of_a_file(tmp_path: Path) -> None:
    write(tmp_path / "train_iteration_1.parquet", *[PAIR] * 300, PAIR | {"rejected": [ASKED]})
    with pytest.raises(DataError, match=r"train_iteration_1\.parquet, row 300: rejected holds user, but"):
        read(tmp_path)


def test_other_columns_a_missing_split_and_a_damaged_file_are_each_one_sentence(tmp_path: Path) -> None:
    path = write(tmp_path / "train_iteration_1.parquet", {"prompt": "Is it?", "completion": "Yes."})
    with pytest.raises(DataError, match=r"lacks the columns prompt_id, chosen, .*It has prompt, completion; a"):
        read(tmp_path)
    with pytest.raises(DataError, match=r"has no split train_iteration_4: .*It has train_iteration_1\. .*lower iter"):
        read(tmp_path, "train_iteration_4")
    path.write_bytes(b"no parquet")
    with pytest.raises(DataError, match=r"train_iteration_1\.parquet: cannot be read as parquet"):
        read(tmp_path)
    with pytest.raises(DataError, match="there is no folder of that name"):
        published.fetch(str(tmp_path / "nowhere"))


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({}, None),
        ({"prompt": "held out"}, "in_eval_set"),
        ({"rejected": [ASKED, {"content": " ", "role": "assistant"}]}, "empty"),
        ({"rejected": PAIR["chosen"]}, "identical"),
    ],
)
def test_pairs_that_cannot_be_used_are_told_from_the_others(changes: dict[str, Any], problem: str | None) -> None:
    assert published.problem(PAIR | changes, {"held out"}) == problem


def test_a_data_set_of_the_hub_without_a_network_is_one_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    import huggingface_hub.constants

    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    with pytest.raises(DataError, match=r"cannot be fetched \(.+ set pair\.published to a folder with a copy"):
        published.fetch(f"hf:nobody/nothing@{'0' * 40}")
