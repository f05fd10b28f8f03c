"""eval: one iteration's model on held-out prompts, beside iteration 0; and moved on from it, where asked for."""

import json
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import click

from pairloop.errors import DataError
from pairloop.evaluation import comparison
from pairloop.files import records
from pairloop.files.records import Row
from pairloop.models import extrapolated
from pairloop.params import Params
from pairloop.prompts import slices
from pairloop.rankers import scoring
from pairloop.rankers.judge.ranker import unread
from pairloop.samplers import Sampling, answers
from pairloop.samplers.answers import Policy, Speaker
from pairloop.work import ray
from stages import common

Scores = list[list[float]]
"""For each prompt the score of the model's answer and of iteration 0's."""


@click.command(cls=common.Verb)
@click.option("--iteration", type=click.IntRange(min=0), required=True)
@click.argument("base", type=Path)
@click.argument("teacher", type=Path)
@click.argument("policy", type=Path)
@click.argument("held_out", type=Path)
@click.argument("answered", type=Path)
@click.argument("results", type=Path)
def main(
    iteration: int, base: Path, teacher: Path, policy: Path, held_out: Path, answered: Path, results: Path
) -> None:
    """Answer HELD_OUT with POLICY into ANSWERED, and write metrics, outputs and judgements into RESULTS.

    HELD_OUT are prompts for iteration 0, and what it ANSWERED for the others, which are compared with it.
    """
    params = common.load()
    prompts = records.read(held_out, records.PROMPT if iteration == 0 else records.ANSWER)
    if iteration == 0:
        prompts = slices.held_out_rows(prompts, params.eval.prompts, str(held_out))
    models = Models(policy, base, teacher)
    with common.clock(results / "time" / "eval.json") as measured, ray.disconnected():
        reference = None if iteration == 0 else prompts
        own = _evaluated(models, prompts, reference, params, f"eval@{iteration}")
        moved = _moved(models, prompts, params, f"eval@{iteration}") if iteration else []
        answers = [*own.answers, *(row for _, found in moved for row in found.answers)]
        measured["tokens"] = sum(row["token_counts"][0] for row in answers)
    beyond = [{"factor": factor} | _metrics(found, params) for factor, found in moved]
    metrics = _metrics(own, params) | ({"extrapolated": beyond} if beyond else {})
    records.write(answered, records.ANSWER, [_answered(prompts, own.answers, own.scores)])
    records.write_json(results / "metrics.json", records.rounded(metrics))
    records.write_json(results / "model_outputs.json", _outputs(prompts, own.answers, f"iteration_{iteration}"))
    records.write_json(results / "judgements.json", _judgements(prompts, own.held[0], own.scores))


@dataclass(frozen=True)
class Models:
    """Where the models lie."""

    policy: Path
    base: Path
    teacher: Path


@dataclass(frozen=True)
class Evaluated:
    """What one model answered, and how that compares with iteration 0's answers."""

    answers: list[Row]
    reference: list[Row]
    held: tuple[list[bool | None], list[bool | None]]
    """Whether the constraints hold, of its answers and of iteration 0's."""

    scores: dict[str, Scores]
    """By each judge."""

    asked: dict[str, Row]
    """What a language model was asked, by judge."""


def _evaluated(
    models: Models, prompts: list[Row], reference: list[Row] | None, params: Params, label: str
) -> Evaluated:
    """A model's answers, judged beside `reference`; None: it is iteration 0 itself."""
    own = _answers(Policy(models.policy, models.base, params.base.dtype), prompts, params, label)
    other = own if reference is None else reference
    places = scoring.Places(models.base, models.teacher)
    judged = {kind: _judged(kind, places, prompts, own, other, params) for kind in params.eval.judges}
    return Evaluated(
        answers=own,
        reference=other,
        held=(comparison.passes(prompts, _texts(own)), comparison.passes(prompts, _texts(other))),
        scores={judge: found for judge, (found, _) in judged.items()},
        asked={judge: {"asked": counts} for judge, (_, counts) in judged.items() if counts},
    )


def _moved(models: Models, prompts: list[Row], params: Params, label: str) -> list[tuple[float, Evaluated]]:
    """The same for the model moved on by each factor: the same prompts, random streams and judges."""
    found = []
    for factor in params.eval.extrapolate:
        with extrapolated.moved(models.policy, models.base, factor, common.scratch()) as folder:
            beyond = replace(models, policy=folder)
            found.append((factor, _evaluated(beyond, prompts, prompts, params, f"{label}, moved on by {factor:g}")))
    return found


