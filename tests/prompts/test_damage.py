"""Prompts of one's own in a damaged parquet file."""

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pairloop.errors import DataError
from pairloop.prompts import sources


@pytest.mark.parametrize("checksums", [True, False])
def test_damaged_text_is_refused(tmp_path: Path, checksums: bool) -> None:
    path = tmp_path / "own.parquet"
    table = pa.table({"prompt": ["Why is the sky blue?"]})
    settings = {"compression": "none", "use_dictionary": False, "write_statistics": False}
    pq.write_table(table, path, write_page_checksum=checksums, **settings)
    flipped = b"Why \x60s" if checksums else b"Why \xe9s"  # `\xe9` begins a character that does not go on
    path.write_bytes(path.read_bytes().replace(b"Why is", flipped))
    with pytest.raises(DataError, match=r"own\.parquet: cannot be read as parquet"):
        sources.read_prompts(str(path), "train")
