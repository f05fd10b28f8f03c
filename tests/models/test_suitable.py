"""A base that would stop the loop later is refused where it is made; one that only looks unusual is not."""

import errno
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click
import pytest
import yaml
from click.testing import CliRunner
from tokenizers import Tokenizer

from pairloop.errors import ModelError
from pairloop.files import records
from pairloop.models import chat, references, suitable
from pairloop.models.random_model import write_random_model
from pairloop.params import Train
from pairloop.rankers.specialist.hidden import HiddenStates
from pairloop.samplers import Request, Sampling
from pairloop.samplers.transformers import TransformersSampler
from pairloop.training import dpo
from pairloop.training.job import Job
from stages import common

SIZES = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 2}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A base of one's own: the tiny random model's files, to be changed."""
    made = tmp_path / "model"
    made.mkdir()
    write_random_model(0, made)
    return made


def edit(path: Path, **changes: Any) -> None:
    records.write_json(path, records.read_json(path) | changes)


def pin_and_check(folder: Path, targets: tuple[str, ...] | None = None) -> None:
    references.pin(str(folder), None, folder.parent)
    suitable.check(str(folder), folder, targets)


def no_eos(folder: Path) -> None:
    edit(folder / "tokenizer_config.json", eos_token=None, pad_token=None)


def more_tokens(folder: Path) -> None:
    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    content = json.loads(tokenizer.to_str())
    content["model"]["vocab"] |= {"ab": 259}
    (folder / "tokenizer.json").write_text(json.dumps(content))


def template(text: str) -> Callable[[Path], None]:
    return lambda folder: (folder / "chat_template.jinja").write_text(text) and None


def named_templates(folder: Path) -> None:
    (folder / "chat_template.jinja").unlink()
    edit(
        folder / "tokenizer_config.json",
        chat_template=[{"name": "tool_use", "template": "x"}, {"name": "rag", "template": "y"}],
    )


def lfs_pointer(folder: Path) -> None:
    (folder / "model.safetensors").write_text("version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 9\n")


def half(folder: Path) -> None:
    path = folder / "model.safetensors"
    path.write_bytes(path.read_bytes()[:20_000])


def missing_part(folder: Path) -> None:
    records.write_json(folder / "model.safetensors.index.json", {"weight_map": {"a": "model-2-of-2.safetensors"}})


def dangling(folder: Path) -> None:
    (folder / "generation.json").symlink_to("gone")


REFUSED: list[tuple[Callable[[Path], None], str]] = [
    (no_eos, "the tokenizer has no token that ends an answer. Name one as eos_token"),
    (more_tokens, "vocabulary has token 259, but the model's embedding has 259 rows"),
    (lambda f: edit(f / "generation_config.json", eos_token_id=[2, 300]), r"generation_config\.json has token 300"),
    (lambda f: edit(f / "config.json", eos_token_id=300), r"config\.json has token 300"),
    (template("{{ raise_exception('only systems may speak') }}"), r"cannot be rendered .*only systems may speak"),
    (template("{{ messages[0]['content'] + 1 }}"), "cannot be rendered for a user's turn"),
    (template("{% for %}"), "cannot be rendered for a user's turn"),
    (template("always the same"), "leaves out the user's text"),
    (named_templates, "multiple chat templates with no default"),
    (lfs_pointer, r"cannot be opened as safetensors .*run `git lfs pull`"),
    (half, r"model\.safetensors cannot be opened as safetensors .*Fetch or copy it again"),
    (missing_part, r"model-2-of-2\.safetensors, which .* names, is missing"),
    (dangling, "is a link to gone, which does not exist"),
    (lambda f: edit(f / "config.json", model_type="unheard"), r"config\.json cannot be read"),
    (lambda f: (f / "generation_config.json").write_text("{") and None, r"generation_config\.json: is no JSON object"),
    (lambda f: (f / "config.json").write_text("[") and None, r"config\.json"),
    (lambda f: (f / "tokenizer.json").write_text("{}") and None, "the tokenizer cannot be loaded"),
    (lambda f: (f / "tokenizer.json").write_text("{") and None, "the tokenizer cannot be loaded"),
]


@pytest.mark.parametrize(("spoil", "message"), REFUSED)
def test_what_would_stop_the_loop_is_one_sentence(folder: Path, spoil: Callable[[Path], None], message: str) -> None:
    spoil(folder)
    with pytest.raises(ModelError, match=message) as error:
        pin_and_check(folder)
    assert "\n" not in error.value.message


def test_the_stage_base_refuses_a_name_that_no_layer_has(folder: Path) -> None:
    pin_and_check(folder, ("q_proj", "down_proj"))
    with pytest.raises(ModelError, match=r"no linear layer c_attn, lm_head\. It has down_proj, gate_proj, k_proj"):
        pin_and_check(folder, ("q_proj", "c_attn", "lm_head"))


def test_folders_and_hidden_files_beside_a_models_files_are_no_part_of_it(folder: Path) -> None:
    before = references.pin(str(folder), None, folder)
    for name in (".cache", ".git", "original", "checkpoint-500"):
        (folder / name).mkdir()
        (folder / name / "model.safetensors").write_bytes(b"x")
    (folder / ".gitattributes").write_text("x")
    assert references.pin(str(folder), None, folder) == before
    assert references.fingerprint(folder) == {file["name"]: file["sha256"] for file in before["files"]}


def gpt2() -> Any:
    from transformers import GPT2Config, GPT2LMHeadModel

    return GPT2LMHeadModel(GPT2Config(vocab_size=259, n_embd=32, n_layer=2, n_head=2, n_positions=256))


def phi3() -> Any:
    from transformers import Phi3Config, Phi3ForCausalLM

    return Phi3ForCausalLM(Phi3Config(vocab_size=259, num_key_value_heads=1, pad_token_id=0, **SIZES))


def gemma3(context: int = 256) -> Any:
    from transformers import Gemma3Config, Gemma3ForConditionalGeneration

    text = {"vocab_size": 259, "num_key_value_heads": 1, "head_dim": 16, "max_position_embeddings": context, **SIZES}
    vision = {"image_size": 16, "patch_size": 8, **SIZES | {"num_hidden_layers": 3}}
    return Gemma3ForConditionalGeneration(Gemma3Config(text_config=text, vision_config=vision, mm_tokens_per_image=4))


def based_on(model: Any, folder: Path) -> Path:
    """A folder like models/iteration_0 with another architecture's weights and the tiny tokenizer."""
    for name in ("config.json", "model.safetensors", "generation_config.json"):
        (folder / name).unlink()
    model.save_pretrained(folder)
    edit(folder / "config.json", bos_token_id=1, eos_token_id=2, pad_token_id=0)
    edit(folder / "generation_config.json", bos_token_id=1, eos_token_id=2, pad_token_id=0)
    pointer = folder.parent / "iteration_0"
    records.write_json(pointer / "model.json", references.pin(str(folder), None, folder.parent))
    suitable.check(str(folder), folder)
    return pointer


