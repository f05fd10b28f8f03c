"""The page: what stands where. Looks are in style.css, words around the numbers in page.html.jinja."""

import base64
import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pairloop.report import extrapolated, formats, ranking, samples, sentences, tables
from pairloop.report.charts import WIDE, Chart, Point, Series, by_iteration, over_steps
from pairloop.report.data import Iteration, Metrics, ReportData

HERE = Path(__file__).parent

UNTRAINED_LOSS = 0.693
"""ln 2: the sigmoid loss of a policy that equals its reference."""


def render(data: ReportData) -> str:
    """The report as one HTML file that asks the network for nothing and runs no script but its own.

    Every text is escaped, control characters are shown as pictures, and the page's own policy (CSP) forbids scripts,
    styles, images and connections other than the ones written here.
    """
    import jinja2
    from markupsafe import Markup

    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(HERE),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        finalize=lambda value: formats.visible(value) if type(value) is str else value,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters |= {"safe_svg": Markup}
    style, script = ((HERE / name).read_text(encoding="utf-8") for name in ("style.css", "samples.js"))
    return environment.get_template("page.html.jinja").render(
        data=data,
        style=Markup(style),
        script=Markup(script),
        policy=_policy(style, script),
        **_sections(data),
    )


def _policy(style: str, script: str) -> str:
    """A Content-Security-Policy that allows the page's own style and script, by hash, and nothing else."""
    hashes = [base64.b64encode(hashlib.sha256(text.encode()).digest()).decode() for text in (style, script)]
    return (
        f"default-src 'none'; style-src 'sha256-{hashes[0]}'; script-src 'sha256-{hashes[1]}'; img-src data:; "
        "base-uri 'none'; form-action 'none'"
    )


def _sections(data: ReportData) -> dict[str, Any]:
    return {
        "headline": sentences.headline(data.models),
        "findings": sentences.findings(data),
        "facts": tables.facts(data),
        "wins": {
            "charts": _win_charts(data.models),
            "table": tables.win_rates(data.models),
            "moved": extrapolated.moved_on(data.models),
        },
        "constraints": {
            "prompts": max((m["constraints"]["prompts"] for m in data.models if m["constraints"]), default=0),
            "charts": _constraint_charts(data.models),
            "table": tables.constraints(data.models),
        },
        "lengths": {"charts": _length_charts(data), "table": _lengths(data)},
        "ranker": {"table": ranking.behaviour(data.iterations), "margins": ranking.margins(data.iterations)},
        "training": {
            "sentence": sentences.training(data.iterations),
            "charts": _training_charts(data),
            "table": tables.training(data.iterations),
        },
        "rows": {
            "sentences": [sentences.pool(data.pool), sentences.pairs(data.iterations)],
            "sources": tables.sources(data.pool),
            "table": tables.rows(data),
        },
        "times": {"sentence": sentences.time(data.times), "table": tables.times(data)},
        "teacher": _teacher(data.teacher),
        "samples": samples.samples(data.samples),
        "comparisons": samples.comparisons(data.answers),
        "parameters": samples.flattened(data.parameters),
    }


def _lengths(data: ReportData) -> tables.Table:
    return tables.lengths(data.models, data.iterations, ranking.length_control(data.iterations))


def _win_charts(models: Sequence[Metrics]) -> list[Chart]:
    lines, colour = [], 0
    for judge, teacher in sentences.judges(models).items():
        points = [
            Point(n, rates["win_rate"], rates["low"], rates["high"])
            for n, model in enumerate(models)
            if n and (rates := model["win_rate"].get(judge))
        ]
        colour += not teacher
        name = f"{judge} (also the teacher)" if teacher else judge
        lines.append(Series(name, 0 if teacher else (colour - 1) % 4 + 1, [Point(0, 0.5), *points]))
    if not lines:
        return []
    rule = (0.5, "50\N{NO-BREAK SPACE}%: no better than the base model")
    return [by_iteration("Win rate against the base model", lines, len(models) - 1, share=True, rule=rule, size=WIDE)]


def _constraint_charts(models: Sequence[Metrics]) -> list[Chart]:
    found = [(n, model["constraints"]) for n, model in enumerate(models) if model["constraints"]]
    points = [Point(n, c["pass_rate"], c["low"], c["high"]) for n, c in found if c["prompts"]]
    if not points:
        return []
    line = Series("pass rate", 1, points)
    return [by_iteration("Constraint pass rate", [line], len(models) - 1, share=True, size=WIDE)]


def _length_charts(data: ReportData) -> list[Chart]:
    last = len(data.iterations)

    def answers(name: str, colour: int, key: str) -> Series:
        return Series(name, colour, [Point(n, m[key]) for n, m in enumerate(data.models) if m[key] is not None])

    def pairs(name: str, colour: int, key: str) -> Series:
        return Series(name, colour, [Point(n, i.pair[key]) for n, i in enumerate(data.iterations, 1)])

    shares = [answers("cut off", 2, "truncated_share"), answers("repetitive", 3, "repetitive_share")]
    words = [pairs("chosen", 1, "chosen_words"), pairs("rejected", 2, "rejected_words")]
    return [
        by_iteration("Words per answer", [answers("held-out prompts", 1, "mean_words")], last),
        by_iteration("Words in the training pairs", words, last),
        by_iteration("Answers cut off or repetitive", shares, last, share=True),
    ]


def _training_charts(data: ReportData) -> list[Chart]:
    curves = [iteration.curve for iteration in data.iterations]
    sigmoid = data.parameters.get("train", {}).get("loss", ["sigmoid"]) == ["sigmoid"]
    start = (UNTRAINED_LOSS, f"{UNTRAINED_LOSS:.2f}: nothing learned yet") if sigmoid else None
    drawn = [
        over_steps("Loss", curves, "loss", start),
        over_steps("Reward margin while training", curves, "margin", (0.0, "0: no preference")),
        _margin_chart(data.iterations),
    ]
    return [chart for chart in drawn if chart]


def _margin_chart(iterations: Sequence[Iteration]) -> Chart | None:
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


def _teacher(teacher: Metrics | None) -> dict[str, Any] | None:
    if teacher is None:
        return None
    facts = [
        ("Trained on", formats.plural(teacher["pairs"], "pair")),
        ("Tested on", formats.plural(teacher["held_out_pairs"], "held-out pair")),
        ("Accuracy there", formats.percent(teacher["held_out_accuracy"])),
    ]
    if "layer" in teacher:
        facts.append(("Chosen", f"layer {teacher['layer']}, penalty C\N{NO-BREAK SPACE}{teacher['regularisation']:g}"))
    facts.append(("Score with length", formats.number(teacher["length_correlation"], 2)))
    return {
        "learnt_from": sentences.learnt_from(teacher),
        "facts": facts,
        "hacks": tables.hacks(teacher) if teacher["hacks"] else None,
        "kinds": tables.kinds(teacher) if teacher["by_kind"] else None,
        "learning": sentences.learning(teacher),
        "curve": tables.learning(teacher) if teacher.get("learning_curve") else None,
    }
