"""The few numbers by which one run is compared with another: DVC's metrics."""

from collections.abc import Sequence

from pairloop.report.data import Metrics
from pairloop.report.sentences import leading_judge


def numbers(model: Metrics, times: Sequence[Metrics]) -> dict[str, float]:
    """What the last iteration came to, in names that are short because DVC shows one column for each.

    Args:
        model: eval metrics of the last iteration.
        times: rows with `seconds`, one for each stage.

    Returns:
        pass, gain, least, alike: share of the constrained prompts whose constraints all hold, how much that is above
        the base model's, the lower end of the gain's 95 % interval, and the gain over answers of like length. win, low,
        lc: win rate by the first judge that did not rank the training data, the lower end of its interval, and the same
        at equal length (length controlled). words: mean of an answer. cut: share of answers that were cut off. seconds:
        all stages together. What does not exist, for want of such a judge or of constraints, is left out: DVC shows it
        as `-`.
    """
    judge, constraints = leading_judge(model), model["constraints"]
    rates = model["win_rate"][judge] if judge else None
    found: dict[str, float | None] = {}
    if constraints:
        found |= {"pass": constraints["pass_rate"], "gain": constraints["gain"], "least": constraints["gain_low"]}
        found["alike"] = constraints["like_length"]["gain"] if constraints["like_length"] else None
    if rates and not rates["teacher"]:
        found |= {"win": rates["win_rate"], "low": rates["low"]}
        found["lc"] = rates.get("length_controlled")
    found |= {"words": round(model["mean_words"], 1), "cut": model["truncated_share"]}
    shown = {name: round(value, 3) for name, value in found.items() if value is not None}
    return shown | {"seconds": round(sum(row["seconds"] for row in times))}
