"""PairRM's files: a DeBERTa-v3, a head over its states and a tokenizer, in either layout that is published.

`llm-blender/PairRM-hf` holds DeBERTa's own config.json. `llm-blender/PairRM` holds a config.json of llm-blender's, and
what is not in it follows from the shapes of the tensors. Neither loads with transformers 5 and llm_blender as they are.
"""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pairloop.errors import ModelError
from pairloop.rankers.pairrm.forms import READINGS, Reading

SOURCE, FIRST, SECOND, EITHER = "<|source|>", "<|candidate1|>", "<|candidate2|>", "<|candidate|>"
"""The tokens whose states are compared, and one that llm-blender puts in their place meanwhile."""

_FILES = ("config.json", "model.safetensors", "tokenizer.json")
_BODY, _HEAD = "pretrained_model.", "head_layer."
_HEAD_SIZE = 64
"""States per attention head of every DeBERTa-v3: the one size that no tensor shows."""


@dataclass(frozen=True)
class Checkpoint:
    """A pairwise ranker in memory."""

    tokenizer: Any
    """A `tokenizers.Tokenizer` with the stored normaliser, which transformers 5 would replace by another."""

    body: Any
    """DeBERTa: `last_hidden_state` [B, T, H] of `input_ids` and `attention_mask`, both [B, T]."""

    head: Any
    """float32 [B, 2 H] to [B, tasks]."""

    source_tokens: int
    """Most tokens of the prompt, [CLS], prefix and [SEP] included."""

    candidate_tokens: int
    """Most tokens of a response beside such a prompt; shorter prompts leave more."""


def load(folder: Path, dtype: str, reading: Reading = READINGS["pairrm"]) -> Checkpoint:
    """A checkpoint in evaluation mode, on the GPU if there is one.

    Args:
        folder: config.json, model.safetensors and tokenizer.json of either layout.
        dtype: float32, bfloat16 or float16, of the body. The head computes in float32: the difference of two rounded
            numbers would make ties of what is not equal.
        reading: has the limits, where config.json does not state them.

    Raises:
        ModelError: a file is missing, it is another kind of model, or its vocabulary is not the tokenizer's.
    """
    import torch
    from safetensors.torch import load_file

    from pairloop.models import references

    for name in _FILES:
        if not (folder / name).is_file():
            raise ModelError(f"{folder}: has no {name}; a pairwise ranker is {', '.join(_FILES)}")
    stated: dict[str, Any] = _readable(folder, "config.json", lambda path: json.loads(path.read_text(encoding="utf-8")))
    _check_kind(stated, folder)
    tensors = _readable(folder, "model.safetensors", load_file)
    tokenizer = _tokenizer(folder)
    _check_vocabulary(stated, tensors, tokenizer, folder)
    try:
        body, head = _body(stated, tensors, dtype), _head(tensors)
    except (KeyError, RuntimeError) as error:
        reason = " ".join(str(error).split())[:200]
        raise ModelError(f"{folder}: model.safetensors does not hold PairRM's tensors ({reason})") from error
    device = torch.device(references.device())
    limits = (
        stated.get("source_maxlength", reading.source_tokens),
        stated.get("candidate_maxlength", reading.candidate_tokens),
    )
    return Checkpoint(tokenizer, body.to(device).eval(), head.to(device).eval(), *limits)


def _readable(folder: Path, name: str, read: Callable[[Path], Any]) -> Any:
    try:
        return read(folder / name)
    except Exception as error:  # tokenizers raises no narrower kind
        raise ModelError(f"{folder}: {name} is damaged and cannot be read ({error}); fetch it again") from error


def controls(tokenizer: Any) -> dict[int, str]:
    """Id and spelling of each control token. [UNK] is none: any rare character becomes it.

    Args:
        tokenizer: a `tokenizers.Tokenizer`.
    """
    return {
        token: added.content
        for token, added in tokenizer.get_added_tokens_decoder().items()
        if (added.special or added.content in (SOURCE, FIRST, SECOND, EITHER)) and added.content != "[UNK]"
    }


