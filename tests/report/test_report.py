"""The report, opened in a real browser."""

import dataclasses
import itertools
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import report_data
from report_browser import browser_programs, chromium, rows, show, texts, written
from report_data import HOSTILE

from pairloop.report import formats
from pairloop.report.data import ReportData
from pairloop.report.page import render

RUNS = {
    "better": report_data.demo,
    "full": report_data.full,
    "one_iteration": report_data.one_iteration,
    "unclear": report_data.unclear,
    "worse": report_data.worse,
    "bare": report_data.bare,
    "hostile": report_data.hostile,
}

HEADLINES = {
    "better": "Iteration 3 follows all instructions in 62 % of 40 held-out prompts, the base model in 48 %: 14 points "
    "more (95 % interval 5 to 23), counted by a program.",
    "one_iteration": "No improvement was shown: iteration 1 follows all instructions in 54 % of 40 held-out prompts, "
    "the base model in 48 %: 6 points more (95 % interval −3 to 15, which includes zero), counted by a program.",
    "unclear": "No improvement was shown: iteration 3 follows all instructions in 52 % of 40 held-out prompts, the "
    "base model in 48 %: 4 points more (95 % interval −5 to 13, which includes zero), counted by a program.",
    "worse": "Iteration 3 got worse: it follows all instructions in 36 % of 40 held-out prompts, the base model in "
    "48 %: 12 points fewer (95 % interval −21 to −3), counted by a program.",
    "bare": "Iteration 3 beats the base model on 70 % of 120 held-out prompts (95 % interval 62 to 78 %), judged by "
    "likelihood, which also ranked the training data: no independent judge was asked.",
}

JUDGED = {
    "better": "Iteration 3 beats the base model on 63 % of 120 held-out prompts (95 % interval 55 to 71 %), judged by "
    "likelihood, which did not rank the training data.",
    "one_iteration": "No improvement was shown: iteration 1 wins against the base model on 57 % of 120 held-out "
    "prompts (95 % interval 49 to 65 %, which includes 50 %), judged by likelihood, which did not rank the training "
    "data.",
    "unclear": "No improvement was shown: iteration 3 wins against the base model on 52 % of 120 held-out prompts "
    "(95 % interval 44 to 60 %, which includes 50 %), judged by likelihood, which did not rank the training data.",
    "worse": "Iteration 3 got worse than the base model: it wins on only 38 % of 120 held-out prompts (95 % interval "
    "30 to 46 %, all below 50 %), judged by likelihood, which did not rank the training data.",
}


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Each run's page, as a file."""
    return written(tmp_path_factory.mktemp("report"), RUNS)


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    yield from chromium(tmp_path_factory)


