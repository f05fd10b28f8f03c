"""The lists of samples and of held-out prompts: searched, filtered and turned page by page in a real browser."""

import base64
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import report_data
from report_browser import chromium, show, texts, written
from report_data import HOSTILE, PROMPTS

from pairloop.report import answers, formats
from pairloop.report.page import render

RUNS = {"full": report_data.full, "large": report_data.large, "hostile": report_data.hostile}


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Each run's page, as a file."""
    return written(tmp_path_factory.mktemp("report"), RUNS)


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    yield from chromium(tmp_path_factory)


class List:
    """One of the page's two lists, as a reader uses it."""

    def __init__(self, browser: Any, name: str) -> None:
        self.browser, self.root = browser, browser.find_element("id", f"{name}-browser")

    def part(self, selector: str) -> Any:
        return self.root.find_element("css selector", selector)

    def titles(self) -> list[str]:
        found = self.root.find_elements("css selector", ".title")
        return [title.text for title in found if title.is_displayed()]

    def said(self) -> str:
        return str(self.part("output").text)

    def only(self, kind: str) -> None:
        self.part(f"[value={kind}]").click()

    def choose(self, value: str) -> None:
        from selenium.webdriver.support.select import Select

        Select(self.part("select")).select_by_value(value)

    def press(self, *keys: str) -> None:
        for key in keys:
            self.browser.switch_to.active_element.send_keys(key)

    def focused(self) -> str:
        return str(self.browser.switch_to.active_element.text)


def test_every_held_out_prompt_is_found_by_its_text_and_by_an_answer_s(browser: Any, pages: dict[str, Path]) -> None:
    show(browser, pages["full"])
    found = List(browser, "answers")
    assert found.said() == "1 to 20 of 45" and len(found.titles()) == 20
    found.part("[name=search]").send_keys("no such words")
    assert found.titles() == [] and found.said() == "None of 45 found"
    found.part("[type=reset]").click()
    found.part("[name=search]").send_keys("puffy eyes in the MORNING? (43")
    assert found.said() == "1 to 1 of 1 found, of 45" and found.titles() == [f"{PROMPTS[0]} (43)"]
    found.part("[type=reset]").click()
    assert found.said() == "1 to 20 of 45"
    found.part("[name=search]").send_keys("behind the shed")
    assert len(found.titles()) == 20 and "found, of 45" in found.said()


def expected(kind: str) -> list[str]:
    """Titles of the prompts that a filter is to find, worked out from the data itself."""

    def holds(row: dict[str, Any]) -> bool:
        signs = [{judge: (win > 0.5) - (win < 0.5) for judge, win in wins.items()} for wins in row["wins"][1:]]
        match kind:
            case "constrained":
                return bool(row["constraints"])
            case "not_met":
                return False in row["passes"]
            case "changed":
                return any(len({one[judge] for one in signs}) > 1 for judge in signs[0])
            case "disagreed":
                return any({1, -1} <= set(one.values()) for one in signs)
            case _:
                return any(row["cut_off"])

    return [formats.excerpt(row["prompt"]) for row in report_data.full().answers if holds(dict(row))]


@pytest.mark.parametrize("kind", answers.KINDS)
def test_a_filter_finds_what_it_says(browser: Any, pages: dict[str, Path], kind: str) -> None:
    show(browser, pages["full"])
    found = List(browser, "answers")
    found.only(kind)
    titles = found.titles()
    while found.part("[name=next]").get_attribute("aria-disabled") == "false":
        found.part("[name=next]").click()
        titles += found.titles()
    assert titles == expected(kind) and len(titles) > 0


def test_filters_add_up_and_a_source_is_chosen(browser: Any, pages: dict[str, Path]) -> None:
    show(browser, pages["full"])
    found = List(browser, "answers")
    found.choose("advice")
    found.only("disagreed")
    found.only("cut_off")
    both = {*expected("disagreed")} & {*expected("cut_off")}
    assert found.titles() == [title for title in expected("cut_off") if title in both and PROMPTS[0] in title] != []


def test_the_list_is_walked_with_the_keyboard_alone(browser: Any, pages: dict[str, Path]) -> None:
    show(browser, pages["full"])
    found = List(browser, "answers")
    found.part("summary").send_keys("j")
    assert found.focused().startswith(PROMPTS[1]) and len(found.root.find_elements("css selector", "[open]")) == 1
    found.press("k")
    assert found.focused().startswith(f"{PROMPTS[0]} (1)")
    found.press("n")
    assert found.said() == "21 to 40 of 45" and "(21)" in found.focused()
    found.press("k")
    assert found.said() == "1 to 20 of 45" and "(20)" in found.focused()
    found.press("j", "n")
    assert found.said() == "41 to 45 of 45"
    found.press("n")
    assert found.said() == "41 to 45 of 45"
    found.press("p", "/", "tea", "n")
    search = browser.switch_to.active_element
    assert (search.get_attribute("name"), search.get_attribute("value")) == ("search", "tean")
    outline = "return getComputedStyle(document.activeElement).outlineStyle"
    assert browser.execute_script(outline) == "solid"


