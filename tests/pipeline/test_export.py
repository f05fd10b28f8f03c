"""The stages that export models, and the lines that load what they made."""

import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from conftest import ROOT, Project, dry_make, new_project
from warm import Warm

from pairloop import params
from pairloop.errors import ParameterError
from stages.schedule import composed


def compose(project: Project, *changes: str) -> None:
    project.run(sys.executable, "-m", "stages.schedule", "--write", *changes)


@pytest.fixture(scope="module")
def exported(warm: Warm, tmp_path_factory: pytest.TempPathFactory) -> Project:
    """A project whose first iteration, an adapter, is exported by the commands of `make use`."""
    import torch
    from peft import LoraConfig, get_peft_model

    from pairloop.models import references
    from pairloop.training import output

    project = new_project(tmp_path_factory.mktemp("export") / "project", warm)
    project.run("dvc", "repro", "base")
    base, policy = (project.folder / f"models/iteration_{n}" for n in (0, 1))
    torch.manual_seed(0)
    settings = LoraConfig(task_type="CAUSAL_LM", r=2, lora_alpha=64, target_modules=["q_proj"], init_lora_weights=False)
    policy.mkdir()
    made = get_peft_model(references.load_model(base, "float32"), settings)
    output.write_adapter(made, output.base_name(base), "float32", policy)
    output.copy_tokenizer(base, policy)
    compose(project, "export.iterations=[1]", "export.forms=[adapter,merged]")
    project.run("dvc", "repro", "--single-item", "export")
    return project


@pytest.mark.slow
def test_each_form_of_a_model_is_versioned_and_holds_nothing_of_the_place(exported: Project) -> None:
    locked = yaml.safe_load((exported.folder / "dvc.lock").read_text())["stages"]
    outs = {name: stage["outs"][0]["path"] for name, stage in locked.items() if name.startswith("export")}
    assert outs == {
        "export@0-merged": "exports/iteration_0/merged",
        "export@1-adapter": "exports/iteration_1/adapter",
        "export@1-merged": "exports/iteration_1/merged",
    }
    for path in (exported.folder / "exports").rglob("*"):
        assert path.is_dir() or str(exported.folder).encode() not in path.read_bytes(), path


@pytest.mark.slow
def test_the_printed_lines_load_the_model_and_ask_it(exported: Project) -> None:
    printed = exported.run(sys.executable, "-m", "stages.use", "exports/iteration_1").stdout
    adapter, merged = printed.strip().split("\n\n")
    assert len(merged.splitlines()) == 3 and printed.endswith(f"{merged}\n")
    exported.run(sys.executable, "-c", merged, env={"HF_HUB_OFFLINE": "1"})
    exported.run(sys.executable, "-c", adapter, env={"HF_HUB_OFFLINE": "1"})


def test_there_are_no_exports_unless_they_are_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    assert composed().schedule.export == {}


def test_each_form_of_each_model_is_a_stage(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    asked = ("export.iterations=[0,3]", "export.forms=[gguf,adapter]", "export.gguf=[f16,q4_0]")
    # The base is needed for the adapter, and has none itself.
    found = list(composed(asked).schedule.export)
    assert found == ["0-merged", "0-gguf-f16", "0-gguf-q4_0", "3-gguf-f16", "3-gguf-q4_0", "3-adapter"]
    of_hub = composed((*asked, "base.model=hf:owner/name@main")).schedule.export
    assert "0-merged" not in of_hub and "3-adapter" in of_hub


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"export": {"iterations": [4]}}, "export.iterations has 4, but iterations is 3: there is no such model"),
        (
            {"export": {"iterations": [1], "forms": ["adapter"]}, "train": {"method": "full"}},
            "export.forms has adapter, but train.method is full",
        ),
    ],
)
def test_what_is_not_there_to_export_is_refused(values: dict[str, object], message: str) -> None:
    with pytest.raises(ParameterError, match=message):
        params.parse(values)


def make(*words: str) -> str:
    return dry_make("use", *words, f"PYTHON={sys.executable}")


def test_make_exports_and_ends_with_the_lines_that_load_it() -> None:
    said = make("ITERATION=1,3", "FORMS=merged,gguf")
    assert '"export.forms=[merged,gguf]"' in said and '"export.iterations=[1,3]"' in said
    assert said.rstrip().endswith("python -m stages.use exports/iteration_1 exports/iteration_3")
    assert "name an iteration: make use ITERATION=3" in make()


def test_nothing_exported_is_one_sentence(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "stages.use", str(tmp_path)]
    found = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert found.returncode == 1 and "nothing is exported there. `make use ITERATION=3`" in found.stderr
