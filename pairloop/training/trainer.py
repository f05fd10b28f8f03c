"""TRL's DPOTrainer, told to take token ids as they are, to stop at the first bad number, and to keep quiet.

Imported only where training happens: it loads torch and TRL.
"""

import math
import os
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import datasets
import torch
import transformers
import trl.trainer.utils
from safetensors import SafetensorError
from transformers import PrinterCallback

from pairloop.files import disk
from pairloop.params import Train
from pairloop.training import forward, losses, reference, sharing
from pairloop.training.batches import Batch
from pairloop.training.dropout import without_dropout
from pairloop.training.job import Job


class PairTrainer(losses.LossTrainer):
    """TRL's trainer on rows that hold prompt_ids, chosen_ids and rejected_ids already, in planned batches."""

    def __init__(self, plans: Mapping[str, Sequence[Batch]], **options: Any) -> None:
        """Take what this device computes of the datasets `train` and `eval`; the rest is TRL's."""
        self.plans = plans
        super().__init__(**options)

    def _prepare_dataset(self, dataset: Any, *_: Any) -> Any:
        # TRL would render the chat template and tokenise its text: control tokens spelled out in a prompt would become
        # real ones, and the ids would not be those that sampling used.
        return dataset

    def _precompute_ref_logps(self, dataset: Any, *_: Any) -> Any:
        # Later, by `reference.fill`: the model does not read as it will yet.
        return dataset

    def get_train_dataloader(self) -> Any:
        """The planned batches."""
        return sharing.loader(self, self.train_dataset, self.plans["train"])

    def compute_loss(self, model: Any, inputs: dict[str, Any], *rest: Any, **options: Any) -> Any:
        """TRL's loss, weighted."""
        weight, loss = inputs.pop("weight"), super().compute_loss
        del inputs["rows"]
        return sharing.weighted(self, weight, lambda: loss(model, inputs, *rest, **options))

    def log(self, logs: dict[str, float], *rest: Any, **options: Any) -> None:
        """TRL's metrics, of all devices."""
        if "loss" in logs:
            sharing.mean_over_devices(self)
        super().log(logs, *rest, **options)

    def _save_checkpoint(self, *args: Any, **options: Any) -> None:
        with disk.writing(Path(self.args.output_dir), SafetensorError, RuntimeError):
            super()._save_checkpoint(*args, **options)

    def _send_telemetry(self) -> None:
        # TRL reports every training run to its makers. What is trained here is nobody else's business.
        return


def configure(job: Job, seed: int, rows: int, passes: int, folder: Path) -> Any:
    """The configuration for training on `rows` pairs, `passes` micro-batches a step, with checkpoints in `folder`."""
    params, on_gpu = job.params, torch.cuda.is_available()
    return losses.LossConfig(
        output_dir=str(folder),
        beta=params.beta,
        **losses.settings(params),
        learning_rate=job.learning_rate,
        lr_scheduler_type=params.lr_scheduler_type,
        warmup_steps=warmup_steps(params, rows),
        weight_decay=params.weight_decay,
        max_grad_norm=params.max_grad_norm,
        optim="adamw_torch",
        num_train_epochs=params.num_train_epochs,
        per_device_train_batch_size=params.per_device_train_batch_size,
        per_device_eval_batch_size=params.per_device_train_batch_size,
        gradient_accumulation_steps=passes,
        ddp_find_unused_parameters=False,
        gradient_checkpointing=params.gradient_checkpointing,
        max_length=params.max_length,
        # The reference's log-probabilities are made once, from the batches that training will see.
        precompute_ref_log_probs=True,
        train_sampling_strategy="sequential",
        dataloader_num_workers=0,
        dataloader_pin_memory=on_gpu,
        use_cpu=not on_gpu,
        bf16=job.dtype == "bfloat16",
        fp16=job.dtype == "float16",
        seed=seed % 2**32,
        save_strategy="steps",
        save_steps=params.save_steps,
        # Two, because the older one is deleted before the newer one is marked as complete.
        save_total_limit=2,
        logging_steps=1,
        logging_nan_inf_filter=False,
        report_to="none",
        disable_tqdm=True,
    )


def steps(params: Train, rows: int) -> int:
    """Optimiser steps of a run over `rows` pairs."""
    return params.num_train_epochs * math.ceil(rows / params.batch_pairs)


def warmup_steps(params: Train, rows: int) -> int:
    """Steps of rising learning rate. The first of them has rate zero, so at least one step is left to learn in."""
    total = steps(params, rows)
    return min(math.ceil(params.warmup_ratio * total), total - 1)


