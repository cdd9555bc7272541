"""Questions to a store: how far it is, whether its bytes are right, what it says of itself."""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from zoneraster._build.batch import reburn
from zoneraster._build.objects import plan_faults
from zoneraster._build.results import Status, VerifyReport, reported_plan
from zoneraster._store import (
    CURE,
    PLAN_KEY,
    PLANNED_KEY,
    REPORT_KEY,
    SETS_KEY,
    ZONES_KEY,
    BatchChunk,
    Manifest,
    Snapshot,
    Spec,
    chunk_key,
    counts_agree,
    expected_receipts,
    find_zone_table,
    found_receipts,
    is_done,
    key_name,
    ledger,
    load_spec,
    open_finished,
    open_snapshot,
    plan_is_whole,
    read_zone_table,
    refuse_changed,
    require_spec,
    require_zone_table,
    stray_chunks,
    sum_counts,
    without_places,
    zarr_view,
)
from zoneraster._zones import FINE, NULL, objects_of, walk_wkb
from zoneraster.arrays import Later
from zoneraster.blobs import Blobs, Location, Options, StoreLike, get_or_none
from zoneraster.errors import CorruptStoreError, OptionError, StoreError, number_of, told_as, warn
from zoneraster.lock import PLANNING, holder_of

if TYPE_CHECKING:
    import geopandas
    import pandas as pd
    import xarray as xr
else:
    geopandas, pd, xr = Later("geopandas"), Later("pandas"), Later("xarray")


_OPEN_CURE = "finish the build first; unfinished=True shows what is there, the rest as 0"


def status(store: StoreLike, *, storage_options: Options = None) -> Status:
    """How far a build is, from the names in the ledger; also while it plans and runs.

    Parameters
    ----------
    store : path or URL
    storage_options : mapping, optional

    Returns
    -------
    Status

    Raises
    ------
    StoreError
        For a place that holds no store, or no plan that can be read.
    """
    location = Location.of(store, storage_options)
    is_planning = holder_of(location, PLANNING) is not None
    try:
        ctx = open_snapshot(location)
    except StoreError:
        if not is_planning:
            raise
        return Status(str(location), 0, 0, 0, 0, 0, 0, finished=False, planning=True)
    expected = expected_receipts(ctx)
    have = found_receipts(ctx.blobs, expected)
    done = [b for b in expected if is_done(b, expected, have)]
    return Status(
        store=str(location),
        batches_done=len(done),
        batches=len(expected),
        chunks_done=sum(len(ctx.batches[b]) for b in done),
        chunks=ctx.index.num_rows,
        work_done=sum(chunk.work for b in done for chunk in ctx.batches[b]),
        work=sum(chunk.work for chunks in ctx.batches.values() for chunk in chunks),
        finished=len(done) == len(expected) and _is_closed(ctx.blobs, ctx.spec),
        missing=tuple(sorted(set(expected) - set(done))),
        planning=is_planning,
    )


def _is_closed(blobs: Blobs, spec: Spec) -> bool:
    """Zone table and report belong to the plan of the spec."""
    return (
        reported_plan(blobs) == spec.plan
        and blobs.has(ZONES_KEY)
        # Of an update that changes no chunk.
        and not blobs.has(PLANNED_KEY)
    )


def _warn_unfinished(location: Location, blobs: Blobs, spec: Spec) -> None:
    """Say how far a build is, where it is not finished."""
    # Few requests where it is.
    if holder_of(location, PLANNING) is None and _is_closed(blobs, spec):
        return
    if not plan_is_whole(blobs, spec.plan):
        warn(f"{location} is not planned to the end: build again with the same zones")
        return
    warn(status(location).warning or f"{location} has just been finished: open it again")


def _sample(chunks: Sequence[BatchChunk], share: float) -> list[BatchChunk]:
    """Evenly spread share of the chunks; at least one for any share above 0."""
    if share <= 0 or not chunks:
        return []
    n = min(len(chunks), max(1, round(len(chunks) * share)))
    return [chunks[i] for i in np.linspace(0, len(chunks) - 1, n).astype(int)]


