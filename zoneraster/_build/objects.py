"""Objects of a plan: what is put and in which order, and which are missing or damaged."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from zoneraster._build.layers import Layering
from zoneraster._build.results import load_summary, reported_plan
from zoneraster._build.sets import faults_of_sets
from zoneraster._store import (
    KEYS_KEY,
    REPORT_KEY,
    SPEC_KEY,
    ZONES_KEY,
    Spec,
    chunks_fit,
    find_zone_table,
    ids_are_kept,
    plan_digest,
    planned_table_bytes,
    read_zone_ids,
    says_the_same,
    with_layers,
    withdraw_unexpected,
    zarr_objects,
)
from zoneraster.blobs import Blobs, Location, get_or_none
from zoneraster.errors import CorruptStoreError


def plan_faults(location: Location, spec: Spec) -> tuple[list[str], list[str]]:
    """Keys of a plan that are missing, and that are damaged, beside its manifest and index.

    Raises
    ------
    CorruptStoreError
        For one that nothing can be said of the others without.
    """
    blobs = location.blobs()
    missing, damaged = [], []
    for key, planned in zarr_objects_of(spec).items():
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


def zarr_objects_of(spec: Spec) -> dict[str, bytes]:
    """Metadata and coordinates of the array that a spec describes."""
    has_codec = spec.integrity == "crc32c"
    return zarr_objects(
        spec.grid,
        spec.chunking,
        np.dtype(spec.dtype),
        crc32c=has_codec,
        product=spec.product,
        n_layers=spec.n_layers,
    )


def put_plan(blobs: Blobs, objects: Mapping[str, bytes | None]) -> None:
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


def clear_turned(blobs: Blobs, spec: Spec, index: pa.Table) -> None:
    """Delete the chunks of an array of other dimensions, and first the receipts of all of them.

    On disk the name of a chunk of one may be that of a folder of the other.
    """
    if not chunks_fit(blobs, spec.array, n_dims=3 if spec.has_layers else 2):
        withdraw_unexpected(blobs, index.slice(0, 0))
        blobs.clear(f"{spec.array}/c")


def planned_bytes(table: pa.Table, spec: Spec, layering: Layering | None, plan: str) -> bytes:
    """The planned zone table of a plan."""
    if layering is not None:
        table = with_layers(table, layering.layer, layering.contested)
    return planned_table_bytes(table, spec.grid, plan)


def said_of(index: pa.Table, spec: Spec) -> dict[str, Any]:  # Any: a digest and numbers
    """Fields of `PlanSummary` that follow from the chunk index."""
    cut = spec.chunking
    return {
        "plan": plan_digest(index),
        "n_chunks": index.num_rows,
        "n_batches": len(index["batch"].unique()),
        "grid_chunks": cut.n_rows * cut.n_cols * max(spec.n_layers, 1),
        "work": int(pc.sum(index["work"]).as_py() or 0),
    }
