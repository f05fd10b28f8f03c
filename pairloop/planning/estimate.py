"""Hours, memory and disk that work takes on a machine: the stated model, and what a run that was measured says.

Time is operations over speed, times an assumed utilisation; sampling is also held back by reading the weights and the
cache of keys and values for every token. docs/performance.md has the constants' sources.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from pairloop.params import Params, Train
from pairloop.planning.amounts import CHARACTERS, ENCODER, PAIRRM, Work, longest, typical
from pairloop.planning.devices import Machine
from pairloop.planning.size import Size
from pairloop.rankers import packing

READING = {"gpu": 0.4, "cpu": 0.9}
"""Share of a device's speed in forward passes over whole texts."""

COMPARING = {"gpu": 0.15, "cpu": 0.6}
"""Share of it in rankers such as PairRM, whose attention to distances is made of many small steps."""

TRAINING = {"gpu": 0.35, "cpu": 0.9}
"""Share of it in training."""

SAMPLING = {"gpu": 0.5, "cpu": 0.9}
"""Share of it in sampling many responses together."""

STREAMING = {"vllm": 0.6, "transformers": 0.2}
"""Share of its bandwidth in sampling. transformers starts each operation of each token from Python."""

START = {"transformers": 7.0, "vllm": 60.0, "none": 4.0}
"""Seconds until a stage computes: importing and loading, and compiling in vLLM."""

SLOWER_IN_FLOAT32 = 12.0
"""Times that a GPU is slower in float32: an H100 has 67 instead of 989 TFLOP/s, an RTX 4090 83 instead of 165."""

BYTES = {"float32": 4, "bfloat16": 2, "float16": 2}

OVERHEAD = {True: 2e9, False: 0.8e9}
"""Bytes of libraries and buffers on a GPU, and in a process on a processor."""

CHECKPOINTS = 2
"""Checkpoints that training keeps; while one is written it is a third."""

NETWORK = 50e6
"""Bytes per second of a download."""


@dataclass(frozen=True)
class Estimate:
    """What one stage takes."""

    work: Work
    seconds: float

    devices: int
    """Those that take part."""

    memory: float
    """Bytes on each of them, at most."""

    cache: float
    """Bytes of scratch: finished shards, checkpoints, downloads."""

    artifacts: float
    """Bytes of outputs, in the working folder and in DVC's cache."""

    @property
    def hours(self) -> float:
        """The time of a clock on the wall."""
        return self.seconds / 3600


def estimate(
    work: Work, params: Params, size: Size, machine: Machine, factors: Mapping[str, float] | None = None
) -> Estimate:
    """What a stage takes on a machine.

    Args:
        work: what it does.
        params: of its iteration.
        size: the base's.
        machine: where it runs.
        factors: for each verb that was measured, how many times longer it took there than the model says.
    """
    devices = machine.count if work.spread else min(work.devices, machine.count)
    factor = (factors or {}).get(work.verb, 1.0)
    seconds = START[work.engine] + factor * computing(work, params, size, machine, devices) + work.fetched / NETWORK
    cache, artifacts = disk(work, params, size)
    return Estimate(work, seconds, devices, memory(work, params, size, machine), cache + work.fetched, artifacts)


def computing(work: Work, params: Params, size: Size, machine: Machine, devices: int) -> float:
    """Seconds of computing, without those until it starts."""
    kind, speed = _speed(params, machine)
    shares = ((work.read, READING), (work.compared, COMPARING), (work.trained, TRAINING))
    found = sum(operations / (speed * devices * share[kind]) for operations, share in shares)
    return found + (_sampling(work, params, size, machine, devices) if work.sampled else 0.0)


def _sampling(work: Work, params: Params, size: Size, machine: Machine, devices: int) -> float:
    """Seconds until all responses are sampled: a step adds a token to each of those that are sampled together."""
    kind, speed = _speed(params, machine)
    holding = min(work.devices, devices)  # they hold one copy of the model together
    weights, each = size.parameters * weight_bytes(params), cached_bytes(work, params, size)
    together = max(1, min(work.together, round(work.rows * holding / devices)))
    if work.engine == "vllm" and machine.device.gpu:
        taken = params.vllm.gpu_memory_utilization * machine.device.memory - OVERHEAD[True]
        together = max(1, min(together, int((taken * holding - weights) / each)))
    multiplying = 2 * size.computed * together / (speed * SAMPLING[kind])
    # A processor's bandwidth is not planned with: there multiplying takes longer.
    streaming = (weights + together * each) / (machine.device.bandwidth * STREAMING[work.engine])
    step = max(multiplying, streaming if machine.device.gpu else 0.0)
    return work.sampled / together * step / devices


def _speed(params: Params, machine: Machine) -> tuple[str, float]:
    """The kind of device, and its operations per second in the base's number format."""
    if not machine.device.gpu:
        return "cpu", machine.device.flops
    return "gpu", machine.device.flops / (SLOWER_IN_FLOAT32 if params.base.dtype == "float32" else 1)


def cached_bytes(work: Work, params: Params, size: Size) -> float:
    """Bytes of keys and values of one response, halfway through, with its prompt."""
    each = work.tokens / max(work.rows, 1)
    return 2 * size.layers * size.kv_width * weight_bytes(params) * each


def weight_bytes(params: Params) -> int:
    """Bytes of a weight as it samples and scores."""
    return BYTES[params.base.dtype]


STORED: Mapping[str, float | None] = {"full": 4.0, "lora": None, "qlora": 0.56}
"""Bytes of a frozen or trained weight in memory: full training keeps float32, 4 bits and their scales are 0.56."""


