"""What judges say of a model's answers beside those of others. The only place of the evaluation that asks judges."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from pairloop.errors import DataError
from pairloop.evaluation.answering import Answers, actors
from pairloop.evaluation.settings import Means, Models
from pairloop.evaluation.stored import ORDER, Stored
from pairloop.files.records import Row
from pairloop.prompts import slices
from pairloop.rankers import scoring, together
from pairloop.rankers.judge.ranker import counted
from pairloop.work import shards

Scores = list[list[tuple[float, float]]]
"""For each prompt that judges compare and each of its samples: the score of the model's answer and of the other's."""


@dataclass(frozen=True)
class Beside:
    """What all judges say of a model's answers beside an opponent's."""

    opponent: list[Row]
    """A row of records.ANSWER for each prompt, with at least as many responses as the model's own."""

    scores: dict[str, Scores]
    """By each judge."""

    asked: dict[str, dict[str, int]]
    """What a language model was asked for it, by judge."""


def kinds(means: Means) -> list[str]:
    """The judges that are rankers, in the order of the parameter."""
    return list(means.params.eval_rankers)


def alone(found: Sequence[Answers], read: bool, models: Models, means: Means) -> list[Answers]:
    """The same answers, with `judged`: the scores by those judges that look at nothing but an answer itself.

    An answer that judges do not compare (`eval.judged`) is read by none, and has neither scores nor `base_logps`.

    Args:
        found: a model's answers in each setting, the main one first.
        read: whether those of the main setting get `base_logps`, too: the base's log p of each answer's text, in nats.
            It is read together with them where a judge reads with the base.
        models: what the judges read with.
        means: who judges, and with what.
    """
    asked = [kind for kind in kinds(means) if kind in scoring.ALONE]
    first = [*asked, *([scoring.LOG_PROBABILITY] if read else [])]
    compared = [_compared(one.rows, means) for one in found]
    said = _scores(compared, [first, *[asked] * (len(found) - 1)], models, means)
    each = zip(found, compared, said, strict=True)
    return [replace(one, rows=_judged(one.rows, rows, own)) for one, rows, own in each]


def _compared(rows: Sequence[Row], means: Means) -> list[Row]:
    return slices.judged_rows(rows, means.params.eval.judged)


def _judged(rows: Sequence[Row], compared: Sequence[Row], said: Mapping[str, Sequence[Row]]) -> list[Row]:
    judges = {judge: own for judge, own in said.items() if judge != scoring.LOG_PROBABILITY}
    read = said.get(scoring.LOG_PROBABILITY)
    told = {
        row["prompt_id"]: {"judged": json.dumps({judge: own[i]["scores"] for judge, own in judges.items()})}
        | ({"base_logps": read[i]["scores"]} if read else {})
        for i, row in enumerate(compared)
    }
    return [row | told.get(row["prompt_id"], {"judged": "{}"}) for row in rows]


def log_probabilities(rows: Sequence[Row], models: Models, means: Means) -> list[list[float]]:
    """The base's log p of each response's text, in nats, without an end token.

    Args:
        rows: `prompt`, `responses` and `constraints` are read.
        models: `base` reads.
        means: with what.
    """
    kind = scoring.LOG_PROBABILITY
    [said] = _scores([rows], [[kind]], models, means)
    return [row["scores"] for row in said[kind]]


def read_tokens(rows: Sequence[Row], models: Models, means: Means) -> list[list[float]]:
    """The base's log p of answers that are given as `token_ids`, after the `prompt` of their row, in nats.

    Args:
        rows: what to read.
        models: `base` reads.
        means: with what.
    """
    base = configured(scoring.LOG_PROBABILITY, models, means)
    scoring.make_room(base)
    items = [{"prompt": row["prompt"], "token_ids": [list(ids) for ids in row["token_ids"]]} for row in rows]
    fingerprint = base.fingerprint | {"step": "read tokens"}
    away = actors(means.params, [models.base], None)
    settings = means.params.eval.shard_prompts, fingerprint, partial(_read_shard, base=base), means.scratch, away
    found = means.collect(shards.shards(items, *settings), len(items), "read tokens")
    return [row["log_probabilities"] for row in found]


def _read_shard(items: Sequence[Row], base: scoring.Ranking) -> list[Row]:
    loaded: Any = base.loaded
    prompts, answers = [item["prompt"] for item in items], [item["token_ids"] for item in items]
    return [{"log_probabilities": own} for own in loaded.reader.read_tokens(prompts, answers)]


