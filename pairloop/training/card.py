"""The card of a trained policy, with the metadata that the Hugging Face hub reads; its words are in card.md.jinja."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pairloop.files import records
from pairloop.training.output import BaseName

TEMPLATE = Path(__file__).with_name("card.md.jinja")

MEASURED = {
    "accuracy": "reward accuracy",
    "margin": "mean reward margin",
    "logp_accuracy": "chosen likelier per token",
}
"""What is measured on held-out pairs, and how the card says it."""


def write_card(
    folder: Path,
    base: BaseName,
    iteration: int,
    parameters: Mapping[str, Any],
    metrics: Mapping[str, Any],
    sampled: str = "",
) -> None:
    """Write README.md, the model card: a function of its arguments alone.

    Args:
        folder: where the weights lie.
        base: iteration 0. Only a model of the hub becomes the header's `base_model`; of others the text tells what
            they are.
        iteration: number of the model, from 1.
        parameters: of the training, `method` and `reference` among them.
        metrics: what `dpo.train` returns.
        sampled: a sentence about the engine that sampled the responses.
    """
    from huggingface_hub import ModelCard, ModelCardData

    adapter, hub = parameters["method"] != "full", base.kind == "hf"
    title = f"{base.name}, iteration {iteration} of DPO"
    kinds = dict.fromkeys(["lora", parameters["method"]]) if adapter else ()
    related: dict[str, Any] = {"base_model_relation": "adapter" if adapter else "finetune"} if hub else {}
    data = ModelCardData(
        base_model=base.name if hub else None,
        library_name="peft" if adapter else "transformers",
        license=base.licence.lower(),
        pipeline_tag="text-generation",
        tags=["dpo", "iterative-dpo", "pairloop", "trl", *kinds],
        model_name=title,
        eval_results=_results(metrics["after"], iteration),
        **related,
    )
    words = {"title": title, "adapter": adapter, "base": base, "iteration": iteration, "metrics": metrics}
    words |= {"parameters": parameters, "settings": json.dumps(parameters, indent=2), "measured": MEASURED}
    link = f"[{base.name}](https://huggingface.co/{base.name}/tree/{base.revision})" if hub else f"`{base.name}`"
    card = ModelCard.from_template(data, str(TEMPLATE), sampled=sampled, described=link, **words)
    records.write_text(folder / "README.md", f"{card}\n")


def _results(after: Mapping[str, float], iteration: int) -> list[Any]:
    from huggingface_hub import EvalResult

    return [
        EvalResult(
            task_type="text-generation",
            dataset_type="parquet",
            dataset_name=f"Preference pairs held out in iteration {iteration}",
            dataset_split=f"test_iteration_{iteration}",
            metric_type=name,
            metric_name=said,
            metric_value=round(after[name], 4),
        )
        for name, said in MEASURED.items()
    ]
