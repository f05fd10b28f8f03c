"""vLLM and lm-eval load merged weights as any model of the hub."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from test_exports import base_of

from pairloop.exporting import merged

VLLM = """
import sys
from vllm import LLM, SamplingParams
if __name__ == "__main__":
    model = LLM(sys.argv[1], max_model_len=256, enforce_eager=True, enable_prefix_caching=False)
    turn = [{"role": "user", "content": "Name a fruit."}]
    [answer] = model.chat(turn, SamplingParams(temperature=0, max_tokens=8), use_tqdm=False)
    print("ids", list(answer.outputs[0].token_ids))
"""


@pytest.fixture
def whole(tmp_path: Path) -> Path:
    base, folder = base_of(tmp_path / "base", head_dim=32), tmp_path / "merged"
    folder.mkdir()
    merged.write(merged.load(base, base), base, base, "float32", folder)
    return folder


@pytest.mark.vllm
def test_vllm_answers_with_merged_weights(whole: Path, tmp_path: Path) -> None:
    from transformers import AutoModelForCausalLM, AutoTokenizer

    (tmp_path / "ask.py").write_text(VLLM)
    settings = os.environ | {"VLLM_CPU_KVCACHE_SPACE": "1", "HF_HUB_OFFLINE": "1"}
    command = [sys.executable, str(tmp_path / "ask.py"), str(whole)]
    said = subprocess.run(command, env=settings, capture_output=True, text=True)
    assert said.returncode == 0, said.stderr
    model, tokenizer = AutoModelForCausalLM.from_pretrained(whole), AutoTokenizer.from_pretrained(whole)
    turn = [{"role": "user", "content": "Name a fruit."}]
    ids = tokenizer.apply_chat_template(turn, add_generation_prompt=True, return_tensors="pt")
    ours = model.generate(**ids, max_new_tokens=8, do_sample=False)[0, ids["input_ids"].shape[1] :].tolist()
    assert f"ids {ours}" in said.stdout


@pytest.mark.clients
def test_lm_eval_takes_merged_weights_by_their_folder(whole: Path) -> None:
    from lm_eval.models.huggingface import HFLM

    model = HFLM(pretrained=str(whole), device="cpu", batch_size=1)
    assert model.tokenizer.chat_template and model.model.config.model_type == "llama"
