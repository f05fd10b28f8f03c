"""The files between the steps."""

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pairloop.errors import DataError, PairloopError
from pairloop.files import records

RESPONSE = {
    "prompt_id": "a",
    "prompt": "p",
    "responses": ["x", "y"],
    "finish_reasons": ["stop", "length"],
    "token_counts": [1, 2],
    "token_ids": [[5], [6, 7]],
    "logps": [[-0.5], [-1.5, -0.25]],
}
CONTENT = b"pairloop.rows.sha256"
MESSAGES = pa.list_(pa.struct([("content", pa.string()), ("role", pa.string())]))


def test_splits_have_exactly_the_columns_of_the_published_data_set(tmp_path: Path) -> None:
    records.write(tmp_path / "split.parquet", records.PAIR, [])
    assert pq.read_schema(tmp_path / "split.parquet") == pa.schema(
        [
            ("prompt_id", pa.string()),
            ("prompt", pa.string()),
            ("chosen", MESSAGES),
            ("rejected", MESSAGES),
            ("all_generated_responses", pa.list_(pa.string())),
            ("all_rm_scores", pa.list_(pa.float64())),
        ]
    )


def test_the_other_formats_keep_their_columns(tmp_path: Path) -> None:
    assert list(records.PROMPT) == ["prompt_id", "prompt", "source", "constraints"]
    assert list(records.TEXT) == ["prompt_id", "prompt", "responses", "finish_reasons", "token_counts"]
    assert list(records.RESPONSE) == [*records.TEXT, "token_ids", "logps"]
    assert list(records.RANKING) == [*records.TEXT, "scores", "ranker", "comparisons"]
    settings = ["temperature", "best_of", "moved_on", "logps"]
    assert list(records.ANSWER) == [*records.PROMPT, *list(records.TEXT)[2:], *settings, "judged"]
    assert list(records.INSTRUCTED) == ["key", *records.TEXT, "instructions", "strict", "loose"]


def test_what_is_written_is_read_again_and_gives_the_same_bytes(tmp_path: Path) -> None:
    for name in ("a", "b"):
        assert records.write(tmp_path / name, records.RESPONSE, [[RESPONSE], [RESPONSE, RESPONSE]]) == 3
    assert records.read(tmp_path / "a", records.RESPONSE) == [RESPONSE] * 3
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


def test_the_bytes_do_not_depend_on_the_batches(tmp_path: Path) -> None:
    rows = [RESPONSE | {"prompt_id": str(n)} for n in range(600)]
    records.write(tmp_path / "a", records.RESPONSE, [rows])
    records.write(tmp_path / "b", records.RESPONSE, [rows[start : start + 7] for start in range(0, 600, 7)])
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()
    for batch_rows in (7, 256, 1000):
        assert [row for batch in records.stream(tmp_path / "a", records.RESPONSE, batch_rows) for row in batch] == rows


def test_what_a_killed_writer_left_is_cleared_away_by_the_next(tmp_path: Path) -> None:
    left = tmp_path / ".responses.parquet.0123.partial"
    left.write_bytes(b"half")
    records.write(tmp_path / "responses.parquet", records.RESPONSE, [[RESPONSE]])
    assert [path.name for path in tmp_path.iterdir()] == ["responses.parquet"]


def test_a_missing_damaged_or_foreign_file_is_named(tmp_path: Path) -> None:
    path = tmp_path / "responses.parquet"
    with pytest.raises(DataError, match=r"responses\.parquet: no such file"):
        records.read(path, records.RESPONSE)
    records.write(path, records.RESPONSE, [[RESPONSE]])
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(DataError, match=r"responses\.parquet: cannot be read as parquet"):
        records.read(path, records.RESPONSE)
    path.write_bytes(whole[:100] + bytes(100) + whole[200:])
    with pytest.raises(DataError, match=r"responses\.parquet"):
        records.read(path, records.RESPONSE)
    pq.write_table(pa.Table.from_pylist([RESPONSE], schema=records.arrow_schema(records.RESPONSE)), path)
    path.write_bytes(path.read_bytes().replace(b"length", b"\xff\xffngth"))
    with pytest.raises(DataError, match=r"responses\.parquet: cannot be read as parquet \(.*utf-8"):
        records.read(path, records.RESPONSE)
    records.write(path, records.PROMPT, [])
    with pytest.raises(DataError, match=r"has the columns .* but prompt_id, prompt, responses, .* are needed"):
        records.read(path, records.RESPONSE)


