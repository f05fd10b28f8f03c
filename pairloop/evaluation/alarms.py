"""What the watch allows, and what it says where a measure leaves it."""

from collections.abc import Mapping
from dataclasses import dataclass

from pairloop.evaluation.changes import Change
from pairloop.params import Watch


@dataclass(frozen=True)
class Limit:
    """How far a measure may move."""

    title: str
    """What it measures, as a sentence begins with it."""

    unit: str
    """share, words, tokens, nats per token, nats per answer or perplexity."""

    fall: float | None = None
    """In its unit; None: as far as it will."""

    rise: float | None = None
    """Likewise."""

    relative: bool = False
    """Both are shares of the value before."""

    before: str = "iteration 0's"
    """Whose value that is."""


def limits(params: Watch) -> Mapping[str, Limit]:
    """The limit of each measure."""
    return {
        "constraints": Limit("Prompts whose constraints all hold", "share", fall=params.constraints),
        "constraints_loose": Limit("Prompts whose constraints hold loosely", "share", fall=params.constraints),
        "refusals": Limit("Harmless prompts that are refused", "share", rise=params.refusals),
        "repetition": Limit("Answers that loop", "share", rise=params.repetition),
        "echoing": Limit("Answers that repeat their prompt", "share", rise=params.repetition),
        "distinct_1": Limit("Different words among all words", "share", fall=params.distinct),
        "distinct_2": Limit("Different pairs among all pairs of words", "share", fall=params.distinct),
        "truncated": Limit("Answers that are cut off", "share", rise=params.truncated),
        "another_script": Limit("Answers in another script than their prompt", "share", rise=params.another_script),
        "another_language": Limit(
            "Answers in another language than their prompt", "share", rise=params.another_language
        ),
        "estimated_kl_per_token": Limit("Estimated KL divergence from the base", "nats per token", rise=params.kl),
        "estimated_kl_per_answer": Limit("Estimated KL divergence from the base", "nats per answer"),
        "words": Limit("Mean length", "words", fall=params.shorter, rise=params.longer, relative=True),
        "tokens": Limit("Mean length", "tokens"),
        "chosen_perplexity": Limit(
            "The base's perplexity on chosen answers",
            "perplexity",
            rise=params.perplexity,
            relative=True,
            before="iteration 1's",
        ),
    }


def raised(found: Change, limit: Limit, fewest: int) -> bool:
    """Whether a measure alarms: beyond its limit, on enough prompts, and its interval leaves out no change."""
    change = found.change
    if change is None or found.prompts < fewest:
        return False
    scale = abs(found.base or 0.0) if limit.relative else 1.0
    fell = limit.fall is not None and change.high < 0 and change.value < -limit.fall * scale
    rose = limit.rise is not None and change.low > 0 and change.value > limit.rise * scale
    return fell or rose


def sentence(found: Change, limit: Limit) -> str:
    """What a measure that alarms has done, with numbers.

    Such as "Harmless prompts that are refused rose from iteration 0's 0.0 % to 25.0 % (by 25.0 points, 95 % interval
    8.3 to 41.7, over 24 prompts). Allowed is a rise of 5.0 points."
    """
    change, base = found.change, found.base
    assert change is not None and base is not None
    rose = change.value > 0
    verb, allowed = ("rose", limit.rise) if rose else ("fell", limit.fall)
    size, low, high = (_number(abs(value), limit.unit) for value in (change.value, *_span(change.low, change.high)))
    most = f"{100 * (allowed or 0.0):.4g} %" if limit.relative else _with_unit(allowed or 0.0, limit.unit)
    return (
        f"{limit.title} {verb} from {limit.before} {_level(base, limit.unit)} to "
        f"{_level(found.value.value, limit.unit)}{_unit(limit.unit)} (by {size}{_unit(limit.unit, 'points')}, "
        f"95 % interval {low} to {high}, over {found.prompts} prompts). "
        f"Allowed is a {'rise' if rose else 'fall'} of {most}."
    )


def _span(low: float, high: float) -> tuple[float, float]:
    """Both ends of the interval of a change, the smaller change first."""
    return (low, high) if low > 0 else (high, low)


def _level(value: float, unit: str) -> str:
    return f"{_number(value, unit)} %" if unit == "share" else _number(value, unit)


def _with_unit(value: float, unit: str) -> str:
    return f"{_number(value, unit)}{_unit(unit, 'points')}"


def _number(value: float, unit: str) -> str:
    return f"{100 * value:.1f}" if unit == "share" else f"{value:.2f}"


def _unit(unit: str, of_share: str = "") -> str:
    named = {"share": of_share, "perplexity": ""}.get(unit, unit)
    return f" {named}" if named else ""
