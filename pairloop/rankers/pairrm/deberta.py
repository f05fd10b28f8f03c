"""DeBERTa-v3 over texts of different lengths on a CPU: the states of transformers' own forward pass, in less time.

Linear layers see all texts as one list of tokens, so that nothing is padded. Attention goes text by text, so that its
matrices stay in the processor's cache, and over those relative positions alone that a text has. What no position
decides is computed once per token (the first layer's projections), and the last layer only where it is read.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import Any

_TOKENS = 1024
"""Tokens whose intermediate states are in memory at once: 16 MB in float32 at PairRM's 4,096 units."""

_SCORES = 2**18
"""Attention scores that are in memory at once, of as many heads as that allows: 1 MB in float32."""


@dataclass(frozen=True)
class _Text:
    """One text among the tokens of all, and n of its T tokens that ask: n neighbours."""

    asked: slice
    """Rows of the queries."""

    first: int
    """Position in the text of the first token that asks."""

    own: slice
    """Rows of the keys and values: all T tokens of the text."""


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


def relative(body: Any) -> list[list[Any]]:
    """What each layer makes of the relative positions, as keys and as queries [2 S, H]: the same for all texts.

    Args:
        body: a DebertaV2Model to which `applies`, in evaluation mode.
    """
    told, layers = body.encoder.get_rel_embedding(), [layer.attention.self for layer in body.encoder.layer]
    return [[attention.key_proj(told), attention.query_proj(told)] for attention in layers]


def states(
    body: Any, known: Sequence[Sequence[Any]], texts: Sequence[Sequence[int]], positions: Sequence[Sequence[int]]
) -> Any:
    """The last layer's states at a few positions of each text.

    Args:
        body: a DebertaV2Model to which `applies`, in evaluation mode.
        known: from `relative`.
        texts: token ids of B texts, of any lengths.
        positions: for each text P positions in it, from 0.

    Returns:
        Tensor [B, P, H].
    """
    import torch

    whole = _whole([len(text) for text in texts])
    parts = _parts(whole, positions)
    distances = _buckets(body, max(len(text) for text in texts))
    # As a key the farthest behind comes first, as a query the farthest ahead.
    told = [[key[distances.flip(0)], query[distances]] for key, query in known]
    first, *middle, last = body.encoder.layer
    distinct, place = torch.tensor([token for text in texts for token in text]).unique(return_inverse=True)
    hidden = body.embeddings(input_ids=distinct[None])[0]
    read = [projected[place] for projected in _projections(first, hidden, hidden)]
    hidden = _finish(first, _attend(first, read, told[0], whole), hidden[place])
    for layer, own in zip(middle, told[1:-1], strict=True):
        hidden = _finish(layer, _attend(layer, _projections(layer, hidden, hidden), own, whole), hidden)
    asked = hidden[[text.own.start + text.first for text in parts]]
    found = _finish(last, _attend(last, _projections(last, asked, hidden), told[-1], parts), asked)
    return found.view(len(texts), len(positions[0]), -1)


def _whole(lengths: Sequence[int]) -> list[_Text]:
    """The texts when every token asks."""
    owns = [slice(end - length, end) for end, length in zip(accumulate(lengths), lengths, strict=True)]
    return [_Text(own, 0, own) for own in owns]


def _parts(whole: Sequence[_Text], positions: Sequence[Sequence[int]]) -> list[_Text]:
    """The texts when only the tokens at `positions` ask: each text once for each of them."""
    asking = [(place, text.own) for text, own in zip(whole, positions, strict=True) for place in own]
    return [_Text(slice(row, row + 1), place, own) for row, (place, own) in enumerate(asking)]


def _buckets(body: Any, longest: int) -> Any:
    """Which embedding each distance of two tokens has: int64 [2 L - 1], from -(L - 1) to L - 1."""
    import torch
    from transformers.models.deberta_v2.modeling_deberta_v2 import make_log_bucket_position

    attention, distance = body.encoder.layer[0].attention.self, torch.arange(1 - longest, longest)
    found = make_log_bucket_position(distance, attention.position_buckets, attention.max_relative_positions)
    return (found.long() + attention.pos_ebd_size).clamp(0, 2 * attention.pos_ebd_size - 1)


