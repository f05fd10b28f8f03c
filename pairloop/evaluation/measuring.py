"""A model's row of the results: everything that is measured in one setting, and what stands behind it."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from pairloop.evaluation import comparison, followed, judging
from pairloop.evaluation.agreement import agreement
from pairloop.evaluation.answering import Answers, answered, picker
from pairloop.evaluation.judging import Beside
from pairloop.evaluation.settings import Means, Models, Setting, settings
from pairloop.evaluation.stored import Before, Stored, check_same_prompts
from pairloop.files.records import Row
from pairloop.measures.statistics import FEW
from pairloop.params.ranking import Judged
from pairloop.prompts import slices


@dataclass(frozen=True)
class Measured:
    """A model's answers in one setting, and what judges say of them."""

    answers: Answers
    """How it answered, with `judged`."""

    base: Beside
    """Beside iteration 0's answers in the same setting; beside its plain ones where the best was picked, or the model
    was moved on."""

    previous: Beside | None
    """Beside those of the iteration before, in the same setting; None where that is iteration 0, or none."""


def measured(
    models: Models, prompts: Sequence[Row], harmless: Sequence[Row], before: Before, own: Path, means: Means
) -> tuple[list[Measured], list[Row]]:
    """Answer the prompts in every setting, and have the answers judged; with the answers to the harmless prompts.

    Args:
        models: who answers, and what judges read with.
        prompts: columns as in records.PROMPT.
        harmless: likewise: see `answering.answered`.
        before: what to compare with; without an answer of iteration 0, this is iteration 0, beside itself.
        own: the file that the answers will stand in.
        means: with what.

    Raises:
        DataError: the answers of before are to other prompts, or there are none in a setting; names the file.
    """
    asked = settings(means.params.eval, base=before.base is None)
    _check(before, asked, means)
    answers, unrefused = answered(models, asked, prompts, harmless, means)
    found = judging.alone(answers, before.base is not None, models, means)
    del answers
    base = before.base or Stored(own, [row for one in found for row in one.rows])
    opponents = [(one, base.given(_reference(one.setting, asked[0]))) for one in found]
    earlier = [(one, before.previous.given(one.setting)) for one in found] if before.previous else []
    said = judging.beside([*opponents, *earlier], models, means)
    beside_previous: Sequence[Beside | None] = said[len(found) :] or [None] * len(found)
    return [Measured(*three) for three in zip(found, said[: len(found)], beside_previous, strict=True)], unrefused


def _check(before: Before, asked: Sequence[Setting], means: Means) -> None:
    """Before anything is answered, whether the answers of before can be compared with."""
    base, main = before.base, asked[0]
    if base is None:
        return
    checked = [(base, _reference(setting, main)) for setting in asked]
    checked += [(before.previous, setting) for setting in asked] if before.previous else []
    for stored, setting in checked:
        check_same_prompts(stored, setting, base, main)
        judging.check_judged(stored, means)


def _reference(setting: Setting, main: Setting) -> Setting:
    """In which setting iteration 0's answers are what a model's are compared with: plain ones, always."""
    return setting if setting.plain else Setting(main.temperature)


def metrics(found: Sequence[Measured], models: Models, means: Means) -> Row:
    """All numbers of a model: those of the main setting, and a row of the same for each further one.

    Returns:
        The content of results/iteration_n/metrics.json: prompts, whether they are `few`, samples, temperature,
        frequency penalty, `judged`, the number of prompts that judges compare, on which win rates and agreement stand,
        `win_rate` by judge, `agreement` of every two judges, `constraints`, among them the gains apart from length and
        the rates of each kind, how the answers look, and `further`: rows with the same keys, and `best_of` with
        `ranker`, or `factor`, where there is such a one.
    """
    further = [_named(one, models, means) | _numbers(one, models, means) for one in found[1:]]
    return _numbers(found[0], models, means) | {"further": further}


def _named(found: Measured, models: Models, means: Means) -> Row:
    """What tells a further row from the main one, beside its temperature."""
    setting = found.answers.setting
    if setting.best_of > 1:
        return {"best_of": setting.best_of, "ranker": picker(models, means.params).name}
    return {"factor": setting.moved_on} if setting.moved_on else {}


