"""The mean of a run's last weights, which is steadier than those of its last step.

At a learning rate that stays high the weights go back and forth around what they have learnt; their mean is nearer to
it. Stochastic weight averaging, Izmailov et al. 2018, https://arxiv.org/abs/1803.05407. Imported only where training
happens: it loads torch.
"""

from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from transformers import TrainerCallback

from pairloop.files import disk

_NAME = "mean.safetensors"
"""In each checkpoint: the sums so far."""


class Mean(TrainerCallback):
    """Sums the trained weights after each of the last steps, and puts their mean in place of the last ones.

    Every process has whole weights and the same, and sums its own; the first one writes them into checkpoints.
    """

    def __init__(self, share: float) -> None:
        """Take the mean over the last `share` of the steps, above 0 and at most 1."""
        self.share = share
        self.sums: dict[str, Any] = {}

    def on_train_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """Take what a run that goes on had summed."""
        found = _place(args, state)
        self.sums = load_file(found) if found.is_file() else {}

    def on_step_end(self, args: Any, state: Any, control: Any, model: Any, **_: Any) -> None:
        """Add the weights, in float32."""
        if state.global_step > _before(self.share, state.max_steps):
            for name, weights in _trained(model):
                own = weights.detach().to("cpu", torch.float32)
                self.sums[name] = self.sums[name] + own if name in self.sums else own.clone()

    def on_save(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """Write the sums into the checkpoint, before it is marked as complete."""
        if self.sums and state.is_world_process_zero:
            with disk.writing(Path(args.output_dir)):
                save_file(self.sums, _place(args, state))

    def on_train_end(self, args: Any, state: Any, control: Any, model: Any, **_: Any) -> None:
        """Put the mean in place of the last weights."""
        steps = state.global_step - _before(self.share, state.max_steps)
        with torch.no_grad():
            for name, weights in _trained(model):
                weights.copy_(self.sums[name] / steps)


def _before(share: float, steps: int) -> int:
    """Steps that are left out: all but the last one at most."""
    return min(round((1 - share) * steps), steps - 1)


def _place(args: Any, state: Any) -> Path:
    return Path(args.output_dir) / f"checkpoint-{state.global_step}" / _NAME


def _trained(model: Any) -> list[tuple[str, Any]]:
    return [(name, weights) for name, weights in model.named_parameters() if weights.requires_grad]
