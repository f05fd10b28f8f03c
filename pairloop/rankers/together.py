"""Scores of several rankers for the same responses: those that read with the same frozen model read each once."""

from collections.abc import Iterable, Iterator, Sequence
from functools import reduce
from operator import or_
from pathlib import Path
from typing import Any

from pairloop.files.records import Row
from pairloop.rankers import check_all, different, told_all
from pairloop.rankers.scoring import READERS, Ranking, frozen, score
from pairloop.work import shards


def groups(rankings: Iterable[Ranking]) -> list[list[Ranking]]:
    """The rankings that can score together, each group where its first stands; most are a group of their own."""
    found: dict[object, list[Ranking]] = {}
    for ranking in rankings:
        reads = ranking.kind in READERS
        key = (ranking.places.base, ranking.dtype, ranking.batch_tokens) if reads else ranking.kind
        found.setdefault(key, []).append(ranking)
    return list(found.values())


def score_together(
    rows: Iterable[Row],
    rankings: Sequence[Ranking],
    shard_prompts: int,
    scratch: Path,
    elsewhere: shards.Elsewhere | None = None,
) -> Iterator[list[dict[str, Row]]]:
    """Scores of each row's responses by every ranking of a group, a shard at a time.

    They are those of `scoring.score`, and are stored by ranking as it stores them: of a shard, only the rankings that
    have not scored it yet do, and what they read is read once.

    Args:
        rows: as of `scoring.score`.
        rankings: one of the `groups`.
        shard_prompts: prompts that are scored together.
        scratch: folder for finished shards.
        elsewhere: where they are scored, one ranking after another; None: here.

    Yields:
        Lists of what `scoring.score` gives for a row, by the rankings' kinds.

    Raises:
        RankingError: a score is not a finite number; names the prompt and the response.
    """
    items = [{name: row[name] for name in ("prompt", "responses", "constraints")} for row in rows]
    kinds = [ranking.kind for ranking in rankings]
    if elsewhere or len(rankings) == 1:
        alone = [score(items, ranking, shard_prompts, scratch, elsewhere) for ranking in rankings]
        # Each whole before the next: two that wait for the same devices would wait for each other.
        shards_of = zip(*([*found] for found in alone), strict=True) if len(alone) > 1 else zip(*alone, strict=True)
        yield from (_by_kind(kinds, shard) for shard in shards_of)
        return

    def scored(shard: Sequence[Row], missing: Sequence[str]) -> dict[str, list[Row]]:
        return _score_shard(shard, [ranking for ranking in rankings if ranking.kind in missing])

    fingerprints = {ranking.kind: ranking.fingerprint for ranking in rankings}
    for done in shards.together(items, shard_prompts, fingerprints, scored, scratch):
        yield _by_kind(kinds, [done[kind] for kind in kinds])


def _by_kind(kinds: Sequence[str], found: Sequence[Sequence[Row]]) -> list[dict[str, Row]]:
    """Rows of what each kind gave, from what each gave for all rows."""
    return [dict(zip(kinds, row, strict=True)) for row in zip(*found, strict=True)]


def _score_shard(shard: Sequence[Row], rankings: Sequence[Ranking]) -> dict[str, list[Row]]:
    from pairloop.rankers.reading import Reader

    prompts, candidates = [row["prompt"] for row in shard], [row["responses"] for row in shard]
    unique = different(candidates)
    first = rankings[0]
    rankers: dict[str, Any] = {ranking.kind: ranking.loaded for ranking in rankings}
    asked = reduce(or_, (ranker.asks for ranker in rankers.values()))
    reads = Reader(*frozen(first.places.base, first.dtype), first.batch_tokens).read(prompts, unique, asked)
    found = {}
    for ranking in rankings:
        ranker = rankers[ranking.kind]
        scores = told_all(candidates, unique, check_all(ranker, prompts, unique, ranker.scores(reads)))
        rows = ranking.first.ordered(shard, scores)
        found[ranking.kind] = [{"scores": own, "comparisons": None, "judge": None} for own in rows]
    return found
