"""listing: the tables of files inside the documentation, made from the files themselves and from dvc.yaml."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click

from pairloop.files import records
from stages import common

ROOT = Path(__file__).parents[1]
ORDER = (
    *("errors", "params", "files", "models", "work", "measures", "prompts", "samplers"),
    *("rankers", "pairing", "training", "evaluation", "report", "cards", "hub", "exporting"),
    *("comparing", "planning", "serving"),
)
"""How the places of pairloop/ stand: as in the loop. A new one belongs here too."""

_MARKED = re.compile(r"(<!-- listing: (\w+) -->\n).*?(<!-- end of listing -->)", re.DOTALL)


@click.command(cls=common.Verb)
@click.argument("pages", type=click.Path(path_type=Path), nargs=-1, required=True)
def main(pages: tuple[Path, ...]) -> None:
    """Renew the tables in PAGES that stand between the comments `listing: NAME` and `end of listing`."""
    for page in pages:
        records.write_text(page, renewed(page.read_text(encoding="utf-8")))


def renewed(text: str) -> str:
    """A page with its tables as they should be."""
    return _MARKED.sub(lambda found: f"{found[1]}\n{_table(found[2])}\n{found[3]}", text)


def _table(name: str) -> str:
    rows: list[tuple[str, ...]]
    match name:
        case "nouns":
            rows = [("place", "what lives there"), *_nouns()]
        case "modules":
            rows = [("module", "what it is"), *_modules()]
        case "verbs":
            rows = [("verb", "what it does"), *_verbs()]
        case _:
            rows = [("file", "made by", "kept by"), *_outs()]
    head, *body = ["| " + " | ".join(row) + " |" for row in rows]
    return "\n".join([head, "|---" * len(rows[0]) + "|", *body]) + "\n"


def _nouns() -> Iterator[tuple[str, str]]:
    """The first level of pairloop/."""
    places = {path.stem: path for path in (ROOT / "pairloop").iterdir() if path.suffix == ".py" or _package(path)}
    for name in sorted(set(places) - {"__init__"}, key=ORDER.index):
        path = places[name]
        yield (f"`{name}.py`", _says(path)) if path.suffix else (f"`{name}/`", _says(path / "__init__.py"))


def _package(path: Path) -> bool:
    return (path / "__init__.py").is_file()


def _modules() -> Iterator[tuple[str, str]]:
    """Every module of pairloop/ below the first level."""
    for path in sorted((ROOT / "pairloop").rglob("*.py"), key=_place):
        name = path.relative_to(ROOT / "pairloop").as_posix()
        if name.count("/") > name.endswith("/__init__.py"):
            yield f"`{name.removesuffix('__init__.py')}`", _says(path)


def _place(path: Path) -> tuple[int, str]:
    name = path.relative_to(ROOT / "pairloop").as_posix()
    first = name.split("/")[0].removesuffix(".py")
    return (ORDER.index(first) if first != "__init__" else -1), name.removesuffix("__init__.py")


def _verbs() -> Iterator[tuple[str, str]]:
    for path in sorted((ROOT / "stages").glob("*.py")):
        if path.stem not in ("__init__", "common"):
            name, _, does = _says(path).partition(": ")
            yield f"`{name}`", does


def _says(path: Path) -> str:
    """The first sentence of a module's docstring."""
    text = " ".join((ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or "").split("\n\n")[0].split())
    return text.partition(". ")[0].rstrip(".").replace("|", "\\|")


def _outs() -> Iterator[tuple[str, ...]]:
    """Every file and folder that a stage makes, n for an iteration; git keeps what DVC does not."""
    import yaml

    for stage, body in yaml.safe_load((ROOT / "dvc.yaml").read_text(encoding="utf-8"))["stages"].items():
        own = body.get("do", body)
        for out in (entry for kind in ("outs", "plots", "metrics") for entry in own.get(kind, [])):
            path, settings = _out(out)
            shown = re.sub(r"\$\{(key|item)\}", "n", path)
            yield f"`{shown}`", f"`{stage}`", "DVC" if settings.get("cache", True) else "git"


def _out(entry: Any) -> tuple[str, dict[str, Any]]:
    """An out's path and what dvc.yaml says of it."""
    return next(iter(entry.items())) if isinstance(entry, dict) else (entry, {})


if __name__ == "__main__":
    main()
