"""The walk from a call to its table: open, place, plan, count, show."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from zoneraster._grid import Grid
from zoneraster._stats.checkpoint import Checkpoint, owner_of
from zoneraster._stats.families import (
    AREA_UNITS,
    DEFAULT,
    DEFAULT_WITH_WEIGHTS,
    DEFAULT_WITHOUT_VALUES,
    WEIGHTED,
    Stat,
    Wanted,
    check_totals,
    check_units,
    kind_of,
    parse_stats,
    rate_unit,
)
from zoneraster._stats.front import Reading, ZonesLike, given_zones, opened_zones
from zoneraster._stats.groups import Groups
from zoneraster._stats.inputs import Rasters, ValuesLike, gather_rasters, open_measures
from zoneraster._stats.keys import Key, as_key
from zoneraster._stats.loop import Loop
from zoneraster._stats.planes import ZoneSource
from zoneraster._stats.request import Layout, Measure, Request, Tasks
from zoneraster._stats.select import Select, selected_ids
from zoneraster._stats.table import make_table, with_polygons
from zoneraster._stats.tiles import Tiling
from zoneraster._store import PixelRule, asked_column, key_name
from zoneraster._values import (
    OpenRaster,
    Predicate,
    Raster,
    RasterLike,
    check_method,
    label_of,
    method_of,
    open_raster,
)
from zoneraster._zones import OnInvalid
from zoneraster.arrays import Later
from zoneraster.bars import shown
from zoneraster.blobs import Location, Options, StoreLike
from zoneraster.errors import (
    IdleOption,
    OptionError,
    ValuesError,
    nearest,
    stopping,
    warn,
)
from zoneraster.executors import ExecutorLike, Progress, check_executor

if TYPE_CHECKING:
    import pandas as pd
else:
    pd = Later("pandas")

# With no more values than this, quantiles count whole values at once.
_FEW_PIXELS = 2**20


def zonal_stats(
    store: ZonesLike,
    values: ValuesLike = None,
    *,
    stats: Sequence[str | Stat] | str | Stat | None = None,
    zones: Literal["claimed", "owned"] = "claimed",
    pixels: PixelRule | None = None,
    by: Mapping[str, RasterLike | Key] | None = None,
    weights: RasterLike | None = None,
    area: str | None = None,
    where: Predicate | None = None,
    select: Select | None = None,
    roll_up: str | Sequence[str] | None = None,
    attributes: Sequence[str] = (),
    geometry: bool = False,
    resample: str | None = None,
    exact: bool = True,
    key: str | None = None,
    on_invalid: OnInvalid | None = None,
    assume_crs: object = None,
    layer: str | None = None,
    checkpoint: StoreLike | None = None,
    executor: ExecutorLike = None,
    workers: int | None = None,
    storage_options: Options = None,
    progress: Progress | None = None,
) -> pd.DataFrame:
    """Reduce value rasters by zone, chunk by chunk.

    Parameters
    ----------
    store : path, URL, GeoDataFrame, DataArray or Raster
        Zones: a finished zone store; polygons, as `build` takes them, which are burned on the
        lattice of the values (of the finest of several) as in a store with that grid, and nothing
        is left behind; or a raster of labels, a file, DataArray, or Zarr group with an array
        `zone`, whose nodata is no zone (0 where it declares none, and in a group).
    values : path, DataArray, Dataset, Raster, or mapping of name to these
        Value rasters: Zarr, GeoTIFF or COG, arrays in memory or backed by dask. On the store's
        lattice, or a whole number of times coarser or finer. None counts pixels and areas only.
    stats : sequence of str or Stat, optional
        By default "count", "sum", "mean", and "area" where `area` is given; without values
        "pixels", "area". There are "pixels",
        "count" (or "valid"), "nodata", "sum", "mean", "min", "max", "range", "var", "std",
        "median", "q0.9" and other quantiles, "majority", "minority", "variety", "histogram",
        "fractions", "area" (of valid pixels), "pixel_area" (of all), "area_sum", "area_mean",
        with `weights` "weighted_sum", "weighted_mean", "weighted_var", "weighted_std",
        "weighted_frac", "weight_sum", "weighted_area", "weighted_area_sum",
        "weighted_area_mean", and statistics of your own.
    zones : {"claimed", "owned"}
        Which pixels a zone has where zones of a store lie over each other: all in it, so that a
        pixel counts for each of them; or those that it owns in the array. Zones that `roll_up`
        merges count a pixel once in both.
    pixels : {"centre", "touched", "fraction"}, optional
        Which pixels a zone has: those whose centre it holds, those that it touches, or all that it
        covers a part of, which then count by that part: sums, means, areas, quantiles and classes
        are weighted, and counts are covered pixels. By default those that the store was burned by.
    by : mapping of name to Raster or Key, optional
        Rasters that split the zones by their labels, see `labels` and `thresholds`.
    weights : path, DataArray or Raster, optional
        A raster that weights the values of each pixel, such as people or the share of a crop, for
        "weighted_sum", "weighted_mean" and their like; on any lattice that values may have. Pixels
        without a weight count for none of these, and are counted in the audit.
    area : {"m2", "ha", "km2"}, optional
        Unit of areas, "m2" by default; a warning where no statistic has one. Area sums of a rate
        take the unit of the rate, where its units tell one.
    where : Predicate, optional
        Only pixels that meet a condition, such as ``zr.Raster("tcd.zarr") >= 30``.
    select : keys, mapping or shapely geometry, optional
        Only some zones, of which alone chunks are read: their keys; ``{column: value or values}``,
        all of which must hold; or those that meet a geometry, such as ``shapely.box(west, south,
        east, north)``, in the reference system of the grid.
    roll_up : str or sequence of str, optional
        Columns of the zone table: one row per combination of theirs instead of one per zone.
    attributes : sequence of str
        Columns of the zone table to show.
    geometry : bool
        Give a GeoDataFrame, with the polygon of each zone in the reference system of the grid.
    resample : str, optional
        How values on another lattice are brought to the store's: "nearest", "average", ... Keys and
        predicates then take "nearest"; a layer's own `resample` goes first.
    exact : bool
        False lets quantiles of floats be off by 1/256 of themselves, and saves a second pass.
    key, on_invalid, assume_crs, layer : optional
        How polygons are read, see `build`.
    checkpoint : path or URL, optional
        Folder for the partials of all tasks: the same call goes on where it stopped, and after a
        change of zones or values does only what changed.
    executor, workers
        See `zoneraster.executors.run_tasks`.
    storage_options : mapping, optional
        For fsspec, of the store and the checkpoint.
    progress : bool or callable, optional
        As for `build`: True shows a bar. The phase that counts is "stats", in pixels; polygons are
        read and planned before.

    Returns
    -------
    pandas.DataFrame, or geopandas.GeoDataFrame with `geometry`
        Indexed by the key of the zones, extra dimensions and the names in `by`; one column per
        statistic, ``<measure>_<statistic>`` with several measures; areas carry their unit, as
        `area_ha`, and `area_sum_Mg` of a raster in Mg/ha. `attrs["units"]` has the units that are
        known. ``table.to_xarray()`` takes them along and has attributes along the zones alone. All
        zones are listed, those without a pixel with count 0; with `by`, the combinations that
        occur. `attrs["audit"]` says which pixels were read and where they went. The same bits for
        any executor and restart.

    Raises
    ------
    OptionError, ValuesError, AlignmentError, GridError, StoreError, ClosureError
    ZonesError, WorkerDiedError, BuildInterrupted

    Examples
    --------
    >>> import geopandas, numpy as np, shapely, xarray as xr
    >>> import zoneraster as zr
    >>> zones = geopandas.GeoDataFrame(geometry=[shapely.box(1, 1, 3, 2)], crs=4326)
    >>> height = xr.DataArray(
    ...     np.arange(16.0).reshape(4, 4),
    ...     coords={"lat": [3.5, 2.5, 1.5, 0.5], "lon": [0.5, 1.5, 2.5, 3.5]}, dims=("lat", "lon"),
    ... )
    >>> zr.zonal_stats(zones, height)["mean"].tolist()
    [9.5]
    """
    check_executor(executor, workers)
    given = given_zones(store, values)
    if stats is None:
        stats = DEFAULT if values is not None else DEFAULT_WITHOUT_VALUES
        if weights is not None:
            stats = DEFAULT_WITH_WEIGHTS
        if area is not None and "area" not in stats:
            stats = (*stats, "area")
    wanted = parse_stats(stats, has_values=values is not None, has_weights=weights is not None)
    if not exact and not wanted.has_quantiles:
        warn(
            f"exact=False changes nothing: none of {', '.join(wanted.names)} is a quantile; leave "
            "it out",
            kind=IdleOption,
        )
    unit = _area_unit(area, wanted)
    names = _Names.of(roll_up, attributes, geometry=geometry)
    _check_options(zones, pixels, resample, by)
    measures = [] if values is None else open_measures(values)
    asked = _Asked(measures, by or {}, where, weights, resample, wanted, unit, names)
    reading = Reading(key=key, on_invalid=on_invalid, assume_crs=assume_crs, layer=layer)
    with (
        shown(progress) as tick,
        stopping("while zones and rasters were opened; nothing was counted yet"),
        opened_zones(
            given, asked.lattices(), reading, options=storage_options, executor=executor,
            rule=pixels, with_geometry=geometry or hasattr(select, "geom_type"), progress=tick,
        ) as source,
    ):  # fmt: skip
        source = source if pixels is None else source.ruled(pixels)
        table, key = source.table()
        if select is not None:
            source = source.selecting(selected_ids(select, source, table, key))
            table = source.rows(table)
        if zones == "claimed" or source.owns_all:
            source = source.claimed(table, names.known(table))
        rasters = asked.gathered(source)
        layout = _layout_of(asked, rasters, source, table, key)
        request, tasks = _plan(source, rasters, layout, exact=exact)
        partials = None
        if checkpoint is not None:
            owner = owner_of(source.place, rasters.rasters, layout.roll_up)
            partials = Checkpoint.open(Location.of(checkpoint, storage_options), owner)
        loop = Loop(partials, executor, workers, tick)
        groups = Groups.of(layout, table, key, source.shift)
        with stopping(f"while the table was made; {loop.safe()}"):
            # Not kept by a name, so that what was counted can be let go while the table is made.
            made = make_table(*loop.count(request, tasks, groups), layout, request.families, table)
            made.attrs["audit"] |= source.remarkable
            if geometry:
                made = with_polygons(made, source.polygons(), table, key)
        if tick is not None:
            tick("finish", 1, 1)
        return made


@dataclass(frozen=True, slots=True, eq=False)
class _Asked:
    """What of a call is left when its options are known to mean something."""

    measures: Sequence[tuple[OpenRaster, Raster]]
    by: Mapping[str, RasterLike | Key]
    where: Predicate | None
    weights: RasterLike | None
    resample: str | None
    wanted: Wanted
    unit: str
    names: _Names

    def lattices(self) -> list[OpenRaster]:
        """Rasters whose lattice polygons can be burned on."""
        if self.measures:
            return [opened for opened, _ in self.measures]
        return [open_raster(as_key(key).raster) for key in self.by.values()]

    def gathered(self, source: ZoneSource) -> Rasters:
        """All rasters, on the lattice of the zones."""
        runs = source.open()
        return gather_rasters(
            runs.grid, runs.chunks, self.measures, self.by, self.where, self.resample, self.weights
        )


def _check_options(zones: object, pixels: object, resample: str | None, by: object) -> None:
    """Refuse options that mean nothing, before anything is opened."""
    if zones not in {"claimed", "owned"}:
        raise OptionError(f"zones must be 'claimed' or 'owned', not {zones!r}")
    if zones == "owned" and pixels is not None:
        raise OptionError(
            "zones='owned' has the pixels of the array as it was burned: leave out "
            f"pixels={pixels!r}"
        )
    if resample is not None:
        check_method(resample)
    if by is not None and (hasattr(by, "data_vars") or not isinstance(by, Mapping)):
        raise ValuesError(
            f"by={label_of(by)} is no mapping of names to rasters: by={{'year': raster}}"
        )


def _layout_of(
    asked: _Asked, rasters: Rasters, source: ZoneSource, table: Any, key: str
) -> Layout:  # Any: an Arrow table
    """What the table is to have; refuses what it cannot have."""
    layout = _layout(asked.wanted, asked.measures, rasters, asked.by, asked.unit, asked.names)
    layout = replace(
        layout, are_claimed=source.are_claimed, rule=source.rule, is_selected=source.is_selected,
        weights=_assumed_weights(rasters, asked.wanted),
    )  # fmt: skip
    _check_weighted(layout)
    _check_columns(table, layout, key)
    return layout


def _area_unit(area: str | None, wanted: Wanted) -> str:
    if area is None:
        return "m2"
    if area not in AREA_UNITS:
        raise ValuesError(f"area must be one of {', '.join(AREA_UNITS)}, not {area!r}")
    if not any(kind_of(name).startswith("area") for name in wanted.names):
        warn(
            f"area={area!r} changes nothing: none of {', '.join(wanted.names)} is an area; ask for "
            "'area' (of pixels with a value) or 'pixel_area' (of all), or leave it out",
            kind=IdleOption,
        )
    return area


class _Names(NamedTuple):
    """Columns of the zone table: to merge zones by, and to show."""

    roll_up: tuple[str, ...]
    attributes: tuple[str, ...]

    @classmethod
    def of(
        cls, roll_up: str | Sequence[str] | None, attributes: str | Sequence[str], *, geometry: bool
    ) -> _Names:
        """As they were given, one or several."""
        rolled = (roll_up,) if isinstance(roll_up, str) else tuple(roll_up or ())
        shown = (attributes,) if isinstance(attributes, str) else tuple(attributes)
        if rolled and shown:
            raise ValuesError(
                "roll_up= has rows for groups of zones, which have no attributes=: leave out one "
                "of them"
            )
        if rolled and geometry:
            raise ValuesError(
                "roll_up= has rows for groups of zones, which have no geometry=: leave out one of "
                "them"
            )
        return cls(rolled, shown)

    def known(self, table: Any) -> tuple[str, ...]:  # Any: an Arrow table
        """Those to merge zones by; others than the table's are refused later."""
        return tuple(name for name in self.roll_up if asked_column(table.column_names, name))


