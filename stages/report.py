"""report: one page about the whole run, what `dvc plots` draws and `dvc metrics` shows, and the data set's card."""

from pathlib import Path
from typing import Any

import click

from pairloop.files import records
from pairloop.files.contents import Content
from pairloop.params import reading
from pairloop.report import card, metrics, reproducible
from pairloop.report.data import Iteration, ReportData
from pairloop.report.page import render
from stages import common, schedule

STAGES = ("generate", "rank", "train", "eval")
SAMPLED = ("generate", "rank")
"""Stages that do not run where the pairs are published."""

CURVES = {"loss": "loss", "margin": "rewards/margins", "accuracy": "rewards/accuracies"}


@click.command(cls=common.Verb)
@click.argument("results", type=Path)
@click.argument("published", type=Path)
@click.argument("page", type=Path)
@click.argument("iterations", type=Path)
@click.argument("curves", type=Path)
@click.argument("data_card", type=Path)
@click.argument("numbers", type=Path)
def main(
    results: Path, published: Path, page: Path, iterations: Path, curves: Path, data_card: Path, numbers: Path
) -> None:
    """Write PAGE, the plots' data ITERATIONS and CURVES, DATA_CARD and the metrics NUMBERS from RESULTS.

    PUBLISHED holds the parameters of the published run: the page says what differs from them.
    """
    schedule.check()
    data = collect(results, published)
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


def collect(results: Path, published: Path) -> ReportData:
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
        watches=_found(folders, "watch.json"),
        annotated=_annotated(results / "annotated"),
        ifeval=_found(folders, "ifeval.json"),
        preferences=_found(folders, "preferences.json"),
        lm_eval=_found(folders, "lm_eval.json"),
        published=reading.mapping(published.read_text(encoding="utf-8"), str(published)),
    )


def _found(folders: dict[int, Path], name: str) -> dict[int, Any]:
    """What not every run measures, of those iterations where it was."""
    asked = _asked(name.removesuffix(".json"))
    return {
        n: records.read_json(folder / name)
        for n, folder in folders.items()
        if (asked is None or str(n) in asked) and (folder / name).is_file()
    }


def _asked(stage: str) -> set[str] | None:
    """What the schedule has this optional stage do; None where it has none of that name.

    The files of another run that did more may still lie there.
    """
    scheduled = common.raw()["schedule"].get(stage)
    return None if scheduled is None else {str(name) for name in scheduled}


def _annotated(folder: Path) -> list[dict[str, Any]]:
    """AlpacaEval's figures of our iterations and of what stands beside them, with the day of the judging."""
    asked, found = _asked("annotated"), sorted(folder.glob("*/result.json"))
    return [_judged(path) for path in found if asked is None or path.parent.name in asked]


def _judged(result: Path) -> dict[str, Any]:
    time = result.with_name("time.json")
    day = records.read_json(time).get("judged_on") if time.is_file() else None
    return dict(records.read_json(result)) | {"judged_on": day}


def _iteration(folder: Path, sampled: bool) -> Iteration:
    """What an iteration reported; files of another run, that sampled its responses, may still lie beside it."""
    names = (*SAMPLED, "pair", "train") if sampled else ("pair", "train")
    steps: dict[str, Any] = dict.fromkeys(SAMPLED)
    steps |= {step: records.read_json(folder / f"{step}.json") for step in names}
    if sampled:
        steps["prompts"] = records.read_json(folder / "prompts.json")
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
    """Every held-out prompt with what each model answered, and what was found of that."""
    outputs = [records.read_json(folder / "model_outputs.json") for folder in folders]
    judgements = [records.read_json(folder / "judgements.json") for folder in folders]
    return [
        {
            "prompt": asked["instruction"],
            "source": asked["dataset"],
            "constraints": judgements[0][i]["constraints"],
            "outputs": [rows[i]["output"] for rows in outputs],
            "passes": [rows[i]["passes"] for rows in judgements],
            "met": [rows[i].get("met") for rows in judgements],
            "cut_off": [rows[i].get("cut_off") for rows in judgements],
            "wins": [_wins(rows[i]) for rows in judgements],
        }
        for i, asked in enumerate(outputs[0])
    ]


def _wins(judgement: dict[str, Any]) -> dict[str, float]:
    """By judge the share of its samples that the model's answer wins against the base model's."""
    scored = {judge: _won(*scores) for judge, scores in judgement["scores"].items()}
    return scored | dict(judgement.get("wins", {}))


def _won(own: float, base: float) -> float:
    return 0.5 if own == base else float(own > base)


def _plotted(n: int, data: ReportData) -> dict[str, Any]:
    """One row of the plots' data: everything that changes from iteration to iteration."""
    model = data.models[n]
    row = {"iteration": n} | {f"win_rate_{judge}": rate["win_rate"] for judge, rate in model["win_rate"].items()}
    for more in model.get("further", ()):
        if not more.get("best_of") and not more.get("factor"):
            at = f"at_{more['temperature']:g}"
            row |= {f"win_rate_{judge}_{at}": rate["win_rate"] for judge, rate in more["win_rate"].items()}
    row |= {"constraint_pass_rate": model["constraints"]["pass_rate"]} if model["constraints"] else {}
    return row | {name: model[name] for name in ("mean_words", "truncated_share", "repetitive_share")}


if __name__ == "__main__":
    main()
