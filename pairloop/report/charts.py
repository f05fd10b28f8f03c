"""Drawings as SVG text: static, without script, coloured by the page's own style sheet.

Colours are CSS variables (`var(--series-1)`), so that one drawing serves light, dark and paper. Layout is fixed instead
of measured, so that the fonts of the machine that draws do not change the bytes.
"""

import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pairloop.report.formats import number, percent

WIDE, SMALL = (306, 180), (240, 140)
"""Sizes of the plotting area, for a drawing beside a table and for one of three in a row. The page scales them."""

MARGINS = {"left": 44, "top": 18, "right": 10, "bottom": 44}

MOST_STEPS = 1500
"""Points of a training curve that are drawn: of longer ones every second, third … step."""

SHAPES = ("circle", "circle", "square", "diamond", "triangle-up")
"""By the series' colour, which alone tells nothing to who cannot see it. Colour 0 is hollow as well."""

DASHES: tuple[list[int], ...] = ([4, 3], [1, 0], [8, 3], [2, 2], [8, 2, 2, 2])
"""Likewise; the style sheet draws the same ones in the keys."""


@dataclass(frozen=True)
class Point:
    """A value at one iteration, with its interval where it has one."""

    x: int
    y: float
    low: float | None = None
    high: float | None = None


@dataclass(frozen=True)
class Series:
    """One line of a chart."""

    name: str
    """What the key says."""

    colour: int
    """1 to 4, or 0 for one that should stand back."""

    points: Sequence[Point]
    """From left to right."""


@dataclass(frozen=True)
class Chart:
    """A finished drawing and what stands around it."""

    title: str
    series: Sequence[Series]
    """For the key, which the page writes: text in a drawing would shrink on a phone."""

    rule: str | None
    """What the dashed horizontal line means."""

    svg: str
    """Safe HTML: holds no text but numbers and fixed words."""


def by_iteration(
    title: str,
    series: Sequence[Series],
    last: int,
    share: bool = False,
    rule: tuple[float, str] | None = None,
    size: tuple[int, int] = SMALL,
    bounds: Sequence[float] = (),
) -> Chart:
    """Values per iteration: lines with points, and intervals as bars.

    Args:
        title: the figure's caption.
        series: what to draw; each with at least one point.
        last: number of the last iteration, up to which the axis goes.
        share: values are from 0 to 1 and shown in percent.
        rule: a value that matters, and what it means. The axis starts at 0 where there is none.
        size: width and height of the plotting area.
        bounds: what else the vertical axis has room for: the values of other charts that are compared with this one.
    """
    import altair as alt

    first = min(point.x for line in series for point in line.points)
    values = [v for line in series for p in line.points for v in (p.y, p.low, p.high) if v is not None]
    y_axis = _y_axis([*values, *bounds, rule[0] if rule else 0.0], share)
    x_axis: dict[str, Any] = {
        "title": "iteration",
        "scale": alt.Scale(domain=[first - 0.4, last + 0.4], nice=False, zero=False),
        "axis": alt.Axis(
            values=list(range(first, last + 1, math.ceil((last - first + 1) / 12))),
            labelExpr="datum.value == 0 ? 'base' : format(datum.value, 'd')",
            grid=False,
        ),
    }
    step = min(9 * (last - first + 0.8) / size[0], 0.7 / len(series))
    layers = [_rule(rule[0], y_axis)] if rule else []
    for index, line in enumerate(series):
        shift = step * (index - (len(series) - 1) / 2) if len(values) > sum(len(s.points) for s in series) else 0.0
        layers += _line(line, shift, x_axis, y_axis)
    return Chart(title, series, rule[1] if rule else None, _svg(layers, _described(title, series, share), size))


def over_steps(
    title: str, curves: Sequence[Sequence[Mapping[str, Any]]], key: str, rule: tuple[float, str] | None = None
) -> Chart | None:
    """A training curve through all iterations in a row, each marked; None where no step has the value."""
    import altair as alt

    rows, bands, start = [], [], 0
    for iteration, curve in enumerate(curves, 1):
        rows += [{"x": start + row["step"], "y": row[key], "n": iteration} for row in curve if _finite(row.get(key))]
        end = start + max((row["step"] for row in curve), default=0)
        bands.append({"x": end, "middle": (start + end) / 2, "n": iteration})
        start = end
    if not rows:
        return None
    values = [row["y"] for row in rows]
    y_axis = _y_axis([*values, *([rule[0]] if rule else [])], share=False)
    x_axis: dict[str, Any] = {
        "title": "optimiser step, iteration after iteration",
        "scale": alt.Scale(domain=[0, start], nice=False),
        "axis": alt.Axis(tickCount=5, grid=False, format="d"),
    }
    layers = [
        *([_rule(rule[0], y_axis)] if rule else []),
        *_bands(bands),
        alt.Chart(_data(rows[:: math.ceil(len(rows) / MOST_STEPS)]))
        .mark_line(stroke="var(--series-1)", strokeWidth=1.5)
        .encode(x=alt.X("x:Q", **x_axis), y=alt.Y("y:Q", **y_axis), detail="n:N"),
    ]
    about = f"{title}: from {number(values[0], 2)} in the first step to {number(values[-1], 2)} in the last."
    return Chart(title, [], rule[1] if rule else None, _svg(layers, about, SMALL))