def _layout(
    wanted: Wanted,
    measures: Sequence[tuple[OpenRaster, Raster]],
    rasters: Rasters,
    by: Mapping[str, RasterLike | Key],
    unit: str,
    columns: _Names,
) -> Layout:
    """What the table is to have; refuses what means nothing."""
    infos = []
    for (raster, _), number in zip(measures, rasters.measures, strict=True):
        factor = rasters.placements[number].factor
        method, dtype = method_of(rasters.rasters[number]), rasters.rasters[number].dtype
        check_units(wanted.names, raster.name, raster.units, factor=factor, method=method)
        rate = rate_unit(raster.units) or unit
        assumed, reach = rasters.assumed(number, raster), _reach(raster.grid, rasters.grid)
        infos.append(Measure(raster.name, dtype, rate, raster.units, assumed, reach))
    dims = dict(zip(measures[0][0].dims, measures[0][0].coords, strict=True)) if measures else {}
    names = [*dims, *by]
    if len(set(names)) != len(names):
        raise ValuesError(f"a key is named like an extra dimension: {', '.join(names)}")
    keys = {name: as_key(key) for name, key in by.items()}
    return Layout(
        wanted, tuple(infos), keys, dims, unit, columns.roll_up, columns.attributes, rasters.fine
    )


def _reach(raster: Grid, grid: Grid) -> str:
    """What a raster covers and what the grid of the zones."""
    return f"it covers {raster.bounds}, the grid {grid.bounds}"


