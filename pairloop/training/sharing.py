"""How devices share a step: each reads its own micro-batches, and what is reported is the mean over all of them.

A step's gradient is the mean over its pairs, whatever the number of devices and micro-batches: each loss is weighted
(`batches.Batch.weight`), then the trainer takes the mean over micro-batches and DistributedDataParallel or FSDP that
over devices.
"""

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from accelerate import PartialState
from accelerate.utils import DistributedType, broadcast_object_list, gather_object
from torch.utils.data import DataLoader
from trl.models import prepare_deepspeed

from pairloop.training.batches import Batch

MEANS = ("rewards/margins", "rewards/accuracies")
"""What TRL reports of each micro-batch and a step logs."""


def loader(trainer: Any, dataset: Any, planned: Sequence[Batch]) -> Any:
    """What this device computes of a dataset, in order: TRL's batches, with `rows` and `weight`.

    It is not one that accelerate prepares: accelerate would share out again what is shared out already, and repeat rows
    to make all batches of one size.
    """

    def collate(found: list[Batch]) -> dict[str, Any]:
        [batch] = found
        values: dict[str, Any] = trainer.data_collator([dataset[row] for row in batch.rows])
        return values | {"rows": batch.rows, "weight": batch.weight}

    own: Any = list(planned)
    return DataLoader(own, batch_size=1, collate_fn=collate, pin_memory=trainer.args.dataloader_pin_memory)


def with_reference(trainer: Any, dataset: Any, planned: Sequence[Batch]) -> Any:
    """The dataset with the reference's log-probabilities of each row's responses.

    They are computed in the batches that training will see, so that equal models give bit-equal values.
    """
    model = trainer.ref_model or trainer.model
    if trainer.ref_model is None and trainer.is_deepspeed_enabled:
        model = prepare_deepspeed(model, trainer.accelerator)  # until training starts nothing else places its weights

    def values(batch: dict[str, Any]) -> Iterator[tuple[float, float]]:
        chosen, rejected = trainer.compute_ref_log_probs(model, batch)
        return zip(chosen.tolist(), rejected.tolist(), strict=True)

    found = by_row(trainer, dataset, planned, values)
    for place, name in enumerate(("ref_chosen_logps", "ref_rejected_logps")):
        dataset = dataset.add_column(name, [row[place] for row in found])
    return dataset


def by_row(
    trainer: Any, dataset: Any, planned: Sequence[Batch], values: Callable[[dict[str, Any]], Iterator[Any]]
) -> list[Any]:
    """What a function gives for each row of a dataset, computed by all devices.

    Args:
        trainer: whose collator and devices.
        dataset: rows of TRL's tokenised form.
        planned: this device's share.
        values: of a batch, one value for each of its rows.
    """
    found: list[tuple[int, Any]] = []
    for batch in loader(trainer, dataset, planned):
        rows, weight = batch.pop("rows"), batch.pop("weight")
        pairs = zip(rows, values(trainer._prepare_inputs(batch)), strict=True)
        found += pairs if weight else ()
    # Without row 0 a row would be taken for one of another device.
    return [value for _, value in sorted(gather_object(found), key=lambda pair: pair[0])]


def weighted(trainer: Any, weight: float, compute: Callable[[], Any]) -> Any:
    """A micro-batch's loss times its weight; so are its values in TRL's metrics."""
    with _alone(trainer.accelerator):
        loss = compute()
    for name in MEANS:
        trainer._metrics["train"][name][-1] *= weight
    return loss * weight


@contextmanager
def _alone(accelerator: Any) -> Iterator[None]:
    """TRL gathers twelve values of each micro-batch, which must be equally long on all devices; here nothing is."""
    accelerator.gather = accelerator.gather_for_metrics = lambda values: values
    try:
        yield
    finally:
        del accelerator.gather, accelerator.gather_for_metrics


def mean_over_devices(trainer: Any) -> None:
    """Make TRL's metrics of a step those of all devices."""
    if trainer.accelerator.num_processes == 1:
        return
    metrics = trainer._metrics["train"]
    own = torch.tensor([sum(metrics[name]) / len(metrics[name]) for name in MEANS], device=trainer.accelerator.device)
    for name, value in zip(MEANS, trainer.accelerator.reduce(own, "mean").tolist(), strict=True):
        metrics[name] = [value]


def allow_fsdp() -> None:
    """Let accelerate use FSDP without a GPU, as torch does: it asks what kind of devices there are before it looks."""
    if os.environ.get("ACCELERATE_USE_FSDP") == "true" and not torch.cuda.is_available():
        PartialState._shared_state["distributed_type"] = DistributedType.MULTI_GPU


def told(value: Any) -> Any:
    """What the first process has found, in all processes."""
    values = [value]
    broadcast_object_list(values)
    return values[0]


def gathered(trainer: Any) -> dict[str, Any] | None:
    """All weights, where each process holds a part of them; in the first process alone they are sure to be whole."""
    if not (trainer.is_fsdp_enabled or trainer.is_deepspeed_enabled):
        return None
    state: dict[str, Any] = trainer.accelerator.get_state_dict(trainer.model_wrapped)
    return state
