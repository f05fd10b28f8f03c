"""What is kept of a training: its metrics, and the folder with the weights, their card and their lineage."""

from collections.abc import Mapping
from itertools import chain
from pathlib import Path
from typing import Any

from pairloop.training import batches, card, checkpoint, data, output
from pairloop.training.job import Job


def parameters(job: Job) -> dict[str, Any]:
    """The parameters that decide what is learnt."""
    # What is learnt does not depend on where, nor on other iterations' rates.
    params = job.params.model_dump(exclude={"devices", "launcher"})
    params["learning_rate"] = job.learning_rate
    return {"iteration": job.iteration, "seed": job.seed, "dtype": job.dtype, **params}


def metrics(job: Job, pairs: data.Encoded, test: data.Encoded, trainer: Any, plan: batches.Plan) -> dict[str, Any]:
    """Counts and losses of a training that has ended; see `dpo.train`."""
    from pairloop.training import forward

    losses = [values["loss"] for values in trainer.state.log_history if "loss" in values]
    return {
        "rows_in": len(job.pairs),
        "rows_out": len(pairs.rows),
        "dropped": pairs.dropped,
        "truncated_responses": pairs.truncated_responses,
        "test_rows_in": len(job.test_pairs),
        "test_rows_out": len(test.rows),
        "test_dropped": test.dropped,
        "tokens": pairs.tokens * job.params.num_train_epochs,
        "wasted_tokens": forward.wasted(trainer, pairs.rows, [batch for step in chain(*plan) for batch in step]),
        "steps": trainer.state.global_step,
        "loss_first": losses[0],
        "loss_last": losses[-1],
    }


def write(job: Job, trained: Any, weights: Any, metrics: Mapping[str, Any], out: Path, scratch: Path) -> None:
    """Write the folder of the trained policy, and in the scratch folder how the training went."""
    from pairloop.training import watch

    base = output.base_name(job.base)
    with output.complete(out) as folder:
        if job.params.method != "full":
            output.write_adapter(trained.model, base, job.params.save_dtype, folder, weights)
        else:
            output.write_full(trained.model, job.base, job.params.save_dtype, folder, weights)
        output.copy_tokenizer(job.base, folder)
        output.write_lineage(folder, base, job.parent, job.iteration, job.splits, parameters(job))
        card.write_card(folder, base, job.iteration, parameters(job), metrics, job.engine)
        checkpoint.finish(scratch, folder, metrics, watch.history(trained))
