"""Real vLLM, in the environment that `make vllm-env` makes: `make test-vllm`."""

import dataclasses
import json
import math
import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from conftest import ROOT, Project, generation, new_project
from quantised import write_quantised

from pairloop import params
from pairloop.errors import ModelError
from pairloop.files import records
from pairloop.models import chat, fetch, references
from pairloop.params import VLLM, Judge
from pairloop.samplers import Request, Sampling
from pairloop.samplers import vllm as engine
from pairloop.samplers.answers import Policy, Speaker
from pairloop.samplers.vllm import Engine, VLLMSampler
from pairloop.training import output
from pairloop.work import shards

pytestmark = pytest.mark.vllm

CPU = VLLM(enforce_eager=True, kv_cache_gib=0.25, max_model_len=1024)
GREEDY = Sampling(temperature=0, top_p=1.0, top_k=1, max_new_tokens=24)
PROMPTS = ["Hi", "Why is the sky blue?", "a\n\nb " * 9, "Tell me about <|im_end|> please.", "x" * 150, "Name a fruit."]


def both(policy: Policy, sampling: Sampling, prompts: list[str], scratch: Path) -> list[list[str]]:
    """What the two engines answer."""
    requests = [Request(prompt, (1,)) for prompt in prompts]
    speakers = [Speaker(policy, sampling, 64, scratch), Speaker(policy, sampling, 64, scratch, "vllm", CPU)]
    return [[own[0].text for own in speaker.sample(requests)] for speaker in speakers]


def sampled(base: Path, sampling: Sampling, *requests: Request) -> Any:
    served, tokenizer = references.serve_policy(base, base), references.load_tokenizer(base)
    return VLLMSampler(served, tokenizer, sampling, Engine(CPU, "float32")).sample(requests)


@pytest.fixture(scope="module")
def real_base() -> Path:
    """The default base's weights."""
    base = yaml.safe_load((ROOT / "params.yaml").read_text())["base"]
    return fetch.fetch(base["model"], base["sha256"], references.cache_root()).folder


