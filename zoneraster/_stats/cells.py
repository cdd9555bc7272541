"""Zones as rows for other engines: stretches of pixels with covered parts, or pixels with values.

Both are Arrow, read chunk by chunk.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from zoneraster._build import ChunkCells, chunk_cells
from zoneraster._grid import Grid, Window, row_areas
from zoneraster._stats.inputs import ValuesLike, gather_rasters, open_measures
from zoneraster._store import (
    PixelRule,
    Snapshot,
    key_name,
    of_all_layers,
    open_finished,
    read_zone_table,
)
from zoneraster._values import Block, OpenRaster, Placement, pixels_under
from zoneraster.arrays import Floats, Ints
from zoneraster.blobs import Location, Options, StoreLike
from zoneraster.errors import ValuesError, ZonesError, name_some

# Rows of a batch with values, give or take a stretch.
_ROWS = 2**20
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
    values: ValuesLike = None,
    *,
    pixels: PixelRule | None = None,
    window: Window | tuple[int, int, int, int] | None = None,
    zones: Sequence[object] | None = None,
    resample: str | None = None,
    storage_options: Options = None,
) -> pa.RecordBatchReader:
    """The pixels of all zones, chunk by chunk: as stretches of rows, or one by one with values.

    Each zone has all pixels that it claims, whatever lies over it.

    Parameters
    ----------
    store : path or URL
        A finished store.
    values : path, DataArray, Dataset, Raster, or mapping of name to these, optional
        As `zonal_stats` takes them, without extra dimensions: a row for each pixel of each zone,
        for samples and models.
    pixels : {"centre", "touched", "fraction"}, optional
        Which pixels a zone has: those whose centre it holds, those that it touches, or all that it
        covers a part of, with the part. By default those that the store was burned by.
    window : Window or (row0, row1, col0, col1), optional
        Rows and columns of the grid, half-open.
    zones : sequence of keys, optional
        Only these zones.
    resample : str, optional
        How values on another lattice are brought to the store's.
    storage_options : mapping, optional
        For fsspec.

    Returns
    -------
    pyarrow.RecordBatchReader
        `zone_id` (uint32), `row`, `col0`, `col1` (int64, of the grid, half-open) and `fraction`
        (float64, in (0, 1]; 1 for stretches of more than a pixel). A batch for each chunk, read as
        it is asked for; within one by zone, row and column. With values instead the key of the zone
        under its own name, `x` and `y` of the pixel's centre, `area_m2` of the whole pixel,
        `fraction`, and a column for each raster, null where it has no value.

    Raises
    ------
    OptionError, StoreError, ZonesError, ValuesError, AlignmentError

    Examples
    --------
    >>> import geopandas, shapely
    >>> import zoneraster as zr
    >>> zones = geopandas.GeoDataFrame(geometry=[shapely.box(1, 1.5, 3.25, 3)], crs=4326)
    >>> path = "zones.zarr"
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
    stretches = _stretches(plan, asked)
    if values is not None:
        samples = _Samples.of(plan, location, values, resample)
        rows = (batch for found in stretches for batch in samples.batches(found))
        return pa.RecordBatchReader.from_batches(samples.schema, rows)
    batches = (
        pa.record_batch([found.zone_id.astype(np.uint32), *found[1:]], schema=_SCHEMA)
        for found in stretches
    )
    return pa.RecordBatchReader.from_batches(_SCHEMA, batches)


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


def _stretches(plan: Snapshot, asked: _Asked) -> Iterator[ChunkCells]:
    """What is wanted of each chunk that has something."""
    cut = plan.spec.chunking
    with plan.open_manifest() as manifest:
        for chunks in plan.batches.values():
            records = None
            for chunk in of_all_layers(chunks):
                own = cut.chunk_window(chunk.row, chunk.col)
                if asked.window is not None and own.intersect(asked.window) is None:
                    continue
                # Hashed to this plan: where another has come since, that is an error.
                if records is None:
                    records = manifest.records(chunk.row_group)
                found = asked.of(chunk_cells(plan, records, chunk, asked.pixels))
                if found.row.size:
                    yield found


