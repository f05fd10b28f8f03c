"""generate: several responses to each prompt by the policy of the iteration before."""

import statistics
from pathlib import Path
from typing import Any

import click

from pairloop.files import records
from pairloop.files.records import Row
from pairloop.samplers import Sampling, answers
from pairloop.samplers.answers import Policy, Speaker
from pairloop.work import ray
from stages import common


@click.command(cls=common.Verb)
@click.option("--iteration", type=click.IntRange(min=1), required=True)
@click.argument("base", type=Path)
@click.argument("policy", type=Path)
@click.argument("prompts", type=Path)
@click.argument("responses", type=Path)
@click.argument("metrics", type=Path)
@click.argument("times", type=Path)
def main(iteration: int, base: Path, policy: Path, prompts: Path, responses: Path, metrics: Path, times: Path) -> None:
    """Sample RESPONSES to PROMPTS from POLICY, which is relative to BASE."""
    params = common.load(iteration)
    generate = params.generate
    sampling = Sampling(generate.temperature[0], generate.top_p, generate.top_k, generate.max_new_tokens)
    rows = records.read(prompts, records.PROMPT)
    with common.clock(times) as measured, ray.disconnected():
        author = Policy(policy, base, params.base.dtype)
        parallel = params.vllm.tensor_parallel_size if params.sampler == "vllm" else None
        actors = ray.Actors(params.ray, (base, policy), parallel) if generate.engine == "ray" else None
        engine = params.sampler, params.vllm, generate.batch_invariant, actors
        speaker = Speaker(author, sampling, generate.shard_prompts, common.scratch(), *engine)
        kept, dropped = answers.fitting(rows, author.tokenizer, generate.max_prompt_tokens, speaker.room)
        wanted = answers.in_turn(generate.temperature, generate.n)
        shards = answers.answer(kept, speaker, (params.seed, iteration), wanted)
        counts = _Counts()
        with common.progress(len(kept), f"generate@{iteration}") as bar:
            written = records.write(responses, records.RESPONSE, counts.over(shards, bar))
        measured["tokens"] = sum(counts.tokens)
    records.write_json(metrics, {"rows_in": len(rows), "rows_out": written, "dropped": dropped} | counts.summary())


class _Counts:
    """Counts what streams past, so that the responses need not stay in memory."""

    def __init__(self) -> None:
        self.tokens: list[int] = []
        self.truncated = 0

    def over(self, shards: Any, bar: Any) -> Any:
        for shard in shards:
            for row in shard:
                self._add(row)
            bar.update(len(shard))
            bar.set_postfix_str(f"{sum(self.tokens) / max(bar.format_dict['elapsed'], 1e-9):.0f} tokens/s")
            yield shard

    def _add(self, row: Row) -> None:
        self.tokens += row["token_counts"]
        self.truncated += row["finish_reasons"].count("length")

    def summary(self) -> dict[str, float]:
        responses = len(self.tokens)
        return {
            "responses": responses,
            "tokens": sum(self.tokens),
            "mean_tokens": round(statistics.fmean(self.tokens), 2) if responses else 0.0,
            "truncated_share": round(self.truncated / responses, 4) if responses else 0.0,
        }


if __name__ == "__main__":
    main()
