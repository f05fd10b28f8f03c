"""The card of the data set that the splits form together."""

from collections.abc import Mapping

_FEATURES = """  features:
  - name: prompt_id
    dtype: string
  - name: prompt
    dtype: string
  - name: chosen
    list:
    - name: content
      dtype: string
    - name: role
      dtype: string
  - name: rejected
    list:
    - name: content
      dtype: string
    - name: role
      dtype: string
  - name: all_generated_responses
    list: string
  - name: all_rm_scores
    list: float64"""


_CARD = """---
language:
- en
task_categories:
- text-generation
tags:
- dpo
- preference
- pairloop
configs:
- config_name: default
  data_files:
{files}
dataset_info:
{features}
  splits:
{splits}
---
# Preference pairs, iteration by iteration

The prompts are from `{source}`. The responses were sampled from `{base}` and, from iteration 2 on, from what the
iteration before made of it; `{ranker}` scored them, and the best and the worst became `chosen` and `rejected`. No
response comes from another model. {sampled} The columns are those of snorkelai/Snorkel-Mistral-PairRM-DPO-Dataset.

| split | pairs |
|---|---|
{table}

`load_dataset("data")` gives all splits. For TRL, use the columns `chosen` and `rejected` only: each is a whole
conversation, and a string `prompt` beside them would be taken for a prompt in another format.
"""


def dataset_card(sizes: Mapping[str, int], base: str, ranker: str, source: str, sampled: str) -> str:
    """README.md of the folder with the splits: `datasets.load_dataset` reads the splits' names and files from it.

    Args:
        sizes: rows of each split, as `train_iteration_1`; its file is `<split>.parquet` beside the card.
        base: reference to iteration 0.
        ranker: what scored the responses.
        source: where the prompts come from.
        sampled: a sentence about the engine that sampled the responses.
    """
    files = "\n".join(f"  - split: {split}\n    path: {split}.parquet" for split in sizes)
    splits = "\n".join(f"  - name: {split}\n    num_examples: {rows}" for split, rows in sizes.items())
    table = "\n".join(f"| {split} | {rows} |" for split, rows in sizes.items())
    names = {"source": source, "base": base, "ranker": ranker, "sampled": sampled}
    return _CARD.format(files=files, features=_FEATURES, splits=splits, table=table, **names)
