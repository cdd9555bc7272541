"""Make or reuse the plan of a store: spec, manifest, chunk index, zone table."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from itertools import compress
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from zoneraster._build.asked import (
    PlanOptions,
    asked_spec,
    inputs_digest,
    old_spec,
    refuse_foreign,
)
from zoneraster._build.boxes import (
    SIDES,
    part_boxes,
    refuse_apart,
    sides_beyond,
    zones_outside,
)
from zoneraster._build.order import paint_ranks, ranks_again
from zoneraster._build.rescue import rescue_zones
from zoneraster._build.results import PlanSummary, load_summary, reported_plan, summary_bytes
from zoneraster._build.sets import faults_of_sets, known_sets, refuse_contests
from zoneraster._build.slabs import ManifestInput, slabs_again, write_manifest, write_slabs
from zoneraster._grid import Grid
from zoneraster._store import (
    INDEX_KEY,
    KEYS_KEY,
    KNOWN_SETS_KEY,
    MANIFEST_KEY,
    PLAN_KEY,
    PLANNED_KEY,
    PRODUCTS,
    REBURNED,
    REPORT_KEY,
    SPEC_KEY,
    ZONES_KEY,
    Spec,
    ZoneIds,
    ZoneSets,
    are_ids,
    check_same,
    find_zone_table,
    give_ids,
    id_dtype,
    ids_are_kept,
    kept_ids,
    make_zone_table,
    open_snapshot,
    plan_digest,
    plan_is_whole,
    planned_table,
    planned_table_bytes,
    read_zone_ids,
    says_the_same,
    table_bytes,
    withdraw_unexpected,
    zarr_objects,
)
from zoneraster._zones import (
    Kept,
    Rings,
    Zones,
    read_stable_zones,
    source_digest,
    zone_rings,
)
from zoneraster.blobs import Blobs, Location, get_or_none
from zoneraster.errors import CorruptStoreError, warn
from zoneraster.executors import Tick
from zoneraster.lock import renew_token


def plan_store(
    source: object, location: Location, options: PlanOptions, *, progress: Tick | None = None
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
    refuse_foreign(location)
    old = old_spec(location)
    asked = asked_spec(options, old)
    if progress is not None:
        progress("read", 0, 1)
    if old is not None and old.rule < asked.rule:
        warn(
            f"{location} was burned by rule {old.rule}: all its chunks are burned again by rule "
            f"{asked.rule}, in which the noise of coordinates decides no pixel"
        )
    if old is not None:
        changed = [
            f"{name} {getattr(asked, name)!r} instead of {getattr(old, name)!r}"
            for name in REBURNED
            if getattr(asked, name) != getattr(old, name)
        ]
        if changed:
            warn(f"{location} is burned again with {', '.join(changed)}")
        again = _plan_again(content, location, options, old, asked)
        if again is not None:
            if progress is not None:
                progress("read", 1, 1)
            return again
    kept = None if old is None else _kept_key(location, old)
    zones, content = _read(source, content, options, kept, asked.grid)
    prepared = prepare_zones(zones, content, location, options, old, asked)
    if progress is not None:
        progress("read", 1, 1)
    return _write_plan(prepared, location, progress)


def _plan_again(
    content: str, location: Location, options: PlanOptions, old: Spec, asked: Spec
) -> PlanSummary | None:
    """Plan in another order or by another rule, from the plan that a store has of these zones.

    None where that is another plan, not whole, or does not hold all that is needed.
    """
    said = {name: getattr(old, name) for name in REBURNED}
    before = inputs_digest(content, options, replace(asked, **said))
    blobs = location.blobs()
    # Which zones share pixels by another rule is found as they are planned.
    looks = asked.overlap in {"error", "sets"}
    is_other = old.rule < asked.rule or asked.min_pixels or looks
    if is_other or not before or before != old.inputs or not plan_is_whole(blobs, old.plan):
        return None
    try:
        if any(plan_faults(location, old)):
            return None
        summary = load_summary(location, blobs)
        _, data = find_zone_table(blobs, old)
    except CorruptStoreError:
        return None
    spec = replace(asked, key=old.key, inputs=inputs_digest(content, options, asked))
    table = planned_table(pq.read_table(pa.BufferReader(data)))
    with open_snapshot(location).open_manifest() as manifest, blobs.writer(MANIFEST_KEY) as sink:
        slabs = slabs_again(manifest, *ranks_again(table, spec))
        index = write_slabs(slabs, spec.hash(), sink)
        summary = replace(summary, plan=plan_digest(index))
        renew_token(location, blobs)
    objects = {
        INDEX_KEY: table_bytes(index),
        PLANNED_KEY: planned_table_bytes(table, spec.grid, summary.plan),
        PLAN_KEY: summary_bytes(summary),
        SPEC_KEY: replace(spec, plan=summary.plan).to_json(),
    }
    _put_plan(blobs, objects)
    return summary


def find_plan(content: str, location: Location, options: PlanOptions) -> PlanSummary | None:
    """The plan that a store holds, where it is whole and the one asked for; nothing is written.

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
    blobs, old = location.blobs(), old_spec(location)
    if old is None:
        return None
    asked = asked_spec(options, old)
    check_same(old, asked, where=str(location))
    inputs = inputs_digest(content, options, asked)
    if not inputs or inputs != old.inputs or not plan_is_whole(blobs, old.plan):
        return None
    try:
        missing, damaged = plan_faults(location, old)
        return None if missing or damaged else replace(load_summary(location, blobs), reused=True)
    except CorruptStoreError:
        return None


