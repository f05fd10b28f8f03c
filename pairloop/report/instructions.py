"""Instructions followed, counted by a program: what the page claims first where enough prompts have some."""

from collections.abc import Mapping, Sequence
from typing import Any

from pairloop.measures.statistics import FEW
from pairloop.measures.texts import FEWEST_WORDS
from pairloop.report.answers import name
from pairloop.report.curves import at
from pairloop.report.data import Metrics
from pairloop.report.formats import DASH, SPACE, digits_beside, number, percent, plain, plural
from pairloop.report.sentences import Headline, cannot_tell, leading_judge
from pairloop.report.tables import Cell, Group, Row, Table, share


def lead(models: Sequence[Metrics]) -> bool:
    """Whether enough held-out prompts have constraints for the page to begin with them."""
    found = models[-1]["constraints"]
    return bool(found) and found["prompts"] >= FEW


def headline(models: Sequence[Metrics]) -> Headline:
    """Whether the last iteration follows more instructions than the base model, at the main temperature."""
    last, found = len(models) - 1, models[-1]["constraints"]
    rates = f"all instructions in {percent(found['pass_rate'])} of {plural(found['prompts'], 'held-out prompt')}"
    said = f"{rates}, the base model in {percent(found['pass_rate'] - found['gain'])}"
    if found["gain_low"] > 0:
        claim = f"Iteration {last} follows {said}"
    elif found["gain_high"] < 0:
        claim = f"Iteration {last} got worse: it follows {said}"
    else:
        claim = f"No improvement was shown: iteration {last} follows {said}"
    change = _change(found, f"95{SPACE}% interval ")
    return Headline(claim, f"{change}, counted by a program{_when(models[-1])}.")


def few(models: Sequence[Metrics]) -> list[str]:
    """How the constraint pass rate moved where too few prompts have constraints; nothing where nobody checked."""
    found = models[-1]["constraints"]
    if not found or not found["prompts"]:
        return []
    rates = f"from {percent(found['pass_rate'] - found['gain'])} to {percent(found['pass_rate'])}"
    return [
        f"The constraint pass rate went {rates} on {plural(found['prompts'], 'prompt')}, {_change(found)}: from so few "
        "prompts one cannot tell."
    ]


def claims(models: Sequence[Metrics]) -> list[str]:
    """What belongs to that claim and may weaken it, to be read in letters of the same size."""
    last, found = models[-1], models[-1]["constraints"]
    other = [of[len(models) - 1] for of in list(at(models).values())[1:] if len(models) - 1 in of]
    told = [
        f"{_named(row.get('temperature'))}: {percent(row['constraints']['pass_rate'])}, {_change(row['constraints'])}."
        for row in other
        if row["constraints"]
    ]
    apart = [
        _apart("Where length cannot help", found["beyond_length"]),
        _apart("At like length", found["like_length"]),
    ]
    told += [_in_full(found["in_full"]), " ".join(apart)]
    return [*told, *_without(last), _faults(models[0], last)]


def _in_full(found: Metrics) -> str:
    """What is left where an answer has to be more than the words that are demanded."""
    return (
        f"Counting no answer that loops or has fewer than {FEWEST_WORDS} words: {percent(found['pass_rate'])}, "
        f"{_change(found)}."
    )


def _apart(where: str, found: Metrics | None) -> str:
    """A gain in which length has no part."""
    if not found:
        return f"{where}: no such prompt, so nothing is known."
    few = "; too few to tell" if cannot_tell(found["prompts"]) else ""
    return f"{where} ({plural(found['prompts'], 'prompt')}): {_change(found)}{few}."


def _change(found: Metrics, of: str = "") -> str:
    """`14 points more (5 to 23)`."""
    digits = digits_beside(0, found["gain"], found["gain_low"], found["gain_high"])
    low, high = (number(100 * found[key], digits) for key in ("gain_low", "gain_high"))
    zero = "" if found["gain_low"] > 0 or found["gain_high"] < 0 else ", which includes zero"
    points = number(abs(100 * found["gain"]), digits)
    moved = f"{points} {'point' if points == '1' else 'points'} {'fewer' if found['gain'] < 0 else 'more'}"
    return f"{moved} ({of}{low}{SPACE}to{SPACE}{high}{zero})"


def _without(last: Metrics) -> list[str]:
    """What the leading judge says of prompts without instructions; nothing without a judge, or without such prompts."""
    judge = leading_judge(last)
    found = last["win_rate"][judge]["unconstrained"] if judge else None
    if not found:
        return []
    digits = digits_beside(0.5, found["win_rate"], found["low"], found["high"])
    shown = "better" if found["low"] > 0.5 else "worse" if found["high"] < 0.5 else "neither better nor worse is shown"
    if cannot_tell(found["prompts"]):
        shown = "too few to tell"
    interval = f"{number(100 * found['low'], digits)}{SPACE}to{SPACE}{percent(found['high'], digits)}"
    return [
        f"Without instructions ({plural(found['prompts'], 'prompt')}), {judge} prefers it in "
        f"{percent(found['win_rate'], digits)} ({interval}): {shown}."
    ]


