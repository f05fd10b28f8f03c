"""Follows a run: reports each step, marks checkpoints when complete, stops at a number that is none."""

import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from accelerate.utils import wait_for_everyone
from tqdm import tqdm
from transformers import TrainerCallback

from pairloop.errors import TrainingError
from pairloop.files import disk
from pairloop.training import checkpoint

Log = Callable[[int, dict[str, float]], None]

_LOGGED = ("loss", "rewards/margins", "rewards/accuracies", "learning_rate", "grad_norm")
"""What a step reports: nothing that differs between equal runs."""


class Watch(TrainerCallback):
    """Follows a run. Of several processes the first one reports."""

    def __init__(self, log: Log, prompts: Sequence[Sequence[str]]) -> None:
        """Follow a run whose steps read pairs of `prompts`: the prompt ids of each step of an epoch."""
        self.log = log
        self.prompts = prompts
        self.bar: Any = None

    def on_train_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """Open the bar, and report what a resumed run had reported."""
        first = state.is_world_process_zero
        self.bar = tqdm(total=state.max_steps, desc="train", unit="step", disable=None if first else True)
        # A resumed run reports the steps before the kill once more, so that its log is an unbroken run's.
        for values in state.log_history:
            self._report(values["step"], values, first)

    def on_log(self, args: Any, state: Any, control: Any, logs: dict[str, float], **_: Any) -> None:
        """Report a step, or stop at a number that is none."""
        if "loss" not in logs:  # the summary at the end, which holds durations
            return
        # With float16 a scaled gradient may overflow: that step is skipped and the scale lowered, which is no fault.
        watched = ("loss",) if args.fp16 else ("loss", "grad_norm")
        for name in watched:
            if not math.isfinite(logs[name]):
                raise TrainingError(self._not_finite(name, logs[name], state.global_step, args))
        self._report(state.global_step, logs, state.is_world_process_zero)

    def on_save(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """Mark the checkpoint as complete, once every process has written its part."""
        folder = Path(args.output_dir)
        wait_for_everyone()
        if state.is_world_process_zero:
            with disk.writing(folder):
                checkpoint.mark(folder / f"checkpoint-{state.global_step}")

    def on_train_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """Close the bar."""
        self.bar.close()

    def _report(self, step: int, values: dict[str, float], first: bool) -> None:
        self.bar.update()
        if first:
            self.log(step, {name: values[name] for name in _LOGGED})

    def _not_finite(self, name: str, value: float, step: int, args: Any) -> str:
        batch = ", ".join(prompt[:12] for prompt in self.prompts[(step - 1) % len(self.prompts)])
        return (
            f"train: {name} is {value} at step {step}, so training stopped and nothing is written. Its pairs are those "
            f"of the prompts {batch} (the beginning of each prompt_id). Lower train.learning_rate (now "
            f"{args.learning_rate:g}) or train.max_grad_norm (now {args.max_grad_norm:g})"
            + (", or set base.dtype to bfloat16 or float32." if args.fp16 else ".")
        )


def history(trainer: Any) -> checkpoint.History:
    """What a run has reported: the number of each step and its values."""
    steps = [values for values in trainer.state.log_history if "loss" in values]
    return [(values["step"], {name: values[name] for name in _LOGGED}) for values in steps]