def _assumed_weights(rasters: Rasters, wanted: Wanted) -> dict[str, Any]:
    """What is taken for granted of the weights: JSON, hence Any; refuses totals that are not."""
    if rasters.weights is None:
        return {}
    if not {*WEIGHTED} & {*wanted.names}:
        warn(
            f"weights= changes nothing: none of {', '.join(wanted.names)} is weighted; ask for "
            f"{', '.join(WEIGHTED[:2])} or the like, or leave it out",
            kind=IdleOption,
        )
    opened, placement = rasters.rasters[rasters.weights], rasters.placements[rasters.weights]
    method = method_of(opened)
    check_totals(opened.name, opened.units, factor=placement.factor, method=method)
    return {"name": opened.name, **rasters.assumed(rasters.weights, opened)}


def _check_weighted(layout: Layout) -> None:
    """Refuse what knows nothing of covered parts."""
    if layout.is_weighted and layout.wanted.custom:
        raise ValuesError(
            f"statistic {layout.wanted.custom[0].name!r} is of your own and gets whole pixels: "
            "leave out pixels='fraction', or ask for zr.cells(store, pixels='fraction')"
        )


def _check_columns(table: Any, layout: Layout, key: str) -> None:  # Any: an Arrow table
    """Refuse names that are not in the zone table before any pixel is read."""
    for name in (*layout.roll_up, *layout.attributes):
        if asked_column(table.column_names, name) is None:
            raise ValuesError(
                f"the zones have no column {name!r}: {nearest(name, table.column_names)}"
            )
    owners = layout.roll_up or (key_name(key, table),)
    for name in (*layout.keys, *layout.dims):
        if name in owners:
            cure = "give another name in by=" if name in layout.keys else "rename the dimension"
            raise ValuesError(f"{name!r} is the name of the zones' key too: {cure}")
    twice = {*layout.columns()} & {*layout.attributes, *owners}
    if twice:
        raise ValuesError(
            f"two columns would be named {', '.join(sorted(twice))!r}: rename the column of the "
            "zones, or leave out the statistic"
        )


