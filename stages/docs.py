"""docs: docs/parameters.md and conf/params.schema.json, made from the models that define the parameters."""

import inspect
import json
from pathlib import Path
from typing import Any

import click
from pydantic.fields import FieldInfo
from pydantic.json_schema import GenerateJsonSchema

from pairloop import params as parameters
from pairloop.files import records
from pairloop.params import checking
from pairloop.params.settings import Section
from stages import common

HEAD = """# Parameters

Everything that decides a run stands in `params.yaml`. Change a value there and run `dvc repro`, or run
`dvc exp run -S train.beta=0.05`. To change one iteration only: `dvc exp run -S '++overrides.2.train.beta=0.3'`
(sections generate, rank, pair and train). Unknown keys and values out of range are refused before anything runs.

This page is made by `make docs` from `pairloop/params/`, and so is `conf/params.schema.json`, by which an editor with a
YAML language server completes and checks `params.yaml` (VS Code with its YAML extension: `.vscode/settings.json`).
"""


@click.command(cls=common.Verb)
@click.argument("page", type=Path)
@click.argument("json_schema", metavar="SCHEMA", type=Path)
def main(page: Path, json_schema: Path) -> None:
    """Write the reference of all parameters to PAGE, and their JSON schema to SCHEMA."""
    records.write_text(page, render())
    records.write_text(json_schema, schema())


def render() -> str:
    """The page in Markdown: a table for each section."""
    parts = [HEAD, _section("Top level", parameters.Params, "")]
    parts += [_section(f"`{name}`", section, f"{name}.") for name, section in parameters.sections()]
    return "\n".join(parts)


def schema() -> str:
    """The JSON schema of params.yaml, which an editor completes and checks by."""
    found = parameters.Params.model_json_schema(schema_generator=_WithoutTitles)
    changes = {
        step: {"$ref": f"#/$defs/{dict(parameters.sections())[step].__name__}"} for step in parameters.OVERRIDABLE
    }
    found["properties"]["overrides"] = {
        "description": "What differs in single iterations: their numbers, in quotes, with sections and values.",
        "type": "object",
        "additionalProperties": False,
        "patternProperties": {
            "^[1-9][0-9]*$": {"type": "object", "additionalProperties": False, "properties": changes}
        },
    }
    found["properties"]["schedule"] = {
        "description": "Follows from `iterations` and `overrides`: `dvc exp run` writes it, and nobody else.",
        "type": "object",
    }
    found["properties"]["defaults"] = {
        "description": "Of a recipe only: the recipes that it starts from, and `_self_`, where its own values stand.",
        "type": "array",
        "items": {"type": "string"},
    }
    dialect = {"$schema": "https://json-schema.org/draft/2020-12/schema"}
    return json.dumps(dialect | found, indent=2, ensure_ascii=False) + "\n"


class _WithoutTitles(GenerateJsonSchema):
    """Fields under their own names: a title would only repeat them."""

    def field_title_should_be_set(self, schema: Any) -> bool:
        """Never."""
        return False


def _section(title: str, section: type[Section], prefix: str) -> str:
    rows = [
        f"| `{prefix}{name}` | {_shown(field.get_default(call_default_factory=True))} | {checking.allowed(field)} | "
        f"{_meaning(field)} |"
        for name, field in section.model_fields.items()
        if checking.subsection(field) is None
    ]
    about = "" if section is parameters.Params else f"{inspect.getdoc(section)}\n\n"
    return (
        f"## {title}\n\n{about}| parameter | default | allowed | meaning |\n|---|---|---|---|\n"
        + "\n".join(rows)
        + "\n"
    )


def _meaning(field: FieldInfo) -> str:
    return " ".join((field.description or "").split()).replace("|", "\\|")


def _shown(default: Any) -> str:
    if default is None:
        return "null"
    if isinstance(default, bool):
        return str(default).lower()
    if isinstance(default, dict):
        return ", ".join(f"{name}: {value}" for name, value in default.items())
    return ", ".join(map(str, default)) if isinstance(default, tuple) else str(default)


if __name__ == "__main__":
    main()
