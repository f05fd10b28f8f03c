"""The environments that make makes: which one runs the pipeline, and that the lock for GPUs holds what is asked for."""

import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
LOCK = (ROOT / "requirements-gpu.lock").read_text().splitlines()
EXTRAS = ("dev", "ray", "vllm", "qlora", "ifeval")
WRITTEN = [
    *(path for folder in ("docs", "pairloop", "stages", "benchmarks", "conf") for path in (ROOT / folder).rglob("*")),
    *ROOT.glob("*.md"),
    *ROOT.glob("data/*/*.md"),
]


def test_the_lock_for_gpus_satisfies_what_pyproject_asks_for() -> None:
    locked = dict(line.split("==") for line in LOCK if not line.startswith("#"))
    found = {canonicalize_name(name): version for name, version in locked.items()}
    wanted = [*PROJECT["dependencies"], *(one for extra in EXTRAS for one in PROJECT["optional-dependencies"][extra])]
    for requirement in map(Requirement, wanted):
        assert requirement.specifier.contains(found[canonicalize_name(requirement.name)]), requirement


def test_the_lock_for_gpus_names_versions_only_and_torch_for_cuda() -> None:
    assert not [line for line in LOCK if not re.fullmatch(r"#.*|[\w.-]+==[\w.]+", line)]
    assert any(line.startswith("nvidia-cudnn") for line in LOCK)


@pytest.mark.parametrize(("gpu", "environment"), [("", ".venv"), ("GPU 0: NVIDIA H100 80GB HBM3", ".venv-gpu")])
def test_the_pipeline_runs_in_the_environment_for_gpus_where_there_is_one(gpu: str, environment: str) -> None:
    command = ["make", "--dry-run", "repro", f"GPU={gpu}", f"PYTHON={sys.executable}", "VENV=.venv"]
    said = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    assert f'PATH="{ROOT}/{environment}/bin:$PATH" dvc repro' in said


def test_no_page_and_no_message_installs_pairloop_from_an_index_which_has_none() -> None:
    for path in WRITTEN:
        if path.is_file() and path.suffix in (".md", ".py", ".jinja", ".yaml"):
            text = path.read_text(encoding="utf-8")
            assert not re.search(r"pairloop\[[\w-]+\]|pip install pairloop\b", text), path
