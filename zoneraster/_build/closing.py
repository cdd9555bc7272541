"""The end of a build: counts, zone table, report."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pyarrow as pa

from zoneraster._build.plan import load_summary
from zoneraster._build.results import BuildReport, PlanSummary, RunSummary
from zoneraster._store import ledger
from zoneraster._store import get_table, put_table
from zoneraster._store import Snapshot, expected_receipts, found_receipts, open_snapshot, refuse_missing, stray_chunks
from zoneraster._store import REPORT_KEY, Spec
from zoneraster._store import COUNTS, ZONES_KEY, key_column
from zoneraster.blobs import Blobs, Location
from zoneraster.errors import name_some, number_of


def _zone_counts(ctx: Snapshot, names: Sequence[str]) -> tuple[dict[str, np.ndarray], int, int]:
    """Counts per zone id from all receipts, chunks added in plan order; chunks stored, bytes."""
    tables = [ledger.decode_receipt(name, ctx.blobs.get(name)) for name in names]
    rows = pa.concat_tables([ledger.SCHEMA.empty_table(), *tables])
    # A chunk's size stands in each of its rows, which follow each other.
    place = rows["chunk_row"].to_numpy().astype(np.int64) << 32 | rows["chunk_col"].to_numpy()
    first = np.flatnonzero(np.diff(place, prepend=-1))
    sizes = rows["nbytes"].to_numpy()[first]
    chunks, nbytes = int(np.count_nonzero(sizes)), int(sizes.sum())
    ids, where = np.unique(rows["zone_id"].to_numpy(), return_inverse=True)
    sums: dict[str, np.ndarray] = {"zone_id": ids}
    for name in COUNTS:
        values = rows[name].to_numpy()
        sums[name] = np.zeros(ids.size, values.dtype)
        np.add.at(sums[name], where, values)
    return sums, chunks, nbytes


def finish_store(location: Location, done: RunSummary) -> BuildReport:
    """`finish` under a lock that the caller holds."""
    started = time.perf_counter()
    ctx = open_snapshot(location)
    expected, have = expected_receipts(ctx), found_receipts(ctx.blobs)
    cure = "run the build again, it goes on where it stopped"
    refuse_missing(expected, have, location, cure=cure)
    # Chunks before receipts: killed in between, the next finish finds the same work.
    stray = stray_chunks(ctx)
    for key in stray:
        ctx.blobs.delete(key)
    names = set(expected.values())
    for keys in have.values():
        for key in keys:
            if key not in names:
                ctx.blobs.delete(key)
    sums, chunks, nbytes = _zone_counts(ctx, [expected[b] for b in sorted(expected)])
    keys, counts = _write_counts(ctx.blobs, ctx.spec, sums)
    summary = load_summary(location, ctx.blobs)
    report = _report(ctx.spec, summary, keys, counts, chunks, nbytes)
    report = replace(
        report,
        burned=done.burned,
        kept=done.kept,
        deleted=len(stray),
        seconds=done.seconds + time.perf_counter() - started,
    )
    # What is stored describes the store alone: equal stores have equal reports.
    said = {**report.to_dict(), "plan": ctx.spec.plan}
    for name in ("store", "burned", "kept", "deleted", "seconds"):
        del said[name]
    ctx.blobs.put(REPORT_KEY, json.dumps(said, indent=1, default=str).encode())
    return report


def _write_counts(
    blobs: Blobs, spec: Spec, sums: Mapping[str, np.ndarray]
) -> tuple[list[Any], dict[str, np.ndarray]]:
    """Put the zone table with its counts; return the keys and the counts in table order."""
    table = get_table(blobs, ZONES_KEY)
    ids = table["zone_id"].to_numpy()
    where = np.searchsorted(sums["zone_id"], ids)
    found = np.zeros(ids.size, bool)
    inside = where < sums["zone_id"].size
    found[inside] = sums["zone_id"][where[inside]] == ids[inside]
    counts = {}
    for name in COUNTS:
        values = np.zeros(ids.size, sums[name].dtype)
        values[found] = sums[name][where[found]]
        counts[name] = values
    metadata = table.schema.metadata
    table = table.drop_columns([name for name in COUNTS if name in table.column_names])
    for name, values in counts.items():
        table = table.add_column(table.num_columns - 1, name, pa.array(values))
    put_table(blobs, ZONES_KEY, table.replace_schema_metadata(metadata))
    return table[key_column(spec, table)].to_pylist(), counts


def _report(
    spec: Spec,
    summary: PlanSummary,
    keys: Sequence[Any],
    counts: Mapping[str, np.ndarray],
    chunks: int,
    nbytes: int,
) -> BuildReport:
    """The report of a finished plan."""
    empty = tuple(keys[i] for i in np.flatnonzero(counts["owned"] == 0).tolist())
    contested = tuple(keys[i] for i in np.flatnonzero(counts["contested"]).tolist())
    warnings = summary.warnings()
    if empty:
        warnings.append(f"{number_of(len(empty), 'zone')} without a pixel: {name_some(empty)}")
    if contested:
        warnings.append(
            f"{number_of(len(contested), 'zone')} with contested pixels, which went to the "
            f"{spec.overlap} one: {name_some(contested)}"
        )
    return BuildReport(
        store=summary.store,
        dtype=spec.dtype,
        shape=spec.grid.shape,
        n_zones=summary.n_zones,
        chunks=chunks,
        grid_chunks=summary.grid_chunks,
        nbytes=nbytes,
        claimed=int(counts["claimed"].sum()),
        owned=int(counts["owned"].sum()),
        contested=int(counts["contested"].sum()),
        zero_pixel_zones=empty,
        contested_zones=contested,
        warnings=tuple(warnings),
    )
