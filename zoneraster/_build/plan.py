"""Make or reuse the plan of a store: spec, manifest, chunk index, zone table."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from itertools import compress
from typing import Any, TypeAlias

import numpy as np
import pyarrow as pa
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
    columns_twice,
    refuse_apart,
    sides_beyond,
    zones_outside,
)
from zoneraster._build.layers import Layering, give_layers, known_layers, layers_said
from zoneraster._build.objects import (
    clear_turned,
    plan_faults,
    planned_bytes,
    put_plan,
    said_of,
    zarr_objects_of,
)
from zoneraster._build.order import paint_ranks, ranks_again
from zoneraster._build.rescue import rescue_zones
from zoneraster._build.results import PlanSummary, load_summary, summary_bytes
from zoneraster._build.sets import known_sets, refuse_contests
from zoneraster._build.slabs import (
    ManifestInput,
    find_sets,
    sets_of,
    slabs_again,
    write_manifest,
    write_slabs,
)
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
    kept_ids,
    layers_of,
    make_zone_table,
    open_snapshot,
    plan_is_whole,
    planned_table,
    read_zone_ids,
    table_bytes,
    withdraw_unexpected,
)
from zoneraster._zones import (
    Kept,
    Rings,
    Zones,
    read_stable_zones,
    source_digest,
    zone_rings,
)
from zoneraster.arrays import Ints
from zoneraster.blobs import Location
from zoneraster.errors import CorruptStoreError, warn
from zoneraster.executors import Tick
from zoneraster.lock import renew_token

# What is done of a phase, and its total.
_Done: TypeAlias = Callable[[int, int], None]


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
    # Which zones share pixels by another rule is found as they are planned; for layers here too.
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
    table = pq.read_table(pa.BufferReader(data))
    zone_id, rank = ranks_again(planned_table(table), spec)
    layering, layer = None, None
    with open_snapshot(location).open_manifest() as manifest, blobs.writer(MANIFEST_KEY) as sink:
        if spec.has_layers:
            sets = sets_of(slabs_again(manifest, zone_id, rank, sets_by=spec.own_rule))
            layering = give_layers(sets, zone_id, layers_of(table, zone_id))
            spec, layer = replace(spec, n_layers=layering.n_layers), layering.layer
            rank = layering.paint_rank
        index = write_slabs(slabs_again(manifest, zone_id, rank, layer=layer), spec.hash(), sink)
        summary = replace(summary, **said_of(index, spec), **layers_said(layering))
        renew_token(location, blobs)
        if spec.has_layers != old.has_layers:
            clear_turned(blobs, spec, index)
    objects = {
        INDEX_KEY: table_bytes(index),
        **(zarr_objects_of(spec) if spec.n_layers != old.n_layers else {}),
        PLANNED_KEY: planned_bytes(planned_table(table), spec, layering, summary.plan),
        PLAN_KEY: summary_bytes(summary),
        SPEC_KEY: replace(spec, plan=summary.plan).to_json(),
    }
    put_plan(blobs, objects)
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
    known_layers : (n_zones,) int64
        Layers of before, where there are layers now.
    turns : bool
        Chunks of before may be those of an array with other dimensions.
    notes : dict
        Fields of `PlanSummary` that are about single zones.
    """

    spec: Spec
    source: ManifestInput
    ids: ZoneIds
    table: pa.Table
    sets: ZoneSets | None
    forgets: bool
    known_layers: Ints
    turns: bool
    notes: dict[str, Any]  # Any: tuples of the user's keys
    layering: Layering | None = None

    def in_layers(self, progress: _Done | None) -> Prepared:
        """The same with a layer for each zone."""
        found = find_sets(self.source, progress=progress)
        layering = give_layers(found, self.ids.zone_id.astype(np.int64), self.known_layers)
        source = replace(self.source, layer=layering.layer, paint_rank=layering.paint_rank)
        spec = replace(self.spec, n_layers=layering.n_layers)
        return replace(self, spec=spec, source=source, layering=layering)


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
    layers = known_layers(location.blobs(), old, ids.zone_id.astype(np.int64))
    turns = old is None or old.has_layers != spec.has_layers
    return Prepared(spec, manifest, ids, table, *sets, layers, turns, notes)


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
    boxes = rings.boxes
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
    notes["notes"] = (*zones.notes, *columns_twice(spec.grid))
    notes["skipped"] = tuple((one.row, one.key, one.reason) for one in zones.skipped)
    notes["repaired" if zones.is_repaired else "invalid"] = zones.invalid
    for name in ("cut", "wide", "operation"):
        notes[name] = getattr(zones, name)
    return rings, notes


class _Passes:
    """Progress of planning that sweeps the grid several times."""

    def __init__(self, progress: Tick | None, n: int) -> None:
        self._progress, self._n, self._begun = progress, n, 0

    def tick(self) -> _Done | None:
        """What the next sweep calls with (done, total) of its own."""
        progress, before = self._progress, self._begun
        self._begun += 1
        if progress is None:
            return None
        return lambda done, total: progress("plan", before * total + done, self._n * total)


# ---- what is written -----------------------------------------------------------------------------


def _write_plan(prepared: Prepared, location: Location, progress: Tick | None) -> PlanSummary:
    """Write every object of a plan; the spec, which names it, comes last.

    What can fail does so before anything is put: the manifest appears when its writer is left.
    """
    blobs = location.blobs()
    passes = _Passes(progress, 2 if prepared.spec.has_layers else 1)
    if prepared.spec.has_layers:
        prepared = prepared.in_layers(passes.tick())
    with blobs.writer(MANIFEST_KEY) as sink:
        index, found, contests = write_manifest(prepared.source, sink, progress=passes.tick())
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
        if prepared.turns:
            clear_turned(blobs, prepared.spec, index)
    put_plan(blobs, objects)
    return summary


def _objects(prepared: Prepared, index: pa.Table, summary: PlanSummary) -> dict[str, bytes | None]:
    """Objects of a plan beside its manifest, in the order in which they are put; None: none."""
    spec, kept, sets = prepared.spec, prepared.ids.kept, prepared.sets
    return {
        INDEX_KEY: table_bytes(index),
        KEYS_KEY: None if kept is None else table_bytes(kept),
        KNOWN_SETS_KEY: None if sets is None else sets.to_bytes(summary.plan),
        **zarr_objects_of(spec),
        PLANNED_KEY: planned_bytes(prepared.table, spec, prepared.layering, summary.plan),
        PLAN_KEY: summary_bytes(summary),
        SPEC_KEY: replace(spec, plan=summary.plan).to_json(),
    }


def summary_of(prepared: Prepared, location: Location, index: pa.Table) -> PlanSummary:
    """What is said of a plan."""
    return PlanSummary(
        store=str(location),
        n_zones=len(prepared.ids.keys),
        **said_of(index, prepared.spec),
        **layers_said(prepared.layering),
        **prepared.notes,
    )
