"""A model's answers to the held-out prompts, in every setting."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import accumulate, pairwise
from math import fsum
from pathlib import Path

from pairloop.evaluation import benign
from pairloop.evaluation.settings import Means, Models, Setting
from pairloop.files.records import PROMPT, Row
from pairloop.models import extrapolated
from pairloop.params import Params
from pairloop.rankers import scoring
from pairloop.samplers import Sampling, answers
from pairloop.samplers.answers import Policy, Speaker
from pairloop.work import ray

STREAM = "eval"
"""What the random streams of these answers depend on beside the seed, the prompt and the sample's index."""


@dataclass(frozen=True)
class Answers:
    """A model's answers in one setting."""

    setting: Setting
    """How they were given."""

    rows: list[Row]
    """A row of records.ANSWER for each prompt, but for `judged`, with the `token_ids` of each answer and their
    `token_logps`."""

    tokens: int
    """Sampled for them, those of answers that were not picked among them."""


def answered(
    models: Models, settings: Sequence[Setting], prompts: Sequence[Row], harmless: Sequence[Row], means: Means
) -> tuple[list[Answers], list[Row]]:
    """A model's answers in each setting, and rows of records.RESPONSE with its greedy ones to the harmless prompts.

    Every model and setting draws from the same random streams, so that only the models differ. The model is out of
    memory before a ranker that picks comes in.

    Args:
        models: `policy` answers, and is moved on from `base` where a setting asks for it.
        settings: what to answer in, those that move the model on last.
        prompts: columns as in records.PROMPT.
        harmless: likewise, those that are answered to see whether they are refused.
        means: with what.
    """
    policy = Policy(models.policy, models.base, means.params.base.dtype)
    found = _sampled(policy, [one for one in settings if not one.moved_on], prompts, means)
    said = _unrefused(policy, harmless, means)
    del policy
    for setting in settings:
        if setting.moved_on:
            with extrapolated.moved(models.policy, models.base, setting.moved_on, means.scratch) as folder:
                beyond = Policy(folder, models.base, means.params.base.dtype)
                found += _sampled(beyond, [setting], prompts, means)
                del beyond
    return [_best(one, models, means) if one.setting.best_of > 1 else one for one in found], said


def _unrefused(policy: Policy, harmless: Sequence[Row], means: Means) -> list[Row]:
    """Answers to harmless prompts, together, by the model that is in memory."""
    if not harmless:
        return []
    sampling = benign.sampling(means.params.watch.benign_tokens)
    speaker = _speaker(policy, sampling, len(harmless), means)
    shards = answers.answer(harmless, speaker, (means.params.seed, STREAM), 1)
    return means.collect(shards, len(harmless), f"{means.label}, harmless prompts")


def _sampled(policy: Policy, settings: Sequence[Setting], prompts: Sequence[Row], means: Means) -> list[Answers]:
    """All answers in each setting, those to pick from among them; prompts are read once for all settings."""
    own = means.params.eval
    counts = [max(setting.samples, setting.best_of) for setting in settings]
    once = settings[0].temperature
    sampling = Sampling(once, own.top_p, own.top_k, own.max_new_tokens, own.frequency_penalty)
    wanted = [(setting.temperature, k) for setting, count in zip(settings, counts, strict=True) for k in range(count)]
    speaker = _speaker(policy, sampling, own.shard_prompts, means)
    shards = answers.answer(prompts, speaker, (means.params.seed, STREAM), wanted)
    said = means.collect(shards, len(prompts), _label(means, settings))
    ends = list(accumulate(counts, initial=0))
    return [
        _answers(setting, prompts, [_part(row, start, end) for row in said])
        for setting, (start, end) in zip(settings, pairwise(ends), strict=True)
    ]


def _answers(setting: Setting, prompts: Sequence[Row], said: Sequence[Row]) -> Answers:
    rows = [_row(*both, setting) for both in zip(prompts, said, strict=True)]
    return Answers(setting, rows, sum(sum(row["token_counts"]) for row in rows))


def _speaker(policy: Policy, sampling: Sampling, shard_prompts: int, means: Means) -> Speaker:
    params = means.params
    parallel = params.vllm.tensor_parallel_size if params.eval_sampler == "vllm" else None
    away = actors(params, (policy.base, policy.folder), parallel)
    engine = params.eval_sampler, params.vllm
    return Speaker(policy, sampling, shard_prompts, means.scratch, *engine, elsewhere=away)


def actors(params: Params, needs: Sequence[Path], parallel: int | None) -> ray.Actors | None:
    """Where shards are computed; None: here."""
    return ray.Actors(params.ray, needs, parallel) if params.eval.engine == "ray" else None


def _label(means: Means, settings: Sequence[Setting]) -> str:
    main = settings[0] == Setting(means.params.eval.temperatures[0])
    return means.label if main else f"{means.label}, {settings[0]}"


def _row(prompt: Row, said: Row, setting: Setting) -> Row:
    logps = said["logps"]
    return (
        {name: prompt[name] for name in PROMPT}
        | {name: said[name] for name in ("responses", "finish_reasons", "token_counts", "token_ids")}
        | setting.columns
        | {"logps": None if logps is None else [fsum(own) for own in logps], "token_logps": logps}
    )


def _best(all_of_them: Answers, models: Models, means: Means) -> Answers:
    """Of each prompt's answers the one that `rank.ranker` likes best; of equals the first."""
    ranker = picker(models, means.params)
    scoring.make_room(ranker)
    rows = all_of_them.rows
    found = means.collect(_scored(rows, ranker, means), len(rows), f"{means.label}, pick by {ranker.kind}")
    best = [max(_places(own), key=own["scores"].__getitem__) for own in found]
    picked = [_part(row, place, place + 1) for row, place in zip(rows, best, strict=True)]
    return Answers(all_of_them.setting, picked, all_of_them.tokens)


def picker(models: Models, params: Params) -> scoring.Ranking:
    """Who picks the best answers: the ranker of the training data, as it was asked there."""
    places = scoring.Places(models.base, models.teacher, models.policy)
    return scoring.configured(params.rank.ranker, places, params, deciding=True)


def _scored(rows: Sequence[Row], ranker: scoring.Ranking, means: Means) -> Iterator[list[Row]]:
    places = ranker.places
    needs = [folder for folder in (places.base, places.teacher, places.policy) if folder and folder.exists()]
    away = actors(means.params, needs, ranker.parallel)
    return scoring.score(rows, ranker, means.params.eval.shard_prompts, means.scratch, away)


def _places(own: Row) -> range:
    return range(len(own["scores"]))


_EACH = ("responses", "finish_reasons", "token_counts", "token_ids", "logps", "token_logps")
"""Columns of which each answer to a prompt has an entry."""


def _part(row: Row, start: int, end: int) -> Row:
    """The row with some of its answers."""
    return row | {name: row[name] and row[name][start:end] for name in _EACH if name in row}
