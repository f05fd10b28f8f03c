"""Text to token ids and back, through the tokenizer's own chat template, so that no user text becomes a control token.

A control token spelled out in a text (`<|im_end|>`, `</s>`, `[/INST]`) is tokenised in two pieces: the model reads the
same characters, but never the token. Text without such a string gets exactly the ids of
`tokenizer.apply_chat_template`; added tokens that control nothing (`<think>`, a run of spaces) are text.
"""

import datetime
import re
from collections.abc import Collection, Mapping, Sequence
from functools import lru_cache
from typing import Any

from pairloop.errors import ModelError, first_line

DATE = datetime.date(2024, 7, 26)
"""What every template that prints today's date prints, so that tomorrow's ids are today's: the date that Llama-3.1's
template has for itself. It is recorded in models/iteration_0/model.json."""

_SENTINEL = "\ue000pairloop\ue001"
"""Private-use characters: marks where the prompt goes in a rendered template."""

_REPLY = "\ue000pairloop-reply\ue001"
"""Likewise for an answer."""

_CUT = "\ue000pairloop-cut\ue001"
"""Likewise inside a control string that a text spells out."""

_TEMPLATE_WORDS = (
    *("[INST]", "[/INST]", "<<SYS>>", "<</SYS>>", "<s>", "</s>"),
    *("<|system|>", "<|user|>", "<|assistant|>"),
)
"""Markers that are plain text to some tokenizers whose template has them: Mistral-7B-Instruct-v0.2's and Zephyr's."""


_THINKING = {"<think>", "</think>"}
"""What an answer may write around its thoughts, though some templates write it too."""


def encode_prompt(tokenizer: Any, prompt: str) -> list[int]:
    """Token ids of one user turn in the model's chat format, ending where the answer begins.

    Raises:
        ModelError: the tokenizer has no chat template, or one that changes the prompt's text.
    """
    before, after = _frame(tokenizer)
    if not _control(tokenizer).search(prompt):
        return _ids(tokenizer, _rendered(tokenizer, prompt))
    # The frame is tokenised together with the prompt, as the tokenizer would: a byte-pair merge may span their border.
    return _joined(tokenizer, _pieces(tokenizer, before, _as_template_would(tokenizer, prompt), after))


def opening_ids(tokenizer: Any) -> list[int]:
    """Token ids that every prompt of `encode_prompt` begins with: the template's, up to its last control token."""
    return _ids(tokenizer, _split_after_last_control(tokenizer, _frame(tokenizer)[0])[0])


def encode_response(tokenizer: Any, response: str, end: bool = True) -> list[int]:
    """Token ids of an answer, with the token that ends a turn if it ended by itself.

    After a template that ends in white space, as Zephyr's does, they are those of the text that goes on there; after
    another, such as Mistral's, those of a text of its own.
    """
    pieces = _pieces(tokenizer, "", response, "", _THINKING)
    goes_on = bool(tokenizer.chat_template) and _frame(tokenizer)[1][-1:].isspace()
    ids = _joined(tokenizer, pieces, goes_on)
    return [*ids, end_of_turn(tokenizer)] if end else ids


def encode_exchange(tokenizer: Any, prompt: str, response: str) -> list[int]:
    """Token ids of a user turn and the answer to it in the model's chat format, ended as the template ends it.

    Of the answer stands there what the template writes: some leave out thoughts, or put them in a form of their own.

    Raises:
        ModelError: the tokenizer has no chat template, or one that leaves out or moves a turn's text.
    """
    before, between, after = _exchange_frame(tokenizer)
    if not _control(tokenizer).search(prompt) and not _control(tokenizer, _THINKING).search(response):
        return _ids(tokenizer, _rendered(tokenizer, prompt, response))
    if f" {_SENTINEL} " not in _rendered(tokenizer, f" {_SENTINEL} ", _REPLY):
        prompt = prompt.strip()
    told = _rendered(tokenizer, _SENTINEL, response).partition(_SENTINEL)[2]
    start = _alike(between, told)
    end = len(told) - _alike(after[::-1], told[start:][::-1])
    *first, last = _pieces(tokenizer, before, prompt, told[:start])
    return _joined(tokenizer, [*first, *_pieces(tokenizer, last, told[start:end], told[end:], _THINKING)])


