"""Text to token ids and back, through the tokenizer's own chat template, so that no user text becomes a control token.

A special token spelled out in a prompt (`<|im_end|>`, `</s>`, `[/INST]`) is tokenised in two pieces: the model reads
the same characters, but never the token. Text without such a string gets exactly the ids of
`tokenizer.apply_chat_template`.
"""

import re
from functools import lru_cache
from typing import Any

from pairloop.errors import ModelError

_SENTINEL = "\ue000pairloop\ue001"
"""Private-use characters: marks where the prompt goes in a rendered template."""

_REPLY = "\ue000pairloop-reply\ue001"
"""Likewise for an answer."""

_TEMPLATE_WORDS = (
    *("[INST]", "[/INST]", "<<SYS>>", "<</SYS>>", "<s>", "</s>"),
    *("<|system|>", "<|user|>", "<|assistant|>"),
)
"""Markers of templates that are plain text to the tokenizer, as in Mistral-7B-Instruct-v0.2 and Zephyr."""


def encode_prompt(tokenizer: Any, prompt: str) -> list[int]:
    """Token ids of one user turn in the model's chat format, ending where the answer begins.

    Raises:
        ModelError: the tokenizer has no chat template, or one that changes the prompt's text.
    """
    before, after = _frame(tokenizer)
    # The frame is tokenised together with the prompt, as the tokenizer would: a byte-pair merge may span their border.
    return _joined(tokenizer, _pieces(tokenizer, before, _as_template_would(tokenizer, prompt), after))


def opening_ids(tokenizer: Any) -> list[int]:
    """Token ids that every prompt of `encode_prompt` begins with: the template's, up to its last control token."""
    return _ids(tokenizer, _split_after_last_control(tokenizer, _frame(tokenizer)[0])[0])


def encode_response(tokenizer: Any, response: str, end: bool = True) -> list[int]:
    """Token ids of an answer, with the end-of-turn token if it ended by itself.

    After a template that ends in white space, as Zephyr's does, they are those of the text that goes on there; after
    another, such as Mistral's, those of a text of its own.
    """
    pieces = _pieces(tokenizer, "", response, "")
    goes_on = bool(tokenizer.chat_template) and _frame(tokenizer)[1][-1:].isspace()
    ids = _joined(tokenizer, pieces, goes_on)
    return [*ids, tokenizer.eos_token_id] if end else ids


def encode_exchange(tokenizer: Any, prompt: str, response: str) -> list[int]:
    """Token ids of a user turn and the answer to it in the model's chat format, ended as the template ends it.

    Raises:
        ModelError: the tokenizer has no chat template, or one that leaves out or moves a turn's text.
    """
    rendered = _render_exchange(tokenizer, _SENTINEL, _REPLY)
    before, _, rest = rendered.partition(_SENTINEL)
    between, found, after = rest.partition(_REPLY)
    if not found:
        raise ModelError(
            f"{tokenizer.name_or_path}: the chat template leaves out the user's text or the answer, so answers cannot "
            "be put to the model"
        )
    spaced = _render_exchange(tokenizer, f" {_SENTINEL} ", f" {_REPLY} ")
    prompt = prompt if f" {_SENTINEL} " in spaced else prompt.strip()
    response = response if f" {_REPLY} " in spaced else response.strip()
    *first, last = _pieces(tokenizer, before, prompt, between)
    return _joined(tokenizer, [*first, *_pieces(tokenizer, last, response, after)])


def _render_exchange(tokenizer: Any, prompt: str, response: str) -> str:
    if not tokenizer.chat_template:
        raise ModelError(f"{tokenizer.name_or_path}: the tokenizer has no chat template, so it cannot read an exchange")
    turns = [{"role": "user", "content": prompt}, {"role": "assistant", "content": response}]
    rendered: str = tokenizer.apply_chat_template(turns, tokenize=False)
    return rendered


def decode(tokenizer: Any, ids: list[int]) -> str:
    """The text of an answer, without control tokens and surrounding white space."""
    text: str = tokenizer.decode(ids, skip_special_tokens=True, clean_up_tokenization_spaces=False)
    return text.strip()