def plan_faults(location: Location, spec: Spec) -> tuple[list[str], list[str]]:
    """Keys of a plan that are missing, and that are damaged, beside its manifest and index.

    Raises
    ------
    CorruptStoreError
        For one that nothing can be said of the others without.
    """
    blobs = location.blobs()
    missing, damaged = [], []
    for key, planned in _zarr_objects(spec).items():
        stored = get_or_none(blobs, key)
        if stored is None:
            missing.append(key)
        elif not says_the_same(stored, planned):
            damaged.append(key)
    key, data = find_zone_table(blobs, spec)
    if data is None:
        return [*missing, key], damaged
    try:
        zones = read_zone_ids(location, spec, data)
    except CorruptStoreError:
        return missing, [*damaged, key]
    if spec.has_sets:
        lost, torn = faults_of_sets(blobs, spec.plan, is_finished=key == ZONES_KEY)
        missing, damaged = missing + lost, damaged + torn
    if zones.num_rows != load_summary(location, blobs).n_zones:
        damaged.append(key)
    if not ids_are_kept(blobs, zones):
        (damaged if blobs.has(KEYS_KEY) else missing).append(KEYS_KEY)
    # A public table without a report of the same plan may be that of an older one.
    if key == ZONES_KEY and reported_plan(blobs) != spec.plan:
        (damaged if blobs.has(REPORT_KEY) else missing).append(REPORT_KEY)
    return missing, damaged


def _zarr_objects(spec: Spec) -> dict[str, bytes]:
    """Metadata and coordinates of the array that a spec describes."""
    has_codec = spec.integrity == "crc32c"
    return zarr_objects(
        spec.grid, spec.chunking, np.dtype(spec.dtype), crc32c=has_codec, product=spec.product
    )


# ---- what a plan is made of ----------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Prepared:
    """What a plan is made of; the polygons themselves are not kept.

    Parameters
    ----------
    spec : Spec
        Complete but for the digest of the plan.
    source : ManifestInput
    ids : ZoneIds
    table : pyarrow.Table
        The planned zone table.
    sets : ZoneSets or None
        Those that had an id before, where pixels stand for sets.
    forgets : bool
        Ids of sets are given anew, so that no receipt of before holds.
    notes : dict
        Fields of `PlanSummary` that are about single zones.
    """

    spec: Spec
    source: ManifestInput
    ids: ZoneIds
    table: pa.Table
    sets: ZoneSets | None
    forgets: bool
    notes: dict[str, Any]  # Any: tuples of the user's keys


def prepare_zones(
    zones: Zones,
    content: str,
    location: Location,
    options: PlanOptions,
    old: Spec | None,
    asked: Spec,
) -> Prepared:
    """Give the zones ids, complete the spec; nothing is written."""
    ids = _ids(zones, location, old, asked)
    spec = replace(asked, dtype=_dtype(ids, old, asked), key=zones.key)
    spec = replace(spec, inputs=inputs_digest(content, options, spec))
    if old is not None:
        check_same(old, spec, where=str(location))
    rings, notes = _rings_and_notes(zones, spec)
    manifest = ManifestInput(
        rings=rings,
        zone_id=ids.zone_id,
        paint_rank=paint_ranks(zones, spec),
        chunking=spec.chunking,
        spec_hash=spec.hash(),
        overlap=spec.overlap,
        rule=spec.own_rule,
    )
    sets = known_sets(location, spec, highest_id=int(ids.zone_id.max()))
    table = make_zone_table(zones, ids.zone_id)
    return Prepared(spec, manifest, ids, table, *sets, notes)


def _ids(zones: Zones, location: Location, old: Spec | None, asked: Spec) -> ZoneIds:
    """Ids of the zones, those that the store gave before."""
    blobs = location.blobs()
    try:
        _, data = find_zone_table(blobs, old)
        before = None if data is None else read_zone_ids(location, old or asked, data)
    except CorruptStoreError:
        before = None
    # Where only the spec was lost, the zone table says that ids were given.
    is_new = old is None and not blobs.has(ZONES_KEY)
    row = zones.row if zones.is_numbered else None
    return give_ids(location, zones.keys(), is_new=is_new, zones=before, row=row)


def _read(
    source: object, content: str, options: PlanOptions, kept: Kept | None, grid: Grid
) -> tuple[Zones, str]:
    """Zones in the CRS of the grid, and the digest of what they were read from."""
    return read_stable_zones(
        source,
        grid,
        digest=content,
        key=options.key,
        on_invalid=options.on_invalid,
        assume_crs=options.assume_crs,
        layer=options.layer,
        kept=kept,
    )