def _differing(
    ctx: Snapshot, chunks: Sequence[BatchChunk], missing: Sequence[str]
) -> Iterator[str]:
    """Keys of the chunks that burn to other bytes than are stored; the missing are known."""
    for chunk in chunks:
        key = chunk_key(chunk.place, ctx.spec.array)
        if key not in missing and reburn(ctx, chunk) != (get_or_none(ctx.blobs, key) or b""):
            yield key


def _receipts(ctx: Snapshot) -> tuple[list[pa.Table], list[str]]:
    """Receipts of the plan, in its order, and keys of the chunks that have none."""
    tables, bare = [], []
    for batch, name in sorted(expected_receipts(ctx).items()):
        try:
            tables.append(ledger.decode_receipt(name, ctx.blobs.get(name)))
        except (FileNotFoundError, CorruptStoreError):
            bare += [chunk_key(chunk.place, ctx.spec.array) for chunk in ctx.batches[batch]]
    return tables, bare


def _is_as_counted(location: Location, ctx: Snapshot, receipts: Sequence[pa.Table] | None) -> bool:
    """All of the zone table can be read, and a public one has the counts of the receipts."""
    key, data = find_zone_table(ctx.blobs, ctx.spec)
    if data is None:
        return True  # it is missing, not damaged
    try:
        frame = _zone_frame(location, data)
    except CorruptStoreError:
        return False
    if key == PLANNED_KEY or receipts is None:
        return True
    return counts_agree(frame, sum_counts(receipts)[0])


def verify(store: StoreLike, *, deep: float = 0.0, storage_options: Options = None) -> VerifyReport:
    """Compare every stored chunk with its receipt, and burn a share of them again.

    Metadata, coordinates and the zone table are compared with what the plan says of them.

    Parameters
    ----------
    store : path or URL
    deep : float
        Share of the chunks to burn again, 0 to 1.
    storage_options : mapping, optional

    Returns
    -------
    VerifyReport

    Raises
    ------
    OptionError
        For a share that is none.
    StoreError
        For a place that holds no store, or no plan that can be read.
    """
    if not 0.0 <= deep <= 1.0:
        raise OptionError(f"deep must be a share between 0 and 1, not {deep}")
    location = Location.of(store, storage_options)
    ctx = open_snapshot(location)
    receipts, bare = _receipts(ctx)
    missing, damaged = plan_faults(location, ctx.spec)
    if not _is_as_counted(location, ctx, None if bare else receipts) and ZONES_KEY not in damaged:
        damaged.append(ZONES_KEY)
    checked = 0
    for chunk in itertools.chain.from_iterable(map(ledger.chunk_receipts, receipts)):
        checked += 1
        key = chunk_key(chunk.place, ctx.spec.array)
        stored = get_or_none(ctx.blobs, key)
        if not chunk.agrees(stored or b""):
            (missing if stored is None else damaged).append(key)
    everything = [chunk for batch in sorted(ctx.batches) for chunk in ctx.batches[batch]]
    again = _sample(everything, deep)
    return VerifyReport(
        store=str(location),
        checked=checked,
        reburned=len(again),
        missing=tuple(missing),
        damaged=tuple(damaged),
        differing=tuple(_differing(ctx, again, missing)),
        stray=tuple(stray_chunks(ctx)),
        unreceipted=tuple(bare),
    )


def info(store: StoreLike, *, storage_options: Options = None) -> dict[str, Any]:
    """Everything a store says about itself.

    Parameters
    ----------
    store : path or URL
    storage_options : mapping, optional

    Returns
    -------
    dict
        JSON-able: store, spec, plan, report, status. A `ZonerasterWarning` says how far the build
        is, where it is not finished.

    Raises
    ------
    StoreError
        For a place that holds no store, or no plan that can be read.
    """
    location = Location.of(store, storage_options)
    blobs = location.blobs()
    spec = require_spec(location, blobs)
    said: dict[str, Any] = {"store": str(location), "spec": json.loads(spec.to_json())}
    for name, key in (("plan", PLAN_KEY), ("report", REPORT_KEY)):
        with told_as(CorruptStoreError, f"{location}/{key} cannot be read", CURE):
            data = get_or_none(blobs, key)
            said[name] = None if data is None else json.loads(data)
    found = status(location)
    said["status"] = found.to_dict()
    if found.warning:
        warn(found.warning)
    return said