def luminance(colour: str) -> float:
    """Relative luminance (WCAG 2) of `rgb(1, 2, 3)` or `#010203`."""
    parts = [int(colour[i : i + 2], 16) for i in (1, 3, 5)] if colour[0] == "#" else re.findall(r"\d+", colour)[:3]
    linear = [s / 12.92 if (s := int(part) / 255) <= 0.03928 else ((s + 0.055) / 1.055) ** 2.4 for part in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


@pytest.mark.parametrize("run", HEADLINES)
def test_the_headline_claims_what_the_interval_allows(browser: Any, pages: dict[str, Path], run: str) -> None:
    show(browser, pages[run])
    assert texts(browser, "h1") == [HEADLINES[run]]
    claim = re.split(r": \d+ points| \(", HEADLINES[run])[0]
    assert browser.title.replace("\N{NO-BREAK SPACE}", " ") == f"Pairloop report: {claim}"


@pytest.mark.parametrize("run", JUDGED)
def test_the_judges_verdict_follows_the_instructions(browser: Any, pages: dict[str, Path], run: str) -> None:
    show(browser, pages[run])
    assert texts(browser, ".findings li")[0] == JUDGED[run]


def test_what_may_weaken_the_claim_stands_beside_it_in_letters_of_the_same_size(
    browser: Any, pages: dict[str, Path]
) -> None:
    show(browser, pages["unclear"])
    assert texts(browser, ".claims li") == [
        "Counting no answer that loops or has fewer than 5 words: 50 %, 0 points more (−9 to 9, which includes zero).",
        "Where length cannot help (28 prompts): 1 point more (−8 to 10, which includes zero); too "
        "few to tell. At like length (31 prompts): 2 points more (−8 to 12, which includes zero).",
        "Without instructions (80 prompts), likelihood prefers it in 49 % (39 to 59 %): neither better nor worse is "
        "shown.",
        "Of its answers 32 % are cut off (base 42 %), 3 % repeat the prompt (base 12 %), 2 % loop (base 9 %); they "
        "have 47 words (base 41).",
    ]
    sizes = browser.execute_script(
        "return [...document.querySelectorAll('.claims h1, .claims h1 span, .claims li')]"
        ".map(e => getComputedStyle(e).fontSize)"
    )
    assert len(sizes) == 6 and len(set(sizes)) == 1


def test_the_first_screen_holds_the_claim_its_bars_and_six_pairs(browser: Any, pages: dict[str, Path]) -> None:
    show(browser, pages["full"], 1200)
    assert len(texts(browser, ".pair")) == 6
    last = browser.execute_script(
        "return Math.max(...[...document.querySelectorAll('.claims, .followed, .pair')]"
        ".map(e => e.getBoundingClientRect().bottom))"
    )
    assert last <= 1140
    bars = browser.execute_script(
        "return [...document.querySelectorAll('.followed tr:last-child rect, .followed tr:last-child line')]"
        ".map(e => e.getAttribute('width') || [e.getAttribute('x1'), e.getAttribute('x2')].join(' '))"
    )
    assert bars[:4] == ["62.0%", "47.0% 77.0%", "47.0% 47.0%", "77.0% 77.0%"]


def test_a_pair_says_in_words_what_each_answer_meets(browser: Any, pages: dict[str, Path]) -> None:
    show(browser, pages["full"])
    first = texts(browser, ".pair:first-child .asked, .pair:first-child .verdict")
    assert [" ".join(said.split()) for said in first] == [
        "Give me exactly four numbered steps for making a pot of tea. (2)",
        "Base model ✗ not met: bullets: exactly 4",
        "Iteration 3 ✓ met: bullets: exactly 4",
    ]
    assert texts(browser, "#followed .fine") == [
        "The first 6 whose verdict changed, in the set’s own order. It changed on 15 of 15 held-out prompts with "
        "instructions: 15 for the better, 0 for the worse."
    ]


def test_a_better_earlier_iteration_and_the_other_judges_are_not_hidden(browser: Any, pages: dict[str, Path]) -> None:
    show(browser, pages["unclear"])
    said = texts(browser, ".findings li")
    assert "By specialist, which also ranked the training data, the win rate is 59 % (51 to 67 %)." in said
    assert "By likelihood, iteration 2 has the highest win rate: 55 % (47 to 63 %)." in said
    assert "also the teacher" in " ".join(texts(browser, "#wins .key, #wins table"))


@pytest.mark.parametrize("run", RUNS)
def test_the_page_asks_for_nothing_and_reports_no_error(browser: Any, pages: dict[str, Path], run: str) -> None:
    show(browser, pages[run])
    assert browser.get_log("browser") == []
    assert browser.execute_script("return performance.getEntriesByType('resource').map(e => e.name)") == []
    events = [json.loads(entry["message"])["message"] for entry in browser.get_log("performance")]
    asked = {e["params"]["request"]["url"] for e in events if e["method"] == "Network.requestWillBeSent"}
    assert {url for url in asked if not url.startswith("data:,")} == {pages[run].as_uri()}
    policy = browser.execute_script("return document.querySelector('meta[http-equiv]').content")
    assert policy.startswith("default-src 'none'; ") and "unsafe" not in policy and "http" not in policy


@pytest.mark.parametrize("run", RUNS)
@pytest.mark.parametrize("width", [360, 1280])
def test_nothing_sticks_out_sideways(browser: Any, pages: dict[str, Path], run: str, width: int) -> None:
    show(browser, pages[run], width)
    browser.execute_script("document.querySelectorAll('details').forEach(d => { d.open = true })")
    widest, window = browser.execute_script("return [document.documentElement.scrollWidth, window.innerWidth]")
    assert widest <= window == width


@pytest.mark.parametrize("run", ["better", "full", "one_iteration"])
def test_every_iteration_of_a_table_is_seen_without_scrolling(browser: Any, pages: dict[str, Path], run: str) -> None:
    show(browser, pages[run], 1200)
    script = """return [...document.querySelectorAll(".scroll")].filter(s => s.scrollWidth > s.clientWidth)
        .map(s => s.querySelector("caption")?.textContent.trim() ?? s.className)"""
    assert browser.execute_script(script) == []


def test_dark_is_dark_light_is_light_and_paper_is_always_light(browser: Any, pages: dict[str, Path]) -> None:
    seen = {}
    for scheme, media in (("dark", "screen"), ("light", "screen"), ("dark", "print")):
        show(browser, pages["better"], scheme=scheme, media=media)
        script = "const s = getComputedStyle(document.body); return [s.backgroundColor, s.color]"
        seen[scheme, media] = [luminance(colour) for colour in browser.execute_script(script)]
    assert seen["dark", "screen"][0] < 0.02 and seen["dark", "screen"][1] > 0.7
    assert seen["light", "screen"][0] > 0.9 and seen["light", "screen"][1] < 0.03
    assert seen["dark", "print"] == seen["light", "screen"]


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_text_and_marks_have_contrast(browser: Any, pages: dict[str, Path], scheme: str) -> None:
    show(browser, pages["better"], scheme=scheme)
    read = "return arguments[0].map(n => getComputedStyle(document.body).getPropertyValue(`--${n}`).trim())"
    names = ["ink", "muted", "link", "good", "bad", *(f"series-{i}" for i in range(5))]
    colours = dict(zip(names, browser.execute_script(read, names), strict=True))
    for ground in browser.execute_script(read, ["page", "panel"]):
        for name, colour in colours.items():
            light, dark = sorted([luminance(colour), luminance(ground)], reverse=True)
            assert (light + 0.05) / (dark + 0.05) >= (3 if name.startswith("series") else 4.5), (name, ground)


def test_headings_tables_drawings_and_controls_have_names(browser: Any, pages: dict[str, Path]) -> None:
    show(browser, pages["better"])
    levels = browser.execute_script("return [...document.querySelectorAll('h1,h2,h3,h4')].map(h => +h.tagName[1])")
    assert levels[0] == 1 and levels.count(1) == 1
    assert all(later - earlier <= 1 for earlier, later in itertools.pairwise(levels))
    nameless = browser.execute_script(
        "const bad = (all, named) => [...document.querySelectorAll(all)].filter(e => !named(e)).length;"
        "return [bad('table', t => t.caption && t.caption.textContent.trim()),"
        " bad('th', h => h.scope), bad('figure', f => f.querySelector('figcaption')),"
        " bad('.drawing svg', s => s.getAttribute('role') === 'img' && s.getAttribute('aria-label').length > 20),"
        " bad('select, input', s => s.labels.length),"
        " bad('[id]', e => document.querySelectorAll('#' + e.id).length === 1),"
        " bad('nav a', a => document.querySelector(a.getAttribute('href')))]"
    )
    assert nameless == [0] * 7
    drawn = browser.execute_script("return document.querySelector('.drawing svg').getAttribute('aria-label')")
    assert "likelihood: base 50 %, 1 57 %, 2 61 %, 3 63 %" in drawn.replace("\N{NO-BREAK SPACE}", " ")


def test_the_tables_hold_the_exact_numbers(browser: Any, pages: dict[str, Path]) -> None:
    show(browser, pages["better"])
    assert "likelihood | 57 % 49 to 65 | 61 % 53 to 69 | 63 % 55 to 71" in rows(browser, "#wins")
    assert "Gain in points | – | +6 −3 to 15 | +11 2 to 20 | +14 5 to 23" in rows(browser, "#constraints")
    assert "Words, chosen | – | 44.1 | 45.1 | 46.1" in rows(browser, "#lengths")
    assert "Reward margin 0 where policy and reference are the same | 0.43 before 0.00" in next(
        row for row in rows(browser, "#training") if row.startswith("Reward margin")
    )
    assert "prompts to train on | 731 | 702 | duplicate 4, near duplicate 19, in eval set 6" in rows(browser, "#rows")
    assert "generate | 4 min 16 s |  | – | 1 min 24 s | 1 min 25 s | 1 min 26 s | 179 | 2.2 GiB" in rows(
        browser, "#times"
    )
    assert "first sentence only | 46 % |" in [row.strip() for row in rows(browser, "#teacher")]
    assert "judges form, not truth" in texts(browser, "#teacher")[0].replace("\n", " ")
    assert [row.strip() for row in rows(browser, "#teacher")][-2:] == [
        "200 | 96 % 91 to 100 |",
        "224 | 96 % 91 to 100 |",
    ]
    assert "From 100 to 224 pairs, the teacher gained 2 points of accuracy" in " ".join(texts(browser, "#teacher p"))


def test_without_script_every_sample_can_be_unfolded(browser: Any, pages: dict[str, Path]) -> None:
    browser.execute_cdp_cmd("Emulation.setScriptExecutionDisabled", {"value": True})
    try:
        show(browser, pages["better"])
        assert texts(browser, ".sample .title") == [formats.excerpt(prompt) for prompt in report_data.PROMPTS] * 3
        assert browser.execute_script(
            "const seen = selector => [...document.querySelectorAll(selector)].map(e => e.checkVisibility());"
            "return seen('.sample > summary, .iteration > h3').every(Boolean)"
            " && !seen('.toolbar, .pager, .keys').some(Boolean)"
        )
    finally:
        browser.execute_cdp_cmd("Emulation.setScriptExecutionDisabled", {"value": False})


def test_hostile_texts_are_shown_and_do_nothing(browser: Any, pages: dict[str, Path]) -> None:
    show(browser, pages["hostile"])
    browser.execute_script(
        "document.querySelectorAll('*').forEach(e => e.dispatchEvent(new MouseEvent('mouseover', {bubbles: false})))"
    )
    assert browser.execute_script("return typeof window.hacked") == "undefined"
    assert browser.execute_script("return document.querySelectorAll('style, link').length") == 2
    kinds = browser.execute_script("return [...document.querySelectorAll('script')].map(s => s.type)")
    assert kinds == ["application/json", "application/json", ""]
    assert browser.execute_script("return document.querySelectorAll('img, iframe, object, [style], base').length") == 0
    assert not browser.execute_script(
        "return [...document.querySelectorAll('*')].flatMap(e => e.getAttributeNames()).filter(n => n.startsWith('on'))"
    )
    written = browser.execute_script("return [...document.querySelectorAll('#answers .text')].map(e => e.textContent)")
    for text in HOSTILE:
        assert formats.visible(formats.clipped(text)[0]) in written
    assert "92,000 more characters are not shown." in texts(browser, "#answers .left-out")
    assert "(empty)" in texts(browser, "#answers .left-out") and "(empty)" in texts(browser, "#answers .title")


def test_no_text_is_taller_than_its_box_or_spills_over_its_neighbour(browser: Any, pages: dict[str, Path]) -> None:
    show(browser, pages["hostile"], 360)
    tallest, spilling = browser.execute_script(
        "document.querySelectorAll('details').forEach(d => { d.open = true });"
        "const boxes = [...document.querySelectorAll('#answers .text, #answers .title')];"
        "return [Math.max(...boxes.map(b => b.offsetHeight)),"
        " boxes.filter(b => getComputedStyle(b).overflowY === 'visible').length]"
    )
    assert tallest <= 24 * 16 and spilling == 0
    assert browser.execute_script("return document.querySelectorAll('.text.long[tabindex=\"0\"]').length") > 0


@pytest.mark.slow
def test_the_page_stays_small(pages: dict[str, Path]) -> None:
    sizes = {name: page.stat().st_size for name, page in pages.items()}
    assert sizes["better"] < 200_000 and sizes["hostile"] < 2_000_000


@pytest.mark.slow
def test_equal_runs_give_equal_bytes(pages: dict[str, Path]) -> None:
    assert render(report_data.demo()) == pages["better"].read_text(encoding="utf-8")


def test_numbers_that_do_not_exist_are_dashes(tmp_path: Path, browser: Any) -> None:
    data: ReportData = report_data.demo()
    unknown: dict[str, Any] = {"length_correlation": None}
    first = data.iterations[0]
    first = dataclasses.replace(first, rank=dict(first.rank) | unknown, pair=dict(first.pair) | unknown, curve=[])
    teacher = dict(data.teacher or {}) | {"length_correlation": float("nan"), "hacks": {}, "by_kind": {}}
    page = tmp_path / "page.html"
    changed = dataclasses.replace(data, iterations=[first, *data.iterations[1:]], teacher=teacher)
    page.write_text(render(changed), encoding="utf-8")
    show(browser, page)
    assert "Score with length rank correlation, −1 to 1 | – | – | −0.02 | 0.01" in rows(browser, "#lengths")
    assert texts(browser, "#teacher dd")[-1] == "–"
    assert browser.get_log("browser") == []


def test_a_missing_chromium_is_a_failure_that_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    with pytest.raises(pytest.fail.Exception, match="Chromium is not installed"):
        browser_programs()
