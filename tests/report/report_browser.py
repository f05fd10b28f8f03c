"""A real browser for the tests of the report, and what they ask of it."""

import re
import shutil
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from pairloop.report.data import ReportData
from pairloop.report.page import render


def written(folder: Path, runs: Mapping[str, Callable[[], ReportData]]) -> dict[str, Path]:
    """Each run's page, as a file: what a fixture `pages` returns."""
    for name, run in runs.items():
        (folder / f"{name}.html").write_text(render(run()), encoding="utf-8")
    return {name: folder / f"{name}.html" for name in runs}


def browser_programs() -> tuple[str, str]:
    """Chromium and its driver. Without them nothing is known about the page, so their absence is a failure."""
    names = ("chromium", "chromium-browser", "google-chrome", "chrome")
    browser = next((found for name in names if (found := shutil.which(name))), None)
    driver = shutil.which("chromedriver")
    if browser is None or driver is None:
        missing = "Chromium" if browser is None else "chromedriver"
        pytest.fail(f"{missing} is not installed, so the report cannot be tested: apt-get install chromium-driver")
    return browser, driver


def chromium(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """A headless Chromium that logs what it requests: what a fixture `browser` yields."""
    from selenium import webdriver
    from selenium.webdriver.chrome.service import Service

    program, driver = browser_programs()
    options = webdriver.ChromeOptions()
    options.binary_location = program
    switches = "headless no-sandbox disable-gpu disable-quic no-first-run disable-background-networking"
    for switch in f"{switches} disable-component-update disable-sync disable-dev-shm-usage hide-scrollbars".split():
        options.add_argument(f"--{switch}")
    options.add_argument(f"--user-data-dir={tmp_path_factory.mktemp('chromium')}")
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    started = webdriver.Chrome(options=options, service=Service(driver))
    yield started
    started.quit()


def show(browser: Any, page: Path, width: int = 1280, scheme: str = "light", media: str = "screen") -> None:
    """Open a page in a window of this width, and forget what was logged before."""
    size = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": False}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
    # Without motion, a click is where the element is.
    features = [
        {"name": "prefers-color-scheme", "value": scheme},
        {"name": "prefers-reduced-motion", "value": "reduce"},
    ]
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": media, "features": features})
    for kind in ("browser", "performance"):
        browser.get_log(kind)
    browser.get(page.as_uri())


def texts(browser: Any, selector: str) -> list[str]:
    """Text of every element, hidden ones too, with plain spaces."""
    found = browser.execute_script(
        "return [...document.querySelectorAll(arguments[0])].map(e => e.textContent)", selector
    )
    return [text.replace("\N{NO-BREAK SPACE}", " ").strip() for text in found]


def rows(browser: Any, table: str) -> list[str]:
    """Every row of the tables in a section, its cells with a bar between."""
    found = browser.execute_script(
        "return [...document.querySelectorAll(arguments[0] + ' tr')].map(r => [...r.cells].map(c => c.innerText))",
        table,
    )
    cells = [[re.sub(r"\s+", " ", cell).strip() for cell in row] for row in found]
    return [" | ".join(row) for row in cells]
