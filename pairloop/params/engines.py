"""Parameters of the engines that compute beside transformers."""

from typing import Annotated, Literal

from pydantic import Field

from pairloop.params.settings import Address, Count, NotNegative, NumberFormat, Positive, Section, Share, Text


class VLLM(Section):
    """How vLLM runs, wherever an engine (`generate.engine`, `eval.engine`, `judge.engine`) is `vllm`. On a CPU set
    `vllm.enforce_eager` and `vllm.kv_cache_gib`, as the recipe `vllm-cpu` does."""

    tensor_parallel_size: Count = 1
    """GPUs that hold the model together. It must divide the number of attention heads."""

    gpu_memory_utilization: Share = 0.9
    """Share of a GPU's memory for weights and cache, taken at the start. Lower it where something else is on the GPU.
    On a CPU a share of the machine's memory, unless `vllm.kv_cache_gib` says how much."""

    max_model_len: Annotated[int, Field(ge=2)] | None = None
    """Longest prompt and response together, in tokens; null: as long as the model's context. A shorter one needs less
    memory. Prompts that leave no room for `generate.max_new_tokens` are dropped, and counted."""

    dtype: NumberFormat | None = None
    """Number format in which vLLM computes. null: `base.dtype`."""

    quantization: Text | None = None
    """Quantise the weights while loading them, by one of vLLM's methods, such as fp8 on a GPU. null: as the weights
    are: a checkpoint that is quantised says so itself."""

    enforce_eager: bool = False
    """Do not compile the model: it starts sooner, and answers slower on a GPU."""

    kv_cache_gib: Positive | None = None
    """Memory for keys and values, in GiB, instead of what `vllm.gpu_memory_utilization` leaves. Set it on a CPU."""


class Ray(Section):
    """How Ray spreads shards over actors, where `generate.engine`, `rank.engine` or `eval.engine` is `ray`. An actor
    holds the sampler or ranker that would compute here, so that the result is the same."""

    address: Address | None = None
    """host:port of a cluster's head. Every node must see the project at the same path. null: start Ray here, for this
    run."""

    sampler: Literal["transformers", "vllm"] = "transformers"
    """What samples in the actors, where `generate.engine` or `eval.engine` is `ray`."""

    actors: Count | None = None
    """Actors. null: as many as there are GPUs for (`ray.gpus`), or one on each node where they need no GPU. More than
    there is room for are refused."""

    gpus: NotNegative | None = None
    """GPUs that an actor takes. null: where there are GPUs `vllm.tensor_parallel_size` for an actor that runs vLLM,
    which is given no other number, and 1 for another; 0 where there are none. 0.5 lets two rankers share a GPU."""

    cpus: NotNegative = 1.0
    """CPUs that Ray sets aside for an actor. It computes with as many threads as this process would
    (OMP_NUM_THREADS), since their number changes float sums."""

    attempts: Count = 4
    """How often a shard is tried whose actor dies, before the run stops."""
