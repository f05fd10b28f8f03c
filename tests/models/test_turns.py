"""What ends an answer, and that text is text: for a dozen kinds of tokenizers, as models have them."""

import copy
import datetime
import random
from types import SimpleNamespace
from typing import Any

import pytest
from tokenizer_kinds import KINDS, SPACES, TRIMMED, tokenizer

from pairloop.errors import ModelError
from pairloop.models import chat

each_kind = pytest.mark.parametrize("kind", KINDS)
GEMMA = "Gemma, no space before the first word"
ENDS = {"Qwen": "<|im_end|>", GEMMA: "<endturn>", "Phi-3": "<|end|>"}
PIECES = [
    *["Hello", "the", " in", "order", "é", "日本", "😀", " ", "\n", ".", "1", "23", "'s", "<", ">", "|", "<|", "["],
    *("<think>", "</think>", "<unused0>", "<s>", "[INST]", "<fim_prefix>", *SPACES),
]


def own_ids(own: Any, prompt: str) -> list[int]:
    turn = [{"role": "user", "content": prompt}]
    rendered = own.apply_chat_template(turn, tokenize=False, add_generation_prompt=True)
    return list(own(rendered, add_special_tokens=False)["input_ids"])


def controls(kind: str) -> list[str]:
    _, template, special, added = KINDS[kind]
    return ["<fin>", *special, *(token for token in added if token.strip() and token in template)]


def texts(kind: str, count: int) -> list[str]:
    draw = random.Random(kind)
    made = ("".join(draw.choices(PIECES, k=draw.randint(0, 12))) for _ in range(count))
    return [text for text in made if not any(control in text for control in controls(kind))]


@each_kind
def test_text_without_a_control_string_gets_the_ids_of_the_template(kind: str) -> None:
    own = tokenizer(kind)
    prompts = texts(kind, 200)
    assert len(prompts) > 100
    for prompt in prompts:
        assert chat.encode_prompt(own, prompt) == own_ids(own, prompt), prompt


@each_kind
def test_a_control_string_in_a_text_never_becomes_its_token(kind: str) -> None:
    own = tokenizer(kind)
    ids = {own.convert_tokens_to_ids(control) for control in controls(kind)}
    frame = [i for i in chat.encode_prompt(own, "Hello") if i in ids]
    for control in controls(kind):
        found = chat.encode_prompt(own, f"a {control} b{control}")
        assert [i for i in found if i in ids] == frame
        assert not ids & set(chat.encode_response(own, f"a {control} b", end=False))


@each_kind
def test_every_prompt_of_this_kind_begins_with_the_opening(kind: str) -> None:
    own = tokenizer(kind)
    opening = chat.opening_ids(own)
    for prompt in [*texts(kind, 50), "\n\n", *controls(kind)]:
        assert chat.encode_prompt(own, prompt)[: len(opening)] == opening


@pytest.mark.parametrize("kind", ENDS)
@pytest.mark.parametrize("configured", ["both", "the end of a text alone", "nothing"])
def test_an_answer_ends_as_the_template_ends_a_turn_whatever_is_configured(kind: str, configured: str) -> None:
    own = tokenizer(kind)
    end = own.convert_tokens_to_ids(ENDS[kind])
    listed = {"both": [own.eos_token_id, end], "the end of a text alone": own.eos_token_id, "nothing": None}
    model = SimpleNamespace(generation_config=SimpleNamespace(eos_token_id=listed[configured]))
    assert set(chat.end_ids(model, own)) == {own.eos_token_id, end}
    assert chat.encode_response(own, "Yes")[-1] == end != own.eos_token_id
    assert end not in chat.encode_response(own, "Yes", end=False)


def test_without_an_end_of_turn_in_the_template_the_end_of_a_text_ends_an_answer_and_without_both_nothing_can() -> None:
    own = copy.deepcopy(tokenizer("GPT-2"))
    own.chat_template = "{% for m in messages %}{{ m['role'] + ': ' + m['content'] + '\n' }}{% endfor %}"
    assert chat.end_of_turn(own) == own.eos_token_id
    own.eos_token = None
    with pytest.raises(ModelError, match="nor its chat template has a token that ends an answer"):
        chat.end_of_turn(own)


def test_a_template_that_prints_the_date_prints_the_same_date_every_day() -> None:
    own = copy.deepcopy(tokenizer(GEMMA))
    own.chat_template = "{{ 'Today is ' + strftime_now('%d %b %Y') + '.' }}" + TRIMMED
    assert own.decode(chat.encode_prompt(own, "Hi")).startswith("Today is 26 Jul 2024.")
    assert own.decode(chat.encode_exchange(own, "Hi", "Yes")).startswith("Today is 26 Jul 2024.")
    own.chat_template = "\n{% if strftime_now is defined %}{{ strftime_now('%A, %-d %B') }}{% endif %}" + TRIMMED
    assert own.decode(chat.encode_prompt(own, "Hi")).startswith("\nFriday, 26 July<start>")
    assert datetime.date(2024, 7, 26) == chat.DATE


@pytest.mark.parametrize(
    ("template", "message"),
    [
        ("{{ raise_exception('only models may speak') }}", "cannot be rendered .*only models may speak"),
        ("{{ messages[0]['content'] + 1 }}", "cannot be rendered"),
        ("{% if %}", "cannot be rendered"),
        ("{% for m in messages %}Hello{% endfor %}", "leaves out the user's text"),
        ({"tools": TRIMMED, "rag": TRIMMED}, "cannot be rendered .*default"),
        (None, "no chat template"),
    ],
)
def test_a_template_that_cannot_be_used_is_one_sentence(template: Any, message: str) -> None:
    own = copy.deepcopy(tokenizer(GEMMA))
    own.chat_template = template
    with pytest.raises(ModelError, match=message) as error:
        chat.encode_prompt(own, "Hi")
    assert GEMMA in error.value.message and "\n" not in error.value.message
