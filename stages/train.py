"""train: DPO on an iteration's pairs, from the policy of the iteration before."""

import dataclasses
from collections import Counter
from pathlib import Path
from typing import Any

import click

from pairloop.errors import TrainingError
from pairloop.files import records
from pairloop.params import Params
from pairloop.report import reproducible
from pairloop.training import dpo, earlier, wins
from pairloop.training.job import Job
from stages import common


@click.command(cls=common.Verb)
@click.option("--iteration", type=click.IntRange(min=1), required=True)
@click.argument("base", type=Path)
@click.argument("parent", type=Path)
@click.argument("responses", type=Path)
@click.argument("train_split", type=Path)
@click.argument("test_split", type=Path)
@click.argument("earlier_pairs", type=Path)
@click.argument("rankings", type=Path)
@click.argument("model", type=Path)
@click.argument("results", type=Path)
def main(
    iteration: int,
    base: Path,
    parent: Path,
    responses: Path,
    train_split: Path,
    test_split: Path,
    earlier_pairs: Path,
    rankings: Path,
    model: Path,
    results: Path,
) -> None:
    """Train PARENT on TRAIN_SPLIT and write MODEL; metrics and curves go into RESULTS.

    RESPONSES hold the tokens that were sampled; published pairs (pair.published) have none, and it is not read.
    EARLIER_PAIRS is read where `train.data` asks for pairs of the iterations before, and RANKINGS where `train.loss`
    asks how likely a response is to win.
    """
    own = _job(common.load(iteration), iteration, (base, parent), responses, (train_split, test_split))
    job, counts = _with_earlier(own, earlier_pairs)
    if "sppo_soft" in job.params.loss:
        job = dataclasses.replace(job, win_probabilities=_wins(rankings, {pair["prompt_id"] for pair in job.pairs}))
    with (
        common.clock(results / "time" / "train.json") as measured,
        _curves(results / "training") as live,
    ):

        def log(step: int, values: dict[str, float]) -> None:
            live.step = step
            for name, value in values.items():
                live.log_metric(name, value)

        metrics = dpo.train(job, model, common.scratch() / "training", log)
        measured["tokens"] = metrics["tokens"]
    records.write_json(results / "train.json", records.rounded(metrics) | {"pairs_by_iteration": counts})


def _curves(folder: Path) -> Any:
    """What writes values step by step, as `dvc plots` reads them."""
    from dvclive import Live
    from scmrepo.exceptions import SCMError

    try:
        return Live(str(folder), dvcyaml=None, report=None, save_dvc_exp=False, monitor_system=False)
    except SCMError as error:
        raise TrainingError(f"train: DVC asks git for the commit that is worked on: {error}. Commit first.") from error


def _job(params: Params, iteration: int, models: tuple[Path, Path], responses: Path, splits: tuple[Path, Path]) -> Job:
    pairs, test_pairs = (records.read(path, records.PAIR) for path in splits)
    base, parent = models
    everything = [*pairs, *test_pairs]
    given, invariant = params.pair.published, params.generate.batch_invariant
    tokens, logps = ({}, {}) if given else earlier.sampled(responses, everything)
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
        sampled=tokens,
        logps=logps if params.train.reference_logps == "sampled" else {},
        engine=reproducible.given(given) if given else reproducible.promise(params.sampler, invariant),
    )


def _wins(rankings: Path, prompts: set[str]) -> dict[tuple[str, str], float]:
    """How likely each response to some prompts is to beat the prompt's others; equal texts are as likely."""
    ranked = (row for batch in records.stream(rankings, records.RANKING) for row in batch)
    return {
        (row["prompt_id"], text): probability
        for row in ranked
        if row["prompt_id"] in prompts
        for text, probability in zip(row["responses"], wins.win_probabilities(row), strict=True)
    }


def _with_earlier(job: Job, path: Path) -> tuple[Job, dict[str, int]]:
    """The job with the pairs of the iterations before that `train.data` asks for, and how many come from each."""
    asked = job.iteration > 1 and job.params.data != "current"
    found = records.read(path, records.EARLIER) if asked else []
    chosen = earlier.choose(job.pairs, found, job.params, job.seed, job.iteration)
    counts = Counter(row["iteration"] for row in chosen) | Counter({job.iteration: len(job.pairs)})
    more: dict[str, Any] = {
        "pairs": [*job.pairs, *chosen],
        "sampled": earlier.known(chosen) | dict(job.sampled),
        "splits": {**job.splits, **({path.stem: records.file_sha256(path)} if asked else {})},
    }
    return dataclasses.replace(job, **more), {str(n): count for n, count in sorted(counts.items())}


if __name__ == "__main__":
    main()