@pytest.mark.parametrize(
    ("make", "layers"),
    [(gpt2, {"c_attn", "c_fc", "c_proj"}), (phi3, {"qkv_proj", "o_proj", "gate_up_proj", "down_proj"})],
)
def test_by_default_every_linear_layer_is_trained_whatever_it_is_called(
    folder: Path, make: Callable[[], Any], layers: set[str]
) -> None:
    base = based_on(make(), folder)
    turn = {"content": "Why?", "role": "user"}
    sides = {
        side: [turn, {"content": text, "role": "assistant"}] for side, text in (("chosen", "a"), ("rejected", "b"))
    }
    pairs = [{"prompt_id": "0", "prompt": "Why?", **sides}]
    job = Job(pairs, pairs, base, base, Train(learning_rate=1e-2), dtype="float32", seed=0, iteration=1)
    metrics = dpo.train(job, folder.parent / "out", folder.parent / "scratch")
    assert set(records.read_json(folder.parent / "out/adapter_config.json")["target_modules"]) == layers
    assert metrics["after"]["margin"] > 0


def test_half_an_adapter_is_one_sentence(folder: Path) -> None:
    adapter = folder.parent / "adapter"
    adapter.mkdir()
    records.write_json(adapter / "adapter_config.json", {"peft_type": "LORA", "target_modules": ["q_proj"], "r": 2})
    (adapter / "adapter_model.safetensors").write_bytes((folder / "model.safetensors").read_bytes()[:20_000])
    with pytest.raises(ModelError, match=r"adapter: the adapter cannot be loaded .*python -m stages\.check"):
        references.load_policy(adapter, folder, "float32")


