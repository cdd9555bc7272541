"""Make or reuse the plan of a store: spec, manifest, chunk index, zone table."""

from __future__ import annotations

import hashlib
import io
import json
import os
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numba as nb
import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import shapely

from zoneraster import manifest, partition, spec, store
from zoneraster.blobs import PRIVATE, Blobs, Location
from zoneraster.errors import StoreError, StoreMismatchError, ZonesError
from zoneraster.grid import Grid
from zoneraster.keys import assign_ids, id_dtype
from zoneraster.results import PlanSummary
from zoneraster.spec import Spec
from zoneraster.windows import Chunking
from zoneraster.zones import OnInvalid, Rings, Zones, read_zones, zone_rings

Progress = Callable[[str, int, int], None]
# Columns of the zone table that are ours.
COUNTS = ("claimed", "owned", "contested", "area_m2")
RESERVED = ("zone_id", *COUNTS, "geometry")


@dataclass(frozen=True, slots=True, kw_only=True)
class PlanOptions:
    """How zones are read and burned; None stands for what the store has, or the default.

    Parameters
    ----------
    grid : Grid or None
        None takes the grid of an existing store.
    key : str or None
    overlap : {"last", "first", "error"}
    priority : str or None
        A numeric column: zones are painted in ascending order of it.
    all_touched : bool
    min_pixels : {0, 1}
    chunks : int or (int, int)
    on_invalid : {"error", "skip", "repair"}
    integrity : {"receipt", "crc32c"}
    assume_crs : object
        Reference system of zones that declare none.
    layer : str or None
    """

    grid: Grid | None = None
    key: str | None = None
    overlap: str = "last"
    priority: str | None = None
    all_touched: bool = False
    min_pixels: int = 0
    chunks: int | tuple[int, int] = 4000
    on_invalid: OnInvalid = "error"
    integrity: str = "receipt"
    assume_crs: object = None
    layer: str | None = None


def _file_digest(path: Path) -> str:
    """Hash of a file, and of those that belong to it (.dbf, .shx, ...)."""
    digest = hashlib.blake2b(digest_size=16)
    for part in sorted(path.parent.glob(f"{glob_escape(path.stem)}.*")):
        if part == path or path.suffix.lower() == ".shp":
            digest.update(part.suffix.encode())
            with part.open("rb") as file:
                while block := file.read(1 << 24):
                    digest.update(block)
    return digest.hexdigest()


def glob_escape(text: str) -> str:
    """`text` with the wildcards of `Path.glob` taken literally."""
    return "".join(f"[{c}]" if c in "*?[" else c for c in text)


def _inputs_digest(source: object, options: PlanOptions, spec_: Spec) -> str:
    """Hash of the zones' file and all options; empty for zones that are not a local file."""
    if not isinstance(source, str | os.PathLike) or not Path(source).is_file():
        return ""
    said = [
        _file_digest(Path(source)), options.on_invalid, str(options.assume_crs), options.layer,
        options.key, spec_.overlap, spec_.priority, spec_.min_pixels, spec_.hash().hex(),
    ]  # fmt: skip
    return hashlib.blake2b(json.dumps(said).encode(), digest_size=16).hexdigest()


def _first_spec(options: PlanOptions, old: Spec | None) -> Spec:
    """The spec asked for, its dtype not yet known."""
    grid = options.grid or (old.grid if old else None)
    if grid is None:
        raise StoreError("a new store needs a grid: give grid=, e.g. Grid.from_bounds(...)")
    cut = Chunking.of(grid, options.chunks)
    return Spec(
        grid=grid,
        chunks=cut.chunks,
        batch=cut.batch,
        dtype=old.dtype if old else "uint8",
        overlap=options.overlap,
        priority=options.priority,
        all_touched=options.all_touched,
        min_pixels=options.min_pixels,
        integrity=options.integrity,
        key=options.key or (old.key if old else "row"),
    )


