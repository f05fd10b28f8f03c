"""What the numbers say, in sentences that claim no more than they show."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pairloop.measures.statistics import FEW
from pairloop.report.data import Iteration, Metrics, ReportData
from pairloop.report.formats import SPACE, digits_beside, number, percent, plural, seconds


def cannot_tell(prompts: int) -> str:
    """What stands beside an interval over too few prompts; nothing where there are enough."""
    return "cannot tell" if prompts < FEW else ""


def among(model: Metrics) -> str:
    """What narrows the held-out prompts that judges compared, to follow them: ` without constraints`, or nothing."""
    return " without constraints" if model["judged"] < model["prompts"] else ""


@dataclass(frozen=True)
class Headline:
    """The page's first sentence, in two parts to be set one after the other."""

    claim: str
    """What happened."""

    qualifier: str
    """How sure that is, and who says so."""


def judges(models: Sequence[Metrics]) -> dict[str, bool]:
    """Every judge, in order, and whether it also ranked the training data."""
    return {name: bool(rates["teacher"]) for model in models[1:] for name, rates in model["win_rate"].items()}


def leading_judge(model: Metrics) -> str | None:
    """The first judge that did not rank the training data; the first of all where each of them did."""
    rates = model["win_rate"]
    return next((name for name, rate in rates.items() if not rate["teacher"]), next(iter(rates), None))


def headline(models: Sequence[Metrics]) -> Headline:
    """Whether the last iteration is better than the base model, by the leading judge."""
    last = len(models) - 1
    judge = leading_judge(models[last])
    if judge is None:
        return Headline(f"Iteration {last} was not compared with the base model:", "no judge gave a win rate.")
    rates = models[last]["win_rate"][judge]
    share = percent(rates["win_rate"], _digits(rates))
    prompts = plural(models[last]["judged"], "held-out prompt") + among(models[last])
    if models[last]["judged"] < FEW:
        claim, means = f"One cannot tell whether iteration {last} helped: it wins on {share} of only {prompts}", ""
    elif rates["low"] > 0.5:
        claim, means = f"Iteration {last} beats the base model on {share} of {prompts}", ""
    elif rates["high"] < 0.5:
        claim = f"Iteration {last} got worse than the base model: it wins on only {share} of {prompts}"
        means = f", all below 50{SPACE}%"
    else:
        claim = f"No improvement was shown: iteration {last} wins against the base model on {share} of {prompts}"
        means = f", which includes 50{SPACE}%"
    return Headline(claim, f"({_interval(rates)}{means}), judged by {_witness(judge, models[last])}.")


def _witness(judge: str, model: Metrics) -> str:
    if not model["win_rate"][judge]["teacher"]:
        return f"{judge}, which did not rank the training data"
    return f"{judge}, which also ranked the training data: no independent judge was asked"


def _digits(rates: Metrics) -> int:
    return digits_beside(0.5, rates["win_rate"], rates["low"], rates["high"])


def _interval(rates: Metrics, of: str = f"95{SPACE}% interval ") -> str:
    digits = _digits(rates)
    return f"{of}{number(100 * rates['low'], digits)}{SPACE}to{SPACE}{percent(rates['high'], digits)}"


def findings(data: ReportData) -> list[str]:
    """What to know besides the headline: other judges, an earlier iteration that did better, length."""
    last = data.models[-1]
    return [
        *(_other(judge, rates) for judge, rates in last["win_rate"].items() if judge != leading_judge(last)),
        *_earlier(data.models),
        length(data.models),
    ]


def _other(judge: str, rates: Metrics) -> str:
    source = "which also ranked the training data" if rates["teacher"] else "which did not rank the training data"
    share = percent(rates["win_rate"], _digits(rates))
    return f"By {judge}, {source}, the win rate is {share} ({_interval(rates, '')})."


def _earlier(models: Sequence[Metrics]) -> list[str]:
    judge = leading_judge(models[-1])
    known = {n: m["win_rate"][judge] for n, m in enumerate(models) if n and judge in m["win_rate"]}
    if not known:
        return []
    best = max(known, key=lambda n: (known[n]["win_rate"], n))
    if best == len(models) - 1:
        return []
    rates = known[best]
    return [
        f"By {judge}, iteration {best} has the highest win rate: {percent(rates['win_rate'])} ({_interval(rates, '')})."
    ]


def length(models: Sequence[Metrics]) -> str:
    """How the answers' length moved: judges may like long answers for being long."""
    first, last = models[0]["mean_words"], models[-1]["mean_words"]
    change = "about the same length"
    if first and abs(last / first - 1) >= 0.03:
        change = f"{percent(abs(last / first - 1))} {'longer' if last > first else 'shorter'}"
    words = f"Its answers have {number(last)} words on average, the base model’s {number(first)}: {change}."
    judge = leading_judge(models[-1])
    controlled = models[-1]["win_rate"][judge].get("length_controlled") if judge else None
    if controlled is None:
        return words
    return f"{words} With length controlled for, {judge}’s win rate is {percent(controlled)}."