def _data(rows: Sequence[Mapping[str, Any]]) -> Any:
    """Rows for one layer of a drawing."""
    import altair as alt

    return alt.InlineData(values=list(rows))


def _finite(value: Any) -> bool:
    return value is not None and math.isfinite(value)


def _y_axis(values: Sequence[float], share: bool) -> dict[str, Any]:
    import altair as alt

    low, high = min(values), max(values)
    space = 0.06 * (high - low) or 0.1
    domain = [low if low == 0 else low - space, high + space]
    if share:
        domain = [max(0.0, domain[0]), min(1.0, domain[1])]
    axis = alt.Axis(tickCount=4, labelExpr=_LABEL[share])
    return {"title": None, "scale": alt.Scale(domain=domain, nice=4, zero=False), "axis": axis}


_LABEL = {
    True: "format(100 * datum.value, '~r') + '\N{NO-BREAK SPACE}%'",
    False: "replace(format(datum.value, ',~g'), '-', '\N{MINUS SIGN}')",
}
"""Tick labels as the tables write numbers; by whether the axis shows shares."""


def _line(line: Series, shift: float, x_axis: Mapping[str, Any], y_axis: Mapping[str, Any]) -> list[Any]:
    import altair as alt

    rows = [{"x": p.x + shift, "y": p.y, "low": p.low, "high": p.high} for p in line.points]
    base = alt.Chart(_data(rows)).encode(x=alt.X("x:Q", **x_axis), y=alt.Y("y:Q", **y_axis))
    colour = f"var(--series-{line.colour})"
    dashes: dict[str, Any] = {"strokeDash": DASHES[0]} if line.colour == 0 else {}
    bars = alt.Chart(_data([row for row in rows if row["low"] is not None]))
    return [
        base.mark_line(stroke=colour, strokeWidth=1.5, strokeDash=DASHES[line.colour]),
        bars.mark_rule(stroke=colour, strokeWidth=2, **dashes).encode(
            x=alt.X("x:Q", **x_axis), y=alt.Y("low:Q", **y_axis), y2="high:Q"
        ),
        base.mark_point(
            shape=SHAPES[line.colour],
            size=52,
            fill="var(--page)" if line.colour == 0 else colour,
            stroke=colour,
            strokeWidth=1.5,
            opacity=1,
        ),
    ]


def _rule(value: float, y_axis: Mapping[str, Any]) -> Any:
    import altair as alt

    return (
        alt.Chart(_data([{"y": value}]))
        .mark_rule(stroke="var(--ink)", strokeWidth=1, strokeDash=[2, 3])
        .encode(y=alt.Y("y:Q", **y_axis))
    )


def _bands(bands: Sequence[Mapping[str, Any]]) -> list[Any]:
    """Where each iteration ends, and its number above the plot."""
    import altair as alt

    data = _data(bands)
    return [
        alt.Chart(_data(bands[:-1])).mark_rule(stroke="var(--rule)").encode(x="x:Q"),
        alt.Chart(data)
        .mark_text(fill="var(--muted)", fontSize=11, baseline="bottom", dy=-4)
        .encode(x="middle:Q", y=alt.value(0), text="n:N"),
    ]


def _described(title: str, series: Sequence[Series], share: bool) -> str:
    show: Callable[[float], str] = percent if share else lambda value: number(value, 1)
    lines = [
        f"{line.name}: " + ", ".join(f"{'base' if p.x == 0 else p.x} {show(p.y)}" for p in line.points)
        for line in series
    ]
    return f"{title}, by iteration. {'; '.join(lines)}."


_LOOKS: dict[str, Any] = {
    "background": "transparent",
    "font": "sans-serif",
    "aria": False,
    "view": {"stroke": None},
    "axis": {
        **{"labelColor": "var(--muted)", "titleColor": "var(--muted)", "gridColor": "var(--rule)"},
        **{"tickColor": "var(--rule)", "domainColor": "var(--rule)", "labelFontSize": 11, "titleFontSize": 11},
        **{"titleFontWeight": "normal", "labelOverlap": False, "labelLimit": 0, "labelPadding": 5},
    },
    "axisX": {"minExtent": 20, "maxExtent": 20, "titlePadding": 6},
    "axisY": {"domain": False, "ticks": False},
}


def _svg(layers: Sequence[Any], about: str, size: tuple[int, int]) -> str:
    """The drawing with a fixed layout, told to a screen reader as one image."""
    import altair as alt
    import vl_convert
    from markupsafe import escape

    chart = alt.layer(
        *layers,
        width=size[0],
        height=size[1],
        padding=MARGINS,
        autosize=alt.AutoSizeParams(type="none"),
        config=alt.Config(**_LOOKS),
    )
    svg = vl_convert.vegalite_to_svg(chart.to_dict())
    svg = re.sub(r' (?:role|aria-[a-z]+|class|pointer-events)="[^"]*"', "", svg)
    box = f"0 0 {size[0] + MARGINS['left'] + MARGINS['right']} {size[1] + MARGINS['top'] + MARGINS['bottom']}"
    head = f'<svg role="img" aria-label="{escape(about)}" viewBox="{box}">'
    return re.sub(r"^<svg [^>]*>", lambda _: head, svg, count=1)
