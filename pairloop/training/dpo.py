"""Direct Preference Optimization: pairs and a policy become the next policy.

TRL trains; here stands what it trains on, from what and against what, and what is kept of it. DPO is Rafailov et al.
2023, https://arxiv.org/abs/2305.18290.
"""

import hashlib
import json
import sys
from collections.abc import Callable
from itertools import chain
from pathlib import Path
from typing import Any

import click

from pairloop.errors import DataError, TrainingError
from pairloop.models import four_bit, references
from pairloop.training import batches, checkpoint, data, memory, policy, reference, result, worker, workers
from pairloop.training.job import Job
from pairloop.work import shards

Log = Callable[[int, dict[str, float]], None]


def train(job: Job, out: Path, scratch: Path, log: Log = lambda step, values: None) -> dict[str, Any]:
    """Train a policy and write it to `out`, which appears only when complete.

    Killed and called again with an equal job, it goes on from the last checkpoint, and gives the same bytes as an
    unbroken run on the same machine. If an equal job has made `out` meanwhile, as one does that goes on after the
    command that started it was killed, that is taken.

    Args:
        job: data, models and parameters.
        out: folder to make: adapter or weights, tokenizer, README.md, lineage.json.
        scratch: folder for checkpoints; a job that ended leaves a small file there that says how it went.
        log: called after each optimiser step with its number and loss, rewards/margins, rewards/accuracies,
            learning_rate and grad_norm. After a resume the earlier steps are reported again.

    Returns:
        rows_in, rows_out, dropped {reason: count} and the same with test_; truncated_responses (cut at max_length);
        tokens (read in all steps); steps; wasted_tokens (share of computed positions that are padding); loss_first,
        loss_last (of a step); before, after: see `trainer.held_out`.

    Raises:
        TrainingError: no pairs, parameters that do not fit together, or a loss that is not a number.
        DataError: a pair is no single-turn conversation, or `out` holds something else.
    """
    _check(job)
    processes = workers.count(job.params, job.dtype)
    with checkpoint.owned(checkpoint.place(scratch, fingerprint(job), processes, job.params.launcher)) as folder:
        if out.is_dir() and any(out.iterdir()):
            return _taken(out, folder, log)
        if workers.alone(processes, job.params.launcher):
            return work(job, out, folder, log)
        job.write(folder / "job.json", out)
        workers.run(folder, processes, job.params.launcher, log)
        return _made(out, folder)[0]


def _taken(out: Path, folder: Path, log: Log) -> dict[str, Any]:
    """What training gives, where an equal job has made `out`."""
    metrics, steps = _made(out, folder)
    click.echo(f"train: another run has trained the same and made {out}, which is taken", err=True)
    for step, values in steps:
        log(step, values)
    return metrics


def _made(out: Path, folder: Path) -> tuple[dict[str, Any], checkpoint.History]:
    found = checkpoint.finished(folder, out)
    if found is None:
        raise DataError(f"train: {out} exists and is not empty. Choose another folder, or delete it.")
    return found


def fingerprint(job: Job) -> str:
    """sha256 of all that decides the weights: data, parameters, models and package versions."""
    parts = {
        "pairs": list(job.pairs),
        "test_pairs": list(job.test_pairs),
        "parent": references.fingerprint(job.parent),
        "base": references.fingerprint(job.base),
        "parameters": result.parameters(job),
        "logps": sorted([*key, list(logps)] for key, logps in job.logps.items()),
        "sampled": sorted([*key, list(ids)] for key, ids in job.sampled.items()),
        "win_probabilities": sorted([*key, value] for key, value in job.win_probabilities.items()),
        "packages": checkpoint.packages(job.params.method),
    }
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()


