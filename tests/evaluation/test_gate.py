"""An alarm ends a run before the next iteration, where that is asked for."""

from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from omegaconf import OmegaConf

from pairloop.files import records
from stages import gate
from stages.schedule import composed

ROOT = Path(__file__).parents[2]
ALARM = "Mean length fell."


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def run(stop: bool, *alarms: str, measures: dict[str, Any] | None = None) -> Result:
    Path("params.yaml").write_text(f"watch: {{stop: {str(stop).lower()}}}")
    records.write_json(Path("watch.json"), {"measures": measures or {}, "alarms": list(alarms)})
    return CliRunner().invoke(gate.main, ["--iteration", "2", "watch.json", "gate.json"])


def test_an_alarm_fails_the_stage_with_its_sentence_and_leaves_no_out() -> None:
    found = run(True, ALARM, "Answers that loop rose.")
    assert found.exit_code == 1 and not Path("gate.json").exists()
    assert found.output.startswith(
        "Error: iteration 2 is worse than iteration 0, and watch.stop is true, so iteration 3"
    )
    assert f"- {ALARM}\n- Answers that loop rose.\n" in found.output
    assert "dvc exp run -S watch.stop=false" in found.output


def test_what_lets_the_next_iteration_begin_has_the_same_bytes_whatever_was_measured() -> None:
    assert run(True, measures={"words": {"value": 1.0}}).exit_code == 0
    first = Path("gate.json").read_bytes()
    assert records.read_json(Path("gate.json")) == {"stop": False}
    assert run(True, measures={"words": {"value": 2.0}}).exit_code == 0
    assert Path("gate.json").read_bytes() == first


def schedule(*changes: str) -> dict[str, Any]:
    found: Any = OmegaConf.to_container(composed(changes))
    return found["schedule"]


def test_dvc_has_the_gates_only_where_an_alarm_stops(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    usual = schedule()
    assert usual["gated"] == {}
    assert {own["gate"] for part in ("iterations", "sampled") for own in usual[part].values()} == {"conf/no_file"}
    stopping = schedule("watch.stop=true")
    assert stopping["gated"] == {n: {"alarms": f"results/iteration_{n}/watch.json"} for n in ("1", "2")}
    gates = ["conf/no_file", "results/iteration_1/gate.json", "results/iteration_2/gate.json"]
    for part in ("iterations", "sampled"):
        assert [own["gate"] for own in stopping[part].values()] == gates
    assert schedule("watch.stop=true", "iterations=1")["gated"] == {}
    given = schedule("watch.stop=true", "+recipe=published-data")
    assert given["sampled"] == {} and [own["gate"] for own in given["iterations"].values()] == gates
