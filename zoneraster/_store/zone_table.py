"""The zone table of a store: zones.parquet.

Planning puts the *planned* table, attributes and geometry, as a private object that says which plan
it belongs to. Closing adds the counts, puts the public table, and deletes the private one. So the
public table is written once, and stays as it was while an update is burned.

Every reader takes the planned table when it belongs to the plan of the spec, else the public one.
Killed anywhere, this names the right table: before the spec is put, a planned table belongs to
another plan; until the public table is put, the planned one is there; after that they differ in
nothing but the counts.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from zoneraster._grid import Grid
from zoneraster._store.manifest import PLAN_MARK
from zoneraster._store.parquet import put_table
from zoneraster._store.spec import PLAN_KEY, Spec, load_spec
from zoneraster._zones import Zones
from zoneraster.arrays import Ints, Numbers
from zoneraster.blobs import PRIVATE, Blobs, Location
from zoneraster.errors import CorruptStoreError, StoreError

ZONES_KEY = "zones.parquet"
PLANNED_KEY = f"{PRIVATE}zones.parquet"
# Columns of the zone table that are ours.
COUNTS = ("claimed", "owned", "contested", "area_m2")
RESERVED = ("zone_id", *COUNTS, "geometry")
# Bytes that one array of a stored column can hold.
_MAX_BYTES = 2**31 - 1


# ---- planning ------------------------------------------------------------------------------------


def make_zone_table(zones: Zones, zone_id: npt.NDArray[np.uint32]) -> pa.Table:
    """The zone table as it is planned: zone_id, attributes, geometry as WKB.

    A user's column whose name is ours is kept with ``_input`` behind it.
    """
    table = zones.table
    is_id = zones.key == "zone_id" and np.array_equal(
        table["zone_id"].to_numpy(zero_copy_only=False), zone_id
    )
    if is_id:
        table = table.drop_columns(["zone_id"])
    table = table.rename_columns([stored_name(name) for name in table.column_names])
    table = table.add_column(0, "zone_id", pa.array(zone_id))
    table = table.append_column("geometry", _short_binary(zones.wkb))
    return table.replace_schema_metadata(None)


def _short_binary(wkb: pa.LargeBinaryArray) -> pa.ChunkedArray:
    """The same bytes with 32-bit offsets, which more readers know, in as few arrays as they fit."""
    ends = np.concatenate([[0], np.cumsum(pc.binary_length(wkb).to_numpy())])
    pieces, start = [], 0
    while start < len(wkb):
        end = int(np.searchsorted(ends, ends[start] + _MAX_BYTES, side="right")) - 1
        piece = wkb if end - start == len(wkb) else wkb.take(pa.array(range(start, end)))
        pieces.append(piece.cast(pa.binary()))
        start = end
    return pa.chunked_array(pieces, pa.binary())


def put_planned_table(blobs: Blobs, table: pa.Table, grid: Grid, plan: str) -> None:
    """Put the planned table of a plan, GeoParquet, marked with the digest of the plan."""
    metadata = {**geoparquet_metadata(grid.crs.to_json_dict()), PLAN_MARK.encode(): plan.encode()}
    put_table(blobs, PLANNED_KEY, table.replace_schema_metadata(metadata))


def geoparquet_metadata(crs_json: dict[str, Any]) -> dict[bytes, bytes]:
    """The "geo" entry of a GeoParquet 1.1 file with a WKB column `geometry`."""
    column = {"encoding": "WKB", "geometry_types": ["Polygon", "MultiPolygon"], "crs": crs_json}
    geo = {"version": "1.1.0", "primary_column": "geometry", "columns": {"geometry": column}}
    return {b"geo": json.dumps(geo).encode()}


def stored_name(name: str) -> str:
    """Name of a user's column in the stored zone table."""
    return f"{name}_input" if name in RESERVED else name


# ---- closing -------------------------------------------------------------------------------------


