"""What the report's step reads: the committed run's files, with those of the steps that not every run has."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import report_data

from pairloop.report.page import render
from stages import common, report

ROOT = Path(__file__).parents[2]
PUBLISHED = Path("conf/published.yaml")


@pytest.fixture
def results(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The committed run's results, to add to."""
    monkeypatch.chdir(ROOT)
    return Path(shutil.copytree(ROOT / "results", tmp_path / "results"))


def write(path: Path, content: Any) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content), encoding="utf-8")


def scheduled(monkeypatch: pytest.MonkeyPatch, **stages: dict[str, Any]) -> None:
    """Let params.yaml have these optional stages."""
    values = common.raw()
    monkeypatch.setattr(common, "raw", lambda: values | {"schedule": values["schedule"] | stages})


def test_every_held_out_prompt_is_read_with_the_verdicts_that_the_scores_give(results: Path) -> None:
    data = report.collect(results, PUBLISHED)
    judgements = json.loads((results / "iteration_2" / "judgements.json").read_text())
    assert len(data.answers) == len(judgements) == data.models[2]["prompts"]
    for judge, rate in data.models[2]["win_rate"].items():
        won = [row["wins"][2][judge] for row in data.answers if row["wins"][2]]
        assert len(won) == data.models[2]["judged"]
        assert sum(won) / len(won) == pytest.approx(rate["win_rate"], abs=1e-4)
    assert all(row["source"] for row in data.answers)


def test_shares_of_won_samples_count_before_mean_scores(results: Path) -> None:
    path = results / "iteration_1" / "judgements.json"
    rows = json.loads(path.read_text())
    rows[0] |= {"wins": {"likelihood": 0.25}, "cut_off": True}
    write(path, rows)
    first = report.collect(results, PUBLISHED).answers[0]
    assert first["wins"][1]["likelihood"] == 0.25 and first["cut_off"][1] is True


def test_what_optional_steps_wrote_is_shown(results: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    full = report_data.full()
    scheduled(monkeypatch, annotated={"iteration_3": {}, "seed": {}}, ifeval={"0": {}, "3": {}}, lm_eval={"3": {}})
    for result in full.annotated:
        folder = results / "annotated" / result["name"]
        write(folder / "result.json", {key: value for key, value in result.items() if key != "judged_on"})
        write(folder / "time.json", {"seconds": 1.0, "judged_on": "2026-11-25"})
    for n in range(4):
        write(results / f"iteration_{n}" / "watch.json", full.watches[n])
    write(results / "iteration_3" / "ifeval.json", full.ifeval[3])
    write(results / "iteration_3" / "lm_eval.json", full.lm_eval[3])
    data = report.collect(results, PUBLISHED)
    assert {row["name"] for row in data.annotated} == {"iteration_3", "seed"}
    assert {row["judged_on"] for row in data.annotated} == {"2026-11-25"}
    assert list(data.watches) == [0, 1, 2, 3] and list(data.ifeval) == list(data.lm_eval) == [3]
    page = render(data)
    assert "on 2026-11-25 against gpt4_turbo" in page and "1 alarm of the watch" in page and "arc_easy, acc" in page


def test_what_another_run_left_behind_is_not_shown(results: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    full = report_data.full()
    scheduled(monkeypatch, annotated={}, ifeval={}, lm_eval={"2": {}})
    write(results / "annotated" / "seed" / "result.json", dict(full.annotated[2]))
    write(results / "iteration_3" / "ifeval.json", full.ifeval[3])
    write(results / "iteration_3" / "lm_eval.json", full.lm_eval[3])
    data = report.collect(results, PUBLISHED)
    assert not data.annotated and not data.ifeval and not data.lm_eval


def test_the_committed_run_differs_in_nothing_from_the_published_one(results: Path) -> None:
    assert "Every parameter is as in the published run." in render(report.collect(results, PUBLISHED))


def test_plots_have_a_column_for_each_further_temperature() -> None:
    row = report._plotted(3, report_data.full())
    assert row["win_rate_likelihood"] == row["win_rate_likelihood_at_0.7"] == 0.63
    assert not any("16" in name for name in row)
