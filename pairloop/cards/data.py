"""The card of a data set that is published."""

from pathlib import Path
from typing import Any

from pairloop.cards import Run, origin

TEMPLATE = Path(__file__).with_name("data.md.jinja")


def data_card(made: str, run: Run) -> str:
    """A card of the data, complete: what was written beside the splits, then its limits and its origin.

    Args:
        made: the card that lies beside the splits.
        run: where the data come from.

    Returns:
        README.md as the hub reads it, with the header of `made`: the splits, their files and features.
    """
    from huggingface_hub import DatasetCard, DatasetCardData

    card: Any = DatasetCard(made)
    data = DatasetCardData(**card.data.to_dict())
    if run.prompts.startswith("hf:"):
        data.source_datasets = [run.prompts.removeprefix("hf:").partition("@")[0]]
    words: dict[str, Any] = {"text": card.text.lstrip("\n"), "run": run, "origin": origin.told(run)}
    return f"{DatasetCard.from_template(data, str(TEMPLATE), **words)}\n"
