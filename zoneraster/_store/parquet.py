"""Tables as Parquet objects: one way to make them, one way to get them."""

from __future__ import annotations

import io
from collections.abc import Sequence

import pyarrow as pa
import pyarrow.parquet as pq

from zoneraster.blobs import Blobs
from zoneraster.errors import ZonesError, told_as


def table_bytes(table: pa.Table) -> bytes:
    """A table as one Parquet object.

    Raises
    ------
    ZonesError
        Naming a column of a type that Parquet does not have.
    """
    sink = io.BytesIO()
    try:
        pq.write_table(table, sink, compression="zstd", compression_level=1)
    except (pa.ArrowException, OSError) as err:
        for name, column in zip(table.column_names, table.columns, strict=True):
            with told_as(
                ZonesError,
                f"column {name!r} of type {column.type} cannot be stored as Parquet",
                "convert it to another type, or leave it out",
            ):
                pq.write_table(pa.table([column], names=[name]), io.BytesIO())
        raise ZonesError(f"the table cannot be stored as Parquet: {err}") from err
    return sink.getvalue()


def get_table(blobs: Blobs, key: str, *, columns: Sequence[str] | None = None) -> pa.Table:
    """Get a table, or some of its columns; FileNotFoundError when there is none."""
    return pq.read_table(pa.BufferReader(blobs.get(key)), columns=columns)
