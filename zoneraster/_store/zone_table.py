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
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from zoneraster._grid import Grid
from zoneraster._store import ledger
from zoneraster._store.manifest import PLAN_MARK
from zoneraster._store.parquet import table_bytes
from zoneraster._store.spec import Spec, load_spec
from zoneraster._zones import LAYER, Zones, given_name, stored_name, tells_layers
from zoneraster.arrays import Ints, Numbers
from zoneraster.blobs import PRIVATE, Blobs, Location, get_or_none
from zoneraster.errors import CorruptStoreError, StoreError, told_as

ZONES_KEY = "zones.parquet"
PLANNED_KEY = f"{PRIVATE}zones.parquet"
# Columns of the zone table that are ours.
COUNTS = ("claimed", "owned", "contested", "area_m2")
_OURS = ("zone_id", "geometry")
# Footer entry with the number of pixels that are in zones beyond those that zones own: of sets.
# With layers, in which a pixel has several owners, it is negative.
TOGETHER_MARK = b"zoneraster:together"
CURE = "build again with the same zones"
# Bytes that one array of a stored column can hold.
_MAX_BYTES = 2**31 - 1


# ---- planning ------------------------------------------------------------------------------------


def make_zone_table(zones: Zones, zone_id: npt.NDArray[np.uint32]) -> pa.Table:
    """The zone table as it is planned: zone_id, attributes, geometry as WKB.

    A user's column whose name is ours is kept with ``_input`` behind it. Rows of the input that are
    left out stand among the zones with the id 0, which no pixel has, and without a geometry.
    """
    table, wkb = zones.everything, zones.wkb
    ids = np.zeros(table.num_rows, np.uint32)
    ids[zones.row] = zone_id
    if zones.row.size < table.num_rows:
        place = np.full(table.num_rows, -1)
        place[zones.row] = np.arange(zones.row.size)
        wkb = wkb.take(pa.array(place, mask=place < 0))
    # Counts of the store that the zones come from, and its ids.
    dropped = [name for name in zones.own if name != zones.key]
    if zones.key == "zone_id" and np.array_equal(
        table["zone_id"].to_numpy(zero_copy_only=False), ids
    ):
        dropped.append("zone_id")
    table = table.drop_columns(dropped)
    table = table.rename_columns([stored_name(name) for name in table.column_names])
    table = table.add_column(0, "zone_id", pa.array(ids))
    table = table.append_column("geometry", _short_binary(wkb))
    return table.replace_schema_metadata(None)


def _short_binary(wkb: pa.LargeBinaryArray) -> pa.ChunkedArray:
    """The same bytes with 32-bit offsets, which more readers know, in as few arrays as they fit."""
    lengths = pc.fill_null(pc.binary_length(wkb), 0).to_numpy()
    ends = np.concatenate([[0], np.cumsum(lengths)])
    pieces, start = [], 0
    while start < len(wkb):
        end = int(np.searchsorted(ends, ends[start] + _MAX_BYTES, side="right")) - 1
        piece = wkb if end - start == len(wkb) else wkb.take(pa.array(range(start, end)))
        pieces.append(piece.cast(pa.binary()))
        start = end
    return pa.chunked_array(pieces, pa.binary())


def planned_table(table: pa.Table) -> pa.Table:
    """A zone table without counts and layers, as `make_zone_table` made it."""
    table = _without_counts(table).replace_schema_metadata(None)
    if not tells_layers(table.column_names):
        return table
    table = table.drop_columns([LAYER])
    given = (given_name(name, with_layers=True) for name in table.column_names)
    return table.rename_columns([
        stored if stored in _OURS else stored_name(name)
        for stored, name in zip(table.column_names, given, strict=True)
    ])  # fmt: skip


def with_layers(table: pa.Table, layer: Ints, contested: Ints) -> pa.Table:
    """A planned zone table that says in which layer zones are, and how many pixels they share.

    Parameters
    ----------
    table : pyarrow.Table
    layer, contested : (n_zones,) int64
        By row, of those that have an id; others stand in layer 0.
    """
    given = (given_name(name) for name in table.column_names)
    table = table.rename_columns([
        stored if stored in _OURS else stored_name(name, with_layers=True)
        for stored, name in zip(table.column_names, given, strict=True)
    ])  # fmt: skip
    columns = np.zeros((2, table.num_rows), np.int64)
    columns[:, table["zone_id"].to_numpy() > 0] = layer, contested
    table = table.add_column(table.num_columns - 1, "contested", pa.array(columns[1]))
    return table.add_column(0, LAYER, pa.array(columns[0].astype(np.int32)))


