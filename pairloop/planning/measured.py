"""What an earlier run of the project measured: lengths of texts, and seconds of its stages."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from pairloop.files.records import read_json
from pairloop.params import Params
from pairloop.planning.amounts import CHARACTERS, FRAME, HUB_PROMPT, Counts, typical
from pairloop.planning.devices import Device, recognised


def seconds(results: Path) -> dict[str, float]:
    """Seconds of each stage that the folder `results` has the time of, by the stage's name."""
    found = {}
    for path in sorted(results.glob("**/time/*.json")):
        number = path.parts[-3].removeprefix("iteration_")
        found[path.stem if number == results.name else f"{path.stem}@{number}"] = float(read_json(path)["seconds"])
    return found


def alike(results: Path, device: Device) -> bool:
    """Whether the run in the folder `results` computed on such a device: the same GPU, or any processor."""
    rows = [read_json(path) for path in sorted(results.glob("**/time/*.json"))]
    gpus = {(row["gpu"], row["gpu_memory_mb"]) for row in rows if "gpu" in row}
    if not device.gpu:
        return not gpus
    return bool(gpus) and all(recognised(name, memory * 2**20) == device for name, memory in gpus)


def lengths(results: Path) -> list[Counts]:
    """Mean lengths in each iteration of the run in the folder `results`, up to the first that is not there.

    Each has its own: a trained model's responses can have a third of the base's length.
    """
    found: list[Counts] = []
    while counts := _lengths(results / f"iteration_{len(found) + 1}", f"as measured ({results})"):
        found.append(counts)
    return found


def _lengths(iteration: Path, source: str) -> Counts | None:
    stages = {name: iteration / f"{name}.json" for name in ("generate", "train")}
    if not all(path.is_file() for path in stages.values()):
        return None
    own: dict[str, Mapping[str, Any]] = {name: read_json(path) for name, path in stages.items()}
    if not (own["generate"]["rows_out"] and own["train"]["rows_out"]):
        return None
    response, both = own["generate"]["mean_tokens"], own["train"]["tokens"] / own["train"]["rows_out"] / 2
    return Counts(max(both - response, 1.0), response, source)


def assumed(params: Params, characters: float | None) -> Counts:
    """Mean lengths as the model assumes them.

    Args:
        params: limits that prompts and responses have.
        characters: of a prompt, where the source is at hand; None: as UltraFeedback's.
    """
    told = characters / CHARACTERS if characters else HUB_PROMPT
    prompt = min(told + FRAME, float(params.generate.max_prompt_tokens))
    source = "assumed" if characters is None else "prompts as the source has them, responses assumed"
    return Counts(prompt, typical(params.generate.max_new_tokens), source)


def characters(source: Path) -> float | None:
    """Mean length of the prompts in a .jsonl file; None: it is another one, or not there."""
    found = [len(row["prompt"]) for row in _prompts(source)]
    return sum(found) / len(found) if found else None


def shared(counts: Counts, params: Params) -> Counts:
    """The same lengths, with the shares that follow from the parameters.

    Of the pairs that are asked for prompts give half where a program ranks, by which many responses tie: 447 of 900 in
    the default run. Where the ranker is asked about the others alone, these are the pool's share of such.
    """
    ranked = _ranked(params)
    paired = 0.5 if params.rank.ranker == "verifiable" else (1 + ranked) / 2
    held_out = _prompts(Path(params.pool.eval_source))[: params.eval.prompts]
    return replace(counts, pairs=paired, unconstrained=_unconstrained(held_out), ranked=ranked)


def _ranked(params: Params) -> float:
    """Share of an iteration's prompts that the ranker is asked about."""
    if params.rank.constraints_first != "only" or params.rank.ranker == "verifiable":
        return 1.0
    if isinstance(params.prompts.constrained, float):
        return 1 - params.prompts.constrained
    return 0.0 if params.prompts.constrained == "only" else _unconstrained(_prompts(Path(params.pool.source)))


def _unconstrained(rows: list[dict[str, Any]]) -> float:
    """Share of the prompts without constraints; 1 where none are known, as of a source that is no .jsonl file here."""
    return sum(not row.get("constraints") for row in rows) / len(rows) if rows else 1.0


def _prompts(source: Path) -> list[dict[str, Any]]:
    if source.suffix != ".jsonl" or not source.is_file():
        return []
    rows = (json.loads(line) for line in source.read_text(encoding="utf-8").splitlines() if line.strip())
    return [row for row in rows if isinstance(row, dict) and isinstance(row.get("prompt"), str)]


def same_lengths(params: Params, run: Params) -> bool:
    """Whether a run with other parameters has had texts of the same length: it read and sampled in the same way."""
    sampling = [(one.base, one.pool, one.generate.max_new_tokens, one.train.num_train_epochs) for one in (params, run)]
    return sampling[0] == sampling[1]


def same_speed(verb: str, params: Params, run: Params) -> bool:
    """Whether a verb computes with the same model in the same way, so that its time differs by rows and tokens only."""
    decides: Mapping[str, Sequence[Any]] = {
        "teach": ("base", "rank.batch_tokens"),
        "generate": ("base", "generate.engine", "ray", "vllm"),
        "rank": ("base", "rank.ranker", "rank.second", "rank.engine", "rankers", "judge", "ray"),
        "train": ("base", "train.method", "train.gradient_checkpointing", "train.per_device_train_batch_size"),
        "eval": ("base", "eval.engine", "eval.judges", "rankers", "judge", "vllm"),
        "ifeval": ("base", "eval.engine", "eval.ifeval", "vllm"),
        "preferences": ("base", "rank.batch_tokens"),
    }
    return all(_value(params, name) == _value(run, name) for name in decides.get(verb, ()))


def _value(params: Params, name: str) -> Any:
    found: Any = params
    for part in name.split("."):
        found = getattr(found, part)
    return found
