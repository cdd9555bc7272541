"""The loop over tasks: zonal statistics of value rasters, chunk by chunk."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, TypeAlias

from zoneraster._grid import Grid, Window
from zoneraster._stats.audit import Layout, MeasureInfo
from zoneraster._stats.checkpoint import Checkpoint
from zoneraster._stats.inputs import Rasters, gather_rasters, open_measures
from zoneraster._stats.keys import Key, as_key
from zoneraster._stats.loop import Loop, empty_partial
from zoneraster._stats.partial import Partial
from zoneraster._stats.quantiles import narrowed, passes_of, refined
from zoneraster._stats.request import Digits, Request, Tasks
from zoneraster._stats.runs import StoreRef, find_store
from zoneraster._stats.statistics import (
    AREA_UNITS,
    DEFAULT,
    DEFAULT_WITHOUT_VALUES,
    Stat,
    Wanted,
    check_units,
    parse_stats,
    rate_unit,
)
from zoneraster._stats.table import make_table
from zoneraster._stats.tiles import Tiling
from zoneraster._store import read_zone_table
from zoneraster._values import OpenRaster, Predicate, Raster, RasterLike, check_method, label_of
from zoneraster.blobs import Location, Options, StoreLike
from zoneraster.errors import ValuesError
from zoneraster.executors import ExecutorLike, Progress

if TYPE_CHECKING:
    import pandas as pd

ValuesLike: TypeAlias = "RasterLike | Mapping[str, RasterLike] | None"
# With no more values than this, quantiles count whole values at once.
_FEW_PIXELS = 2**20
_CATEGORY_METHOD = "nearest"


def zonal_stats(
    store: StoreLike,
    values: ValuesLike = None,
    *,
    stats: Sequence[str | Stat] | str | Stat | None = None,
    by: Mapping[str, RasterLike | Key] | None = None,
    area: str | None = None,
    where: Predicate | None = None,
    roll_up: str | Sequence[str] | None = None,
    attributes: Sequence[str] = (),
    resample: str | None = None,
    exact: bool = True,
    checkpoint: StoreLike | None = None,
    executor: ExecutorLike = None,
    workers: int | None = None,
    storage_options: Options = None,
    progress: Progress | None = None,
) -> pd.DataFrame:
    """Reduce value rasters by zone, chunk by chunk.

    Parameters
    ----------
    store : path or URL
        A finished zone store, or any Zarr group with an integer array `zone`, (y, x) or (layer, y,
        x).
    values : path, DataArray, Dataset, Raster, or mapping of name to these
        Value rasters: Zarr, GeoTIFF or COG, arrays in memory or backed by dask. On the store's
        lattice, or a whole number of times coarser or finer. None counts pixels and areas only.
    stats : sequence of str or Stat, optional
        By default "count", "sum", "mean", and without values "pixels", "area". There are "pixels",
        "count" (or "valid"), "nodata", "sum", "mean", "min", "max", "range", "var", "std",
        "median", "q0.9" and other quantiles, "majority", "minority", "variety", "histogram",
        "fractions", "area" (of valid pixels), "pixel_area" (of all), "area_sum", "area_mean", and
        statistics of your own.
    by : mapping of name to Raster or Key, optional
        Rasters that split the zones by their labels, see `labels` and `thresholds`.
    area : {"m2", "ha", "km2"}, optional
        Unit of areas, "m2" by default. Area sums of a rate take the unit of the rate, where its
        units tell one.
    where : Predicate, optional
        Only pixels that meet a condition, such as ``zr.Raster("tcd.zarr") >= 30``.
    roll_up : str or sequence of str, optional
        Columns of the zone table: one row per combination of theirs instead of one per zone.
    attributes : sequence of str
        Columns of the zone table to show.
    resample : str, optional
        How values on another lattice are brought to the store's: "nearest", "average", ... Keys and
        predicates then take "nearest"; a layer's own `resample` goes first.
    exact : bool
        False lets quantiles of floats be off by 1/256 of themselves, and saves a second pass.
    checkpoint : path or URL, optional
        Folder for the partials of all tasks: the same call goes on where it stopped, and after a
        change of zones or values does only what changed.
    executor, workers
        See `zoneraster.executors.run_tasks`.
    storage_options : mapping, optional
        For fsspec, of the store and the checkpoint.
    progress : callable, optional
        Called with ("stats", pixels done, pixels).

    Returns
    -------
    pandas.DataFrame
        Indexed by the key of the zones, extra dimensions and the names in `by`; one column per
        statistic, ``<measure>_<statistic>`` with several measures. All zones are listed, those
        without a pixel with count 0; with `by`, the combinations that occur. `attrs["audit"]` says
        which pixels were read and where they went. The same bits for any executor and restart.

    Raises
    ------
    ValuesError, AlignmentError, GridError, StoreError, ClosureError, BuildInterrupted

    Examples
    --------
    >>> import geopandas, numpy as np, shapely, xarray as xr
    >>> import zoneraster as zr
    >>> zones = geopandas.GeoDataFrame(geometry=[shapely.box(1, 1, 3, 2)], crs=4326)
    >>> grid = zr.Grid.from_bounds((0, 0, 4, 4), 1)
    >>> path = getfixture("tmp_path") / "zones.zarr"
    >>> report = zr.build(zones, path, grid=grid)
    >>> height = xr.DataArray(
    ...     np.arange(16.0).reshape(4, 4),
    ...     coords={"lat": grid.y_centres(), "lon": grid.x_centres()}, dims=("lat", "lon"),
    ... )
    >>> zr.zonal_stats(path, height)["mean"].tolist()
    [9.5]
    """
    location = Location.of(store, storage_options)
    if stats is None:
        stats = DEFAULT if values is not None else DEFAULT_WITHOUT_VALUES
    wanted = parse_stats(stats, has_values=values is not None)
    unit = _area_unit(area)
    if resample is not None:
        check_method(resample)
    if by is not None and (hasattr(by, "data_vars") or not isinstance(by, Mapping)):
        raise ValuesError(
            f"by={label_of(by)} is no mapping of names to layers: by={{'year': layer}}"
        )
    found = find_store(location)
    zones = found.open()
    measures = [] if values is None else open_measures(values)
    rasters = gather_rasters(zones.grid, zones.chunks, measures, by or {}, where, resample)
    layout = _layout(wanted, measures, rasters, by or {}, unit, roll_up, attributes)
    request, tasks = _plan(found, rasters, layout)
    table, key = read_zone_table(location)
    _check_columns(table, layout, key)
    store_of_partials = None
    if checkpoint is not None:
        store_of_partials = Checkpoint.open(Location.of(checkpoint, storage_options))
    loop = Loop(store_of_partials, executor, workers, progress)
    # Not kept by a name here, so that it can be let go while the table is made.
    return make_table(_passes(loop, request, tasks, layout, exact=exact), layout, table, key)


def _area_unit(area: str | None) -> str:
    if area is not None and area not in AREA_UNITS:
        raise ValuesError(f"area must be one of {', '.join(AREA_UNITS)}, not {area!r}")
    return area or "m2"


def _layout(
    wanted: Wanted,
    measures: Sequence[tuple[OpenRaster, Raster]],
    rasters: Rasters,
    by: Mapping[str, RasterLike | Key],
    unit: str,
    roll_up: str | Sequence[str] | None,
    attributes: Sequence[str],
) -> Layout:
    infos = []
    for (raster, _), number in zip(measures, rasters.measures, strict=True):
        factor = rasters.placements[number].factor
        check_units(wanted, raster.name, raster.units, factor=factor)
        dtype = rasters.rasters[number].dtype
        infos.append(MeasureInfo(raster.name, dtype, rate_unit(raster.units) or unit))
    dims = dict(zip(measures[0][0].dims, measures[0][0].coords, strict=True)) if measures else {}
    names = [*dims, *by]
    if len(set(names)) != len(names):
        raise ValuesError(f"a key is named like an extra dimension: {', '.join(names)}")
    rolled = (roll_up,) if isinstance(roll_up, str) else tuple(roll_up or ())
    if rolled and attributes:
        raise ValuesError("roll_up= has rows for groups of zones, which have no attributes=")
    shown = (attributes,) if isinstance(attributes, str) else tuple(attributes)
    keys = {name: as_key(key) for name, key in by.items()}
    return Layout(wanted, tuple(infos), keys, dims, unit, rolled, shown, rasters.fine)


def _check_columns(table: Any, layout: Layout, key: str) -> None:  # Any: an Arrow table
    """Refuse names that are not in the zone table before any pixel is read."""
    for name in (*layout.roll_up, *layout.attributes):
        if name not in table.column_names:
            raise ValuesError(
                f"the zone table has no column {name!r}: it has {', '.join(table.column_names)}"
            )
    for name in (*layout.keys, *layout.dims):
        if name in (layout.roll_up or (key,)):
            raise ValuesError(
                f"{name!r} is the name of the zones' key too: give another name in by="
            )
    twice = set(layout.wanted.names) & {*layout.attributes} if len(layout.measures) < 2 else set()
    if twice:
        raise ValuesError(f"two columns would be named {', '.join(sorted(twice))!r}")


# ---- tasks -------------------------------------------------------------------------------------


def _plan(store: StoreRef, rasters: Rasters, layout: Layout) -> tuple[Request, Tasks]:
    """The request without passes, and its tasks."""
    zones, fine = store.open(), rasters.fine
    grid = zones.grid
    if fine > 1:
        (step_x, step_y), (west, north) = grid.resolution, grid.origin
        transform = (step_x / fine, 0, west, 0, -step_y / fine, north)
        grid = Grid(grid.crs, transform, (grid.height * fine, grid.width * fine))
    chunks = (zones.chunks[0] * fine, zones.chunks[1] * fine)
    tiling = Tiling.of(grid.shape, chunks, rasters.placements)
    parts: dict[int, list[tuple[tuple[int, int], Window]]] = {}
    for chunk in zones.positions():
        for number, window in tiling.tasks_of(*chunk):
            parts.setdefault(number, []).append((chunk, window))
    request = Request(
        store=store,
        grid=grid,
        fine=fine,
        tiling=tiling,
        placements=rasters.placements,
        measures=rasters.measures,
        keys=rasters.keys,
        where=rasters.where,
        wanted=layout.wanted,
        dims=tuple(c.size for c in layout.dims.values()),
        moments=True,
        digits=(),
    )
    frozen = {number: tuple(own) for number, own in parts.items()}
    return request, Tasks(rasters.rasters, rasters.placements, frozen)


# ---- the loop ----------------------------------------------------------------------------------


# ---- passes ------------------------------------------------------------------------------------


def _passes(loop: Loop, request: Request, tasks: Tasks, layout: Layout, *, exact: bool) -> Partial:
    """All passes over the values: one, but for exact quantiles of wide values."""
    n_lanes = math.prod(request.dims)
    pixels = sum(w.height * w.width for parts in tasks.parts.values() for _, w in parts)
    lows = [
        passes_of(info.dtype, layout.wanted, pixels * n_lanes <= _FEW_PIXELS, exact)
        for info in layout.measures
    ]
    digits: tuple[Digits | None, ...] = tuple(Digits(low[0]) if low else None for low in lows)
    request = replace(request, digits=digits)
    partial = loop.run(request, tasks, empty_partial(request, tasks.rasters))
    tallies = [
        t and replace(t, code=t.code << low[0])
        for t, low in zip(partial.tallies, lows, strict=True)
    ]
    quantiles = list(layout.wanted.quantiles.values())
    for step in range(1, max(map(len, lows), default=0)):
        more = [
            Digits(
                low[step], low[step - 1], narrowed(t, partial.index, m.n, quantiles, low[step - 1])
            )
            if len(low) > step and t is not None
            else None
            for low, t, m in zip(lows, tallies, partial.moments, strict=True)
        ]
        again = replace(request, moments=False, digits=tuple(more))
        finer = loop.run(again, tasks, empty_partial(again, tasks.rasters))
        tallies = [
            t
            if t is None or d is None or f is None
            else refined(t, partial.index, d, f, finer.index)
            for t, d, f in zip(tallies, more, finer.tallies, strict=True)
        ]
    if not exact:
        tallies = [
            t and replace(t, code=t.code + (1 << low[-1] >> 1) if low[-1] else t.code)
            for t, low in zip(tallies, lows, strict=True)
        ]
    if loop.checkpoint is not None:
        loop.checkpoint.sweep()
    return replace(partial, tallies=tuple(tallies))
