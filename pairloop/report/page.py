"""The page: what stands where. Looks are in style.css, words around the numbers in page.html.jinja."""

import base64
import hashlib
from pathlib import Path
from typing import Any

from pairloop.measures.texts import FEWEST_WORDS
from pairloop.report import (
    annotated,
    answers,
    changed,
    curves,
    formats,
    instructions,
    lineage,
    preferred,
    ranking,
    samples,
    sentences,
    standing,
    tables,
    watched,
)
from pairloop.report.data import Metrics, ReportData

HERE = Path(__file__).parent

SCRIPTS = ("finder.js", "samples.js", "answers.js")
"""In this order they are one script."""


def render(data: ReportData) -> str:
    """The report as one HTML file that asks the network for nothing and runs no script but its own.

    Every text is escaped, control characters are shown as pictures, and the page's own policy (CSP) forbids scripts,
    styles, images and connections other than the ones written here.
    """
    from markupsafe import Markup

    style = (HERE / "style.css").read_text(encoding="utf-8")
    script = "\n".join((HERE / name).read_text(encoding="utf-8") for name in SCRIPTS)
    return filled(
        HERE,
        data=data,
        style=Markup(style),
        script=Markup(script),
        policy=_policy(style, script),
        **_sections(data),
    )


def filled(folder: Path, **values: Any) -> str:
    """The template page.html.jinja of a folder, filled in: every text escaped, and without control characters."""
    import jinja2
    from markupsafe import Markup

    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(folder),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        finalize=lambda value: formats.visible(value) if type(value) is str else value,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters |= {"drawing": Markup, "inert": Markup}
    return environment.get_template("page.html.jinja").render(**values)


def _policy(style: str, script: str) -> str:
    """A Content-Security-Policy that allows the page's own style and script, by hash, and nothing else."""
    hashes = [base64.b64encode(hashlib.sha256(text.encode()).digest()).decode() for text in (style, script)]
    return (
        f"default-src 'none'; style-src 'sha256-{hashes[0]}'; script-src 'sha256-{hashes[1]}'; img-src data:; "
        "base-uri 'none'; form-action 'none'"
    )


def _sections(data: ReportData) -> dict[str, Any]:
    return {
        **_first(data),
        "alarms": watched.alarms(data.watches),
        "facts": tables.facts(data),
        **_measured(data),
        "ranker": {"table": ranking.behaviour(data.iterations), "margins": ranking.margins(data.iterations)},
        "training": {
            "sentence": sentences.training(data.iterations),
            "charts": curves.training(data),
            "table": tables.training(data.iterations),
        },
        "rows": {
            "sentences": [sentences.pool(data.pool), sentences.pairs(data.iterations)],
            "sources": tables.sources(data.pool),
            "flow": lineage.flow(data),
            "table": tables.rows(data),
        },
        "times": {"sentence": sentences.time(data.times), "table": tables.times(data)},
        "teacher": _teacher(data.teacher),
        "samples": samples.samples(data.samples),
        "sample_kinds": samples.kinds(data.samples),
        "answers": answers.browser(data.answers, sentences.judges(data.models)),
        "page_size": answers.PAGE,
        "differences": None if data.published is None else lineage.differences(data.published, data.parameters),
        "parameters": samples.flattened(data.parameters),
    }


def _first(data: ReportData) -> dict[str, Any]:
    """What the page begins with: instructions followed, or where too few prompts have some, the win rate."""
    findings, judged = sentences.findings(data), sentences.headline(data.models)
    if not instructions.lead(data.models):
        return {"headline": judged, "findings": [*instructions.few(data.models), *findings], "followed": None}
    return {
        "headline": instructions.headline(data.models),
        "findings": [f"{judged.claim} {judged.qualifier}", *findings],
        "followed": {
            "claims": instructions.claims(data.models),
            "standing": instructions.standing(data.models),
            "changed": changed.changed(data.answers),
        },
    }


def _measured(data: ReportData) -> dict[str, Any]:
    """What was measured of the models."""
    return {
        "wins": {
            "among": sentences.among(data.models[-1]),
            "standing": standing.standing(data.models),
            "charts": curves.win_rates(data.models),
            "table": tables.win_rates(data.models),
            "agreement": standing.agreement(data.models),
            "moved": any("factor" in more for model in data.models for more in model.get("further", ())),
        },
        "benchmarks": {
            "alpaca": annotated.alpaca_eval(data.annotated),
            "not_comparable": annotated.NOT_COMPARABLE,
            "ifeval": annotated.ifeval(data.ifeval),
            "by_kind": annotated.by_kind(data.ifeval),
            "not_covered": annotated.not_covered(data.ifeval),
            "preferences": preferred.preferences(data.preferences),
            "preferences_judge": preferred.judge(data.preferences, sentences.among(data.models[-1])),
            "lm_eval": annotated.lm_eval(data.lm_eval),
        },
        "watch": watched.measures(data.watches, len(data.iterations)),
        "constraints": {
            "prompts": max((m["constraints"]["prompts"] for m in data.models if m["constraints"]), default=0),
            "charts": curves.constraints(data.models),
            "table": instructions.table(data.models),
            "by_kind": instructions.by_kind(data.models),
            "fewest_words": FEWEST_WORDS,
        },
        "lengths": {"charts": curves.lengths(data), "table": _lengths(data)},
    }


def _lengths(data: ReportData) -> tables.Table:
    return tables.lengths(data.models, data.iterations, ranking.length_control(data.iterations))


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
