"""Scores for responses, in shards that survive a kill; and which ranker gives them."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property, lru_cache, partial
from pathlib import Path
from typing import Any

from pairloop.errors import RankingError
from pairloop.files.records import Row
from pairloop.models import fetch, references
from pairloop.params import VLLM, Judge, Params, Rankers
from pairloop.prompts import constraints
from pairloop.rankers import Ranker, advantages, check_all, score_all, score_unique
from pairloop.rankers.ensemble import Ensemble
from pairloop.rankers.verifiable import First, Verifiable, unscored
from pairloop.samplers.answers import Policy
from pairloop.samplers.vllm import Engine, release
from pairloop.work import shards

ALONE = ("specialist", "likelihood", "log_probability", "reward", "encoder", "verifiable")
"""Rankers whose score of a response does not depend on the others beside it."""

LOG_PROBABILITY = "log_probability"
"""No ranker of params.yaml: its score of a response is log p(response | prompt) under the frozen base, in nats."""

READERS = ("specialist", "likelihood", LOG_PROBABILITY)
"""Kinds that read with the frozen base, and can do so together."""

_NO_VERDICT = {"key_variable", "concurrency", "timeout", "retries"}
"""Parameters of `judge` that cannot change a verdict: they can be changed without losing scores."""


@dataclass(frozen=True)
class Places:
    """Where the models lie that rankers read with."""

    base: Path
    """models/iteration_0: the frozen model of `specialist` and `likelihood`."""

    teacher: Path
    """What the stage `teach` trained: `specialist` and `encoder`."""

    policy: Path | None = None
    """The current policy, which `judge` asks where its model is `self`; None where there is none to ask."""


@dataclass(frozen=True)
class Ranking:
    """A ranker, named by its kind: loaded when first needed, not when everything is already scored."""

    kind: str
    """One of `params.KINDS`, or LOG_PROBABILITY."""

    places: Places
    """Models to read with."""

    dtype: str
    """float32, bfloat16 or float16."""

    batch_tokens: int
    """Padded tokens in one forward pass."""

    first: First = field(default_factory=First)
    """What decides before the ranker."""

    rankers: Rankers = field(default_factory=Rankers)
    """Weights of the rankers that come trained, and the mixture."""

    judge: Judge = field(default_factory=Judge)
    """How `judge` is asked."""

    vllm: VLLM = field(default_factory=VLLM)
    """How vLLM runs, where `judge` is a model here that answers with it."""

    @property
    def name(self) -> str:
        """What stands in the rankings' column `ranker`."""
        return self.first.name(self.kind)

    @cached_property
    def members(self) -> list[tuple[float, "Ranking"]]:
        """What `ensemble` mixes, with weights."""
        found = self.rankers.ensemble.items() if self.kind == "ensemble" else ()
        return [(weight, replace(self, kind=kind, first=First())) for kind, weight in found]

    @cached_property
    def fingerprint(self) -> dict[str, Any]:
        """What decides the scores."""
        return {
            "step": "score",
            "ranker": self.name,
            "files": {str(i): references.fingerprint(folder) for i, folder in enumerate(self._folders())},
            "form": self.rankers.pairrm_form if self.kind == "pairrm" else None,
            "judge": self.judge.model_dump(exclude=_NO_VERDICT) if self.kind == "judge" else None,
            "engine": Engine(self.vllm, self.dtype).fingerprint if self._vllm else None,
            "members": [[weight, member.fingerprint] for weight, member in self.members],
            "dtype": self.dtype,
            "device": references.device(),
            "batch_tokens": self.batch_tokens,
            **shards.versions("torch", "transformers"),
        }

    @property
    def parallel(self) -> int | None:
        """GPUs that vLLM spreads a model over, where that is what judges; else None."""
        found = [member.parallel for _, member in self.members] + [self._vllm and self.vllm.tensor_parallel_size]
        return max((gpus for gpus in found if gpus), default=None)

    @property
    def _vllm(self) -> bool:
        return self.kind == "judge" and not self.judge.endpoint and self.judge.engine == "vllm"

    def _folders(self) -> list[Path]:
        """Folders whose files decide the scores."""
        match self.kind:
            case "specialist":
                return [self.places.base, self.places.teacher]
            case "likelihood" | "log_probability":
                return [self.places.base]
            case "encoder":
                return [self.places.teacher]
            case "pairrm" | "llm_blender" | "reward":
                return [self.weights]
            case "judge" if not self.judge.endpoint:
                return [self.judge_policy.folder, self.judge_policy.base]
            case _:
                return []

    @cached_property
    def weights(self) -> Path:
        """Folder of the weights that the parameter of this kind names, fetched if this machine does not have them."""
        own = self.rankers
        reference = {"pairrm": own.pairrm, "llm_blender": own.llm_blender, "reward": own.reward}[self.kind]
        if reference is None:
            raise RankingError(f"rankers.{self.kind} is null: name its weights, such as hf:owner/name, or a folder")
        return fetch.fetch(reference, None, references.cache_root(), f"rankers.{self.kind}").folder

    @cached_property
    def judge_policy(self) -> Policy:
        """The local model that `judge` asks: the current policy, or the one that `judge.model` names."""
        if self.judge.model != "self":
            folder = fetch.fetch(self.judge.model, None, references.cache_root(), "judge.model").folder
            return Policy(folder, folder, self.dtype)
        if self.places.policy is None:
            raise RankingError(
                "judge.model is self, but results of different iterations must be judged by one model: name a model "
                "in judge.model, or leave judge out of eval.judges"
            )
        return Policy(self.places.policy, self.places.base, self.dtype)

    @cached_property
    def loaded(self) -> Ranker:
        """The ranker in memory, for the kinds that need nothing but models."""
        match self.kind:
            case "specialist":
                return self._specialist()
            case "likelihood":
                from pairloop.rankers.likelihood import Likelihood

                return Likelihood(*frozen(self.places.base, self.dtype), self.batch_tokens)
            case "log_probability":
                from pairloop.rankers.likelihood import LogProbability
                from pairloop.rankers.reading import Reader

                return LogProbability(Reader(*frozen(self.places.base, self.dtype), self.batch_tokens))
            case "pairrm":
                from pairloop.rankers.pairrm.forms import READINGS
                from pairloop.rankers.pairrm.ranker import PairRM

                return PairRM(self.weights, self.dtype, self.batch_tokens, READINGS[self.rankers.pairrm_form])
            case "llm_blender":
                from pairloop.rankers.pairrm.llm_blender import LLMBlender

                return LLMBlender(self.weights)
            case "reward":
                from pairloop.rankers.reward import Reward

                return Reward(self.weights, self.dtype, self.batch_tokens)
            case _:
                from pairloop.rankers.specialist import encoder

                return encoder.load(self.places.teacher, self.batch_tokens)

    def _specialist(self) -> Ranker:
        from pairloop.rankers.specialist.head import Specialist, load
        from pairloop.rankers.specialist.hidden import HiddenStates

        head = load(self.places.teacher, references.fingerprint(self.places.base))
        return Specialist(head, HiddenStates(*frozen(self.places.base, self.dtype), head.depth, self.batch_tokens))