def _kept_key(location: Location, old: Spec) -> Kept:
    """The key that the zones of a store have, and what its rows are counted from.

    zoneraster 0.1 counted them from 1, and so the numbers were the ids.
    """
    blobs = location.blobs()
    if old.key != "row" or kept_ids(blobs) is not None:
        return Kept(old.key)
    try:
        _, data = find_zone_table(blobs, old)
        zones = None if data is None else read_zone_ids(location, old, data)
    except CorruptStoreError:
        zones = None
    is_from_one = zones is not None and are_ids(zones["key"], zones["zone_id"])
    return Kept(old.key, first_row=int(is_from_one))


def _dtype(ids: ZoneIds, old: Spec | None, asked: Spec) -> str:
    """Name of the dtype that holds all that pixels may be; that of the store where it does."""
    fixed = "uint32" if asked.has_sets else PRODUCTS[asked.product][2]
    if fixed is not None:
        return fixed
    dtype = id_dtype(int(ids.zone_id.max()))
    return old.dtype if old is not None and dtype.itemsize <= old.itemsize else dtype.name


def _rings_and_notes(zones: Zones, spec: Spec) -> tuple[Rings, dict[str, Any]]:
    """What is burned, and what `PlanSummary` says about single zones."""
    rings, keys = zone_rings(zones, spec.grid, rule=spec.rule), zones.keys()
    boxes = part_boxes(rings)
    found = {"outside": zones_outside(boxes, rings.part_zone, spec.grid, len(keys))}
    if found["outside"].size == len(keys):
        refuse_apart(zones, spec.grid)
    beyond = sides_beyond(boxes, rings.part_zone, spec.grid, len(keys))
    beyond[found["outside"]] = False
    found["partly"] = np.flatnonzero(beyond.any(axis=1))
    if spec.min_pixels:
        rings, found["rescued"] = rescue_zones(zones, rings, spec.grid, rule=spec.rule)
    notes: dict[str, Any] = {
        name: tuple(keys.take(pa.array(at)).to_pylist()) for name, at in found.items()
    }
    sides = (", ".join(compress(SIDES, beyond[at])) for at in found["partly"].tolist())
    notes["partly"] = tuple(zip(notes["partly"], sides, strict=True))
    notes["notes"] = zones.notes
    notes["skipped"] = tuple((one.row, one.key, one.reason) for one in zones.skipped)
    notes["repaired" if zones.is_repaired else "invalid"] = zones.invalid
    for name in ("cut", "wide", "operation"):
        notes[name] = getattr(zones, name)
    return rings, notes


# ---- what is written -----------------------------------------------------------------------------


def _write_plan(prepared: Prepared, location: Location, progress: Tick | None) -> PlanSummary:
    """Write every object of a plan; the spec, which names it, comes last.

    What can fail does so before anything is put: the manifest appears when its writer is left.
    """
    blobs = location.blobs()
    tick = None if progress is None else lambda done, total: progress("plan", done, total)
    with blobs.writer(MANIFEST_KEY) as sink:
        index, found, contests = write_manifest(prepared.source, sink, progress=tick)
        refuse_contests(contests, prepared.ids)
        if prepared.sets is not None:
            prepared = replace(prepared, sets=prepared.sets.with_more(found))
        summary = summary_of(prepared, location, index)
        objects = _objects(prepared, index, summary)
        renew_token(location, blobs)
        if prepared.forgets:
            withdraw_unexpected(blobs, index.slice(0, 0))
        elif not blobs.has(SPEC_KEY):
            withdraw_unexpected(blobs, index)
    _put_plan(blobs, objects)
    return summary


def _put_plan(blobs: Blobs, objects: Mapping[str, bytes | None]) -> None:
    """Put the objects of a plan; the spec once all others are on disk."""
    _put_all(blobs, {key: data for key, data in objects.items() if key != SPEC_KEY})
    _put_all(blobs, {SPEC_KEY: objects[SPEC_KEY]})


def _put_all(blobs: Blobs, objects: Mapping[str, bytes | None]) -> None:
    """Put or delete objects in their order, and wait until they are on disk."""
    for key, data in objects.items():
        if data is None:
            blobs.delete(key)
        else:
            blobs.put(key, data, synced=True)
    blobs.sync(objects)


def _objects(prepared: Prepared, index: pa.Table, summary: PlanSummary) -> dict[str, bytes | None]:
    """Objects of a plan beside its manifest, in the order in which they are put; None: none."""
    spec, kept, sets = prepared.spec, prepared.ids.kept, prepared.sets
    return {
        INDEX_KEY: table_bytes(index),
        KEYS_KEY: None if kept is None else table_bytes(kept),
        KNOWN_SETS_KEY: None if sets is None else sets.to_bytes(summary.plan),
        **_zarr_objects(spec),
        PLANNED_KEY: planned_table_bytes(prepared.table, spec.grid, summary.plan),
        PLAN_KEY: summary_bytes(summary),
        SPEC_KEY: replace(spec, plan=summary.plan).to_json(),
    }


def summary_of(prepared: Prepared, location: Location, index: pa.Table) -> PlanSummary:
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
