"""A policy's answers to prompts, in shards that survive a kill."""

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from pairloop import models, work
from pairloop.records import Row
from pairloop.samplers import Request, Response, Sampling, prompt_tokens


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
            "device": models.device(),
        }


def fitting(rows: Sequence[Row], tokenizer: Any, max_prompt_tokens: int) -> tuple[list[Row], dict[str, int]]:
    """Rows whose chat-formatted prompt has at most `max_prompt_tokens` tokens, and how many are dropped, by reason."""
    kept = [row for row in rows if prompt_tokens(tokenizer, row["prompt"]) <= max_prompt_tokens]
    return kept, {"prompt_too_long": len(rows) - len(kept)} if len(rows) > len(kept) else {}


@dataclass(frozen=True)
class Speaker:
    """A policy that answers by the transformers sampler and keeps what it has said: a Sampler."""

    policy: Policy
    """Who answers."""

    sampling: Sampling
    """Temperature and limits."""

    shard_prompts: int
    """Prompts that are answered together; a finished shard is stored."""

    scratch: Path
    """Folder for finished shards."""

    def sample(self, requests: Sequence[Request]) -> list[list[Response]]:
        """As `Sampler.sample`."""
        return [responses for shard in self.shards(requests) for responses in shard]

    def shards(self, requests: Sequence[Request]) -> Iterator[list[list[Response]]]:
        """As `sample`, a shard at a time."""
        fingerprint = {
            "step": "answer",
            "policy": self.policy.fingerprint,
            "sampling": asdict(self.sampling),
            "sampler": {"engine": "transformers", **work.versions("torch", "transformers")},
        }
        items = [{"prompt": request.prompt, "seeds": list(request.seeds)} for request in requests]
        for shard in work.shards(items, self.shard_prompts, fingerprint, self._answer, self.scratch):
            yield [[Response(**response) for response in row["responses"]] for row in shard]

    def _answer(self, items: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
        from pairloop.samplers.transformers import TransformersSampler

        sampler = TransformersSampler(self.policy.model, self.policy.tokenizer, self.sampling)
        requests = [Request(item["prompt"], tuple(item["seeds"])) for item in items]
        return [{"responses": [asdict(response) for response in own]} for own in sampler.sample(requests)]


def answer(rows: Sequence[Row], speaker: Speaker, streams: tuple[int | str, ...], samples: int) -> Iterator[list[Row]]:
    """Rows of records.RESPONSE, a shard at a time.

    Args:
        rows: what to answer; `prompt_id` and `prompt` are read.
        speaker: who answers, and how.
        streams: what the random streams depend on besides prompt_id and sample index: (seed, iteration) in the loop.
        samples: responses per prompt.
    """
    requests = [
        Request(row["prompt"], tuple(work.seed_of(*streams, row["prompt_id"], k) for k in range(samples)))
        for row in rows
    ]
    done = 0
    for shard in speaker.shards(requests):
        yield [_row(row, responses) for row, responses in zip(rows[done : done + len(shard)], shard, strict=True)]
        done += len(shard)


def _row(row: Row, responses: Sequence[Response]) -> Row:
    return {
        "prompt_id": row["prompt_id"],
        "prompt": row["prompt"],
        "responses": [response.text for response in responses],
        "finish_reasons": [response.finish_reason for response in responses],
        "token_counts": [response.token_count for response in responses],
    }
