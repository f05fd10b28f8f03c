"""rank: a score for every response."""

from collections.abc import Iterable, Iterator
from itertools import chain
from pathlib import Path

import click

from pairloop.files import records
from pairloop.files.records import Row
from pairloop.measures.statistics import length_correlation, mean_of_defined
from pairloop.params import Params
from pairloop.prompts import constraints
from pairloop.rankers import quality, scoring
from pairloop.rankers.judge.ranker import counted, unread
from pairloop.work import ray
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
    with common.clock(times), ray.disconnected():
        seen = _first(responses, rankings, stated, places, params, f"rank@{iteration}")
        second = _second(responses, stated, seen.scores, places, params, f"rank@{iteration}, second")
    written = len(seen.scores)
    rows = {"ranker": seen.ranker, "rows_in": written, "rows_out": written, "dropped": {}}
    asked = counted(seen.judged)
    common.warn(unread(asked, params.judge.max_new_tokens))
    more = {"second": second, "judge": asked}
    records.write_json(metrics, records.rounded(rows | seen.summary() | more))


def _first(responses: Path, rankings: Path, stated: Row, places: scoring.Places, params: Params, label: str) -> "_Seen":
    """Write the rankings. What the ranker had in memory goes with this function, before another ranker loads."""
    ranking = scoring.configured(params.rank.ranker, places, params, deciding=True)
    seen = _Seen(ranking.name)
    records.write(rankings, records.RANKING, seen.over(_scored(responses, stated, ranking, params, label)))
    return seen


def _scored(
    responses: Path, stated: Row, ranking: scoring.Ranking, params: Params, label: str
) -> Iterator[tuple[Row, Row]]:
    """Each row of responses with what the ranker found; neither side is in memory as a whole."""
    places = ranking.places
    needs = [folder for folder in (places.base, places.teacher, places.policy) if folder and folder.exists()]
    actors = ray.Actors(params.ray, needs, ranking.parallel) if params.rank.engine == "ray" else None
    shards = scoring.score(_rows(responses, stated), ranking, params.rank.shard_prompts, common.scratch(), actors)
    with common.progress(len(stated), label) as bar:
        for both in zip(_rows(responses, stated), chain.from_iterable(shards), strict=True):
            yield both
            bar.update()


def _rows(responses: Path, stated: Row) -> Iterator[Row]:
    for batch in records.stream(responses, records.RESPONSE):
        yield from (row | {"constraints": stated[row["prompt_id"]]} for row in batch)


def _second(
    responses: Path, stated: Row, scores: list[list[float]], places: scoring.Places, params: Params, label: str
) -> Row | None:
    """How far `rank.second`, which does not look at constraints, agrees with the scores that were found."""
    kind = params.rank.second
    if kind is None:
        return None
    ranking = scoring.configured(kind, places, params)
    scoring.make_room(ranking)
    found = _scored(responses, stated, ranking, params, label)
    return {"ranker": kind} | quality.agreement(scores, [own["scores"] for _, own in found])


class _Seen:
    """Keeps of the rows that stream past what the metrics need: numbers, no texts."""

    def __init__(self, ranker: str) -> None:
        self.ranker = ranker
        self.scores: list[list[float]] = []
        self.judged: list[Row] = []
        self.comparisons: list[list[list[float]]] = []
        self.shares: list[float] = []
        self.lengths: list[float | None] = []

    def over(self, found: Iterable[tuple[Row, Row]]) -> Iterator[list[Row]]:
        """Rows of records.RANKING."""
        for row, own in found:
            self._add(row, own)
            kept = {name: row[name] for name in records.TEXT}
            yield [kept | {"scores": own["scores"], "ranker": self.ranker, "comparisons": own["comparisons"]}]

    def _add(self, row: Row, own: Row) -> None:
        self.scores.append(own["scores"])
        self.judged.append({"judge": own["judge"]})
        self.comparisons += [own["comparisons"]] if own["comparisons"] else []
        self.lengths.append(length_correlation(own["scores"], row["responses"]))
        if row["constraints"]:
            asked = constraints.parse(row["constraints"])
            self.shares += [constraints.share(asked, text) for text in row["responses"]]

    def summary(self) -> Row:
        return {
            "responses": sum(len(found) for found in self.scores),
            "ties": sum(len(found) - len(set(found)) for found in self.scores),
            "length_correlation": mean_of_defined(self.lengths),
            "constraint_share": mean_of_defined(self.shares),
            "position_bias": quality.position_bias(self.comparisons),
            "margins": quality.margins(self.scores),
        }


if __name__ == "__main__":
    main()