def test_the_keys_do_nothing_elsewhere_and_tab_reaches_every_control(browser: Any, pages: dict[str, Path]) -> None:
    show(browser, pages["full"])
    browser.find_element("css selector", "nav a").send_keys("n")
    found = List(browser, "answers")
    assert found.said() == "1 to 20 of 45"
    browser.execute_script("document.querySelector('#answers-browser [name=search]').focus()")
    reached = []
    for _ in range(12):
        found.press("\ue004")
        reached.append(browser.execute_script("const e = document.activeElement; return e.name || e.type || e.tagName"))
    assert reached[:10] == ["choice", *["only"] * 5, "reset", "previous", "next", "SUMMARY"]


def test_samples_are_searched_and_filtered(browser: Any, pages: dict[str, Path]) -> None:
    show(browser, pages["full"])
    found = List(browser, "samples")
    assert found.said() == "1 to 12 of 18" and len(found.titles()) == 12
    found.part("[name=next]").click()
    assert found.said() == "13 to 18 of 18"
    assert texts(browser, ".iteration:not([hidden]) h3") == ["Iteration 3"]
    found.choose("2")
    found.only("no_pair")
    assert found.titles() == [formats.excerpt(PROMPTS[5])]
    assert "No pair: all scores are the same." in found.part(".list").text
    found.only("constrained")
    assert found.said() == "None of 18 found"


def drawn(browser: Any) -> str:
    """What the list of held-out prompts holds, element by element: names, classes, attributes and texts."""
    return str(
        browser.execute_script(
            "const list = document.querySelector('#answers-browser .list');"
            "const own = e => e.parentElement.matches('.text') ? e.data : e.data.replace(/\\s+/g, ' ');"
            "const walk = e => e.nodeType === 3 ? own(e)"
            "  : `<${e.localName} ${[...e.attributes].map(a => a.name + '=' + a.value).sort()}>`"
            "    + [...e.childNodes].map(walk).filter(t => t.trim()).map(t => t.trim()).join('|');"
            "return walk(list)"
        )
    )


@pytest.mark.parametrize("run", ["full", "hostile"])
def test_the_script_draws_what_the_page_holds_without_it(browser: Any, pages: dict[str, Path], run: str) -> None:
    show(browser, pages[run])
    still = drawn(browser)
    browser.execute_script("document.querySelector('#answers-browser form').dispatchEvent(new Event('input'))")
    assert drawn(browser) == still and len(still) > 1000
    assert browser.execute_script("return typeof window.hacked") == "undefined"
    assert browser.get_log("browser") == []


def test_no_text_can_end_a_block_of_json() -> None:
    found = answers.inert([*HOSTILE, "<!--<script>", "\u2028", {"</script>": 1}])
    assert not {*"<>&\u2028\u2029\x00\x1b"} & {*found}
    read = json.loads(found)
    assert read[: len(HOSTILE)] == [formats.visible(text) for text in HOSTILE] and read[-1] == {"</script>": 1}


def test_verdicts_are_words_and_signs_beside_every_answer_but_the_base_s(browser: Any, pages: dict[str, Path]) -> None:
    show(browser, pages["full"])
    first = "#answers-browser details:first-child .columns > li"
    shown = [text.replace("\u00a0", " ") for text in texts(browser, f"{first}:nth-child(2) .verdicts li")]
    assert shown == ["specialist (the teacher): − worse", "likelihood: + better", "judge: = tie"]
    assert texts(browser, f"{first}:nth-child(3) .verdicts li")[2] == "judge: + better in 75 %"
    assert texts(browser, f"{first}:nth-child(1) .verdicts li") == []
    assert "cut off" in texts(browser, f"{first}:nth-child(3) .verdict")[0]


def test_805_prompts_with_four_answers_and_three_judges_open_in_under_a_second(
    browser: Any, pages: dict[str, Path]
) -> None:
    show(browser, pages["large"])
    show(browser, pages["large"])
    entry = "performance.getEntriesByType('navigation')[0]"
    assert browser.execute_script(f"return {entry}.domInteractive") < 1000
    assert 5_000_000 < pages["large"].stat().st_size < 12_000_000
    found = List(browser, "answers")
    assert found.said() == "1 to 20 of 805"
    found.part("[name=search]").send_keys("(805)")
    assert found.said() == "1 to 1 of 1 found, of 805"
    assert "All 805 held-out prompts are in this file" in " ".join(texts(browser, "#answers")[0].split())


def test_what_would_make_the_file_too_large_is_left_out_and_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(answers, "MOST_CHARACTERS", 20_000)
    page = " ".join(render(report_data.full()).split())
    found = answers.browser(report_data.full().answers, {})
    assert found is not None and 10 < found.shown < 45 and found.left_out == 45 - found.shown
    assert f"The first {found.shown} held-out prompts are in this file" in page
    assert f"{found.left_out} more prompts are left out" in page


def test_paper_has_what_is_on_the_screen_without_the_controls(browser: Any, pages: dict[str, Path]) -> None:
    show(browser, pages["full"], media="print")
    hidden = "return [...document.querySelectorAll('nav, .toolbar, .pager, .keys')].some(e => e.checkVisibility())"
    assert not browser.execute_script(hidden)
    assert len(List(browser, "answers").titles()) == 20
    clipped = browser.execute_script(
        "const scrolls = e => getComputedStyle(e).overflowY !== 'visible';"
        "return [...document.querySelectorAll('.text, .scroll')].filter(scrolls)"
    )
    assert clipped == []
    paper = browser.execute_cdp_cmd("Page.printToPDF", {"paperWidth": 8.27, "paperHeight": 11.69})
    assert base64.b64decode(paper["data"]).startswith(b"%PDF")