def encode_turns(tokenizer: Any, turns: Sequence[Mapping[str, str]]) -> list[int]:
    """Token ids of a conversation in the model's chat format, ending where the next answer begins.

    Args:
        tokenizer: has the template.
        turns: each a `role` that the template knows, and its `content`.

    Raises:
        ModelError: the tokenizer has no chat template, or one that refuses these turns.
    """
    cut = [dict(turn) | {"content": _cut(tokenizer, turn)} for turn in turns]
    return _joined(tokenizer, _templated(tokenizer, cut, True, "this conversation").split(_CUT))


def _cut(tokenizer: Any, turn: Mapping[str, str]) -> str:
    control = _control(tokenizer, _THINKING if turn["role"] == "assistant" else ())
    return control.sub(lambda found: found[0][0] + _CUT + found[0][1:], turn["content"])


def _alike(text: str, other: str) -> int:
    """Characters that two texts begin with alike."""
    pairs = enumerate(zip(text, other, strict=False))
    return next((i for i, (one, two) in pairs if one != two), min(len(text), len(other)))


def end_of_turn(tokenizer: Any) -> int:
    """The token that ends an answer: the first control token that the template writes after one.

    That need not be the tokenizer's end token, which ends a whole text: Gemma's and Phi-3.5's are others. Where the
    template writes none, or there is no template, it is the tokenizer's.

    Raises:
        ModelError: there is neither.
    """
    ending = _ids(tokenizer, _exchange_frame(tokenizer)[2]) if tokenizer.chat_template else []
    words = _special(tokenizer)
    found = [i for i in ending if words.fullmatch(tokenizer.convert_ids_to_tokens(i))]
    if not found and tokenizer.eos_token_id is None:
        raise ModelError(
            f"{tokenizer.name_or_path}: neither the tokenizer nor its chat template has a token that ends an answer, "
            "so that none would ever end. Set eos_token in tokenizer_config.json."
        )
    return int(found[0] if found else tokenizer.eos_token_id)


def decode(tokenizer: Any, ids: list[int]) -> str:
    """The text of an answer, without control tokens and surrounding white space."""
    text: str = tokenizer.decode(ids, skip_special_tokens=True, clean_up_tokenization_spaces=False)
    return text.strip()


def end_ids(model: Any, tokenizer: Any) -> list[int]:
    """The ids that end an answer: the template's end of a turn, the generation config's and the tokenizer's own."""
    configured = model.generation_config.eos_token_id
    listed = configured if isinstance(configured, list) else [configured]
    return sorted({i for i in [*listed, tokenizer.eos_token_id, end_of_turn(tokenizer)] if i is not None})


def _rendered(tokenizer: Any, prompt: str, response: str | None = None) -> str:
    """The template's text of a user's turn, up to where the answer begins or with it.

    Raises:
        ModelError: there is no template, or it cannot be rendered.
    """
    turns = [{"role": "user", "content": prompt}]
    turns += [] if response is None else [{"role": "assistant", "content": response}]
    what = f"a user's turn{'' if response is None else ' and an answer'}"
    return _templated(tokenizer, turns, response is None, what)


def _templated(tokenizer: Any, turns: Sequence[Mapping[str, str]], goes_on: bool, what: str) -> str:
    """The template's text of `turns`, which `what` names, up to where the next answer begins if it `goes_on`."""
    from jinja2 import TemplateError

    try:
        text: str = tokenizer.apply_chat_template(
            turns, chat_template=dated(tokenizer.get_chat_template()), tokenize=False, add_generation_prompt=goes_on
        )
    except (TemplateError, ArithmeticError, AttributeError, LookupError, TypeError, ValueError) as error:
        if not tokenizer.chat_template:
            raise ModelError(
                f"{tokenizer.name_or_path}: the tokenizer has no chat template, so prompts cannot be put to the model. "
                "Use an instruction-tuned model."
            ) from None
        raise ModelError(
            f"{tokenizer.name_or_path}: the chat template cannot be rendered for {what} ({first_line(error)}). Put one "
            "that can into that folder, as chat_template.jinja"
        ) from error
    return text


