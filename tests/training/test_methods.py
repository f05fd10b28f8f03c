"""Adapters, adapters beside a base in four bits, and all weights: saved, loaded and continued."""

import dataclasses
from pathlib import Path
from typing import Any

import pytest
import torch
from architectures import write_decoder
from test_dpo import Run, adapter, changed, make_job

from pairloop.errors import ModelError, TrainingError
from pairloop.files import records
from pairloop.models import four_bit, references
from pairloop.params import Train
from pairloop.training import policy

pytestmark = pytest.mark.slow


def start(base: Path, params: Train, parent: Path | None = None) -> policy.Start:
    return policy.Start(parent or base, base, params, "float32", 1 if parent is None else 2)


def logits(model: Any) -> torch.Tensor:
    with torch.no_grad():
        found: torch.Tensor = model(torch.arange(3, 60)[None]).logits
    return found


@pytest.mark.parametrize("method", ["lora", "qlora", "full"])
def test_a_policy_is_saved_loaded_and_continued_over_two_iterations(
    method: str, tiny_base: Path, tmp_path: Path
) -> None:
    params = changed(method=method)
    one = Run(make_job(tiny_base, params), tmp_path / "1")
    two = Run(make_job(tiny_base, params, parent=one.out), tmp_path / "2")
    assert one.log[0][1]["rewards/margins"] == two.log[0][1]["rewards/margins"] == 0.0
    assert one.metrics["before"]["margin"] == two.metrics["before"]["margin"] == 0.0
    assert two.metrics["after"]["margin"] > 0
    # Training goes on from where it was saved, ...
    loaded = policy.load(start(tiny_base, params, one.out)).eval()
    held = Run(make_job(tiny_base, changed(method=method, reference="base"), parent=one.out), tmp_path / "held")
    assert held.metrics["before"]["margin"] == pytest.approx(one.metrics["after"]["margin"], abs=1e-5)
    # ... and what answers is near to it: the same, but for the base's four bits.
    served = references.load_policy(one.out, tiny_base, "float32")
    far = (logits(served) - logits(loaded)).abs().mean()
    assert far < 1e-4 if method != "qlora" else 1e-3 < far < logits(served).std() / 2
    assert {path.name for path in one.out.iterdir()} == {path.name for path in two.out.iterdir()}


def test_a_killed_run_beside_four_bits_goes_on_to_the_same_bytes(tiny_base: Path, tmp_path: Path) -> None:
    class Stop(BaseException):
        pass

    def log(step: int, values: dict[str, float]) -> None:
        if step == 3:
            raise Stop

    from pairloop.training import dpo

    one = Run(make_job(tiny_base, changed(method="qlora")), tmp_path / "1")
    job = make_job(tiny_base, changed(method="qlora"), parent=one.out)
    with pytest.raises(Stop):
        dpo.train(job, tmp_path / "a" / "model", tmp_path / "a" / "scratch", log)
    resumed, unbroken = Run(job, tmp_path / "a"), Run(job, tmp_path / "b")
    assert adapter(resumed.out) == adapter(unbroken.out)


def test_the_base_is_in_four_bits_and_only_the_adapter_is_trained_with_full_precision(
    tiny_base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from pairloop.training import trainer

    seen: list[Any] = []
    train = trainer.run
    monkeypatch.setattr(trainer, "run", lambda tuning, newest: (seen.append(tuning.model), train(tuning, newest)))
    run = Run(make_job(tiny_base, changed(method="qlora")), tmp_path)
    layers = {name: module for name, module in seen[0].named_modules() if name.endswith("base_layer")}
    assert len(layers) == 14  # seven of each of two layers
    for module in layers.values():
        assert type(module).__name__ == "Linear4bit"
        assert (module.weight.dtype, module.weight.quant_type) == (torch.uint8, "nf4")
        assert module.weight.quant_state.nested
    trained = {name: weight for name, weight in seen[0].named_parameters() if weight.requires_grad}
    assert trained and all(".lora_" in name and weight.dtype == torch.float32 for name, weight in trained.items())
    config = records.read_json(run.out / "adapter_config.json")
    assert (config["base_model_name_or_path"], config["r"]) == ("random:0", 8)


@pytest.mark.parametrize("method", ["lora", "qlora"])
@pytest.mark.parametrize(
    ("kind", "layers"),
    [("gpt2", ["c_attn", "c_fc", "c_proj"]), ("phi3", ["down_proj", "gate_up_proj", "o_proj", "qkv_proj"])],
)
def test_every_linear_layer_gets_an_adapter_whatever_it_is_called(
    kind: str, layers: list[str], method: str, tmp_path: Path
) -> None:
    base = write_decoder(tmp_path / "base", kind)
    run = Run(make_job(base, changed(method=method)), tmp_path)
    assert records.read_json(run.out / "adapter_config.json")["target_modules"] == layers
    assert run.metrics["after"]["margin"] != 0
    again = Run(make_job(base, changed(method=method), parent=run.out), tmp_path / "2")
    assert again.metrics["before"]["margin"] == 0.0
    before, after = (logits(references.load_policy(folder, base, "float32")) for folder in (base, run.out))
    assert not torch.allclose(before, after, atol=1e-3)


def test_training_beside_four_bits_prints_nothing(
    tiny_base: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    Run(make_job(tiny_base, changed(method="qlora")), tmp_path)
    assert capfd.readouterr() == ("", "")


def test_without_bitsandbytes_one_sentence_says_how_to_get_it(
    tiny_base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(four_bit, "find_spec", lambda name: None)
    with pytest.raises(ModelError, match=r"qlora, which needs bitsandbytes: `pip install '\.\[qlora\]'`"):
        Run(make_job(tiny_base, changed(method="qlora")), tmp_path)


def test_a_base_that_is_quantised_already_is_not_quantised_again(monkeypatch: pytest.MonkeyPatch) -> None:
    from transformers import LlamaConfig

    monkeypatch.setattr(four_bit, "find_spec", lambda name: object())
    with pytest.raises(ModelError, match="quantised already: take lora"):
        four_bit.check(LlamaConfig(quantization_config={"quant_method": "gptq"}))
    four_bit.check(LlamaConfig())


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"lora_r": 4}, r"train\.lora_r is 4, but the adapter of iteration 1.* has 8"),
        ({"lora_alpha": 8}, r"train\.lora_alpha is 8, but the adapter of iteration 1.* has 16"),
        ({"lora_target_modules": ["q_proj"]}, r"train\.lora_target_modules is \['q_proj'\], but the adapter of"),
    ],
)
def test_an_adapter_of_another_shape_is_refused(
    values: dict[str, Any], message: str, first: Run, tiny_base: Path, tmp_path: Path
) -> None:
    with pytest.raises(TrainingError, match=message):
        Run(make_job(tiny_base, changed(**values), parent=first.out), tmp_path)


def test_an_adapter_of_a_base_of_another_size_is_refused(first: Run, tmp_path: Path) -> None:
    other = write_decoder(tmp_path / "other", "llama", hidden_size=64)
    with pytest.raises(ModelError, match=r"the adapter cannot be loaded .*not for this base"):
        Run(dataclasses.replace(make_job(other, parent=first.out), base=other), tmp_path)


@pytest.fixture(scope="module")
def first(tiny_base: Path, tmp_path_factory: pytest.TempPathFactory) -> Run:
    return Run(make_job(tiny_base), tmp_path_factory.mktemp("first"))
