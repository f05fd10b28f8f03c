"""What the documentation says of the code is made from the code."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from stages import api, commands, listing

ROOT = Path(__file__).parents[1]
PAGES = sorted(path for path in [*ROOT.glob("*.md"), *ROOT.glob("docs/*.md")] if "<!-- listing: " in path.read_text())


def test_the_public_names_and_signatures_are_those_that_are_pinned() -> None:
    assert (ROOT / "docs" / "api.txt").read_text() == api.render(), "run `make docs`, and look at the diff"


def test_the_page_of_commands_is_what_they_say_to_help() -> None:
    assert (ROOT / "docs" / "commands.md").read_text() == commands.render(), "run `make docs`"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_the_listings_are_those_of_the_files(page: Path) -> None:
    assert page.read_text() == listing.renewed(page.read_text()), "run `make docs`"


def test_there_are_listings_and_make_renews_every_one() -> None:
    assert [page.name for page in PAGES] == ["CONTRIBUTING.md", "files.md"]
    shown = subprocess.run(["make", "-n", "docs"], cwd=ROOT, capture_output=True, text=True).stdout
    for page in (*PAGES, *(ROOT / "docs" / name for name in ("api.txt", "commands.md", "parameters.md"))):
        assert str(page.relative_to(ROOT)) in shown


def test_what_the_readme_says_comes_out_comes_out() -> None:
    table = (ROOT / "README.md").read_text().split("## What comes out")[1].split("##")[0]
    named = [path for line in table.splitlines() for path in line.split("|")[1:2] for path in path.split("`")[1::2]]
    made = [row[0].strip("`") for row in listing._outs()]
    assert len(named) == 7
    for path in named:
        assert any(own == path or own.startswith(path) or own == path.rstrip("/") for own in made), path


def test_every_module_and_out_is_listed() -> None:
    page = (ROOT / "docs" / "files.md").read_text() + (ROOT / "CONTRIBUTING.md").read_text()
    for path in (ROOT / "pairloop").rglob("*.py"):
        name = path.relative_to(ROOT / "pairloop").as_posix().removesuffix("__init__.py")
        assert not name or f"| `{name}` |" in page, name
    stages = yaml.safe_load((ROOT / "dvc.yaml").read_text())["stages"]
    assert all(f"| `{stage}` |" in page for stage in stages)


def test_a_page_of_commands_does_not_depend_on_the_terminal(tmp_path: Path) -> None:
    env = os.environ | {"COLUMNS": "40", "PYTHONPATH": str(ROOT), "FORCE_COLOR": "1"}
    subprocess.run([sys.executable, "-m", "stages.commands", tmp_path / "page.md"], cwd=ROOT, env=env, check=True)
    assert (tmp_path / "page.md").read_text() == commands.render()


def test_a_changed_default_annotation_or_name_is_another_pin(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def pinned(source: str) -> str:
        (tmp_path / "pairloop").mkdir(exist_ok=True)
        (tmp_path / "pairloop" / "noun.py").write_text(source)
        return api.render()

    monkeypatch.setattr(api, "ROOT", tmp_path)
    before = "def pair(rows: list[str], *, size: int = 2) -> int: ...\n_hidden = 1\nclass Noun:\n    name: str = 'a'\n"
    assert "    pair(rows: list[str], *, size: int=2) -> int\n    class Noun\n        name: str = 'a'\n" in pinned(
        before
    )
    assert pinned(before.replace("_hidden = 1", "_hidden = 2")) == pinned(before.replace(": ...", ": return 1"))
    changes = {"pair": "pairs", "list[str]": "list[int]", "= 2": "= 3", "-> int": "-> str", "name: str": "name: int"}
    assert len({pinned(before), *(pinned(before.replace(old, new)) for old, new in changes.items())}) == 6
