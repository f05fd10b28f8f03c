"""That every parameter is read by a stage, which DVC runs again when the parameter changes.

Who reads a parameter is asked of mypy: in a copy of the code whose sections have lost their fields, each place that
reads one is an error.
"""

import ast
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml
from conftest import new_project
from dvc.dependency.param import ParamsDependency
from dvc.repo import Repo
from omegaconf import OmegaConf
from test_structure import STAGES, reached

from pairloop import params
from stages.schedule import composed

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]
SECTIONS = {"": params.Params} | dict(params.sections())
LEAVES = [
    f"{name}.{field}".lstrip(".")
    for name, section in SECTIONS.items()
    for field in section.model_fields
    if name or field not in SECTIONS
]
VERBS = sorted(set(STAGES) - {"schedule", "report"})
"""Stages that do something with a value: not those that check or show them all."""

EMPTIED = """
from typing import Any, TypeVar
S = TypeVar("S")
KINDS: tuple[str, ...]
class Section:
    def __init__(self, **values: Any) -> None: ...
    def model_dump(self) -> dict[str, Any]: ...
    def model_copy(self: S, update: dict[str, Any]) -> S: ...
def parse(values: Any, iteration: int | None = None) -> Params: ...
def replaced(section: S, where: str, **changes: Any) -> S: ...
"""


def emptied() -> str:
    """Types of pairloop.params without a single parameter."""
    names = {name: section.__name__ for name, section in params.sections()}
    lines = [f"class {name}(Section): ..." for name in names.values()]
    return "\n".join([EMPTIED, *lines, "class Params(Section):", *(f"    {n}: {kind}" for n, kind in names.items())])


def by_property() -> dict[str, set[str]]:
    """For each property and method of Params the parameters behind it."""
    tree = ast.parse(Path(params.__file__).read_text())
    [body] = [node.body for node in tree.body if isinstance(node, ast.ClassDef) and node.name == "Params"]
    functions = {node.name: ast.unparse(node) for node in body if isinstance(node, ast.FunctionDef)}
    found = {
        name: {leaf for leaf in LEAVES if re.search(rf"\bself\.{leaf}\b", text)} for name, text in functions.items()
    }
    calls = {name: {other for other in functions if f"self.{other}" in text} for name, text in functions.items()}
    return {name: found[name].union(*(found[other] for other in calls[name])) for name in functions}


@pytest.fixture(scope="module")
def readers(tmp_path_factory: pytest.TempPathFactory) -> dict[str, set[str]]:
    """For each parameter the files that read it, the parameters' own apart."""
    folder = tmp_path_factory.mktemp("emptied")
    for room in ("pairloop", "stages"):
        shutil.copytree(ROOT / room, folder / room, ignore=shutil.ignore_patterns("__pycache__", "params"))
    (folder / "pairloop" / "params").mkdir()
    (folder / "pairloop" / "params" / "__init__.pyi").write_text(emptied())
    options = ["--follow-imports=skip", "--ignore-missing-imports", "--cache-dir=cache", "pairloop", "stages"]
    command = [sys.executable, "-m", "mypy", *options]
    said = subprocess.run(command, cwd=folder, capture_output=True, text=True).stdout
    names = {section.__name__: name for name, section in SECTIONS.items()}
    behind = by_property()
    found: dict[str, set[str]] = {leaf: set() for leaf in LEAVES}
    for file, kind, name in re.findall(r'^([^:]+):\d+: error: .*"(\w+)" has no attribute "(\w+)"', said, re.MULTILINE):
        if kind in names:
            leaf = f"{names[kind]}.{name}".lstrip(".")
            for one in behind[name] if kind == "Params" and name in behind else {leaf} & set(LEAVES):
                found[one].add(file)
    return found


@pytest.fixture(scope="module")
def code() -> dict[str, set[str]]:
    """For each stage the files that it can run."""
    return {stage: reached(ROOT / "stages" / f"{stage}.py") for stage in VERBS}


