"""commands: docs/commands.md, what every verb says to --help."""

from importlib import import_module
from pathlib import Path

import click

from pairloop.files import records
from stages import common

ROOT = Path(__file__).parents[1]
WIDTH = 100
HEAD = """# Commands

Every verb is a module of `stages/`, and says this to `--help`. `dvc.yaml` shows which the pipeline runs, in order and
with which paths; the others are for people. All are run in the project's root.

This page is made by `make docs`.
"""


@click.command(cls=common.Verb)
@click.argument("page", type=Path)
def main(page: Path) -> None:
    """Write what every verb says to --help to PAGE."""
    records.write_text(page, render())


def render() -> str:
    """The page in Markdown: a section for each verb, in the order of the alphabet."""
    return "\n".join([HEAD, *(_section(path.stem) for path in sorted((ROOT / "stages").glob("*.py")) if _verb(path))])


def _verb(path: Path) -> bool:
    return path.stem not in ("__init__", "common")


def _section(verb: str) -> str:
    helps = list(_helps(import_module(f"stages.{verb}").main, f"python -m stages.{verb}"))
    return f"## {verb}\n\n```text\n" + "\n\n".join(helps) + "\n```\n"


def _helps(command: click.Command, name: str, parent: click.Context | None = None) -> list[str]:
    """A command's help and that of the commands in it; as wide on every terminal."""
    context = click.Context(command, parent, name, terminal_width=WIDTH, max_content_width=WIDTH)
    inner = command.commands if isinstance(command, click.Group) else {}
    return [command.get_help(context), *(text for own, sub in inner.items() for text in _helps(sub, own, context))]


if __name__ == "__main__":
    main()
