"""Many answers read after one prompt: the prompt goes through the model once, and its cache serves all answers.

What is read after one prompt does not depend on which other prompts are scored. No row is padded on the left and every
mask is causal, so that padding on the right is seen by nothing and needs no attention mask.
"""

import copy
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from pairloop.errors import ModelError
from pairloop.models import references

Forward = Callable[[Any, Any], Any]
"""Given token ids [B, T] and a cache of what was read before them: extends the cache and returns a tensor whose first
two dimensions are B and T."""


def read_after(
    model: Any,
    prompt_ids: Sequence[int],
    answers: Sequence[Sequence[int]],
    batch_tokens: int,
    prefill: Forward,
    forward: Forward,
    opening: Any = None,
) -> Iterator[tuple[list[int], Any]]:
    """Run a decoder over each answer after the prompt.

    Args:
        model: a causal language model of transformers.
        prompt_ids: the prompt's P token ids, at least one.
        answers: token ids of the K answers, which may be empty.
        batch_tokens: padded answer tokens in one forward pass; a single longer answer is a batch of its own.
        prefill: reads all of the prompt but its last token into the cache; what it returns is not used.
        forward: reads answers, and returns what is yielded.
        opening: a cache of the prompt's first tokens, from `read_opening`; it is not changed.

    Yields:
        Indices of B answers, and the tensor of `forward`. Its position 0 is the prompt's last token, positions 1 to n
        are the answer's n tokens, and the rest is padding.

    Raises:
        ModelError: the model has no such token.
    """
    import torch
    from transformers import DynamicCache

    with torch.inference_mode():
        known = opening.get_seq_length() if opening else 0
        read = copy.deepcopy(opening) if 0 < known < len(prompt_ids) else DynamicCache(config=model.config)
        left = prompt_ids[read.get_seq_length() : -1]
        if left:
            prefill(_tensor(model, [left]), read)
        for batch in batches([1 + len(answer) for answer in answers], batch_tokens):
            cache = copy.deepcopy(read)
            cache.batch_repeat_interleave(len(batch))
            yield batch, forward(_tensor(model, [[prompt_ids[-1], *answers[i]] for i in batch]), cache)


def read_opening(model: Any, opening_ids: Sequence[int], prefill: Forward) -> Any:
    """The cache of what all prompts begin with, for `read_after`: read once instead of with every prompt.

    Args:
        model: a causal language model of transformers.
        opening_ids: from `chat.opening_ids`; may be empty.
        prefill: as in `read_after`.
    """
    import torch
    from transformers import DynamicCache

    cache = DynamicCache(config=model.config)
    if opening_ids:
        with torch.inference_mode():
            prefill(_tensor(model, [opening_ids]), cache)
    return cache


def batches(lengths: Sequence[int], batch_tokens: int) -> list[list[int]]:
    """Indices in batches of similar length, longest first, each at most `batch_tokens` when padded."""
    found: list[list[int]] = []
    for i in sorted(range(len(lengths)), key=lambda i: (-lengths[i], i)):
        if found and lengths[found[-1][0]] * (len(found[-1]) + 1) <= batch_tokens:
            found[-1].append(i)
        else:
            found.append([i])
    return found


def _tensor(model: Any, rows: Sequence[Sequence[int]]) -> Any:
    """Token ids [B, T] of rows, the shorter ones filled up on the right."""
    import torch

    check_ids(model, rows)
    width = max(len(row) for row in rows)
    return torch.tensor([[*row, *[0] * (width - len(row))] for row in rows], device=model.device)


def check_ids(model: Any, rows: Sequence[Sequence[int]]) -> None:
    """Refuse tokens that a model does not have, instead of an index that is out of range.

    Raises:
        ModelError: an id is none of the embedding's.
    """
    top, known = max((token for row in rows for token in row), default=-1), _tokens(model)
    if top >= known:
        raise ModelError(
            f"{model.name_or_path}: the tokenizer gives token {top}, but the model embeds {known}, counted from 0. Put "
            "the tokenizer that was published with these weights into that folder"
        )


def _tokens(model: Any) -> int:
    return int(model.get_input_embeddings().weight.shape[0])


def context(model: Any) -> int | None:
    """Tokens that a model can read; None where it has no limit of its own."""
    from torch.nn import Embedding

    for name, module in model.named_modules():
        # RoBERTa and its like count positions from the one after their padding token's number.
        if name.endswith("position_embeddings") and isinstance(module, Embedding) and module.padding_idx is not None:
            return int(module.num_embeddings - module.padding_idx - 1)
    return references.context(model.config)


def own_padding(model: Any) -> int | None:
    """The padding token that a model's config names, if the model has it: what the model itself looks for in a row."""
    pad: int | None = model.config.get_text_config().pad_token_id
    return pad if pad is not None and 0 <= pad < _tokens(model) else None