def load_index(blobs: Blobs) -> pa.Table:
    """The chunk index of a store's plan."""
    try:
        return pq.read_table(pa.BufferReader(blobs.get(spec.INDEX_KEY)))
    except (FileNotFoundError, pa.ArrowException) as err:
        raise StoreError("the plan is not readable: build again with the same zones") from err


def plan_is_whole(blobs: Blobs, digest: str) -> bool:
    """Manifest and chunk index are there and belong to the plan of the spec."""
    if not digest:
        return False
    try:
        with blobs.open(spec.MANIFEST_KEY) as file:
            marks = pq.ParquetFile(file).metadata.metadata or {}
        blobs.get(spec.PLAN_KEY)
        return (
            marks.get(manifest.PLAN_MARK.encode(), b"").decode() == digest
            and manifest.plan_digest(load_index(blobs)) == digest
        )
    except (FileNotFoundError, pa.ArrowException, StoreError, OSError):
        return False


def load_summary(location: Location, blobs: Blobs) -> PlanSummary:
    """What `make_plan` said about the plan of a store."""
    try:
        said = json.loads(blobs.get(spec.PLAN_KEY))
    except (FileNotFoundError, ValueError) as err:
        raise StoreError(f"the plan of {location} is not readable: build again") from err
    said["skipped"] = tuple(tuple(row) for row in said["skipped"])
    tuples = {name: tuple(said[name]) for name in ("invalid", "outside", "rescued", "wide")}
    return PlanSummary(**{**said, **tuples, "store": str(location)})


def paint_ranks(zones: Zones, options: Spec) -> npt.NDArray[np.int64]:
    """Painting order of the zones: ascending rank, so that the highest wins.

    Raises
    ------
    ZonesError
        For a priority column that is missing, not numeric or has gaps.
    """
    n = zones.table.num_rows
    order = np.arange(n)
    if options.priority is not None:
        if options.priority not in zones.table.column_names:
            raise ZonesError(
                f"no priority column {options.priority!r}: the zones have "
                + ", ".join(zones.table.column_names)
            )
        values = zones.table[options.priority]
        if not (pa.types.is_integer(values.type) or pa.types.is_floating(values.type)):
            raise ZonesError(f"priority column {options.priority!r} is {values.type}, not numeric")
        empty = np.flatnonzero(values.is_null(nan_is_null=True).to_numpy())
        if empty.size:
            raise ZonesError(
                f"priority column {options.priority!r} is empty in row {zones.row[empty[0]]}: "
                "give every zone a number"
            )
        order = np.argsort(values.to_numpy(), kind="stable")
    rank = np.empty(n, np.int64)
    rank[order] = np.arange(n)
    # "first" is "last" painted backwards.
    return rank[::-1].max(initial=0) - rank if options.overlap == "first" else rank


@nb.njit(nogil=True, cache=True)
def _holds_a_centre(edges, height, width):  # type: ignore[no-untyped-def]
    """Whether a part claims any pixel of the grid; stops at the first row that it does."""
    top, end = height, 0
    for i in range(edges.shape[0]):
        top = min(top, max(partition.first_row(edges[i, 1]), 0))
        end = max(end, min(partition.first_row(edges[i, 3]), height))
    columns = np.empty(edges.shape[0], np.int64)
    for row in range(top, end):
        n = 0
        for i in range(edges.shape[0]):
            if edges[i, 1] <= row + 0.5 < edges[i, 3]:
                k = partition.crossing(edges[i, 0], edges[i, 1], edges[i, 2], edges[i, 3], row)
                columns[n] = min(max(k, 0), width)
                n += 1
        columns[:n].sort()
        for j in range(0, n - 1, 2):
            if columns[j] < columns[j + 1]:
                return True
    return False


@nb.njit(nogil=True, cache=True)
def _zones_with_centres(u, v, ring_offsets, part_offsets, part_zone, n_zones, height, width):  # type: ignore[no-untyped-def]
    """Which zones claim at least one pixel of the grid, (n_zones,) bool."""
    found = np.zeros(n_zones, np.bool_)
    for p in range(part_zone.size):
        if not found[part_zone[p]]:
            edges, _ = partition.edges_in_rows(
                u, v, ring_offsets, part_offsets, np.array([p]), 0, height, False
            )
            found[part_zone[p]] = _holds_a_centre(edges, height, width)
    return found


