"""Texts beside each other on a terminal, none of which can do anything to it."""

import io
import re
from collections.abc import Sequence

NARROW = 80
"""Columns of a terminal below which texts stand under each other."""

_LINES = re.compile("\r\n|[\r\u2028\u2029\x85\x0b\x0c]")
_CONTROLS = re.compile("[\x00-\x08\x0e-\x1f\x7f-\x9f\u200e\u200f\u202a-\u202e\u2066-\u2069]")
"""What moves the cursor, colours, clears or renames a terminal, or turns the direction of what follows."""


def harmless(text: str) -> str:
    """The text with a visible sign for each control character but line feeds, and spaces for tabs."""
    return _CONTROLS.sub(_sign, _LINES.sub("\n", text)).expandtabs(4)


def _sign(found: "re.Match[str]") -> str:
    code = ord(found[0])
    return chr(0x2400 + code) if code < 0x20 else "\u2421" if code == 0x7F else "\ufffd"


def render(columns: Sequence[tuple[str, str]], width: int) -> str:
    """Titles and the texts under them: beside each other, as wide as each other, or one after the other.

    Args:
        columns: titles and texts, which may hold anything.
        width: of the terminal, in columns.
    """
    if width < NARROW:
        return "\n\n".join(_drawn([column], width) for column in columns)
    return _drawn(columns, width)


def _drawn(columns: Sequence[tuple[str, str]], width: int) -> str:
    from rich import box
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(box=box.MINIMAL, width=width, show_edge=False, padding=(0, 1), pad_edge=False)
    for title, _ in columns:
        table.add_column(Text(harmless(title)), ratio=1, overflow="fold")
    table.add_row(*(Text(harmless(text)) for _, text in columns))
    paper = io.StringIO()
    Console(file=paper, width=width, color_system=None, legacy_windows=False).print(table)
    return "\n".join(line.rstrip() for line in paper.getvalue().splitlines())