def _plan(
    source: ZoneSource, rasters: Rasters, layout: Layout, *, exact: bool
) -> tuple[Request, Tasks]:
    """The request of the first pass, and its tasks."""
    runs, fine = source.open(), rasters.fine
    grid = _lattice(runs.grid, fine)
    chunks = (runs.chunks[0] * fine, runs.chunks[1] * fine)
    tiling = Tiling.of(grid.shape, chunks, rasters.placements)
    tasks = Tasks(rasters.rasters, rasters.placements, tiling.tasks_of(runs.positions()))
    few = sum(tasks.work.values()) * layout.n_lanes <= _FEW_PIXELS
    merges = bool(layout.roll_up) or any(key.cumulative for key in layout.keys.values())
    families = [
        layout.wanted.families(
            measure.dtype, few=few, merges=merges, exact=exact, is_weighted=layout.is_weighted
        )
        for measure in layout.measures
    ]
    request = Request(
        zones=source,
        grid=grid,
        fine=fine,
        tiling=tiling,
        placements=rasters.placements,
        measures=rasters.measures,
        families=tuple(families),
        keys=rasters.keys,
        where=rasters.where,
        dims=tuple(c.size for c in layout.dims.values()),
        with_area=layout.with_area,
        weights=rasters.weights,
    )
    return request, tasks


def _lattice(grid: Grid, fine: int) -> Grid:
    """A grid with `fine` pixels along each of its own."""
    if fine == 1:
        return grid
    (step_x, step_y), (west, north) = grid.resolution, grid.origin
    transform = (step_x / fine, 0, west, 0, -step_y / fine, north)
    return Grid(grid.crs, transform, (grid.height * fine, grid.width * fine))
