"""Training without dropout, whatever the architecture calls it: a policy that starts as its reference has loss ln 2."""

import math
from pathlib import Path

import pytest
from architectures import DECODERS, write_decoder
from test_dpo import changed, make_job

from pairloop.models import references
from pairloop.training import dpo
from pairloop.training.dropout import without_dropout

pytestmark = pytest.mark.slow


@pytest.mark.parametrize("kind", DECODERS)
def test_the_first_loss_of_every_architecture_is_ln_2(kind: str, tmp_path: Path) -> None:
    base = write_decoder(tmp_path / "base", kind)
    found = dpo.train(make_job(base, changed(method="full")), tmp_path / "out", tmp_path / "scratch")
    assert found["loss_first"] == pytest.approx(math.log(2), abs=1e-4)


def test_the_first_loss_of_an_adapter_is_ln_2_too(tmp_path: Path) -> None:
    base = write_decoder(tmp_path / "base", "opt")
    params = changed(lora_target_modules=["q_proj", "v_proj"], gradient_checkpointing=True)
    found = dpo.train(make_job(base, params), tmp_path / "out", tmp_path / "scratch")
    assert found["loss_first"] == pytest.approx(math.log(2), abs=1e-4)


@pytest.mark.parametrize("kind", DECODERS)
def test_a_model_in_training_computes_what_it_computes_in_evaluation(kind: str, tmp_path: Path) -> None:
    import torch

    model = references.load_model(write_decoder(tmp_path, kind), "float32")
    ids, config = torch.arange(3, 60)[None], model.config.to_dict()
    with torch.no_grad():
        expected = model(ids).logits
        model.train()
        with without_dropout(model):
            torch.testing.assert_close(model(ids).logits, expected, atol=1e-4, rtol=1e-4)
        if kind != "mpt":  # which reads none of its config's probabilities
            assert not torch.allclose(model(ids).logits, expected, atol=1e-4, rtol=1e-4)
    assert model.config.to_dict() == config