def adapter(size: Size, train: Train) -> float:
    """Parameters of an adapter on every linear layer: about rank × the sum of both sides."""
    inner = (size.body / size.layers - 2 * size.hidden * (size.hidden + size.kv_width)) / (3 * size.hidden)
    sides = 4 * size.hidden + 2 * (size.hidden + size.kv_width) + 3 * (size.hidden + inner)
    return size.layers * train.lora_r * sides


def sharded(train: Train) -> bool:
    """Whether weights, gradients and the optimiser's states are divided among the devices."""
    return any(word in (train.launcher or "") for word in ("fsdp", "zero3"))


def memory(work: Work, params: Params, size: Size, machine: Machine) -> float:
    """Bytes on one device, at most."""
    base = OVERHEAD[machine.device.gpu]
    weights = size.parameters * weight_bytes(params) / work.devices
    if work.verb == "train":
        return base + _training_memory(params, size, machine)
    if work.engine == "vllm":
        most = min(longest(params), params.vllm.max_model_len or longest(params))
        cache = 2 * size.layers * size.kv_width * 2 * most / work.devices
        cache = (params.vllm.kv_cache_gib or 0.0) * 2**30 or cache
        asked = params.vllm.gpu_memory_utilization * machine.device.memory if machine.device.gpu else 0.0
        return max(asked, base + weights + cache)
    if work.verb == "rank" or not work.tokens:
        return base + (_ranker_memory(params, size) if work.tokens else 0.0)
    cache = work.together * cached_bytes(work, params, size)
    logits = work.together * size.vocabulary * 4.0
    return base + weights + cache + logits + _packed(size, machine) + _judging(work, params, size, machine)


def _packed(size: Size, machine: Machine) -> float:
    """A processor keeps the layers' weights once more, in the order in which it multiplies."""
    return 0.0 if machine.device.gpu else size.body * 4


def _judging(work: Work, params: Params, size: Size, machine: Machine) -> float:
    """Logits of one forward pass over answers with the base, and as many again while they become probabilities."""
    tokens = params.rank.batch_tokens if machine.device.gpu else min(params.rank.batch_tokens, packing.TOKENS)
    return 2 * tokens * size.vocabulary * 4.0 if work.verb == "eval" else 0.0


def _ranker_memory(params: Params, size: Size) -> float:
    """Bytes of the ranker's weights and of one forward pass."""
    kind = params.rank.ranker
    own = {"pairrm": PAIRRM, "llm_blender": PAIRRM, "encoder": ENCODER, "verifiable": 0.0}.get(kind, size.parameters)
    states = params.rank.batch_tokens * size.hidden * 4 * 8.0
    logits = params.rank.batch_tokens * size.vocabulary * 4.0 if kind in ("likelihood", "ensemble") else 0.0
    return own * weight_bytes(params) + states + logits


def _training_memory(params: Params, size: Size, machine: Machine) -> float:
    """Weights, gradients, AdamW's two states, and what the backward pass needs of the longest pair."""
    own, shares = params.train, machine.count if sharded(params.train) else 1
    stored = STORED[own.method] or weight_bytes(params)
    trained = size.parameters if own.method == "full" else adapter(size, own)
    states = trained * (12 if own.method == "full" else 16)
    if own.reference == "base" and own.method == "full":
        states += size.parameters * 4
    prompt = min(params.generate.max_prompt_tokens, own.max_length) if own.share_prompts else 0
    tokens = own.per_device_train_batch_size * (2 * min(own.max_length, longest(params)) - prompt)
    # A layer keeps 34 bytes of each token and number in two-byte formats (Korthikanti et al. 2022), the logits three
    # copies in float32; with checkpointing one layer is whole at a time, of the others only what goes in.
    layer = 17 * weight_bytes(params) * tokens * size.hidden
    whole = layer + size.layers * weight_bytes(params) * tokens * size.hidden
    activations = whole if own.gradient_checkpointing else size.layers * layer
    logits = 3 * 4 * tokens * size.vocabulary
    return (size.parameters * stored + states) / shares + activations + logits


def disk(work: Work, params: Params, size: Size) -> tuple[float, float]:
    """Bytes of scratch and of artifacts. An artifact is stored twice where the file system cannot share blocks."""
    verb = work.verb
    if verb in ("generate", "eval", "ifeval"):
        # A token's text, id and log-probability, compressed by a third.
        text = work.sampled * (CHARACTERS + 4 + 4) * 0.67
        return text * 2, text * 2
    if verb == "rank":
        text = work.tokens * CHARACTERS * 0.4
        return text, text * 2
    if verb == "train":
        own = params.train
        trained = size.parameters if own.method == "full" else adapter(size, own)
        state = trained * (4 + 8)
        return (CHECKPOINTS + 1) * state, 2 * trained * BYTES[own.save_dtype]
    if verb == "pair":
        text = work.rows * params.generate.n * typical(params.generate.max_new_tokens) * CHARACTERS * 0.4
        return 0.0, text * 2
    return 0.0, 0.0


def factors(
    measured: Mapping[str, float], works: Sequence[Work], params: Params, size: Size, machine: Machine
) -> dict[str, float]:
    """For each verb how many times longer a measured run took than the model says, without the time until it starts.

    Args:
        measured: seconds by stage.
        works: what those stages did.
        params: with which they ran.
        size: the base's.
        machine: what the model is asked for, and what is planned for.
    """
    sums: dict[str, tuple[float, float]] = {}
    for work in works:
        said = computing(work, params, size, machine, machine.count if work.spread else 1)
        if work.stage in measured and said:
            took = max(measured[work.stage] - START[work.engine], 0.05 * measured[work.stage])
            before = sums.get(work.verb, (0.0, 0.0))
            sums[work.verb] = before[0] + took, before[1] + said
    return {verb: took / said for verb, (took, said) in sums.items()}