@lru_cache(maxsize=16)
def dated(template: str) -> str:
    """A template whose `strftime_now` is that of DATE: transformers hands a template text only, and no functions."""
    if "strftime_now" not in template:
        return template
    parts = sorted(set(re.findall("%-?[A-Za-z]", template)))
    steps = "".join(f" | replace({part!r}, {DATE.strftime(part)!r})" for part in parts)
    # The empty text at the end keeps a line feed that the template may begin with.
    return f"{{% macro strftime_now(format) %}}{{{{ format{steps} }}}}{{% endmacro %}}{{{{ '' }}}}{template}"


def _frame(tokenizer: Any) -> tuple[str, str]:
    before, found, after = _rendered(tokenizer, _SENTINEL).partition(_SENTINEL)
    if not found:
        raise ModelError(f"{tokenizer.name_or_path}: the chat template leaves out the user's text")
    return before, after


def _exchange_frame(tokenizer: Any) -> tuple[str, str, str]:
    """What the template writes before a prompt, between it and its answer, and after that."""
    before, _, rest = _rendered(tokenizer, _SENTINEL, _REPLY).partition(_SENTINEL)
    between, found, after = rest.partition(_REPLY)
    if not found:
        raise ModelError(
            f"{tokenizer.name_or_path}: the chat template leaves out the user's text or the answer, so answers cannot "
            "be put to the model"
        )
    return before, between, after


def _as_template_would(tokenizer: Any, prompt: str) -> str:
    """Templates may strip white space around the text (Llama-3's does): do what this one does."""
    return prompt if f" {_SENTINEL} " in _rendered(tokenizer, f" {_SENTINEL} ") else prompt.strip()


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
    return re.compile("|".join(re.escape(word) for word in sorted(words, key=len, reverse=True)) or "(?!)")


def _control(tokenizer: Any, allowed: Collection[str] = ()) -> "re.Pattern[str]":
    """What must not come from a text: the tokens that the tokenizer cuts at, and plain words of its template."""
    words = set(_special_tokens(tokenizer))
    if tokenizer.chat_template:
        written = f"{tokenizer.get_chat_template()} {''.join(_exchange_frame(tokenizer))}"
        words |= {word for word in _TEMPLATE_WORDS if word in written}
    return _control_pattern(tuple(sorted(words.difference(allowed))))


def _special(tokenizer: Any) -> "re.Pattern[str]":
    return _control_pattern(tuple(sorted(_special_tokens(tokenizer))))


def _special_tokens(tokenizer: Any) -> set[str]:
    """Tokens that are marked as special, or added ones that the template writes: some models forget the mark."""
    added = tokenizer.added_tokens_decoder.values()
    written = "".join((*_exchange_frame(tokenizer), *_frame(tokenizer))) if tokenizer.chat_template else ""
    unmarked = {str(token) for token in added if str(token).strip() and str(token) in written}
    return {str(token) for token in added if token.special} | set(tokenizer.all_special_tokens) | unmarked


def _split_after_last_control(tokenizer: Any, text: str) -> tuple[str, str]:
    ends = [match.end() for match in _special(tokenizer).finditer(text)]
    return (text[: ends[-1]], text[ends[-1] :]) if ends else ("", text)


def _pieces(tokenizer: Any, before: str, text: str, after: str, allowed: Collection[str] = ()) -> list[str]:
    """`before + text + after`, cut inside every control string that `text` contains, but those that are allowed."""
    pieces, start = [], 0
    for match in _control(tokenizer, allowed).finditer(text):
        cut = match.start() + 1
        pieces.append(text[start:cut])
        start = cut
    pieces.append(text[start:])
    pieces[0] = before + pieces[0]
    pieces[-1] = pieces[-1] + after
    return pieces
