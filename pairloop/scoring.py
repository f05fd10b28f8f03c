"""Scores for responses, in shards that survive a kill; and which ranker gives them."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any

from pairloop import constraints, fetch, models, work
from pairloop.params import Params, Rankers
from pairloop.rankers import Ranker, advantages, check_all, score_all, score_unique
from pairloop.rankers.ensemble import Ensemble
from pairloop.rankers.verifiable import Verifiable, constraints_first
from pairloop.records import Row

ALONE = ("specialist", "likelihood", "verifiable")
"""Rankers whose score of a response does not depend on the others beside it."""


@dataclass(frozen=True)
class Places:
    """Where the models lie that rankers read with."""

    base: Path
    """models/iteration_0: the frozen model of `specialist` and `likelihood`."""

    teacher: Path
    """What the stage `teach` trained: the head of `specialist`."""


@dataclass(frozen=True)
class Ranking:
    """A ranker, named by its kind: loaded when first needed, not when everything is already scored."""

    kind: str
    """One of `params.KINDS`."""

    places: Places
    """Models to read with."""

    dtype: str
    """float32, bfloat16 or float16."""

    batch_tokens: int
    """Padded tokens in one forward pass."""

    constraints_first: bool = False
    """Where a prompt has constraints, the share that holds decides and the ranker breaks ties."""

    rankers: Rankers = field(default_factory=Rankers)
    """Weights of the rankers that come trained, and the mixture."""

    @property
    def name(self) -> str:
        """What stands in the rankings' column `ranker`."""
        return f"constraints, then {self.kind}" if self.constraints_first and self.kind != "verifiable" else self.kind

    @property
    def compares(self) -> bool:
        """Whether it compares two responses at a time, in both orders."""
        return self.kind == "pairrm"

    @cached_property
    def members(self) -> list[tuple[float, "Ranking"]]:
        """What `ensemble` mixes, with weights."""
        found = self.rankers.ensemble.items() if self.kind == "ensemble" else ()
        return [(weight, replace(self, kind=kind, constraints_first=False)) for kind, weight in found]

    @cached_property
    def fingerprint(self) -> dict[str, Any]:
        """What decides the scores."""
        return {
            "step": "score",
            "ranker": self.name,
            "files": {str(i): models.fingerprint(folder) for i, folder in enumerate(self._folders())},
            "members": [[weight, member.fingerprint] for weight, member in self.members],
            "dtype": self.dtype,
            "device": models.device(),
            "batch_tokens": self.batch_tokens,
            **work.versions("torch", "transformers"),
        }

    def _folders(self) -> list[Path]:
        """Folders whose files decide the scores."""
        match self.kind:
            case "specialist":
                return [self.places.base, self.places.teacher]
            case "likelihood":
                return [self.places.base]
            case "pairrm":
                return [self.weights]
            case _:
                return []

    @cached_property
    def weights(self) -> Path:
        """Folder of the weights of `pairrm`, fetched if this machine does not have them."""
        return fetch.fetch(self.rankers.pairrm, None, models.cache_root(), "rankers.pairrm").folder

    @cached_property
    def loaded(self) -> Ranker:
        """The ranker in memory, for the kinds that need nothing but models."""
        match self.kind:
            case "specialist":
                return self._specialist()
            case "likelihood":
                from pairloop.rankers.likelihood import Likelihood

                return Likelihood(*_frozen(self.places.base, self.dtype), self.batch_tokens)
            case _:
                from pairloop.rankers.pairrm import PairRM

                return PairRM(self.weights, self.dtype, self.batch_tokens)

    def _specialist(self) -> Ranker:
        from pairloop.rankers.hidden import HiddenStates
        from pairloop.rankers.specialist import Specialist, load

        head = load(self.places.teacher, models.fingerprint(self.places.base))
        return Specialist(head, HiddenStates(*_frozen(self.places.base, self.dtype), head.depth, self.batch_tokens))


def configured(kind: str, places: Places, params: Params, constraints_first: bool = False) -> Ranking:
    """The ranker of a kind, as the parameters describe it."""
    return Ranking(kind, places, params.base.dtype, params.rank.batch_tokens, constraints_first, params.rankers)


@lru_cache(maxsize=1)
def _frozen(base: Path, dtype: str) -> tuple[Any, Any]:
    """The frozen base and its tokenizer, in memory once for all rankers that read with it."""
    return models.load_model(base, dtype), models.load_tokenizer(base)


def score(rows: Sequence[Row], ranking: Ranking, shard_prompts: int, scratch: Path) -> Iterator[list[Row]]:
    """Scores of each row's responses, a shard at a time.

    Args:
        rows: `prompt`, `responses` and `constraints` (JSON or None) are read.
        ranking: who scores.
        shard_prompts: prompts that are scored together.
        scratch: folder for finished shards.

    Yields:
        Lists of `scores`, one number for each response of a row, and `comparisons`, the matrix behind them as in
        records.RANKING, or None.

    Raises:
        RankingError: a score is not a finite number; names the prompt and the response.
    """
    items = [{name: row[name] for name in ("prompt", "responses", "constraints")} for row in rows]

    def scored(shard: Sequence[Row]) -> list[Row]:
        return _score_shard(shard, ranking)

    yield from work.shards(items, shard_prompts, ranking.fingerprint, scored, scratch)


def _score_shard(shard: Sequence[Row], ranking: Ranking) -> list[Row]:
    stated = [constraints.parse(row["constraints"]) if row["constraints"] else [] for row in shard]
    prompts, candidates = [row["prompt"] for row in shard], [row["responses"] for row in shard]
    found = ranker(ranking, dict(zip(prompts, stated, strict=True)))
    matrices: Sequence[Any] = [None] * len(shard)
    if ranking.compares:
        matrices = found.comparisons(prompts, candidates)
        scores = [advantages(matrix) for matrix in matrices]
        check_all(found, prompts, candidates, scores)
    else:
        scores = (score_unique if ranking.kind in ALONE else score_all)(found, prompts, candidates)
    if ranking.constraints_first and ranking.kind != "verifiable":
        shares = [
            [constraints.share(own, text) if own else 0.0 for text in texts]
            for own, texts in zip(stated, candidates, strict=True)
        ]
        scores = constraints_first(scores, shares)
    return [{"scores": own, "comparisons": matrix} for own, matrix in zip(scores, matrices, strict=True)]


def ranker(ranking: Ranking, stated: Mapping[str, list[dict[str, Any]]]) -> Any:
    """The ranker of a kind; `stated` gives each prompt's constraints."""
    match ranking.kind:
        case "verifiable":
            return Verifiable(stated)
        case "ensemble":
            return Ensemble([(weight, ranker(member, stated)) for weight, member in ranking.members])
        case _:
            return ranking.loaded
