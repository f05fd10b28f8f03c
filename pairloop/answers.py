"""A policy's answers to prompts, in shards that survive a kill."""

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from pairloop import chat, models, work
from pairloop.records import Row
from pairloop.samplers import Request, Sampling


@dataclass(frozen=True)
class Policy:
    """A model that answers: loaded when first needed, not when everything is already answered."""

    folder: Path
    """models/iteration_n: a pointer, an adapter or a full checkpoint."""

    base: Path
    """models/iteration_0, which an adapter is relative to and the tokenizer comes from."""

    dtype: str
    """float32, bfloat16 or float16."""

    @cached_property
    def tokenizer(self) -> Any:
        """The base's tokenizer: training never changes it."""
        return models.load_tokenizer(self.base)

    @cached_property
    def model(self) -> Any:
        """The model in memory."""
        return models.load_policy(self.folder, self.base, self.dtype)

    @cached_property
    def fingerprint(self) -> dict[str, Any]:
        """What decides this policy's answers."""
        return {
            "policy": models.fingerprint(self.folder),
            "base": models.fingerprint(self.base),
            "dtype": self.dtype,
            "device": device(),
        }


def device() -> str:
    """The kind of device that computes: results on another kind are not the same bytes."""
    import torch

    return "cuda" if torch.cuda.is_available() else "cpu"


def fitting(rows: Sequence[Row], tokenizer: Any, max_prompt_tokens: int) -> tuple[list[Row], dict[str, int]]:
    """Rows whose chat-formatted prompt has at most `max_prompt_tokens` tokens, and how many are dropped, by reason."""
    kept = [row for row in rows if len(chat.encode_prompt(tokenizer, row["prompt"])) <= max_prompt_tokens]
    return kept, {"prompt_too_long": len(rows) - len(kept)} if len(rows) > len(kept) else {}


def answer(
    rows: Sequence[Row],
    policy: Policy,
    sampling: Sampling,
    streams: tuple[int | str, ...],
    samples: int,
    shard_prompts: int,
    scratch: Path,
) -> Iterator[list[Row]]:
    """Rows of records.RESPONSE, a shard at a time.

    Args:
        rows: what to answer; `prompt_id` and `prompt` are read.
        policy: who answers.
        sampling: temperature and limits.
        streams: what the random streams depend on besides prompt_id and sample index: (seed, iteration) in the loop.
        samples: responses per prompt.
        shard_prompts: prompts that are answered together.
        scratch: folder for finished shards.
    """
    items = [{"prompt_id": row["prompt_id"], "prompt": row["prompt"]} for row in rows]
    fingerprint = {
        "step": "answer",
        "policy": policy.fingerprint,
        "sampling": asdict(sampling),
        "streams": list(streams),
        "samples": samples,
        "sampler": _versions(),
    }

    def sample(shard: Sequence[Row]) -> list[Row]:
        return _answer_shard(shard, policy, sampling, streams, samples)

    yield from work.shards(items, shard_prompts, fingerprint, sample, scratch)


def _answer_shard(
    shard: Sequence[Row], policy: Policy, sampling: Sampling, streams: tuple[int | str, ...], samples: int
) -> list[Row]:
    from pairloop.samplers.transformers import TransformersSampler

    requests = [
        Request(row["prompt"], tuple(work.seed_of(*streams, row["prompt_id"], k) for k in range(samples)))
        for row in shard
    ]
    answers = TransformersSampler(policy.model, policy.tokenizer, sampling).sample(requests)
    return [
        {
            "prompt_id": row["prompt_id"],
            "prompt": row["prompt"],
            "responses": [response.text for response in responses],
            "finish_reasons": [response.finish_reason for response in responses],
            "token_counts": [response.token_count for response in responses],
        }
        for row, responses in zip(shard, answers, strict=True)
    ]


def _versions() -> dict[str, str]:
    from importlib.metadata import version

    return {"engine": "transformers", "torch": version("torch"), "transformers": version("transformers")}
