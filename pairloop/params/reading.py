"""The text of a parameter file, read so that all its readers read the same.

Readers of YAML differ: PyYAML takes `5e-7` for a text, which DVC and Hydra read as the number it is, and Hydra takes
`010` for 8 and `on` for true, which DVC does not. Here the number is a number, and what those two disagree about is a
text, which `params.parse` then refuses by name.
"""

import re
from collections.abc import Hashable
from typing import Any, ClassVar

import yaml

from pairloop.errors import DataError

REMEDY = "`git diff {file}` shows what changed, `git checkout {file}` brings the committed one back"

_FLOAT = r"[-+]?(\.[0-9]+|[0-9]+\.[0-9]*|[0-9]+(?=[eE]))([eE][-+]?[0-9]+)?|[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)"
_PLAIN = {
    "null": ("~|null|Null|NULL|", ["~", "n", "N", ""]),
    "bool": ("true|True|TRUE|false|False|FALSE", list("tTfF")),
    "int": ("[-+]?(0|[1-9][0-9]*)", list("-+0123456789")),
    "float": (_FLOAT, list("-+0123456789.")),
}


class _Loader(yaml.SafeLoader):
    """PyYAML's loader with the plain words of YAML 1.2's core schema, where each key stands once."""

    yaml_implicit_resolvers: ClassVar[dict[str, Any]] = {}

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        lines: dict[str, int] = {}
        for key, _ in node.value:
            if isinstance(key, yaml.ScalarNode):
                line = key.start_mark.line + 1
                if first := lines.get(key.value):
                    raise DataError(f"line {line}: {key.value} stands here again, after line {first}. Keep one of them")
                lines[key.value] = line
        found: dict[Hashable, Any] = super().construct_mapping(node, deep)
        return found


for _name, (_pattern, _first) in _PLAIN.items():
    _Loader.add_implicit_resolver(f"tag:yaml.org,2002:{_name}", re.compile(f"^(?:{_pattern})$"), _first)


def mapping(text: str, file: str) -> dict[str, Any]:
    """The sections that a file holds.

    Args:
        text: the file's content.
        file: its name, for messages.

    Raises:
        DataError: the text is empty, no YAML, no mapping, or has a key twice in one place; names the line.
    """
    remedy = REMEDY.format(file=file)
    try:
        values = yaml.load(text, _Loader)
    except DataError as error:
        raise DataError(f"{file}, {error.message}.") from None
    except yaml.YAMLError as error:
        raise DataError(f"{file}{_where(error)}: {_fault(error, text)}. {remedy}.") from None
    if values is None:
        raise DataError(f"{file} is empty: it must hold sections such as `train:`. {remedy}.")
    if not isinstance(values, dict):
        kind = "a list" if isinstance(values, list) else "a text" if isinstance(values, str) else "a single value"
        raise DataError(f"{file} holds {kind}: it must hold a mapping of sections, such as `train:`. {remedy}.")
    return values


def _where(error: yaml.YAMLError) -> str:
    mark = getattr(error, "problem_mark", None)
    return f", line {mark.line + 1}" if mark else ""


def _fault(error: yaml.YAMLError, text: str) -> str:
    """What is wrong with the line that the parser stopped at."""
    mark = getattr(error, "problem_mark", None)
    if mark and text[mark.index : mark.index + 1] == "\t":
        return "there is a tab, but YAML is indented with spaces"
    return f"this is no valid YAML ({getattr(error, 'problem', None) or 'a character that no text holds'})"
