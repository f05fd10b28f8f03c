"""An accelerate config that starts the workers instead of this program, and what it must not contradict."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from pairloop.errors import TrainingError
from pairloop.params import Train, reading
from pairloop.training import batches

_SPREADING = ("FSDP", "DEEPSPEED", "MEGATRON_LM")
"""What accelerate calls the ways in which no process has all weights."""

_PRECISION = {"float32": "no", "bfloat16": "bf16", "float16": "fp16"}


def processes(params: Train, dtype: str, gpus: int) -> int:
    """How many processes the config of `train.launcher` starts, on all machines together.

    Args:
        params: the section `train`.
        dtype: `base.dtype`.
        gpus: visible on this machine.

    Raises:
        TrainingError: there is no such file, it is no accelerate config, or it says something else than the parameters.
    """
    path = str(params.launcher)
    if not Path(path).is_file():
        raise TrainingError(f"train.launcher is {path}: there is no such file. conf/accelerate/ holds three.")
    config = reading.mapping(Path(path).read_text(encoding="utf-8"), path)
    count, machines = config.get("num_processes"), config.get("num_machines", 1)
    if type(count) is not int or count < 1 or type(machines) is not int or count % max(machines, 1):
        raise TrainingError(
            f"train.launcher: {path} has num_processes {count} and num_machines {machines}. It needs the processes of "
            "all machines together, equally many on each."
        )
    for name, found, parameter, wanted in _both(config, params, dtype, count):
        if found not in (None, "auto", wanted):
            raise TrainingError(
                f"train.launcher: {path} has {name} {found}, but {parameter}. Leave {name} out of the file, or make "
                "them agree."
            )
    kind = config.get("distributed_type")
    if params.average and kind in _SPREADING:
        raise TrainingError(
            f"train.launcher: {path} has distributed_type {kind}, which spreads the weights, and train.average is "
            f"{params.average:g}, whose mean needs them whole. Set train.average to 0, or train without a launcher."
        )
    here = count // machines
    if not config.get("use_cpu", False) and here > gpus:
        raise TrainingError(
            f"train.launcher: {path} starts {here} processes on this machine, which has {gpus} GPUs that are visible. "
            "Lower num_processes, or check CUDA_VISIBLE_DEVICES."
        )
    return count


def _both(config: Mapping[str, Any], params: Train, dtype: str, count: int) -> Iterator[tuple[str, Any, str, Any]]:
    """What the file and the parameters both say: its name there, its value, the parameter's words, what is wanted."""
    if params.devices is not None:
        yield "num_processes", count, f"train.devices is {params.devices}", params.devices
    yield "mixed_precision", config.get("mixed_precision"), f"base.dtype is {dtype}", _PRECISION[dtype]
    deep: Mapping[str, Any] = config.get("deepspeed_config") or {}
    most = params.per_device_train_batch_size
    passes = batches.passes(params.batch_pairs, count, most)
    accumulated = f"train.batch_pairs {params.batch_pairs} takes {passes} passes of {most} pairs on {count} devices"
    for place in (config, deep):
        yield "gradient_accumulation_steps", place.get("gradient_accumulation_steps"), accumulated, passes
    said = f"train.per_device_train_batch_size is {most}"
    yield "train_micro_batch_size_per_gpu", deep.get("train_micro_batch_size_per_gpu"), said, most
    yield (
        "train_batch_size",
        deep.get("train_batch_size"),
        f"train.batch_pairs is {params.batch_pairs}",
        params.batch_pairs,
    )
    clipped = f"train.max_grad_norm is {params.max_grad_norm}"
    yield "gradient_clipping", deep.get("gradient_clipping"), clipped, params.max_grad_norm
