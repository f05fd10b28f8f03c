"""docs/architecture.md is true: its diagram, the prompts that it follows, where it says to change what, its ranker."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import Project

from pairloop.errors import DataError
from stages import diagram

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
PAGES = [*(ROOT / "docs").glob("*.md"), ROOT / "README.md", ROOT / "CONTRIBUTING.md", *(ROOT / "data").glob("*/*.md")]
TABLE = re.findall(r"^\| (.+) \| (`.+`) \| .+ \|$", PAGE, flags=re.M)
RANKER = PAGE.split("## A ranker, worked out")[1]
PIPELINE = """
stages:
  base: {cmd: a, deps: [source], outs: [models/iteration_0]}
  answer:
    foreach: "${schedule.iterations}"
    do: {cmd: b, deps: ["models/iteration_${item.previous}"], outs: ["data/answers_${key}.json": {cache: false}]}
  learn:
    foreach: "${schedule.iterations}"
    do:
      cmd: c
      deps: [models/iteration_0/model.json, "models/iteration_${item.previous}", "data/answers_${key}.json"]
      outs: ["models/iteration_${key}"]
      metrics: ["results/learnt_${key}.json": {cache: false}]
  show: {cmd: d, deps: [data, results], metrics: [shown.json]}
  check: {cmd: e, deps: [source]}
  allow:
    foreach: "${schedule.gated}"
    do: {cmd: f, deps: ["results/learnt_${key}.json"], outs: ["results/allowed_${key}.json": {cache: false}]}
