"""eval: one iteration's model on held-out prompts, beside iteration 0 and the iteration before."""

from pathlib import Path

import click

from pairloop.evaluation import benign, judging, measuring, stored, watch
from pairloop.evaluation.measuring import Measured
from pairloop.evaluation.settings import Means, Models
from pairloop.evaluation.stored import Before, Stored
from pairloop.files import records
from pairloop.files.records import Row
from pairloop.params import Params
from pairloop.prompts import slices
from pairloop.rankers.judge.ranker import unread
from pairloop.work import ray
from stages import common


@click.command(cls=common.Verb)
@click.option("--iteration", type=click.IntRange(min=0), required=True)
@click.argument("base", type=Path)
@click.argument("teacher", type=Path)
@click.argument("policy", type=Path)
@click.argument("held_out", type=Path)
@click.argument("previous", type=Path)
@click.argument("answered", type=Path)
@click.argument("results", type=Path)
@click.argument("chosen", type=Path)
@click.argument("first_chosen", type=Path)
@click.argument("watched", type=Path)
def main(
    iteration: int,
    base: Path,
    teacher: Path,
    policy: Path,
    held_out: Path,
    previous: Path,
    answered: Path,
    results: Path,
    chosen: Path,
    first_chosen: Path,
    watched: Path,
) -> None:
    """Answer HELD_OUT with POLICY into ANSWERED, and write metrics, outputs, judgements and watch into RESULTS.

    HELD_OUT are prompts for iteration 0, and what it ANSWERED for the others, which are compared with it; from
    iteration 2 on also with PREVIOUS, which iteration n-1 ANSWERED. CHOSEN and FIRST_CHOSEN are the pairs that training
    holds out in this iteration and in the first, and WATCHED is the watch of iteration 0, which reads none of them.
    """
    params = common.load()
    models = Models(policy, base, teacher)
    means = Means(params, common.scratch(), common.collect, f"eval@{iteration}")
    before = Before(_answers(held_out, iteration >= 1), _answers(previous, iteration >= 2))
    prompts = before.base.prompts if before.base else _held_out(held_out, params)
    with common.clock(results / "time" / "eval.json") as measured, ray.disconnected():
        harmless = benign.prompts(params.watch.benign)
        found, unrefused = measuring.measured(models, prompts, harmless, before, answered, means)
        earlier = watched if iteration else None
        seen = watch.watched(found[0], unrefused, earlier, (chosen, first_chosen), models, means)
        measured["tokens"] = sum(one.answers.tokens for one in found)
    _warn(found, means)
    records.write(answered, records.ANSWER, [one.answers.rows for one in found])
    records.write_json(results / "metrics.json", records.rounded(measuring.metrics(found, models, means)))
    records.write_json(results / "watch.json", records.rounded(seen))
    records.write_json(results / "model_outputs.json", measuring.outputs(found[0], f"iteration_{iteration}"))
    records.write_json(results / "best_of_outputs.json", _picked(found, iteration))
    records.write_json(results / "judgements.json", measuring.judgements(found[0], params.eval.judged))


def _answers(path: Path, there: bool) -> Stored | None:
    return stored.read(path) if there else None


def _held_out(path: Path, params: Params) -> list[Row]:
    rows = slices.held_out_rows(records.read(path, records.PROMPT), params.eval.prompts, str(path))
    slices.refuse_few_judged(rows, params.eval.judged, str(path))
    return rows


def _picked(found: list[Measured], iteration: int) -> list[dict[str, str]]:
    """The best of several answers to each prompt; nothing where none were picked."""
    picked = [(one, one.answers.setting.best_of) for one in found if one.answers.setting.best_of > 1]
    return [row for one, count in picked for row in measuring.outputs(one, f"iteration_{iteration}, best of {count}")]


def _warn(found: list[Measured], means: Means) -> None:
    """Say of verdicts that could not be read."""
    for judge in judging.kinds(means):
        common.warn(unread(measuring.asked_of(judge, found), means.params.judge.max_new_tokens))


if __name__ == "__main__":
    main()
