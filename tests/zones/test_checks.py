"""Rows that cannot be burned are named, skipped or repaired."""

from __future__ import annotations

import struct
from pathlib import Path

import numpy as np
import pytest
import shapely

from tests.zones.samples import (
    BOWTIE,
    GRID,
    NAN_RING,
    SQUARES,
    TRIANGLE,
    collection,
    content,
    frame,
    polygon,
    says,
    shapes,
    write,
    write_wkb,
)
from zoneraster._grid.grid import Grid
from zoneraster._zones.checks import SkippedRow
from zoneraster._zones.read import read_zones, zone_rings

# pyogrio and GDAL warn of rings that are not closed; closing them is what is tested.
pytestmark = pytest.mark.filterwarnings("ignore:Non closed ring")


COLLECTION = "GeometryCollection, not Polygon or MultiPolygon"
BAD_WKB = {
    "null": (None, "geometry is null"),
    "empty": (shapely.Polygon().wkb, "geometry is empty"),
    "empty multi": (shapely.MultiPolygon().wkb, "geometry is empty"),
    "point": (shapely.Point(0, 0).wkb, "Point, not Polygon or MultiPolygon"),
    "point z": (shapely.Point(0, 0, 1).wkb, "Point, not Polygon or MultiPolygon"),
    "line": (shapely.LineString([(0, 0), (1, 1)]).wkb, "LineString, not Polygon"),
    "collection": (shapely.GeometryCollection(SQUARES).wkb, COLLECTION),
    "nested collection": (collection(20_000), COLLECTION),
    "curve": (struct.pack("<BII", 1, 10, 0), "CurvePolygon, not Polygon"),
    "curve with z": (struct.pack("<BII", 1, 1012, 0), "MultiSurface, not Polygon"),
    "unknown": (struct.pack("<BII", 1, 99, 0), "geometry of WKB type 99, not Polygon"),
    "collection inside": (struct.pack("<BII", 1, 6, 1) + collection(20_000), "not readable WKB"),
    "srid": (polygon(TRIANGLE, 0x20000003), "EWKB with an SRID"),
    "no bytes": (b"", "not readable WKB"),
    "byte order": (b"\x07" + SQUARES[0].wkb[1:], "not readable WKB"),
    "cut": (SQUARES[0].wkb[:-1], "not readable WKB"),
    "cut header": (SQUARES[0].wkb[:7], "not readable WKB"),
    "rings lie": (struct.pack("<BII", 1, 3, 2**32 - 1), "not readable WKB"),
    "parts lie": (struct.pack("<BII", 1, 6, 2**32 - 1), "not readable WKB"),
    "vertices lie": (struct.pack("<BIII", 1, 3, 1, 2**32 - 1), "not readable WKB"),
    "two vertices": (polygon(TRIANGLE[:2]), "a ring has only 2 vertices"),
    "nan": (polygon(NAN_RING), "vertex 2 (counted from 0) is not finite"),
    "inf": (polygon([*TRIANGLE[:3], (0.0, float("-inf"))]), "vertex 3 (counted from 0)"),
    "nan, big endian": (polygon(NAN_RING, order=">"), "vertex 2 (counted from 0) is not finite"),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", BAD_WKB)
def test_a_row_that_cannot_be_burned_is_named(tmp_path: Path, name: str) -> None:
    wkb, reason = BAD_WKB[name]
    path = write_wkb(tmp_path / "z.parquet", [SQUARES[0].wkb, wkb], gid=["a", "b"])
    with says("z.parquet: cannot burn 1 of 2 rows: row 1 (key 'b'): ", reason, "on_invalid='skip'"):
        read_zones(path, GRID, key="gid")
    zones = read_zones(path, GRID, key="gid", on_invalid="skip")
    assert [(one.row, one.key) for one in zones.skipped] == [(1, "b")]
    assert reason in zones.skipped[0].reason
    assert zones.table["gid"].to_pylist() == ["a"]
    assert zones.row.tolist() == [0]
    assert content(zones) == content(read_zones(frame(SQUARES[:1], gid=["a"]), GRID, key="gid"))


@pytest.mark.filterwarnings("ignore:invalid value encountered")
def test_a_frame_is_checked_like_a_file() -> None:
    odd = [
        None,
        shapely.Point(0, 0),
        shapely.LinearRing(TRIANGLE),
        shapely.MultiPoint([(0, 0)]),
        shapely.GeometryCollection(SQUARES),
        shapely.Polygon(),
        shapely.from_wkb(polygon(NAN_RING)),
    ]
    zones = read_zones(frame([*odd, SQUARES[0]]), GRID, key="gid", on_invalid="skip")
    starts = ["geometry is null", "Point,", "LineString,", "MultiPoint,", "GeometryCollection,"]
    starts += ["geometry is empty", "vertex 2 (counted"]
    assert len(zones.skipped) == 7
    for one, start in zip(zones.skipped, starts, strict=True):
        assert one.reason.startswith(start)
    with says("GeoDataFrame: cannot burn 7 of 8 rows: row 0 (key 1)", "and 2 more", "explode"):
        read_zones(frame([*odd, SQUARES[0]]), GRID, key="gid")


@pytest.mark.parametrize("kind", [10, 1010, 2010])
def test_arcs_of_a_geopackage_are_the_lines_that_gdal_makes_of_them(
    tmp_path: Path, kind: int
) -> None:
    path = write(frame(SQUARES[:1]), tmp_path / "zones.gpkg")
    import sqlite3

    base = sqlite3.connect(path)
    (blob,) = base.execute("select geom from zones").fetchone()
    circle = [(0, 0), (1, 1), (2, 0), (1, -1), (0, 0)]
    deep = [(*place, *[5] * (kind > 10)) for place in circle]
    curve = blob[: len(blob) - len(SQUARES[0].wkb)] + struct.pack("<BII", 1, kind, 1)
    curve += struct.pack("<BII", 1, kind - 2, 5) + np.ravel(deep).astype("<f8").tobytes()
    base.executescript("drop trigger if exists rtree_zones_geom_update6")
    for (name,) in base.execute("select name from sqlite_master where type='trigger'").fetchall():
        base.execute(f'drop trigger "{name}"')
    base.execute("update zones set geom = ?", (curve,))
    base.commit()
    base.close()
    zones = read_zones(path, GRID, key="gid")
    (note,) = zones.notes
    assert "arcs in 1 of 1 rows were made lines" in note
    # An arc of GDAL's has a line for each 4 degrees.
    assert shapes(zones)[0].area == pytest.approx(45 * np.sin(np.radians(4)), rel=1e-9)


def test_rings_that_cross_themselves_are_burned_and_named() -> None:
    zones = read_zones(frame([BOWTIE, SQUARES[0]]), GRID, key="gid")
    assert zones.invalid == (1,)
    assert shapes(zones)[0].wkb == BOWTIE.wkb
    assert zones.skipped == ()


def test_repair_rebuilds_rings_that_cross_themselves() -> None:
    flat = shapely.Polygon([(0, 0), (1, 1), (2, 2), (0, 0)])
    zones = read_zones(
        frame([BOWTIE, SQUARES[0], flat, None]), GRID, key="gid", on_invalid="repair"
    )
    assert shapely.is_valid(shapes(zones)).all()
    assert shapes(zones)[0].area == 2
    assert shapes(zones)[1].wkb == SQUARES[0].wkb
    assert zones.invalid == (1, 3)
    assert zones.skipped == (
        SkippedRow(2, 3, "nothing is left of it after the repair"),
        SkippedRow(3, 4, "geometry is null"),
    )
    assert zones.row.tolist() == [0, 1]
    assert set(zone_rings(zones, GRID).part_zone.tolist()) == {0, 1}


def test_degrees_out_of_range_are_refused() -> None:
    with says(
        "cannot burn 1 of 2 rows: row 1 (key 2): y = 160 in WGS 84 lies outside of -90..90: are",
        "the axes swapped, or is it another CRS?; on_invalid='skip'",
    ):
        read_zones(frame([SQUARES[0], shapely.box(10, 160, 11, 170)]), GRID, key="gid")
    with says("row 0 (key 1): x = 541", "outside of -540..540"):
        read_zones(frame([shapely.box(540, 0, 541, 1)]), GRID, key="gid")
    assert read_zones(frame([shapely.box(359, -90, 540, 90)]), GRID).row.size == 1
    # Metres may be as large as they like.
    metres = Grid("EPSG:3857", (30, 0, 0, 0, -30, 0), (10, 10))
    assert read_zones(frame([shapely.box(0, 0, 900, 900)], 3857), metres).row.size == 1


def test_all_rows_beyond_degrees_are_listed_and_can_be_left_out() -> None:
    bad = [shapely.box(0, 80, 10, 90.1), shapely.box(540, 0, 541, 1), shapely.Polygon()]
    zones = frame([SQUARES[0], *bad])
    with says("cannot burn 3 of 4 rows", "y = 90.1", "x = 541", "geometry is empty"):
        read_zones(zones, GRID, key="gid")
    for mode in ("skip", "repair"):
        found = read_zones(zones, GRID, key="gid", on_invalid=mode)
        assert [(one.row, one.key) for one in found.skipped] == [(1, 2), (2, 3), (3, 4)]
        assert found.row.tolist() == [0]
    with says("0 zones left, all 3 rows were skipped: row 0: y = 90.1"):
        read_zones(frame(bad), GRID, key="gid", on_invalid="skip")


GLOBE = Grid.from_bounds((-180, -90, 180, 90), 1)


@pytest.mark.parametrize(
    ("box", "cut", "is_said"),
    [
        ((-180, -90.00000763, 180, -60), (-180, -90, 180, -60), True),
        ((0, 80, 10, 90.00009), (0, 80, 10, 90), True),
        ((170, 0, 180.0000001, 10), (170, 0, 180, 10), True),
        ((-180.00009, 0, 5, 10), (-180, 0, 5, 10), True),
        ((350, 0, 360.00005, 10), (350, 0, 360, 10), True),
        ((170, np.nextafter(-90, -91), np.nextafter(180, 181), 0), (170, -90, 180, 0), False),
        ((170, 0, 180.001, 10), (170, 0, 180.001, 10), False),
    ],
)
def test_what_goes_beyond_poles_and_seam_by_a_little_is_cut_there_and_named(
    box: tuple[float, ...], cut: tuple[float, ...], is_said: bool
) -> None:
    found = read_zones(frame([SQUARES[0], shapely.box(*box)]), GLOBE, key="gid")
    xy = found.ragged.xy[5:]
    assert (*xy.min(axis=0), *xy.max(axis=0)) == cut
    assert found.cut == (2,) * is_said


def test_a_vertex_beyond_180_is_no_overshoot_where_longitudes_go_on() -> None:
    zones = frame([shapely.box(179, 0, 180.00005, 1), shapely.box(200, 0, 201, 1)])
    found = read_zones(zones, GLOBE, key="gid")
    assert found.ragged.xy.max(axis=0).tolist() == [201, 1]
    assert 180.00005 in found.ragged.xy[:, 0]
    assert found.cut == ()


@pytest.mark.parametrize(
    ("shape", "crs", "grid", "is_wide"),
    [
        (shapely.box(-100, 0, 80, 1), 4326, GLOBE, False),
        (shapely.box(-100, 0, 80.5, 1), 4326, GLOBE, True),
        (shapely.box(-100, 0, 80.5, 1), 4326, Grid.from_bounds((0, 0, 10, 10), 1, 3857), True),
        (shapely.box(-1e7, 0, 1.5e7, 1), 3857, Grid.from_bounds((0, 0, 10, 10), 1, 3857), False),
        # The edges of these are followed, so nothing was left uncut.
        (shapely.box(-1e7, 0, 1.5e7, 5e5), 3857, GLOBE, False),
        # Gon, of which 400 go around.
        (shapely.box(0, 0, 190, 1), 4807, Grid.from_bounds((0, 0, 10, 10), 1, 4807), False),
        (shapely.box(0, 0, 201, 1), 4807, Grid.from_bounds((0, 0, 10, 10), 1, 4807), True),
    ],
)
def test_a_zone_is_wide_beyond_half_the_globe_in_its_own_reference_system(
    shape: shapely.Polygon, crs: int, grid: Grid, is_wide: bool
) -> None:
    found = read_zones(frame([shapely.box(0, 0, 1, 1), shape], crs=crs), grid, key="gid")
    assert found.wide == (2,) * is_wide
    pair = shapely.MultiPolygon([shapely.box(-180, 0, -179, 1), shapely.box(179, 0, 180, 1)])
    assert read_zones(frame([pair]), GLOBE, key="gid").wide == ()


METRES = Grid.from_bounds((0, 0, 10, 10), 0.1, 3857)


def far_away(far: float) -> list[shapely.Polygon]:
    """A strip that leads far away, between two that do not; the last vertices of its hole do."""
    ring = [(0, 0), (far, far), (far, far + 5), (0, 5)]
    return [shapely.box(0, 0, 2, 2), shapely.Polygon(shapely.box(-9, -9, 9, 9).exterior, [ring]),
            shapely.box(4, 4, 6, 6)]  # fmt: skip


@pytest.mark.parametrize("far", [1.2e11, -1e38, 1e150, 1.797e308])
@pytest.mark.filterwarnings("error")
def test_a_vertex_too_far_away_is_refused_or_its_row_left_out(far: float) -> None:
    zones = frame(far_away(far), crs=3857, gid=["a", "b", "c"])
    reason = "vertex 6 (counted from 0) is too far away: beyond 2**40 pixels or CRS units"
    with says(f"cannot burn 1 of 3 rows: row 1 (key 'b'): {reason}", "on_invalid='skip'"):
        read_zones(zones, METRES, key="gid")
    for on_invalid in ("skip", "repair"):
        found = read_zones(zones, METRES, key="gid", on_invalid=on_invalid)
        assert found.skipped == (SkippedRow(1, "b", reason),)
        near = frame([far_away(far)[i] for i in (0, 2)], crs=3857, gid=["a", "c"])
        assert content(found, METRES) == content(read_zones(near, METRES, key="gid"), METRES)


def test_2_to_the_40_pixels_are_not_too_far() -> None:
    for x, count in ((2.0**40, 1), (-(2.0**40), 1), (2.0**40 + 1, 0), (-(2.0**40) - 1, 0)):
        zones = [shapely.Polygon([(x, 0), (0, 5), (0, 0)]), shapely.box(0, 0, 1, 1)]
        found = read_zones(
            frame(zones, crs=3857), Grid.from_bounds((0, 0, 9, 9), 1, 3857), on_invalid="skip"
        )
        assert found.row.size == 1 + count


def test_a_vertex_too_far_away_for_any_projection_is_refused_or_its_row_left_out() -> None:
    # PROJ brings 1e38 metres to some longitude.
    zones = frame(far_away(1e38), crs=3857)
    with says("row 1 (key 2): vertex 6 (counted from 0) is too far away"):
        read_zones(zones, GRID, key="gid")
    found = read_zones(zones, GRID, key="gid", on_invalid="skip")
    assert [(one.row, one.key) for one in found.skipped] == [(1, 2)]


def test_a_vertex_that_a_projection_brings_too_far_away_is_refused() -> None:
    zones = frame([shapely.box(100, 0, 100 + 1e-9, 1e-9)])
    fine = Grid.from_bounds((0, 0, 1, 1), "1/1000000", 3857)
    with says(
        "row 0 (key 1): vertex (100", "has no place in the grid's CRS, or one more than 2**40"
    ):
        read_zones(zones, fine, key="gid")
