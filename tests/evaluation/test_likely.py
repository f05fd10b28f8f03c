"""What the base finds likely is what transformers says, and the distance from it that of the tokens themselves."""

from functools import partial
from pathlib import Path
from typing import Any

import pytest

from pairloop.evaluation import changes, judging, likely
from pairloop.evaluation.settings import Means, Models
from pairloop.models import chat, references
from pairloop.params import Params
from pairloop.samplers import Sampling, answers
from pairloop.samplers.answers import Policy, Speaker

PROMPTS = ["Hi", "Name three colours, and say of each where it is seen.", "Why?"]


@pytest.fixture
def models(tiny_base: Path, tmp_path: Path) -> Models:
    import torch
    from peft import LoraConfig, get_peft_model

    torch.manual_seed(0)
    config = LoraConfig(r=2, lora_alpha=16, target_modules=["q_proj", "down_proj"], init_lora_weights=False)
    get_peft_model(references.load_model(tiny_base, "float32"), config).save_pretrained(tmp_path / "adapter")
    return Models(tmp_path / "adapter", tiny_base, Path("none"))


@pytest.fixture
def means(tmp_path: Path) -> Means:
    return Means(Params(), tmp_path, lambda shards, *_: [row for shard in shards for row in shard], "eval@1")


def directly(model: Any, tokenizer: Any, prompt: str, ids: list[int]) -> float:
    """log p of token ids after a prompt, by the model itself, without a cache, a batch or packing."""
    import torch

    before = chat.encode_prompt(tokenizer, prompt)
    with torch.inference_mode():
        logps = model(torch.tensor([[*before, *ids]])).logits[0].log_softmax(-1)
    return float(sum(logps[len(before) - 1 + place, token] for place, token in enumerate(ids)))


def test_the_distance_of_sampled_answers_is_what_transformers_gives(
    models: Models, means: Means, tmp_path: Path
) -> None:
    policy = Policy(models.policy, models.base, "float32")
    speaker = Speaker(policy, Sampling(1.0, 1.0, 100_000, 9), 4, tmp_path)
    asked = [{"prompt_id": f"p{n}", "prompt": prompt} for n, prompt in enumerate(PROMPTS)]
    said = [row for shard in answers.answer(asked, speaker, (0, "eval"), 4) for row in shard]
    rows = [row | {"constraints": None, "token_logps": row["logps"]} for row in said]
    for row, logps in zip(rows, judging.log_probabilities(rows, models, means), strict=True):
        row["base_logps"] = logps
    read = likely.sampled(rows, policy.tokenizer, partial(judging.read_tokens, models=models, means=means))
    found = changes.divergence(rows, read, True, 200, 0)

    base, own = references.load_model(models.base, "float32"), policy.model
    nats, tokens = 0.0, 0
    for row in rows:
        for ids, reason in zip(row["token_ids"], row["finish_reasons"], strict=True):
            told = (row["prompt"], list(ids[:-1] if reason == "stop" else ids))
            nats += directly(own, policy.tokenizer, *told) - directly(base, policy.tokenizer, *told)
            tokens += len(told[1])
    assert found is not None and tokens > 20 and abs(found.value.value) > 0.01
    assert found.value.value == pytest.approx(nats / tokens, abs=1e-3)


def test_only_tokens_that_the_text_does_not_give_again_are_read_once_more(tiny_base: Path) -> None:
    tokenizer = references.load_tokenizer(tiny_base)
    ids = chat.encode_response(tokenizer, "Hello there.", end=False)
    space = chat.encode_response(tokenizer, " ", end=False)
    row = {
        "prompt": "Hi",
        "responses": ["Hello there.", "Hello there.", "Hello there.", ""],
        "finish_reasons": ["length", "stop", "length", "stop"],
        "token_ids": [ids, [*ids, 2], [*space, *ids], [2]],
        "base_logps": [-4.0, -5.0, -6.0, 0.0],
    }
    asked: list[Any] = []

    def read_tokens(rows: Any) -> list[list[float]]:
        asked.extend(rows)
        return [[-7.0]]

    found = likely.sampled([row], tokenizer, read_tokens)
    assert found == [[(-4.0, len(ids)), (-5.0, len(ids)), (-7.0, len(space) + len(ids)), (0.0, 0)]]
    assert asked == [{"prompt": "Hi", "token_ids": [[*space, *ids]]}]


def test_chosen_answers_are_read_without_an_end(models: Models, means: Means) -> None:
    tokenizer = references.load_tokenizer(models.base)
    turns = [[{"content": "Hi", "role": "user"}, {"content": text, "role": "assistant"}] for text in ("Hello.", "")]
    rows = likely.chosen([{"prompt": "Hi", "chosen": chosen} for chosen in turns])
    found = likely.counted(rows, judging.log_probabilities(rows, models, means), tokenizer)
    ids = chat.encode_response(tokenizer, "Hello.", end=False)
    wanted = directly(references.load_model(models.base, "float32"), tokenizer, "Hi", ids)
    assert [(pytest.approx(total, abs=1e-3), count) for total, count in found] == [(wanted, len(ids))]
    assert judging.log_probabilities([], models, means) == []
