"""What is exported is the model, in each form and for each tool that loads it by itself."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from architectures import write_decoder
from tokenizer_kinds import tokenizer

from pairloop import exporting
from pairloop.errors import ModelError
from pairloop.exporting import Exported, adapter, card, gguf_file, merged
from pairloop.files import records
from pairloop.models import extrapolated, portable, references
from pairloop.training import output
from pairloop.training.output import BaseName

pytestmark = pytest.mark.slow

BASE = BaseName("pypi:some-model==1.0", None, "Apache-2.0", "pypi")
SHAPES: dict[str, dict[str, Any]] = {
    "llama": {"attention_bias": True},
    "mistral": {"sliding_window": None},
    "qwen2": {"tie_word_embeddings": True},
    # The head's size is none that transformers reads from a file of this type: 128 is what it takes.
    "qwen3": {"head_dim": 128},
}


def base_of(folder: Path, kind: str = "llama", **changes: Any) -> Path:
    folder.mkdir(parents=True)
    return write_decoder(folder, kind, **changes)


def speaking(folder: Path, kind: str = "llama", words: str = "GPT-2", **changes: Any) -> Path:
    """A base whose tokenizer merges pairs, as the real ones do."""
    spoken = tokenizer(words)
    ends = dict.fromkeys(("eos_token_id", "pad_token_id"), spoken.eos_token_id)
    base_of(folder, kind, **{"vocab_size": len(spoken) + 3, "bos_token_id": None} | ends | changes)
    spoken.save_pretrained(folder)
    portable.make(folder)
    return folder


def adapted(base: Path, folder: Path) -> Path:
    """An adapter as training writes one, on the base in a folder, and large enough to be seen in every answer."""
    import torch
    from peft import LoraConfig, get_peft_model

    torch.manual_seed(2)
    settings = LoraConfig(
        task_type="CAUSAL_LM", r=2, lora_alpha=8, target_modules=["q_proj", "up_proj"], init_lora_weights=False
    )
    policy = get_peft_model(references.load_model(base, "float32"), settings)
    folder.mkdir()
    output.write_adapter(policy, BASE, "float32", folder)
    output.copy_tokenizer(base, folder)
    return folder


def logits(model: Any) -> Any:
    import torch

    with torch.no_grad():
        return model.eval()(torch.arange(5, 45)[None]).logits.float()


def loaded(folder: Path, **settings: Any) -> Any:
    from transformers import AutoModelForCausalLM

    return AutoModelForCausalLM.from_pretrained(folder, **settings)


def close(one: Any, other: Any, tolerance: float = 1e-3) -> bool:
    return bool((one - other).abs().max() < tolerance)


@pytest.fixture
def base(tmp_path: Path) -> Path:
    return base_of(tmp_path / "iteration_0")


@pytest.fixture
def policy(base: Path, tmp_path: Path) -> Path:
    return adapted(base, tmp_path / "iteration_1")


@pytest.fixture
def whole(policy: Path, base: Path, tmp_path: Path) -> Path:
    """The merged export in float32."""
    folder = tmp_path / "merged"
    folder.mkdir()
    merged.write(merged.load(policy, base), policy, base, "float32", folder)
    return folder


def test_merged_weights_are_the_policy_and_need_no_base(policy: Path, base: Path, whole: Path) -> None:
    ours = logits(references.load_policy(policy, base, "float32"))
    assert close(logits(loaded(whole)), ours) and not close(logits(loaded(base)), ours, 0.1)


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_merged_weights_are_rounded_once(policy: Path, base: Path, tmp_path: Path, dtype: str) -> None:
    import torch
    from safetensors.torch import load_file

    merged.write(merged.load(policy, base), policy, base, dtype, tmp_path)
    exact = references.load_policy(policy, base, "float32").state_dict()
    found = load_file(tmp_path / "model.safetensors")
    assert all(torch.equal(tensor, exact[name].to(getattr(torch, dtype))) for name, tensor in found.items())
    assert records.read_json(tmp_path / "config.json")["dtype"] == dtype


def test_every_token_that_ends_an_answer_stands_in_the_generation_settings(base: Path, tmp_path: Path) -> None:
    settings = records.read_json(base / "tokenizer_config.json")
    records.write_json(base / "tokenizer_config.json", settings | {"eos_token": "<|endoftext|>"})
    merged.write(merged.load(base, base), base, base, "float32", tmp_path)
    # The base's own, the tokenizer's, and the template's end of a turn.
    assert records.read_json(tmp_path / "generation_config.json")["eos_token_id"] == [0, 2]


def test_numbers_beyond_float16_are_refused_by_name(base: Path, tmp_path: Path) -> None:
    model = merged.load(base, base)
    model.model.embed_tokens.weight.data[3, 4] = 1e6
    with pytest.raises(ModelError, match=r"export\.dtype is float16: model\.embed_tokens\.weight holds numbers beyond"):
        merged.write(model, base, base, "float16", tmp_path)


def test_peft_finds_the_base_of_an_adapter_by_its_path(
    policy: Path, base: Path, whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from peft import AutoPeftModelForCausalLM

    monkeypatch.chdir(tmp_path)
    exported, own = Path("exports/iteration_0/merged"), Path("exports/iteration_1/adapter")
    for folder in (exported, own):
        folder.mkdir(parents=True)
    merged.write(merged.load(base, base), base, base, "float32", exported)
    adapter.write(policy, BASE, exported, own)
    ours = logits(loaded(whole))
    assert close(logits(AutoPeftModelForCausalLM.from_pretrained(own)), ours)
    assert close(logits(loaded(own)), ours)


def test_an_adapter_of_a_hub_model_names_it(policy: Path, tmp_path: Path) -> None:
    adapter.write(policy, BaseName("owner/name", "0" * 40, "mit", "hf"), Path("exports/iteration_0/merged"), tmp_path)
    found = records.read_json(tmp_path / "adapter_config.json")
    assert (found["base_model_name_or_path"], found["revision"]) == ("owner/name", "0" * 40)


def test_a_full_model_has_no_adapter_to_export(base: Path, tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"holds all weights, and no adapter.*take merged or gguf"):
        adapter.write(base, BASE, Path("exports/iteration_0/merged"), tmp_path)


def test_quantised_weights_are_not_merged(policy: Path, base: Path) -> None:
    config = records.read_json(base / "config.json")
    records.write_json(base / "config.json", config | {"quantization_config": {"quant_method": "gptq", "bits": 4}})
    with pytest.raises(ModelError, match=r"its weights are quantised.*can be adapter alone"):
        merged.load(policy, base)


def test_an_export_moves_on_by_what_training_has_changed(policy: Path, base: Path, tmp_path: Path) -> None:
    with exporting.moved(policy, base, 0.5, tmp_path) as folder:
        ours = merged.load(folder, base).state_dict()
    start, end = (references.load_policy(own, base, "float32").state_dict() for own in (base, policy))
    assert all(close(ours[name], start[name] + 1.5 * (end[name] - start[name]), 1e-4) for name in ours)


def test_what_cannot_be_moved_on_names_the_parameter_of_exports(policy: Path, base: Path, tmp_path: Path) -> None:
    config = records.read_json(policy / "adapter_config.json")
    records.write_json(policy / "adapter_config.json", config | {"use_dora": True})
    with (
        pytest.raises(ModelError, match=r"Leave export\.extrapolate empty"),
        exporting.moved(policy, base, 0.5, tmp_path),
    ):
        raise AssertionError
    with pytest.raises(ModelError, match=r"eval\.extrapolate"), extrapolated.moved(policy, base, 0.5, tmp_path):
        raise AssertionError


def test_an_export_takes_the_place_of_an_older_one_when_it_is_whole(tmp_path: Path) -> None:
    out = tmp_path / "exports" / "merged"
    out.mkdir(parents=True)
    (out / "old").write_text("")
    with pytest.raises(ValueError), exporting.whole(out) as folder:
        (folder / "new").write_text("")
        raise ValueError
    assert [path.name for path in out.parent.rglob("*")] == ["merged", "old"]
    with exporting.whole(out) as folder:
        (folder / "new").write_text("")
    assert [path.name for path in out.parent.rglob("*")] == ["merged", "new"]


def test_a_card_is_valid_and_names_a_base_only_where_the_hub_has_it(tmp_path: Path) -> None:
    from huggingface_hub import ModelCard

    card.write(Exported(3, BASE, "merged", "float32", 0.5), tmp_path)
    found = ModelCard.load(tmp_path / "README.md")
    assert found.data.base_model is None and found.data.license == "apache-2.0"
    assert found.data.library_name == "transformers"
    assert "# pypi:some-model==1.0, iteration 3 of DPO, moved on by 0.5\n" in found.content
    card.write(Exported(3, BaseName("owner/name", None, "mit", "hf"), "gguf-q8_0", "q8_0"), tmp_path, "a.gguf")
    found = ModelCard.load(tmp_path / "README.md")
    assert (found.data.base_model, found.data.library_name) == ("owner/name", "gguf")
    assert "llama-server --model ./a.gguf" in found.content


# GGUF


@pytest.fixture
def spoken(tmp_path: Path) -> Path:
    return speaking(tmp_path / "base")


def gguf(base: Path, folder: Path, dtype: str = "f16", model: Any = None) -> dict[str, Any]:
    """Write a model as GGUF; what transformers needs to load it."""
    folder.mkdir(exist_ok=True)
    model = model or merged.load(base, base)
    gguf_file.write(
        model, references.load_tokenizer(base), Exported(1, BASE, f"gguf-{dtype}", dtype), folder / "a.gguf"
    )
    return {"pretrained_model_name_or_path": folder, "gguf_file": "a.gguf"}


@pytest.mark.parametrize(("kind", "words"), [*((kind, "GPT-2") for kind in SHAPES), ("mistral", "Mistral")])
def test_a_gguf_file_is_the_model_for_transformers(kind: str, words: str, tmp_path: Path) -> None:
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    base = speaking(tmp_path / "base", kind, words, **SHAPES[kind])
    place = gguf(base, tmp_path / "gguf")
    found = AutoModelForCausalLM.from_pretrained(**place, dtype=torch.float32)
    assert close(logits(found), logits(loaded(base)), 0.05)
    theirs, ours = AutoTokenizer.from_pretrained(**place), references.load_tokenizer(base)
    turn = [{"role": "user", "content": "Hello 12 é  then on"}]
    assert theirs.apply_chat_template(turn, tokenize=False) == ours.apply_chat_template(turn, tokenize=False)
    assert theirs.apply_chat_template(turn)["input_ids"] == ours.apply_chat_template(turn)["input_ids"]
    assert [theirs.eos_token_id, theirs.pad_token_id] == [ours.eos_token_id, ours.pad_token_id]
    # transformers 4 needs one that begins a text, and no text begins with it.
    assert ours.bos_token_id is None and theirs.bos_token_id == ours.eos_token_id
    assert theirs("Why?")["input_ids"] == ours("Why?")["input_ids"]


@pytest.mark.parametrize(("dtype", "error"), [("q8_0", 0.01), ("q4_0", 0.15)])
def test_quantised_weights_are_near_the_model(spoken: Path, tmp_path: Path, dtype: str, error: float) -> None:
    import torch
    from transformers import AutoModelForCausalLM

    model = merged.load(spoken, spoken)
    place = gguf(spoken, tmp_path / "gguf", dtype)
    found = AutoModelForCausalLM.from_pretrained(**place, dtype=torch.float32).state_dict()
    for name, weight in model.state_dict().items():
        off = (found[name] - weight).norm() / weight.norm()
        assert off < error and (weight.dim() > 1) == bool(off > 0), name


def test_equal_models_give_equal_files(spoken: Path, tmp_path: Path) -> None:
    for name in ("one", "two"):
        gguf(spoken, tmp_path / name, "q4_0")
    assert (tmp_path / "one" / "a.gguf").read_bytes() == (tmp_path / "two" / "a.gguf").read_bytes()


def test_rows_that_cannot_be_cut_into_blocks_are_refused(tmp_path: Path) -> None:
    base = speaking(tmp_path / "base", hidden_size=48)
    with pytest.raises(ModelError, match=r"q4_0 takes 32 numbers of a row at a time, and its rows have 48"):
        gguf(base, tmp_path / "gguf", "q4_0")


def test_a_model_type_without_a_form_in_gguf_is_refused(tmp_path: Path) -> None:
    base = base_of(tmp_path / "base", "gpt_neox")
    with pytest.raises(ModelError, match=r"model type gpt_neox\. Known: llama, mistral, qwen2, qwen3"):
        gguf(base, tmp_path / "gguf")


def test_rotary_positions_without_a_form_in_gguf_are_refused(tmp_path: Path) -> None:
    rope = {"rope_type": "yarn", "rope_theta": 1e4, "factor": 4.0, "original_max_position_embeddings": 128}
    base = speaking(tmp_path / "base", rope_parameters=rope)
    with pytest.raises(ModelError, match=r"rotary positions of the type yarn"):
        gguf(base, tmp_path / "gguf")


def test_the_frequencies_of_llama_3_are_those_of_transformers(tmp_path: Path) -> None:
    import gguf as package
    import torch

    rope = {"rope_type": "llama3", "rope_theta": 5e5, "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0}
    rope |= {"original_max_position_embeddings": 64}
    base = speaking(tmp_path / "base", rope_parameters=rope)
    gguf(base, tmp_path / "gguf")
    [stored] = [t for t in package.GGUFReader(tmp_path / "gguf/a.gguf").tensors if t.name == "rope_freqs.weight"]
    plain = 5e5 ** -(torch.arange(0, 16, 2) / 16)
    assert close(plain / torch.tensor(stored.data), loaded(base).model.rotary_emb.inv_freq, 1e-6)


def test_numbers_beyond_float16_are_refused_in_a_gguf_file_too(spoken: Path, tmp_path: Path) -> None:
    model = merged.load(spoken, spoken)
    model.model.embed_tokens.weight.data[3, 4] = 1e6
    with pytest.raises(ModelError, match=r"token_embd\.weight: holds numbers beyond float16"):
        gguf(spoken, tmp_path / "gguf", model=model)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("Qwen", r"llama\.cpp has no name for how this tokenizer cuts text"),
        ("RoBERTa, a space before the first word", r"llama\.cpp has no name for how this tokenizer cuts text"),
        ("T5", r"written for a tokenizer of byte pairs only; this is Unigram"),
    ],
)
def test_a_tokenizer_without_a_form_in_gguf_is_refused(words: str, said: str, tmp_path: Path) -> None:
    base = speaking(tmp_path / "base", words=words)
    with pytest.raises(ModelError, match=said):
        gguf(base, tmp_path / "gguf")


def test_a_tokenizer_that_merges_nothing_is_refused(base: Path, tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="merges no pairs"):
        gguf(base, tmp_path / "gguf")


def test_a_sliding_window_is_the_longest_context(tmp_path: Path) -> None:
    import gguf as package

    base = speaking(tmp_path / "base", "mistral", sliding_window=24)
    gguf(base, tmp_path / "gguf")
    field = package.GGUFReader(tmp_path / "gguf/a.gguf").fields["llama.context_length"]
    assert field.contents() == 24


# transformers 4


READER = """
import json, sys, torch, transformers
from transformers import AutoModelForCausalLM, AutoTokenizer
assert transformers.__version__.startswith("4.57")
merged, gguf = sys.argv[1:]
found = []
for folder, file in ((merged, {}), (gguf, {"gguf_file": "a.gguf"})):
    place = {"pretrained_model_name_or_path": folder} | file
    model = AutoModelForCausalLM.from_pretrained(**place, dtype=torch.float32).eval()
    with torch.no_grad():
        found.append(model(torch.arange(5, 45)[None]).logits[0, -1].tolist())
    turn = [{"role": "user", "content": "Why?"}]
    found[-1] += AutoTokenizer.from_pretrained(**place).apply_chat_template(turn, add_generation_prompt=True)
print(json.dumps([found, AutoModelForCausalLM.from_pretrained(merged).generation_config.eos_token_id]))
"""


def test_transformers_4_reads_the_exports(spoken: Path, tmp_path: Path, version_4: Path) -> None:
    import torch

    whole = tmp_path / "merged"
    whole.mkdir()
    gguf(spoken, tmp_path / "gguf")
    merged.write(merged.load(spoken, spoken), spoken, spoken, "float32", whole)
    command = [sys.executable, "-c", READER, str(whole), str(tmp_path / "gguf")]
    settings = os.environ | {"PYTHONPATH": str(version_4)}
    said = subprocess.run(command, env=settings, capture_output=True, text=True)
    assert said.returncode == 0, said.stderr
    found, ends = json.loads(said.stdout.splitlines()[-1])
    turn = [{"role": "user", "content": "Why?"}]
    ids = references.load_tokenizer(whole).apply_chat_template(turn, add_generation_prompt=True)["input_ids"]
    ours = torch.tensor([*logits(loaded(whole))[0, -1].tolist(), *ids])
    assert all(close(torch.tensor(theirs), ours, 0.05) for theirs in found)
    assert ends == records.read_json(whole / "generation_config.json")["eos_token_id"]
