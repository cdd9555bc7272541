"""Zones for the tests of this folder, good and bad, and ways to look at them."""

from __future__ import annotations

import json
import re
import struct
from pathlib import Path
from typing import Any

import geopandas as gpd
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import shapely

from zoneraster._grid.grid import Grid
from zoneraster._zones import Zones
from zoneraster._zones.read import zone_rings
from zoneraster._zones.wkb import objects_of
from zoneraster.errors import ZonesError

GRID = Grid.from_bounds((0, 0, 10, 10), 1)
SQUARES = [shapely.box(x, 0, x + 1, 1) for x in range(3)]
BOWTIE = shapely.Polygon([(0, 0), (2, 2), (2, 0), (0, 2)])
HUGE = 2**53 + 1


def frame(geometry: Any = SQUARES, crs: Any = "EPSG:4326", **columns: Any) -> gpd.GeoDataFrame:
    columns = columns or {"gid": np.arange(1, len(geometry) + 1)}
    return gpd.GeoDataFrame(columns, geometry=list(geometry), crs=crs)


def write(frame: gpd.GeoDataFrame, path: Path) -> Path:
    if path.suffix == ".parquet":
        frame.to_parquet(path)
    else:
        frame.to_file(path)
    return path


def write_wkb(path: Path, wkb: list[bytes | None], **columns: Any) -> Path:
    """GeoParquet with any bytes as geometry."""
    table = pa.table({**columns, "geometry": pa.array(wkb, pa.binary())})
    geo = {"version": "1.1.0", "primary_column": "geometry"}
    geo["columns"] = {"geometry": {"encoding": "WKB", "geometry_types": []}}  # type: ignore[assignment]
    pq.write_table(table.replace_schema_metadata({"geo": json.dumps(geo)}), path)
    return path


def write_geojson(path: Path, ids: list[Any], *, is_sequence: bool = False, **said: Any) -> Path:
    """Squares with ids of features; None has none."""
    features = []
    for n, one in enumerate(ids):
        square = shapely.geometry.mapping(SQUARES[n])
        feature = {"type": "Feature", "properties": {"n": n}, "geometry": square}
        features.append(feature if one is None else {**feature, "id": one})
    if is_sequence:
        path.write_text("\n".join(json.dumps(one) for one in features))
    else:
        path.write_text(json.dumps({"type": "FeatureCollection", **said, "features": features}))
    return path


def says(*texts: str) -> Any:
    """The error holds these texts, in this order."""
    return pytest.raises(ZonesError, match="(?s)" + ".*".join(map(re.escape, texts)))


def polygon(points: list[tuple[float, ...]], kind: int = 3, order: str = "<") -> bytes:
    """WKB of one ring."""
    values = b"".join(struct.pack(f"{order}{len(point)}d", *point) for point in points)
    return struct.pack(f"{order}BIII", order == "<", kind, 1, len(points)) + values


def collection(depth: int) -> bytes:
    return struct.pack("<BII", 1, 7, 1) * depth + struct.pack("<BII", 1, 7, 0)


TRIANGLE = [(0.0, 0.0), (1.0, 0.0), (1.0, 1.0), (0.0, 0.0)]
NAN_RING = [(0.0, 0.0), (1.0, 0.0), (float("nan"), 1.0), (0.0, 0.0)]
ODD = [shapely.Polygon([(0.1, 0.2), (1 / 3, 0.7), (0.9, 1e-17), (0.1, 0.2)])]


def shapes(zones: Zones) -> Any:
    """Objects of the WKB that the zone table stores."""
    return objects_of(zones.wkb)


def content(zones: Zones, grid: Grid = GRID) -> tuple[object, ...]:
    """What will be burned: keys, and rings in pixels."""
    rings = zone_rings(zones, grid)
    arrays = (rings.u, rings.v, rings.ring_offsets, rings.part_offsets, rings.part_zone)
    return zones.keys().to_pylist(), *(array.tobytes() for array in arrays)
