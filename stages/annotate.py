"""annotate: one model's answers beside a reference's, compared as AlpacaEval 2.0 does, by its package.

Every verdict is kept as it arrives, so that nothing is paid for twice, whatever stops this.
"""

import os
from datetime import date
from pathlib import Path
from typing import Any

import click

from pairloop.errors import RankingError
from pairloop.evaluation import alpaca_annotator, alpaca_answers, alpaca_results
from pairloop.evaluation.alpaca_annotator import Annotator
from pairloop.evaluation.alpaca_answers import Answers, Matched
from pairloop.evaluation.alpaca_questions import Questions
from pairloop.files import records, remote
from pairloop.models import stored
from pairloop.params import Params
from pairloop.prompts import slices
from stages import common

# The package draws a bar for each question; ours says how it is drawn.
os.environ.setdefault("TQDM_DISABLE", "1")


@click.command(cls=common.Verb)
@click.option("--name", required=True, help="Whose answers they are: iteration_n, or a name of eval.compare_with.")
@click.argument("held_out", type=Path)
@click.argument("outputs", type=Path)
@click.argument("reference", type=Path)
@click.argument("annotators", type=Path)
@click.argument("results", type=Path)
def main(name: str, held_out: Path, outputs: Path, reference: Path, annotators: Path, results: Path) -> None:
    """Compare OUTPUTS with REFERENCE, and write annotations and numbers into RESULTS.

    Both are model_outputs.json; what comes from the hub or the web is named by the parameters. HELD_OUT are the prompts
    of the evaluation: `eval.judged` may leave some out. ANNOTATORS is the folder with configurations of our own.
    """
    params = common.load()
    annotator = alpaca_annotator.find(params.eval.annotator, annotators, params.eval.annotator_model)
    own = _answers(params.eval.compare_with.get(name), outputs, "eval.compare_with")
    others = _answers(params.eval.reference_outputs, reference, "eval.reference_outputs")
    matched = alpaca_answers.matched(own, others, _left_out(held_out, params))
    common.warn(matched.said)
    with common.clock(results / "time.json") as measured:
        preferences, questions = _judged(name, annotator, matched, params)
        _check_some(preferences, annotator)
        measured["judged_on"] = max((kept["date"] for kept in questions.answered), default=date.today().isoformat())
    common.warn(_unpriced(annotator, questions))
    found = _result(name, annotator, (own, others), matched, preferences, params) | _cost(questions)
    names = others.generator, name
    rows = alpaca_results.annotations(preferences, matched.pairs, names, annotator.name)
    records.write_json(results / "annotations.json", rows)
    records.write_json(results / "result.json", found)


def _left_out(held_out: Path, params: Params) -> frozenset[str]:
    """The held-out prompts whose answers no judge compares."""
    rows = records.read(held_out, records.PROMPT)
    judged = slices.judged_rows(rows, params.eval.judged)
    return frozenset(row["prompt"] for row in rows) - {row["prompt"] for row in judged}


def _answers(given: str | None, path: Path, key: str) -> Answers:
    """The answers in a file, which a parameter may name on the hub or the web."""
    place = remote.bring(given, stored.cache_root(), key) if given else path
    return alpaca_answers.read(place, given or str(path))


def _judged(name: str, annotator: Annotator, matched: Matched, params: Params) -> tuple[list[float | None], Questions]:
    own = params.eval
    with common.progress(len(matched.pairs), f"annotate {name}") as bar:
        questions = Questions(
            annotator.name,
            common.scratch(),
            own.budget,
            own.annotator_price,
            own.annotator_endpoint,
            shown=bar.update,
        )
        return alpaca_annotator.verdicts(annotator, matched.pairs, questions), questions


def _check_some(preferences: list[float | None], annotator: Annotator) -> None:
    unread = sum(value is None for value in preferences)
    if len(preferences) - unread < 2:
        raise RankingError(
            f"annotator {annotator.name}: {unread} of {len(preferences)} answers of {annotator.model} cannot be read "
            "as a verdict. Its model, prompt and fn_completion_parser do not fit together; the answers are kept"
        )
    if unread:
        common.warn(f"annotator {annotator.name}: {unread} of {len(preferences)} answers have no verdict: left out")


def _unpriced(annotator: Annotator, questions: Questions) -> str | None:
    if questions.dollars is not None:
        return None
    tokens = f", {questions.tokens} tokens" if questions.tokens else ""
    return (
        f"annotator {annotator.name}: no price of {annotator.model} is known, so eval.budget could not hold "
        f"({len(questions.answered)} questions{tokens}): set eval.annotator_price"
    )


def _cost(questions: Questions) -> dict[str, Any]:
    dollars = questions.dollars
    return {
        "questions": len(questions.answered),
        "tokens": questions.tokens,
        "dollars": None if dollars is None else round(dollars, 4),
    }


def _result(
    name: str,
    annotator: Annotator,
    answers: tuple[Answers, Answers],
    matched: Matched,
    preferences: list[float | None],
    params: Params,
) -> dict[str, Any]:
    """What result.json says of the verdicts. Iteration 0 is no reference that AlpacaEval has difficulties for."""
    own, others = answers
    given = None
    if params.eval.difficulties and params.eval.reference_outputs:
        place = remote.bring(params.eval.difficulties, stored.cache_root(), "eval.difficulties")
        given = alpaca_results.difficulties(place)
    found = alpaca_results.numbers(
        preferences, matched, given, params.eval.length_control, params.eval.bootstrap, params.seed
    )
    return {
        "name": name,
        "annotator": annotator.name,
        "model": annotator.model,
        "reference": params.eval.reference_outputs or "iteration_0",
        "reference_sha256": others.sha256,
        "outputs": params.eval.compare_with.get(name) or name,
        "outputs_sha256": own.sha256,
        "config": annotator.resolved,
        **records.rounded(found, 6),
        "said": matched.said,
    }


if __name__ == "__main__":
    main()
