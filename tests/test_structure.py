"""The two rooms, and that a stage's declared dependencies hold every module that can change its result."""

import ast
import subprocess
import sys
import time
from graphlib import TopologicalSorter
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[1]
VERBS = sorted(path.stem for path in (ROOT / "stages").glob("*.py") if path.stem not in ("__init__", "common"))
STAGES = yaml.safe_load((ROOT / "dvc.yaml").read_text())["stages"]

PLUMBING = {
    "pairloop/errors.py",  # messages
    "pairloop/params",  # values are declared as DVC params
    "pairloop/files/disk.py",  # messages
    "pairloop/files/locks.py",  # who may write, never what
    "pairloop/files/records.py",  # formats are a contract that a golden test holds
    "pairloop/models/fetch.py",  # what it brings is checked by checksum: models/iteration_0, fingerprints of shards
    "pairloop/models/portable.py",  # likewise; base and train, which write with it, declare it
    "pairloop/models/random_model.py",  # likewise
    "pairloop/models/stored.py",  # likewise
    "pairloop/work/threads.py",  # how threads wait, never what they compute
    "stages/common.py",  # paths, clock and progress bar
}
"""Modules that a stage may reach without declaring them: their code cannot change a result."""

WRITTEN = ("pairloop", "stages", "benchmarks", "conf")
"""Folders of code that runs outside of tests."""

PLACES = (
    *("errors", "params", "files", "models", "work", "measures", "prompts", "samplers", "rankers", "pairing"),
    *("training", "evaluation", "report", "cards", "hub", "exporting", "comparing", "planning", "serving"),
)
"""The places of pairloop in order: each may import itself and those before it."""


def module_file(name: str) -> Path | None:
    path = ROOT / Path(*name.split("."))
    for found in (path.with_suffix(".py"), path / "__init__.py"):
        if found.is_file():
            return found
    return None


def imported(path: Path) -> set[Path]:
    """Files of this project that a file imports anywhere in its code."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert not node.level, f"{path}: a relative import"
            whole = {f"{node.module}.{alias.name}" for alias in node.names}
            names |= {name if module_file(name) else str(node.module) for name in whole}
    return {file for name in names if name.startswith(("pairloop", "stages")) and (file := module_file(name))}


def run_by(path: Path) -> set[Path]:
    """The same and what their import runs: importing a.b.c runs a and a.b too."""
    packages = (folder / "__init__.py" for file in imported(path) for folder in file.parents if folder != ROOT)
    return imported(path) | {file for file in packages if file.is_file()}


def place(path: Path) -> int:
    """Where in PLACES a file of pairloop stands; -1 for pairloop/__init__.py."""
    name = path.relative_to(ROOT / "pairloop").parts[0].removesuffix(".py")
    return -1 if name == "__init__" else PLACES.index(name)


def says_only_what_it_is(path: Path) -> bool:
    """Whether a module is nothing but its docstring."""
    body = ast.parse(path.read_text()).body
    return len(body) == 1 and isinstance(body[0], ast.Expr)


def reached(path: Path) -> set[str]:
    """Every file of this project that a verb can run and that does something."""
    seen: set[Path] = set()
    todo = [path]
    while todo:
        file = todo.pop()
        if file not in seen:
            seen.add(file)
            todo += run_by(file)
    return {str(file.relative_to(ROOT)) for file in seen if not says_only_what_it_is(file)}


def covered(file: str, declared: set[str]) -> bool:
    return any(file == name or file.startswith(f"{name}/") for name in declared)


@pytest.mark.parametrize("stage", STAGES)
def test_a_stage_declares_every_module_that_can_change_its_result(stage: str) -> None:
    body = STAGES[stage].get("do", STAGES[stage])
    assert not {
        file for file in reached(ROOT / "stages" / f"{stage}.py") if not covered(file, {*body["deps"], *PLUMBING})
    }


@pytest.mark.parametrize("stage", STAGES)
def test_a_stage_declares_no_module_that_it_does_not_reach(stage: str) -> None:
    body = STAGES[stage].get("do", STAGES[stage])
    files = reached(ROOT / "stages" / f"{stage}.py")
    for name in body["deps"]:
        if name.startswith(("pairloop", "stages")):
            held = [ROOT / name] if name.endswith(".py") else sorted((ROOT / name).rglob("*.py"))
            assert held and {str(path.relative_to(ROOT)) for path in held if not says_only_what_it_is(path)} <= files


def test_the_library_knows_nothing_of_the_stages_dvc_or_the_project() -> None:
    for path in (ROOT / "pairloop").rglob("*.py"):
        source = path.read_text()
        assert not any(str(file).startswith(str(ROOT / "stages")) for file in imported(path)), path
        assert "params.yaml" not in "".join(line for line in source.splitlines() if "open(" in line or "Path(" in line)
        tree = ast.parse(source)
        names = {
            alias.name.split(".")[0] for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names
        }
        names |= {n.module.split(".")[0] for n in ast.walk(tree) if isinstance(n, ast.ImportFrom) and n.module}
        assert not names & {"dvc", "dvclive", "hydra"}, path


def test_no_module_is_longer_than_300_lines() -> None:
    long = {
        str(path.relative_to(ROOT)): lines
        for folder in WRITTEN
        for path in (ROOT / folder).rglob("*.py")
        if (lines := path.read_text().count("\n")) > 300
    }
    assert not long


def test_no_place_of_the_library_imports_a_later_one() -> None:
    upwards = {
        (str(path.relative_to(ROOT)), str(found.relative_to(ROOT)))
        for path in (ROOT / "pairloop").rglob("*.py")
        for found in imported(path)
        if place(found) > place(path)
    }
    assert not upwards


def test_no_import_goes_round_in_a_circle() -> None:
    paths = [path for folder in ("pairloop", "stages") for path in (ROOT / folder).rglob("*.py")]
    TopologicalSorter({path: imported(path) for path in paths}).prepare()


def test_no_function_is_longer_than_40_lines() -> None:
    long = {
        (str(path.relative_to(ROOT)), node.name): lines
        for folder in WRITTEN
        for path in (ROOT / folder).rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        and (lines := node.end_lineno - node.lineno + 1) > 40
    }
    assert not long


@pytest.mark.parametrize("verb", VERBS)
def test_help_is_fast_and_says_something(verb: str) -> None:
    start = time.perf_counter()
    found = subprocess.run(
        [sys.executable, "-X", "importtime", "-m", f"stages.{verb}", "--help"], cwd=ROOT, capture_output=True, text=True
    )
    seconds = time.perf_counter() - start
    assert found.returncode == 0 and "Usage" in found.stdout and len(found.stdout) > 80
    heavy = {"torch", "transformers", "trl", "peft", "datasets", "numpy", "pyarrow", "scipy", "sklearn", "altair"}
    loaded = {line.split("|")[-1].strip().split(".")[0] for line in found.stderr.splitlines() if "|" in line}
    assert not heavy & loaded
    assert seconds < 1.5  # half a second on an idle machine: what is imported, above, is the real check


def test_nothing_runs_a_shell_a_pickle_or_code_that_comes_with_a_model() -> None:
    for folder in ("pairloop", "stages", "benchmarks"):
        for path in (ROOT / folder).rglob("*.py"):
            source = path.read_text()
            for forbidden in ("shell=True", "os.system", "trust_remote_code=True", "import pickle", "torch.load("):
                assert forbidden not in source, f"{path}: {forbidden}"