def test_a_row_that_breaks_the_format_is_named(tmp_path: Path) -> None:
    path = tmp_path / "responses.parquet"
    records.write(path, records.RESPONSE, [[RESPONSE, RESPONSE | {"token_counts": [1]}]])
    with pytest.raises(DataError, match="row 1: 2 responses but 1 token_counts"):
        records.read(path, records.RESPONSE)
    records.write(path, records.RESPONSE, [[RESPONSE | {"token_ids": [[5], [6]]}]])
    with pytest.raises(DataError, match="row 0: token_ids has not token_counts' lengths"):
        records.read(path, records.RESPONSE)
    records.write(path, records.RESPONSE, [[RESPONSE | {"logps": None}]])
    assert records.read(path, records.RESPONSE)[0]["logps"] is None
    records.write(path, records.RESPONSE, [[RESPONSE | {"prompt": None}]])
    with pytest.raises(DataError, match="row 0: prompt is null"):
        records.read(path, records.RESPONSE)


def test_a_write_that_fails_leaves_the_file_of_before(tmp_path: Path) -> None:
    path = tmp_path / "responses.parquet"
    records.write(path, records.RESPONSE, [[RESPONSE]])
    before = path.read_bytes()

    def broken() -> object:
        yield [RESPONSE]
        raise OSError(28, "No space left on device")

    with pytest.raises(PairloopError, match="the disk is full"):
        records.write(path, records.RESPONSE, broken())
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


def many_rows() -> list[records.Row]:
    words = ["the", "of", "a", "model", "answers", "prompt", "river", "stone", "light", "é", "日本", "😀"]
    return [
        RESPONSE | {"prompt_id": f"{number:064x}", "responses": [" ".join(words[number % 7 :] * 9), words[number % 5]]}
        for number in range(300)
    ]


def test_no_flipped_bit_is_read_as_other_rows(tmp_path: Path) -> None:
    path = tmp_path / "responses.parquet"
    rows = many_rows()
    records.write(path, records.RESPONSE, [rows])
    whole = path.read_bytes()
    for place in range(0, len(whole), max(1, len(whole) // 400)):
        path.write_bytes(whole[:place] + bytes([whole[place] ^ 1 << place % 8]) + whole[place + 1 :])
        try:
            assert records.read(path, records.RESPONSE) == rows, place
        except DataError as error:
            assert str(path) in error.message and "python -m stages.check" in error.message


def test_rows_that_another_hand_has_changed_are_noticed_by_the_content_checksum(tmp_path: Path) -> None:
    path = tmp_path / "responses.parquet"
    records.write(path, records.RESPONSE, [[RESPONSE]])
    table, checksum = pq.read_table(path), pq.read_metadata(path).metadata[CONTENT]
    changed = pa.Table.from_pylist([RESPONSE | {"prompt": "q"}], schema=table.schema)
    with pq.ParquetWriter(path, changed.schema) as writer:
        writer.write_table(changed)
        writer.add_key_value_metadata({CONTENT: checksum})
    with pytest.raises(DataError, match=r"responses\.parquet: is damaged: its rows are not those that were written"):
        records.read(path, records.RESPONSE)


def test_a_whole_number_among_scores_is_the_same_content_when_read(tmp_path: Path) -> None:
    text = {name: RESPONSE[name] for name in records.TEXT}
    row = text | {"scores": [1, 0.5], "ranker": "r", "comparisons": None}
    records.write(tmp_path / "rankings.parquet", records.RANKING, [[row]])
    assert records.read(tmp_path / "rankings.parquet", records.RANKING) == [row]


def test_parquet_by_others_is_read_without_the_checksum(tmp_path: Path) -> None:
    table = pa.Table.from_pylist([RESPONSE], schema=records.arrow_schema(records.RESPONSE))
    pq.write_table(table, tmp_path / "responses.parquet")
    assert records.read(tmp_path / "responses.parquet", records.RESPONSE) == [RESPONSE]
