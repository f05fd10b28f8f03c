"""Prompts that leave no room for an answer are told before anything is sampled, all together."""

from pathlib import Path
from typing import Any

import pytest

from pairloop.errors import DataError
from pairloop.files.records import Row
from pairloop.models import references
from pairloop.params import Params, parse
from pairloop.prompts.sources import normalise
from pairloop.samplers import prompt_tokens, room


@pytest.fixture(scope="module")
def tokenizer(tiny_base: Path) -> Any:
    return references.load_tokenizer(tiny_base)


def rows(*lengths: int) -> list[Row]:
    """Prompts of so many letters, each of which the tiny tokenizer takes for a token."""
    return [normalise({"prompt": "a" * length}, "", "here") for length in lengths]


def settings(**changes: Any) -> Params:
    sections: dict[str, Any] = {"eval": {"max_new_tokens": 20, "engine": "vllm"}, "teach": {"max_new_tokens": 30}}
    return parse(sections | changes)


def test_all_of_them_are_named_in_one_message(tokenizer: Any) -> None:
    params = settings(eval={"max_new_tokens": 20})
    frame = prompt_tokens(tokenizer, "a") - 1
    context = frame + 100
    held_out, taught = rows(80, 81, 90), rows(70, 71)
    with pytest.raises(DataError) as error:
        room.refuse_too_long([room.evaluated(held_out, params), room.taught(taught, params)], tokenizer, context)
    assert error.value.message.splitlines() == [
        "data/prompts/eval.jsonl: 2 of the 3 held-out prompts leave no room for eval.max_new_tokens (20): the context "
        f"of the base model is {context} tokens, so a prompt may have {context - 20} with the chat format:",
        f"  prompt {held_out[1]['prompt_id']} has {frame + 81}: '{'a' * 60}'",
        f"  prompt {held_out[2]['prompt_id']} has {frame + 90}: '{'a' * 60}'",
        "Lower eval.max_new_tokens, shorten these prompts or delete them, or lower pool.max_characters, which leaves "
        "out the longest.",
        "data/prompts/pool.jsonl: 1 of the 2 prompts that the teacher learns from leave no room for "
        f"teach.max_new_tokens (30): the context of the base model is {context} tokens, so a prompt may have "
        f"{context - 30} with the chat format:",
        f"  prompt {taught[1]['prompt_id']} has {frame + 71}: '{'a' * 60}'",
        "Lower teach.max_new_tokens, shorten these prompts or delete them, or lower pool.max_characters, which leaves "
        "out the longest.",
    ]


def test_of_many_the_first_ten_are_named_and_the_rest_counted(tokenizer: Any) -> None:
    with pytest.raises(DataError) as error:
        room.refuse_too_long([room.evaluated(rows(*range(200, 213)), settings())], tokenizer, 100)
    lines = error.value.message.splitlines()
    assert sum(line.startswith("  prompt ") for line in lines) == 10 and "  and 3 more" in lines


@pytest.mark.parametrize(
    ("engine", "limit"), [("vllm", "vllm.max_model_len is 64"), ("transformers", "the context of the base model is 90")]
)
def test_a_shorter_context_of_vllm_counts_where_vllm_answers(tokenizer: Any, engine: str, limit: str) -> None:
    params = settings(eval={"engine": engine, "max_new_tokens": 20}, vllm={"max_model_len": 64})
    with pytest.raises(DataError) as error:
        room.refuse_too_long([room.evaluated(rows(100), params)], tokenizer, 90)
    assert limit in error.value.message
    assert ("raise vllm.max_model_len" in error.value.message) == (engine == "vllm")


def test_what_fits_to_the_last_token_and_a_model_without_a_limit_pass(tokenizer: Any) -> None:
    asked = [room.evaluated(rows(80), settings()), room.taught([], settings())]
    room.refuse_too_long(asked, tokenizer, prompt_tokens(tokenizer, "a" * 80) + 20)
    room.refuse_too_long(asked, tokenizer, None)