def _faults(base: Metrics, last: Metrics) -> str:
    """How the answers look, beside the base model's."""

    shares = (("truncated_share", "are cut off"), ("echoing_share", "repeat the prompt"), ("repetitive_share", "loop"))
    told = ", ".join(f"{percent(last[key])} {what} (base {percent(base[key])})" for key, what in shares)
    return f"Of its answers {told}; they have {number(last['mean_words'])} words (base {number(base['mean_words'])})."


def _when(of: Metrics) -> str:
    """How these answers were sampled, those of the base model too."""
    penalty = of.get("frequency_penalty")
    lowered = f" with a frequency penalty of {penalty:g}" if penalty else ""
    return f" at temperature {of['temperature']:g}{lowered}" if "temperature" in of else ""


def _named(temperature: float | None) -> str:
    if temperature is None:
        return "Followed"
    return f"At temperature {temperature:g}" if temperature else "Greedy, at temperature 0"


def standing(models: Sequence[Metrics]) -> Table:
    """Base and iterations, with a bar for each temperature, and the gain over the base model."""
    temperatures = at(models)
    lines = [
        Row(name(n), [cell for of in temperatures.values() for cell in _bar(of.get(n), gain=n > 0)])
        for n in range(len(models))
    ]
    columns = [column for temperature in temperatures for column in ("", _named(temperature), "Gain, points")]
    caption = f"Prompts all of whose instructions are followed, with 95{SPACE}% intervals"
    return Table(caption, columns, [Group("", lines)], "Model")


def _bar(model: Metrics | None, gain: bool) -> list[Cell]:
    found = model["constraints"] if model else None
    if not found:
        return [Cell(""), Cell(DASH), Cell(DASH)]
    bar = Cell("", bar=found["pass_rate"], whisker=(found["low"], found["high"]))
    return [bar, share(found["pass_rate"], found, found["prompts"]), gained(found) if gain else Cell(DASH)]


def table(models: Sequence[Metrics]) -> Table:
    """Constraint pass rates, and their gains over the base model on the same prompts, apart from length too."""
    found = [model["constraints"] for model in models]
    rates = [share(c["pass_rate"], c, c["prompts"]) if c else Cell(DASH) for c in found]
    rows = [Row("Pass rate", rates), Row("Gain in points", _gains(found))]
    apart = {
        "Gain in full answers": "in_full",
        "Gain where length cannot help": "beyond_length",
        "Gain at like length": "like_length",
    }
    for label, key in apart.items():
        known = [c[key] if c else None for c in found]
        if any(known):
            rows.append(Row(label, _gains(known, counted=True)))
    caption = f"Constraint pass rate and gain, with 95{SPACE}% interval"
    return Table(caption, ["base", *map(str, range(1, len(models)))], [Group("", rows)], "Iteration")


def _gains(found: Sequence[Metrics | None], counted: bool = False) -> list[Cell]:
    """Of the base there is none."""
    return [Cell(DASH), *(gained(c, counted) if c else Cell(DASH) for c in found[1:])]


def gained(found: Metrics, counted: bool = False) -> Cell:
    """A gain in points with its interval, and where it is asked the number of prompts."""
    digits = digits_beside(0, found["gain"], found["gain_low"], found["gain_high"])
    points, low, high = (number(100 * found[key], digits) for key in ("gain", "gain_low", "gain_high"))
    signed = f"+{points}" if found["gain"] > 0 and points.strip("0.") else points
    interval = f"{low} to {high}" + (f", {plural(found['prompts'], 'prompt')}" if counted else "")
    return Cell(signed, interval, warning=cannot_tell(found["prompts"]))


def by_kind(models: Sequence[Metrics]) -> Table | None:
    """Each kind of constraint, base against the last iteration; None where nobody checked."""
    found: Mapping[str, Any] = (models[-1]["constraints"] or {}).get("by_kind") or {}
    if not found:
        return None
    lines = [
        Row(
            plain(kind),
            [
                Cell(number(row["prompts"])),
                Cell(percent(row["base"])),
                Cell(percent(row["pass_rate"])),
                Cell("", bar=row["pass_rate"]),
            ],
        )
        for kind, row in sorted(found.items(), key=lambda item: -item[1]["prompts"])
    ]
    columns = ["Prompts", "base", str(len(models) - 1), ""]
    return Table("Satisfied by kind of constraint, base and last iteration", columns, [Group("", lines)], "Kind")