def configured(kind: str, places: Places, params: Params, deciding: bool = False) -> Ranking:
    """The ranker of a kind, as the parameters describe it; `deciding`: with what `rank` puts before it."""
    own, settings = params.rank, (params.rankers, params.judge, params.vllm)
    first = First(kind != "verifiable" and own.constraints_first, own.loops_last, own.echoes_last, own.fewest_words)
    return Ranking(kind, places, params.base.dtype, own.batch_tokens, first if deciding else First(), *settings)


def make_room(ranking: Ranking) -> None:
    """Give back the memory of what has answered or scored in this process before `ranking` loads what it needs.

    The frozen base stays in memory where `ranking` reads with it too. What the caller still holds stays, of course.
    """
    if ranking.kind not in READERS:
        frozen.cache_clear()
    release()


@lru_cache(maxsize=1)
def frozen(base: Path, dtype: str) -> tuple[Any, Any]:
    """The frozen base and its tokenizer, in memory once for all rankers that read with it."""
    return references.load_model(base, dtype), references.load_tokenizer(base)


def score(
    rows: Iterable[Row],
    ranking: Ranking,
    shard_prompts: int,
    scratch: Path,
    elsewhere: shards.Elsewhere | None = None,
) -> Iterator[list[Row]]:
    """Scores of each row's responses, a shard at a time; no more rows than a shard's are in memory.

    Args:
        rows: `prompt`, `responses` and `constraints` (JSON or None) are read.
        ranking: who scores.
        shard_prompts: prompts that are scored together.
        scratch: folder for finished shards.
        elsewhere: where they are scored, by a ranking that goes there with nothing loaded; None: here.

    Yields:
        Lists of `scores`, one number for each response of a row; `comparisons`, the matrix behind them as in
        records.RANKING, or None; and `judge`, what a judge counted, or None.

    Raises:
        RankingError: a score is not a finite number; names the prompt and the response.
    """
    items = ({name: row[name] for name in ("prompt", "responses", "constraints")} for row in rows)
    scored = partial(_score_shard, ranking=replace(ranking) if elsewhere else ranking, scratch=scratch)
    yield from shards.shards(items, shard_prompts, ranking.fingerprint, scored, scratch, elsewhere)


