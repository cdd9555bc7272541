"""The zone table of a store: zones.parquet."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq
import shapely

from zoneraster._grid import Grid
from zoneraster._store.parquet import put_table
from zoneraster._store.spec import Spec, load_spec
from zoneraster._zones import Zones
from zoneraster.blobs import Blobs, Location
from zoneraster.errors import CorruptStoreError, StoreError

ZONES_KEY = "zones.parquet"
# Columns of the zone table that are ours.
COUNTS = ("claimed", "owned", "contested", "area_m2")
RESERVED = ("zone_id", *COUNTS, "geometry")


def make_zone_table(zones: Zones, zone_id: npt.NDArray[np.uint32]) -> pa.Table:
    """The zone table as it is stored: zone_id, attributes, geometry as WKB (GeoParquet).

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
    table = table.append_column("geometry", pa.array(shapely.to_wkb(zones.geometry), pa.binary()))
    return table.replace_schema_metadata(None)


def put_zone_table(blobs: Blobs, table: pa.Table, grid: Grid) -> None:
    """Put the zone table as GeoParquet."""
    table = table.replace_schema_metadata(geoparquet_metadata(grid.crs.to_json_dict()))
    put_table(blobs, ZONES_KEY, table)


def stored_name(name: str) -> str:
    """Name of a user's column in the stored zone table."""
    return f"{name}_input" if name in RESERVED else name


def key_column(spec_: Spec, table: pa.Table) -> str:
    """Name of the key in the stored zone table; `zone_id` itself when the ids are the keys."""
    name = stored_name(spec_.key)
    return name if name in table.column_names else spec_.key


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
    try:
        data = pa.BufferReader(blobs.get(ZONES_KEY))
    except FileNotFoundError:
        return pa.table({"zone_id": pa.array([], pa.uint32())}), "zone_id"
    try:
        names = [name for name in pq.read_schema(data).names if name != "geometry"]
        table = pq.read_table(data, columns=names)
    except (pa.ArrowException, OSError) as err:
        raise CorruptStoreError(f"{location}/{ZONES_KEY} cannot be read: {err}") from err
    if "zone_id" not in names or not pa.types.is_integer(table["zone_id"].type):
        raise StoreError(
            f"{location}/{ZONES_KEY} has no whole numbers zone_id, as the array `zone` has: its "
            f"columns are {', '.join(names)}"
        )
    spec = load_spec(location, blobs)
    return table, key_column(spec, table) if spec else "zone_id"


def geoparquet_metadata(crs_json: dict[str, Any]) -> dict[bytes, bytes]:
    """The "geo" entry of a GeoParquet 1.1 file with a WKB column `geometry`."""
    column = {"encoding": "WKB", "geometry_types": ["Polygon", "MultiPolygon"], "crs": crs_json}
    geo = {"version": "1.1.0", "primary_column": "geometry", "columns": {"geometry": column}}
    return {b"geo": json.dumps(geo).encode()}
