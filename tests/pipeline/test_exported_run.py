"""A run with exports: made in a fresh clone from what a remote has, uploaded to a hub, and what is published of it."""

import hashlib
import re
import shlex
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from conftest import Project, dry_make
from hub_server import TOKEN, Hub

from stages import publish

UPLOAD = (sys.executable, "-m", "stages.upload", "--to", "hf:me/tuned", "--what", "export", "--iteration", "1")
QUESTION = [{"role": "user", "content": "Name a fruit."}]
PUBLISH = (sys.executable, "-m", "stages.publish")


@dataclass(frozen=True)
class Taken:
    """What `make use` did in a fresh clone, and what lay there after it, before the rest of the run was pulled."""

    clone: Project
    printed: str
    models: list[str]
    data: list[str]
    stored: set[str]
    """What the remote held of the run before."""


def cloned(project: Project, folder: Path) -> Project:
    subprocess.run(["git", "clone", "-q", str(project.folder), str(folder)], check=True)
    clone = Project(folder)
    assert not (folder / ".dvc" / "cache").exists() and not (folder / "models").exists()
    for key, value in (("user.name", "t"), ("user.email", "t@example.org")):
        clone.run("git", "config", key, value)
    return clone


def use(clone: Project, iteration: int, forms: str) -> str:
    """Do what `make use` does; what it prints."""
    said = dry_make("use", f"ITERATION={iteration}", f"FORMS={forms}", f"PYTHON={sys.executable}")
    lines = [line for line in said.replace("\\\n", "").splitlines() if line.startswith(("python -m stages.", "dvc "))]
    assert len(lines) == 3
    return "".join(clone.run(*shlex.split(line)).stdout for line in lines)


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


@pytest.fixture(scope="module")
def taken(reproduced: Project, tmp_path_factory: pytest.TempPathFactory) -> Taken:
    folder = tmp_path_factory.mktemp("taken")
    project = reproduced.copy(folder / "project")
    project.run("dvc", "remote", "add", "--default", "mine", str(folder / "remote"))
    project.run("dvc", "push")
    project.commit("Name a remote")
    clone = cloned(project, folder / "clone")
    printed = use(clone, 1, "merged,adapter")
    found = Taken(
        clone, printed, names(clone.folder / "models"), names(clone.folder / "data"), stored(folder / "remote")
    )
    # As docs/export.md has it: what else the run consists of, before a commit.
    clone.run("dvc", "pull")
    (clone.folder / publish.PARAMETERS).write_text(publish.parameters(parameters(clone)))
    clone.run("dvc", "repro")
    clone.commit("Export the first iteration")
    return found


def parameters(project: Project) -> dict[str, Any]:
    import yaml

    return dict(yaml.safe_load((project.folder / "params.yaml").read_text()))


def logits(model: Any) -> Any:
    import torch

    with torch.no_grad():
        return model.eval()(torch.arange(5, 45)[None]).logits


def test_a_fresh_clone_gets_the_models_from_the_remote_and_trains_nothing(reproduced: Project, taken: Taken) -> None:
    ran = re.findall(r"Running stage '(.+?)'", taken.printed)
    assert ran == ["export@0-merged", "export@1-merged", "export@1-adapter"]
    assert taken.models == ["iteration_0", "iteration_1"]
    assert taken.data == ["README.md", "preferences", "prompts"]
    ours, theirs = (contents(one.folder / "models" / "iteration_1") for one in (reproduced, taken.clone))
    assert ours == theirs
    assert taken.printed.endswith('print(answer[0]["generated_text"][-1]["content"])\n')


def test_an_export_that_the_remote_has_is_pulled_and_not_made(taken: Taken, tmp_path: Path) -> None:
    taken.clone.run("dvc", "push")
    other = cloned(taken.clone, tmp_path / "other")
    assert "Running stage" not in use(other, 1, "merged,adapter")
    for form in ("merged", "adapter"):
        place = Path("exports", "iteration_1", form)
        assert contents(other.folder / place) == contents(taken.clone.folder / place)