"""


def test_the_page_shows_the_loop_of_dvc_yaml() -> None:
    drawn = diagram.draw(diagram.steps(ROOT / "dvc.yaml"))
    assert f"made by a command -->\n{drawn}\n<!-- loop: end" in PAGE, "run `make docs`"


def test_the_diagram_has_one_iteration_the_way_back_and_no_arrow_that_a_longer_way_implies(tmp_path: Path) -> None:
    (tmp_path / "dvc.yaml").write_text(PIPELINE)
    drawn = diagram.draw(diagram.steps(tmp_path / "dvc.yaml")).splitlines()
    assert [line.strip() for line in drawn if "-->" in line or ".->" in line] == [
        'base -- "models/iteration_0" --> answer',
        'answer -- "data/answers_n.json" --> learn',
        'learn -- "results" --> show',
        'learn -. "models/iteration_n, for n + 1" .-> answer',
    ]
    loop = drawn[drawn.index('    subgraph loop ["for n = 1 … iterations"]') + 1 : drawn.index("    end")]
    assert [line.strip() for line in loop] == ['answer["answer@n"]', 'learn["learn@n"]']
    assert not any("check" in line or "allow" in line for line in drawn)


def test_a_page_without_marks_is_refused(tmp_path: Path) -> None:
    (tmp_path / "page.md").write_text("# No marks\n")
    with pytest.raises(DataError, match="<!-- loop: end -->"):
        diagram.renew(tmp_path / "page.md", "loop", "drawn")


def follow(project: Project) -> str:
    paths = ("dvc.yaml", "data/prompts", "data/train_iteration_1.parquet", "data/eval.parquet", "docs/architecture.md")
    project.run(sys.executable, "-m", "stages.followed", *paths)
    return (project.folder / "docs" / "architecture.md").read_text(encoding="utf-8")


def shape(page: str) -> dict[str, set[str]]:
    """The files of stages in which a page follows its prompts, and the columns of each."""
    files = re.findall(r"^\*\*`(\S+)`\*\*, written by `(.*?)(?=\n\*\*|\n<!--)", page, flags=re.M | re.S)
    return {name: {*re.findall(r"^([a-z_]+)  ", text, flags=re.M)} | columns_as_before(text) for name, text in files}


def columns_as_before(text: str) -> set[str]:
    return {*re.findall(r"`(\w+)`", text.partition("\nAs before: ")[2].partition(".\n")[0])}


def test_two_prompts_are_followed_through_every_file_that_a_run_makes_of_them(project: Project) -> None:
    (project.folder / "docs").mkdir()
    (project.folder / "docs" / "architecture.md").write_text(PAGE, encoding="utf-8")
    page = follow(project)
    assert page != PAGE and shape(page) == shape(PAGE)
    paths = [path.replace("_n", "_1") for step in diagram.steps(ROOT / "dvc.yaml") for path in step.writes]
    tables = {path for path in paths if path.endswith(".parquet")}
    # The first iteration has none before it whose pairs could be handed on.
    others = {f"data/{name}.parquet" for name in ("test_iteration_1", "iteration_1/earlier", "iteration_1/ifeval")}
    assert tables - {*shape(page)} == others
    assert {"prompt", "scores", "ranker"} < shape(page)["data/iteration_1/rankings.parquet"]


@pytest.mark.slow
def test_the_page_follows_the_prompts_of_the_published_run(tmp_path: Path) -> None:
    subprocess.run(["git", "clone", "-q", str(ROOT), str(tmp_path / "clone")], check=True)
    clone = Project(tmp_path / "clone")
    clone.run("dvc", "pull")
    committed = (clone.folder / "docs" / "architecture.md").read_text(encoding="utf-8")
    assert follow(clone) == committed, "run `make publish`"


@pytest.mark.parametrize(("change", "places"), TABLE)
def test_a_change_is_made_in_at_most_two_files_at_places_that_exist(change: str, places: str) -> None:
    found = re.findall(r"`([^`]+)`: `(\w+)`", places)
    assert 1 <= len({path for path, _ in found}) <= 2
    for path, name in found:
        text = (ROOT / path).read_text(encoding="utf-8")
        assert re.search(rf"^\s*(?:def |class )?{name}\b", text, flags=re.M), f"{change}: {path} has no {name}"


def test_ten_changes_are_described() -> None:
    assert len(TABLE) == 10


@pytest.mark.slow
def test_the_ranker_of_the_page_works_as_described_and_passes_our_checks(tmp_path: Path) -> None:
    shutil.copytree(ROOT / "pairloop", tmp_path / "pairloop")
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    for path, lines in re.findall(r"```diff\n--- (\S+)\n(.+?)```", RANKER, flags=re.S):
        old = "".join(f"{line[1:]}\n" for line in lines.splitlines() if line[0] == " ")
        new = "".join(f"{line[1:]}\n" for line in lines.splitlines())
        text = (tmp_path / path).read_text(encoding="utf-8")
        assert text.count(old) == 1, f"{path}: {old}"
        (tmp_path / path).write_text(text.replace(old, new), encoding="utf-8")
    ranker, test = re.findall(r"```python\n(.+?)```", RANKER, flags=re.S)
    assert ranker.count("\n") <= 20
    scoring = tmp_path / "pairloop" / "rankers" / "scoring.py"
    scoring.write_text(f"{scoring.read_text(encoding='utf-8')}\n\n{ranker}", encoding="utf-8")
    assert len(scoring.read_text(encoding="utf-8").splitlines()) <= 300
    (tmp_path / "tests").mkdir()
    (tmp_path / "tests" / "test_impersonal.py").write_text(test, encoding="utf-8")
    for tool in (("pytest", "tests"), ("ruff", "check", "."), ("ruff", "format", "--check", ".")):
        Project(tmp_path).run(sys.executable, "-m", *tool, env={"PYTHONPATH": str(tmp_path)})


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_module_command_and_page_that_a_page_names_exists(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    named = re.findall(r"(?:pairloop|stages|tests|benchmarks|conf)/[\w/.-]*\w", text)
    named += [f"{name.replace('.', '/')}.py" for name in re.findall(r"python -m ((?:stages|benchmarks)\.\w+)", text)]
    missing = {name for name in named if not (ROOT / name).exists()} - {"tests/rankers/test_impersonal.py"}
    assert not missing
    for target in re.findall(r"\]\((?!https?:)([^)#]+)", text):
        assert (page.parent / target).exists(), target