def _score_shard(shard: Sequence[Row], ranking: Ranking, scratch: Path) -> list[Row]:
    left = [row for row in shard if not ranking.first.leaves_out(row)]
    asked = iter(_scored(left, ranking, scratch) if left else ())
    found = [unscored(row) if ranking.first.leaves_out(row) else next(asked) for row in shard]
    ordered = ranking.first.ordered(shard, [own["scores"] for own in found])
    return [own | {"scores": scores} for own, scores in zip(found, ordered, strict=True)]


def _scored(shard: Sequence[Row], ranking: Ranking, scratch: Path) -> list[Row]:
    stated = [constraints.parse(row["constraints"]) if row["constraints"] else [] for row in shard]
    prompts, candidates = [row["prompt"] for row in shard], [row["responses"] for row in shard]
    found = ranker(ranking, dict(zip(prompts, stated, strict=True)), scratch)
    counts: list[dict[str, int] | None] = [None] * len(shard)
    matrices: list[Any] = [None] * len(shard)
    if ranking.kind == "judge":
        judged = found.judged(prompts, candidates)
        scores = [own.scores for own in judged]
        matrices, counts = [own.comparisons for own in judged], [own.counts for own in judged]
    elif ranking.kind == "pairrm":
        matrices = found.comparisons(prompts, candidates)
        scores = check_all(found, prompts, candidates, [advantages(matrix) for matrix in matrices])
    else:
        scores = (score_unique if ranking.kind in ALONE else score_all)(found, prompts, candidates)
    rows = zip(scores, matrices, counts, strict=True)
    return [{"scores": own, "comparisons": matrix, "judge": count} for own, matrix, count in rows]


def ranker(ranking: Ranking, stated: Mapping[str, list[dict[str, Any]]], scratch: Path) -> Any:
    """The ranker of a kind; `stated` gives each prompt's constraints, and `scratch` keeps a judge's answers."""
    match ranking.kind:
        case "verifiable":
            return Verifiable(stated)
        case "ensemble":
            return Ensemble([(weight, ranker(member, stated, scratch)) for weight, member in ranking.members])
        case "judge":
            from pairloop.rankers.judge.configured import judge

            policy = None if ranking.judge.endpoint else ranking.judge_policy
            return judge(ranking.judge, policy, ranking.vllm, scratch)
        case _:
            return ranking.loaded
