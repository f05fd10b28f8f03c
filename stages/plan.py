"""plan: what a recipe or change would run, validated and counted, without running or writing anything."""

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click

from pairloop import params as parameters
from pairloop.files import records
from pairloop.models import fetch, references
from pairloop.prompts import slices
from stages import common, pool
from stages.schedule import composed

POOL = Path("results/pool.json")
"""Counts of the pool that was made last: those of the pool to make, unless `pool` changes."""

BASE, PROMPTS, HELD_OUT = Path("models/iteration_0"), Path("data/pool.parquet"), Path("data/eval.parquet")
"""What the last run began with."""


@click.command(cls=common.Verb)
@click.argument("changes", nargs=-1)
def main(changes: tuple[str, ...]) -> None:
    """Show what `dvc exp run -S CHANGE ...` would do, as in `python -m stages.plan +recipe=mistral-7b iterations=4`."""
    from omegaconf import OmegaConf

    values: Any = OmegaConf.to_container(composed(changes))
    parameters.parse(values)
    if POOL.is_file() and values["pool"] == common.raw().get("pool"):
        refuse_too_few(values, records.read_json(POOL))
        refuse_too_long(values)
    for line in describe(values):
        click.echo(line)


def refuse_too_few(values: Mapping[str, Any], counts: Mapping[str, Any]) -> None:
    """Refuse what a pool with these counts has too few prompts for.

    Raises:
        DataError: how many prompts are needed and how many there are.
    """
    params = parameters.parse(values)
    rows, held_out = ([records.Row()] * counts[name] for name in ("rows_out", "eval_rows_out"))
    slices.held_out_rows(held_out, params.eval.prompts, params.pool.eval_source)
    for n in range(1, params.iterations + 1):
        slices.slice_for(rows, n, params.prompts.per_iteration, params.teach.prompts, params.prompts.reuse)


def refuse_too_long(values: Mapping[str, Any]) -> None:
    """Refuse prompts that the base has no room for, where base and pool are at hand and stay as they are."""
    pointer, unchanged = BASE / "model.json", all(values[name] == common.raw().get(name) for name in ("base", "seed"))
    if not (unchanged and all(path.is_file() for path in (pointer, PROMPTS, HELD_OUT))):
        return
    made, cache = records.read_json(pointer), references.cache_root()
    if fetch.at_hand(fetch.pinned(made["reference"], made["revision"]), made["sha256"], cache):
        rows, held_out = (records.read(path, records.PROMPT) for path in (PROMPTS, HELD_OUT))
        pool.refuse_too_long(rows, held_out, parameters.parse(values), BASE)


def describe(values: Mapping[str, Any]) -> list[str]:
    """One line per stage, in the order in which they run."""
    first = parameters.parse(values)
    lines = [
        f"base        {first.base.model} in {first.base.dtype}",
        f"pool        {first.pool.source}; held out: {first.pool.eval_source}",
        _teach(first.teach) if "specialist" in (first.rank.ranker, *first.eval.judges) else "",
    ]
    for n in range(1, first.iterations + 1):
        lines += _iteration(parameters.parse(values, n), n)
    judges = ", ".join(f"{judge} (the teacher)" if judge == first.rank.ranker else judge for judge in first.eval.judges)
    lines.append(f"eval@0-{first.iterations}    {first.eval.prompts} held-out prompts, judged by {judges}")
    return [line for line in lines if line]


def _teach(teach: parameters.Teach) -> str:
    sources = [f"{teach.prompts} prompts"] if teach.constructed else []
    return "teach       " + " and ".join(
        sources + ([f"preferences of {teach.preferences}"] if teach.preferences else [])
    )


def _iteration(params: parameters.Params, n: int) -> list[str]:
    generate, train, per_iteration = params.generate, params.train, params.prompts.per_iteration
    per_prompt = params.pair.k if params.pair.strategy == "best_k_worst_k" else 1
    most = per_prompt * (per_iteration - round(params.pair.test_fraction * per_iteration))
    steps = math.ceil(most / train.batch_pairs) * train.num_train_epochs
    return [
        f"generate@{n}  {per_iteration} prompts × {generate.n} = {per_iteration * generate.n} responses of at most "
        f"{generate.max_new_tokens} tokens, temperature {generate.temperature}, top_p {generate.top_p}, "
        f"{generate.engine}",
        f"rank@{n}      {per_iteration * generate.n} responses by {params.rank.ranker}",
        f"pair@{n}      {params.pair.strategy}: at most {most} pairs to train on",
        f"train@{n}     {train.method}, beta {train.beta}, learning rate {train.learning_rate}, at most {steps} steps "
        f"of {train.batch_pairs} pairs",
    ]


if __name__ == "__main__":
    main()