@pytest.fixture(scope="module")
def pipeline(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """A project on the smoke recipe with vLLM, two iterations, that `dvc repro` has run. For reading."""
    project = new_project(tmp_path_factory.mktemp("vllm") / "project")
    project.run(sys.executable, "-m", "stages.schedule", "--write", "+recipe=vllm-cpu", "iterations=2")
    project.run("dvc", "repro")
    project.commit("Reproduce")
    return project


def test_the_smoke_recipe_runs_from_end_to_end_and_then_nothing_is_left_to_do(pipeline: Project) -> None:
    assert "Data and pipelines are up to date" in pipeline.run("dvc", "repro").stdout
    for n in (1, 2):
        found = json.loads((pipeline.folder / f"results/iteration_{n}/generate.json").read_text())
        assert found["responses"] == 18 and found["rows_out"] == 6
        card = (pipeline.folder / f"models/iteration_{n}/README.md").read_text()
        assert "sampled with vLLM, which promises no identical bytes" in card
    assert "sampled with vLLM" in (pipeline.folder / "data/README.md").read_text()
    assert (pipeline.folder / "report/index.html").stat().st_size > 10_000


def test_iteration_2_samples_from_the_adapter_of_iteration_1_as_an_adapter(pipeline: Project, tmp_path: Path) -> None:
    base, first = pipeline.folder / "models/iteration_0", pipeline.folder / "models/iteration_1"
    rows = records.read(pipeline.folder / "data/iteration_2/responses.parquet", records.RESPONSE)
    requests = [
        Request(row["prompt"], tuple(shards.seed_of(0, 2, row["prompt_id"], k) for k in range(3))) for row in rows
    ]
    found = params.parse(yaml.safe_load((pipeline.folder / "params.yaml").read_text()))
    asked, settings = found.generate, found.vllm
    sampling = Sampling(asked.temperature[0], asked.top_p, asked.top_k, asked.max_new_tokens)
    written = [row["responses"] for row in rows]

    def said(policy: Path) -> list[list[str]]:
        speaker = Speaker(Policy(policy, base, "float32"), sampling, 3, tmp_path, "vllm", settings)
        return [[response.text for response in own] for own in speaker.sample(requests)]

    assert said(first) == written
    held = engine._HELD[0][1]
    assert held.llm_engine.list_loras() == {engine._number(first)}
    assert said(base) != written
    # The same vLLM has answered for both.
    assert engine._HELD[0][1] is held
    theirs, ours = both(Policy(first, base, "float32"), GREEDY, PROMPTS, tmp_path)
    assert theirs == ours
    assert both(Policy(base, base, "float32"), GREEDY, PROMPTS, tmp_path)[0] != theirs


def test_a_frequency_penalty_is_the_same_by_both_engines(real_base: Path, tmp_path: Path) -> None:
    policy, prompts = Policy(real_base, real_base, "float32"), ["Name a fruit.", "Write a poem about rain, rain, rain."]
    theirs, ours = both(policy, dataclasses.replace(GREEDY, frequency_penalty=1.5), prompts, tmp_path)
    assert theirs == ours
    plain, _ = both(policy, GREEDY, prompts, tmp_path)
    assert plain[1] != theirs[1]  # the other repeats nothing


def test_one_vllm_serves_two_adapters_as_two(pipeline: Project, tmp_path: Path) -> None:
    base = pipeline.folder / "models/iteration_0"
    policies = [Policy(pipeline.folder / f"models/iteration_{n}", base, "float32") for n in (1, 2)]
    found = [both(policy, GREEDY, PROMPTS, tmp_path) for policy in policies]
    assert all(theirs == ours for theirs, ours in found) and found[0] != found[1]


def exchange(policy: Policy, prompt: str, answer: str) -> list[int]:
    return chat.encode_prompt(policy.tokenizer, prompt) + chat.encode_response(policy.tokenizer, answer)


def by_transformers(policy: Policy, ids: list[int]) -> Any:
    """Log probabilities of tokens after the first: torch tensor [tokens - 1]."""
    import torch

    with torch.inference_mode():
        logits = policy.model(torch.tensor([ids])).logits[0, :-1]
    return logits.log_softmax(-1).gather(1, torch.tensor(ids[1:])[:, None])[:, 0]


def by_vllm(policy: Policy, ids: list[int]) -> Any:
    """The same by the other engine."""
    import torch
    from vllm import SamplingParams, TokensPrompt

    sampler = VLLMSampler(policy.served, policy.tokenizer, GREEDY, Engine(CPU, "float32"))
    settings = SamplingParams(max_tokens=1, prompt_logprobs=0, detokenize=False)
    found = sampler.llm.generate([TokensPrompt(prompt_token_ids=ids)], settings, use_tqdm=False)[0].prompt_logprobs
    return torch.tensor([found[i][token].logprob for i, token in enumerate(ids) if i])


def test_both_engines_give_the_same_text_the_same_log_probabilities(real_base: Path) -> None:
    import torch

    policy = Policy(real_base, real_base, "float32")
    ids = exchange(policy, "Why is the sky blue?", "Because air scatters blue light more than red light.")
    theirs, ours = by_transformers(policy, ids), by_vllm(policy, ids)
    torch.testing.assert_close(ours, theirs, atol=2e-3, rtol=0)
    assert theirs.min() < -1


def test_greedy_answers_are_those_of_transformers_but_for_float_order(real_base: Path, tmp_path: Path) -> None:
    rows = (ROOT / "data/prompts/pool.jsonl").read_text(encoding="utf-8").splitlines()
    prompts = [json.loads(rows[i * len(rows) // 20])["prompt"] for i in range(20)]
    policy = Policy(real_base, real_base, "float32")
    theirs, ours = both(policy, GREEDY, prompts, tmp_path)
    different = [i for i in range(20) if theirs[i] != ours[i]]
    assert len(different) <= 2
    assert all(gap(policy, prompts[i], theirs[i], ours[i]) < 1e-3 for i in different)


def gap(policy: Policy, prompt: str, one: str, other: str) -> float:
    """How much likelier, in log probability, one answer's first different token is than the other's."""
    import torch

    answers = [chat.encode_response(policy.tokenizer, text) for text in (one, other)]
    place = next(i for i, (a, b) in enumerate(zip(*answers, strict=False)) if a != b)
    ids = chat.encode_prompt(policy.tokenizer, prompt) + answers[0][:place]
    with torch.inference_mode():
        logits = policy.model(torch.tensor([ids])).logits[0, -1].log_softmax(-1)
    return abs(float(logits[answers[0][place]] - logits[answers[1][place]]))


def test_a_response_depends_on_its_seed_and_differs_from_that_of_another(tiny_base: Path) -> None:
    warm = Sampling(0.9, 0.95, 512, 24)
    requests = [Request(prompt, (7 * i, 2**64 - 1 - i, 2**63 + 7 * i + 1)) for i, prompt in enumerate(PROMPTS)]
    once = sampled(tiny_base, warm, *requests)
    assert sampled(tiny_base, warm, *requests) == once
    assert sampled(tiny_base, warm, Request(PROMPTS[1], requests[1].seeds[1:])) == [once[1][1:]]
    assert all(len({response.text for response in own}) == 3 for own in once)
    assert {r.finish_reason for own in once for r in own} == {"stop", "length"}
    assert all(len(r.token_ids) == 24 for own in once for r in own if r.finish_reason == "length")


def test_responses_of_a_prompt_have_temperatures_of_their_own(tiny_base: Path) -> None:
    warm = Sampling(0.9, 0.95, 512, 24)
    (both,) = sampled(tiny_base, warm, Request(PROMPTS[1], (5, 5, 6), (0.9, 0.0, 0.9)))
    alone = [sampled(tiny_base, dataclasses.replace(warm, temperature=t), Request(PROMPTS[1], (5,))) for t in (0.9, 0)]
    assert [response.token_ids for response in both[:2]] == [one[0][0].token_ids for one in alone]
    assert both[0].token_ids != both[1].token_ids


def test_a_sampled_tokens_log_probability_is_that_at_temperature_1_whatever_it_was_sampled_at(tiny_base: Path) -> None:
    import torch

    model, tokenizer = references.load_model(tiny_base, "float32"), references.load_tokenizer(tiny_base)
    (answers,) = sampled(tiny_base, Sampling(0.5, 0.9, 64, 12), Request("Hi", (1, 2, 3)))
    start = chat.encode_prompt(tokenizer, "Hi")
    for answer in answers:
        with torch.inference_mode():
            logits = model(torch.tensor([[*start, *answer.token_ids]])).logits[0, len(start) - 1 : -1].log_softmax(-1)
        expected = logits.gather(1, torch.tensor(answer.token_ids)[:, None])[:, 0]
        torch.testing.assert_close(torch.tensor(answer.logps), expected, rtol=1e-3, atol=1e-3)


def test_many_seeds_draw_from_the_models_distribution(tiny_base: Path) -> None:
    import torch

    count = 3000
    seeds = tuple(shards.seed_of("draw", k) for k in range(count))
    model, tokenizer = references.load_model(tiny_base, "float32"), references.load_tokenizer(tiny_base)
    with torch.inference_mode():
        logits = model(torch.tensor([chat.encode_prompt(tokenizer, "Hi")])).logits[0, -1]
    best = (logits / 0.9).topk(8)
    expected = Counter(dict(zip(best.indices.tolist(), best.values.softmax(-1).tolist(), strict=True)))
    sampler = VLLMSampler(
        references.serve_policy(tiny_base, tiny_base), tokenizer, Sampling(0.9, 1.0, 8, 1), Engine(CPU, "float32")
    )
    ids = chat.encode_prompt(tokenizer, "Hi")
    found = Counter(tokens[0] for tokens, _ in sampler._answers([(ids, seed, 0.9) for seed in seeds]))
    assert set(found) <= set(expected)
    for token, share in expected.items():
        assert abs(found[token] / count - share) < 4 * math.sqrt(share * (1 - share) / count)


@pytest.fixture(scope="module")
def adapter(tiny_base: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An adapter for the tiny model that changes what it says."""
    import torch
    from peft import LoraConfig, get_peft_model

    torch.manual_seed(0)
    config = LoraConfig(r=4, target_modules=["q_proj", "v_proj", "down_proj"], init_lora_weights=False)
    folder = tmp_path_factory.mktemp("adapter")
    model = get_peft_model(references.load_model(tiny_base, "float32"), config)
    output.write_adapter(model, output.base_name(tiny_base), "float32", folder)
    return folder


def test_a_quantised_model_loads_in_both_engines_and_takes_an_adapter_in_transformers(
    tiny_base: Path, adapter: Path, tmp_path: Path
) -> None:
    folder = write_quantised(references.weights(tiny_base), tmp_path / "quantised")
    alone, adapted = Policy(folder, folder, "float32"), Policy(adapter, folder, "float32")
    ids = exchange(alone, PROMPTS[1], PROMPTS[2])
    theirs = by_transformers(alone, ids)
    effect = (by_transformers(adapted, ids) - theirs).abs().mean()
    with pytest.raises(ModelError, match="vLLM cannot load or run quantised"):
        Speaker(adapted, GREEDY, 4, tmp_path, "vllm", CPU).sample([Request("Hi", (1,))])
    # Activations are rounded to 8 bits on the way: the engines differ, by far less than an adapter changes.
    difference = (by_vllm(alone, ids) - theirs).abs().mean()
    assert difference < effect / 4, (difference, effect)
    plain = by_transformers(Policy(adapter, tiny_base, "float32"), ids)
    assert (by_transformers(adapted, ids) - plain).abs().mean() < effect / 4


def test_a_full_checkpoint_loads_in_both_engines(tiny_base: Path, tmp_path: Path) -> None:
    import torch

    model = references.load_model(tiny_base, "float32")
    with torch.no_grad():
        model.lm_head.weight.mul_(-1)
    model.save_pretrained(tmp_path / "full")
    theirs, ours = both(Policy(tmp_path / "full", tiny_base, "float32"), GREEDY, PROMPTS, tmp_path)
    assert theirs == ours != both(Policy(tiny_base, tiny_base, "float32"), GREEDY, PROMPTS, tmp_path)[1]


def test_a_judge_here_can_answer_with_vllm(tiny_base: Path, tmp_path: Path) -> None:
    from pairloop.rankers import scoring
    from pairloop.rankers.judge.ranker import counted

    judge = Judge(model=str(references.weights(tiny_base)), engine="vllm", max_new_tokens=8)
    ranking = scoring.Ranking("judge", scoring.Places(tiny_base, tmp_path), "float32", 512, judge=judge, vllm=CPU)
    rows = [{"prompt": "Hi", "responses": ["Hello", "Ho"], "constraints": None}]
    found = next(iter(scoring.score(rows, ranking, 4, tmp_path)))
    counts = counted(found)
    assert counts is not None and counts["requests"] == 2
    other = dataclasses.replace(ranking, judge=judge.model_copy(update={"engine": "transformers"}))
    assert other.fingerprint != ranking.fingerprint


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ({"kv_cache_gib": 0.00001}, r"vLLM is out of memory. Lower vllm\.max_model_len"),
        (
            {"gpu_memory_utilization": 1.0, "kv_cache_gib": None},
            r"out of memory.* vllm\.gpu_memory_utilization",
        ),
        ({"quantization": "no-such-thing"}, "vLLM cannot load or run"),
        ({"max_model_len": 100_000}, "vLLM cannot load or run"),
    ],
)
def test_what_vllm_refuses_is_one_sentence(settings: dict[str, Any], says: str, tiny_base: Path) -> None:
    engine.release()
    served, tokenizer = references.serve_policy(tiny_base, tiny_base), references.load_tokenizer(tiny_base)
    sampler = VLLMSampler(served, tokenizer, GREEDY, Engine(CPU.model_copy(update=settings), "float32"))
    with pytest.raises(ModelError, match=says) as error:
        sampler.sample([Request("Hi", (1,))])
    assert "\n" not in error.value.message


def test_prompts_longer_than_max_model_len_are_dropped_and_a_killed_generation_gives_the_same_bytes(
    pipeline: Project, tmp_path: Path, edit: Callable[[Project, str, object], None]
) -> None:
    project = pipeline.copy(tmp_path / "project")
    prompts = records.read(project.folder / "data/iteration_2/prompts.parquet", records.PROMPT)
    tokenizer = references.load_tokenizer(project.folder / "models/iteration_0")
    longest = max(len(chat.encode_prompt(tokenizer, row["prompt"])) for row in prompts)
    for name, value in (("generate.max_new_tokens", 400), ("generate.shard_prompts", 1)):
        edit(project, name, value)
    edit(project, "vllm.max_model_len", longest + 399)
    scratch = project.folder / ".dvc/tmp/pairloop"
    project.kill_generation_after_a_shard(generation("again.parquet"))
    assert not (project.folder / "again.parquet").exists()
    project.run(*generation("again.parquet"))
    found = json.loads((project.folder / "again.parquet.json").read_text())
    assert found["dropped"]["over_context"] >= 1 and found["rows_in"] == found["rows_out"] + sum(
        found["dropped"].values()
    )
    for path in scratch.rglob("*"):
        if path.is_file():
            path.unlink()
    project.run(*generation("whole.parquet"))
    assert (project.folder / "again.parquet").read_bytes() == (project.folder / "whole.parquet").read_bytes()