def layers_of(table: pa.Table, zone_id: Ints) -> Ints:
    """Layers of zones by a zone table, -1 where it tells none.

    Parameters
    ----------
    table : pyarrow.Table
    zone_id : (n,) int64
    """
    if not tells_layers(table.column_names):
        return np.full(zone_id.size, -1)
    known = pc.index_in(pa.array(zone_id), table["zone_id"].cast(pa.int64()))
    layers: Ints = pc.fill_null(table[LAYER].take(known), -1).to_numpy().astype(np.int64)
    return layers


def _without_counts(table: pa.Table) -> pa.Table:
    return table.drop_columns([name for name in COUNTS if name in table.column_names])


def planned_table_bytes(table: pa.Table, grid: Grid, plan: str) -> bytes:
    """The planned table of a plan, GeoParquet, marked with the digest of the plan."""
    metadata = {**geoparquet_metadata(grid.crs.to_json_dict()), PLAN_MARK.encode(): plan.encode()}
    return table_bytes(table.replace_schema_metadata(metadata))


def geoparquet_metadata(crs_json: dict[str, Any]) -> dict[bytes, bytes]:
    """The "geo" entry of a GeoParquet 1.1 file with a WKB column `geometry`."""
    column = {"encoding": "WKB", "geometry_types": ["Polygon", "MultiPolygon"], "crs": crs_json}
    geo = {"version": "1.1.0", "primary_column": "geometry", "columns": {"geometry": column}}
    return {b"geo": json.dumps(geo).encode()}


def asked_column(names: Sequence[str], asked: str) -> str | None:
    """Column of a stored zone table that a name asks for, the user's before ours; None: none."""
    stored = stored_name(asked, with_layers=tells_layers(names))
    return next((name for name in (stored, asked) if name in names), None)


# ---- closing -------------------------------------------------------------------------------------


def close_zone_table(
    location: Location, blobs: Blobs, spec: Spec, sums: Mapping[str, Numbers], together: int
) -> tuple[list[Any], dict[str, Numbers]]:
    """Put the public zone table, with counts, and delete the planned one.

    Parameters
    ----------
    location : Location
    blobs : Blobs
    spec : Spec
    sums : mapping
        "zone_id", (m,) ascending, and the `COUNTS` of these zones; zones without have none.
    together : int
        Pixels in zones, less those that zones own; see `TOGETHER_MARK`.

    Returns
    -------
    keys : list of the user's keys, in the order of the table, without rows that were left out
    counts : dict of (n_zones,) arrays, one for each of `COUNTS`

    Raises
    ------
    CorruptStoreError
        When the store has no zone table of its plan.
    """
    data = require_zone_table(location, blobs, spec)
    with told_as(CorruptStoreError, f"the zone table of {location} cannot be read", CURE):
        table = pq.read_table(pa.BufferReader(data))
    metadata = dict(table.schema.metadata or {})
    metadata.pop(PLAN_MARK.encode(), None)
    if together:
        metadata[TOGETHER_MARK] = str(together).encode()
    ids = table["zone_id"].to_numpy()
    is_ours = tells_layers(table.column_names) == spec.has_layers
    if not (is_ours and np.isin(sums["zone_id"][sums["claimed"] > 0], ids).all()):
        raise CorruptStoreError(f"the zone table of {location} is of an older plan: {CURE}")
    counts = counts_by_id(ids, sums)
    if spec.has_layers:
        # A layer is burned without the others: what they share was found while planning.
        counts["contested"] = table["contested"].to_numpy()
    table = _without_counts(table)
    for name, values in counts.items():
        table = table.add_column(table.num_columns - 1, name, pa.array(values))
    blobs.put(ZONES_KEY, table_bytes(table.replace_schema_metadata(metadata)), synced=True)
    blobs.sync([ZONES_KEY])
    # Not before the public one is whole: it holds the only copy of the attributes.
    blobs.delete(PLANNED_KEY)
    keys = table[key_column(spec, table)].filter(pa.array(ids > 0)).to_pylist()
    return keys, {name: values[ids > 0] for name, values in counts.items()}


@dataclass(frozen=True, slots=True)
class Changes:
    """Zones that an update has brought, taken away, and given another shape.

    Parameters
    ----------
    new, gone, changed : tuple of the user's keys
    """

    new: tuple[Any, ...] = ()
    gone: tuple[Any, ...] = ()
    changed: tuple[Any, ...] = ()


