"""rank: a score for every response."""

import statistics
from pathlib import Path

import click

from pairloop import constraints, records, scoring, winrate
from pairloop.records import Row
from stages import common


@click.command(cls=common.Verb)
@click.option("--iteration", type=click.IntRange(min=1), required=True)
@click.argument("base", type=Path)
@click.argument("teacher", type=Path)
@click.argument("prompts", type=Path)
@click.argument("responses", type=Path)
@click.argument("rankings", type=Path)
@click.argument("metrics", type=Path)
@click.argument("times", type=Path)
def main(
    iteration: int,
    base: Path,
    teacher: Path,
    prompts: Path,
    responses: Path,
    rankings: Path,
    metrics: Path,
    times: Path,
) -> None:
    """Score RESPONSES to PROMPTS by the TEACHER and BASE, and write RANKINGS."""
    params = common.load(iteration)
    rank = params.rank
    stated = {row["prompt_id"]: row["constraints"] for row in records.read(prompts, records.PROMPT)}
    rows = [row | {"constraints": stated[row["prompt_id"]]} for row in records.read(responses, records.RESPONSE)]
    with common.clock(times):
        ranking = scoring.Ranking(
            rank.ranker, base, teacher, params.base.dtype, rank.batch_tokens, rank.constraints_first, rank.model
        )
        shards = scoring.score(rows, ranking, rank.shard_prompts, common.scratch())
        scores = common.collect(shards, len(rows), f"rank@{iteration}")
    ranked = [
        {name: row[name] for name in records.RESPONSE} | {"scores": found, "ranker": ranking.name}
        for row, found in zip(rows, scores, strict=True)
    ]
    records.write(rankings, records.RANKING, [ranked])
    records.write_json(metrics, _summary(rows, scores, ranking.name))


def _summary(rows: list[Row], scores: list[list[float]], ranker: str) -> Row:
    correlation = winrate.mean_length_correlation(scores, [row["responses"] for row in rows])
    shares = [
        constraints.share(constraints.parse(row["constraints"]), text)
        for row in rows
        if row["constraints"]
        for text in row["responses"]
    ]
    return {
        "ranker": ranker,
        "rows_in": len(rows),
        "rows_out": len(scores),
        "dropped": {},
        "responses": sum(len(found) for found in scores),
        "ties": sum(len(found) - len(set(found)) for found in scores),
        "length_correlation": None if correlation is None else round(correlation, 4),
        "constraint_share": round(statistics.fmean(shares), 4) if shares else None,
    }


if __name__ == "__main__":
    main()
