"""A policy's answers to prompts, in shards that survive a kill."""

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from pairloop.files.records import Row
from pairloop.models import references
from pairloop.params import VLLM
from pairloop.samplers import Request, Response, Sampler, Sampling, prompt_tokens, room
from pairloop.samplers.vllm import Engine, VLLMSampler
from pairloop.work import shards


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
        return references.load_tokenizer(self.base)

    @cached_property
    def model(self) -> Any:
        """The model in memory, for transformers."""
        return references.load_policy(self.folder, self.base, self.dtype)

    @cached_property
    def served(self) -> references.Served:
        """Where its weights lie, for vLLM."""
        return references.serve_policy(self.folder, self.base)

    @cached_property
    def fingerprint(self) -> dict[str, Any]:
        """What decides this policy's answers."""
        return {
            "policy": references.fingerprint(self.folder),
            "base": references.fingerprint(self.base),
            "dtype": self.dtype,
            "device": references.device(),
        }


def fitting(
    rows: Sequence[Row], tokenizer: Any, max_prompt_tokens: int, at_most: int | None = None
) -> tuple[list[Row], dict[str, int]]:
    """Rows whose chat-formatted prompt is short enough, and how many are dropped, by reason.

    Args:
        rows: `prompt` is read.
        tokenizer: counts the tokens.
        max_prompt_tokens: as asked for; more are dropped as `prompt_too_long`.
        at_most: as many as leave room for a response; more are dropped as `over_context`. None: no such limit.
    """
    lengths = [prompt_tokens(tokenizer, row["prompt"]) for row in rows]
    asked = [length <= max_prompt_tokens for length in lengths]
    fits = [at_most is None or length <= at_most for length in lengths]
    kept = [row for row, *both in zip(rows, asked, fits, strict=True) if all(both)]
    dropped = {"prompt_too_long": asked.count(False)}
    dropped["over_context"] = len(rows) - len(kept) - dropped["prompt_too_long"]
    return kept, {reason: count for reason, count in dropped.items() if count}


@dataclass(frozen=True)
class Speaker:
    """A policy that answers by an engine and keeps what it has said: a Sampler."""

    policy: Policy
    """Who answers."""

    sampling: Sampling
    """Temperature and limits."""

    shard_prompts: int
    """Prompts that are answered together; a finished shard is stored."""

    scratch: Path
    """Folder for finished shards."""

    engine: str = "transformers"
    """`transformers` or `vllm`."""

    vllm: VLLM = field(default_factory=VLLM)
    """How vLLM runs."""

    batch_invariant: bool = False
    """Whether vLLM has to give the same bytes in any company."""

    elsewhere: shards.Elsewhere | None = None
    """Where shards are answered; None: here."""

    @property
    def room(self) -> int | None:
        """Tokens that a prompt may have beside the longest response; None where the model states no limit."""
        served = self.policy.served
        vllm = self.engine == "vllm"
        context = served.context(self.vllm.max_model_len) if vllm else references.context(served.config)
        return room.left(context, self.sampling.max_new_tokens)

    @property
    def fingerprint(self) -> dict[str, Any]:
        """What decides the answers, beside the requests."""
        return {
            "step": "answer, with its tokens",
            "policy": self.policy.fingerprint,
            "sampling": asdict(self.sampling),
            "sampler": self._engine(),
        }

    def sample(self, requests: Sequence[Request]) -> list[list[Response]]:
        """As `Sampler.sample`."""
        return [responses for shard in self.shards(requests) for responses in shard]

    def shards(self, requests: Sequence[Request]) -> Iterator[list[list[Response]]]:
        """As `sample`, a shard at a time."""
        items = [asdict(request) for request in requests]
        # What goes elsewhere has nothing loaded.
        answer = replace(self, policy=replace(self.policy), elsewhere=None)._answer if self.elsewhere else self._answer
        for shard in shards.shards(items, self.shard_prompts, self.fingerprint, answer, self.scratch, self.elsewhere):
            yield [[Response(**response) for response in row["responses"]] for row in shard]

    def _answer(self, items: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
        requests = [
            Request(item["prompt"], tuple(item["seeds"]), item["temperatures"] and tuple(item["temperatures"]))
            for item in items
        ]
        return [{"responses": [asdict(response) for response in own]} for own in self._sampler().sample(requests)]

    def _engine(self) -> dict[str, Any]:
        """What the engine adds to the fingerprint."""
        if self.engine == "vllm":
            return self._vllm().fingerprint | shards.versions("torch")
        return {"engine": "transformers", **shards.versions("torch", "transformers")}

    def _sampler(self) -> Sampler:
        if self.engine == "vllm":
            return VLLMSampler(self.policy.served, self.policy.tokenizer, self.sampling, self._vllm())
        from pairloop.samplers.transformers import TransformersSampler

        return TransformersSampler(self.policy.model, self.policy.tokenizer, self.sampling)

    def _vllm(self) -> Engine:
        return Engine(self.vllm, self.policy.dtype, self.batch_invariant)


def answer(
    rows: Sequence[Row],
    speaker: Speaker,
    streams: tuple[int | str, ...],
    samples: int | Sequence[tuple[float, int]],
) -> Iterator[list[Row]]:
    """Rows of records.RESPONSE, a shard at a time.

    Args:
        rows: what to answer; `prompt_id` and `prompt` are read.
        speaker: who answers, and how.
        streams: what the random streams depend on besides prompt_id and sample index: (seed, iteration) in the loop.
        samples: responses per prompt; or the temperature and sample index of each. A prompt is read once for all, and
            two with the same index draw from the same stream.
    """
    once = speaker.sampling.temperature
    wanted = [(once, k) for k in range(samples)] if isinstance(samples, int) else samples
    temperatures = tuple(temperature for temperature, _ in wanted)
    requests = [
        Request(row["prompt"], tuple(shards.seed_of(*streams, row["prompt_id"], k) for _, k in wanted), temperatures)
        for row in rows
    ]
    done = 0
    for shard in speaker.shards(requests):
        yield [_row(row, responses) for row, responses in zip(rows[done : done + len(shard)], shard, strict=True)]
        done += len(shard)


def in_turn(temperatures: Sequence[float], count: int) -> list[tuple[float, int]]:
    """Temperature and sample index of each of `count` responses: the temperatures one after the other, and again."""
    return [(temperatures[k % len(temperatures)], k) for k in range(count)]


def _row(row: Row, responses: Sequence[Response]) -> Row:
    logps = [response.logps for response in responses]
    return {
        "prompt_id": row["prompt_id"],
        "prompt": row["prompt"],
        "responses": [response.text for response in responses],
        "finish_reasons": [response.finish_reason for response in responses],
        "token_counts": [len(response.token_ids) for response in responses],
        "token_ids": [list(response.token_ids) for response in responses],
        "logps": None if None in logps else logps,
    }
