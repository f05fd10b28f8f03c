"""What held-out preferences say of each iteration: what it finds likely, and how a judge of them finds its answers."""

from collections.abc import Mapping

from pairloop.report.annotated import model
from pairloop.report.data import Metrics
from pairloop.report.formats import DASH, number, percent
from pairloop.report.tables import Cell, Group, Row, Table


def preferences(found: Mapping[int, Metrics]) -> Table | None:
    """A row for each iteration; None where none was measured."""
    if not found:
        return None
    lines = [
        Row(
            model(f"iteration_{n}"),
            [
                _share(result["preferred"], "share"),
                _nats(result["margin"]),
                _share(result["moved"], "share"),
                _share(result["judge"] if n else None, "win_rate"),
                Cell(percent(result["judge"]["length_controlled"], 1)),
            ],
        )
        for n, result in found.items()
    ]
    pairs = number(found[max(found)]["pairs"])
    caption = f"{pairs} held-out preferences, with 95\N{NO-BREAK SPACE}% intervals"
    columns = ["Chosen is likelier", "By nats per token", "Moved to chosen", "Wins by their judge", "At equal length"]
    return Table(caption, columns, [Group("", lines)], "Model")


def judge(found: Mapping[int, Metrics], among: str = "") -> str:
    """Who the judge in the table is, and how far to trust it.

    Args:
        found: by iteration.
        among: see `sentences.among`.
    """
    if not found:
        return ""
    last = found[max(found)]
    accuracy = last["judge"]["accuracy"]
    known = "" if accuracy is None else f", of which it gets {percent(accuracy)} right that it was not fitted to"
    return (
        "Chosen is likelier: of how many pairs the model gives the chosen response more probability per token. Moved "
        "to chosen: in how many pairs it does so more than the base does. Wins by their judge: how often its answer to "
        f"a prompt of the evaluation{among} beats the base’s, as a judge sees it that was fitted to these preferences "
        f"alone{known}, and not to those of the teacher."
    )


def _share(rates: Metrics | None, key: str) -> Cell:
    if rates is None:
        return Cell(DASH)
    return Cell(percent(rates[key], 1), f"{number(100 * rates['low'], 1)} to {number(100 * rates['high'], 1)}")


def _nats(margin: Metrics) -> Cell:
    return Cell(number(margin["nats"], 3), f"{number(margin['low'], 3)} to {number(margin['high'], 3)}")
