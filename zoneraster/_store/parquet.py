"""Tables as Parquet objects: one way to put them, one way to get them."""

from __future__ import annotations

import io
from collections.abc import Sequence

import pyarrow as pa
import pyarrow.parquet as pq

from zoneraster.blobs import Blobs


def put_table(blobs: Blobs, key: str, table: pa.Table) -> None:
    """Put a table as one Parquet object."""
    sink = io.BytesIO()
    pq.write_table(table, sink, compression="zstd", compression_level=1)
    blobs.put(key, sink.getvalue())


def get_table(blobs: Blobs, key: str, *, columns: Sequence[str] | None = None) -> pa.Table:
    """Get a table, or some of its columns; FileNotFoundError when there is none."""
    return pq.read_table(pa.BufferReader(blobs.get(key)), columns=columns)