ADDS_LITTLE = 0.02
"""A gain in accuracy that nobody would label twice as many pairs for."""


def learnt_from(teacher: Metrics) -> str:
    """What the teacher was trained on, to follow “trained on”."""
    answers = ["answers of the base model"] if teacher.get("prompts", 1) else []
    counts = teacher.get("preferences")
    own = [plural(counts["rows"] - counts["duplicates"], "preference") + " of the user"] if counts else []
    return " and ".join(answers + own)


def learning(teacher: Metrics) -> str | None:
    """What the learning curve says about labelling more pairs; None where there is none."""
    curve, doubling, count = teacher.get("learning_curve"), teacher.get("last_doubling"), teacher["held_out_pairs"]
    if not curve:
        return None
    last = curve[-1]
    few = " So few held-out pairs say little." if count < FEW else ""
    if last["low"] <= 0.5:
        known = "it was not shown to have learnt anything" if last["high"] >= 0.5 else "it is worse than chance"
        rate = f"{percent(last['accuracy'], _rate_digits(last))} ({_interval_of(last)})"
        return f"On {plural(count, 'held-out pair')} its accuracy is {rate}, and chance is 50{SPACE}%: {known}.{few}"
    if not doubling:
        return (
            f"The teacher was fitted to {plural(last['pairs'], 'pair')}: too few to say whether more would help.{few}"
        )
    return f"{_doubled(doubling)}{few}"


def _rate_digits(row: Metrics) -> int:
    return digits_beside(0.5, row["accuracy"], row["low"], row["high"])


def _interval_of(row: Metrics) -> str:
    digits = _rate_digits(row)
    return f"95{SPACE}% interval {number(100 * row['low'], digits)}{SPACE}to{SPACE}{percent(row['high'], digits)}"


def _doubled(doubling: Metrics) -> str:
    gain, low, high = (doubling[key] for key in ("gain", "low", "high"))
    digits = digits_beside(0, gain, low, high)
    points = number(100 * abs(gain), digits)
    points += " point of accuracy" if points == "1" else " points of accuracy"
    interval = f"(95{SPACE}% interval {number(100 * low, digits)}{SPACE}to{SPACE}{number(100 * high, digits)})"
    step = f"From {number(doubling['pairs_before'])} to {plural(doubling['pairs'], 'pair')}, the teacher"
    if low > 0:
        return f"{step} gained {points} {interval}: more pairs may well add more."
    if high < 0:
        return f"{step} lost {points} {interval}: more pairs like these are no help."
    change = "gained" if gain >= 0 else "lost"
    if high <= ADDS_LITTLE:
        return f"{step} {change} {points} {interval}: more pairs like these would add little."
    return f"{step} {change} {points} {interval}, which includes zero: that more pairs would help was not shown."


def pairs(iterations: Sequence[Iteration]) -> str:
    """How many prompts became preference pairs."""
    prompts = sum(i.pair["rows_in"] for i in iterations)
    train, test = (sum(i.pair[key] for i in iterations) for key in ("train_pairs", "test_pairs"))
    given = f"{plural(prompts, 'prompt')} with responses" if iterations[0].rank else plural(prompts, "published pair")
    return (
        f"{given} gave {plural(train + test, 'preference pair')}: {number(train)} to train on, {number(test)} held out."
    )


def training(iterations: Sequence[Iteration]) -> str:
    """What the last training did to the pairs it did not see."""
    last, count = iterations[-1], iterations[-1].pair["test_pairs"]
    before, after = last.train["before"], last.train["after"]
    if not before or not after or not count:
        return "No pairs were held out, so training was not tested on pairs that it did not see."
    sentence = (
        f"In iteration {len(iterations)}, training took the reward margin on {plural(count, 'held-out pair')} from "
        f"{number(before['margin'], 2)} to {number(after['margin'], 2)}; the chosen response has the higher reward in "
        f"{percent(after['accuracy'])} of them."
    )
    return f"{sentence} So few pairs say little." if count < FEW else sentence


def time(times: Sequence[Metrics]) -> str:
    """What the run took, and which stage most of it."""
    total = sum(row["seconds"] for row in times)
    if not total:
        return "No stage reported how long it took."
    stages: dict[str, float] = {}
    for row in times:
        stages[row["stage"]] = stages.get(row["stage"], 0.0) + row["seconds"]
    longest = max(stages, key=lambda stage: stages[stage])
    return f"All stages together took {seconds(total)}; {longest} took {percent(stages[longest] / total)} of it."


def pool(metrics: Mapping[str, Any]) -> str:
    """What there was to draw prompts from."""
    return (
        f"The pool has {plural(metrics['rows_out'], 'prompt')}, {number(metrics['with_constraints'])} of them with "
        f"constraints that a program can check. Held out for evaluation: {plural(metrics['eval_rows_out'], 'prompt')}."
    )
