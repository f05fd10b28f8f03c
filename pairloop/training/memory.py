"""Too little memory: how to tell, and what to lower."""

from collections.abc import Iterator
from contextlib import contextmanager

from pairloop.errors import TrainingError
from pairloop.params import Train


@contextmanager
def enough(params: Train) -> Iterator[None]:
    """Say what to lower, should a device or the machine have no memory left in the block.

    Raises:
        TrainingError: there is too little memory.
    """
    import torch

    try:
        yield
    except RuntimeError as error:
        # What torch raises on a CPU has no type of its own.
        if not isinstance(error, torch.OutOfMemoryError) and "can't allocate memory" not in str(error):
            raise
        raise TrainingError(advice(params)) from error


def advice(params: Train) -> str:
    """What is left to lower, in order: first what costs only time, then what changes the result."""
    most = params.per_device_train_batch_size
    free = (
        f"lower train.per_device_train_batch_size (now {most})" if most > 1 else "",
        "" if params.gradient_checkpointing else "set train.gradient_checkpointing to true",
        ""
        if params.launcher
        else "spread the weights over several GPUs with train.launcher (conf/accelerate/fsdp.yaml)",
    )
    others = (
        "set train.method to lora" if params.method == "full" else "",
        f"lower train.max_length (now {params.max_length})",
        "choose a smaller base.model",
    )
    what = "; ".join(filter(None, free))
    return (
        "train: there is too little memory. "
        + (f"In this order, {what}: none of this changes what is learnt. What does change it: " if what else "Then ")
        + "; ".join(filter(None, others))
        + "."
    )