def test_a_composite_configuration_is_read_where_it_speaks_of_text(folder: Path) -> None:
    base = based_on(gemma3(context=64), folder)
    model, tokenizer = references.load_model(base, "float32"), references.load_tokenizer(base)
    means = HiddenStates(model, tokenizer, 0.5, 512).means(["Why?"], [["So.", "Because."]])
    assert means[0].shape == (2, 32)
    assert references.serve_policy(base, base).context() == 64
    with pytest.raises(ModelError, match="and 60 new ones do not fit the model's context of 64"):
        answers(model, tokenizer, ["Why?"], 60)


def test_a_composite_model_answers_as_transformers_alone_has_it(folder: Path) -> None:
    import torch

    base = based_on(gemma3(), folder)
    model, tokenizer = references.load_model(base, "float32"), references.load_tokenizer(base)
    prompts = ["Why?", "What is the capital of a country by the sea?"]
    for prompt, text in zip(prompts, answers(model, tokenizer, prompts, 20), strict=True):
        ids = torch.tensor([chat.encode_prompt(tokenizer, prompt)]).to(model.device)
        alone = model.generate(ids, attention_mask=torch.ones_like(ids), do_sample=False, max_new_tokens=20)
        assert text == chat.decode(tokenizer, alone[0, ids.shape[1] :].tolist())


def answers(model: Any, tokenizer: Any, prompts: list[str], tokens: int) -> list[str]:
    """Greedy ones, by our sampler."""
    sampler = TransformersSampler(model, tokenizer, Sampling(0, 1.0, 1, tokens))
    return [found[0].text for found in sampler.sample([Request(prompt, (0,)) for prompt in prompts])]


def test_a_cache_or_home_that_cannot_be_written_is_one_sentence_of_the_stage(tmp_path: Path) -> None:
    root = Path(__file__).parents[2]
    (tmp_path / "file").write_text("")
    shutil.copy(root / "params.yaml", tmp_path)
    for variable in ("PAIRLOOP_CACHE", "HOME"):
        settings = os.environ | {"PYTHONPATH": str(root), "PAIRLOOP_CACHE": ""} | {variable: str(tmp_path / "file")}
        command = [sys.executable, "-m", "stages.base", "model", "times.json"]
        found = subprocess.run(command, cwd=tmp_path, env=settings, capture_output=True, text=True)
        assert found.returncode == 1 and "Traceback" not in found.stderr
        assert "models cannot be kept there (Not a directory). Set PAIRLOOP_CACHE" in found.stderr


@pytest.mark.slow
def test_a_name_that_no_layer_has_stops_the_stage_base(tmp_path: Path) -> None:
    root = Path(__file__).parents[2]
    values = yaml.safe_load((root / "params.yaml").read_text())
    values["base"] |= {"model": "random:0", "sha256": None}
    values["train"]["lora_target_modules"] = ["q_proj", "c_attn"]
    (tmp_path / "params.yaml").write_text(yaml.safe_dump(values))
    command = [sys.executable, "-m", "stages.base", "model", "times.json"]
    settings = os.environ | {"PYTHONPATH": str(root)}
    found = subprocess.run(command, cwd=tmp_path, env=settings, capture_output=True, text=True)
    assert found.returncode == 1 and "Traceback" not in found.stderr
    assert "train.lora_target_modules: random:0 has no linear layer c_attn. It has down_proj, gate_proj" in found.stderr
    assert not (tmp_path / "model").exists()


def test_a_forbidden_file_is_one_sentence() -> None:
    @click.command(cls=common.Verb)
    def verb() -> None:
        raise PermissionError(errno.EACCES, "Permission denied", "data/pool.parquet")

    found = CliRunner().invoke(verb)
    assert found.exit_code == 1
    assert found.output.startswith("Error: data/pool.parquet: Permission denied. Change who may read and write there")
