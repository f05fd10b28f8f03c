"""report: one page about the whole run, what `dvc plots` draws and `dvc metrics` shows, and the data set's card."""

from pathlib import Path
from typing import Any

import click

from pairloop.files import records
from pairloop.files.contents import Content
from pairloop.report import card, metrics, reproducible
from pairloop.report.data import Iteration, ReportData
from pairloop.report.page import render
from stages import common, schedule

STAGES = ("generate", "rank", "train", "eval")
SAMPLED = ("generate", "rank")
"""Stages that do not run where the pairs are published."""

CURVES = {"loss": "loss", "margin": "rewards/margins", "accuracy": "rewards/accuracies"}
ANSWERS = 24
"""Held-out prompts whose answers are shown side by side."""


@click.command(cls=common.Verb)
@click.argument("results", type=Path)
@click.argument("page", type=Path)
@click.argument("iterations", type=Path)
@click.argument("curves", type=Path)
@click.argument("data_card", type=Path)
@click.argument("numbers", type=Path)
def main(results: Path, page: Path, iterations: Path, curves: Path, data_card: Path, numbers: Path) -> None:
    """Write PAGE, the plots' data ITERATIONS and CURVES, DATA_CARD and the metrics NUMBERS from RESULTS."""
    schedule.check()
    data = collect(results)
    records.write_text(page, render(data))
    records.write_json(iterations, [_plotted(n, data) for n in range(len(data.models))])
    records.write_json(
        curves, [{"iteration": n} | dict(row) for n, i in enumerate(data.iterations, 1) for row in i.curve]
    )
    records.write_json(numbers, metrics.numbers(data.models[-1], data.times))
    splits = {
        f"{split}_iteration_{n}": Content(**i.pair["files"][split])
        for n, i in enumerate(data.iterations, 1)
        for split in ("train", "test")
    }
    params = common.load()
    origin = reproducible.given(params.pair.published) if params.pair.published else _sampled(len(data.models))
    words = data.base, data.ranker, params.pool.source, origin
    records.write_text(data_card, card.dataset_card(splits, *words, params.pair.published is not None))


def _sampled(models: int) -> str:
    """What sampling the responses again would give: iterations may have had different engines."""
    settings = [common.load(n) for n in range(1, models)]
    return " ".join(dict.fromkeys(reproducible.promise(one.sampler, one.generate.batch_invariant) for one in settings))


def collect(results: Path) -> ReportData:
    """Everything that the page shows, read from the files of the iterations that there are now."""
    params = common.load()
    numbers = range(1, params.iterations + 1)
    folders = {n: results / f"iteration_{n}" for n in range(params.iterations + 1)}
    teacher = records.read_json(results / "teacher.json")
    return ReportData(
        base=params.base.model,
        ranker=params.rank.ranker,
        responses=params.generate.n,
        parameters={key: value for key, value in common.raw().items() if key != "schedule"},
        pool=records.read_json(results / "pool.json"),
        teacher=teacher if "pairs" in teacher else None,
        iterations=[_iteration(folders[n], params.pair.published is None) for n in numbers],
        models=[records.read_json(folder / "metrics.json") for folder in folders.values()],
        times=_times(results, folders, params.pair.published is None),
        samples=[{"iteration": n} | row for n in numbers for row in records.read_json(folders[n] / "samples.json")],
        answers=_answers(list(folders.values())),
    )


def _iteration(folder: Path, sampled: bool) -> Iteration:
    """What an iteration reported; files of another run, that sampled its responses, may still lie beside it."""
    names = (*SAMPLED, "pair", "train") if sampled else ("pair", "train")
    steps: dict[str, Any] = dict.fromkeys(SAMPLED)
    steps |= {step: records.read_json(folder / f"{step}.json") for step in names}
    return Iteration(**steps, curve=_curve(folder / "training" / "plots" / "metrics"))


def _curve(folder: Path) -> list[dict[str, float]]:
    """DVCLive's tables of one training, side by side."""
    columns = {name: _column(folder / f"{path}.tsv") for name, path in CURVES.items()}
    return [{"step": step} | {name: values[step] for name, values in columns.items()} for step in columns["loss"]]


def _column(table: Path) -> dict[int, float]:
    lines = table.read_text(encoding="utf-8").splitlines()[1:]
    return {int(step): float(value) for step, value in (line.split("\t") for line in lines)}


def _times(results: Path, folders: dict[int, Path], sampled: bool) -> list[dict[str, Any]]:
    files: list[tuple[str, int | None, Path]] = [
        (stage, None, results / "time" / f"{stage}.json") for stage in ("base", "teach")
    ]
    looped = STAGES if sampled else [stage for stage in STAGES if stage not in SAMPLED]
    files += [(stage, n, folder / "time" / f"{stage}.json") for stage in looped for n, folder in folders.items()]
    return [{"stage": stage, "iteration": n} | records.read_json(path) for stage, n, path in files if path.is_file()]


def _answers(folders: list[Path]) -> list[dict[str, Any]]:
    outputs = [records.read_json(folder / "model_outputs.json") for folder in folders]
    judgements = [records.read_json(folder / "judgements.json") for folder in folders]
    return [
        {
            "prompt": outputs[0][i]["instruction"],
            "constraints": judgements[0][i]["constraints"],
            "outputs": [rows[i]["output"] for rows in outputs],
            "passes": [rows[i]["passes"] for rows in judgements],
        }
        for i in range(min(ANSWERS, len(outputs[0])))
    ]


def _plotted(n: int, data: ReportData) -> dict[str, Any]:
    """One row of the plots' data: everything that changes from iteration to iteration."""
    model = data.models[n]
    row = {"iteration": n} | {f"win_rate_{judge}": rate["win_rate"] for judge, rate in model["win_rate"].items()}
    row |= {"constraint_pass_rate": model["constraints"]["pass_rate"]} if model["constraints"] else {}
    return row | {name: model[name] for name in ("mean_words", "truncated_share", "repetitive_share")}


if __name__ == "__main__":
    main()
