"""A run whose judges compare answers to prompts without constraints only, stage by stage, up to its page."""

import json
import sys
from pathlib import Path

import pytest
from conftest import new_project
from stage_runs import stages

from pairloop.files import records

pytestmark = pytest.mark.slow

ASKED = ("+recipe=smoke", "iterations=1", "eval.prompts=20", "eval.judged=unconstrained")
HELD_OUT = "eval.preferences=data/preferences/examples/polite-held-out.jsonl"


def test_every_stage_that_judges_leaves_out_prompts_with_constraints_and_the_page_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    project = new_project(tmp_path / "project")
    project.run(sys.executable, "-m", "stages.schedule", "--write", *ASKED, HELD_OUT)
    monkeypatch.chdir(project.folder)
    for stage in stages(project.folder).values():
        stage.run()
    rows = records.read(Path("data/iteration_1/answers.parquet"), records.ANSWER)
    free = sum(not row["constraints"] for row in rows)
    assert [bool(json.loads(row["judged"])) for row in rows] == [not row["constraints"] for row in rows]
    found = records.read_json(Path("results/iteration_1/metrics.json"))
    assert (found["prompts"], found["judged"], found["constraints"]["prompts"]) == (20, free, 20 - free)
    assert records.read_json(Path("results/iteration_1/preferences.json"))["judge"]["prompts"] == free
    page = Path("report/index.html").read_text(encoding="utf-8")
    assert f"of only {free}\N{NO-BREAK SPACE}held-out prompts without constraints" in page
