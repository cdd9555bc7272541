"""Make or reuse the plan of a store: spec, manifest, chunk index, zone table."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from zoneraster._build.boxes import part_boxes, zones_outside, zones_wide
from zoneraster._build.order import paint_ranks
from zoneraster._build.rescue import rescue_zones
from zoneraster._build.results import PlanSummary, load_summary, put_summary
from zoneraster._build.slabs import ManifestInput, write_manifest
from zoneraster._grid import Chunking, Grid
from zoneraster._store import (
    ARRAY,
    INDEX_KEY,
    MANIFEST_KEY,
    SPEC_KEY,
    ZONES_KEY,
    Spec,
    ZoneIds,
    check_same,
    give_ids,
    id_dtype,
    load_spec,
    make_zone_table,
    plan_digest,
    plan_is_whole,
    put_ids,
    put_planned_table,
    put_table,
    write_zarr,
    zarr_objects,
)
from zoneraster._zones import OnInvalid, Rings, Zones, read_stable_zones, source_digest, zone_rings
from zoneraster.blobs import PRIVATE, Blobs, Location
from zoneraster.errors import StoreError
from zoneraster.executors import Progress
from zoneraster.lock import renew_token


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
    content = source_digest(source)
    found = find_plan(content, location, options)
    if found is not None:
        return found
    blobs = location.blobs()
    old = load_spec(location, blobs)
    if old is None:
        _refuse_foreign(location, blobs)
    asked = _asked_spec(options, old)
    if progress is not None:
        progress("read", 0, 1)
    zones, content = _read(source, content, options, old, asked.grid)
    prepared = _prepare(zones, content, location, options, old, asked)
    if progress is not None:
        progress("read", 1, 1)
    return _write_plan(prepared, location, progress)


def find_plan(content: str, location: Location, options: PlanOptions) -> PlanSummary | None:
    """The plan that a store holds, where it is the one asked for; nothing is written.

    Parameters
    ----------
    content : str
        Digest of the zones, see `source_digest`; without one no plan is known again.
    location : Location
    options : PlanOptions

    Raises
    ------
    StoreMismatchError
        When the store has other options.
    """
    blobs = location.blobs()
    old = load_spec(location, blobs)
    if old is None:
        return None
    asked = _asked_spec(options, old)
    check_same(old, asked, where=str(location))
    inputs = _inputs_digest(content, options, asked)
    if inputs and inputs == old.inputs and plan_is_whole(blobs, old.plan):
        return replace(load_summary(location, blobs), reused=True)
    return None


# ---- what is asked for ---------------------------------------------------------------------------


def _refuse_foreign(location: Location, blobs: Blobs) -> None:
    """Refuse a place that holds something we did not put there."""
    for key, _ in blobs.list(""):
        if not key.startswith(PRIVATE) and key not in _OURS:
            raise StoreError(
                f"{location} holds something else already ({key}): nothing was touched, "
                "choose an empty or new folder"
            )


_OURS = {
    ZONES_KEY,
    "zarr.json",
    *(f"{name}/zarr.json" for name in (ARRAY, "x", "y", "spatial_ref")),
    "x/c/0", "y/c/0", "spatial_ref/c",
}  # fmt: skip


def _asked_spec(options: PlanOptions, old: Spec | None) -> Spec:
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


def _inputs_digest(content: str, options: PlanOptions, spec: Spec) -> str:
    """Hash of the zones (their digest `content`) and all options; empty where that is."""
    if not content:
        return ""
    said = [
        content, options.on_invalid, str(options.assume_crs), options.layer, options.key,
        spec.overlap, spec.priority, spec.min_pixels, spec.hash().hex(),
    ]  # fmt: skip
    return hashlib.blake2b(json.dumps(said).encode(), digest_size=16).hexdigest()


# ---- what a plan is made of ----------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Prepared:
    """What a plan is made of; the polygons themselves are not kept.

    Parameters
    ----------
    spec : Spec
        Complete but for the digest of the plan.
    source : ManifestInput
    ids : ZoneIds
    table : pyarrow.Table
        The planned zone table.
    notes : dict
        Fields of `PlanSummary` that are about single zones.
    """

    spec: Spec
    source: ManifestInput
    ids: ZoneIds
    table: pa.Table
    notes: dict[str, Any]  # Any: tuples of the user's keys


def _prepare(
    zones: Zones,
    content: str,
    location: Location,
    options: PlanOptions,
    old: Spec | None,
    asked: Spec,
) -> _Prepared:
    """Give the zones ids, complete the spec; nothing is written."""
    ids = give_ids(location, zones.keys(), is_new=old is None)
    spec = replace(asked, dtype=_dtype(ids, old), key=zones.key)
    spec = replace(spec, inputs=_inputs_digest(content, options, spec))
    if old is not None:
        check_same(old, spec, where=str(location))
    rings, notes = _rings_and_notes(zones, spec)
    manifest = ManifestInput(
        rings=rings,
        zone_id=ids.zone_id,
        paint_rank=paint_ranks(zones, spec),
        chunking=spec.chunking,
        touched=spec.all_touched,
        spec_hash=spec.hash(),
    )
    return _Prepared(spec, manifest, ids, make_zone_table(zones, ids.zone_id), notes)


def _read(
    source: object, content: str, options: PlanOptions, old: Spec | None, grid: Grid
) -> tuple[Zones, str]:
    """Zones in the CRS of the grid, and the digest of what they were read from."""
    return read_stable_zones(
        source,
        grid,
        digest=content,
        # A store that is resumed knows its key; only row numbers are not a column to ask for.
        key=options.key or (old.key if old is not None and old.key != "row" else None),
        on_invalid=options.on_invalid,
        assume_crs=options.assume_crs,
        layer=options.layer,
    )


def _dtype(ids: ZoneIds, old: Spec | None) -> str:
    """Name of the dtype that holds all ids; that of the store where it does."""
    dtype = id_dtype(int(ids.zone_id.max()))
    return old.dtype if old is not None and dtype.itemsize <= old.itemsize else dtype.name


def _rings_and_notes(zones: Zones, spec: Spec) -> tuple[Rings, dict[str, Any]]:
    """What is burned, and what `PlanSummary` says about single zones."""
    rings, keys = zone_rings(zones, spec.grid), zones.keys()
    boxes = part_boxes(rings)
    found = {
        "outside": zones_outside(boxes, rings.part_zone, spec.grid, len(keys)),
        "wide": zones_wide(boxes, rings.part_zone, spec.grid),
    }
    if spec.min_pixels:
        rings, found["rescued"] = rescue_zones(zones, rings, spec.grid)
    notes: dict[str, Any] = {
        name: tuple(keys.take(pa.array(at)).to_pylist()) for name, at in found.items()
    }
    notes["skipped"] = tuple((one.row, one.key, one.reason) for one in zones.skipped)
    notes["invalid"] = zones.invalid
    return rings, notes


# ---- what is written -----------------------------------------------------------------------------


def _write_plan(prepared: _Prepared, location: Location, progress: Progress | None) -> PlanSummary:
    """Write every object of a plan; the spec, which names it, comes last."""
    blobs, spec = location.blobs(), prepared.spec
    renew_token(location, blobs)
    tick = None if progress is None else lambda done, total: progress("plan", done, total)
    with blobs.writer(MANIFEST_KEY) as sink:
        index = write_manifest(prepared.source, sink, progress=tick)
    put_table(blobs, INDEX_KEY, index)
    put_ids(blobs, prepared.ids)
    objects = zarr_objects(
        spec.grid, spec.chunking, np.dtype(spec.dtype), crc32c=spec.integrity == "crc32c"
    )
    write_zarr(blobs, objects)
    summary = _summary(prepared, location, index)
    put_planned_table(blobs, prepared.table, spec.grid, summary.plan)
    put_summary(blobs, summary)
    blobs.put(SPEC_KEY, replace(spec, plan=summary.plan).to_json())
    return summary


def _summary(prepared: _Prepared, location: Location, index: pa.Table) -> PlanSummary:
    """What is said of a plan."""
    cut = prepared.spec.chunking
    return PlanSummary(
        store=str(location),
        plan=plan_digest(index),
        n_zones=len(prepared.ids.keys),
        n_chunks=index.num_rows,
        n_batches=len(index["batch"].unique()),
        grid_chunks=cut.n_rows * cut.n_cols,
        work=int(pc.sum(index["work"]).as_py() or 0),
        **prepared.notes,
    )