def _numbers(found: Measured, models: Models, means: Means) -> Row:
    resamples, seed, rows = means.params.eval.bootstrap, means.params.seed, found.answers.rows
    won = {judge: comparison.wins(scores) for judge, scores in found.base.scores.items()}
    return {
        "prompts": len(rows),
        "judged": len(slices.judged_rows(rows, means.params.eval.judged)),
        "few": len(rows) < FEW,
        "samples": found.answers.setting.samples,
        "temperature": found.answers.setting.temperature,
        "frequency_penalty": means.params.eval.frequency_penalty,
        "win_rate": {judge: _rates(judge, own, found, models, means) for judge, own in won.items()},
        "agreement": agreement({judge: comparison.shares(own) for judge, own in won.items()}),
        "constraints": _constraints(found, resamples, seed),
    } | comparison.form(rows)


def _constraints(found: Measured, resamples: int, seed: int) -> Row | None:
    rows = found.answers.rows
    strict = comparison.constraint_rate(
        comparison.passes(rows), comparison.passes(found.base.opponent), resamples, seed
    )
    loose = comparison.loose_rate(comparison.passes(rows, loosely=True), resamples, seed)
    apart = followed.apart_from_length(rows, found.base.opponent, resamples, seed)
    kinds = followed.by_kind(rows, found.base.opponent)
    return {**strict, "loose": loose, **apart, "by_kind": kinds} if strict else None


def _rates(judge: str, won: comparison.Wins, found: Measured, models: Models, means: Means) -> Row:
    resamples, seed = means.params.eval.bootstrap, means.params.seed
    rows, others = (
        slices.judged_rows(side, means.params.eval.judged) for side in (found.answers.rows, found.base.opponent)
    )
    own, base = ([row["responses"] for row in side] for side in (rows, others))
    rates: Row = comparison.rate(won, resamples, seed)
    rates |= {"length_controlled": comparison.at_equal_length(won, own, base)} | comparison.counted(won)
    rates |= {"unconstrained": comparison.unconstrained(won, rows, resamples, seed)}
    rates |= {"teacher": judge in means.params.teachers}
    rates |= {"orders": judging.orders(judging.configured(judge, models, means))}
    if found.previous:
        rates["previous"] = comparison.rate(comparison.wins(found.previous.scores[judge]), resamples, seed)
    asked = asked_of(judge, [found])
    return rates | ({"asked": asked} if asked else {})


def asked_of(judge: str, found: Sequence[Measured]) -> dict[str, int] | None:
    """What a language model was asked as a judge, over all comparisons; None where none was."""
    counts = [beside.asked[judge] for beside in _besides(found) if judge in beside.asked]
    return {name: sum(count[name] for count in counts) for name in counts[0]} if counts else None


def _besides(found: Sequence[Measured]) -> list[Beside]:
    return [beside for one in found for beside in (one.base, one.previous) if beside]


def outputs(found: Measured, generator: str) -> list[dict[str, str]]:
    """The first answer to each prompt, in AlpacaEval's file format."""
    return [
        {
            "instruction": row["prompt"],
            "output": row["responses"][0],
            "generator": generator,
            "dataset": row["source"],
        }
        for row in found.answers.rows
    ]


def judgements(found: Measured, judged: Judged) -> list[Row]:
    """What stands behind the rates, prompt by prompt.

    Args:
        found: what was measured.
        judged: the parameter `eval.judged`.

    Returns:
        Rows of prompt_id, constraints, `passes` (whether the first answer keeps them all) and `met` (which of them),
        `cut_off` (whether that one reached the limit of tokens), `scores` (by judge, of this model and of iteration 0,
        means over samples) and `wins` (by judge, the share of samples won), both empty where no judge compared.
    """
    held = comparison.passes(found.answers.rows)
    won = {judge: comparison.shares(comparison.wins(scores)) for judge, scores in found.base.scores.items()}
    compared = slices.judged_rows(found.answers.rows, judged)
    said = {row["prompt_id"]: _said(found.base, won, i) for i, row in enumerate(compared)}
    return [
        {
            "prompt_id": row["prompt_id"],
            "constraints": json.loads(row["constraints"]) if row["constraints"] else None,
            "passes": None if (passing := held[i]) is None else passing[0],
            "met": followed.met(row),
            "cut_off": row["finish_reasons"][0] == "length",
            **said.get(row["prompt_id"], {"scores": {}, "wins": {}}),
        }
        for i, row in enumerate(found.answers.rows)
    ]


def _said(found: Beside, won: Mapping[str, Sequence[float]], i: int) -> Row:
    return {
        "scores": {judge: _means(scores[i]) for judge, scores in found.scores.items()},
        "wins": {judge: round(own[i], 6) for judge, own in won.items()},
    }


def _means(scores: Sequence[tuple[float, float]]) -> list[float]:
    """Of the model's scores and of the other's."""
    return [round(sum(side) / len(side), 6) for side in zip(*scores, strict=True)]
