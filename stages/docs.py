"""docs: docs/parameters.md, made from the dataclasses that define the parameters."""

import ast
import dataclasses
import inspect
import textwrap
from pathlib import Path
from typing import Any

import click

from pairloop import params as parameters
from pairloop.files import records
from stages import common

HEAD = """# Parameters

Everything that decides a run stands in `params.yaml`. Change a value there and run `dvc repro`, or run
`dvc exp run -S train.beta=0.05`. To change one iteration only: `dvc exp run -S '++overrides.2.train.beta=0.3'`
(sections generate, rank, pair and train). Unknown keys and values out of range are refused before anything runs.

This page is made by `make docs` from `pairloop/params/`.
"""


@click.command(cls=common.Verb)
@click.argument("page", type=Path)
def main(page: Path) -> None:
    """Write the reference of all parameters to PAGE."""
    records.write_text(page, render())


def render() -> str:
    """The page in Markdown: a table for each section."""
    parts = [HEAD, _section("Top level", parameters.Params, "")]
    parts += [_section(f"`{name}`", section, f"{name}.") for name, section in parameters.sections()]
    return "\n".join(parts)


def _section(title: str, section: Any, prefix: str) -> str:
    meanings = _docstrings(section)
    rows = [
        f"| `{prefix}{field.name}` | {_shown(_default(field))} | {field.metadata['allowed']} | {meanings[field.name]} |"
        for field in dataclasses.fields(section)
        if field.metadata
    ]
    about = "" if section is parameters.Params else f"{inspect.getdoc(section)}\n\n"
    return (
        f"## {title}\n\n{about}| parameter | default | allowed | meaning |\n|---|---|---|---|\n"
        + "\n".join(rows)
        + "\n"
    )


def _docstrings(section: Any) -> dict[str, str]:
    """The text under each field, which Python itself does not keep."""
    body = ast.parse(textwrap.dedent(inspect.getsource(section))).body[0]
    assert isinstance(body, ast.ClassDef)
    found = {}
    for field, text in zip(body.body, body.body[1:], strict=False):
        if isinstance(field, ast.AnnAssign) and isinstance(field.target, ast.Name) and isinstance(text, ast.Expr):
            found[field.target.id] = " ".join(str(ast.literal_eval(text.value)).split()).replace("|", "\\|")
    return found


def _default(field: "dataclasses.Field[Any]") -> Any:
    factory: Any = field.default_factory
    return field.default if factory is dataclasses.MISSING else factory()


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
