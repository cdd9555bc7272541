"""The end of a build: counts, zone table, report."""

from __future__ import annotations

import itertools
import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from zoneraster._build.results import BuildReport, PlanSummary, RunSummary, load_summary
from zoneraster._store import (
    REPORT_KEY,
    SETS_KEY,
    Spec,
    changes_of_zones,
    close_zone_table,
    expected_receipts,
    found_receipts,
    ledger,
    open_snapshot,
    refuse_missing,
    stray_chunks,
    sum_counts,
)
from zoneraster.arrays import Numbers
from zoneraster.blobs import Location
from zoneraster.errors import NAMED, name_some, number_of


def finish_store(location: Location, done: RunSummary) -> BuildReport:
    """`finish` under a lock that the caller holds."""
    started = time.perf_counter()
    ctx = open_snapshot(location)
    expected = expected_receipts(ctx)
    have = found_receipts(ctx.blobs, expected)
    cure = "run the build again, it goes on where it stopped"
    refuse_missing(expected, have, location, cure=cure)
    # Receipts before the chunks that they name: no receipt says what is no longer there.
    names = set(expected.values())
    old = [key for key in itertools.chain.from_iterable(have.values()) if key not in names]
    for key in old:
        ctx.blobs.delete(key)
    # One name stands for the folder: the receipts themselves were synced as they were put.
    ctx.blobs.sync([*old, *sorted(names)[:1]])
    stray = stray_chunks(ctx)
    for key in stray:
        ctx.blobs.delete(key)
    receipts = (expected[b] for b in sorted(expected))
    tables = [ledger.decode_receipt(name, ctx.blobs.get(name)) for name in receipts]
    sums, chunks, nbytes = sum_counts(tables)
    n_sets = together = 0
    if ctx.sets is not None:
        is_set = sums["zone_id"] >= ctx.sets.first
        n_sets, together = int(is_set.sum()), int(sums["owned"][is_set].sum())
        # Before the zone table, which says that all is there.
        ctx.blobs.put(SETS_KEY, ctx.sets.public_bytes(sums), synced=True)
        ctx.blobs.sync([SETS_KEY])
    changes = changes_of_zones(ctx.blobs, ctx.spec)
    summary = load_summary(location, ctx.blobs)
    # Of a pixel that is in several layers all but one owner count once too often.
    beyond = together - summary.shared
    keys, counts = close_zone_table(location, ctx.blobs, ctx.spec, sums, beyond)
    report = _report(ctx.spec, summary, keys, counts, chunks, nbytes)
    report = replace(
        report,
        new=changes.new,
        gone=changes.gone,
        changed=changes.changed,
        n_sets=n_sets,
        together=together,
        burned=done.burned,
        kept=done.kept,
        deleted=len(stray),
        seconds=done.seconds + time.perf_counter() - started,
    )
    # What is stored describes the store alone: equal stores have equal reports.
    said = {**report.to_dict(), "plan": ctx.spec.plan}
    left_out = ["store", "burned", "kept", "deleted", "seconds", "new", "gone", "changed"]
    left_out += [] if report.n_layers else ["n_layers", "deepest"]
    for name in left_out:
        del said[name]
    ctx.blobs.put(REPORT_KEY, json.dumps(said, indent=1, default=str).encode(), synced=True)
    ctx.blobs.sync([REPORT_KEY, *stray])
    return report


def _report(
    spec: Spec,
    summary: PlanSummary,
    keys: Sequence[Any],
    counts: Mapping[str, Numbers],
    chunks: int,
    nbytes: int,
) -> BuildReport:
    """The report of a finished plan."""
    # In sets, in layers and in other products all zones have their pixels.
    have_owners = spec.product == "ids" and not (spec.has_sets or spec.has_layers)
    has_none = counts["owned" if have_owners else "claimed"] == 0
    empty = tuple(keys[i] for i in np.flatnonzero(has_none).tolist())
    claims_none = counts["claimed"] == 0
    contested = tuple(keys[i] for i in np.flatnonzero(counts["contested"]).tolist())
    warnings = summary.warnings()
    for some, what in (
        (has_none & claims_none, "without a pixel"),
        (has_none & ~claims_none, "with pixels that all belong to others in the array"),
    ):
        named = [keys[i] for i in np.flatnonzero(some)[:NAMED].tolist()]
        if named:
            n = int(np.count_nonzero(some))
            warnings.append(f"{number_of(n, 'zone')} {what}: {name_some(named, n)}")
    if contested and have_owners:
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
        operation=summary.operation,
        n_layers=summary.n_layers,
        deepest=summary.deepest,
    )
