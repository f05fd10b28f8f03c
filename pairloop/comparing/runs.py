"""Differences between two runs, prompt by prompt, with intervals."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pairloop.errors import DataError
from pairloop.files.records import Row
from pairloop.measures.statistics import FEW, Estimate, estimate, outcomes
from pairloop.measures.texts import repetitive, words
from pairloop.report.samples import differing

SAME = 1e-6
"""Two scores of one answer that differ by no more were given by one judge: they are kept with six decimals."""


@dataclass(frozen=True)
class Model:
    """One iteration of a run, on its held-out prompts."""

    judgements: Sequence[Row]
    """results/iteration_n/judgements.json: `prompt_id`, `constraints`, `passes`, `scores` {judge: [own, base]}, empty
    where no judge compared the answers."""

    outputs: Sequence[Row]
    """results/iteration_n/model_outputs.json: `instruction` and `output`, in the same order."""


@dataclass(frozen=True)
class Run:
    """What is compared: a revision, an experiment or the workspace."""

    name: str
    """As the user calls it."""

    parameters: Mapping[str, Any]
    """params.yaml, nested, without what follows from the rest."""

    models: Sequence[Model]
    """From iteration 0, the base model, on."""


@dataclass(frozen=True)
class Difference:
    """One number of both runs, over the prompts that both answered."""

    name: str
    """Of the number."""

    unit: str
    """`share`, from 0 to 1, or `words`."""

    prompts: int
    """That both have a value for."""

    first: float
    """The first run's mean."""

    second: float
    """The second run's mean."""

    change: Estimate
    """Second minus first, with the 95 % interval of the paired differences."""

    @property
    def shown(self) -> bool | None:
        """Whether a change was shown; None where there are too few prompts to tell."""
        if self.prompts < FEW:
            return None
        return self.change.low > 0 or self.change.high < 0


@dataclass(frozen=True)
class Answered:
    """A prompt that both runs answered."""

    prompt: str
    answers: tuple[str, str]
    base: tuple[str, str]
    """Of iteration 0 in each run: the same text where the runs' bases and evaluations are the same."""

    passes: tuple[bool | None, bool | None]
    """Whether the constraints hold; None where there are none."""

    wins: Mapping[str, tuple[float, float]]
    """By each judge of both that compared the answers, 1 where one beats iteration 0's, 0 where it loses, ½ for a
    tie."""


def settings(first: Run, second: Run) -> list[tuple[str, str | None, str | None]]:
    """Parameters with different values, as dotted names in order; None where a run has no such."""
    return differing(first.parameters, second.parameters)


def answered(first: Run, second: Run, iteration: int) -> list[Answered]:
    """The prompts that both runs answered in an iteration, in the first run's order.

    Raises:
        DataError: there is none, or a run's outputs are not those that its judgements are about.
    """
    sides = [_by_prompt(run, iteration) for run in (first, second)]
    bases = [_by_prompt(run, 0) for run in (first, second)]
    common = [name for name in sides[0] if all(name in found for found in (sides[1], *bases))]
    if not common:
        raise DataError(
            f"{first.name} and {second.name} have no held-out prompt in common. Runs compare where pool.eval_source is "
            "the same"
        )
    return [_answered([side[name] for side in sides], [base[name] for base in bases]) for name in common]


def _by_prompt(run: Run, iteration: int) -> dict[str, tuple[Row, Row]]:
    model = run.models[iteration]
    if len(model.judgements) != len(model.outputs):
        raise DataError(
            f"{run.name}: iteration {iteration} has {len(model.outputs)} answers in model_outputs.json and "
            f"{len(model.judgements)} rows in judgements.json, and needs one of each for every prompt. `dvc repro` "
            "remakes both"
        )
    return {row["prompt_id"]: (row, output) for row, output in zip(model.judgements, model.outputs, strict=True)}


def _answered(sides: Sequence[tuple[Row, Row]], bases: Sequence[tuple[Row, Row]]) -> Answered:
    wins = [{judge: outcomes([own], [base])[0] for judge, (own, base) in row["scores"].items()} for row, _ in sides]
    return Answered(
        sides[0][1]["instruction"],
        (sides[0][1]["output"], sides[1][1]["output"]),
        (bases[0][1]["output"], bases[1][1]["output"]),
        (sides[0][0]["passes"], sides[1][0]["passes"]),
        {judge: (wins[0][judge], wins[1][judge]) for judge in wins[0] if judge in wins[1]},
    )


def differences(first: Run, second: Run, iteration: int, resamples: int, seed: int) -> list[Difference]:
    """Every number that both runs have for an iteration, and how it differs, prompt by prompt.

    Win rates are each run's against its own iteration 0. Constraints count on prompts that have some.

    Args:
        first: what is compared with.
        second: what is compared.
        iteration: from 0 on; 0 has no win rates.
        resamples: of the bootstrap behind each interval.
        seed: of the same.

    Raises:
        DataError: no prompt in common, or files that do not match.
    """
    rows = answered(first, second, iteration)

    def over(name: str, unit: str, pairs: Sequence[tuple[float, float]]) -> list[Difference]:
        if not pairs:
            return []
        own, other = (sum(pair[i] for pair in pairs) / len(pairs) for i in (0, 1))
        change = estimate([b - a for a, b in pairs], resamples, seed)
        return [Difference(name, unit, len(pairs), own, other, change)]

    def texts(measure: Callable[[str], float]) -> list[tuple[float, float]]:
        return [(measure(row.answers[0]), measure(row.answers[1])) for row in rows]

    def won(judge: str) -> list[tuple[float, float]]:
        return [row.wins[judge] for row in rows if judge in row.wins]

    judges = dict.fromkeys(judge for row in rows for judge in row.wins if iteration)
    held = [(float(a), float(b)) for a, b in (row.passes for row in rows) if a is not None and b is not None]
    return [
        *(found for judge in judges for found in over(f"win rate, {judge}", "share", won(judge))),
        *over("constraints met", "share", held),
        *over("words", "words", texts(lambda text: float(len(words(text))))),
        *over("repetitive", "share", texts(lambda text: float(repetitive(text)))),
        *over("empty", "share", texts(lambda text: float(not text.strip()))),
    ]


def against_each_other(first: Run, second: Run, iteration: int, resamples: int, seed: int) -> dict[str, Estimate]:
    """How often the second run's answer beats the first's, by each judge that was the same in both runs.

    A judge is known to be the same where it gave the same scores to the same answers of iteration 0; and to score an
    answer by itself, where it did so whatever the answer beside it was.
    """
    sides = [_by_prompt(run, iteration) for run in (first, second)]
    common = [name for name in sides[0] if name in sides[1]]
    both = [(sides[0][name][0]["scores"], sides[1][name][0]["scores"]) for name in common]
    found = {}
    for judge in dict.fromkeys(judge for own, other in both for judge in own if judge in other):
        scores = [(own[judge], other[judge]) for own, other in both if judge in own and judge in other]
        if all(abs(own[1] - other[1]) <= SAME for own, other in scores):
            wins = outcomes([other[0] for _, other in scores], [own[0] for own, _ in scores])
            found[judge] = estimate(wins, resamples, seed)
    return found