def end_ids(model: Any, tokenizer: Any) -> list[int]:
    """The ids that end an answer: the generation config's, and the tokenizer's own."""
    configured = model.generation_config.eos_token_id
    listed = configured if isinstance(configured, list) else [configured]
    return sorted({i for i in [*listed, tokenizer.eos_token_id] if i is not None})


def _frame(tokenizer: Any) -> tuple[str, str]:
    if not tokenizer.chat_template:
        raise ModelError(
            f"{tokenizer.name_or_path}: the tokenizer has no chat template, so prompts cannot be put to the model. "
            "Use an instruction-tuned model."
        )
    turn = [{"role": "user", "content": _SENTINEL}]
    rendered: str = tokenizer.apply_chat_template(turn, tokenize=False, add_generation_prompt=True)
    before, found, after = rendered.partition(_SENTINEL)
    if not found:
        raise ModelError(f"{tokenizer.name_or_path}: the chat template leaves out the user's text")
    return before, after


def _as_template_would(tokenizer: Any, prompt: str) -> str:
    """Templates may strip white space around the text (Llama-3's does): do what this one does."""
    turn = [{"role": "user", "content": f" {_SENTINEL} "}]
    rendered = tokenizer.apply_chat_template(turn, tokenize=False, add_generation_prompt=True)
    return prompt if f" {_SENTINEL} " in rendered else prompt.strip()


def _ids(tokenizer: Any, text: str) -> list[int]:
    # A rendered template holds its own <s>: letting the tokenizer add one would double it.
    return list(tokenizer(text, add_special_tokens=False)["input_ids"]) if text else []


def _joined(tokenizer: Any, pieces: list[str], goes_on: bool = False) -> list[int]:
    """Ids of the pieces of a text; `goes_on` says whether something stands before the first of them, too."""
    first = _ids_after_others(tokenizer, pieces[0]) if goes_on else _ids(tokenizer, pieces[0])
    return first + [token for piece in pieces[1:] for token in _ids_after_others(tokenizer, piece)]


def _ids_after_others(tokenizer: Any, piece: str) -> list[int]:
    """Ids of text inside a text: SentencePiece tokenizers would write a space before it, as before a text's first."""
    line, both = _ids(tokenizer, "\n"), _ids(tokenizer, "\n" + piece)
    return both[len(line) :] if both[: len(line)] == line else _ids(tokenizer, piece)


@lru_cache(maxsize=16)
def _control_pattern(words: tuple[str, ...]) -> "re.Pattern[str]":
    return re.compile("|".join(re.escape(word) for word in sorted(words, key=len, reverse=True)))


def _control(tokenizer: Any) -> "re.Pattern[str]":
    added = {str(token) for token in tokenizer.added_tokens_decoder.values()}
    return _control_pattern(tuple(sorted(added | set(tokenizer.all_special_tokens) | set(_TEMPLATE_WORDS))))


def _split_after_last_control(tokenizer: Any, text: str) -> tuple[str, str]:
    ends = [match.end() for match in _special(tokenizer).finditer(text)]
    return (text[: ends[-1]], text[ends[-1] :]) if ends else ("", text)


def _special(tokenizer: Any) -> "re.Pattern[str]":
    """Only what the tokenizer itself cuts at: added tokens, not words of a template."""
    added = {str(token) for token in tokenizer.added_tokens_decoder.values()}
    return _control_pattern(tuple(sorted(added | set(tokenizer.all_special_tokens))))


def _pieces(tokenizer: Any, before: str, text: str, after: str) -> list[str]:
    """`before + text + after`, cut inside every control string that `text` contains."""
    pieces, start = [], 0
    for match in _control(tokenizer).finditer(text):
        cut = match.start() + 1
        pieces.append(text[start:cut])
        start = cut
    pieces.append(text[start:])
    pieces[0] = before + pieces[0]
    pieces[-1] = pieces[-1] + after
    return pieces