def test_a_dry_run_lists_an_exports_files(taken: Taken) -> None:
    said = taken.clone.run(*UPLOAD, "--form", "merged", "--dry-run").stdout
    kept = contents(taken.clone.folder / "exports" / "iteration_1" / "merged")
    listed = {line.split()[-1]: line.split()[0] for line in said.splitlines()[:-1]}
    assert listed.keys() == kept.keys() and "This was a dry run: nothing was sent." in said
    assert listed["model.safetensors"] == hashlib.sha256(kept["model.safetensors"]).hexdigest()


@pytest.mark.parametrize("form", ["merged", "adapter"])
def test_an_export_comes_back_from_the_hub_and_is_the_model(
    form: str, taken: Taken, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    from pairloop.models import references

    server = Hub()
    try:
        env = {"HF_ENDPOINT": server.url, "HF_TOKEN": TOKEN, "HF_HUB_DISABLE_XET": "1"}
        taken.clone.run(*UPLOAD, "--form", form, env=env)
    finally:
        server.close()
    files = server.repositories["models/me/tuned"].files
    for name in set(files) - {".gitattributes"}:
        (tmp_path / name).write_bytes(files[name])
    kept = contents(taken.clone.folder / "exports" / "iteration_1" / form)
    assert contents(tmp_path) | {"README.md": b""} == kept | {"README.md": b""}
    assert "of the model of iteration 1 as it was trained" in (tmp_path / "README.md").read_text()
    base, policy = (taken.clone.folder / "models" / f"iteration_{n}" for n in (0, 1))
    ours = logits(references.load_policy(policy, base, "float32"))
    monkeypatch.chdir(taken.clone.folder)  # the adapter's base is named by its path in the project
    assert torch.allclose(logits(AutoModelForCausalLM.from_pretrained(tmp_path)), ours, atol=1e-4)
    assert not torch.allclose(logits(references.load_model(base, "float32")), ours, atol=1e-2)
    assert "user" in AutoTokenizer.from_pretrained(tmp_path).apply_chat_template(QUESTION, tokenize=False)


def test_an_export_that_is_no_longer_asked_for_is_not_uploaded(taken: Taken, tmp_path: Path) -> None:
    """It lies there still, and in dvc.lock, but of whichever model it was made."""
    project = taken.clone.copy(tmp_path / "project")
    project.run(sys.executable, "-m", "stages.schedule", "--write", "export.forms=[merged]")
    found = project.run(*UPLOAD, "--form", "adapter", "--dry-run", check=False)
    assert (project.folder / "exports" / "iteration_1" / "adapter").is_dir() and found.returncode == 1
    assert "params.yaml has no such export of iteration 1. Run make use ITERATION=1 FORMS=adapter" in found.stderr


def test_no_export_goes_into_the_repository_and_the_way_out_is_named(taken: Taken, tmp_path: Path) -> None:
    project = taken.clone.copy(tmp_path / "project")
    found = project.run(*PUBLISH, check=False)
    assert found.returncode == 1 and "Traceback" not in found.stderr
    assert "the run has 3 exports, the first is export@0-merged, and published/ takes none" in found.stderr
    assert not (project.folder / "published").exists() and not project.run("git", "status", "--porcelain").stdout
    [way_out] = re.findall(r"Needed: python (-m stages.schedule .+?), `dvc repro`", found.stderr)
    project.run(sys.executable, *shlex.split(way_out))
    assert parameters(project)["schedule"]["export"] == {}
    assert (project.folder / "exports" / "iteration_1" / "merged").is_dir()


def test_exports_are_pushed_to_a_remote_for_others_and_left_out_of_the_repository(taken: Taken, tmp_path: Path) -> None:
    project = taken.clone.copy(tmp_path / "project")
    said = project.run(*PUBLISH, "--to", str(tmp_path / "pushed")).stdout
    assert "published/ is without the 3 exports, which `dvc pull` brings from where TO is.\n" in said
    assert stored(project.folder / "published") == taken.stored < stored(tmp_path / "pushed")
    model = (project.folder / "exports" / "iteration_1" / "merged" / "model.safetensors").read_bytes()
    assert hashlib.md5(model).hexdigest() in stored(tmp_path / "pushed")


def stored(remote: Path) -> set[str]:
    """Checksums of what a remote holds."""
    return {f"{path.parent.name}{path.name}" for path in (remote / "files" / "md5").rglob("*") if path.is_file()}
