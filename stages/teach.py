"""teach: train a ranker from the frozen base model, where anything in params.yaml asks for one."""

from collections.abc import Callable, Sequence, Set
from pathlib import Path
from typing import Any

import click

from pairloop.files import records
from pairloop.files.records import Row
from pairloop.measures.statistics import mean_length_correlation
from pairloop.models import references
from pairloop.params import Params, replaced
from pairloop.prompts import slices
from pairloop.samplers import Sampling, room
from pairloop.samplers.answers import Policy, Speaker
from stages import common

Lesson = tuple[list[Row], Callable[[float], Speaker], Sequence[tuple[str, str, str]]]
"""Prompts to construct pairs from, who answers them at a temperature, and the user's own preferences."""


@click.command(cls=common.Verb)
@click.argument("base", type=Path)
@click.argument("pool_file", metavar="POOL", type=Path)
@click.argument("teacher", type=Path)
@click.argument("metrics", type=Path)
@click.argument("times", type=Path)
@click.option("--preferences", metavar="PATH", help="Instead of teach.preferences: a .jsonl file, or a folder of them.")
@click.option("--constructed/--no-constructed", default=None, help="Instead of teach.constructed.")
def main(
    base: Path,
    pool_file: Path,
    teacher: Path,
    metrics: Path,
    times: Path,
    preferences: str | None,
    constructed: bool | None,
) -> None:
    """Train the specialist as the frozen model BASE reads text, and write it to TEACHER.

    It learns from pairs made of BASE's answers to the prompts at the end of POOL, from your own preferences, or from
    both. Layer and penalty are chosen by cross-validation; a fifth of the prompts is held out to test on. METRICS says
    how good it is, TIMES how long it took.

    To make your own from a few hundred preferences, outside the pipeline, with POOL not read:

    \b
      python -m stages.teach models/iteration_0 data/pool.parquet mine/teacher \\
        mine/teacher.json mine/time.json --preferences mine.jsonl --no-constructed

    mine.jsonl holds one JSON object a line, and data/preferences/README.md says more:

    \b
      {"prompt": "Name a bird.", "chosen": "The ostrich.", "rejected": "Birds are a topic."}

    Without an option it does what params.yaml says, and nothing where no ranker or judge there is `specialist`.
    """
    params = common.load()
    asked: dict[str, Any] = {"preferences": preferences, "constructed": constructed}
    changes = {name: value for name, value in asked.items() if value is not None}
    params = replaced(params, "", teach=replaced(params.teach, "teach", **changes))
    wanted = params.kinds | ({"specialist"} if changes else set())
    with common.clock(times):
        found = _teach(base, pool_file, teacher, params, wanted) if wanted & {"specialist", "encoder"} else {}
        if not found:
            # The stages that could read it depend on it, so there is a folder that says why it is empty.
            records.write_json(teacher / common.UNUSED, {"ranker": params.rank.ranker})
    records.write_json(metrics, found)


def _teach(base: Path, pool_file: Path, teacher: Path, params: Params, wanted: Set[str]) -> Row:
    from pairloop.rankers.specialist import preferences

    settings = params.teach
    own = preferences.read(Path(settings.preferences)) if settings.preferences else None
    policy = Policy(base, base, params.base.dtype)

    def speaker(temperature: float) -> Speaker:
        sampling = Sampling(temperature, settings.top_p, settings.top_k, settings.max_new_tokens)
        return Speaker(policy, sampling, settings.shard_prompts, common.scratch())

    pool = records.read(pool_file, records.PROMPT) if settings.constructed else []
    prompts = slices.teacher_rows(pool, settings.prompts if settings.constructed else 0)
    context = references.context(policy.served.config)
    room.refuse_too_long([room.taught(prompts, params)], policy.tokenizer, context)
    lesson = prompts, speaker, own.pairs if own else ()
    found = _specialist(lesson, policy, teacher, params) if "specialist" in wanted else {}
    found |= {"encoder": _encoder(lesson, teacher, params)} if "encoder" in wanted else {}
    return found | ({"preferences": own.counts} if own else {})


def _specialist(lesson: Lesson, policy: Policy, teacher: Path, params: Params) -> Row:
    from pairloop.rankers.specialist import teach
    from pairloop.rankers.specialist.head import save
    from pairloop.rankers.specialist.hidden import Layers

    prompts, speaker, pairs = lesson
    layers = Layers(policy.model, policy.tokenizer, params.teach.depth, params.rank.batch_tokens)
    base = references.fingerprint(policy.base)
    head, found = teach.teach(prompts, speaker, layers, base, params.teach, params.seed, pairs)
    save(head, teacher)
    found = _measured(found)
    click.echo("\n".join(_summary(found)))
    # Penalties stay as small as they were asked for.
    exact = {"regularisation": found["regularisation"]}
    tried = [records.rounded(row) | {"regularisation": row["regularisation"]} for row in found["candidates"]]
    return dict(records.rounded(found) | exact | {"candidates": tried})


def _encoder(lesson: Lesson, teacher: Path, params: Params) -> Row:
    from pairloop.rankers.specialist import encoder, teach

    prompts, speaker, pairs = lesson
    comparisons, texts, _ = teach.prepare(prompts, speaker, params.teach, params.seed, pairs)
    trained = encoder.train_encoder(comparisons, params.encoder, teacher, params.seed, params.rank.batch_tokens)
    scores = encoder.score_comparisons(trained, comparisons)
    found = _measured(teach.measure(comparisons, scores))
    sampled = trained.score([prompt for prompt, _ in texts], [own for _, own in texts])
    correlation = mean_length_correlation(sampled, [own for _, own in texts])
    click.echo(f"Encoder: held-out accuracy {found['held_out_accuracy'] or 0:.0%} of {found['held_out_pairs']} pairs")
    return dict(records.rounded(found | {"length_correlation": correlation}))


def _measured(found: Row) -> Row:
    """The same without what was not measured, and with the total accuracy by itself."""
    accuracy = found["held_out_accuracy"]
    kinds = {kind: value for kind, value in accuracy.items() if kind != "total" and value is not None}
    hacks = {name: value for name, value in found["hacks"].items() if value is not None}
    return found | {"held_out_accuracy": accuracy["total"], "by_kind": kinds, "hacks": hacks}


def _summary(found: Row) -> list[str]:
    """What the metrics say, in five lines."""
    curve, length = found["learning_curve"], found["length_correlation"]
    interval = f" (95 % interval {curve[-1]['low']:.0%} to {curve[-1]['high']:.0%})" if curve else ""
    worst = sorted(((name, share) for name, share in found["hacks"].items() if share), key=lambda hack: -hack[1])[:3]
    return [
        f"Fitted to {found['pairs']} pairs: layer {found['layer']} (depth {found['depth']}), "
        f"regularisation {found['regularisation']}",
        f"Held-out accuracy: {found['held_out_accuracy'] or 0:.0%} of {found['held_out_pairs']} pairs{interval}; "
        "50 % is chance",
        "Score with length: " + (f"{length:+.2f}" if length is not None else "unknown") + " (rank correlation)",
        "Most fooled by: " + (", ".join(f"{name} {share:.0%}" for name, share in worst) or "no trick"),
        "Accuracy by pairs: " + (", ".join(f"{row['pairs']}: {row['accuracy']:.0%}" for row in curve) or "not tested"),
    ]


if __name__ == "__main__":
    main()