def beside(pairs: Sequence[tuple[Answers, list[Row]]], models: Models, means: Means) -> list[Beside]:
    """What every judge says of a model's answers beside an opponent's, for each such pair.

    A judge that scores an answer by itself has scored both sides when they were answered; the others are asked here.

    Args:
        pairs: answers as `alone` gives them, each with those that they are compared with, as of `Beside.opponent`.
        models: what the judges read with.
        means: who judges, and with what.
    """
    asked = [kind for kind in kinds(means) if kind not in scoring.ALONE]
    rows = [_questions(_compared(own.rows, means), _compared(opponent, means)) for own, opponent in pairs]
    said = _scores(rows, [asked] * len(pairs), models, means)
    return [_beside(*pair, found, means) for pair, found in zip(pairs, said, strict=True)]


def _questions(own: Sequence[Row], theirs: Sequence[Row]) -> list[Row]:
    """A row for each prompt and sample, with both answers."""
    return [
        {"prompt": row["prompt"], "constraints": row["constraints"], "responses": [text, other["responses"][k]]}
        for row, other in zip(own, theirs, strict=True)
        for k, text in enumerate(row["responses"])
    ]


def _beside(own: Answers, opponent: list[Row], said: Mapping[str, Sequence[Row]], means: Means) -> Beside:
    samples = len(own.rows[0]["responses"])
    counts = {judge: counted(rows) for judge, rows in said.items()}
    return Beside(
        opponent,
        {
            judge: _cut(said[judge], samples)
            if judge in said
            else _known(judge, _compared(own.rows, means), _compared(opponent, means))
            for judge in kinds(means)
        },
        {judge: asked for judge, asked in counts.items() if asked},
    )


def _cut(rows: Sequence[Row], samples: int) -> Scores:
    """Scores of prompts and samples in one list, prompt by prompt."""
    scores = [(row["scores"][0], row["scores"][1]) for row in rows]
    return [scores[first : first + samples] for first in range(0, len(scores), samples)]


def _known(judge: str, own: Sequence[Row], opponent: Sequence[Row]) -> Scores:
    mine, theirs = ([json.loads(row["judged"])[judge] for row in rows] for rows in (own, opponent))
    # The opponent may have more samples than are compared.
    return [list(zip(*both, strict=False)) for both in zip(mine, theirs, strict=True)]


def check_judged(stored: Stored, means: Means) -> None:
    """Refuse answers of before without the scores of a judge that scores an answer by itself.

    Raises:
        DataError: names the file and the judge.
    """
    for row in _compared(stored.rows, means):
        missing = [kind for kind in kinds(means) if kind in scoring.ALONE and kind not in json.loads(row["judged"])]
        if missing:
            raise DataError(f"{stored.path}: its answers are not judged by {', '.join(missing)}. {ORDER}")


def orders(judge: scoring.Ranking) -> int:
    """2 where a judge compares two answers, which it then sees in both orders; 1 where it scores them one by one."""
    asked = judge.kind == "judge" and judge.judge.rubric == "pairwise"
    mixed = any(orders(member) == 2 for _, member in judge.members)
    return 2 if judge.kind in ("pairrm", "llm_blender") or asked or mixed else 1


def configured(kind: str, models: Models, means: Means) -> scoring.Ranking:
    """A judge. It is no policy's own: one model judges all iterations."""
    return scoring.configured(kind, scoring.Places(models.base, models.teacher), means.params)


def _scores(
    batches: Sequence[Sequence[Row]], asked: Sequence[Sequence[str]], models: Models, means: Means
) -> list[dict[str, list[Row]]]:
    """For each batch of rows, and each judge that is asked about it, what `scoring.score` gives.

    Judges that read with the same frozen model read together, and one such group comes after the other.
    """
    rankings = [configured(kind, models, means) for kind in dict.fromkeys(kind for own in asked for kind in own)]
    said: list[dict[str, list[Row]]] = [{} for _ in batches]
    for group in together.groups(rankings):
        _ask(group, batches, asked, said, means)
    return [{kind: found[kind] for kind in own} for found, own in zip(said, asked, strict=True)]


def _ask(
    group: Sequence[scoring.Ranking],
    batches: Sequence[Sequence[Row]],
    asked: Sequence[Sequence[str]],
    said: Sequence[dict[str, list[Row]]],
    means: Means,
) -> None:
    """Add to `said` what a group of judges says of all batches. What it has in memory goes with this function."""
    group = [replace(one) for one in group]
    scoring.make_room(group[0])
    places = group[0].places
    needs = [folder for folder in (places.base, places.teacher) if folder.exists()]
    parallel = max((one.parallel or 0 for one in group), default=0) or None
    settings = means.params.eval.shard_prompts, means.scratch, actors(means.params, needs, parallel)
    for rows, own, found in zip(batches, asked, said, strict=True):
        judges = [one for one in group if one.kind in own]
        if judges and rows:
            label = f"judge {' and '.join(one.kind for one in judges)}"
            each = means.collect(together.score_together(rows, judges, *settings), len(rows), label)
            found.update({one.kind: [row[one.kind] for row in each] for one in judges})
        else:
            found.update({one.kind: [] for one in judges})