@dataclass(frozen=True, slots=True, eq=False)
class _Samples:
    """Pixels one by one: what a row has beside its place.

    Parameters
    ----------
    schema : pyarrow.Schema
    grid : Grid
        Of the store.
    x, y : (width,) and (height,) float64
        Centres of its pixels.
    zone_id, key : (n,) int64, pyarrow.Array
        Ids of all zones, ascending, and their keys.
    rasters : tuple of (OpenRaster, Placement)
    """

    schema: pa.Schema
    grid: Grid
    x: Floats
    y: Floats
    zone_id: Ints
    key: pa.Array
    rasters: tuple[tuple[OpenRaster, Placement], ...]

    @classmethod
    def of(
        cls, plan: Snapshot, location: Location, values: ValuesLike, resample: str | None
    ) -> _Samples:
        """Open and place the rasters."""
        assert values is not None
        measures = open_measures(values)
        if measures[0][0].dims:
            raise ValuesError(
                f"{measures[0][0].label} has extra dimensions {measures[0][0].dims}: a pixel has "
                "one value a raster; choose a step, e.g. array.isel(time=0), or a band"
            )
        found = gather_rasters(plan.spec.grid, plan.spec.chunks, measures, {}, None, resample)
        if found.fine > 1:
            raise ValuesError(
                f"values have pixels 1/{found.fine} as wide as the store's, and a row is a pixel "
                f"of the store: average them first, e.g. array.coarsen(y={found.fine}, "
                f"x={found.fine}).mean(), or build a store on their grid"
            )
        table, name = read_zone_table(location)
        order = np.argsort(table["zone_id"].to_numpy(), kind="stable")
        key = table[name].combine_chunks().take(pa.array(order))
        of_rasters = [
            (found.rasters[number], found.placements[number]) for number in found.measures
        ]
        columns = {
            key_name(name, table): key.type, "x": pa.float64(), "y": pa.float64(),
            "area_m2": pa.float64(), "fraction": pa.float64(),
        }  # fmt: skip
        for opened, _ in measures:
            if opened.name in columns:
                raise ValuesError(
                    f"two columns would be named {opened.name!r}: name the raster, "
                    "values={'other': raster}"
                )
            columns[opened.name] = pa.from_numpy_dtype(opened.dtype)
        grid = plan.spec.grid
        return cls(
            pa.schema(columns.items()), grid, grid.x_centres(), grid.y_centres(),
            table["zone_id"].to_numpy().astype(np.int64)[order], key, tuple(of_rasters),
        )  # fmt: skip

    def batches(self, found: ChunkCells) -> Iterator[pa.RecordBatch]:
        """Rows of the pixels of a chunk, some at a time."""
        hull = Window(
            int(found.row.min()), int(found.row.max()) + 1,
            int(found.col0.min()), int(found.col1.max()),
        )  # fmt: skip
        blocks = [_read(raster, placement, hull) for raster, placement in self.rasters]
        areas = row_areas(self.grid, hull.row0, hull.row1)
        ends = np.cumsum(found.col1 - found.col0)
        cuts = np.unique(np.searchsorted(ends, np.arange(_ROWS, ends[-1], _ROWS)))
        for some in np.split(np.arange(ends.size), cuts):
            part = found.take(some)
            sizes = part.col1 - part.col0
            row = np.repeat(part.row, sizes)
            col = np.arange(sizes.sum()) + np.repeat(part.col0 - (np.cumsum(sizes) - sizes), sizes)
            zone = np.searchsorted(self.zone_id, np.repeat(part.zone_id, sizes))
            columns = [
                self.key.take(pa.array(zone)), self.x[col], self.y[row], areas[row - hull.row0],
                np.repeat(part.fraction, sizes),
                *(
                    _values_at(block, raster.nodata, placement, row, col)
                    for block, (raster, placement) in zip(blocks, self.rasters, strict=True)
                ),
            ]  # fmt: skip
            yield pa.record_batch(columns, schema=self.schema)


def _read(raster: OpenRaster, placement: Placement, hull: Window) -> tuple[Block, Window]:
    """Pixels of a raster under a window of the grid, and where they lie in it."""
    met = pixels_under(placement, [hull])
    if met is None:
        return np.zeros((0, 0), raster.dtype), Window(0, 0, 0, 0)
    return raster.read((), met), met


def _values_at(
    block: tuple[Block, Window], nodata: float | None, placement: Placement, row: Ints, col: Ints
) -> pa.Array:
    """Values under pixels of the grid, null where there is none."""
    pixels, met = block
    r, c = (row - placement.row) // placement.factor, (col - placement.col) // placement.factor
    inside = (r >= met.row0) & (r < met.row1) & (c >= met.col0) & (c < met.col1)
    values = np.zeros(row.size, pixels.dtype)
    values[inside] = pixels[r[inside] - met.row0, c[inside] - met.col0]
    is_missing = ~inside | (values != values)
    if nodata is not None:
        is_missing |= values == nodata
    return pa.array(values, mask=is_missing)


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
