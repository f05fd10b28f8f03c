"""The mean of the last steps' weights."""

from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from test_dpo import Run, changed, make_job

from pairloop.models import references
from pairloop.training import averaging, dpo

WEIGHTS = "adapter_model.safetensors"


@pytest.mark.parametrize(("share", "first"), [(0.5, 3), (1.0, 1), (0.75, 2), (0.01, 4)])
def test_what_is_kept_is_the_mean_of_the_weights_after_the_last_steps(
    tiny_base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, share: float, first: int
) -> None:
    seen: dict[int, dict[str, Any]] = {}
    add = averaging.Mean.on_step_end

    def watched(self: Any, args: Any, state: Any, control: Any, model: Any, **rest: Any) -> None:
        own = {name: weights.detach().clone() for name, weights in model.named_parameters() if weights.requires_grad}
        seen[state.global_step] = own
        add(self, args, state, control, model, **rest)

    monkeypatch.setattr(averaging.Mean, "on_step_end", watched)
    found = load_file(Run(make_job(tiny_base, changed(average=share)), tmp_path).out / WEIGHTS)
    assert sorted(seen) == [1, 2, 3, 4]
    for name, weights in found.items():
        whole = name.replace(".weight", ".default.weight")
        mean = torch.stack([seen[step][whole] for step in range(first, 5)]).mean(dim=0)
        torch.testing.assert_close(weights, mean)
        assert first == 4 or not weights.equal(seen[4][whole])


def test_without_it_the_last_weights_stay(tiny_base: Path, tmp_path: Path) -> None:
    plain, last = (Run(make_job(tiny_base, changed(average=share)), tmp_path / str(share)).out for share in (0.0, 0.01))
    weights = [(out / WEIGHTS).read_bytes() for out in (plain, last)]
    assert weights[0] == weights[1]


@pytest.mark.parametrize("method", ["lora", "full"])
def test_a_killed_run_takes_up_the_sums_and_gives_the_bytes_of_an_unbroken_one(
    tiny_base: Path, tmp_path: Path, method: str
) -> None:
    class Stop(BaseException):
        pass

    def log(step: int, values: dict[str, float]) -> None:
        if step == 3:
            raise Stop

    job = make_job(tiny_base, changed(method=method, average=0.75))
    with pytest.raises(Stop):
        dpo.train(job, tmp_path / "a" / "model", tmp_path / "a" / "scratch", log)
    (sums,) = (tmp_path / "a" / "scratch").glob("*/checkpoint-2/mean.safetensors")
    assert load_file(sums)
    resumed, unbroken = Run(job, tmp_path / "a"), Run(job, tmp_path / "b")
    assert references.fingerprint(resumed.out) == references.fingerprint(unbroken.out)
    assert resumed.metrics == unbroken.metrics


def test_two_devices_that_share_the_steps_keep_the_mean_too(tiny_base: Path, tmp_path: Path) -> None:
    together, alone = (
        load_file(Run(make_job(tiny_base, changed(average=0.5, devices=n)), tmp_path / str(n)).out / WEIGHTS)
        for n in (2, 1)
    )
    for name, weights in together.items():
        torch.testing.assert_close(weights, alone[name], atol=1e-5, rtol=1e-4)
