"""What the watch measured besides win rates, and where it raised an alarm."""

import re
from collections.abc import Mapping, Sequence

from pairloop.report.data import Metrics
from pairloop.report.formats import DASH, SPACE, excerpt, number, percent, plain
from pairloop.report.sentences import cannot_tell
from pairloop.report.tables import Cell, Group, Row, Table


def alarms(watches: Mapping[int, Metrics]) -> list[str]:
    """Every alarm, the last iteration's first, each said once with its iteration."""
    newest = sorted(watches, reverse=True)
    return [f"Iteration {n}: {excerpt(said, 400)}" for n in newest for said in watches[n]["alarms"]]


def measures(watches: Mapping[int, Metrics], last: int) -> Table | None:
    """Each measure of the base and of every iteration up to the last, with the interval of its change."""
    found = [watches[n]["measures"] if n in watches else {} for n in range(last + 1)]
    names = list(dict.fromkeys(name for measured in found for name in measured))
    if not names:
        return None
    lines = [_row(name, [measured.get(name) for measured in found]) for name in names]
    caption = "What is watched, with the 95\N{NO-BREAK SPACE}% interval of its change from the base"
    return Table(caption, ["base", *map(str, range(1, last + 1))], [Group("", lines)], "Iteration")


def _row(name: str, found: Sequence[Metrics | None]) -> Row:
    known = [measure for measure in found if measure]
    units = {str(measure.get("unit") or "") for measure in known} - {"", "share", "perplexity"}
    own, *later = found
    base = own["value"] if own else next((m.get("base") for m in known if m.get("base") is not None), None)
    cells = [Cell(written(base, str(known[0].get("unit") or ""))), *(_cell(measure) for measure in later)]
    return Row(_named(name), cells, ", ".join(sorted(units)))


def _named(name: str) -> str:
    words = re.sub(r"\bkl\b", "KL", plain(name))
    return words[:1].upper() + words[1:]


def _cell(measure: Metrics | None) -> Cell:
    if not measure:
        return Cell(DASH)
    unit, low, high = str(measure.get("unit") or ""), measure.get("change_low"), measure.get("change_high")
    note = "" if low is None or high is None else f"{_signed(low, unit)} to {_signed(high, unit)}"
    few = cannot_tell(measure["prompts"]) if "prompts" in measure else ""
    return Cell(written(measure["value"], unit), note, warning="alarm" if measure.get("alarm") else few)


def written(value: float | None, unit: str) -> str:
    """A measure in its unit: shares as percentages, others to three digits or so."""
    if value is None:
        return DASH
    if unit == "share":
        return percent(value, 1)
    return number(value, _digits(value))


def _digits(value: float) -> int:
    return 0 if abs(value) >= 1000 else 1 if abs(value) >= 10 else 3 if abs(value) < 1 else 2


def _signed(change: float, unit: str) -> str:
    said = number(100 * change, 1) if unit == "share" else number(change, _digits(change))
    return f"+{said}" if change > 0 and said.strip("0.") else said.replace(SPACE, "")
