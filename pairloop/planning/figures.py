"""A plan, and the figures that it goes by."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from pairloop.evaluation.settings import settings
from pairloop.params import Params
from pairloop.planning import table
from pairloop.planning.amounts import Counts
from pairloop.planning.devices import Machine
from pairloop.planning.estimate import Estimate
from pairloop.planning.size import Size


@dataclass(frozen=True)
class Plan:
    """What a plan is made of."""

    params: Params
    """Of the first iteration."""
    base: Size
    """The base model."""
    folder: Path | None
    """The base's files, where this machine has them."""
    machine: Machine
    """Where it would run."""
    counts: Sequence[Counts]
    """Lengths of prompts and responses in iterations 1, 2, …; the last are those of all after it too."""
    factors: Mapping[str, float]
    """What was measured of verbs, against the stated model."""
    estimates: Sequence[Estimate]
    """Of each stage."""
    states: Mapping[str, str]
    """What is there of each stage, by its name."""


def head(plan: Plan, results: Path) -> list[str]:
    """What is planned, and by which figures, in lines that fit a terminal.

    Args:
        plan: the plan.
        results: the folder that measured figures come from.
    """
    params, device, known = plan.params, plan.machine.device, sorted(plan.factors)
    train, pairs = params.train, params.train.batch_pairs
    told = f"{', '.join(known)} as measured ({results}), the rest" if known else "all"
    speed = f"{device.flops / 1e12:.0f} T" if device.gpu else f"{device.flops / 1e9:.0f} G"
    texts = [
        f"{params.iterations} iterations of {params.base.model}: {plan.base.parameters:,.0f} parameters, "
        f"{plan.base.source}",
        f"{params.generate.engine}, {params.rank.ranker}, {train.method} with beta {train.beta:g} and learning rate "
        f"{_rate(params)}, {pairs} pairs a step; judged by {_judged(params)}{_answers(params)}",
        f"on {plan.machine.name}: {told} by the stated model, {speed}FLOP/s{' each' * (plan.machine.count > 1)}",
        _lengths(plan.counts),
    ]
    return [line for text in texts for line in table.wrapped(text)]


def _rate(params: Params) -> str:
    """The learning rates of the iterations, without what `overrides` say."""
    return ", then ".join(f"{rate:g}" for rate in params.train.learning_rate[: params.iterations])


def _lengths(counts: Sequence[Counts]) -> str:
    """How long prompts and responses are; responses by iteration, where that is known."""
    responses = ", ".join(f"{own.response:.0f}" for own in counts)
    return f"prompts of {counts[0].prompt:.0f} tokens, responses of {responses}: {counts[0].source}"


def _judged(params: Params) -> str:
    """Who compares which prompts' answers."""
    which = " on prompts without constraints" if params.eval.judged == "unconstrained" else ""
    return ", ".join(params.eval.judges) + which


def _answers(params: Params) -> str:
    """How often each held-out prompt is answered, where that is not once."""
    count = sum(max(one.samples, one.best_of) for one in settings(params.eval, base=False))
    return f", {count} answers to each prompt" if count > 1 else ""