def close_zone_table(
    location: Location, blobs: Blobs, spec: Spec, sums: Mapping[str, Numbers]
) -> tuple[list[Any], dict[str, Numbers]]:
    """Put the public zone table, with counts, and delete the planned one.

    Parameters
    ----------
    location : Location
    blobs : Blobs
    spec : Spec
    sums : mapping
        "zone_id", (m,) ascending, and the `COUNTS` of these zones; zones without have none.

    Returns
    -------
    keys : list of the user's keys, in the order of the table
    counts : dict of (n_zones,) arrays, one for each of `COUNTS`

    Raises
    ------
    CorruptStoreError
        When the store has no zone table of its plan.
    """
    data = _find_table(blobs, spec)
    cure = f"delete {location}/{PLAN_KEY} and build again with the same zones"
    if data is None:
        raise CorruptStoreError(f"{location} has no zone table: {cure}")
    table = pq.read_table(pa.BufferReader(data))
    metadata = dict(table.schema.metadata or {})
    metadata.pop(PLAN_MARK.encode(), None)
    ids = table["zone_id"].to_numpy()
    if not np.isin(sums["zone_id"][sums["claimed"] > 0], ids).all():
        raise CorruptStoreError(f"the zone table of {location} is of an older plan: {cure}")
    counts = _counts_of(ids, sums)
    table = table.drop_columns([name for name in COUNTS if name in table.column_names])
    for name, values in counts.items():
        table = table.add_column(table.num_columns - 1, name, pa.array(values))
    put_table(blobs, ZONES_KEY, table.replace_schema_metadata(metadata))
    # Not before the public one is whole: it holds the only copy of the attributes.
    blobs.delete(PLANNED_KEY)
    return table[key_column(spec, table)].to_pylist(), counts


def _counts_of(ids: Ints, sums: Mapping[str, Numbers]) -> dict[str, Numbers]:
    """Counts in the order of the table; 0 for zones that no receipt names."""
    where = np.searchsorted(sums["zone_id"], ids)
    found = np.zeros(ids.size, bool)
    inside = where < sums["zone_id"].size
    found[inside] = sums["zone_id"][where[inside]] == ids[inside]
    counts = {}
    for name in COUNTS:
        counts[name] = np.zeros(ids.size, sums[name].dtype)
        counts[name][found] = sums[name][where[found]]
    return counts


# ---- reading -------------------------------------------------------------------------------------


def _find_table(blobs: Blobs, spec: Spec | None) -> bytes | None:
    """Parquet bytes of the zone table that belongs to the plan of the spec; None without one."""
    try:
        planned = blobs.get(PLANNED_KEY)
        marks = pq.read_schema(pa.BufferReader(planned)).metadata or {}
        if spec is not None and marks.get(PLAN_MARK.encode()) == spec.plan.encode():
            return planned
    except FileNotFoundError:
        pass  # finished, or planned by zoneraster 0.1
    except pa.ArrowException as err:
        raise CorruptStoreError(
            f"{PLANNED_KEY} cannot be read ({err}): delete {PLAN_KEY} and build again"
        ) from err
    try:
        return blobs.get(ZONES_KEY)
    except FileNotFoundError:
        return None


def stored_zone_table(location: Location, blobs: Blobs) -> bytes | None:
    """Parquet bytes of a store's zone table, planned or finished; None where there is none."""
    return _find_table(blobs, load_spec(location, blobs))


def key_column(spec: Spec, table: pa.Table) -> str:
    """Name of the key in the stored zone table; `zone_id` itself when the ids are the keys."""
    name = stored_name(spec.key)
    return name if name in table.column_names else spec.key


def read_zone_table(location: Location) -> tuple[pa.Table, str]:
    """The zone table without geometries, and the name of its key column.

    Returns
    -------
    table : pyarrow.Table
        Empty but for a column zone_id where the store has no zone table.
    key : str

    Raises
    ------
    StoreError
        For a zone table that is none.
    """
    blobs = location.blobs()
    spec = load_spec(location, blobs)
    data = _find_table(blobs, spec)
    if data is None:
        return pa.table({"zone_id": pa.array([], pa.uint32())}), "zone_id"
    try:
        names = [name for name in pq.read_schema(pa.BufferReader(data)).names if name != "geometry"]
        table = pq.read_table(pa.BufferReader(data), columns=names)
    except (pa.ArrowException, OSError) as err:
        raise CorruptStoreError(f"{location}/{ZONES_KEY} cannot be read: {err}") from err
    if "zone_id" not in names or not pa.types.is_integer(table["zone_id"].type):
        raise StoreError(
            f"{location}/{ZONES_KEY} has no whole numbers zone_id, as the array `zone` has: its "
            f"columns are {', '.join(names)}"
        )
    return table, key_column(spec, table) if spec else "zone_id"
