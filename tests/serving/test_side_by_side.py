"""Texts beside each other: lines of one width, and no text that does anything to a terminal."""

import pytest

from pairloop.serving.side_by_side import harmless, render

LONG = "One two three four five six seven eight nine ten. " * 6


def test_two_columns_fill_the_terminal_and_lose_no_word() -> None:
    lines = render([("base", LONG), ("iteration_3", "Short.")], 100).splitlines()
    assert max(map(len, lines)) <= 100 and lines[0].split() == ["base", "│", "iteration_3"]
    assert len({line.index("│") for line in lines if "│" in line}) == 1
    left = " ".join(line.split("│")[0].strip() for line in lines[2:])
    assert left.split() == LONG.split() and lines[2].split("│")[1].strip() == "Short."


def test_under_80_columns_they_stand_under_each_other() -> None:
    found = render([("base", LONG), ("iteration_3", "Short.")], 79)
    assert "│" not in found and found.index("ten.") < found.index("iteration_3") < found.index("Short.")
    assert max(map(len, found.splitlines())) <= 79


def test_wide_characters_take_the_two_places_that_a_terminal_gives_them() -> None:
    from rich.cells import cell_len

    lines = render([("base", "日本語" * 30), ("iteration_3", "é" * 60)], 80).splitlines()
    assert len({cell_len(line.split("│")[0]) for line in lines if "│" in line}) == 1
    assert max(map(cell_len, lines)) <= 80


@pytest.mark.parametrize("hostile", ["\x1b[2J", "\x1b]0;title\x07", "\x9b31m", "a\bb", "\u202egnp", "\x7f", "a\rb"])
def test_no_control_character_reaches_the_terminal(hostile: str) -> None:
    found = render([(hostile, hostile), ("iteration_3", hostile)], 100) + harmless(hostile)
    assert not {c for c in found if (ord(c) < 32 and c != "\n") or 127 <= ord(c) < 160 or c == "\u202e"}


def test_what_was_a_control_character_is_seen() -> None:
    assert harmless("a\x1b[31mb\x07\x9bc\r\nd\te") == "a␛[31mb␇\ufffdc\nd   e"


def test_a_text_is_no_markup() -> None:
    assert "[bold]:smile:[/bold]" in render([("base", "[bold]:smile:[/bold]"), ("x", "y")], 100)