def _projections(layer: Any, asked: Any, hidden: Any) -> list[Any]:
    """Queries of the tokens that ask, keys and values of all."""
    attention = layer.attention.self
    read = ((attention.query_proj, asked), (attention.key_proj, hidden), (attention.value_proj, hidden))
    return [_by_parts(project, states) for project, states in read]


def _finish(layer: Any, context: Any, hidden: Any) -> Any:
    """What a layer does after its attention."""

    def finish(own: Any, residual: Any) -> Any:
        attended = layer.attention.output(own, residual)
        return layer.output(layer.intermediate(attended), attended)

    return _by_parts(finish, context, hidden)


def _by_parts(compute: Callable[..., Any], *rows: Any) -> Any:
    """What is computed token by token, for as many tokens at once as stay in the cache."""
    import torch

    return torch.cat([compute(*part) for part in zip(*(own.split(_TOKENS) for own in rows), strict=True)])


def _attend(layer: Any, read: Sequence[Any], told: Sequence[Any], texts: Sequence[_Text]) -> Any:
    """Disentangled attention: content to content, content to position and position to content.

    Source: He et al., DeBERTa (ICLR 2021), equation 4.

    Args:
        layer: one of the encoder's.
        read: queries [Q, H], keys [N, H] and values [N, H].
        told: keys and queries [2 L - 1, H] of the distances L - 1 to -(L - 1), and of -(L - 1) to L - 1.
        texts: whose tokens these are.

    Returns:
        Tensor [Q, H].
    """
    import torch

    count = layer.attention.self.num_attention_heads
    query, key, value, told_key, told_query = (_heads(rows, count) for rows in (*read, *told))
    context = torch.empty_like(read[0])
    written, longest = _heads(context, count), (len(told[0]) + 1) // 2
    for text in texts:
        asking, length = text.asked.stop - text.asked.start, text.own.stop - text.own.start
        width, step = asking + length - 1, max(1, _SCORES // (length * (asking + length)))
        ahead, behind = longest - asking - text.first, longest - length + text.first
        for start in range(0, count, step):
            some = slice(start, start + step)
            written[some, text.asked] = _attended(
                query[some, text.asked],
                key[some, text.own],
                value[some, text.own],
                told_key[some, ahead : ahead + width],
                told_query[some, behind : behind + width],
            )
    return context


def _attended(query: Any, key: Any, value: Any, told_key: Any, told_query: Any) -> Any:
    """What n neighbouring tokens take from all T of their text.

    Args:
        query: [heads, n, D].
        key: [heads, T, D].
        value: [heads, T, D].
        told_key: [heads, n + T - 1, D], of the distances from the last that asks to the first token, to the opposite.
        told_query: [heads, n + T - 1, D], of the same distances, the other way round.

    Returns:
        Tensor [heads, n, D].
    """
    scale = (3 * query.shape[-1]) ** 0.5
    to_position = _diagonals(query @ told_key.transpose(1, 2), key.shape[1])
    to_content = _diagonals(key @ told_query.transpose(1, 2), query.shape[1])
    # Summed in transformers' order: others round differently, by more than 1e-6 of a score.
    relative = (to_position / scale).add_((to_content / scale).transpose(1, 2))
    return (query @ (key.transpose(1, 2) / scale)).add_(relative).softmax(-1) @ value


def _diagonals(scores: Any, width: int) -> Any:
    """Each row's scores at its own distances: row r of R begins R - 1 - r columns further right. Nothing is copied.

    Args:
        scores: [heads, R, R + width - 1], contiguous.
        width: columns of the result.

    Returns:
        Tensor [heads, R, width].
    """
    heads, rows, columns = scores.shape
    return scores.as_strided((heads, rows, width), (rows * columns, columns - 1, 1), rows - 1)


def _heads(rows: Any, count: int) -> Any:
    """[T, H] to [heads, T, H / heads]."""
    return rows.view(len(rows), count, -1).transpose(0, 1)
