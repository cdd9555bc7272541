"""GeoDataFrames as zones."""

from __future__ import annotations

import hashlib
import io
from typing import Any

import numpy as np
import pyarrow as pa

from zoneraster._zones.columns import kept_columns
from zoneraster._zones.sources import Source, with_crs
from zoneraster._zones.wkb import wkb_of
from zoneraster.errors import ZonesError


def from_frame(frame: Any) -> Source:  # Any: geopandas has no types
    """Attributes, index and geometry of a GeoDataFrame."""
    label = "GeoDataFrame"
    try:
        geometry = np.array(frame.geometry, dtype=object)
    except AttributeError as err:
        raise ZonesError("GeoDataFrame has no active geometry: call set_geometry first") from err
    found = Source(label, pa.table({}), wkb_of(geometry), None, geometry, index=_levels(frame))
    is_geometry = [str(dtype) == "geometry" for dtype in frame.dtypes]
    attributes = frame.loc[:, [not one for one in is_geometry]]
    # By place: several columns may have one name.
    columns = [(str(name), column) for name, column in attributes.items()]
    taken = {name for name, _ in columns}
    named = [(name, level) for name, level in found.index if name is not None]
    # A column of an index is one of the table, too, so that it can be asked for by its name.
    columns = [*((name, level) for name, level in named if name not in taken), *columns]
    return with_crs(kept_columns(found, columns), frame.crs)


def _levels(frame: Any) -> tuple[tuple[str | None, pa.ChunkedArray], ...]:
    """Names and values of the levels of a frame's index."""
    index = frame.index
    levels = []
    for at in range(index.nlevels):
        values, name = index.get_level_values(at), index.names[at]
        try:
            array = pa.array(values, from_pandas=True)
        except Exception:  # noqa: BLE001 - whatever its objects make Arrow raise
            array = pa.nulls(len(values))  # refused where it is the key
        column = array if isinstance(array, pa.ChunkedArray) else pa.chunked_array([array])
        levels.append((None if name is None else str(name), column))
    return tuple(levels)


def frame_digest(found: Source) -> str:
    """Hash of attributes, index, geometry and reference system."""
    digest = hashlib.blake2b(digest_size=16)
    digest.update((found.crs.to_wkt() if found.crs is not None else found.said_crs).encode())

    class Sink(io.RawIOBase):
        """Feeds the hash with what is written."""

        def writable(self) -> bool:
            return True

        def write(self, data: Any) -> int:  # Any: whatever has a buffer
            digest.update(data)
            return memoryview(data).nbytes

    index = pa.Table.from_arrays(
        [column for _, column in found.index], names=[str(name) for name, _ in found.index]
    )
    # As streams of Arrow, which have types and names, and the categories of a categorical, too.
    for table in (pa.table({"geometry": found.wkb}), index, found.table.combine_chunks()):
        with pa.ipc.new_stream(pa.PythonFile(Sink(), "w"), table.schema) as stream:
            stream.write_table(table)
    digest.update("\n".join(found.notes).encode())
    return digest.hexdigest()