def work(job: Job, out: Path, folder: Path, log: Log, rank: int = 0, processes: int = 1) -> dict[str, Any]:
    """Train in this process, which is number `rank` of those that share each step. The first of them writes `out`.

    Args and returns as of `train`; `folder` is for checkpoints.
    """
    from pairloop.models.packed import frozen_linears
    from pairloop.training import sharing, trainer

    tokenizer = references.load_tokenizer(job.base)
    pairs, test = _encoded(job, tokenizer)
    most = job.params.per_device_train_batch_size
    plan = batches.plan(pairs.longest, job.params.batch_pairs, processes, most)
    held_out = batches.plan(test.longest, len(test.rows), processes, most)
    with trainer.settled(), memory.enough(job.params):
        model = policy.load(_start(job))
        with frozen_linears(model):
            tuning = _trainer(job, model, tokenizer, (pairs, test), (plan, held_out), rank, folder, log)
            before = trainer.held_out(tuning)
            newest = sharing.told(checkpoint.newest(folder) if rank == 0 else None)
            if newest and rank == 0:
                click.echo(f"train: goes on from {newest.name}", err=True)
            trainer.run(tuning, newest)
            metrics = result.metrics(job, pairs, test, tuning, plan)
            metrics |= {"before": before, "after": trainer.held_out(tuning)}
            weights = sharing.gathered(tuning)
            if rank == 0:
                result.write(job, tuning, weights, metrics, out, folder)
    return metrics


def _trainer(
    job: Job,
    model: Any,
    tokenizer: Any,
    splits: tuple[data.Encoded, data.Encoded],
    plans: tuple[batches.Plan, batches.Plan],
    rank: int,
    folder: Path,
    log: Log,
) -> Any:
    """The trainer of this process, ready to train."""
    from pairloop.training import averaging, trainer, watch

    (pairs, test), (train, held_out), size = splits, plans, job.params.batch_pairs
    prompts = [pairs.prompts[i : i + size] for i in range(0, len(pairs.rows), size)]
    saved = four_bit.trained(model) if job.params.method == "qlora" else {}
    means = [averaging.Mean(job.params.average)] if job.params.average else []
    built = trainer.build(
        policy=model,
        held_to=policy.reference(_start(job)),
        adapter=policy.fresh_adapter(_start(job), model),
        tokenizer=tokenizer,
        config=trainer.configure(job, _seed(job), len(pairs.rows), len(train[0][0]), folder),
        train=pairs.rows,
        test=test.rows,
        plans={"train": list(chain(*train[rank])), "eval": list(chain(*held_out[rank]))},
        callbacks=[*means, watch.Watch(log, prompts)],
    )
    if job.params.method == "qlora":
        four_bit.keep_precise(built.model, saved)
    trainer.prepare(built, job.params.share_prompts)
    return built


def _encoded(job: Job, tokenizer: Any) -> tuple[data.Encoded, data.Encoded]:
    """The pairs in the order of training, and the test pairs."""
    ordered = data.shuffle(job.pairs, job.seed, job.iteration)
    wins = job.win_probabilities if "sppo_soft" in job.params.loss else None
    pairs, test = (
        data.encode(rows, tokenizer, job.params.max_length, job.sampled, wanted)
        for rows, wanted in ((ordered, wins), (job.test_pairs, None))
    )
    _check_rows(job, pairs, test)
    reference.take_sampled(ordered, pairs, job.params, job.logps, _start(job).held_to_sampler)
    return pairs, test


def _start(job: Job) -> policy.Start:
    return policy.Start(job.parent, job.base, job.params, job.dtype, job.iteration)


def _seed(job: Job) -> int:
    return shards.seed_of(job.seed, job.iteration, "train")


def _check(job: Job) -> None:
    """Refuse at once what would fail or be ignored later."""
    import torch

    if job.params.method == "qlora":
        four_bit.check(references.load_config(job.base, references.weights(job.base)))
    if job.dtype == "float16" and not torch.cuda.is_available():
        raise TrainingError("base.dtype is float16, which trains only on a GPU. Use float32, or bfloat16 with care.")


def _check_rows(job: Job, pairs: data.Encoded, test: data.Encoded) -> None:
    for name, given, kept in (("train", job.pairs, pairs), ("test", job.test_pairs, test)):
        if not kept.rows:
            reasons = ", ".join(f"{reason}: {count}" for reason, count in kept.dropped.items())
            raise TrainingError(
                f"train: the {name} split of iteration {job.iteration} has {len(given)} pairs, of which none is left "
                f"({reasons}). At least one is needed: raise prompts.per_iteration or train.max_length, or relax the "
                "filters under pair."
            )


if __name__ == "__main__":  # one of several processes, which `workers` starts
    worker.serve(Path(sys.argv[1]), work)
