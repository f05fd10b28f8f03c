"""The reference's log-probabilities: known from sampling where the reference sampled, else computed once and kept."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import click

from pairloop.files import records
from pairloop.files.records import Row
from pairloop.params import Train
from pairloop.training.batches import Batch
from pairloop.training.data import Encoded

Known = Mapping[tuple[str, str], Sequence[float]]
"""Log-probabilities of the tokens of responses as they were sampled, in nats at temperature 1, by (prompt_id,
response)."""

KEPT = "reference.json"
"""The file beside a job's checkpoints that holds what was computed."""

COLUMNS = ("ref_chosen_logps", "ref_rejected_logps")
"""What TRL calls them."""

NEAR = 1e-4
"""Nats per token by which sampling and training may differ on average, at most, for the sampled ones to be taken."""


def take_sampled(pairs: Sequence[Row], encoded: Encoded, params: Train, known: Known, sampled_here: bool) -> None:
    """Give the encoded rows their reference's log-probabilities from sampling, if that is asked for.

    A response that is cut at max_length counts to there, as it does in training. Where those of any response are
    missing, or the reference is another model, a line of stderr says so, and all are computed later.

    Args:
        pairs: what `encoded` was made from, in that order.
        encoded: its rows get two numbers each, in nats.
        params: reference_logps, max_length and ld_alpha.
        known: from sampling.
        sampled_here: the reference computes as the model that sampled the responses.
    """
    if params.reference_logps == "computed":
        return
    if not sampled_here:
        click.echo("train: the reference is not what sampled: its log-probabilities are computed", err=True)
    elif not _add_sampled(pairs, encoded, known, params.max_length, params.ld_alpha):
        click.echo("train: some responses have no log-probabilities from sampling: all are computed", err=True)


def _add_sampled(pairs: Sequence[Row], encoded: Encoded, known: Known, max_length: int, alpha: float) -> bool:
    """Whether the log-probabilities of all tokens were known; then the rows have their sums."""
    kept = [pairs[number] for number in encoded.numbers]
    sides = [[known.get((pair["prompt_id"], pair[side][-1]["content"])) for pair in kept] for side in records.SIDES]
    for row, chosen, rejected in zip(encoded.rows, *sides, strict=True):
        lengths = len(row["chosen_ids"]), len(row["rejected_ids"])
        if chosen is None or rejected is None or (len(chosen), len(rejected)) != lengths:
            return False
    for row, *both in zip(encoded.rows, *sides, strict=True):
        left = max_length - len(row["prompt_ids"])
        cut = [list(tokens)[:left] for tokens in both]
        row |= dict(zip(COLUMNS, _weighted(cut, alpha), strict=True))
    return True


def _weighted(pair: Sequence[Sequence[float]], alpha: float) -> list[float]:
    """Sums of two responses' log-probabilities, in which the tokens beyond the shorter one count `alpha` times."""
    shorter = min(map(len, pair))
    return [sum(tokens[:shorter]) + alpha * sum(tokens[shorter:]) for tokens in pair]


def fill(trainer: Any) -> None:
    """Give a trainer's rows what they lack of the reference's log-probabilities.

    What is computed is kept beside the job's checkpoints, so that a resumed run takes it from there.
    """
    from pairloop.training import sharing

    path = Path(trainer.args.output_dir) / KEPT
    found: dict[str, list[list[float]]] = records.read_json(path) if path.is_file() else {}
    for name in ("train", "eval"):
        rows = getattr(trainer, f"{name}_dataset")
        if COLUMNS[0] in rows.column_names and name not in found:
            if _near(trainer, rows):
                continue
            click.echo("train: sampling and training do not compute alike: reference_logps is computed", err=True)
        rows = rows.remove_columns([column for column in COLUMNS if column in rows.column_names])
        if name not in found:
            made = sharing.with_reference(trainer, rows, trainer.plans[name])
            found[name] = [list(made[column]) for column in COLUMNS]
        for column, values in zip(COLUMNS, found[name], strict=True):
            rows = rows.add_column(column, values)
        setattr(trainer, f"{name}_dataset", rows)
    if trainer.accelerator.is_main_process:
        path.parent.mkdir(parents=True, exist_ok=True)
        records.write_text(path, json.dumps(found))


def _near(trainer: Any, rows: Any) -> bool:
    """Whether the sampled log-probabilities of the first rows are what the trainer computes."""
    from pairloop.training import sharing

    count = min(len(rows), trainer.args.per_device_train_batch_size)
    first = rows.select(range(count))
    # All devices compute together, and what the first one found counts.
    planned = [Batch(tuple(range(count)), float(trainer.accelerator.is_main_process))]
    again = sharing.with_reference(trainer, first.remove_columns(list(COLUMNS)), planned)
    apart = sum(abs(a - b) for column in COLUMNS for a, b in zip(first[column], again[column], strict=True))
    tokens = sum(len(row["chosen_ids"]) + len(row["rejected_ids"]) for row in first)
    return bool(apart <= NEAR * tokens)
