"""What docs/experiments.md shows works, and DVC's tables of a run are short enough to read."""

import csv
import io
import json
import re
import shlex
import sys
import time

import pytest
import yaml
from conftest import ROOT, Project
from warm import Warm

from pairloop.files import records

PAGE = (ROOT / "docs/experiments.md").read_text()
COMMANDS = [
    line[2:] for block in re.findall(r"```console\n(.*?)```", PAGE, flags=re.S) for line in block.splitlines()
    if line.startswith("$ ")
]  # fmt: skip
MOST_COLUMNS = 100


@pytest.fixture(scope="module")
def compared(
    reproduced: Project, warm: Warm, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Project, dict[str, str]]:
    """A project in which every command of the page has run, and what each said."""
    project = reproduced.copy(tmp_path_factory.mktemp("experiments") / "project", warm)
    return project, {command: typed(project, command) for command in COMMANDS}


def typed(project: Project, command: str) -> str:
    words = shlex.split(command)
    if words[0] == "python":
        words[0] = sys.executable
    if words[:3] == ["dvc", "queue", "status"]:
        return waited(project)
    return project.run(*words).stdout


def waited(project: Project) -> str:
    """The queue's last word: the worker ends by itself when all is done."""
    start, shown = time.monotonic(), ""
    while re.search("Queued|Running", shown) or "Success" not in shown or "0 active, 0 idle" not in shown:
        assert "Failed" not in shown and time.monotonic() - start < 600, shown
        time.sleep(1)
        shown = project.run("dvc", "queue", "status").stdout
    return shown


def said(compared: tuple[Project, dict[str, str]], start: str) -> str:
    return next(shown for command, shown in compared[1].items() if command.startswith(start))


def width(shown: str) -> int:
    return max(len(line.rstrip()) for line in shown.splitlines())


def test_the_metrics_are_at_most_twelve_numbers_in_a_hundred_columns(reproduced: Project) -> None:
    found = json.loads((reproduced.folder / "report/metrics.json").read_text())
    assert len(found) <= 12 and all(type(value) in (int, float) for value in found.values())
    stages = yaml.safe_load((reproduced.folder / "dvc.yaml").read_text())["stages"].values()
    metrics = [out for stage in stages for out in stage.get("do", stage).get("metrics", [])]
    assert metrics == [{"report/metrics.json": {"cache": False}}]
    assert width(reproduced.run("dvc", "metrics", "show").stdout) <= MOST_COLUMNS


def test_all_numbers_at_their_widest_fit_in_a_hundred_columns(project: Project) -> None:
    widest = dict.fromkeys(("win", "low", "lc", "pass", "cut"), 0.667)
    widest |= {"gain": -0.167, "least": -0.167, "alike": -0.167, "words": 999.9, "seconds": 1234567}
    records.write_json(project.folder / "report/metrics.json", widest)
    assert width(project.run("dvc", "metrics", "show").stdout) <= MOST_COLUMNS


def test_the_table_shows_the_metrics_and_the_parameter_that_differs(compared: tuple[Project, dict[str, str]]) -> None:
    project, _ = compared
    command = next(command for command in COMMANDS if command.startswith("dvc exp show"))
    names, *rows = csv.reader(io.StringIO(project.run(*shlex.split(command), "--csv").stdout))
    numbers = json.loads((project.folder / "report/metrics.json").read_text())
    columns = set(names) - {"Experiment", "rev", "typ", "parent"}
    assert {"train.beta", "win", "low"} <= columns <= {"train.beta", *numbers}
    assert sorted(row[names.index("train.beta")] for row in rows) == ["0.02", "0.1", "0.2", "0.5"]


def test_the_differences_name_the_parameter_and_the_numbers(compared: tuple[Project, dict[str, str]]) -> None:
    shown = said(compared, "dvc exp diff")
    assert "train.beta" in shown and "report/metrics.json" in shown and "schedule" not in shown
    assert width(shown) <= MOST_COLUMNS and len(shown.splitlines()) < 20
    assert "index.html" in said(compared, "dvc plots diff")


def test_an_applied_experiment_is_the_workspace(compared: tuple[Project, dict[str, str]]) -> None:
    project, _ = compared
    applied = next(command for command in COMMANDS if command.startswith("dvc exp apply")).split()[-1]
    beta = {"beta-1": 0.02, "beta-2": 0.2, "beta-3": 0.5}[applied]
    assert yaml.safe_load((project.folder / "params.yaml").read_text())["train"]["beta"] == beta
    assert "up to date" in said(compared, "dvc status")
