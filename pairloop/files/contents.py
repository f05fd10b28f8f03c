"""What a parquet file holds, in the numbers by which a data set's card tells it from another."""

from dataclasses import dataclass
from pathlib import Path

from pairloop.files import records


@dataclass(frozen=True)
class Content:
    """The size and the checksum of one file."""

    num_examples: int
    """Rows."""

    num_bytes: int
    """Bytes of the rows in Arrow's memory layout, as the datasets library counts them when it loads the file."""

    sha256: str
    """Of the file, in hex."""


def content(path: Path) -> Content:
    """Read a file that `records.write` wrote, a group of rows at a time."""
    import pyarrow.parquet as pq

    with pq.ParquetFile(path) as file:
        num_bytes = sum(batch.nbytes for batch in file.iter_batches(records.ROW_GROUP))
        num_examples = file.metadata.num_rows
    return Content(num_examples, num_bytes, records.file_sha256(path))
