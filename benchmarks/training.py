"""How fast Pairloop trains, beside a plain script with TRL's DPOTrainer on the same pairs, and how far losses differ.

    dvc pull
    python -m benchmarks.training
    python -m benchmarks.training --method full

Each way runs in a process of its own, one after the other, so that its peak memory is its own. Batch, accumulation,
learning rate, schedule and adapter are those of params.yaml on every side, and so are the tokens; the rest is what each
has by default. TRL's script is what its documentation shows. A way's time runs from loading the model to the trained
policy; importing libraries is left out. Pairloop's holds writing the model and measuring one held-out pair as well.
"""

import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import click

WAYS: dict[str, dict[str, Any]] = {
    "TRL, its defaults": {"bf16": False},
    "TRL, without checkpointing": {"bf16": False, "gradient_checkpointing": False},
    "Pairloop": {},
    "Pairloop, reference_logps: computed": {"reference_logps": "computed"},
    "Pairloop, share_prompts: false": {"share_prompts": False, "reference_logps": "computed"},
}
"""Each way to train, and what it sets that is not its default. TRL's default number format is bfloat16, which it
refuses to use on a machine without a GPU."""

EXACT = "TRL, without checkpointing"
"""What losses are compared with."""


def job(project: Path, method: str, pairs: int | None) -> Any:
    """The job of iteration 1, as the stage `train` makes it from params.yaml, for `method` and its first `pairs`."""
    from dataclasses import replace

    from pairloop.params import replaced
    from stages import common, train

    found = common.load(1)
    found = found.model_copy(update={"train": replaced(found.train, "train", method=method)})
    data, base = project / "data", project / "models/iteration_0"
    splits = data / "train_iteration_1.parquet", data / "test_iteration_1.parquet"
    whole = train._job(found, 1, (base, base), data / "iteration_1/responses.parquet", splits)
    return replace(whole, pairs=whole.pairs[:pairs])


def rows_of(work: Any) -> Any:
    """The tokens that both sides train on."""
    from pairloop.models import references
    from pairloop.training import data

    tokenizer = references.load_tokenizer(work.base)
    shuffled = data.shuffle(work.pairs, work.seed, work.iteration)
    return tokenizer, data.encode(shuffled, tokenizer, work.params.max_length, work.sampled).rows


def settings(work: Any, rows: int, folder: str, changes: dict[str, Any]) -> Any:
    """TRL's configuration, with what both sides have in common."""
    from trl import DPOConfig

    from pairloop.training import dpo, trainer

    params = work.params
    return DPOConfig(
        output_dir=folder,
        beta=params.beta,
        num_train_epochs=params.num_train_epochs,
        learning_rate=work.learning_rate,
        lr_scheduler_type=params.lr_scheduler_type,
        warmup_steps=trainer.warmup_steps(params, rows),
        per_device_train_batch_size=params.per_device_train_batch_size,
        gradient_accumulation_steps=params.batch_pairs // params.per_device_train_batch_size,
        max_length=params.max_length,
        seed=dpo._seed(work) % 2**32,  # which the adapter's first values depend on
        # So that losses can be compared step by step; neither costs time.
        train_sampling_strategy="sequential",
        logging_steps=1,
        report_to="none",
        **changes,
    )


def plain(work: Any, changes: dict[str, Any], folder: str) -> list[float]:
    """TRL as its user writes it. Returns the loss of each step."""
    import datasets
    from peft import LoraConfig
    from trl import DPOTrainer

    from pairloop.models import references

    params = work.params
    tokenizer, rows = rows_of(work)
    lora = LoraConfig(task_type="CAUSAL_LM", r=params.lora_r, lora_alpha=params.lora_alpha, target_modules="all-linear")

    class Trainer(DPOTrainer):
        """TRL's, on Pairloop's tokens: its own would not end where the sampled ones do."""

        def _prepare_dataset(self, dataset: Any, *_: Any) -> Any:
            return dataset

    tuning = Trainer(
        model=str(references.weights(work.base)),
        args=settings(work, len(rows), folder, changes),
        train_dataset=datasets.Dataset.from_list(rows),
        processing_class=tokenizer,
        peft_config=lora if params.method == "lora" else None,
    )
    tuning.train()
    return [values["loss"] for values in tuning.state.log_history if "loss" in values]


def ours(work: Any, changes: dict[str, Any], folder: str) -> list[float]:
    """What the stage `train` does, with the fewest held-out pairs that it accepts. Returns the loss of each step."""
    from dataclasses import replace

    from pairloop.params import replaced
    from pairloop.training import dpo

    work = replace(work, test_pairs=work.test_pairs[:1], params=replaced(work.params, "train", **changes))
    losses: list[float] = []
    dpo.train(work, Path(folder, "model"), Path(folder, "scratch"), lambda step, values: losses.append(values["loss"]))
    return losses


def measure(project: Path, method: str, pairs: int | None, way: str) -> None:
    """Run one way in this process and print what it took, as JSON."""
    import datasets  # noqa: F401  imported before the clock starts, as are the others
    import peft  # noqa: F401
    import trl  # noqa: F401

    work, side = job(project, method, pairs), plain if way.startswith("TRL") else ours
    with tempfile.TemporaryDirectory() as folder:
        wall, processor = time.perf_counter(), time.process_time()
        losses = side(work, WAYS[way], folder)
        wall, processor = time.perf_counter() - wall, time.process_time() - processor
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024**2
    found = {"pairs": len(work.pairs), "losses": losses, "wall": wall, "cpu": processor, "peak": peak}
    click.echo(json.dumps(found))


@click.command()
@click.option("--project", type=Path, default=Path(), help="Where data/ and models/ of iteration 1 lie.")
@click.option("--method", type=click.Choice(["lora", "full"]), default="lora", show_default=True)
@click.option("--pairs", type=click.IntRange(min=1), help="Train on the first so many; all unless given.")
@click.option("--way", "chosen", multiple=True, type=click.Choice(list(WAYS)), help="All unless given.")
@click.option("--one", type=click.Choice(list(WAYS)), hidden=True)
def main(project: Path, method: str, pairs: int | None, chosen: tuple[str, ...], one: str | None) -> None:
    """Print pairs per second, peak memory and the largest difference of the losses of each way to train."""
    if one:
        measure(project, method, pairs, one)
        return
    found = {}
    click.echo("| way | pairs/s of CPU time | pairs/s | peak GB | losses differ by |\n|---|---|---|---|---|")
    for way in sorted(chosen or WAYS, key=lambda way: way != EXACT):
        command = [sys.executable, "-m", "benchmarks.training", "--project", str(project), "--method", method]
        command += ["--pairs", str(pairs)] if pairs else []
        shown = subprocess.run([*command, "--one", way], env=os.environ, stdout=subprocess.PIPE, text=True, check=True)
        found[way] = one_way = json.loads(shown.stdout.splitlines()[-1])
        exact = found.get(EXACT, one_way)["losses"]
        apart = max(abs(a - b) for a, b in zip(one_way["losses"], exact, strict=True))
        speeds = f"{one_way['pairs'] / one_way['cpu']:.3f} | {one_way['pairs'] / one_way['wall']:.3f}"
        click.echo(f"| {way} | {speeds} | {one_way['peak']:.2f} | {apart:.1e} |")


if __name__ == "__main__":
    main()