def open_manifest(store: StoreLike, *, storage_options: Options = None) -> Manifest:
    """The manifest of a store, for questions such as `Manifest.zones_in`.

    Parameters
    ----------
    store : path or URL
    storage_options : mapping, optional

    Returns
    -------
    Manifest
        Holds a file open: use it in ``with``, or close it.

    Raises
    ------
    StoreError
        For a place that holds no store, or no plan that can be read.
    """
    return open_snapshot(Location.of(store, storage_options)).open_manifest()


def open_zones(store: StoreLike, *, storage_options: Options = None) -> geopandas.GeoDataFrame:
    """The zone table of a store: ids, the user's key and attributes, pixel counts, areas.

    Parameters
    ----------
    store : path or URL
    storage_options : mapping, optional

    Returns
    -------
    geopandas.GeoDataFrame
        One row per zone, in the order of the user's table. Rows that `on_invalid` left out have the
        id 0 and no geometry. While the plan of the store is not burned and finished it has no
        counts, and a `ZonerasterWarning` says how far that is.

    Raises
    ------
    StoreError
        For a place without a zone table.
    """
    location = Location.of(store, storage_options)
    blobs = location.blobs()
    spec = load_spec(location, blobs)
    data = require_zone_table(location, blobs, spec)
    if spec is not None:
        _warn_unfinished(location, blobs, spec)
    return _zone_frame(location, data)


def zone_frame(location: Location) -> geopandas.GeoDataFrame:
    """The zone table of a store, be it finished or not."""
    blobs = location.blobs()
    return _zone_frame(location, require_zone_table(location, blobs, load_spec(location, blobs)))


def open_sets(store: StoreLike, *, storage_options: Options = None) -> pd.DataFrame:
    """Sets of zones that share pixels, of a store that was built with ``overlap="sets"``.

    Parameters
    ----------
    store : path or URL
        A finished store.
    storage_options : mapping, optional
        For fsspec.

    Returns
    -------
    pandas.DataFrame
        A row for each zone of each set: `set_id`, as in the array, `zone_id`, the key of the zone
        under its own name, and `pixels` and `area_m2` of the set, which are those that just these
        zones share.

    Raises
    ------
    StoreError
        For a store without sets; `IncompleteBuildError` for one that is not finished.

    Examples
    --------
    >>> import geopandas, shapely
    >>> import zoneraster as zr
    >>> boxes = [shapely.box(0, 0, 3, 1), shapely.box(2, 0, 4, 1)]
    >>> zones = geopandas.GeoDataFrame({"park": ["A", "B"]}, geometry=boxes, crs=3857)
    >>> path = "zones.zarr"
    >>> grid = zr.Grid.from_bounds((0, 0, 4, 1), 1, 3857)
    >>> report = zr.build(zones, path, grid=grid, key="park", overlap="sets")
    >>> zr.sets(path)
       set_id  zone_id park  pixels  area_m2
    0   10000        1    A       1      1.0
    1   10000        2    B       1      1.0
    """
    location = Location.of(store, storage_options)
    ctx = open_finished(location, cure="finish the build first")
    if not ctx.spec.has_sets:
        raise StoreError(
            f"{location} was built with overlap={ctx.spec.overlap!r} and has no sets of zones: "
            "build a new store with overlap='sets'"
        )
    with told_as(CorruptStoreError, f"{SETS_KEY} of {location} cannot be read", CURE):
        table = pq.read_table(pa.BufferReader(ctx.blobs.get(SETS_KEY)))
    zones, key = read_zone_table(location)
    place = pc.index_in(table["zone_id"], zones["zone_id"])
    if key != "zone_id":
        table = table.add_column(2, key_name(key, zones), zones[key].take(place))
    frame: pd.DataFrame = table.to_pandas()
    return frame


