"""One walk through the bytes of geometries."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import shapely
from pyproj import CRS

import zoneraster as zr
from tests.zones.samples import (
    BOWTIE,
    GRID,
    SQUARES,
    TRIANGLE,
    content,
    frame,
    polygon,
    shapes,
    write,
    write_wkb,
)
from zoneraster._grid.grid import Grid
from zoneraster._zones.read import read_zones, zone_rings
from zoneraster._zones.wkb import Ragged, walk_wkb, wkb_of

# pyogrio and GDAL warn of rings that are not closed; closing them is what is tested.
pytestmark = pytest.mark.filterwarnings("ignore:Non closed ring")


@pytest.mark.parametrize("kind", [1003, 2003, 3003, 0x80000003, 0x40000003, 0xC0000003])
@pytest.mark.parametrize("order", ["<", ">"])
def test_heights_and_measures_are_dropped(tmp_path: Path, kind: int, order: str) -> None:
    n = 2 if kind in (3003, 0xC0000003) else 1
    deep = polygon([(*point, *[float("nan"), 5.0][:n]) for point in TRIANGLE], kind, order)
    zones = read_zones(write_wkb(tmp_path / "z.parquet", [deep]), GRID)
    flat = read_zones(frame([shapely.Polygon(TRIANGLE)]).drop(columns="gid"), GRID)
    assert shapes(zones)[0].wkb == shapes(flat)[0].wkb
    assert content(zones) == content(flat)
    frame_zones = read_zones(frame([shapely.from_wkb(deep)]), GRID)
    assert shapes(frame_zones)[0].wkb == shapes(flat)[0].wkb


def test_open_rings_are_closed(tmp_path: Path) -> None:
    closed = read_zones(write_wkb(tmp_path / "a.parquet", [polygon(TRIANGLE)]), GRID)
    opened = read_zones(write_wkb(tmp_path / "b.parquet", [polygon(TRIANGLE[:3])]), GRID)
    assert content(opened) == content(closed)
    assert shapes(opened)[0].wkb == shapes(closed)[0].wkb


def test_random_bytes_are_read_or_named(tmp_path: Path) -> None:
    random = np.random.default_rng(3)
    whole = shapely.MultiPolygon([SQUARES[0], BOWTIE.convex_hull]).wkb
    blobs = []
    for _ in range(3_000):
        blob = bytearray(whole)
        for at in random.integers(0, len(blob), random.integers(1, 4)):
            blob[at] = random.integers(256)
        end = random.integers(1, len(blob)) if random.random() < 0.2 else len(blob)
        blobs.append(bytes(blob[:end]))
    source = write_wkb(tmp_path / "zones.parquet", [SQUARES[0].wkb, *blobs])
    table = pq.read_table(source)
    geo = json.loads(table.schema.metadata[b"geo"])
    geo["columns"]["geometry"]["crs"] = CRS(3857).to_json_dict()
    pq.write_table(table.replace_schema_metadata({"geo": json.dumps(geo)}), source)
    metres = Grid("EPSG:3857", (1, 0, 0, 0, -1, 0), (10, 10))
    zones = read_zones(source, metres, on_invalid="skip")
    assert len(zones.skipped) + zones.row.size == 3_001
    assert min(len(zones.skipped), zones.row.size) > 100
    # GEOS, which knows nothing of our walk, finds the same vertices.
    rings = zone_rings(zones, metres, rule=1)
    flat = [ring for part in shapely.get_parts(shapes(zones)) for ring in shapely.get_rings(part)]
    u, v = metres.to_pixels(*shapely.get_coordinates(flat).T)
    assert np.array_equal(rings.u, u)
    assert np.array_equal(rings.v, v)


def test_rows_that_do_not_follow_each_other_are_refused() -> None:
    wkb = wkb_of(shapely.box(np.arange(3), 0, np.arange(3) + 1, 1))
    offsets = np.frombuffer(wkb.buffers()[1], np.int64)
    assert offsets.tolist() == [0, 93, 186, 279]
    buffers = [None, pa.py_buffer(np.array([0, 93, 0, 93])), wkb.buffers()[2]]
    broken = pa.Array.from_buffers(pa.large_binary(), 3, buffers)
    with pytest.raises(zr.ZonesError, match="offsets do not ascend"):
        walk_wkb(broken)


def test_empty_rings_and_parts_have_no_place(tmp_path: Path) -> None:
    holes = shapely.from_wkt("MULTIPOLYGON (EMPTY, ((0 0, 1 0, 1 1, 0 0), EMPTY), EMPTY)")
    for source in (frame([holes]), write(frame([holes]), tmp_path / "zones.parquet")):
        rings = zone_rings(read_zones(source, GRID), GRID)
        assert rings.ring_offsets.tolist() == [0, 4]
        assert rings.part_offsets.tolist() == [0, 1]
        assert rings.part_zone.tolist() == [0]


@pytest.mark.parametrize("n", [1, 511, 512, 513, 2000])
def test_bounds_are_those_of_all_vertices(n: int) -> None:
    xy = np.random.default_rng(n).normal(size=(n, 2))
    low, high = Ragged(xy, *np.zeros((3, 1), np.int64)).bounds
    np.testing.assert_array_equal(low, xy.min(axis=0))
    np.testing.assert_array_equal(high, xy.max(axis=0))