def changes_of_zones(blobs: Blobs, spec: Spec) -> Changes:
    """What the planned zone table changes in the public one, that of the last finished build.

    A key keeps its id, so zones are known by that, and a zone whose polygon is another one has
    changed. Nothing is told where either is not there: of a new store, and of a plan that is
    finished.

    Raises
    ------
    CorruptStoreError
        For a planned table that cannot be read. A public one that cannot is none.
    """
    key, planned = find_zone_table(blobs, spec)
    before = get_or_none(blobs, ZONES_KEY)
    if key != PLANNED_KEY or planned is None or before is None:
        return Changes()
    new = _keys_and_shapes(spec, planned)
    try:
        old = _keys_and_shapes(spec, before)
    except (pa.ArrowException, KeyError, OSError):
        return Changes()
    ids = new["zone_id"].to_numpy(), old["zone_id"].to_numpy()
    both, at_new, at_old = np.intersect1d(*ids, return_indices=True)
    shapes = new["geometry"].take(pa.array(at_new)), old["geometry"].take(pa.array(at_old))
    is_same = pc.fill_null(pc.equal(*shapes), False).to_numpy()
    return Changes(
        new=_keys_at(new, np.flatnonzero(~np.isin(ids[0], both))),
        gone=_keys_at(old, np.flatnonzero(~np.isin(ids[1], both))),
        changed=_keys_at(new, np.sort(at_new[~is_same])),
    )


def _keys_and_shapes(spec: Spec, data: bytes) -> pa.Table:
    """Columns key, zone_id and geometry of the zones that have an id."""
    schema = pq.read_schema(pa.BufferReader(data))
    key = key_column(spec, schema.empty_table())
    table = pq.read_table(pa.BufferReader(data), columns=list({key, "zone_id", "geometry"}))
    # Offsets of 64 bits: the rows that are compared are one array.
    shapes = table["geometry"].cast(pa.large_binary())
    named = pa.table({"key": table[key], "zone_id": table["zone_id"], "geometry": shapes})
    return named.filter(pc.greater(named["zone_id"], 0))


def _keys_at(table: pa.Table, rows: Ints) -> tuple[Any, ...]:
    return tuple(table["key"].take(pa.array(rows)).to_pylist())


def sum_counts(receipts: Sequence[pa.Table]) -> tuple[dict[str, Numbers], int, int]:
    """Counts of all receipts of a plan, in its order.

    Returns
    -------
    sums : dict
        "zone_id", (m,) ascending, and the `COUNTS` of these zones.
    chunks, nbytes : int
        Chunks stored, and their bytes.
    """
    rows = pa.concat_tables(receipts or [ledger.SCHEMA.empty_table()])
    # A chunk's size stands in each of its rows, which follow each other.
    sizes = rows["nbytes"].to_numpy()[ledger.chunk_starts(rows)]
    chunks, nbytes = int(np.count_nonzero(sizes)), int(sizes.sum())
    ids, where = np.unique(rows["zone_id"].to_numpy(), return_inverse=True)
    sums: dict[str, Numbers] = {"zone_id": ids}
    for name in COUNTS:
        values = rows[name].to_numpy()
        sums[name] = np.zeros(ids.size, values.dtype)
        np.add.at(sums[name], where, values)
    return sums, chunks, nbytes


def counts_agree(table: Mapping[str, npt.ArrayLike], sums: Mapping[str, Numbers]) -> bool:
    """A zone table has the counts of the receipts, and no other zones."""
    # No layer knows what zones share with those of another.
    burned = [name for name in COUNTS if name != "contested" or not tells_layers([*table])]
    try:
        ids = np.asarray(table["zone_id"])
        counts = counts_by_id(ids, sums)
        is_same = all(np.array_equal(table[name], counts[name]) for name in burned)
    except KeyError:
        return False
    return is_same and bool(np.isin(sums["zone_id"][sums["claimed"] > 0], ids).all())


def counts_by_id(ids: Ints, sums: Mapping[str, Numbers]) -> dict[str, Numbers]:
    """Counts in the order of these ids; 0 for those that no receipt names."""
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


def find_zone_table(blobs: Blobs, spec: Spec | None) -> tuple[str, bytes | None]:
    """Key and Parquet bytes of the zone table that belongs to the plan of the spec.

    No bytes where there is none.

    Raises
    ------
    CorruptStoreError
        For a planned table that cannot be read.
    """
    planned = get_or_none(blobs, PLANNED_KEY)
    # Without one the store is finished, or was planned by zoneraster 0.1.
    if planned is not None and spec is not None:
        with told_as(CorruptStoreError, f"{PLANNED_KEY} cannot be read", CURE):
            marks = pq.read_schema(pa.BufferReader(planned)).metadata or {}
        if marks.get(PLAN_MARK.encode()) == spec.plan.encode():
            return PLANNED_KEY, planned
    return ZONES_KEY, get_or_none(blobs, ZONES_KEY)


