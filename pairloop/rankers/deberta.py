"""DeBERTa-v3 over texts of different lengths on a CPU: the states of transformers' own forward pass, in less time.

Linear layers see all texts as one list of tokens, so that nothing is padded. Attention goes text by text, so that its
matrices stay in the processor's cache, and over those relative positions alone that a text has. What no position
decides is computed once per token (the first layer's projections), and the last layer only where it is read.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import Any

_TOKENS = 512
"""Tokens whose intermediate states are in memory at once: 8 MB in float32 at PairRM's 4,096 units."""


@dataclass(frozen=True)
class _Text:
    """One text among the tokens of all."""

    asked: slice
    """Rows of the queries: q tokens of the text."""

    own: slice
    """Rows of the keys and values: all T tokens of the text."""

    buckets: Any
    """int64 [q, T]: which relative position's embedding a token that asks has for each token."""


def applies(body: Any) -> bool:
    """Whether `states` computes what this model does: a DeBERTa-v3 of at least two layers on a CPU."""
    config = body.config
    return (
        body.device.type == "cpu"
        and config.num_hidden_layers > 1
        and config.relative_attention
        and config.share_att_key
        and set(config.pos_att_type) == {"c2p", "p2c"}
        and config.position_buckets > 0
        and not config.position_biased_input
        and config.type_vocab_size == 0
        and body.encoder.conv is None
    )


def states(body: Any, texts: Sequence[Sequence[int]], positions: Sequence[Sequence[int]]) -> Any:
    """The last layer's states at a few positions of each text.

    Args:
        body: a DebertaV2Model to which `applies`, in evaluation mode.
        texts: token ids of B texts, of any lengths.
        positions: for each text P positions in it, from 0.

    Returns:
        Tensor [B, P, H].
    """
    import torch

    whole, parts = _layout(body, [len(text) for text in texts], positions)
    told = body.encoder.get_rel_embedding()
    first, *middle, last = body.encoder.layer
    distinct, place = torch.tensor([token for text in texts for token in text]).unique(return_inverse=True)
    hidden = body.embeddings(input_ids=distinct[None])[0]
    read = [projected[place] for projected in _projections(first, hidden, hidden)]
    hidden = hidden[place]
    hidden = _finish(first, _attend(first, read, told, whole), hidden)
    for layer in middle:
        hidden = _finish(layer, _attend(layer, _projections(layer, hidden, hidden), told, whole), hidden)
    wanted = [text.own.start + place for text, own in zip(whole, positions, strict=True) for place in own]
    asked = hidden[wanted]
    found = _finish(last, _attend(last, _projections(last, asked, hidden), told, parts), asked)
    return found.view(len(texts), len(positions[0]), -1)


def _layout(body: Any, lengths: Sequence[int], positions: Sequence[Sequence[int]]) -> tuple[list[_Text], list[_Text]]:
    """The texts when every token asks, and when only those at `positions` do."""
    ends, count = list(accumulate(lengths)), len(positions[0])
    buckets = {length: _buckets(body, length) for length in set(lengths)}
    whole, parts = [], []
    for i, (end, length) in enumerate(zip(ends, lengths, strict=True)):
        own = slice(end - length, end)
        whole.append(_Text(own, own, buckets[length]))
        parts.append(_Text(slice(i * count, (i + 1) * count), own, buckets[length][list(positions[i])]))
    return whole, parts


def _buckets(body: Any, length: int) -> Any:
    import torch
    from transformers.models.deberta_v2.modeling_deberta_v2 import make_log_bucket_position

    attention, own = body.encoder.layer[0].attention.self, torch.arange(length)
    distance = own[:, None] - own[None]
    found = make_log_bucket_position(distance, attention.position_buckets, attention.max_relative_positions)
    return (found.long() + attention.pos_ebd_size).clamp(0, 2 * attention.pos_ebd_size - 1)


def _projections(layer: Any, asked: Any, hidden: Any) -> list[Any]:
    """Queries of the tokens that ask, keys and values of all."""
    attention = layer.attention.self
    return [attention.query_proj(asked), attention.key_proj(hidden), attention.value_proj(hidden)]


def _finish(layer: Any, context: Any, hidden: Any) -> Any:
    """What a layer does after its attention: token by token, so as many at once as stay in the cache."""
    import torch

    done = []
    for part, residual in zip(context.split(_TOKENS), hidden.split(_TOKENS), strict=True):
        attended = layer.attention.output(part, residual)
        done.append(layer.output(layer.intermediate(attended), attended))
    return torch.cat(done)


def _attend(layer: Any, read: Sequence[Any], told: Any, texts: Sequence[_Text]) -> Any:
    """Disentangled attention: content to content, content to position and position to content.

    Source: He et al., DeBERTa (ICLR 2021), equation 4.

    Args:
        layer: one of the encoder's.
        read: queries [Q, H], keys [N, H] and values [N, H].
        told: [2 S, H], embeddings of relative positions.
        texts: whose tokens these are.

    Returns:
        Tensor [Q, H].
    """
    import torch

    attention = layer.attention.self
    split = _heads(attention.num_attention_heads)
    scale = (3 * attention.attention_head_size) ** 0.5
    query, key, value = read
    told_key, told_query = attention.key_proj(told), attention.query_proj(told)
    context = torch.empty_like(query)
    for text in texts:
        q, k, v = split(query[text.asked]), split(key[text.own]), split(value[text.own])
        low, high = int(text.buckets.min()), int(text.buckets.max()) + 1
        index = (text.buckets - low).expand(len(q), -1, -1)
        to_position = (q @ split(told_key[low:high]).transpose(1, 2)).gather(2, index)
        to_content = (k @ split(told_query[low:high]).transpose(1, 2)).gather(2, index.transpose(1, 2))
        # Summed in transformers' order: others round differently, by more than 1e-6 of a score.
        relative = to_position.div_(scale).add_(to_content.div_(scale).transpose(1, 2))
        scores = (q @ (k.transpose(1, 2) / scale)).add_(relative)
        context[text.asked] = (scores.softmax(-1) @ v).transpose(0, 1).flatten(1)
    return context


def _heads(count: int) -> Callable[[Any], Any]:
    """[T, H] to [heads, T, H / heads]."""
    return lambda rows: rows.view(len(rows), count, -1).transpose(0, 1)
