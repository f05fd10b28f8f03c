"""api: docs/api.txt, the public names and signatures of the library, so that a change of them is a visible diff."""

import ast
from collections.abc import Iterator
from pathlib import Path

import click

from pairloop.files import records
from stages import common

ROOT = Path(__file__).parents[1]
HEAD = """The public names of pairloop, made by `make docs`. `...` stands for a value that is not short and plain;
docs/parameters.md has the parameters' defaults.
"""


@click.command(cls=common.Verb)
@click.argument("page", type=Path)
def main(page: Path) -> None:
    """Write the public names and signatures of the library to PAGE."""
    records.write_text(page, render())


def render() -> str:
    """Every module of the library that has public names, with them."""
    parts = [HEAD]
    for path in sorted((ROOT / "pairloop").rglob("*.py")):
        if lines := list(_names(ast.parse(path.read_text(encoding="utf-8")).body)):
            dotted = ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")
            parts.append("\n".join([dotted, *(f"    {line}" for line in lines)]) + "\n")
    return "\n".join(parts)


def _names(body: list[ast.stmt]) -> Iterator[str]:
    """The public names that a module or class defines, in the order of the file."""
    for node in body:
        match node:
            case ast.FunctionDef() | ast.AsyncFunctionDef() if _public(node.name):
                yield from _function(node)
            case ast.ClassDef() if _public(node.name):
                bases = ", ".join(map(ast.unparse, node.bases))
                yield f"class {node.name}({bases})" if bases else f"class {node.name}"
                yield from (f"    {line}" for line in _names(node.body))
            case ast.AnnAssign(target=ast.Name(name)) if _public(name):
                value = f" = {_default(node.value)}" if node.value else ""
                yield f"{name}: {ast.unparse(node.annotation)}{value}"
            case ast.Assign(targets=[ast.Name(name)]) if _public(name):
                yield f"{name} = {_default(node.value)}"


def _public(name: str) -> bool:
    return not name.startswith("_") or name in ("__init__", "__call__")


def _function(node: ast.FunctionDef | ast.AsyncFunctionDef) -> Iterator[str]:
    decorators = {ast.unparse(decorator) for decorator in node.decorator_list}
    if decorators & {"property", "cached_property"}:
        yield f"{node.name}: {ast.unparse(node.returns) if node.returns else '?'}"
        return
    spec = node.args
    spec.defaults = [ast.Name(_default(value)) for value in spec.defaults]
    spec.kw_defaults = [value and ast.Name(_default(value)) for value in spec.kw_defaults]
    returns = f" -> {ast.unparse(node.returns)}" if node.returns else ""
    yield from (f"@{decorator}" for decorator in sorted(decorators))
    yield f"{node.name}({ast.unparse(spec)}){returns}"


def _default(value: ast.expr) -> str:
    """A short plain value, or the type that a name stands for, as it is written; the rest is the library's affair."""
    shown = ast.unparse(value)
    plain = isinstance(value, ast.Constant | ast.UnaryOp | ast.Tuple | ast.Subscript)
    return shown if plain and len(shown) <= 60 else "..."


if __name__ == "__main__":
    main()
