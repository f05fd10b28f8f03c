"""Scores for responses, in shards that survive a kill; and which ranker gives them."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from pairloop import constraints, fetch, models, work
from pairloop.rankers import Ranker, score_all, score_unique
from pairloop.rankers.verifiable import Verifiable, constraints_first
from pairloop.records import Row


@dataclass(frozen=True)
class Ranking:
    """A ranker, named by its kind: loaded when first needed, not when everything is already scored."""

    kind: str
    """`specialist`, `likelihood`, `pairrm` or `verifiable`."""

    base: Path
    """models/iteration_0: the frozen model that `specialist` and `likelihood` read with."""

    teacher: Path
    """Folder of the trained head of `specialist`; the others do not read it."""

    dtype: str
    """float32, bfloat16 or float16."""

    batch_tokens: int
    """Padded tokens in one forward pass."""

    constraints_first: bool = False
    """Where a prompt has constraints, the share that holds decides and the ranker breaks ties."""

    model: str = ""
    """Reference to the weights of `pairrm`; the others do not read it."""

    @property
    def name(self) -> str:
        """What stands in the rankings' column `ranker`."""
        return f"constraints, then {self.kind}" if self.constraints_first and self.kind != "verifiable" else self.kind

    @cached_property
    def fingerprint(self) -> dict[str, Any]:
        """What decides the scores."""
        files = models.fingerprint(self.weights if self.kind == "pairrm" else self.base)
        files |= models.fingerprint(self.teacher) if self.kind == "specialist" else {}
        parts = {"step": "score", "ranker": self.name, "files": files, "dtype": self.dtype, "device": models.device()}
        return parts | {"batch_tokens": self.batch_tokens, **work.versions("torch", "transformers")}

    @cached_property
    def model_and_tokenizer(self) -> tuple[Any, Any]:
        """The frozen base in memory."""
        return models.load_model(self.base, self.dtype), models.load_tokenizer(self.base)

    @cached_property
    def weights(self) -> Path:
        """Folder of `model`, fetched if this machine does not have it."""
        return fetch.fetch(self.model, None, models.cache_root(), "rank.model").folder

    @cached_property
    def pairrm(self) -> Ranker:
        """The pairwise ranker in memory."""
        from pairloop.rankers.pairrm import PairRM

        return PairRM(self.weights, self.dtype, self.batch_tokens)


def score(rows: Sequence[Row], ranking: Ranking, shard_prompts: int, scratch: Path) -> Iterator[list[list[float]]]:
    """Scores of each row's responses, a shard at a time.

    Args:
        rows: `prompt`, `responses` and `constraints` (JSON or None) are read.
        ranking: who scores.
        shard_prompts: prompts that are scored together.
        scratch: folder for finished shards.

    Raises:
        RankingError: a score is not a finite number; names the prompt and the response.
    """
    items = [{name: row[name] for name in ("prompt", "responses", "constraints")} for row in rows]

    def scored(shard: Sequence[Row]) -> list[dict[str, Any]]:
        return [{"scores": found} for found in _score_shard(shard, ranking)]

    for shard in work.shards(items, shard_prompts, ranking.fingerprint, scored, scratch):
        yield [row["scores"] for row in shard]


def _score_shard(shard: Sequence[Row], ranking: Ranking) -> list[list[float]]:
    stated = [constraints.parse(row["constraints"]) if row["constraints"] else [] for row in shard]
    prompts, candidates = [row["prompt"] for row in shard], [row["responses"] for row in shard]
    # PairRM's scores are relative to all candidates, repeated ones too; it does not ask about them twice either.
    scored = score_all if ranking.kind == "pairrm" else score_unique
    scores = scored(ranker(ranking, dict(zip(prompts, stated, strict=True))), prompts, candidates)
    if not ranking.constraints_first or ranking.kind == "verifiable":
        return scores
    shares = [
        [constraints.share(own, text) if own else 0.0 for text in texts]
        for own, texts in zip(stated, candidates, strict=True)
    ]
    return constraints_first(scores, shares)


def ranker(ranking: Ranking, stated: Mapping[str, list[dict[str, Any]]]) -> Ranker:
    """The ranker of a kind; `stated` gives each prompt's constraints."""
    match ranking.kind:
        case "specialist":
            from pairloop.rankers.hidden import HiddenStates
            from pairloop.rankers.specialist import Specialist, load

            head = load(ranking.teacher, models.fingerprint(ranking.base))
            return Specialist(head, HiddenStates(*ranking.model_and_tokenizer, head.depth, ranking.batch_tokens))
        case "likelihood":
            from pairloop.rankers.likelihood import Likelihood

            return Likelihood(*ranking.model_and_tokenizer, ranking.batch_tokens)
        case "pairrm":
            return ranking.pairrm
        case _:
            return Verifiable(stated)
