"""Zones as rows for other engines: stretches of pixels with covered fractions, as Arrow."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from zoneraster._build import ChunkCells, chunk_cells
from zoneraster._grid import Window
from zoneraster._store import PixelRule, Snapshot, open_finished, read_zone_table
from zoneraster.arrays import Ints
from zoneraster.blobs import Location, Options, StoreLike
from zoneraster.errors import ZonesError, name_some

_SCHEMA = pa.schema(
    [
        ("zone_id", pa.uint32()),
        ("row", pa.int64()),
        ("col0", pa.int64()),
        ("col1", pa.int64()),
        ("fraction", pa.float64()),
    ]
)


def cells(
    store: StoreLike,
    *,
    pixels: PixelRule | None = None,
    window: Window | tuple[int, int, int, int] | None = None,
    zones: Sequence[object] | None = None,
    storage_options: Options = None,
) -> pa.RecordBatchReader:
    """The pixels of all zones, as stretches of rows, chunk by chunk.

    Each zone has all pixels that it claims, whatever lies over it.

    Parameters
    ----------
    store : path or URL
        A finished store.
    pixels : {"centre", "touched", "fraction"}, optional
        Which pixels a zone has: those whose centre it holds, those that it touches, or all that it
        covers a part of, with the part. By default those that the store was burned by.
    window : Window or (row0, row1, col0, col1), optional
        Rows and columns of the grid, half-open.
    zones : sequence of keys, optional
        Only these zones.
    storage_options : mapping, optional
        For fsspec.

    Returns
    -------
    pyarrow.RecordBatchReader
        `zone_id` (uint32), `row`, `col0`, `col1` (int64, of the grid, half-open) and `fraction`
        (float64, in (0, 1]; 1 for stretches of more than a pixel). A batch for each chunk, read as
        it is asked for; within one by zone, row and column.

    Raises
    ------
    OptionError, StoreError, ZonesError

    Examples
    --------
    >>> import geopandas, shapely
    >>> import zoneraster as zr
    >>> zones = geopandas.GeoDataFrame(geometry=[shapely.box(1, 1.5, 3.25, 3)], crs=4326)
    >>> path = getfixture("tmp_path") / "zones.zarr"
    >>> report = zr.build(zones, path, grid=zr.Grid.from_bounds((0, 0, 4, 4), 1))
    >>> zr.cells(path, pixels="fraction").read_pandas()
       zone_id  row  col0  col1  fraction
    0        1    1     1     3     1.000
    1        1    1     3     4     0.250
    2        1    2     1     2     0.500
    3        1    2     2     3     0.500
    4        1    2     3     4     0.125
    """
    location = Location.of(store, storage_options)
    plan = open_finished(location, cure="finish the build first")
    rule = pixels or plan.spec.own_rule
    plan.spec.check_rule(location, rule)
    asked = _Asked(
        rule,
        None if window is None else window if isinstance(window, Window) else Window(*window),
        None if zones is None else _ids_of(location, zones),
    )
    return pa.RecordBatchReader.from_batches(_SCHEMA, _batches(plan, asked))


@dataclass(frozen=True, slots=True, eq=False)
class _Asked:
    """What of a chunk is wanted: by which rule, where, and of which zones (ids)."""

    pixels: PixelRule
    window: Window | None
    zones: Ints | None

    def of(self, found: ChunkCells) -> ChunkCells:
        """The stretches that are wanted, cut to the window."""
        keep = np.ones(found.row.size, bool)
        if self.zones is not None:
            keep &= np.isin(found.zone_id, self.zones)
        if self.window is not None:
            w = self.window
            keep &= (found.row >= w.row0) & (found.row < w.row1)
            keep &= (found.col0 < w.col1) & (found.col1 > w.col0)
            found = found._replace(
                col0=np.maximum(found.col0, w.col0), col1=np.minimum(found.col1, w.col1)
            )
        return found if keep.all() else found.take(keep)


def _batches(plan: Snapshot, asked: _Asked) -> Iterator[pa.RecordBatch]:
    """A batch for each chunk that has something."""
    cut = plan.spec.chunking
    with plan.open_manifest() as manifest:
        for chunks in plan.batches.values():
            records = None
            for chunk in chunks:
                own = cut.chunk_window(chunk.row, chunk.col)
                if asked.window is not None and own.intersect(asked.window) is None:
                    continue
                # Hashed to this plan: where another has come since, that is an error.
                if records is None:
                    records = manifest.records(chunk.row_group)
                found = asked.of(chunk_cells(plan, records, chunk, asked.pixels))
                if found.row.size:
                    yield pa.record_batch(
                        [found.zone_id.astype(np.uint32), *found[1:]], schema=_SCHEMA
                    )


def _ids_of(location: Location, keys: Sequence[object]) -> Ints:
    """Ids of zones by their keys, which may be texts of numbers.

    Raises
    ------
    ZonesError
        Naming those that the store does not have.
    """
    table, name = read_zone_table(location)
    known = dict(zip(table[name].to_pylist(), table["zone_id"].to_pylist(), strict=True))
    if pa.types.is_integer(table[name].type):
        known |= {str(key): zone for key, zone in known.items()}
    unknown = [key for key in keys if key not in known]
    if unknown:
        raise ZonesError(
            f"{location} has no zones {name_some(unknown)}: its keys are those of {name!r}, "
            f"{table[name].type}"
        )
    return np.array([known[key] for key in keys], np.int64)
