"""Parameters of the engines that compute beside transformers."""

from dataclasses import dataclass

from pairloop.params.settings import (
    choice,
    flag,
    integer,
    optional_address,
    optional_choice,
    optional_integer,
    optional_real,
    optional_text,
    real,
)


@dataclass(frozen=True)
class VLLM:
    """How vLLM runs, wherever an engine (`generate.engine`, `eval.engine`, `judge.engine`) is `vllm`. On a CPU set
    `vllm.enforce_eager` and `vllm.kv_cache_gib`, as the recipe `vllm-cpu` does."""

    tensor_parallel_size: int = integer(1, low=1)
    """GPUs that hold the model together. It must divide the number of attention heads."""

    gpu_memory_utilization: float = real(0.9, "a number above 0, at most 1", lambda v: 0 < v <= 1)
    """Share of a GPU's memory for weights and cache, taken at the start. Lower it where something else is on the GPU.
    On a CPU a share of the machine's memory, unless `vllm.kv_cache_gib` says how much."""

    max_model_len: int | None = optional_integer(low=2)
    """Longest prompt and response together, in tokens; null: as long as the model's context. A shorter one needs less
    memory. Prompts that leave no room for `generate.max_new_tokens` are dropped, and counted."""

    dtype: str | None = optional_choice("float32", "bfloat16", "float16")
    """Number format in which vLLM computes. null: `base.dtype`."""

    quantization: str | None = optional_text()
    """Quantise the weights while loading them, by one of vLLM's methods, such as fp8 on a GPU. null: as the weights
    are: a checkpoint that is quantised says so itself."""

    enforce_eager: bool = flag(False)
    """Do not compile the model: it starts sooner, and answers slower on a GPU."""

    kv_cache_gib: float | None = optional_real("null or a number above 0", lambda v: v > 0)
    """Memory for keys and values, in GiB, instead of what `vllm.gpu_memory_utilization` leaves. Set it on a CPU."""


@dataclass(frozen=True)
class Ray:
    """How Ray spreads shards over actors, where `generate.engine` or `rank.engine` is `ray`. An actor holds the sampler
    or ranker that would compute here, so that the result is the same."""

    address: str | None = optional_address()
    """host:port of a cluster's head. Every node must see the project at the same path. null: start Ray here, for this
    run."""

    sampler: str = choice("transformers", "transformers", "vllm")
    """What samples in the actors, where `generate.engine` is `ray`."""

    actors: int | None = optional_integer(low=1)
    """Actors. null: as many as there are GPUs for (`ray.gpus`), or one on each node where they need no GPU."""

    gpus: float | None = optional_real("null or a number, at least 0", lambda v: v >= 0)
    """GPUs that an actor takes. null: 1 where the cluster has GPUs, otherwise 0. With `ray.sampler: vllm`,
    `vllm.tensor_parallel_size`."""

    cpus: float = real(1.0, "a number, at least 0", lambda v: v >= 0)
    """CPUs that Ray sets aside for an actor. It computes with as many threads as this process would
    (OMP_NUM_THREADS), since their number changes float sums."""

    attempts: int = integer(4, low=1)
    """How often a shard is tried whose actor dies, before the run stops."""