def require_zone_table(location: Location, blobs: Blobs, spec: Spec | None) -> bytes:
    """Parquet bytes of a store's zone table, planned or finished.

    Raises
    ------
    CorruptStoreError
        When it is lost; `StoreError` for a place that has none.
    """
    key, data = find_zone_table(blobs, spec)
    if data is None and spec is None:
        raise StoreError(f"no zone table in {location}: is it a zoneraster store?")
    if data is None:
        raise CorruptStoreError(f"{location}/{key} is not there, it was lost: {CURE}")
    return data


def read_zone_ids(location: Location, spec: Spec, data: bytes) -> pa.Table:
    """Columns "key" and "zone_id" of a zone table, for the zones that have an id.

    Raises
    ------
    CorruptStoreError
        For a table that is none.
    """
    with told_as(CorruptStoreError, f"the zone table of {location} cannot be read", CURE):
        schema = pq.read_schema(pa.BufferReader(data))
        key = key_column(spec, schema.empty_table())
        table = pq.read_table(pa.BufferReader(data), columns=list({key, "zone_id"}))
        ids = table["zone_id"].cast(pa.uint32())
        # Rows that were left out have no id.
        return pa.table({"key": table[key], "zone_id": ids}).filter(pc.greater(ids, 0))


def key_column(spec: Spec, table: pa.Table) -> str:
    """Name of the key in the stored zone table; `zone_id` itself when the ids are the keys."""
    name = stored_name(spec.key, with_layers=tells_layers(table.column_names))
    return name if name in table.column_names else spec.key


def key_name(key: str, table: pa.Table) -> str:
    """What the user calls the key column of a stored zone table."""
    return given_name(key, with_layers=tells_layers(table.column_names))


def read_zone_table(location: Location) -> tuple[pa.Table, str]:
    """The zone table without geometries, and the name of its key column.

    Returns
    -------
    table : pyarrow.Table
        Empty but for a column zone_id where an array of others has no zone table.
    key : str

    Raises
    ------
    CorruptStoreError
        When the zone table of a store is lost or cannot be read.
    StoreError
        For a zone table that is none.
    """
    blobs = location.blobs()
    spec = load_spec(location, blobs)
    if spec is None and not blobs.has(ZONES_KEY):
        return pa.table({"zone_id": pa.array([], pa.uint32())}), "zone_id"
    data = require_zone_table(location, blobs, spec)
    with told_as(CorruptStoreError, f"{location}/{ZONES_KEY} cannot be read", CURE):
        names = [name for name in pq.read_schema(pa.BufferReader(data)).names if name != "geometry"]
        table = pq.read_table(pa.BufferReader(data), columns=names)
    if "zone_id" not in names or not pa.types.is_integer(table["zone_id"].type):
        raise StoreError(
            f"{location}/{ZONES_KEY} has no whole numbers zone_id, as the array `zone` has: its "
            f"columns are {', '.join(names)}"
        )
    key = key_column(spec, table) if spec else "zone_id"
    if key not in names:
        raise CorruptStoreError(
            f"{location}/{ZONES_KEY} has no column {key!r}, the key of the zones: {CURE}"
        )
    return table, key


def groups_of_zones(table: pa.Table, names: Sequence[str]) -> Ints:
    """For each row of a zone table the number of its group, in the order of their first rows.

    Parameters
    ----------
    table : pyarrow.Table
    names : sequence of str
        Columns that the rows of a group agree in, as the user calls them.
    """
    columns = [asked_column(table.column_names, name) or name for name in names]
    frame = table.select(columns).to_pandas()
    group = frame.groupby(columns, sort=False, dropna=False).ngroup()
    numbers: Ints = group.to_numpy().astype(np.int64)
    return numbers


def one_of_each(table: pa.Table, names: Sequence[str]) -> Ints:
    """For each zone the id under which it counts: of those that agree in some columns the first.

    Parameters
    ----------
    table : pyarrow.Table
        The zone table.
    names : sequence of str
        None: each zone counts for itself.
    """
    ids: Ints = table["zone_id"].to_numpy().astype(np.int64)
    if not names:
        return ids
    group = groups_of_zones(table, names)
    ones = np.zeros(group.max(initial=-1) + 1, np.int64)
    # Rows that were left out have no id. Backwards, so that the first one stays.
    has_id = np.flatnonzero(ids > 0)[::-1]
    ones[group[has_id]] = ids[has_id]
    return ones[group]
