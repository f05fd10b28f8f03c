"""What is written is read by transformers 4 as by transformers 5."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from pairloop.files import records
from pairloop.models import chat, portable, references
from pairloop.models.random_model import write_random_model
from pairloop.params import Train
from pairloop.training import dpo
from pairloop.training.job import Job

pytestmark = pytest.mark.slow

READER = """
import json, sys, torch, transformers
from transformers import AutoModelForCausalLM, AutoTokenizer
assert transformers.__version__.startswith("4.57")
found, prompt = [], [{"role": "user", "content": "Why?"}]
for base, adapter in json.loads(sys.argv[1]):
    model = AutoModelForCausalLM.from_pretrained(base, dtype=torch.float32).eval()
    if adapter:
        from peft import PeftModel
        model = PeftModel.from_pretrained(model, adapter).merge_and_unload()
    ids = AutoTokenizer.from_pretrained(adapter or base).apply_chat_template(prompt, add_generation_prompt=True)
    with torch.no_grad():
        found.append([ids, model(torch.tensor([ids * 8])).logits[0, -1, :200].tolist()])
print(json.dumps(found))
"""


def read_by_version_4(packages: Path, models: list[tuple[Path, Path | None]]) -> Any:
    """Of each base and adapter: the ids of a prompt, and what comes after it, by transformers 4."""
    given = json.dumps([[str(path) if path else None for path in pair] for pair in models])
    settings = os.environ | {"PYTHONPATH": str(packages)}
    found = subprocess.run([sys.executable, "-c", READER, given], env=settings, capture_output=True, text=True)
    assert found.returncode == 0, found.stderr
    return json.loads(found.stdout)


def read_here(model: Any, tokenizer: Any) -> tuple[list[int], list[float]]:
    import torch

    ids = chat.encode_prompt(tokenizer, "Why?")
    with torch.no_grad():
        return ids, model.to("cpu")(torch.tensor([ids * 8])).logits[0, -1, :200].tolist()


def pinned(reference: str, sha256: str | None, folder: Path) -> Path:
    records.write_json(folder / "model.json", references.pin(reference, sha256, references.cache_root()))
    return folder


def trained(base: Path, out: Path, method: str) -> Path:
    turn = {"content": "Why?", "role": "user"}
    sides = {
        side: [turn, {"content": text, "role": "assistant"}] for side, text in (("chosen", "a"), ("rejected", "b"))
    }
    pairs = [{"prompt_id": "0", "prompt": "Why?", **sides}]
    params = Train(method=method, learning_rate=1e-2)
    job = Job(pairs, pairs, parent=base, base=base, params=params, dtype="float32", seed=0, iteration=1)
    dpo.train(job, out, out.parent / "scratch")
    return out


def test_transformers_4_reads_base_merged_and_full_weights_as_transformers_5(version_4: Path, tmp_path: Path) -> None:
    own = tmp_path / "own"
    own.mkdir()
    write_random_model(0, own)
    config = records.read_json(own / "config.json")
    del config["rope_theta"]
    config["rope_parameters"]["rope_theta"] = 100.0  # far from what is assumed where none is found
    records.write_json(own / "config.json", config)
    portable.make(own)
    tiny = pinned(str(own), None, tmp_path / "tiny")
    default = yaml.safe_load((Path(__file__).parents[2] / "params.yaml").read_text())["base"]
    base = pinned(default["model"], default["sha256"], tmp_path / "base")
    adapter, full = (trained(tiny, tmp_path / method, method) for method in ("lora", "full"))

    found = read_by_version_4(version_4, [(references.weights(base), None), (own, adapter), (full, None)])
    for (folder, relative_to), (ids, logits) in zip([(base, base), (adapter, tiny), (full, tiny)], found, strict=True):
        here = read_here(references.load_policy(folder, relative_to, "float32"), references.load_tokenizer(relative_to))
        assert ids == here[0]
        assert logits == pytest.approx(here[1], abs=1e-3)


def test_positions_that_are_scaled_are_written_for_both_versions(tmp_path: Path) -> None:
    scaled = {"rope_type": "llama3", "factor": 8.0, "rope_theta": 500000.0}
    records.write_json(tmp_path / "config.json", {"text_config": {"rope_parameters": scaled}})
    portable.make(tmp_path)
    assert records.read_json(tmp_path / "config.json")["text_config"] == {
        "rope_parameters": scaled,
        "rope_scaling": {"rope_type": "llama3", "factor": 8.0},
        "rope_theta": 500000.0,
    }


def test_further_special_tokens_keep_the_name_that_version_4_reads(tmp_path: Path) -> None:
    records.write_json(tmp_path / "tokenizer_config.json", {"extra_special_tokens": ["<a>"]})
    portable.make(tmp_path)
    assert records.read_json(tmp_path / "tokenizer_config.json") == {"additional_special_tokens": ["<a>"]}
