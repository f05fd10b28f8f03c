"""Whether a model can go through the loop: what would stop it hours later is refused where the model is named."""

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from pairloop.errors import DataError, ModelError
from pairloop.files.records import read_json
from pairloop.models import chat, references


def check(reference: str, folder: Path, targets: Sequence[str] | None = None) -> None:
    """Refuse a base that cannot be loaded, prompted, sampled from or trained.

    Args:
        reference: as in `base.model`, for messages.
        folder: where its files lie.
        targets: `train.lora_target_modules`; None asks for nothing.

    Raises:
        ModelError: says what is wrong and what to do.
    """
    _check_weights(reference, folder)
    model = references.skeleton(folder)
    rows = int(model.get_input_embeddings().weight.shape[0])
    _check_tokens(reference, folder, references.load_tokenizer(folder), rows)
    linear = references.linear_names(model)
    if unknown := sorted(set(targets or ()) - set(linear)):
        raise ModelError(
            f"train.lora_target_modules: {reference} has no linear layer {', '.join(unknown)}. It has "
            f"{', '.join(linear)}; null means all of them"
        )


def _check_weights(reference: str, folder: Path) -> None:
    """Every file of weights opens, and all that an index names are there."""
    from safetensors import SafetensorError, safe_open

    for path in sorted(folder.glob("*.safetensors")):
        try:
            with safe_open(path, "pt"):
                pass
        except (SafetensorError, OSError) as error:
            pointer = path.read_bytes()[:40].startswith(b"version https://git-lfs")
            remedy = "It is a pointer of git-lfs: run `git lfs pull` there" if pointer else "Fetch or copy it again"
            raise ModelError(f"{reference}: {path} cannot be opened as safetensors ({error}). {remedy}") from error
    index = folder / "model.safetensors.index.json"
    named = set(_json(index).get("weight_map", {}).values())
    if missing := sorted(name for name in named if not (folder / name).is_file()):
        raise ModelError(f"{reference}: {', '.join(missing)}, which {index} names, is missing. Fetch or copy it again")


def _check_tokens(reference: str, folder: Path, tokenizer: Any, rows: int) -> None:
    """Every token that the loop can use has a row in the embedding."""
    if tokenizer.eos_token_id is None:
        raise ModelError(
            f"{reference}: the tokenizer has no token that ends an answer. Name one as eos_token in its "
            "tokenizer_config.json"
        )
    added = tokenizer.get_added_vocab()  # text never becomes one of these: only the template and the end do
    ordinary = {token: i for token, i in tokenizer.get_vocab().items() if token not in added}
    used = [*chat.encode_exchange(tokenizer, "Hello", "Yes"), chat.end_of_turn(tokenizer)]
    used += [*chat.encode_prompt(tokenizer, "Hello"), tokenizer.eos_token_id, tokenizer.pad_token_id]
    for what, ids in (
        ("the tokenizer's vocabulary", ordinary.values()),
        ("the chat format, the end or the padding", used),
        ("generation_config.json", _stated(folder / "generation_config.json")),
        ("config.json", _stated(folder / "config.json")),
    ):
        if (highest := max(ids, default=0)) >= rows:
            raise ModelError(
                f"{reference}: {what} has token {highest}, but the model's embedding has {rows} rows. Take the "
                "tokenizer that belongs to these weights, or resize the embedding"
            )


def _stated(path: Path) -> Iterable[int]:
    """The ids of special tokens that a configuration states."""
    content = _json(path)
    found = [content.get(name) for name in ("bos_token_id", "eos_token_id", "pad_token_id")]
    return [i for ids in found for i in (ids if isinstance(ids, list) else [ids]) if i is not None]


def _json(path: Path) -> dict[str, Any]:
    """The object in a file; without the file an empty one."""
    try:
        content = read_json(path) if path.is_file() else {}
    except DataError:
        content = None
    if not isinstance(content, dict):
        raise ModelError(f"{path}: is no JSON object. Fetch or copy it again")
    return content
