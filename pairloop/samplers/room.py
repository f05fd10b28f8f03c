"""Which prompts leave room for an answer in what a model reads at once."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from pairloop.errors import DataError, ModelError
from pairloop.files.records import Row
from pairloop.params import Params
from pairloop.samplers import Request, prompt_tokens

_LISTED = 10
"""Prompts that a message names; of more it says how many they are."""


def left(context: int | None, new_tokens: int) -> int | None:
    """Tokens that a prompt may have beside the longest answer; None where the model has no limit of its own."""
    return None if context is None else context - new_tokens


def check(
    requests: Sequence[Request], prompts: Sequence[Sequence[int]], context: int | None, new_tokens: int, engine: str
) -> None:
    """Refuse to sample answers to a prompt that is too long.

    Args:
        requests: what is asked.
        prompts: the token ids of each.
        context: tokens of prompt and answer together; None: no limit.
        new_tokens: of the longest answer.
        engine: `transformers` or `vllm`, for the message.

    Raises:
        ModelError: names the prompt.
    """
    room = left(context, new_tokens)
    whose = "vLLM's" if engine == "vllm" else "the model's"
    remedy = "Raise vllm.max_model_len, leave it out" if engine == "vllm" else "Leave it out"
    for request, ids in zip(requests, prompts, strict=True):
        if room is not None and len(ids) > room:
            raise ModelError(
                f"the prompt {request.prompt[:60]!r}… of {len(ids)} tokens and {new_tokens} new ones do not fit "
                f"{whose} context of {context}. {remedy} (pool.max_characters drops longer ones), or ask for fewer new "
                "tokens."
            )


@dataclass(frozen=True)
class Asked:
    """Prompts that a stage will answer, every one of them."""

    rows: Sequence[Row]
    """`prompt_id` and `prompt` are read."""

    what: str
    """What they are, for messages: "held-out prompts"."""

    source: str
    """The file or data set that they come from."""

    key: str
    """The parameter that says how long an answer may be."""

    new_tokens: int
    """Its value."""

    at_most: int | None = None
    """vllm.max_model_len, where vLLM answers."""

    pooled: bool = True
    """Whether pool.max_characters decides which of them there are."""


def evaluated(rows: Sequence[Row], params: Params) -> Asked:
    """The held-out prompts that `eval` answers."""
    own = params.eval
    at_most = params.vllm.max_model_len if own.engine == "vllm" else None
    return Asked(rows, "held-out prompts", params.pool.eval_source, "eval.max_new_tokens", own.max_new_tokens, at_most)


def taught(rows: Sequence[Row], params: Params) -> Asked:
    """The pool's prompts that the teacher learns from."""
    what, tokens = "prompts that the teacher learns from", params.teach.max_new_tokens
    return Asked(rows, what, params.pool.source, "teach.max_new_tokens", tokens)


def refuse_too_long(asked: Sequence[Asked], tokenizer: Any, context: int | None) -> None:
    """Refuse prompts that would be refused when they are answered, all of them in one message.

    Args:
        asked: the prompts, and how long their answers may be.
        tokenizer: the base's, which counts.
        context: tokens that its model reads at once; None: no limit.

    Raises:
        DataError: names file, prompt, tokens found and allowed, and what to do.
    """
    if said := [text for one in asked if (text := _too_long(one, tokenizer, context))]:
        raise DataError("\n".join(said))


def _too_long(asked: Asked, tokenizer: Any, context: int | None) -> str | None:
    limit = min((limit for limit in (context, asked.at_most) if limit is not None), default=None)
    room = left(limit, asked.new_tokens)
    if room is None or limit is None:
        return None
    counts = [prompt_tokens(tokenizer, row["prompt"]) for row in asked.rows]
    long = [(row, count) for row, count in zip(asked.rows, counts, strict=True) if count > room]
    by_vllm = limit != context
    lines = [
        f"{asked.source}: {len(long)} of the {len(counts)} {asked.what} leave no room for {asked.key} "
        f"({asked.new_tokens}): {'vllm.max_model_len' if by_vllm else 'the context of the base model'} is {limit} "
        f"tokens, so a prompt may have {max(0, room)} with the chat format:",
        *(f"  prompt {row['prompt_id']} has {count}: {row['prompt'][:60]!r}" for row, count in long[:_LISTED]),
        *([f"  and {len(long) - _LISTED} more"] if len(long) > _LISTED else []),
        f"Lower {asked.key}, {'raise vllm.max_model_len, ' if by_vllm else ''}shorten these prompts or delete them"
        f"{', or lower pool.max_characters, which leaves out the longest' if asked.pooled else ''}.",
    ]
    return "\n".join(lines) if long else None