def build(
    policy: Any,
    held_to: Any,
    tokenizer: Any,
    config: Any,
    train: list[Any],
    test: list[Any],
    plans: Mapping[str, Sequence[Batch]],
    adapter: Any,
    callbacks: list[Any],
) -> Any:
    """A trainer, which `prepare` makes ready.

    Args:
        policy: the model to train.
        held_to: the model to hold it to, or None for the policy as it is now.
        tokenizer: the base's.
        config: from `configure`.
        train: rows of `data.encode`, in the order of training.
        test: held-out rows.
        plans: what this device computes of both, as `train` and `eval`.
        adapter: a LoraConfig for a fresh adapter on the policy, or None.
        callbacks: follow the run; the watch stands last, which marks as complete what others write into checkpoints.
    """
    sharing.allow_fsdp()
    trainer = PairTrainer(
        plans=plans,
        model=policy,
        ref_model=held_to,
        args=config,
        train_dataset=datasets.Dataset.from_list(train),
        eval_dataset=datasets.Dataset.from_list(test),
        processing_class=tokenizer,
        data_collator=losses.Collator(tokenizer.pad_token_id, config.max_length),
        peft_config=adapter,
        callbacks=callbacks,
    )
    trainer.remove_callback(PrinterCallback)
    return trainer


def prepare(trainer: Any, share_prompts: bool) -> None:
    """Let a trainer's models read common beginnings once, if asked, and find the reference's log-probabilities."""
    forward.prepare(trainer, share_prompts)
    reference.fill(trainer)
    # Its log-probabilities are stored, and the loss reads those: the model need not stay in memory.
    trainer.ref_model = None


def held_out(trainer: Any) -> dict[str, float]:
    """How the policy, as it is now, does on the test pairs.

    TRL's own `evaluate` averages the averages of batches, which gives a pair in a short last batch more weight.

    Returns:
        accuracy: share of pairs whose margin is above 0; a policy equal to its reference has only margins of 0.
        margin: mean of beta × (log-ratio of chosen - log-ratio of rejected), in nats.
        logp_accuracy: share of pairs whose chosen response has the higher mean log-probability per token.
    """
    trainer.model.eval()

    def values(batch: dict[str, Any]) -> Iterator[tuple[float, bool]]:
        tokens, mask = forward.log_probabilities(trainer, batch)
        chosen, rejected = (tokens.sum(dim=1) / mask.sum(dim=1).clamp(min=1)).chunk(2)
        prefers = (chosen > rejected).tolist()
        sums = losses.response_log_probabilities(tokens, mask, trainer.ld_alpha)
        ratios = sums - torch.cat([batch["ref_chosen_logps"], batch["ref_rejected_logps"]])
        chosen, rejected = ratios.chunk(2)
        return zip((trainer.beta * (chosen - rejected)).tolist(), prefers, strict=True)

    found = sharing.by_row(trainer, trainer.eval_dataset, trainer.plans["eval"], values)
    margins, prefers = zip(*found, strict=True)
    return {
        "accuracy": sum(margin > 0 for margin in margins) / len(margins),
        "margin": math.fsum(margins) / len(margins),
        "logp_accuracy": sum(prefers) / len(prefers),
    }


def run(trainer: Any, checkpoint: Path | None) -> None:
    """Train, from a checkpoint if there is one.

    Raises:
        TrainingError: a loss that is not a number.
    """
    with without_dropout(trainer.model):
        trainer.train(resume_from_checkpoint=str(checkpoint) if checkpoint else None)


@contextmanager
def settled() -> Iterator[None]:
    """Reproducible arithmetic, and no messages but our own; both are put back afterwards."""
    with ExitStack() as stack:
        for name in ("TQDM_DISABLE", "CUBLAS_WORKSPACE_CONFIG"):
            stack.callback(_restore, name, os.environ.get(name))
        os.environ["TQDM_DISABLE"] = "1"
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
        strict, warn = (
            torch.are_deterministic_algorithms_enabled(),
            torch.is_deterministic_algorithms_warn_only_enabled(),
        )
        stack.callback(torch.use_deterministic_algorithms, strict, warn_only=warn)
        filled = torch.utils.deterministic.fill_uninitialized_memory
        torch.use_deterministic_algorithms(True, warn_only=True)
        # Every new tensor would be filled with NaN, lest someone read what nobody has written.
        stack.callback(setattr, torch.utils.deterministic, "fill_uninitialized_memory", filled)
        torch.utils.deterministic.fill_uninitialized_memory = False
        stack.callback(transformers.logging.set_verbosity, transformers.logging.get_verbosity())
        transformers.logging.set_verbosity_error()
        if transformers.logging.is_progress_bar_enabled():
            stack.callback(transformers.logging.enable_progress_bar)
            transformers.logging.disable_progress_bar()
        if not datasets.are_progress_bars_disabled():
            stack.callback(datasets.enable_progress_bars)
            datasets.disable_progress_bars()
        stack.enter_context(warnings.catch_warnings())
        warnings.simplefilter("ignore")
        # TRL scores only the responses' tokens where Triton runs; on a CPU it scores prompt and padding too and throws
        # that away, which takes a quarter of the time. This is the one place that asks.
        stack.callback(setattr, trl.trainer.utils, "_use_triton", getattr(trl.trainer.utils, "_use_triton", None))
        trl.trainer.utils._use_triton = lambda device: True
        yield


def _restore(name: str, value: str | None) -> None:
    os.environ.pop(name, None) if value is None else os.environ.update({name: value})