def rescue(zones: Zones, rings: Rings, grid: Grid) -> tuple[Rings, npt.NDArray[np.int64]]:
    """Give zones without a pixel centre the pixel under their representative point.

    Returns
    -------
    rings : Rings
        With one unit square more for each such zone.
    rescued : (m,) int64
        Their positions; zones whose point lies off the grid are left out.
    """
    height, width = grid.shape
    n_zones = zones.table.num_rows
    found = _zones_with_centres(
        rings.u, rings.v, rings.ring_offsets, rings.part_offsets, rings.part_zone,
        n_zones, height, width,
    )  # fmt: skip
    lost = np.flatnonzero(~found)
    point = shapely.get_coordinates(shapely.point_on_surface(zones.geometry[lost]))
    u, v = grid.to_pixels(point[:, 0], point[:, 1])
    inside = (u >= 0) & (u < width) & (v >= 0) & (v < height)
    lost, col, row = lost[inside], np.floor(u[inside]), np.floor(v[inside])
    square_u = (col[:, None] + np.array([0.0, 1.0, 1.0, 0.0, 0.0])).ravel()
    square_v = (row[:, None] + np.array([0.0, 0.0, 1.0, 1.0, 0.0])).ravel()
    steps = np.arange(1, lost.size + 1)
    more = Rings(
        np.concatenate([rings.u, square_u]),
        np.concatenate([rings.v, square_v]),
        np.concatenate([rings.ring_offsets, rings.u.size + 5 * steps]),
        np.concatenate([rings.part_offsets, rings.part_offsets[-1] + steps]),
        np.concatenate([rings.part_zone, lost]),
    )
    return more, lost


def zone_table(zones: Zones, zone_id: npt.NDArray[np.uint32]) -> pa.Table:
    """The zone table as it is stored: zone_id, attributes, geometry as WKB (GeoParquet).

    A user's column whose name is ours is kept with ``_input`` behind it.
    """
    table = zones.table
    is_id = zones.key == "zone_id" and np.array_equal(
        table["zone_id"].to_numpy(zero_copy_only=False), zone_id
    )
    if is_id:
        table = table.drop_columns(["zone_id"])
    table = table.rename_columns([_stored_name(name) for name in table.column_names])
    table = table.add_column(0, "zone_id", pa.array(zone_id))
    table = table.append_column("geometry", pa.array(shapely.to_wkb(zones.geometry), pa.binary()))
    return table.replace_schema_metadata(None)


def put_table(blobs: Blobs, key: str, table: pa.Table) -> None:
    """Put a table as one Parquet object."""
    sink = io.BytesIO()
    pq.write_table(table, sink, compression="zstd", compression_level=1)
    blobs.put(key, sink.getvalue())


def _write_zone_table(blobs: Blobs, table: pa.Table, grid: Grid) -> None:
    """Put the zone table as GeoParquet."""
    table = table.replace_schema_metadata(store.geoparquet_metadata(grid.crs.to_json_dict()))
    put_table(blobs, store.ZONES_KEY, table)


def _stored_name(name: str) -> str:
    """Name of a user's column in the stored zone table."""
    return f"{name}_input" if name in RESERVED else name


def key_column(spec_: Spec, table: pa.Table) -> str:
    """Name of the key in the stored zone table; `zone_id` itself when the ids are the keys."""
    name = _stored_name(spec_.key)
    return name if name in table.column_names else spec_.key


def _are_ids(keys: pa.ChunkedArray, ids: npt.NDArray[np.uint32]) -> bool:
    """The keys are the zone ids themselves, so that no table of them is needed."""
    if not (pa.types.is_integer(keys.type) or pa.types.is_floating(keys.type)):
        return False
    return bool(np.array_equal(keys.to_numpy(), ids))