def _zone_frame(location: Location, data: bytes) -> geopandas.GeoDataFrame:
    """The frame of a zone table, whose geometry is walked through before GEOS sees it."""
    with told_as(CorruptStoreError, f"the zone table of {location} cannot be read", CURE):
        table = pq.read_table(pa.BufferReader(data))
        crs = json.loads(table.schema.metadata[b"geo"])["columns"]["geometry"]["crs"]
        wkb = table["geometry"].cast(pa.large_binary()).combine_chunks()
        code = walk_wkb(wkb).code
        is_left_out = (code == NULL) & (table["zone_id"].to_numpy() == 0)
        bad = np.flatnonzero((code != FINE) & ~is_left_out)
        if bad.size:
            raise CorruptStoreError(
                f"the zone table of {location} has no polygon that can be read in "
                f"{number_of(bad.size, 'row')}, first in row {bad[0]}: {CURE}"
            )
        frame = table.drop_columns(["geometry"]).to_pandas()
        polygons = geopandas.GeoSeries(objects_of(wkb), index=frame.index, crs=crs)
        frame.insert(table.column_names.index("geometry"), "geometry", polygons)
        return geopandas.GeoDataFrame(frame)


def open_store(
    store: StoreLike,
    *,
    verified: bool = False,
    unfinished: bool = False,
    storage_options: Options = None,
) -> xr.Dataset:
    """Open a finished store with xarray, lazily.

    Every chunk is compared with its receipt as it is read: a store that is updated after it was
    opened gives pixels of the plan that it was opened with, or an error.

    Parameters
    ----------
    store : path or URL
    verified : bool
        Compare every stored byte with its receipt before anything is read.
    unfinished : bool
        Open a store that is not finished too, with a `ZonerasterWarning`: what is not burned yet is
        0, or as an older build left it, and nothing is compared.
    storage_options : mapping, optional

    Returns
    -------
    xarray.Dataset
        Variable `zone` (y, x) or (layer, y, x), unsigned integers, or `cover` or `count` of such a
        product, with `spatial_ref`. Where a pixel lies is told by its coordinates, so that any part
        of it can be written and read elsewhere.

    Raises
    ------
    CorruptStoreError
        When a verification finds something.
    IncompleteBuildError
        While batches of its plan are missing.
    StoreError
        For a place that holds no store.
    """
    location = Location.of(store, storage_options)
    if verified:
        found = verify(location)
        if not found.ok:
            raise CorruptStoreError(str(found))
    blobs = location.blobs()
    spec = load_spec(location, blobs)
    if spec is None:
        if get_or_none(blobs, "zarr.json") is None:
            raise StoreError(f"no zone store at {location}: build it first")
        # The array alone, copied without what we keep beside it.
        return _bare(location)
    if unfinished:
        how_far = status(location).warning
        if how_far is not None:
            warn(f"{how_far}; what is not burned is 0, or as an older build left it")
            return _bare(location)
    digest = open_finished(location, cure=_OPEN_CURE).spec.digest()
    view = zarr_view(location, digest)
    dataset: xr.Dataset = xr.open_zarr(view, consolidated=True, zarr_format=3)
    refuse_changed(location, digest)
    return _movable(_of_plan(dataset, spec, location), location)


def _of_plan(dataset: xr.Dataset, spec: Spec, location: Location) -> xr.Dataset:
    """The same; metadata of another plan, which planning that was killed leaves, is refused."""
    n_layers = dict(dataset[spec.array].sizes).get("layer", 0)
    if n_layers != spec.n_layers:
        raise CorruptStoreError(
            f"{location} has {number_of(n_layers, 'layer')}, and its plan {spec.n_layers}: {CURE}"
        )
    return dataset


def _bare(location: Location) -> xr.Dataset:
    """The array as it is stored."""
    options = dict(location.options) or None
    with told_as(StoreError, f"{location} cannot be opened as Zarr", CURE):
        stored = xr.open_zarr(location.url, storage_options=options, consolidated=True)
    return _movable(stored, location)


def _movable(dataset: xr.Dataset, location: Location) -> xr.Dataset:
    """The same without attributes that would be wrong of a part of it."""
    dataset.attrs = without_places(dataset.attrs)
    for variable in dataset.variables.values():
        variable.attrs = without_places(variable.attrs)
    dataset.encoding["source"] = location.url
    for array in dataset.data_vars.values():
        # Arithmetic and files forget it, cutting does not: what is left are pixels of the store.
        array.encoding["zone_store"] = location
    return dataset