def _answers(policy: Policy, prompts: list[Row], params: Params, label: str) -> list[Row]:
    """One answer per prompt; every model draws from the same random streams, so that only the models differ."""
    sampling = Sampling(params.eval.temperature, params.eval.top_p, params.eval.top_k, params.eval.max_new_tokens)
    parallel = params.vllm.tensor_parallel_size if params.eval_sampler == "vllm" else None
    actors = _actors(params, (policy.base, policy.folder), parallel)
    engine = params.eval_sampler, params.vllm
    speaker = Speaker(policy, sampling, params.eval.shard_prompts, common.scratch(), *engine, elsewhere=actors)
    shards = answers.answer(prompts, speaker, (params.seed, "eval"), 1)
    return common.collect(shards, len(prompts), label)


def _actors(params: Params, needs: tuple[Path, ...], parallel: int | None) -> ray.Actors | None:
    return ray.Actors(params.ray, needs, parallel) if params.eval.engine == "ray" else None


def _judged(
    kind: str, places: scoring.Places, prompts: list[Row], own: list[Row], reference: list[Row], params: Params
) -> tuple[Scores, dict[str, int] | None]:
    """For each prompt the score of this model's answer and of iteration 0's; and what a language model was asked.

    A judge that scores an answer by itself has scored iteration 0's when that was evaluated.
    """
    judge = scoring.configured(kind, places, params)
    scoring.make_room(judge)
    texts = _texts(own)
    if kind not in scoring.ALONE:
        pairs = [[mine, theirs] for mine, theirs in zip(texts, _texts(reference), strict=True)]
        found = _scored(judge, prompts, pairs, params)
        asked = scoring.judge_counts(found)
        common.warn(unread(asked, params.judge.max_new_tokens))
        return [row["scores"] for row in found], asked
    mine = [row["scores"] for row in _scored(judge, prompts, [[text] for text in texts], params)]
    theirs = mine if reference is own else [_known(kind, row) for row in reference]
    return [both[0] + both[1] for both in zip(mine, theirs, strict=True)], None


def _known(judge: str, reference: Row) -> list[float]:
    found = json.loads(reference["judged"])
    if judge not in found:
        raise DataError(f"iteration 0's answers are not judged by {judge}: evaluate iteration 0 first")
    return list(found[judge])


def _scored(judge: scoring.Ranking, prompts: list[Row], answers: list[list[str]], params: Params) -> list[Row]:
    items = [row | {"responses": texts} for row, texts in zip(prompts, answers, strict=True)]
    needs = tuple(folder for folder in (judge.places.base, judge.places.teacher) if folder.exists())
    actors = _actors(params, needs, judge.parallel)
    shards = scoring.score(items, judge, params.eval.shard_prompts, common.scratch(), actors)
    return common.collect(shards, len(items), f"judge {judge.kind}")


def _texts(rows: list[Row]) -> list[str]:
    return [row["responses"][0] for row in rows]


def _answered(prompts: list[Row], own: list[Row], scores: dict[str, Scores]) -> list[Row]:
    """The prompts with this model's answers, and its scores by the judges that look at nothing else."""
    alone = {judge: found for judge, found in scores.items() if judge in scoring.ALONE}
    return [
        {name: row[name] for name in records.PROMPT}
        | answer
        | {"judged": json.dumps({judge: found[i][:1] for judge, found in alone.items()})}
        for i, (row, answer) in enumerate(zip(prompts, own, strict=True))
    ]


def _metrics(found: Evaluated, params: Params) -> dict[str, Any]:
    resamples, seed = params.eval.bootstrap, params.seed
    texts = _texts(found.answers), _texts(found.reference)
    return {
        "prompts": len(found.answers),
        "win_rate": {
            judge: comparison.judge(scores, *texts, resamples, seed)
            | {"teacher": judge in params.teachers}
            | found.asked.get(judge, {})
            for judge, scores in found.scores.items()
        },
        "constraints": comparison.constraint_rate(*found.held, resamples, seed),
    } | comparison.form(found.answers)


def _outputs(prompts: list[Row], own: list[Row], generator: str) -> list[dict[str, str]]:
    """AlpacaEval's file format."""
    return [
        {
            "instruction": row["prompt"],
            "output": answer["responses"][0],
            "generator": generator,
            "dataset": row["source"],
        }
        for row, answer in zip(prompts, own, strict=True)
    ]


def _judgements(prompts: list[Row], held: list[bool | None], scores: dict[str, Scores]) -> list[Row]:
    """What stands behind the rates, prompt by prompt: scores are of this model's answer and of iteration 0's."""
    return [
        {
            "prompt_id": row["prompt_id"],
            "constraints": json.loads(row["constraints"]) if row["constraints"] else None,
            "passes": held[i],
            "scores": {judge: [round(value, 6) for value in found[i]] for judge, found in scores.items()},
        }
        for i, row in enumerate(prompts)
    ]


if __name__ == "__main__":
    main()
