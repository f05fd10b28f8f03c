"""What would stop a run, or spoil it, told before it starts."""

import os
import re
import shutil
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Literal
from urllib.parse import urlsplit

from pairloop.errors import ModelError
from pairloop.evaluation import alpaca_questions
from pairloop.models import chat
from pairloop.params import Params
from pairloop.planning.amounts import longest
from pairloop.planning.devices import Machine
from pairloop.planning.estimate import Estimate
from pairloop.planning.size import Size

Level = Literal["OK", "warning", "no-go"]

LARGEST_RANK = 512
"""Of an adapter that vLLM serves: the most that its max_lora_rank can be."""


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at."""

    level: Level
    """`no-go`: the run would stop, or lose what it is run for."""

    text: str
    """What was found and, unless it is OK, what to do."""


def go(findings: Iterable[Finding]) -> bool:
    """Whether nothing stops the run."""
    return all(finding.level != "no-go" for finding in findings)


def elsewhere(findings: Sequence[Finding]) -> list[Finding]:
    """The same for a run on another machine: what this one lacks does not stop it."""
    own = ("disk", "engines", "key")
    here = [one.level == "no-go" and one.text.startswith(own) for one in findings]
    return [
        Finding("warning", f"{one.text} (on this machine)") if only_here else one
        for one, only_here in zip(findings, here, strict=True)
    ]


def memory(estimates: Sequence[Estimate], machine: Machine) -> list[Finding]:
    """Whether the hungriest stage fits on a device."""
    most = max(estimates, key=lambda one: one.memory)
    has = f"{gigabytes(most.memory)} of the {gigabytes(machine.device.memory)} of {machine.device.name}"
    found = [one for one in estimates if one.memory > machine.device.memory]
    if not found:
        return [Finding("OK", f"memory: at most {has}, in {most.work.stage}")]
    remedies = {
        "train": "set train.launcher to a sharding one (fsdp, zero3), train.method to lora, "
        "train.gradient_checkpointing to true or train.per_device_train_batch_size lower, or take a device with more",
        "generate": "raise vllm.tensor_parallel_size, or lower generate.shard_prompts or generate.max_new_tokens",
        "rank": "lower rank.batch_tokens",
        "eval": "raise vllm.tensor_parallel_size, or lower rank.batch_tokens or eval.shard_prompts",
        "ifeval": "raise vllm.tensor_parallel_size, or lower eval.shard_prompts or eval.ifeval_max_new_tokens",
    }
    verbs = dict.fromkeys(one.work.verb for one in found)
    worst = {verb: max((one for one in found if one.work.verb == verb), key=lambda one: one.memory) for verb in verbs}
    return [
        Finding(
            "no-go",
            f"memory: {one.work.stage} needs {gigabytes(one.memory)}, {machine.device.name} has "
            f"{gigabytes(machine.device.memory)}: {remedies.get(verb, 'take a device with more')}",
        )
        for verb, one in worst.items()
    ]


def gigabytes(size: float) -> str:
    """Bytes as people read them."""
    return f"{size / 1e9:.0f} GB" if size >= 9.95e9 else f"{size / 1e9:.1f} GB"


def disk(needs: Mapping[Path, float], remedy: str) -> list[Finding]:
    """Whether each disk has space for all that is to be written on it.

    Args:
        needs: bytes to be written under each folder, which need not exist yet.
        remedy: what to do where there is too little.
    """
    sums: dict[int, float] = {}
    places: dict[int, Path] = {}
    for place, size in needs.items():
        there = next(path for path in (place, *place.absolute().parents) if path.exists())
        disk_id = there.stat().st_dev
        sums[disk_id] = sums.get(disk_id, 0.0) + size
        places.setdefault(disk_id, there)
    found = []
    for number, size in sums.items():
        free = shutil.disk_usage(places[number]).free
        said = f"disk of {places[number].absolute()}: {gigabytes(size)} needed, {gigabytes(free)} free"
        enough: Level = "no-go" if size > free else "warning" if size > 0.8 * free else "OK"
        found.append(Finding(enough, said if enough == "OK" else f"{said}: {remedy}"))
    return found


def template(tokenizer: Any) -> list[Finding]:
    """Whether the chat template renders a prompt once, with one token at the beginning."""
    try:
        ids = chat.encode_prompt(tokenizer, "Name three birds.")
    except ModelError as error:
        return [Finding("no-go", f"chat template: {error.message}")]
    begin = tokenizer.bos_token_id
    if begin is not None and ids[:2] == [begin, begin]:
        remedy = "take one of them out of its chat template"
        return [Finding("no-go", f"chat template: every prompt begins with two {tokenizer.bos_token}: {remedy}")]
    if tokenizer.decode(ids).count("Name three birds.") != 1:
        return [Finding("no-go", "chat template: does not show a prompt once: put another into chat_template.jinja")]
    first = "one beginning" if begin is not None and ids[0] == begin else "no beginning token of its own"
    return [Finding("OK", f"chat template: renders a prompt once, with {first}")]


def revisions(params: Params) -> list[Finding]:
    """Whether everything from the hub is fixed to a commit."""
    used = {"base.model": params.base.model, "pool.source": params.pool.source}
    used["pool.eval_source"] = params.pool.eval_source
    for kind in ("pairrm", "llm_blender", "reward"):
        if kind in params.kinds:
            used[f"rankers.{kind}"] = str(getattr(params.rankers, kind))
    if "judge" in params.kinds and not params.judge.endpoint:
        used["judge.model"] = params.judge.model
    hub = {name: value for name, value in used.items() if value.startswith("hf:")}
    loose = [name for name, value in hub.items() if not re.search("@[0-9a-f]{40}(/|$)", value)]
    if loose:
        first = f"{loose[0]}={hub[loose[0]].partition('@')[0]}@<commit>"
        return [
            Finding("warning", f"revisions: {', '.join(loose)} may change on the hub: name a commit, as in {first}")
        ]
    return [Finding("OK", f"revisions: {'pinned' if hub else 'nothing comes from the hub'}")]


def keys(params: Params, environment: Mapping[str, str] = os.environ) -> list[Finding]:
    """Whether a judge elsewhere can be asked with a key."""
    return [*_annotator_key(params, environment), *_judge_key(params, environment)]


def _annotator_key(params: Params, environment: Mapping[str, str]) -> list[Finding]:
    """A warning only: not every annotator is asked at OpenAI, and what is missing can be asked at any time later."""
    where = alpaca_questions.asked_at(params.eval.annotator_endpoint, environment)
    if "alpaca_eval" not in params.eval.judges or where.startswith("http:"):
        return []
    if alpaca_questions.key_in(environment):
        return [Finding("OK", "key: OPENAI_API_KEY is set, for eval.annotator")]
    text = f"key: OPENAI_API_KEY is not set, and eval.annotator asks {urlsplit(where).hostname}: export OPENAI_API_KEY="
    return [Finding("warning", text)]


def _judge_key(params: Params, environment: Mapping[str, str]) -> list[Finding]:
    own = params.judge
    if "judge" not in params.kinds or not own.endpoint:
        return []
    if environment.get(own.key_variable):
        return [Finding("OK", f"key: {own.key_variable} is set")]
    address = urlsplit(own.endpoint)
    local = address.scheme == "http"
    text = f"key: {own.key_variable} is not set, so {address.hostname} is asked without one: export {own.key_variable}="
    return [Finding("warning" if local else "no-go", text)]


def engines(params: Params) -> list[Finding]:
    """Whether what computes beside transformers is installed."""
    needs = {
        "vllm": "vllm" in (params.sampler, params.eval_sampler)
        or ("judge" in params.kinds and not params.judge.endpoint and params.judge.engine == "vllm"),
        "ray": "ray" in (params.generate.engine, params.rank.engine, params.eval.engine),
        "llm_blender": "llm_blender" in params.kinds,
        "bitsandbytes": params.train.method == "qlora",
        "alpaca_eval": "alpaca_eval" in params.eval.judges,
    }
    extras = {"vllm": "vllm", "ray": "ray", "llm_blender": "llm-blender", "bitsandbytes": "qlora"}
    extras["alpaca_eval"] = "alpaca"
    asked = [name for name, needed in needs.items() if needed]
    missing = [name for name in asked if find_spec(name) is None]
    if missing:
        names = ",".join(extras[name] for name in missing)
        return [Finding("no-go", f"engines: {', '.join(missing)} cannot be imported: pip install '.[{names}]'")]
    return [Finding("OK", f"engines: {', '.join(['transformers', *asked])}")]


def adapters(params: Params) -> list[Finding]:
    """Whether vLLM can serve what training makes."""
    if params.train.method == "full" or "vllm" not in (params.sampler, params.eval_sampler):
        return []
    rank = params.train.lora_r
    if rank > LARGEST_RANK:
        return [Finding("no-go", f"adapters: rank {rank}, and vLLM serves {LARGEST_RANK} at most: lower train.lora_r")]
    return [Finding("OK", f"adapters: vLLM serves rank {rank}")]


def context(params: Params, size: Size) -> list[Finding]:
    """Whether prompts and responses fit the model's context, and training's."""
    most = longest(params)
    own = params.vllm.max_model_len if params.sampler == "vllm" else None
    limits = [limit for limit in (size.context, own) if limit]
    if not limits:
        return [Finding("warning", "context: not known before the model is here: `dvc repro base` tells")]
    found = []
    if most > min(limits):
        found.append(
            Finding(
                "no-go",
                f"context: a prompt and its response may have {most} tokens, but there is room for {min(limits)}: "
                "lower generate.max_prompt_tokens or generate.max_new_tokens",
            )
        )
    if params.train.max_length > min(limits):
        text = f"context: train.max_length is {params.train.max_length}, but the model has {min(limits)}: lower it"
        found.append(Finding("no-go", text))
    if params.train.max_length < most:
        found.append(
            Finding(
                "warning",
                f"context: train.max_length cuts what is longer than {params.train.max_length} of up to {most} "
                "tokens: raise it, or lower generate.max_new_tokens",
            )
        )
    return found or [Finding("OK", f"context: {most} of {min(limits)} tokens, of which training reads all")]


def devices(params: Params, machine: Machine) -> list[Finding]:
    """Whether the devices that there are can be used, and are."""
    wanted = params.vllm.tensor_parallel_size
    served = "vllm" in (params.sampler, params.eval_sampler)
    if served and wanted > machine.count:
        remedy = f"lower vllm.tensor_parallel_size to {machine.count}"
        return [
            Finding(
                "no-go", f"devices: the model is spread over {wanted} devices, but there are {machine.count}: {remedy}"
            )
        ]
    if machine.count == 1:
        return []
    idle = [
        f"{verb} ({name}.engine=ray)"
        for verb, name, engine in (
            ("generate", "generate", params.generate.engine),
            ("rank", "rank", params.rank.engine),
            ("eval", "eval", params.eval.engine),
        )
        if engine != "ray"
    ]
    if idle:
        return [Finding("warning", f"devices: not all of {machine.count} are used by {', '.join(idle)}")]
    return [Finding("OK", f"devices: generate, rank, train and eval use all {machine.count}")]