def _check_kind(stated: Mapping[str, Any], folder: Path) -> None:
    own = (stated.get("ranker_type"), stated.get("model_type")) == ("pairranker", "deberta")
    if not own and stated.get("model_type") != "deberta-v2":
        raise ModelError(
            f"{folder}: config.json says model_type {stated.get('model_type')}, but only PairRM (deberta-v2, or "
            "llm-blender's pairranker over deberta) can rank in pairs"
        )


def _tokenizer(folder: Path) -> Any:
    from tokenizers import Tokenizer

    tokenizer = _readable(folder, "tokenizer.json", lambda path: Tokenizer.from_file(str(path)))
    tokenizer.no_truncation()  # the file may ask for either
    tokenizer.no_padding()
    for token in ("[PAD]", "[CLS]", "[SEP]", SOURCE, FIRST, SECOND):
        if tokenizer.encode(token, add_special_tokens=False).ids != [tokenizer.token_to_id(token)]:
            raise ModelError(f"{folder}: tokenizer.json has no token {token}, which PairRM needs")
    return tokenizer


def _check_vocabulary(stated: Mapping[str, Any], tensors: Mapping[str, Any], tokenizer: Any, folder: Path) -> None:
    embeddings = tensors.get(f"{_BODY}embeddings.word_embeddings.weight")
    if embeddings is None:
        raise ModelError(f"{folder}: model.safetensors does not hold PairRM's tensors (there are no word embeddings)")
    rows, tokens = embeddings.shape[0], tokenizer.get_vocab_size(with_added_tokens=True)
    if not rows == tokens == stated.get("vocab_size", rows):
        raise ModelError(
            f"{folder}: the weights embed {rows} tokens, tokenizer.json has {tokens} and config.json says "
            f"{stated.get('vocab_size', 'nothing')}; they must be equal, so these files do not belong together"
        )


def _body(stated: Mapping[str, Any], tensors: Mapping[str, Any], dtype: str) -> Any:
    import torch
    from transformers import DebertaV2Config, DebertaV2Model
    from transformers.utils import logging

    logging.disable_progress_bar()
    own = {name.removeprefix(_BODY): tensor for name, tensor in tensors.items() if name.startswith(_BODY)}
    config = DebertaV2Config(**(_shape(own) if "ranker_type" in stated else stated))
    model, found = DebertaV2Model.from_pretrained(
        None, config=config, state_dict=own, dtype=getattr(torch, dtype), output_loading_info=True
    )
    odd = sorted({*found["missing_keys"], *found["unexpected_keys"]})
    if odd:
        raise KeyError(f"{len(odd)} of the body's are missing or unknown, such as {odd[0]}")
    return model


def _shape(tensors: Mapping[str, Any]) -> dict[str, Any]:
    """DeBERTa-v3's config, at the size that its tensors have. Source: config.json of microsoft/deberta-v3-large."""
    vocabulary, hidden = tensors["embeddings.word_embeddings.weight"].shape
    return {
        "vocab_size": vocabulary,
        "hidden_size": hidden,
        "num_hidden_layers": len({name.split(".")[2] for name in tensors if name.startswith("encoder.layer.")}),
        "num_attention_heads": hidden // _HEAD_SIZE,
        "intermediate_size": tensors["encoder.layer.0.intermediate.dense.weight"].shape[0],
        "position_buckets": tensors["encoder.rel_embeddings.weight"].shape[0] // 2,
        "relative_attention": True,
        "share_att_key": True,
        "pos_att_type": ["p2c", "c2p"],
        "norm_rel_ebd": "layer_norm",
        "position_biased_input": False,
        "type_vocab_size": 0,
        "layer_norm_eps": 1e-7,
    }


def _head(tensors: Mapping[str, Any]) -> Any:
    """Dropout, Linear, Tanh, Dropout, Linear, without the dropout, which does nothing in evaluation."""
    from torch import nn

    own = {name.removeprefix(_HEAD): tensor.float() for name, tensor in tensors.items() if name.startswith(_HEAD)}
    hidden, width = own["1.weight"].shape
    tasks = own["4.weight"].shape[0]
    head = nn.Sequential(nn.Identity(), nn.Linear(width, hidden), nn.Tanh(), nn.Identity(), nn.Linear(hidden, tasks))
    head.load_state_dict(own)
    return head
