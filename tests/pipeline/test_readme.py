"""What the README tells a new user to type really works."""

import re
import shlex
import subprocess
from pathlib import Path

import pytest
from conftest import Project

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text()
COMMANDS = [
    line[2:].split("  #")[0].split(" 2>&1 |")[0].strip()
    for block in re.findall(r"```console\n(.*?)```", README, flags=re.S)
    for line in block.splitlines()
    if line.startswith("$ ")
]


def test_the_readme_shows_a_session() -> None:
    assert "make repro" in COMMANDS and "make test" in COMMANDS
    assert any(command.startswith("dvc exp run -S iterations=4") for command in COMMANDS)


def test_every_command_of_the_readme_runs(reproduced: Project, tmp_path: Path) -> None:
    project = reproduced.copy(tmp_path / "project")
    for command in COMMANDS:
        words = shlex.split(command)
        if words[0] in ("dvc", "python"):
            project.run(*words)
        elif words[0] == "make":
            shown = subprocess.run(["make", "-n", *words[1:]], cwd=ROOT, capture_output=True, text=True)
            assert shown.returncode == 0, shown.stderr
        else:
            assert words[:2] == ["git", "clone"], command


@pytest.mark.parametrize(
    "page",
    [
        "README.md",
        "CONTRIBUTING.md",
        *(f"docs/{page.name}" for page in (ROOT / "docs").glob("*.md")),
        "data/prompts/README.md",
    ],
)
def test_every_local_link_leads_somewhere(page: str) -> None:
    for target in re.findall(r"\]\((?!https?:)([^)#]+)", (ROOT / page).read_text()):
        assert ((ROOT / page).parent / target).exists(), target
