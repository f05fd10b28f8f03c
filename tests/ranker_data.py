"""Tiny models with random weights for the rankers that read prompt and response together."""

from pathlib import Path

from pairloop.models.random_model import write_random_model

WORDS = ["tea", "milk", "cup", "rain", "sun", "road", "tree", "bird", "stone", "lamp"]

TEMPLATE = (
    "{{ bos_token }}{% for message in messages %}{{ '<|im_start|>' + message['role'] + '\n' + message['content'] }}"
    "{{ '<|im_end|>\n' }}{% endfor %}"
)


def write_encoder(folder: Path, kind: str = "bert") -> Path:
    """A tiny random BERT, or RoBERTa, with a WordPiece tokenizer, as a hub folder."""
    import torch
    from tokenizers import Tokenizer, normalizers, pre_tokenizers
    from tokenizers.models import WordPiece
    from transformers import AutoConfig, AutoModel, PreTrainedTokenizerFast

    letters = "abcdefghijklmnopqrstuvwxyz[]"
    pieces = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *WORDS, *letters, *(f"##{letter}" for letter in letters)]
    tokenizer = Tokenizer(WordPiece({piece: i for i, piece in enumerate(pieces)}, unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.Lowercase()
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    names = {f"{name}_token": f"[{name.upper()}]" for name in ("pad", "unk", "cls", "sep", "mask")}
    PreTrainedTokenizerFast(tokenizer_object=tokenizer, **names).save_pretrained(folder)
    torch.manual_seed(0)
    size = {"hidden_size": 32, "num_attention_heads": 2, "intermediate_size": 64, "max_position_embeddings": 64}
    size |= {"num_hidden_layers": 3, "pad_token_id": 0, "type_vocab_size": 2 if kind == "bert" else 1}
    config = AutoConfig.for_model(kind, vocab_size=len(pieces), **size)
    AutoModel.from_config(config).save_pretrained(folder)
    return folder


def write_reward_model(folder: Path, kind: str, side: str = "right", labels: int = 1, context: int = 512) -> Path:
    """A tiny classifier over bytes with random weights: BERT, or Llama with no pad_token_id in its config."""
    import torch
    from transformers import (
        AutoTokenizer,
        BertConfig,
        BertForSequenceClassification,
        LlamaConfig,
        LlamaForSequenceClassification,
    )

    write_random_model(0, folder)
    tokenizer = AutoTokenizer.from_pretrained(folder, padding_side=side)
    tokenizer.chat_template = TEMPLATE
    tokenizer.save_pretrained(folder)
    shape = {
        "vocab_size": len(tokenizer),
        "hidden_size": 32,
        "intermediate_size": 64,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "max_position_embeddings": context,
        "num_labels": labels,
        "initializer_range": 0.3,
    }
    torch.manual_seed(1)
    if kind == "encoder":
        model = BertForSequenceClassification(BertConfig(**shape, pad_token_id=0))
    else:
        model = LlamaForSequenceClassification(LlamaConfig(**shape, num_key_value_heads=2, pad_token_id=None))
    model.save_pretrained(folder)
    return folder