def _known_ids(blobs: Blobs) -> pa.Table | None:
    """Keys that ever had an id in this store."""
    try:
        return pq.read_table(pa.BufferReader(blobs.get(spec.KEYS_KEY)))
    except FileNotFoundError:
        return None


def _remember_ids(
    blobs: Blobs, known: pa.Table | None, keys: pa.ChunkedArray, ids: npt.NDArray[np.uint32]
) -> None:
    """Keep the ids of present and of retired keys, so that none is ever given to another zone."""
    now = pa.table({"key": keys, "zone_id": pa.array(ids)})
    if known is not None:
        retired = known.filter(pc.invert(pc.is_in(known["key"], value_set=keys.combine_chunks())))
        now = pa.concat_tables([now, retired])
    put_table(blobs, spec.KEYS_KEY, now.sort_by("zone_id"))


def _outside(
    boxes: npt.NDArray[np.float64], part_zone: npt.NDArray[np.int64], grid: Grid, n_zones: int
) -> npt.NDArray[np.int64]:
    """Positions of zones none of whose parts has a box that meets the grid."""
    height, width = grid.shape
    meets = (boxes[:, 2] > 0) & (boxes[:, 0] < width) & (boxes[:, 3] > 0) & (boxes[:, 1] < height)
    inside = np.zeros(n_zones, bool)
    inside[part_zone[meets]] = True
    return np.flatnonzero(~inside)


def _wide(
    boxes: npt.NDArray[np.float64], part_zone: npt.NDArray[np.int64], grid: Grid
) -> npt.NDArray[np.int64]:
    """Positions of zones with a part wider than half the globe."""
    if not grid.is_geographic:
        return np.zeros(0, np.int64)
    half = 180.0 / float(grid.resolution[0])
    return np.unique(part_zone[boxes[:, 2] - boxes[:, 0] > half])


def plan_store(
    source: object, location: Location, options: PlanOptions, *, progress: Progress | None = None
) -> PlanSummary:
    """Plan a store, or find that it holds this very plan already.

    Parameters
    ----------
    source : path, GeoDataFrame or lazy frame
    location : Location
    options : PlanOptions
    progress : callable, optional
        Called with ("read", done, 1), then with ("plan", done, total).

    Raises
    ------
    StoreError
        When the place holds something else; `StoreMismatchError` for other options.
    ZonesError
        For zones that cannot be burned.
    """
    blobs = location.blobs()
    old = spec.load_spec(location, blobs)
    if old is None:
        _refuse_foreign(location, blobs)
    new = _first_spec(options, old)
    if old is not None:
        spec.check_same(old, new, where=str(location))
        inputs = _inputs_digest(source, options, new)
        if inputs and inputs == old.inputs and plan_is_whole(blobs, old.plan):
            return replace(load_summary(location, blobs), reused=True)
    if progress is not None:
        progress("read", 0, 1)
    prepared = _prepare(source, location, options, old, new)
    if progress is not None:
        progress("read", 1, 1)
    return _write_plan(prepared, location, progress)


@dataclass(frozen=True, slots=True)
class _Prepared:
    """What a plan is made of; the polygons themselves are not kept."""

    spec: Spec
    source: manifest.ManifestInput
    keys: pa.ChunkedArray
    known: pa.Table | None
    table: pa.Table
    notes: dict[str, Any]  # Any: tuples of the user's keys


