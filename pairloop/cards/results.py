"""What was measured on held-out prompts, as the hub's model index holds it: value, interval and how it was found."""

from collections.abc import Iterator, Mapping
from typing import Any

TASK = "text-generation"


def evaluated(found: Mapping[str, Any]) -> list[Any]:
    """The results of one model as `EvalResult`s; `metric_args` has `low` and `high` of the 95 % interval.

    Args:
        found: what the files of the iteration's results hold, by name without `.json`: metrics, and where they were
            measured ifeval, lm_eval and annotated.
    """
    metrics = found["metrics"]
    found_by = metrics["win_rate"].items()
    rates = [one for judge, rate in found_by for one in _rates(judge, rate, metrics["judged"])]
    return [
        *rates,
        *_constraints(metrics["constraints"]),
        *_ifeval(found.get("ifeval")),
        *_harness(found.get("lm_eval") or {}),
        *_annotated(found.get("annotated")),
    ]


def _rates(judge: str, rate: Mapping[str, Any], prompts: int) -> Iterator[Any]:
    more = {"judge": judge, "ranked_the_training_pairs": bool(rate["teacher"]), "prompts": prompts}
    yield _held_out("win_rate", f"win rate against the base model, by {judge}", rate, "win_rate", more)
    if rate.get("length_controlled") is not None:
        name = f"length-controlled win rate, by {judge}"
        yield _held_out("length_controlled_win_rate", name, {"rate": rate["length_controlled"]}, "rate", more)
    if before := rate.get("previous"):
        name = f"win rate against the iteration before, by {judge}"
        yield _held_out("win_rate", name, before, "win_rate", more | {"against": "the iteration before"})


def _constraints(measured: Mapping[str, Any] | None) -> Iterator[Any]:
    if measured:
        name = "prompts whose constraints all hold"
        yield _held_out("constraint_pass_rate", name, measured, "pass_rate", {"prompts": measured["prompts"]})


def _ifeval(measured: Mapping[str, Any] | None) -> Iterator[Any]:
    for form in ("strict", "loose"):
        if measured and (shares := measured[form]):
            more = {"prompts": measured["covered"]}
            name = f"IFEval, {form}, by prompt"
            yield _result("ifeval", "IFEval", f"prompt_{form}_accuracy", name, shares, "prompt", more)


def _harness(tasks: Mapping[str, Any]) -> Iterator[Any]:
    """lm-eval gives standard errors: 1.96 of them to either side are the interval."""
    for task, measured in tasks.items():
        numbers = measured["metrics"]
        for metric in [name for name in numbers if not name.partition(",")[0].endswith("_stderr")]:
            value, error = numbers[metric], numbers.get(_error(metric))
            if value is not None:
                bounds = {"value": value} | ({} if error is None else _around(value, error))
                more = {"few_shot": measured["few_shot"], "samples": measured["samples"]}
                yield _result(task, f"lm-eval, {task}", metric, f"lm-eval, {task}: {metric}", bounds, "value", more)


def _error(metric: str) -> str:
    name, comma, kind = metric.partition(",")
    return f"{name}_stderr{comma}{kind}"


def _around(value: float, error: float) -> dict[str, float]:
    return {"low": round(value - 1.96 * error, 4), "high": round(value + 1.96 * error, 4)}


def _annotated(judged: Mapping[str, Any] | None) -> Iterator[Any]:
    """Win rates in per cent, as AlpacaEval gives them, by an annotator that the name must tell."""
    if not judged:
        return
    name = f"win rate in per cent on AlpacaEval's instructions, by {judged['annotator']}"
    yield _result("alpaca_eval", "AlpacaEval", "win_rate_percent", name, judged, "win_rate", {})


def _held_out(kind: str, name: str, values: Mapping[str, Any], key: str, more: Mapping[str, Any]) -> Any:
    return _result("eval", "Held-out prompts", kind, name, values, key, more)


def _result(
    split: str, dataset: str, kind: str, name: str, values: Mapping[str, Any], key: str, more: Mapping[str, Any]
) -> Any:
    from huggingface_hub import EvalResult

    bounds = {bound: values[bound] for bound in ("low", "high") if bound in values}
    stated = {"confidence": 0.95} if bounds else {}
    return EvalResult(
        task_type=TASK,
        dataset_type="text",
        dataset_name=dataset,
        dataset_split=split,
        metric_type=kind,
        metric_name=name,
        metric_value=values[key],
        metric_args=bounds | stated | {key: value for key, value in more.items() if value is not None},
    )
