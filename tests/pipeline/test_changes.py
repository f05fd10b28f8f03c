"""docs/recipes.md: every change that it lists runs, on the smoke recipe, through each stage that reads it."""

import re
import shlex
from pathlib import Path

import pytest
from click.testing import CliRunner
from conftest import ROOT, Project
from omegaconf import OmegaConf
from pairrm_data import write_checkpoints
from ranker_data import write_reward_model
from stage_runs import stages

from stages import due, schedule
from stages.schedule import composed

CHANGES = re.findall(r"`(-S [^`]+)`", (ROOT / "docs" / "recipes.md").read_text(encoding="utf-8"))

OWN = {
    "+ranker=skywork-0.6b": "rankers.reward",
    "+ranker=better-pairrm": "rankers.pairrm",
    "+ranker=pairrm": "rankers.pairrm",
}
"""The parameter by which a preset names its weights; here a tiny model takes their place."""


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A tiny model for each parameter that names a ranker's weights."""
    folder = tmp_path_factory.mktemp("rankers")
    return {
        "rankers.pairrm": write_checkpoints(folder)["hf"],
        "rankers.reward": write_reward_model(folder / "reward", "decoder"),
    }


@pytest.mark.parametrize("row", CHANGES)
def test_a_change_of_the_page_runs(
    row: str, project: Project, weights: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    changes = [word for word in shlex.split(row) if word != "-S"]
    changes += [f"{OWN[word]}={weights[OWN[word]]}" for word in changes if word in OWN]
    monkeypatch.chdir(project.folder)
    monkeypatch.setenv("DVC_ROOT", str(project.folder))
    states = due.states(OmegaConf.to_container(composed(tuple(changes))))
    changed = CliRunner().invoke(schedule.main, ["--write", *changes])
    assert changed.exit_code == 0, changed.output
    # What an iteration has from those before it shows in the second.
    number = "2" if re.search(r"train\.(reference|data)=", row) else "1"
    near = [name for name in states if name.partition("@")[2] in ("", number) and name != "report"]
    read = [place for place, name in enumerate(near) if states[name].startswith("runs: ")]
    ran = [name for name in near[read[0] : read[-1] + 1] if states[name].startswith("runs")]
    assert {*ran} - {"schedule"}
    found = stages(project.folder)
    for name in ran:
        found[name].run()