def _prepare(
    source: object, location: Location, options: PlanOptions, old: Spec | None, new: Spec
) -> _Prepared:
    """Read the zones, give them ids and complete the spec."""
    zones = read_zones(
        source,
        new.grid,
        # A store that is resumed knows its key; only row numbers are not a column to ask for.
        key=options.key or (old.key if old is not None and old.key != "row" else None),
        on_invalid=options.on_invalid,
        assume_crs=options.assume_crs,
        layer=options.layer,
    )
    known = _known_ids(location.blobs()) if old is not None else None
    keys = zones.table[zones.key]
    ids = assign_ids(keys, previous=known)
    if old is not None and known is None and not _are_ids(keys, ids):
        raise StoreMismatchError(
            f"the keys of {location} were its zone ids, which these keys cannot all be (whole "
            "numbers from 1 to 2**32 - 1): mend the keys, or build into a new folder"
        )
    dtype = id_dtype(int(ids.max()))
    if old is not None and dtype.itemsize <= old.itemsize:
        dtype = np.dtype(old.dtype)
    new = replace(new, dtype=dtype.name, key=zones.key)
    new = replace(new, inputs=_inputs_digest(source, options, new))
    if old is not None:
        spec.check_same(old, new, where=str(location))
    rings = zone_rings(zones, new.grid)
    boxes = manifest.part_boxes(rings)
    found = {
        "outside": _outside(boxes, rings.part_zone, new.grid, len(keys)),
        "wide": _wide(boxes, rings.part_zone, new.grid),
    }
    if new.min_pixels:
        rings, found["rescued"] = rescue(zones, rings, new.grid)
    notes: dict[str, Any] = {
        name: tuple(keys.take(pa.array(at)).to_pylist()) for name, at in found.items()
    }
    notes["skipped"] = tuple((int(s.row), s.key, s.reason) for s in zones.skipped)
    notes["invalid"] = zones.invalid
    return _Prepared(
        spec=new,
        source=manifest.ManifestInput(
            rings=rings,
            zone_id=ids,
            paint_rank=paint_ranks(zones, new),
            chunking=new.chunking,
            touched=new.all_touched,
            spec_hash=new.hash(),
        ),
        keys=keys,
        known=known,
        table=zone_table(zones, ids),
        notes=notes,
    )


def _write_plan(prepared: _Prepared, location: Location, progress: Progress | None) -> PlanSummary:
    """Write every object of a plan; the spec, which names it, comes last."""
    blobs, new, ids = location.blobs(), prepared.spec, prepared.source.zone_id
    tick = None if progress is None else lambda done, total: progress("plan", done, total)
    with blobs.writer(spec.MANIFEST_KEY) as sink:
        index = manifest.write_manifest(prepared.source, sink, progress=tick)
    put_table(blobs, spec.INDEX_KEY, index)
    if not _are_ids(prepared.keys, ids):
        _remember_ids(blobs, prepared.known, prepared.keys, ids)
    _write_zone_table(blobs, prepared.table, new.grid)
    cut = new.chunking
    objects = store.zarr_objects(
        new.grid, cut, np.dtype(new.dtype), crc32c=new.integrity == "crc32c"
    )
    store.write_zarr(blobs, objects)
    summary = PlanSummary(
        store=str(location),
        plan=manifest.plan_digest(index),
        n_zones=ids.size,
        n_chunks=index.num_rows,
        n_batches=len(index["batch"].unique()),
        grid_chunks=cut.n_rows * cut.n_cols,
        work=int(pc.sum(index["work"]).as_py() or 0),
        **prepared.notes,
    )
    # The place is not recorded: a store can be moved.
    said = summary.to_dict()
    said["store"] = ""
    del said["warnings"]
    blobs.put(spec.PLAN_KEY, json.dumps(said, indent=1, default=str).encode())
    blobs.put(spec.SPEC_KEY, replace(new, plan=summary.plan).to_json())
    return summary


def _refuse_foreign(location: Location, blobs: Blobs) -> None:
    """Refuse a place that holds something we did not put there."""
    for key, _ in blobs.list(""):
        if not key.startswith(PRIVATE) and key not in _OURS:
            raise StoreError(
                f"{location} holds something else already ({key}): nothing was touched, "
                "choose an empty or new folder"
            )


_OURS = {
    store.ZONES_KEY,
    "zarr.json",
    *(f"{name}/zarr.json" for name in (store.ARRAY, "x", "y", "spatial_ref")),
    "x/c/0", "y/c/0", "spatial_ref/c",
}  # fmt: skip
