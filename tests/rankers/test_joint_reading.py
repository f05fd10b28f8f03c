"""Answers are read once for all who ask, many prompts in a row, and what is found is that of each text by itself."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from architectures import DECODERS, write_decoder

from pairloop.errors import RankingError
from pairloop.files.records import Row
from pairloop.models import chat, references
from pairloop.rankers import packing, scoring, together
from pairloop.rankers.reading import Asked, Reader
from pairloop.rankers.specialist import head
from pairloop.rankers.specialist.head import Head

PROMPTS = ["Hi", "Name three birds that can not fly, please. " * 3, "Ünï ☃ <|im_end|> text", "", "None?"]
ANSWERS = [
    ["Yes.", "A far longer answer, with many words in it. " * 5, "", "x", "Maybe so"],
    ["Emu, kiwi, ostrich."],
    ["", "<|im_start|>user", "\n\n", "Well, ☃!"],
    ["So it is."],
    [],
]
ALL = Asked(frozenset([1, 2]), given=True, alone=True)
PACKED = ("llama", "qwen2", "qwen3", "olmo2", "phi", "granite")
"""Some model types that are read in rows; the others are read prompt by prompt."""


def plainly(model: Any, tokenizer: Any, prompt: str, answer: str) -> tuple[float, dict[int, Any]]:
    """log p of an answer, and the mean states of the layers, from one forward pass over the text by itself."""
    told, ids = chat.encode_prompt(tokenizer, prompt), chat.encode_response(tokenizer, answer, end=False)
    states = {}
    hooks = [
        layer.register_forward_hook(
            lambda m, i, out, n=n: states.update({n: out[0] if isinstance(out, tuple) else out})
        )
        for n, layer in enumerate(model.model.layers, 1)
    ]
    with torch.no_grad():
        predicted = model(torch.tensor([told + ids])).logits[0].log_softmax(-1)
    for hook in hooks:
        hook.remove()
    own = slice(len(told), None) if ids else slice(-1, None)
    log_p = sum(predicted[len(told) - 1 + i, token].item() for i, token in enumerate(ids))
    return log_p, {n: found[0, own].mean(0).numpy() for n, found in states.items()}


@pytest.mark.parametrize("batch_tokens", [1, 100, 4096])
@pytest.mark.parametrize("kind", [*PACKED, "mistral"])
def test_what_is_read_of_many_answers_is_what_is_read_of_each_by_itself(
    kind: str, batch_tokens: int, tmp_path: Path
) -> None:
    assert kind in DECODERS
    model = references.load_model(write_decoder(tmp_path, kind), "float32")
    tokenizer = references.load_tokenizer(tmp_path)
    assert packing.applies(model) == (kind in PACKED)
    found = Reader(model, tokenizer, batch_tokens).read(PROMPTS, ANSWERS, ALL)
    assert [len(own) for own in found] == [len(own) for own in ANSWERS]
    for prompt, answers, reads in zip(PROMPTS, ANSWERS, found, strict=True):
        for answer, read in zip(answers, reads, strict=True):
            given, states = plainly(model, tokenizer, prompt, answer)
            alone, _ = plainly(model, tokenizer, "", answer)
            tokens = len(chat.encode_response(tokenizer, answer, end=False))
            assert read.tokens == tokens
            assert [read.given, read.alone] == pytest.approx([given, alone], abs=1e-5 * max(tokens, 1), rel=1e-6)
            for layer in (1, 2):
                np.testing.assert_allclose(read.states[layer], states[layer], rtol=1e-5, atol=1e-4)


@pytest.mark.parametrize("kind", ["llama", "mistral", "gpt2"])
def test_what_is_read_does_not_depend_on_who_else_asks_to_the_bit(kind: str, tmp_path: Path) -> None:
    model = references.load_model(write_decoder(tmp_path, kind), "float32")
    reader = Reader(model, references.load_tokenizer(tmp_path), 4096)
    whole = [read for own in reader.read(PROMPTS, ANSWERS, ALL) for read in own]
    for asked in (Asked(frozenset([1])), Asked(given=True), Asked(alone=True), Asked(frozenset([2]), given=True)):
        found = [read for own in reader.read(PROMPTS, ANSWERS, asked) for read in own]
        for read, other in zip(found, whole, strict=True):
            assert set(read.states) == asked.layers
            assert all(read.states[layer].tobytes() == other.states[layer].tobytes() for layer in asked.layers)
            assert read.given == (other.given if asked.given else 0)
            assert read.alone == (other.alone if asked.alone else 0)


@contextmanager
def tokens_read(model: Any) -> Iterator[list[int]]:
    counts: list[int] = []
    hook = model.get_input_embeddings().register_forward_hook(lambda m, inputs, o: counts.append(inputs[0].numel()))
    yield counts
    hook.remove()


def test_a_prompt_is_read_once_for_its_answers_and_an_opening_once_for_all(tiny_base: Path) -> None:
    model, tokenizer = references.load_model(tiny_base, "float32"), references.load_tokenizer(tiny_base)
    opening = chat.opening_ids(tokenizer)
    assert opening
    rests = [len(chat.encode_prompt(tokenizer, prompt)) - len(opening) for prompt in PROMPTS]
    ids = [[len(chat.encode_response(tokenizer, answer, end=False)) for answer in own] for own in ANSWERS]
    read = sum(rest for rest, own in zip(rests, ids, strict=True) if own)
    with tokens_read(model) as counts:
        Reader(model, tokenizer, 4096).read(PROMPTS, ANSWERS, Asked(frozenset([1]), given=True))
    assert sum(counts) == len(opening) + read + sum(map(sum, ids))
    assert max(counts) <= packing.TOKENS and len(counts) < len(PROMPTS)


@pytest.fixture
def places(tiny_base: Path, tmp_path: Path) -> scoring.Places:
    draw = np.random.default_rng(0)
    fitted = Head(draw.normal(size=32), np.zeros(32), np.ones(32), 1, 0.5, references.fingerprint(tiny_base))
    head.save(fitted, tmp_path / "teacher")
    return scoring.Places(tiny_base, tmp_path / "teacher")


def rows() -> list[Row]:
    return [
        {"prompt": prompt, "responses": [*own, *own[:1]], "constraints": None}
        for prompt, own in zip(PROMPTS, ANSWERS, strict=True)
    ]


def rankings(places: scoring.Places, *kinds: str) -> list[scoring.Ranking]:
    return [scoring.Ranking(kind, places, "float32", 512) for kind in kinds]


def test_judges_score_together_what_each_scores_by_itself(places: scoring.Places, tmp_path: Path) -> None:
    [group] = together.groups(rankings(places, *scoring.READERS))
    shards = list(together.score_together(rows(), group, 2, tmp_path / "together"))
    assert [len(shard) for shard in shards] == [2, 2, 1]
    for ranking in group:
        alone = [row for shard in scoring.score(rows(), ranking, 2, tmp_path / "alone") for row in shard]
        assert [row[ranking.kind] for shard in shards for row in shard] == alone


def test_only_judges_that_read_with_one_model_are_grouped(places: scoring.Places, tmp_path: Path) -> None:
    other = scoring.Ranking("likelihood", scoring.Places(tmp_path, tmp_path), "float32", 512)
    found = together.groups([*rankings(places, "verifiable", "specialist", "likelihood"), other])
    assert [[ranking.kind for ranking in group] for group in found] == [
        ["verifiable"],
        ["specialist", "likelihood"],
        ["likelihood"],
    ]
    [[row], *_] = together.score_together(rows()[:1], found[0], 2, tmp_path)
    assert row["verifiable"]["scores"] == [0.0] * 6


def test_a_judge_that_joins_later_reads_alone_what_the_others_know(places: scoring.Places, tmp_path: Path) -> None:
    first, second = rankings(places, "specialist", "likelihood")
    known = list(together.score_together(rows(), [first], 2, tmp_path))
    model = scoring.frozen(places.base, "float32")[0]
    middle = []
    hook = model.model.layers[1].register_forward_hook(lambda *_: middle.append(1))
    both = list(together.score_together(rows(), [first, second], 2, tmp_path))
    assert middle
    assert [row["specialist"] for shard in both for row in shard] == [
        row["specialist"] for shard in known for row in shard
    ]
    with tokens_read(model) as counts:
        assert list(together.score_together(rows(), [first, second], 2, tmp_path)) == both
    hook.remove()
    assert not counts


def test_a_shard_of_one_judge_is_read_for_that_judge_alone(places: scoring.Places, tmp_path: Path) -> None:
    specialist, likelihood = rankings(places, "specialist", "likelihood")
    list(scoring.score(rows()[:2], likelihood, 2, tmp_path))
    model = scoring.frozen(places.base, "float32")[0]
    deepest: list[int] = []
    hook = model.model.layers[1].register_forward_hook(lambda *_: deepest.append(1))
    shards = together.score_together(rows(), [specialist, likelihood], 2, tmp_path)
    next(shards)
    assert not deepest  # the specialist reads layer 1, and nothing above it was computed
    next(shards)
    assert deepest
    hook.remove()


def test_a_score_that_is_not_finite_names_the_judge(places: scoring.Places, tmp_path: Path) -> None:
    fitted = head.load(places.teacher, references.fingerprint(places.base))
    fitted.weight[0] = np.nan
    head.save(fitted, places.teacher)
    group = rankings(places, "specialist", "likelihood")
    with pytest.raises(RankingError, match="Specialist gave the score nan for the prompt 'Hi'"):
        list(together.score_together(rows(), group, 2, tmp_path / "scratch"))
