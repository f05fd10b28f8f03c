"""The chat formats of Mistral-Instruct, ChatML, Llama-3 and Zephyr, each on a small tokenizer of its kind.

The tokenizers know characters, and of pairs only `Hi`, with and without a space before it.
"""

import string
from dataclasses import dataclass
from functools import cache
from typing import Any, Literal

from tokenizers import AddedToken, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors

MISTRAL = (
    "{{ bos_token }}{% for m in messages %}"
    "{% if (m['role'] == 'user') != (loop.index0 % 2 == 0) or m['role'] not in ['user', 'assistant'] %}"
    "{{ raise_exception('user and assistant must take turns') }}{% endif %}"
    "{{ '[INST] ' + m['content'] + ' [/INST]' if m['role'] == 'user' else m['content'] + eos_token }}{% endfor %}"
)
CHATML = (
    "{% for m in messages %}{{ '<|im_start|>' + m['role'] + '\n' + m['content'] + '<|im_end|>\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)
LLAMA3 = (
    "{{ bos_token }}{% for m in messages %}{{ '<|start_header_id|>' + m['role'] + '<|end_header_id|>\n\n' }}"
    "{{ m['content'] | trim }}{{ eos_token }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|start_header_id|>assistant<|end_header_id|>\n\n' }}{% endif %}"
)
ZEPHYR = (
    "{% for m in messages %}{{ '<|' + m['role'] + '|>\n' + m['content'] + eos_token + '\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|assistant|>\n' }}{% endif %}"
)


@dataclass(frozen=True)
class Format:
    """A chat format and what it makes of the prompt `Hi Hi`."""

    template: str
    kind: Literal["bytes", "first", "each"]
    """Byte-level; or SentencePiece with a space before a text's first word, or before the first after each token."""
    controls: tuple[str, ...]
    bos: str | None
    eos: str
    rendered: str
    tokens: tuple[str, ...]
    answered: tuple[str, ...]
    """Tokens of the answer `Hi`."""


_MISTRAL = "<s>[INST] Hi Hi [/INST]"
_INST = (*"INST", "]", "▁Hi", "▁Hi", "▁", *"[/INST]")
_ZEPHYR = ("user|>", "|assistant|>")
FORMATS = {
    "Mistral-Instruct": Format(
        MISTRAL, "each", (), "<s>", "</s>", _MISTRAL, ("<s>", "▁", "[", *_INST), ("▁Hi", "</s>")
    ),
    "Mistral-Instruct, newer tokenizer": Format(
        MISTRAL, "first", (), "<s>", "</s>", _MISTRAL, ("<s>", "[", *_INST), ("▁Hi", "</s>")
    ),
    "ChatML": Format(
        CHATML,
        "bytes",
        ("<|im_start|>", "<|im_end|>"),
        None,
        "<|im_end|>",
        "<|im_start|>user\nHi Hi<|im_end|>\n<|im_start|>assistant\n",
        ("<|im_start|>", *"user", "Ċ", "Hi", "ĠHi", "<|im_end|>", "Ċ", "<|im_start|>", *"assistant", "Ċ"),
        ("Hi", "<|im_end|>"),
    ),
    "Llama-3": Format(
        LLAMA3,
        "bytes",
        ("<|begin_of_text|>", "<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>"),
        "<|begin_of_text|>",
        "<|eot_id|>",
        "<|begin_of_text|><|start_header_id|>user<|end_header_id|>\n\nHi Hi<|eot_id|>"
        "<|start_header_id|>assistant<|end_header_id|>\n\n",
        (
            *("<|begin_of_text|>", "<|start_header_id|>", *"user", "<|end_header_id|>", "Ċ", "Ċ", "Hi", "ĠHi"),
            *("<|eot_id|>", "<|start_header_id|>", *"assistant", "<|end_header_id|>", "Ċ", "Ċ"),
        ),
        ("Hi", "<|eot_id|>"),
    ),
    "Zephyr": Format(
        ZEPHYR,
        "each",
        (),
        "<s>",
        "</s>",
        "<|user|>\nHi Hi</s>\n<|assistant|>\n",
        ("▁", *"<|user|>", "<0x0A>", "Hi", "▁Hi", "</s>", "▁", "<0x0A>", *"<|assistant|>", "<0x0A>"),
        ("Hi", "</s>"),
    ),
}


@cache
def tokenizer(name: str, adds_bos: bool = True) -> Any:
    """A small tokenizer with the format's template; `adds_bos`: it begins every text by itself, as most do."""
    from transformers import PreTrainedTokenizerFast

    found = FORMATS[name]
    built = _byte_level(found) if found.kind == "bytes" else _sentence_piece(found.kind)
    if adds_bos and found.bos:
        special = [(found.bos, built.token_to_id(found.bos))]
        built.post_processor = processors.TemplateProcessing(single=f"{found.bos} $A", special_tokens=special)
    made = PreTrainedTokenizerFast(
        tokenizer_object=built, bos_token=found.bos, eos_token=found.eos, pad_token=found.eos, name_or_path=name
    )
    made.chat_template = found.template
    return made


def _byte_level(found: Format) -> Tokenizer:
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    words = [*alphabet, "Hi", "ĠHi"]
    built = Tokenizer(models.BPE({word: i for i, word in enumerate(words)}, [("H", "i"), ("Ġ", "Hi")]))
    built.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    built.decoder = decoders.ByteLevel()
    built.add_special_tokens([AddedToken(control, normalized=False) for control in found.controls])
    return built


def _sentence_piece(kind: str) -> Tokenizer:
    """As Llama's: text is normalised to have `▁` for spaces, and unknown characters become bytes."""
    letters = sorted(set(string.printable) - set(string.whitespace))
    words = ["<unk>", "<s>", "</s>", *(f"<0x{i:02X}>" for i in range(256)), "▁", *letters, "Hi", "▁Hi"]
    ids = {word: i for i, word in enumerate(words)}
    built = Tokenizer(models.BPE(ids, [("H", "i"), ("▁", "Hi")], unk_token="<unk>", byte_fallback=True, fuse_unk=True))
    if kind == "each":
        built.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    else:
        built.pre_tokenizer = pre_tokenizers.Metaspace("▁", prepend_scheme="first", split=False)
    steps = [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)]
    built.decoder = decoders.Sequence(steps)
    built.add_special_tokens([AddedToken(word, normalized=False) for word in ("<unk>", "<s>", "</s>")])
    return built
