"""The plan of one call: of zones that no store is built of.

It is a plan like any other, so that what is reduced is the same as with a store, to the bit; but
nothing is put that only the array needs, and nobody looks for it later.
"""

from __future__ import annotations

import functools
from dataclasses import replace

from zoneraster._build.ahead import compiled_ahead
from zoneraster._build.asked import PlanOptions, asked_spec
from zoneraster._build.plan import prepare_zones, summary_of
from zoneraster._build.results import PlanSummary, summary_bytes
from zoneraster._build.slabs import write_manifest
from zoneraster._store import (
    INDEX_KEY,
    MANIFEST_KEY,
    PLAN_KEY,
    PLANNED_KEY,
    SPEC_KEY,
    PixelRule,
    Spec,
    planned_table_bytes,
    require_spec,
    table_bytes,
)
from zoneraster._zones import read_zones
from zoneraster.blobs import Location
from zoneraster.executors import Tick

_KEYS = (INDEX_KEY, PLANNED_KEY, PLAN_KEY, SPEC_KEY)


def plan_once(
    source: object,
    location: Location,
    options: PlanOptions,
    *,
    rule: PixelRule = "centre",
    with_geometry: bool = False,
    progress: Tick | None = None,
) -> tuple[Spec, PlanSummary]:
    """Plan zones in an empty place that the caller clears away; the spec as it is read from there.

    Parameters
    ----------
    source : path, GeoDataFrame or lazy frame
    location : Location
    options : PlanOptions
        With a grid.
    rule : {"centre", "touched", "fraction"}
        By which the zones will be burned.
    with_geometry : bool
        The zone table holds the polygons, too.
    progress : callable, optional
        Called with ("read", done, 1), then with ("plan", done, total).

    Raises
    ------
    ZonesError
        For zones that cannot be burned.
    """
    tick = progress or _tell_nobody
    asked, blobs = asked_spec(options, None), location.blobs()
    with compiled_ahead(rule, progress) as wait_for_kernels:
        tick("read", 0, 1)
        zones = read_zones(
            source, asked.grid, key=options.key, on_invalid=options.on_invalid,
            assume_crs=options.assume_crs, layer=options.layer,
        )  # fmt: skip
        prepared = prepare_zones(zones, "", location, options, None, asked)
        tick("read", 1, 1)
        with blobs.writer(MANIFEST_KEY) as sink:
            index, _, _ = write_manifest(
                prepared.source, sink, is_passing=True, progress=functools.partial(tick, "plan")
            )
        wait_for_kernels()
    summary = summary_of(prepared, location, index)
    spec = replace(prepared.spec, plan=summary.plan)
    table = prepared.table if with_geometry else prepared.table.drop_columns(["geometry"])
    planned = planned_table_bytes(table, spec.grid, summary.plan)
    objects = (table_bytes(index), planned, summary_bytes(summary), spec.to_json())
    for key, data in zip(_KEYS, objects, strict=True):
        blobs.put(key, data)
    return require_spec(location, blobs), summary


def clear_plan(location: Location) -> None:
    """Delete all that `plan_once` puts."""
    blobs = location.blobs()
    for key in (MANIFEST_KEY, *_KEYS):
        blobs.delete(key)


def _tell_nobody(_phase: str, _done: int, _total: int) -> None:
    """No progress is shown."""
