"""ifeval: one iteration's model on IFEval's prompts, and how many of their instructions its answers follow."""

import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

import click

from pairloop.errors import ParameterError
from pairloop.evaluation.ifeval import Prompt, accuracy, reading
from pairloop.files import records
from pairloop.files.records import Row
from pairloop.models import references
from pairloop.params import Params
from pairloop.prompts import sources
from pairloop.samplers import Sampling, answers, room
from pairloop.samplers.answers import Policy, Speaker
from pairloop.work import ray
from stages import common


@click.command(cls=common.Verb)
@click.option("--iteration", type=click.IntRange(min=0), required=True)
@click.argument("base", type=Path)
@click.argument("policy", type=Path)
@click.argument("answered", type=Path)
@click.argument("results", type=Path)
def main(iteration: int, base: Path, policy: Path, answered: Path, results: Path) -> None:
    """Answer the prompts of `eval.ifeval` with POLICY into ANSWERED, and write the accuracies into RESULTS."""
    params = common.load()
    if params.eval.ifeval is None:
        raise ParameterError("eval.ifeval is null: it must name IFEval's prompts, a file or hf:google/IFEval@revision")
    prompts = reading.read(params.eval.ifeval)
    with common.clock(results / "time" / "ifeval.json") as measured, ray.disconnected():
        found = _answers(Policy(policy, base, params.base.dtype), prompts, params, f"ifeval@{iteration}")
        measured["tokens"] = sum(row["token_counts"][0] for row in found)
    texts = [row["responses"][0] for row in found]
    strict = [accuracy.strict(prompt, text) for prompt, text in zip(prompts, texts, strict=True)]
    loose = [accuracy.loose(prompt, text) for prompt, text in zip(prompts, texts, strict=True)]
    summary = accuracy.summary(prompts, strict, loose, params.eval.bootstrap, params.seed)
    common.warn(accuracy.missing(summary["not_covered"]))
    verdicts = zip(prompts, found, strict, loose, strict=True)
    records.write(answered, records.INSTRUCTED, [[_row(*own) for own in verdicts]])
    records.write_json(results / "ifeval.json", records.rounded(summary))


def _answers(policy: Policy, prompts: Sequence[Prompt], params: Params, label: str) -> list[Row]:
    """The likeliest answer to each prompt, as IFEval is always measured."""
    rows = [{"prompt_id": sources.prompt_id(prompt.text), "prompt": prompt.text} for prompt in prompts]
    longest = params.eval.ifeval_max_new_tokens
    by_vllm = params.eval_sampler == "vllm"
    at_most = params.vllm.max_model_len if by_vllm else None
    asked = room.Asked(rows, "prompts", str(params.eval.ifeval), "eval.ifeval_max_new_tokens", longest, at_most, False)
    room.refuse_too_long([asked], policy.tokenizer, references.context(policy.served.config))
    actors = None
    if params.eval.engine == "ray":
        actors = ray.Actors(
            params.ray, (policy.base, policy.folder), params.vllm.tensor_parallel_size if by_vllm else None
        )
    greedy, engine = Sampling(0.0, 1.0, 1, longest), (params.eval_sampler, params.vllm)
    speaker = Speaker(policy, greedy, params.eval.shard_prompts, common.scratch(), *engine, elsewhere=actors)
    shards = answers.answer(rows, speaker, (params.seed, "ifeval"), 1)
    return common.collect(shards, len(rows), label)


def _row(prompt: Prompt, answer: Row, strict: accuracy.Verdicts, loose: accuracy.Verdicts) -> Row:
    said = {name: answer[name] for name in records.TEXT}
    instructions = json.dumps([asdict(instruction) for instruction in prompt.instructions], ensure_ascii=False)
    verdicts = {"instructions": instructions, "strict": json.dumps(strict), "loose": json.dumps(loose)}
    return {"key": prompt.key} | said | verdicts


if __name__ == "__main__":
    main()
