"""Files of one JSON object a line."""

from pathlib import Path

import pytest

from pairloop.errors import DataError
from pairloop.files import jsonl


def test_lines_are_named_and_blank_ones_passed_over(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_bytes(b'\xef\xbb\xbf{"a": 1}\n\n  \r\n{"b": 2}')
    assert list(jsonl.lines(path)) == [(f"{path}, line 1", b'{"a": 1}\n'), (f"{path}, line 4", b'{"b": 2}')]


def test_what_cannot_be_opened_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"cannot be read \(Is a directory\)"):
        list(jsonl.lines(tmp_path))


@pytest.mark.parametrize(
    "line", [b'{"a": 1, "b": 2, "a": 1}', b'{"b": {"a": 1, "a": 2}}', b'{"b": [{"a": null, "a": null}]}']
)
def test_a_key_that_stands_there_twice_is_refused_at_any_depth(line: bytes) -> None:
    with pytest.raises(DataError, match="here: the key 'a' stands there more than once"):
        jsonl.parse(line, "here", "{}")


def test_all_wrong_rows_are_refused_together() -> None:
    def convert(number: int) -> int:
        if number % 2:
            raise DataError(f"{number} is odd")
        return number // 2

    assert jsonl.each([2, 4], convert) == [1, 2]
    with pytest.raises(DataError) as refused:
        jsonl.each(range(50), convert)
    assert refused.value.message.splitlines() == [*(f"{n} is odd" for n in range(1, 40, 2)), "and 5 rows more"]
