"""Tiny random models of many architectures of transformers, all of which read and write bytes."""

from pathlib import Path
from typing import Any

from pairloop.models.random_model import write_random_model

SHAPE = {
    "hidden_size": 32,
    "intermediate_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "max_position_embeddings": 512,
    "initializer_range": 0.3,
}

_GROUPED = {"num_key_value_heads": 1, "head_dim": 16}
DECODERS: dict[str, dict[str, Any]] = {
    "llama": {"attention_dropout": 0.1, **_GROUPED},
    "mistral": {"attention_dropout": 0.1, "sliding_window": 24, **_GROUPED},
    "qwen2": {"attention_dropout": 0.1, "num_key_value_heads": 1},
    "qwen3": {"attention_dropout": 0.1, **_GROUPED},
    "gemma": {"attention_dropout": 0.1, **_GROUPED},
    "gemma2": {"attention_dropout": 0.1, "sliding_window": 24, "query_pre_attn_scalar": 16, **_GROUPED},
    "phi": {"attention_dropout": 0.1, "resid_pdrop": 0.1, "embd_pdrop": 0.1},
    "phi3": {"attention_dropout": 0.1, "resid_pdrop": 0.1, "embd_pdrop": 0.1},
    "stablelm": {"attention_dropout": 0.1, "hidden_dropout": 0.1, "num_key_value_heads": 1},
    "gpt2": {"resid_pdrop": 0.1, "embd_pdrop": 0.1, "attn_pdrop": 0.1},
    "gpt_neo": {
        **{"attention_dropout": 0.1, "resid_dropout": 0.1, "embed_dropout": 0.1, "window_size": 24},
        "attention_types": [[["global", "local"], 1]],
    },
    "gpt_neox": {"attention_dropout": 0.1, "hidden_dropout": 0.1},
    "gptj": {"resid_pdrop": 0.1, "embd_pdrop": 0.1, "attn_pdrop": 0.1, "rotary_dim": 8},
    "gpt_bigcode": {"resid_pdrop": 0.1, "embd_pdrop": 0.1, "attn_pdrop": 0.1},
    "opt": {"dropout": 0.1, "attention_dropout": 0.1, "layerdrop": 0.1, "ffn_dim": 64, "word_embed_proj_dim": 32},
    "bloom": {"hidden_dropout": 0.1, "attention_dropout": 0.1},
    "mpt": {"resid_pdrop": 0.1, "emb_pdrop": 0.1, "expansion_ratio": 2},
    "falcon": {"hidden_dropout": 0.1, "attention_dropout": 0.1},
    "olmo2": {"attention_dropout": 0.1, "num_key_value_heads": 1},
    "starcoder2": {
        **{"attention_dropout": 0.1, "residual_dropout": 0.1, "embedding_dropout": 0.1, "num_key_value_heads": 1}
    },
    "granite": {"attention_dropout": 0.1, "num_key_value_heads": 1},
}
"""Model types, with their dropout turned on."""

CLASSIFIERS = [kind for kind in DECODERS if kind != "granite"]
"""Those that transformers has a sequence classifier for."""


def write_decoder(folder: Path, kind: str, labels: int | None = None, **changes: Any) -> Path:
    """A language model, or a sequence classifier with `labels` outputs."""
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM, AutoModelForSequenceClassification, AutoTokenizer

    write_random_model(0, folder)
    values = {**SHAPE, **DECODERS[kind], "vocab_size": len(AutoTokenizer.from_pretrained(folder))}
    values |= {"bos_token_id": 1, "eos_token_id": 2, "pad_token_id": 0} | changes
    if labels:
        values["num_labels"] = labels
    auto = AutoModelForSequenceClassification if labels else AutoModelForCausalLM
    torch.manual_seed(1)
    auto.from_config(AutoConfig.for_model(kind, **values)).save_pretrained(folder)
    return folder
