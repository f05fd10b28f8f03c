"""Small tokenizers of a dozen kinds, as models have them: how text is cut, and which tokens are added to it."""

import string
from collections.abc import Sequence
from functools import cache
from typing import Any

from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers

LETTERS = [c for c in string.printable if not c.isspace()]
SPACES = ["  ", "    ", "\n\n", "\t\t"]
PARTS = ["He", "ll", "th", "in", "er", "on"]


def _words(letters: Sequence[str], space: str) -> tuple[dict[str, int], list[tuple[str, str]]]:
    merges = [(part[0], part[1]) for part in PARTS] + [(space, "t"), (f"{space}t", "h")]
    words = [*letters, *("".join(merge) for merge in merges)]
    return {word: i for i, word in enumerate(dict.fromkeys(words))}, merges


def _byte_level(prefix_space: bool = False, split: str | None = None) -> Tokenizer:
    words, merges = _words(sorted(pre_tokenizers.ByteLevel.alphabet()), "Ġ")
    built = Tokenizer(models.BPE(words, merges))
    bytes_of = pre_tokenizers.ByteLevel(add_prefix_space=prefix_space, use_regex=split is None)
    cut = [pre_tokenizers.Split(Regex(split), "isolated")] if split else []
    built.pre_tokenizer = pre_tokenizers.Sequence([*cut, bytes_of])
    built.decoder = decoders.ByteLevel()
    return built


def _sentence_piece(scheme: str | None) -> Tokenizer:
    words, merges = _words(["<unk>", *(f"<0x{i:02X}>" for i in range(256)), "▁", *LETTERS], "▁")
    built = Tokenizer(models.BPE(words, merges, unk_token="<unk>", byte_fallback=True, fuse_unk=True))
    if scheme is None:
        built.normalizer = normalizers.Replace(" ", "▁")
    elif scheme == "normalised":
        built.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    else:
        built.pre_tokenizer = pre_tokenizers.Metaspace("▁", prepend_scheme=scheme, split=False)
    built.decoder = decoders.Sequence([decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse()])
    return built


def _unigram() -> Tokenizer:
    pieces = [("<unk>", 0.0), *((word, -5.0 - i / 100) for i, word in enumerate(["▁", *LETTERS, *PARTS]))]
    built = Tokenizer(models.Unigram(pieces, unk_id=0, byte_fallback=False))
    built.pre_tokenizer = pre_tokenizers.Metaspace("▁", prepend_scheme="always")
    return built


QWEN = r"(?i:'s|'t|'re)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
CHATML = (
    "{% for m in messages %}{{ '<|im_start|>' + m['role'] + '\n' + m['content'] + '<|im_end|>\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)
TRIMMED = (
    "{% for m in messages %}{{ '<start>' + m['role'] + '\n' + m['content'] | trim + '<endturn>\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<start>model\n' }}{% endif %}"
)
PHI = (
    "{% for m in messages %}{{ '<|' + m['role'] + '|>\n' + m['content'] + '<|end|>\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|assistant|>\n' }}{% else %}{{ eos_token }}{% endif %}"
)
PLAIN = "{% for m in messages %}{{ m['role'] + ': ' + m['content'] + eos_token }}{% endfor %}"
IM = ("<|im_start|>", "<|im_end|>")
TURNS = ("<start>", "<endturn>")
PHIS = ("<|user|>", "<|assistant|>", "<|end|>")


KINDS: dict[str, tuple[Any, str, Sequence[str], Sequence[str]]] = {
    "GPT-2": (lambda: _byte_level(), CHATML, IM, ()),
    "GPT-NeoX, with runs of spaces": (lambda: _byte_level(), PLAIN, (), SPACES),
    "RoBERTa, a space before the first word": (lambda: _byte_level(True), CHATML, IM, ()),
    "Qwen": (lambda: _byte_level(split=QWEN), CHATML, IM, ("<think>", "</think>", "<tool_call>")),
    "Llama-3": (lambda: _byte_level(split=QWEN), TRIMMED, TURNS, ()),
    "Llama-2": (lambda: _sentence_piece("normalised"), PLAIN, (), ()),
    "Mistral": (lambda: _sentence_piece("first"), PLAIN, (), ()),
    "Gemma, no space before the first word": (lambda: _sentence_piece(None), TRIMMED, TURNS, [*SPACES, "<unused0>"]),
    "Phi-3": (lambda: _sentence_piece("first"), PHI, PHIS, ()),
    "Yi, with turns that are not marked as special": (lambda: _byte_level(), CHATML, (), [*IM, "  "]),
    "T5": (_unigram, TRIMMED, TURNS, ()),
    "StarCoder, digits apart": (lambda: _byte_level(split=r"\d|\D+"), CHATML, IM, ("<fim_prefix>", "    ")),
}
"""What cuts the text, the chat template, tokens that are marked as special, and added ones that are not."""


@cache
def tokenizer(kind: str) -> Any:
    """A tokenizer of a kind. Its end token, <fin>, ends a whole text, and need not end a turn."""
    from transformers import PreTrainedTokenizerFast

    build, template, special, added = KINDS[kind]
    backend: Tokenizer = build()
    # As Phi-3's: the white space after these belongs to them.
    follows = special is PHIS
    backend.add_special_tokens([AddedToken(t, normalized=False, rstrip=follows) for t in ("<fin>", *special)])
    backend.add_tokens([AddedToken(token, normalized=False) for token in added])
    made = PreTrainedTokenizerFast(tokenizer_object=backend, eos_token="<fin>", pad_token="<fin>", name_or_path=kind)
    made.chat_template = template
    return made
