"""Model files that transformers 4 and 5 read alike: version 5 writes what version 4 passes over without a word.

Version 4 takes the base of rotary positions from the top of config.json and knows no tokenizer class of version 5.
"""

from pathlib import Path
from typing import Any

from pairloop.files.records import read_json, write_json

_TOKENIZER_CLASSES = {"TokenizersBackend": "PreTrainedTokenizerFast"}
"""Names of version 5, and of version 4 for the same, which version 5 knows too."""


def make(folder: Path) -> None:
    """Complete the config.json and tokenizer_config.json of a folder, where there are such, for both versions."""
    for name, complete in (("config.json", _positions), ("tokenizer_config.json", _tokenizer)):
        path = folder / name
        if path.is_file():
            write_json(path, complete(read_json(path)))


def _positions(config: dict[str, Any]) -> dict[str, Any]:
    """The configuration with its `rope_parameters` also where version 4 looks for them, those of its parts included."""
    parts = {name: _positions(part) if isinstance(part, dict) else part for name, part in config.items()}
    found = parts.get("rope_parameters") or {}
    if "rope_theta" not in found:  # none, or some for each kind of layer, for which version 4 has no common form
        return parts
    top = {name: found[name] for name in ("rope_theta", "partial_rotary_factor") if name in found}
    if found.get("rope_type", "default") != "default":
        top["rope_scaling"] = {name: value for name, value in found.items() if name not in top}
    return dict(sorted((parts | top).items()))


def _tokenizer(config: dict[str, Any]) -> dict[str, Any]:
    named = config.get("tokenizer_class")
    config = config | ({"tokenizer_class": _TOKENIZER_CLASSES[named]} if named in _TOKENIZER_CLASSES else {})
    if isinstance(config.get("extra_special_tokens"), list):  # a mapping in version 4, which reads lists by this name
        config["additional_special_tokens"] = config.pop("extra_special_tokens")
    return config
