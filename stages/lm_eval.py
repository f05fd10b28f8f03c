"""lm_eval: one iteration's model on tasks of lm-eval."""

from pathlib import Path

import click

from pairloop.errors import ParameterError
from pairloop.evaluation import harness
from pairloop.files import records
from pairloop.models import references
from stages import common


@click.command(cls=common.Verb)
@click.option("--iteration", type=click.IntRange(min=0), required=True)
@click.argument("base", type=Path)
@click.argument("policy", type=Path)
@click.argument("results", type=Path)
def main(iteration: int, base: Path, policy: Path, results: Path) -> None:
    """Run the tasks of `lm_eval.tasks` on POLICY, and write their numbers into RESULTS.

    An adapter is merged into BASE in memory: nothing is written for lm-eval to read.
    """
    params = common.load()
    own = params.lm_eval
    if not own.tasks:
        raise ParameterError(
            f"lm_eval.tasks is empty: name tasks, as in `make lm-eval ITERATION={iteration} TASKS=hellaswag`"
        )
    with common.clock(results / "time" / "lm_eval.json"):
        tasks = harness.load(own.tasks, own.include_path)
        model = references.load_policy(policy, base, params.base.dtype)
        found = harness.measure(tasks, model, references.load_tokenizer(base), own, params.seed)
    records.write_json(results / "lm_eval.json", records.rounded(found, 6))


if __name__ == "__main__":
    main()
