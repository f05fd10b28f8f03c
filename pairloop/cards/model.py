"""The card of a model that is published."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pairloop.cards import Run, origin, results

TEMPLATE = Path(__file__).with_name("model.md.jinja")


def model_card(
    made: str, run: Run, found: Mapping[str, Any], before: Mapping[str, Any] | None = None, measured_of: str = ""
) -> str:
    """A card of a model, complete: what was written with the weights, then how good it is, its limits and its origin.

    Args:
        made: the card that lies beside the weights.
        run: where the model comes from.
        found: what the iteration's results hold, by file: see `results.evaluated`; `watch` where there is one.
        before: `metrics` of the base model.
        measured_of: the model that was measured, where it is not this one but what this was made from. Then the
            results are no results of this one, and stand in the text only.

    Returns:
        README.md as the hub reads it. The header keeps what `made` has, with the results added to its model index.
    """
    from huggingface_hub import ModelCard, ModelCardData

    from pairloop.measures.statistics import FEW

    card: Any = ModelCard(made)
    measured = results.evaluated(found)
    data = ModelCardData(**card.data.to_dict())
    if not measured_of:
        data.model_name = data.model_name or f"{run.base.name}, iteration {run.iterations} of DPO"
        data.eval_results = [*(data.eval_results or []), *measured]
    if run.prompts.startswith("hf:"):
        data.datasets = [run.prompts.removeprefix("hf:").partition("@")[0]]
    metrics, watch = found["metrics"], found.get("watch") or {}
    words: dict[str, Any] = {
        "metrics": metrics,
        "few_judged": metrics["judged"] < FEW,
        "before": before,
        "measured": measured,
        "measured_of": measured_of,
        "teachers": [judge for judge, rate in metrics["win_rate"].items() if rate["teacher"]],
        "alarms": watch.get("alarms", []),
    }
    words |= {"text": card.text.lstrip("\n"), "run": run, "origin": origin.told(run)}
    return f"{ModelCard.from_template(data, str(TEMPLATE), **words)}\n"
