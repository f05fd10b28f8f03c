"""What may get worse while a win rate rises: measured against iteration 0, with alarms.

The same prompts are compared one by one. A measure alarms where it has moved for the worse by more than the parameters
allow, and the 95 % interval of the change leaves out no change at all.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from pairloop.errors import DataError
from pairloop.evaluation import alarms, benign, changes, judging, likely
from pairloop.evaluation.changes import Change, Value
from pairloop.evaluation.likely import Read
from pairloop.evaluation.measuring import Measured
from pairloop.evaluation.settings import Means, Models
from pairloop.files import records
from pairloop.files.records import Row
from pairloop.models import references
from pairloop.params import Watch
from pairloop.prompts import slices


@dataclass(frozen=True)
class Seen:
    """What one model wrote, and what the base thinks of it."""

    answers: Sequence[Row]
    """For each of P held-out prompts a row of `prompt`, `constraints`, `responses` [S], `finish_reasons`,
    `token_counts`, and, of the policy that is watched, `token_logps`."""

    refused: Sequence[bool] | None
    """Whether it refuses each harmless prompt; None: it was not asked."""

    chosen: Sequence[Read] = ()
    """The base's log p of each chosen answer that training holds out; of iteration 0, those that iteration 1 has."""

    read: Sequence[Sequence[Read]] | None = None
    """The base's log p of each answer in `compared`; None: the model is the base."""

    compared: Sequence[Row] | None = None
    """Those of `answers` that the base reads; None: all."""


@dataclass(frozen=True)
class Resampling:
    """How intervals are computed."""

    resamples: int
    """Of the prompts, behind each interval."""

    seed: int
    """The run's seed."""


def measured(own: Seen, base: Seen | None, params: Watch, how: Resampling) -> Row:
    """The content of watch.json.

    Args:
        own: the model to watch.
        base: iteration 0, on the same prompts; None: the model is iteration 0, and nothing has changed.
        params: what is allowed.
        how: resamples and seed.

    Returns:
        measures: for each name value, low, high, base, change, change_low, change_high (the last four null for
        iteration 0), alarm, unit and prompts; one that could not be taken is not there.
        alarms: a sentence for each measure that alarms.
    """
    found = {name: one for name, one in _all(own, base, how).items() if one is not None}
    allowed = alarms.limits(params)
    raised = {name: alarms.raised(one, allowed[name], params.fewest) for name, one in found.items()}
    return {
        "measures": {name: _shown(one, raised[name], allowed[name].unit) for name, one in found.items()},
        "alarms": [alarms.sentence(found[name], allowed[name]) for name, alarm in raised.items() if alarm],
    }


def watched(
    main: Measured,
    harmless: Sequence[Row],
    before: Path | None,
    splits: tuple[Path, Path],
    models: Models,
    means: Means,
) -> Row:
    """The content of watch.json for one model, with its answers to the harmless prompts as `benign`.

    Args:
        main: its answers in the main setting, beside iteration 0's.
        harmless: its rows on the harmless prompts.
        before: iteration 0's watch.json; None: the model is iteration 0, and no file is read.
        splits: the pairs that training holds out, of this iteration and of iteration 1; of the longest files, as many
            as there are answers are read.
        models: the base reads.
        means: with what.
    """
    rows, params, kept = main.answers.rows, means.params, benign.shown(harmless)
    how = Resampling(params.eval.bootstrap, params.seed)
    compared = slices.judged_rows(rows, params.eval.judged)
    if before is None:
        return measured(Seen(rows, benign.refused(kept), compared=compared), None, params.watch, how) | {"benign": kept}
    tokenizer = references.load_tokenizer(models.base)
    chosen, first = (_chosen(path, len(rows), tokenizer, models, means) for path in splits)
    read = likely.sampled(compared, tokenizer, partial(judging.read_tokens, models=models, means=means))
    own = Seen(rows, benign.refused(kept), chosen, read, compared)
    base = Seen(main.base.opponent, benign.refused(_known(before, kept)), first)
    return measured(own, base, params.watch, how) | {"benign": kept}


def _chosen(path: Path, at_most: int, tokenizer: Any, models: Models, means: Means) -> list[Read]:
    """What the base makes of the chosen answers in a split."""
    rows = likely.chosen(records.read(path, records.PAIR)[:at_most])
    return likely.counted(rows, judging.log_probabilities(rows, models, means), tokenizer)


def _known(before: Path, kept: Sequence[Row]) -> Sequence[Row]:
    """Iteration 0's answers to the same harmless prompts."""
    found: list[Row] = records.read_json(before)["benign"]
    if [row["prompt"] for row in found] != [row["prompt"] for row in kept]:
        raise DataError(f"{before}: has answers to other harmless prompts than these: evaluate iteration 0 first")
    return found


def _all(own: Seen, base: Seen | None, how: Resampling) -> Mapping[str, Change | None]:
    """Every measure by its name, in the order in which they are shown."""
    draws = how.resamples, how.seed
    answers = own.answers, base.answers if base else None
    compared = own.answers if own.compared is None else own.compared

    def paired(value: Value) -> Change | None:
        mine, theirs = (changes.by_prompt(rows, value) for rows in answers)
        return changes.paired(mine, theirs, *draws)

    return {
        "constraints": paired(changes.holds),
        "constraints_loose": paired(changes.holds_loosely),
        "refusals": changes.paired(_numbers(own.refused), _numbers(base.refused) if base else None, *draws),
        "repetition": paired(changes.loops),
        "echoing": paired(changes.repeats_prompt),
        "distinct_1": changes.distinct(*answers, 1),
        "distinct_2": changes.distinct(*answers, 2),
        "truncated": paired(changes.truncated),
        "another_script": paired(changes.another_script),
        "another_language": paired(changes.another_language),
        "estimated_kl_per_token": changes.divergence(compared, own.read, True, *draws),
        "estimated_kl_per_answer": changes.divergence(compared, own.read, False, *draws),
        "words": paired(changes.words_in),
        "tokens": paired(changes.tokens_in),
        "chosen_perplexity": changes.perplexity(own.chosen, base.chosen, *draws) if base else None,
    }


def _numbers(values: Sequence[bool] | None) -> list[float | None]:
    return [float(value) for value in values or ()]


def _shown(found: Change, alarm: bool, unit: str) -> dict[str, Any]:
    change = found.change
    return {
        "value": found.value.value,
        "low": found.value.low,
        "high": found.value.high,
        "base": found.base,
        "change": change.value if change else None,
        "change_low": change.low if change else None,
        "change_high": change.high if change else None,
        "alarm": alarm,
        "unit": unit,
        "prompts": found.prompts,
    }
