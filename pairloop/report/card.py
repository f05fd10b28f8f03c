"""The card of the data set that the splits form together; its words are in card.md.jinja."""

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pairloop.files import records
from pairloop.files.contents import Content
from pairloop.report.reproducible import named

TEMPLATE = Path(__file__).with_name("card.md.jinja")

_SIZES = ("n<1K", "1K<n<10K", "10K<n<100K", "100K<n<1M", "1M<n<10M", "10M<n<100M", "100M<n<1B", "1B<n<10B")
"""The hub's names for how many rows a data set has, by powers of ten from 10³ on."""


def dataset_card(
    splits: Mapping[str, Content], base: str, ranker: str, source: str, sampled: str, published: bool = False
) -> str:
    """README.md of the folder with the splits: `datasets.load_dataset` reads the splits' names and files from it.

    Args:
        splits: what the file of each split holds, as `train_iteration_1`; it is `<split>.parquet` beside the card. One
            without rows is not part of the data set.
        base: reference to iteration 0.
        ranker: what scored the responses.
        source: where the prompts come from.
        sampled: a sentence about the engine that sampled the responses.
        published: whether others made the pairs.
    """
    from datasets import DatasetInfo, Features, SplitDict, SplitInfo
    from datasets.info import DatasetInfosDict
    from huggingface_hub import DatasetCard, DatasetCardData

    # The datasets library loads nothing at all where one split has no rows.
    filled = {name: split for name, split in splits.items() if split.num_examples}
    files = [{"split": name, "path": f"{name}.parquet"} for name in filled]
    rows = sum(split.num_examples for split in splits.values())
    described = {"description": f"sha256 {_checksum(filled)}"}
    data = DatasetCardData(
        language="en",
        task_categories=["text-generation"],
        size_categories=_SIZES[max(0, len(str(rows)) - 3)],
        pretty_name="Preference pairs, iteration by iteration",
        tags=["dpo", "preference", "pairloop"],
        configs=[{"config_name": "default", "default": True, "data_files": files} | described],
    )
    features = Features.from_arrow_schema(records.arrow_schema(records.PAIR))
    sizes = {name: SplitInfo(name, split.num_bytes, split.num_examples) for name, split in filled.items()}
    DatasetInfosDict(default=DatasetInfo(features=features, splits=SplitDict(sizes))).to_dataset_card_data(data)
    words: dict[str, Any] = {"base": named(base), "source": named(source), "ranker": ranker, "sampled": sampled}
    words["published"] = published
    return str(DatasetCard.from_template(data, str(TEMPLATE), splits=splits, **words)) + "\n"


def _checksum(splits: Mapping[str, Content]) -> str:
    """Of the splits together: what `sha256sum` prints of their files, in order, has this sha256 in turn.

    The datasets library finds what it loaded before by the folder's name and the card's header, never by the files.
    With this in the header, other rows in a folder of that name are other data.
    """
    lines = "".join(f"{split.sha256}  {name}.parquet\n" for name, split in splits.items())
    return hashlib.sha256(lines.encode()).hexdigest()
