"""docs/recipes.md and the page of another axis: every command that they show composes, to valid parameters."""

import re
import shlex
from pathlib import Path

import pytest
from omegaconf import OmegaConf

from pairloop import params
from stages.schedule import composed

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "docs" / "recipes.md").read_text(encoding="utf-8")
AXIS = (ROOT / "docs" / "another-axis.md").read_text(encoding="utf-8")
COMMANDS = re.findall(r"^    dvc exp run (.+)$", PAGE + AXIS, flags=re.M) + re.findall(r"`(-S [^`]+)`", PAGE)
SHOWN = re.findall(r"^\| `([\w-]+)` \| .+ \| .+ \|$", PAGE, flags=re.M)


@pytest.mark.parametrize("command", [command for command in COMMANDS if "CHANGE" not in command])
def test_a_command_of_the_page_composes(command: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    changes = [word for word in shlex.split(command) if word != "-S"]
    assert changes and all("=" in change for change in changes)
    whole = any(change.startswith("+recipe=") for change in changes)
    start = () if whole else ("+recipe=specialist",)
    before, after = (OmegaConf.to_container(composed(words)) for words in (start, (*start, *changes)))
    params.parse(after)
    assert after != before


def test_the_page_shows_every_recipe_and_no_other() -> None:
    assert sorted(SHOWN) == sorted(path.stem for path in (ROOT / "conf" / "recipe").glob("*.yaml"))
    assert len(COMMANDS) > 25
