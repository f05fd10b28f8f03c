"""rank: a score for every response."""

import statistics
from pathlib import Path

import click

from pairloop import constraints, records, scoring, winrate
from pairloop.params import Params
from pairloop.rankers import quality
from pairloop.records import Row
from stages import common


@click.command(cls=common.Verb)
@click.option("--iteration", type=click.IntRange(min=1), required=True)
@click.argument("base", type=Path)
@click.argument("policy", type=Path)
@click.argument("teacher", type=Path)
@click.argument("prompts", type=Path)
@click.argument("responses", type=Path)
@click.argument("rankings", type=Path)
@click.argument("metrics", type=Path)
@click.argument("times", type=Path)
def main(
    iteration: int,
    base: Path,
    policy: Path,
    teacher: Path,
    prompts: Path,
    responses: Path,
    rankings: Path,
    metrics: Path,
    times: Path,
) -> None:
    """Score RESPONSES, which POLICY gave to PROMPTS, by the TEACHER or another ranker, and write RANKINGS."""
    params = common.load(iteration)
    places = scoring.Places(base, teacher, policy)
    stated = {row["prompt_id"]: row["constraints"] for row in records.read(prompts, records.PROMPT)}
    rows = [row | {"constraints": stated[row["prompt_id"]]} for row in records.read(responses, records.RESPONSE)]
    with common.clock(times):
        ranking = scoring.configured(params.rank.ranker, places, params, params.rank.constraints_first)
        found = _scores(rows, ranking, params, f"rank@{iteration}")
        second = _second(rows, found, places, params, f"rank@{iteration}, second")
    ranked = [
        {name: row[name] for name in records.RESPONSE}
        | {"scores": own["scores"], "ranker": ranking.name, "comparisons": own["comparisons"]}
        for row, own in zip(rows, found, strict=True)
    ]
    records.write(rankings, records.RANKING, [ranked])
    more = {"second": second, "judge": scoring.judge_counts(found)}
    records.write_json(metrics, records.rounded(_summary(ranked, stated, ranking.name) | more))


def _scores(rows: list[Row], ranking: scoring.Ranking, params: Params, label: str) -> list[Row]:
    shards = scoring.score(rows, ranking, params.rank.shard_prompts, common.scratch())
    return common.collect(shards, len(rows), label)


def _second(rows: list[Row], found: list[Row], places: scoring.Places, params: Params, label: str) -> Row | None:
    """How far `rank.second`, which does not look at constraints, agrees with the scores that were found."""
    kind = params.rank.second
    if kind is None:
        return None
    theirs = _scores(rows, scoring.configured(kind, places, params), params, label)
    return {"ranker": kind} | quality.agreement([row["scores"] for row in found], [row["scores"] for row in theirs])


def _summary(ranked: list[Row], stated: Row, ranker: str) -> Row:
    scores = [row["scores"] for row in ranked]
    shares = [
        constraints.share(constraints.parse(stated[row["prompt_id"]]), text)
        for row in ranked
        if stated[row["prompt_id"]]
        for text in row["responses"]
    ]
    return {
        "ranker": ranker,
        "rows_in": len(ranked),
        "rows_out": len(ranked),
        "dropped": {},
        "responses": sum(len(found) for found in scores),
        "ties": sum(len(found) - len(set(found)) for found in scores),
        "length_correlation": winrate.mean_length_correlation(scores, [row["responses"] for row in ranked]),
        "constraint_share": statistics.fmean(shares) if shares else None,
        "position_bias": quality.position_bias([row["comparisons"] for row in ranked if row["comparisons"]]),
        "margins": quality.margins(scores),
    }


if __name__ == "__main__":
    main()