@dataclass
class Watched:
    """The params.yaml of a project and what DVC watches of it."""

    file: Path
    dependencies: dict[str, ParamsDependency]

    def rerun_by(self, leaf: str, stages: list[str]) -> list[str]:
        """Those of the stages that DVC finds changed when the parameter is."""
        before = self.file.read_text()
        values = yaml.safe_load(before)
        *section, name = leaf.split(".")
        place = values[section[0]] if section else values
        place[name] = f"not {place[name]}"
        self.file.write_text(yaml.safe_dump(values))
        try:
            # Some are there only where their result is asked for.
            there = [stage for stage in stages if stage in self.dependencies]
            return [stage for stage in there if self.dependencies[stage].workspace_status()]
        finally:
            self.file.write_text(before)


EARLY = {
    "pool": {
        *("iterations", "prompts.per_iteration", "prompts.reuse", "prompts.constrained"),
        *("rank.ranker", "rank.second", "rankers.ensemble", "eval.judges", "eval.judged"),
    }
}
"""What a stage reads only to refuse what a later one, which runs again, would refuse: its own result stays the same."""


@pytest.fixture(scope="module")
def watched(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Watched]:
    """A project as DVC has it after a run, as far as parameters go."""
    project = new_project(tmp_path_factory.mktemp("watched") / "project")
    # So that the stages which are there only where they are asked for are there.
    asked = ["train.data=accumulated", "eval.ifeval=mine.jsonl", "lm_eval.tasks=[arc_easy]", "lm_eval.iterations=[3]"]
    asked.append("eval.judges=[specialist,likelihood,alpaca_eval]")
    asked += ["watch.stop=true", "export.iterations=[3]", "export.forms=[merged,gguf]"]
    asked.append("eval.preferences=data/preferences/examples/polite-held-out.jsonl")
    project.run(sys.executable, "-m", "stages.schedule", "--write", *asked)
    with Repo(str(project.folder)) as repo:
        found = {}
        for stage in repo.index.stages:
            for dependency in stage.deps:
                if isinstance(dependency, ParamsDependency):
                    dependency.save()
                    found[stage.name.split("@")[0]] = dependency
        yield Watched(project.folder / "params.yaml", found)


NUMBERS = (
    *("iterations", "lm_eval.iterations", "export.iterations", "export.forms", "export.gguf"),
    "eval.compare_with",
)
"""What says how many stages there are: no stage of a number or name runs again when there are others. Where a name's
answers lie is in `schedule.annotated`, which each stage watches for itself: tests/pipeline/test_annotated.py."""


@pytest.mark.parametrize("leaf", [leaf for leaf in LEAVES if leaf not in NUMBERS])
def test_a_stage_reads_the_parameter_and_runs_again_when_it_changes(
    leaf: str, readers: dict[str, set[str]], code: dict[str, set[str]], watched: Watched
) -> None:
    reading = [stage for stage in VERBS if code[stage] & readers[leaf]]
    assert reading, f"no stage reads {leaf}"
    assert watched.rerun_by(leaf, reading), f"{', '.join(reading)} would not run again"


@pytest.mark.parametrize("stage", VERBS)
def test_a_stage_runs_again_for_every_parameter_that_its_own_file_reads(
    stage: str, readers: dict[str, set[str]], watched: Watched
) -> None:
    own = {leaf for leaf, files in readers.items() if f"stages/{stage}.py" in files}
    own -= EARLY.get(stage, set()) | set(NUMBERS)
    assert [leaf for leaf in own if not watched.rerun_by(leaf, [stage])] == []


def test_another_number_of_iterations_is_another_number_of_stages(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    schedules: list[Any] = [OmegaConf.to_container(composed((f"iterations={n}",)))["schedule"] for n in (2, 4)]
    assert [list(found["iterations"]) for found in schedules] == [["1", "2"], ["1", "2", "3", "4"]]
