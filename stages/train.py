"""train: DPO on an iteration's pairs, from the policy of the iteration before."""

from pathlib import Path
from typing import Any

import click

from pairloop.files import records
from pairloop.models import references
from pairloop.params import Params
from pairloop.report import reproducible
from pairloop.training import dpo
from stages import common


@click.command(cls=common.Verb)
@click.option("--iteration", type=click.IntRange(min=1), required=True)
@click.argument("base", type=Path)
@click.argument("parent", type=Path)
@click.argument("responses", type=Path)
@click.argument("train_split", type=Path)
@click.argument("test_split", type=Path)
@click.argument("model", type=Path)
@click.argument("results", type=Path)
def main(
    iteration: int,
    base: Path,
    parent: Path,
    responses: Path,
    train_split: Path,
    test_split: Path,
    model: Path,
    results: Path,
) -> None:
    """Train PARENT on TRAIN_SPLIT and write MODEL; metrics and curves go into RESULTS."""
    from dvclive import Live

    splits = train_split, test_split
    job = _job(common.load(iteration), iteration, base, parent, splits, _truncated(responses))
    with (
        common.clock(results / "time" / "train.json") as measured,
        Live(str(results / "training"), dvcyaml=None, report=None, save_dvc_exp=False, monitor_system=False) as live,
    ):

        def log(step: int, values: dict[str, float]) -> None:
            live.step = step
            for name, value in values.items():
                live.log_metric(name, value)

        metrics = dpo.train(job, model, common.scratch() / "training", log)
        measured["tokens"] = metrics["tokens"]
    records.write_json(results / "train.json", records.rounded(metrics))


def _job(
    params: Params,
    iteration: int,
    base: Path,
    parent: Path,
    splits: tuple[Path, Path],
    truncated: frozenset[tuple[str, str]],
) -> dpo.Job:
    pairs, test_pairs = (records.read(path, records.PAIR) for path in splits)
    return dpo.Job(
        pairs=pairs,
        test_pairs=test_pairs,
        parent=parent,
        base=base,
        params=params.train,
        dtype=params.base.dtype,
        seed=params.seed,
        iteration=iteration,
        splits={path.stem: references.file_sha256(path) for path in splits},
        truncated=truncated,
        sampled=reproducible.promise(params.sampler, params.generate.batch_invariant),
    )


def _truncated(responses: Path) -> frozenset[tuple[str, str]]:
    """Responses that were cut off: training must not teach that they ended there."""
    found: set[tuple[str, str]] = set()
    for batch in records.stream(responses, records.RESPONSE):
        for row in batch:
            ends: list[Any] = list(zip(row["responses"], row["finish_reasons"], strict=True))
            found |= {(row["prompt_id"], text) for text, reason in ends if reason == "length"}
    return frozenset(found)


if __name__ == "__main__":
    main()
