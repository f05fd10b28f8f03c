"""A tokenizer as a GGUF file holds it: tokens with their types, merges, and the name of how text is cut before them.

Two kinds are known there: byte-level pairs ("gpt2") and SentencePiece's pairs ("llama"). llama.cpp cuts text by a
rule that it knows by name, so that a tokenizer with another rule is refused. The names and rules:
https://github.com/ggml-org/llama.cpp, src/llama-vocab.cpp.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pairloop.errors import ModelError

_QWEN = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}"
    r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
_TEKKEN = (
    r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+"
    r"|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*"
    r"|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
_CUTS: dict[tuple[str, ...], str] = {
    ("bytes by words",): "gpt-2",
    ("digits", "bytes by words"): "smollm",
    (_QWEN, "bytes"): "qwen2",
    (_QWEN.replace(r"\p{N}|", r"\p{N}{1,3}|", 1), "bytes"): "llama-bpe",
    (_TEKKEN, "bytes"): "tekken",
}
"""How byte-level tokenizers cut a text, in steps, and what llama.cpp calls it."""


@dataclass(frozen=True)
class Vocabulary:
    """What a GGUF file says of a tokenizer's tokens, one for each row of the model's embeddings."""

    kind: str
    """gpt2 or llama."""

    cut: str
    """llama.cpp's name for how a text is cut first."""

    tokens: tuple[str, ...]
    """By id."""

    types: tuple[int, ...]
    """gguf.TokenType of each."""

    scores: tuple[float, ...]
    """Of each, in the kind "llama": the pair with the highest is merged first."""

    merges: tuple[str, ...]
    """Pairs with a space between, the first one merged first."""

    space_first: bool
    """Whether a text gets a space before its first word."""


def of(tokenizer: Any, rows: int) -> Vocabulary:
    """The vocabulary of a tokenizer.

    Args:
        tokenizer: of transformers, with a fast backend.
        rows: of the model's embeddings; those beyond the tokenizer's ids get names of their own that no text has.

    Raises:
        ModelError: it is of a kind that GGUF has not, cuts text by a rule that llama.cpp has no name for, or has more
            tokens than the embeddings have rows.
    """
    backend = json.loads(tokenizer.backend_tokenizer.to_str())
    model, name = backend["model"], tokenizer.name_or_path
    if model["type"] != "BPE":
        raise ModelError(f"{name}: a GGUF file is written for a tokenizer of byte pairs only; this is {model['type']}")
    kind = "llama" if model.get("byte_fallback") else "gpt2"
    steps = tuple(_steps(backend.get("pre_tokenizer")))
    if kind == "gpt2" and (steps not in _CUTS or not _leaves_text(backend.get("normalizer"))):
        raise ModelError(
            f"{name}: llama.cpp has no name for how this tokenizer cuts text ({', '.join(steps) or 'none'})"
        )
    if not model["merges"]:
        raise ModelError(f"{name}: the tokenizer merges no pairs, which a GGUF file cannot say. Take merged")
    merges = [pair.split(" ") if isinstance(pair, str) else pair for pair in model["merges"]]
    tokens, types = _tokens(model["vocab"], backend["added_tokens"], model.get("unk_token"), rows, name)
    return Vocabulary(
        kind=kind,
        cut=_CUTS[steps] if kind == "gpt2" else "default",
        tokens=tokens,
        types=types,
        scores=_scores(tokens, merges) if kind == "llama" else (),
        merges=tuple(" ".join(pair) for pair in merges),
        space_first=kind == "llama" and _puts_space(backend),
    )


def _parts(step: Mapping[str, Any] | None, inner: str) -> list[Mapping[str, Any]]:
    """The steps of a sequence, or the only one, or none."""
    if step is None:
        return []
    return list(step[inner]) if step["type"] == "Sequence" else [step]


def _steps(cutter: Mapping[str, Any] | None) -> Iterator[str]:
    for step in _parts(cutter, "pretokenizers"):
        match step:
            case {"type": "ByteLevel", "add_prefix_space": False}:
                yield "bytes by words" if step.get("use_regex", True) else "bytes"
            case {"type": "Digits", "individual_digits": True}:
                yield "digits"
            case {"type": "Split", "pattern": {"Regex": pattern}, "behavior": "Isolated", "invert": False}:
                yield pattern
            case _:
                yield step["type"]


def _leaves_text(normalizer: Mapping[str, Any] | None) -> bool:
    """Whether a text stays as it is: composed letters (NFC) are what nearly every text has anyway."""
    return all(step["type"] == "NFC" for step in _parts(normalizer, "normalizers"))


def _puts_space(backend: Mapping[str, Any]) -> bool:
    written = [step["type"] for step in _parts(backend.get("normalizer"), "normalizers")]
    schemes = [step.get("prepend_scheme") for step in _parts(backend.get("pre_tokenizer"), "pretokenizers")]
    return "Prepend" in written or any(scheme in ("first", "always") for scheme in schemes)


def _tokens(
    vocab: Mapping[str, int], added: Sequence[Mapping[str, Any]], unknown: str | None, rows: int, name: str
) -> tuple[tuple[str, ...], tuple[int, ...]]:
    """Every token by id, and of which type it is."""
    from gguf import TokenType

    found = {i: (f"[PAD{i}]", TokenType.UNUSED) for i in range(rows)}
    found |= {i: (token, TokenType.BYTE if _is_byte(token) else TokenType.NORMAL) for token, i in vocab.items()}
    for own in added:
        found[own["id"]] = (own["content"], TokenType.CONTROL if own["special"] else TokenType.USER_DEFINED)
    if unknown is not None and unknown in vocab:
        found[vocab[unknown]] = (unknown, TokenType.UNKNOWN)
    if len(found) > rows:
        raise ModelError(f"{name}: the tokenizer has {len(found)} tokens, but the model's embeddings {rows} rows")
    return tuple(found[i][0] for i in range(rows)), tuple(int(found[i][1]) for i in range(rows))


def _is_byte(token: str) -> bool:
    return len(token) == 6 and token.startswith("<0x") and token.endswith(">")


def _scores(tokens: Sequence[str], merges: Sequence[Sequence[str]]) -> tuple[float, ...]:
    """The earlier a token is merged, the higher its score; single letters, which no pair makes, have the lowest."""
    ranks: dict[str, int] = {}
    for rank, pair in enumerate(merges):
        ranks.setdefault("".join(pair), rank)
    return tuple(-float(ranks.get(token, len(merges))) for token in tokens)
