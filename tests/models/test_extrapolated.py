"""Models that are moved on: what is measured is the weights, not what was written."""

import json
from pathlib import Path
from typing import Any

import pytest

from pairloop.errors import ModelError
from pairloop.models import extrapolated, references


def weights(model: Any) -> dict[str, Any]:
    return {name: tensor.detach().clone() for name, tensor in model.state_dict().items()}


@pytest.fixture
def adapter(tiny_base: Path, tmp_path: Path) -> Path:
    """A LoRA adapter on some layers, one of them with an alpha of its own."""
    import torch
    from peft import LoraConfig, get_peft_model

    torch.manual_seed(0)
    config = LoraConfig(
        r=4,
        lora_alpha=8,
        target_modules=["q_proj", "down_proj"],
        alpha_pattern={"down_proj": 2},
        init_lora_weights=False,
    )
    folder = tmp_path / "adapter"
    get_peft_model(references.load_model(tiny_base, "float32"), config).save_pretrained(folder)
    return folder


@pytest.fixture
def full(tiny_base: Path, tmp_path: Path) -> Path:
    """A full checkpoint in two files, a step away from the base."""
    import torch

    torch.manual_seed(0)
    model = references.load_model(tiny_base, "float32")
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.01 * torch.randn_like(parameter))
    model.save_pretrained(tmp_path / "full", max_shard_size="50KB")
    assert len(list((tmp_path / "full").glob("*.safetensors"))) > 1
    return tmp_path / "full"


@pytest.fixture(params=["adapter", "full"])
def policy(request: pytest.FixtureRequest) -> Path:
    found: Path = request.getfixturevalue(request.param)
    return found


@pytest.mark.parametrize("factor", [0.3, 1.0, -0.5])
def test_weights_are_the_references_and_more_of_what_training_changed(
    policy: Path, tiny_base: Path, tmp_path: Path, factor: float
) -> None:
    import torch

    base, own = (weights(references.load_policy(folder, tiny_base, "float32")) for folder in (tiny_base, policy))
    with extrapolated.moved(policy, tiny_base, factor, tmp_path) as folder:
        found = weights(references.load_policy(folder, tiny_base, "float32"))
    assert set(found) == set(own)
    for name, tensor in found.items():
        expected = base[name] + (1 + factor) * (own[name] - base[name])
        torch.testing.assert_close(tensor, expected, rtol=1e-5, atol=1e-6)
    assert any(not torch.equal(found[name], own[name]) for name in found)


def test_it_is_another_model_that_is_gone_afterwards_and_the_policy_stays(
    policy: Path, tiny_base: Path, tmp_path: Path
) -> None:
    before = references.fingerprint(policy)
    with extrapolated.moved(policy, tiny_base, 0.5, tmp_path / "scratch") as folder:
        one = references.fingerprint(folder)
    with extrapolated.moved(policy, tiny_base, 0.4, tmp_path / "scratch") as folder:
        other = references.fingerprint(folder)
    with extrapolated.moved(policy, tiny_base, 0.5, tmp_path / "scratch") as folder:
        again = references.fingerprint(folder)
    assert one == again != other and before not in (one, other)
    assert references.fingerprint(policy) == before
    assert not list((tmp_path / "scratch").rglob("*.*"))


def test_a_checkpoint_of_lower_precision_stays_in_it(tiny_base: Path, tmp_path: Path) -> None:
    import torch
    from safetensors.torch import load_file

    references.load_model(tiny_base, "bfloat16").save_pretrained(tmp_path / "policy")
    with extrapolated.moved(tmp_path / "policy", tiny_base, 0.5, tmp_path) as folder:
        assert {tensor.dtype for tensor in load_file(folder / "model.safetensors").values()} == {torch.bfloat16}


def change_config(folder: Path, **values: Any) -> None:
    path = folder / "adapter_config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | values))


def refusal(policy: Path, base: Path, scratch: Path, factor: float = 0.5) -> str:
    with pytest.raises(ModelError) as error, extrapolated.moved(policy, base, factor, scratch):
        pass
    assert not list((scratch / "extrapolated").iterdir())
    return error.value.message


def test_what_is_not_the_base_moved_is_refused(adapter: Path, full: Path, tiny_base: Path, tmp_path: Path) -> None:
    from safetensors.torch import load_file, save_file

    change_config(adapter, use_dora=True)
    assert "more than products of low rank (DoRA)" in refusal(adapter, tiny_base, tmp_path)
    path = sorted(full.glob("*.safetensors"))[0]
    tensors = load_file(path)
    name = sorted(tensors)[0]
    save_file(tensors | {name: tensors[name][:1].clone()}, path)
    assert f"{name} has the shape" in refusal(full, tiny_base, tmp_path)
    save_file({"another": tensors[name]}, path)
    assert "has the tensor another, which the base has not" in refusal(full, tiny_base, tmp_path)


def test_weights_that_no_number_of_the_format_holds_are_refused(tiny_base: Path, full: Path, tmp_path: Path) -> None:
    assert "beyond what torch.float32 holds" in refusal(full, tiny_base, tmp_path, 1e39)
