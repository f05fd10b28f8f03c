"""A policy moved on beyond where training left it, without training: ExPO.

Weights = reference + (1 + a) (policy - reference), the reference being iteration 0, whatever the policy was trained
from: iteration n is moved on by a times all that the iterations have changed. Zheng et al., arXiv 2404.16792;
chujiezheng/LLM-Extrapolation, code/extrapolate.py.
"""

import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from uuid import uuid4

from pairloop.errors import ModelError
from pairloop.files import disk, locks
from pairloop.files.records import read_json, write_json
from pairloop.models import references

_LOW_RANK = ("lora_A", "lora_B", "lora_embedding_A", "lora_embedding_B")


@contextmanager
def moved(policy: Path, base: Path, factor: float, scratch: Path) -> Iterator[Path]:
    """The folder of a policy moved on by `factor`, as long as the block lasts.

    Args:
        policy: models/iteration_n: an adapter or a full checkpoint.
        base: models/iteration_0, the reference.
        factor: a; 0 is the policy itself, 0.3 to 0.5 is usual.
        scratch: what the folder is made in.

    Raises:
        ModelError: the policy is not the base's weights moved: other tensors, or an adapter with more than low rank.
        PairloopError: the disk is full.
    """
    from safetensors import SafetensorError

    folder = scratch / "extrapolated" / uuid4().hex
    with locks.shared(folder.with_name(f"{folder.name}.lock")):
        folder.mkdir(parents=True)
        try:
            with disk.writing(folder, SafetensorError):
                (_rescale if references.is_adapter(policy) else _move)(policy, base, 1 + factor, folder)
            yield folder
        finally:
            shutil.rmtree(folder, ignore_errors=True)
            folder.with_name(f"{folder.name}.lock").unlink(missing_ok=True)


def _rescale(policy: Path, base: Path, times: float, folder: Path) -> None:
    """An adapter is what is added to the base, in proportion to its alphas: its tensors stay as they are."""
    config: dict[str, Any] = read_json(policy / "adapter_config.json")
    with _opened(policy / "adapter_model.safetensors") as tensors:
        other = sorted(name for name in tensors.keys() if not any(part in name for part in _LOW_RANK))  # noqa: SIM118
    if other or config.get("use_dora"):
        raise ModelError(
            f"{policy}: the adapter holds more than products of low rank ({other[0] if other else 'DoRA'}), so that it "
            "cannot be moved on by rescaling. Leave eval.extrapolate empty"
        )
    _copy(policy, folder, leaving="adapter_config.json")
    alphas = {name: alpha * times for name, alpha in (config.get("alpha_pattern") or {}).items()}
    changes = {"lora_alpha": config["lora_alpha"] * times, "alpha_pattern": alphas}
    write_json(folder / "adapter_config.json", config | changes)


def _move(policy: Path, base: Path, times: float, folder: Path) -> None:
    """Full weights, a tensor at a time, so that memory holds neither model."""
    from safetensors.torch import save_file

    source = references.weights(base)
    places = {name: path for path in sorted(source.glob("*.safetensors")) for name in _names(path)}
    for path in sorted(policy.glob("*.safetensors")):
        with _opened(path) as own:
            found = {name: _beyond(own, places, name, times, path) for name in own.keys()}  # noqa: SIM118
            save_file(found, folder / path.name, metadata=own.metadata())
    _copy(policy, folder, leaving="*.safetensors")


def _beyond(own: Any, places: Mapping[str, Path], name: str, times: float, path: Path) -> Any:
    """One tensor of the policy, moved on."""
    tensor = own.get_tensor(name)
    if name not in places:
        raise ModelError(f"{path}: has the tensor {name}, which the base has not: it cannot be moved on from there")
    with _opened(places[name]) as reference:
        start = reference.get_tensor(name)
    if start.shape != tensor.shape:
        raise ModelError(
            f"{path}: {name} has the shape {list(tensor.shape)}, the base's has {list(start.shape)}: it cannot be "
            "moved on from there"
        )
    start = start.float()
    found = (start + times * (tensor.float() - start)).to(tensor.dtype)
    if not found.isfinite().all():
        raise ModelError(
            f"{path}: moved on, {name} is beyond what {tensor.dtype} holds. Lower eval.extrapolate, or train with "
            "train.save_dtype bfloat16"
        )
    return found


def _opened(path: Path) -> Any:
    from safetensors import safe_open

    return safe_open(path, "pt")


def _names(path: Path) -> list[str]:
    with _opened(path) as tensors:
        return list(tensors.keys())


def _copy(policy: Path, folder: Path, leaving: str) -> None:
    for path in policy.iterdir():
        if path.is_file() and not path.match(leaving):
            shutil.copyfile(path, folder / path.name)
