"""The page's charts: what is drawn of which numbers."""

from collections.abc import Sequence

from pairloop.report.charts import SMALL, WIDE, Chart, Point, Series, by_iteration, over_steps
from pairloop.report.data import Iteration, Metrics, ReportData
from pairloop.report.sentences import judges

UNTRAINED_LOSS = 0.693
"""ln 2: the sigmoid loss of a policy that equals its reference."""

BORDER = (0.5, "50\N{NO-BREAK SPACE}%: no better than the base model")


def win_rates(models: Sequence[Metrics]) -> list[Chart]:
    """Win rates by judge, a chart for each temperature; all with the same axis, so that they compare."""
    found = {temperature: _judged(of, judges(models)) for temperature, of in at(models).items()}
    charts = {temperature: lines for temperature, lines in found.items() if lines}
    points = [point for lines in charts.values() for line in lines for point in line.points]
    bounds = [value for point in points for value in (point.low, point.y, point.high) if value is not None]
    size, last = WIDE if len(charts) == 1 else SMALL, len(models) - 1
    return [
        by_iteration(_title(temperature, len(charts)), lines, last, share=True, rule=BORDER, size=size, bounds=bounds)
        for temperature, lines in charts.items()
    ]


def _title(temperature: float | None, charts: int) -> str:
    title = "Win rate against the base model"
    return title if charts == 1 or temperature is None else f"{title} at temperature {temperature:g}"


def at(models: Sequence[Metrics]) -> dict[float | None, dict[int, Metrics]]:
    """Each temperature's metrics, by iteration; the main one first, None where nobody said which it is."""
    main = models[-1].get("temperature")
    found: dict[float | None, dict[int, Metrics]] = {main: dict(enumerate(models))}
    for n, model in enumerate(models):
        for row in model.get("further", ()):
            if not row.get("best_of") and not row.get("factor"):
                found.setdefault(row["temperature"], {})[n] = row
    return found


def _judged(found: dict[int, Metrics], marked: dict[str, bool]) -> list[Series]:
    lines, colour = [], 0
    for judge, teacher in marked.items():
        colour += not teacher
        points = [
            Point(n, rates["win_rate"], rates["low"], rates["high"])
            for n, model in found.items()
            if n and (rates := model["win_rate"].get(judge))
        ]
        name = f"{judge} (also the teacher)" if teacher else judge
        if points:
            lines.append(Series(name, 0 if teacher else (colour - 1) % 4 + 1, [Point(0, 0.5), *points]))
    return lines


def constraints(models: Sequence[Metrics]) -> list[Chart]:
    """The constraint pass rate; nothing where nobody checked."""
    found = [(n, model["constraints"]) for n, model in enumerate(models) if model["constraints"]]
    points = [Point(n, c["pass_rate"], c["low"], c["high"]) for n, c in found if c["prompts"]]
    if not points:
        return []
    line = Series("pass rate", 1, points)
    return [by_iteration("Constraint pass rate", [line], len(models) - 1, share=True, size=WIDE)]


def lengths(data: ReportData) -> list[Chart]:
    """Words of answers and pairs, and how many answers are cut off or repeat themselves."""
    last = len(data.iterations)

    def answers(name: str, colour: int, key: str) -> Series:
        return Series(name, colour, [Point(n, m[key]) for n, m in enumerate(data.models) if m[key] is not None])

    def pairs(name: str, colour: int, key: str) -> Series:
        return Series(name, colour, [Point(n, i.pair[key]) for n, i in enumerate(data.iterations, 1)])

    shares = [
        *(answers("cut off", 2, "truncated_share"), answers("repetitive", 3, "repetitive_share")),
        answers("repeat their prompt", 4, "echoing_share"),
    ]
    words = [pairs("chosen", 1, "chosen_words"), pairs("rejected", 2, "rejected_words")]
    return [
        by_iteration("Words per answer", [answers("held-out prompts", 1, "mean_words")], last),
        by_iteration("Words in the training pairs", words, last),
        by_iteration("Answers with a fault", shares, last, share=True),
    ]


def training(data: ReportData) -> list[Chart]:
    """Loss and reward margins, while training and on held-out pairs."""
    curves = [iteration.curve for iteration in data.iterations]
    sigmoid = data.parameters.get("train", {}).get("loss", ["sigmoid"]) == ["sigmoid"]
    start = (UNTRAINED_LOSS, f"{UNTRAINED_LOSS:.2f}: nothing learned yet") if sigmoid else None
    drawn = [
        over_steps("Loss", curves, "loss", start),
        over_steps("Reward margin while training", curves, "margin", (0.0, "0: no preference")),
        _margins(data.iterations),
    ]
    return [chart for chart in drawn if chart]


def _margins(iterations: Sequence[Iteration]) -> Chart | None:
    """Held-out margins after training; before it too, unless they are 0, as where policy and reference are one."""
    tested = {n: i.train for n, i in enumerate(iterations, 1) if i.train["before"] and i.train["after"]}
    if not tested:
        return None
    lines = [
        Series(f"{side} training", colour, [Point(n, train[side]["margin"]) for n, train in tested.items()])
        for side, colour in (("before", 0), ("after", 1))
        if side == "after" or any(train["before"]["margin"] for train in tested.values())
    ]
    return by_iteration("Reward margin on held-out pairs", lines, len(iterations), rule=(0.0, "0: no preference"))
