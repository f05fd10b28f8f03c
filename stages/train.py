"""train: DPO on an iteration's pairs, from the policy of the iteration before."""

from array import array
from pathlib import Path

import click

from pairloop.files import records
from pairloop.files.records import Row
from pairloop.params import Params
from pairloop.report import reproducible
from pairloop.training import dpo
from pairloop.training.dpo import Job
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
    """Train PARENT on TRAIN_SPLIT and write MODEL; metrics and curves go into RESULTS.

    RESPONSES hold the tokens that were sampled; published pairs (pair.published) have none, and it is not read.
    """
    from dvclive import Live

    job = _job(common.load(iteration), iteration, (base, parent), responses, (train_split, test_split))
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


def _job(params: Params, iteration: int, models: tuple[Path, Path], responses: Path, splits: tuple[Path, Path]) -> Job:
    pairs, test_pairs = (records.read(path, records.PAIR) for path in splits)
    base, parent = models
    with_logps = params.train.reference_logps == "sampled"
    sampled, logps = ({}, {}) if params.pair.published else _sampled(responses, [*pairs, *test_pairs], with_logps)
    return Job(
        pairs=pairs,
        test_pairs=test_pairs,
        parent=parent,
        base=base,
        params=params.train,
        dtype=params.base.dtype,
        seed=params.seed,
        iteration=iteration,
        splits={path.stem: records.file_sha256(path) for path in splits},
        sampled=sampled,
        logps=logps,
        engine=_origin(params),
    )


def _origin(params: Params) -> str:
    if params.pair.published:
        return reproducible.given(params.pair.published)
    return reproducible.promise(params.sampler, params.generate.batch_invariant)


def _sampled(
    responses: Path, pairs: list[Row], with_logps: bool
) -> tuple[dict[tuple[str, str], "array[int]"], dict[tuple[str, str], "array[float]"]]:
    """The tokens of the pairs' responses, and their log-probabilities where these are asked for and there.

    Of equal texts those of the first: which was paired cannot be told.
    """
    wanted = {(pair["prompt_id"], pair[side][-1]["content"]) for pair in pairs for side in ("chosen", "rejected")}
    found: dict[tuple[str, str], array[int]] = {}
    likely: dict[tuple[str, str], array[float]] = {}
    for batch in records.stream(responses, records.RESPONSE):
        for row in batch:
            for i, (text, ids) in enumerate(zip(row["responses"], row["token_ids"], strict=True)):
                key = row["prompt_id"], text
                if key in wanted and key not in found:
                    found[key] = array("i", ids)
                    if with_logps and row["logps"] is not None:
                        likely[key] = array("f", row["logps"][i])
    return found, likely


if __name__ == "__main__":
    main()
