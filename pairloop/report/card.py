"""The card of the data set that the splits form together; its words are in card.md.jinja."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pairloop.files import records

TEMPLATE = Path(__file__).with_name("card.md.jinja")

_SIZES = ("n<1K", "1K<n<10K", "10K<n<100K", "100K<n<1M", "1M<n<10M", "10M<n<100M", "100M<n<1B", "1B<n<10B")
"""The hub's names for how many rows a data set has, by powers of ten from 10³ on."""


def dataset_card(sizes: Mapping[str, int], base: str, ranker: str, source: str, sampled: str) -> str:
    """README.md of the folder with the splits: `datasets.load_dataset` reads the splits' names and files from it.

    Args:
        sizes: rows of each split, as `train_iteration_1`; its file is `<split>.parquet` beside the card.
        base: reference to iteration 0.
        ranker: what scored the responses.
        source: where the prompts come from.
        sampled: a sentence about the engine that sampled the responses.
    """
    from datasets import DatasetInfo, Features
    from datasets.info import DatasetInfosDict
    from huggingface_hub import DatasetCard, DatasetCardData

    files = [{"split": split, "path": f"{split}.parquet"} for split in sizes]
    data = DatasetCardData(
        language="en",
        task_categories=["text-generation"],
        size_categories=_SIZES[max(0, len(str(sum(sizes.values()))) - 3)],
        pretty_name="Preference pairs, iteration by iteration",
        tags=["dpo", "preference", "pairloop"],
        configs=[{"config_name": "default", "default": True, "data_files": files}],
    )
    features = Features.from_arrow_schema(records.arrow_schema(records.PAIR))
    DatasetInfosDict(default=DatasetInfo(features=features)).to_dataset_card_data(data)
    data["dataset_info"]["splits"] = [{"name": split, "num_examples": rows} for split, rows in sizes.items()]
    words: dict[str, Any] = {"base": _named(base), "source": _named(source), "ranker": ranker, "sampled": sampled}
    return str(DatasetCard.from_template(data, str(TEMPLATE), sizes=sizes, **words)) + "\n"


def _named(reference: str) -> str:
    """A reference as it stands in the parameters; of a path that leads out of the project only the last part."""
    path = Path(reference)
    return path.name if path.is_absolute() or path.parts[0] in ("..", "~") else reference
