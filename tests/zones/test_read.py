"""Zones are read exactly, or refused with the row, the key and the cure."""

from __future__ import annotations

import datetime as dt
import json
import re
import struct
from pathlib import Path
from typing import Any

import geopandas as gpd
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import shapely
from pyproj import CRS, Transformer

from zoneraster._grid.grid import Grid
from zoneraster._store.ids import assign_ids, id_dtype
from zoneraster._zones.read import SkippedRow, read_zones, zone_rings
from zoneraster.errors import ZonerasterWarning, ZonesError

GRID = Grid.from_bounds((0, 0, 10, 10), 1)
SQUARES = [shapely.box(x, 0, x + 1, 1) for x in range(3)]
BOWTIE = shapely.Polygon([(0, 0), (2, 2), (2, 0), (0, 2)])
HUGE = 2**53 + 1
# pyogrio and GDAL warn of rings that are not closed; closing them is what is tested.
pytestmark = pytest.mark.filterwarnings("ignore:Non closed ring")


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


def says(*texts: str) -> Any:
    """The error holds these texts, in this order."""
    return pytest.raises(ZonesError, match="(?s)" + ".*".join(map(re.escape, texts)))


# ---- reading -------------------------------------------------------------------------------------


@pytest.mark.parametrize("suffix", [".parquet", ".gpkg", ".geojson", ".fgb", ".shp"])
def test_a_key_beyond_float64_survives_every_format(tmp_path: Path, suffix: str) -> None:
    path = write(frame(gid=[HUGE, HUGE + 1, HUGE + 2]), tmp_path / f"zones{suffix}")
    zones = read_zones(path, GRID, key="gid")
    assert sorted(zones.table["gid"].to_pylist()) == [HUGE, HUGE + 1, HUGE + 2]
    assert zones.table.num_rows == 3
    assert zones.row.tolist() == [0, 1, 2]
    assert not {"geometry", "geom", "wkb_geometry"} & set(zones.table.column_names)


@pytest.mark.parametrize("suffix", [".parquet", ".gpkg", ".geojson", ".shp"])
def test_the_same_content_has_the_same_digest(tmp_path: Path, suffix: str) -> None:
    path = write(frame(gid=[5, 7, 9]), tmp_path / f"zones{suffix}")
    again = read_zones(path, GRID, key="gid").digest
    if suffix != ".shp":  # a Shapefile turns its rings the other way round
        assert again == read_zones(frame(gid=[5, 7, 9]), GRID, key="gid").digest
    assert again == read_zones(str(path), GRID, key="gid").digest


def test_another_key_or_place_or_grid_has_another_digest() -> None:
    same = read_zones(frame(), GRID, key="gid").digest
    moved = [*SQUARES[:2], shapely.box(2, 0, 3, 1.5)]
    assert len(same) == 32
    assert read_zones(frame(gid=[1, 2, 4]), GRID, key="gid").digest != same
    assert read_zones(frame(gid=["1", "2", "3"]), GRID, key="gid").digest != same
    assert read_zones(frame(moved), GRID, key="gid").digest != same
    assert read_zones(frame(), Grid.from_bounds((0, 0, 10, 10), 2), key="gid").digest != same


def test_attributes_are_kept_in_input_order(tmp_path: Path) -> None:
    source = frame(gid=[3, 1, 2], name=["c", None, "b"], size=[1.5, 2.5, np.nan])
    for given in (source, write(source, tmp_path / "zones.parquet")):
        table = read_zones(given, GRID, key="gid").table
        assert table.column_names == ["gid", "name", "size"]
        assert table.to_pylist()[:2] == [
            {"gid": 3, "name": "c", "size": 1.5},
            {"gid": 1, "name": None, "size": 2.5},
        ]


def test_without_a_key_rows_are_numbered_from_one(tmp_path: Path) -> None:
    geometry = [SQUARES[0], None, SQUARES[2]]
    for source in (frame(geometry), gpd.GeoDataFrame(geometry=geometry, crs=4326)):
        zones = read_zones(source, GRID, on_invalid="skip")
        assert zones.key == "row"
        assert zones.table["row"].to_pylist() == [1, 3]
        assert zones.row.tolist() == [0, 2]
        assert zones.skipped == (SkippedRow(1, 2, "geometry is null"),)


def test_a_named_index_is_a_column_and_categories_are_text() -> None:
    source = frame(code=pd.Categorical(["b", "a", "c"]))
    assert read_zones(source, GRID, key="code").table["code"].to_pylist() == ["b", "a", "c"]
    zones = read_zones(source.set_index("code"), GRID, key="code")
    assert zones.table["code"].to_pylist() == ["b", "a", "c"]


def test_integral_floats_become_integers() -> None:
    zones = read_zones(frame(gid=[1.0, 2.0, 30.0]), GRID, key="gid")
    assert zones.table["gid"].to_pylist() == [1, 2, 30]
    assert zones.table["gid"].type == pa.int64()


def test_covering_boxes_and_further_geometries_are_left_out(tmp_path: Path) -> None:
    source = frame()
    source["corner"] = gpd.GeoSeries(shapely.points([0, 1, 2], 0), crs=4326)
    source.to_parquet(tmp_path / "zones.parquet", write_covering_bbox=True)
    assert read_zones(tmp_path / "zones.parquet", GRID, key="gid").table.column_names == ["gid"]
    assert read_zones(source, GRID, key="gid").table.column_names == ["gid"]


@pytest.mark.parametrize("geometry", [SQUARES, [shapely.MultiPolygon([g]) for g in SQUARES]])
def test_native_geoarrow_encodings_are_read(tmp_path: Path, geometry: Any) -> None:
    source = frame(geometry, gid=[HUGE, HUGE + 1, 3])
    source.to_parquet(tmp_path / "zones.parquet", geometry_encoding="geoarrow")
    zones = read_zones(tmp_path / "zones.parquet", GRID, key="gid")
    assert zones.table["gid"].to_pylist() == [HUGE, HUGE + 1, 3]
    assert shapely.equals_exact(zones.geometry, np.array(geometry)).all()


def test_geoparquet_is_read_from_a_url(tmp_path: Path) -> None:
    path = write(frame(), tmp_path / "zones.parquet")
    here = read_zones(path, GRID, key="gid")
    assert read_zones(f"file://{path}", GRID, key="gid").digest == here.digest


def test_lazy_frames_are_computed() -> None:
    class Lazy:
        def compute(self) -> Other:
            return Other()

    class Other:
        def to_geopandas(self) -> gpd.GeoDataFrame:
            return frame(compute=[1, 2, 3])

    assert read_zones(Lazy(), GRID, key="compute").table["compute"].to_pylist() == [1, 2, 3]


def test_a_layer_is_chosen_by_name(tmp_path: Path) -> None:
    path = tmp_path / "zones.gpkg"
    frame().to_file(path, layer="districts")
    frame(SQUARES[:1]).to_file(path, layer="parks")
    assert read_zones(path, GRID, key="gid", layer="parks").row.size == 1
    with says("zones.gpkg has several layers", "layer= (--layer)", "'districts', 'parks'"):
        read_zones(path, GRID)
    with says("zones.gpkg has no layer 'lakes'", "'districts', 'parks'"):
        read_zones(path, GRID, layer="lakes")
    with says("layer='parks' is for files"):
        read_zones(frame(), GRID, layer="parks")
    with says("is Parquet and has no layers", "leave out layer='parks'"):
        read_zones(write(frame(), tmp_path / "zones.parquet"), GRID, layer="parks")


# ---- sources that are refused --------------------------------------------------------------------

VRT = b"<OGRVRTDataSource><OGRVRTLayer name='x'><SrcDataSource>/etc/passwd</SrcDataSource>"
PIPELINE = (
    b'{"type": "gdal_streamed_alg", "command_line": "gdal vector pipeline ! read zones.gpkg"}'
)


@pytest.mark.parametrize("name", ["zones.vrt", "zones.gpkg", "zones.shp", "zones.parquet"])
def test_a_vrt_is_refused_whatever_it_is_called(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(VRT)
    with says(name, "is not GeoParquet, GeoPackage", "it begins with b'<OGRVRTDataSourc'"):
        read_zones(tmp_path / name, GRID)


def test_json_is_read_as_geojson_or_not_at_all(tmp_path: Path) -> None:
    write(frame(), tmp_path / "zones.gpkg")
    (tmp_path / "zones.geojson").write_bytes(PIPELINE)
    with says("zones.geojson cannot be read"):
        read_zones(tmp_path / "zones.geojson", GRID)


def test_other_sources_are_refused(tmp_path: Path) -> None:
    (tmp_path / "empty.gpkg").touch()
    (tmp_path / "broken.parquet").write_bytes(b"PAR1 and nothing")
    (tmp_path / "text.geojson").write_text('{"type": "FeatureCollection", "features": [')
    pq.write_table(pa.table({"a": [1]}), tmp_path / "plain.parquet")
    cases: list[tuple[object, tuple[str, ...]]] = [
        (tmp_path / "none.gpkg", ("none.gpkg: no such file",)),
        (tmp_path, ("is a folder", "give one file")),
        (tmp_path / "empty.gpkg", ("is not GeoParquet", "begins with b''", "ogr2ogr")),
        (tmp_path / "broken.parquet", ("is not readable Parquet",)),
        (tmp_path / "text.geojson", ("text.geojson cannot be read",)),
        (tmp_path / "plain.parquet", ("has no 'geo' metadata", "to_parquet", "columns: a")),
        (42, ("cannot read zones from a int", "GeoDataFrame")),
        (pd.DataFrame({"a": [1]}), ("cannot read zones from a DataFrame",)),
        (gpd.GeoDataFrame({"a": [1]}), ("no active geometry", "set_geometry")),
        ("reference://zones.parquet", ("zones.parquet: no scheme 'reference' here", "s3")),
        ("simplecache::s3://bucket/zones.parquet", ("zones.parquet: chained URLs",)),
        (f"file://{tmp_path}/empty.gpkg", ("empty.gpkg is not GeoParquet", "download")),
        (f"file://me:secret@{tmp_path}/no.parquet?sig=x", ("no.parquet", "cannot be opened")),
        (frame(gid=[1, "a", 3]), ("a column mixes types", "convert")),
    ]
    for source, texts in cases:
        with says(*texts) as caught:
            read_zones(source, GRID)
        assert "secret" not in str(caught.value)


def test_a_table_without_geometry_is_refused(tmp_path: Path) -> None:
    import pyogrio

    pyogrio.write_dataframe(pd.DataFrame({"a": [1]}), tmp_path / "zones.gpkg")
    with says("zones.gpkg has no layer with geometries"):
        read_zones(tmp_path / "zones.gpkg", GRID)


def test_a_truncated_shapefile_is_refused(tmp_path: Path) -> None:
    path = write(frame(), tmp_path / "zones.shp")
    content = path.read_bytes()
    path.write_bytes(content[:-100])
    with says(
        f"zones.shp is truncated: {len(content) - 100} bytes, its header says {len(content)}"
    ):
        read_zones(path, GRID)


def test_a_null_in_a_shapefile_hints_at_damage(tmp_path: Path) -> None:
    path = write(frame([*SQUARES[:2], None]), tmp_path / "zones.shp")
    with says("row 2 (key 3): geometry is null", "a Shapefile with null geometries may be damaged"):
        read_zones(path, GRID, key="gid")


def test_no_rows_are_refused(tmp_path: Path) -> None:
    with says("GeoDataFrame: 0 zones; give a file"):
        read_zones(frame([], gid=[]), GRID, key="gid")
    with says("zones.gpkg: 0 zones"):
        read_zones(write(frame().iloc[:0], tmp_path / "zones.gpkg"), GRID)
    with says("0 zones left, all 1 rows were skipped"):
        read_zones(frame([None]), GRID, on_invalid="skip")


def test_an_unknown_on_invalid_is_refused() -> None:
    with says("on_invalid is 'ignore'", "'error', 'skip' or 'repair'"):
        read_zones(frame(), GRID, on_invalid="ignore")  # type: ignore[arg-type]


def test_spherical_edges_are_warned_of(tmp_path: Path) -> None:
    path = write(frame(), tmp_path / "zones.parquet")
    table = pq.read_table(path)
    geo = json.loads(table.schema.metadata[b"geo"])
    geo["columns"]["geometry"]["edges"] = "spherical"
    pq.write_table(table.replace_schema_metadata({"geo": json.dumps(geo)}), path)
    with pytest.warns(ZonerasterWarning, match="spherical edges") as caught:
        read_zones(path, GRID)
    assert caught[0].filename == __file__


# ---- keys ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("keys", "texts"),
    [
        ([1, None, 3], (" is null in 1 of 3 rows: row 1 (None); give every zone a key",)),
        (pa.array([1.0, float("nan"), 3.0]), ("is NaN in 1 of 3 rows: row 1 (nan)",)),
        ([True, False, None], ("is bool: choose",)),
        ([dt.date(2020, 1, day) for day in (1, 2, 3)], ("is date32[day]: choose",)),
        (pa.array([1, 2, 3], pa.timestamp("ms")), ("is timestamp[ms]: choose",)),
        ([[1], [2], [3]], ("is list<", "whole numbers or text")),
        ([1.0, 1.5, 2.0], ("is not a whole number in 1 of 3 rows: row 1 (1.5)", "integers")),
        ([1.0, float("inf"), 2.0], ("is not a whole number in 1 of 3 rows: row 1 (inf)",)),
        ([1.0, 2.0**53, 2.0], ("is a float of at least 9007199254740992 in 1", "lost digits")),
        (pa.array([1, 2**24, 3], pa.float32()), ("is a float of at least 16777216 in 1",)),
        ([7, 8, 7], ("is not unique in 2 of 3 rows: row 0 (7), row 2 (7); make", "dissolve")),
        (["a", "b", "b"], ("is not unique in 2 of 3 rows: row 1 ('b'), row 2 ('b')",)),
    ],
)
def test_a_bad_key_is_refused(tmp_path: Path, keys: Any, texts: tuple[str, ...]) -> None:
    path = write_wkb(tmp_path / "zones.parquet", [g.wkb for g in SQUARES], gid=keys)
    with says("zones.parquet: key column 'gid'", *texts):
        read_zones(path, GRID, key="gid")


def test_keys_are_compared_across_row_groups(tmp_path: Path) -> None:
    source = frame(SQUARES * 2, gid=["a", "b", "c", "d", "a", "e"])
    source.to_parquet(tmp_path / "zones.parquet", row_group_size=2)
    with says("is not unique in 2 of 6 rows: row 0 ('a'), row 4 ('a');"):
        read_zones(tmp_path / "zones.parquet", GRID, key="gid")
    frame(SQUARES * 2).to_parquet(tmp_path / "zones.parquet", row_group_size=2)
    zones = read_zones(tmp_path / "zones.parquet", GRID, key="gid")
    assert zones.digest == read_zones(frame(SQUARES * 2), GRID, key="gid").digest


def test_only_the_first_rows_are_listed() -> None:
    with says("not unique in 9 of 9 rows: row 0 (4), row 1 (4)", "row 4 (4) and 4 more; make"):
        read_zones(frame(SQUARES * 3, gid=[4] * 9), GRID, key="gid")


def test_a_missing_key_column_lists_the_columns() -> None:
    with says("no single key column 'id'; columns: gid, name"):
        read_zones(frame(gid=[1, 2, 3], name=["a", "b", "c"]), GRID, key="id")
    with says("no single key column 'id'; columns: none"):
        read_zones(gpd.GeoDataFrame(geometry=SQUARES, crs=4326), GRID, key="id")


def test_a_column_called_row_is_not_hidden() -> None:
    with says("a column 'row' is there already", "give key='row' or another column (row, name)"):
        read_zones(frame(row=[3, 2, 1], name=["a", "b", "c"]), GRID)
    assert read_zones(frame(row=[3, 2, 1]), GRID, key="row").table["row"].to_pylist() == [3, 2, 1]


# ---- geometry ------------------------------------------------------------------------------------


def polygon(points: list[tuple[float, ...]], kind: int = 3, order: str = "<") -> bytes:
    """WKB of one ring."""
    values = b"".join(struct.pack(f"{order}{len(point)}d", *point) for point in points)
    return struct.pack(f"{order}BIII", order == "<", kind, 1, len(points)) + values


def collection(depth: int) -> bytes:
    return struct.pack("<BII", 1, 7, 1) * depth + struct.pack("<BII", 1, 7, 0)


TRIANGLE = [(0.0, 0.0), (1.0, 0.0), (1.0, 1.0), (0.0, 0.0)]
NAN_RING = [(0.0, 0.0), (1.0, 0.0), (float("nan"), 1.0), (0.0, 0.0)]
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


@pytest.mark.parametrize("name", BAD_WKB)
def test_a_row_that_cannot_be_burned_is_named(tmp_path: Path, name: str) -> None:
    wkb, reason = BAD_WKB[name]
    path = write_wkb(tmp_path / "z.parquet", [SQUARES[0].wkb, wkb], gid=["a", "b"])
    with says("z.parquet: cannot burn 1 of 2 rows: row 1 (key 'b'): ", reason, "--on-invalid skip"):
        read_zones(path, GRID, key="gid")
    zones = read_zones(path, GRID, key="gid", on_invalid="skip")
    assert [(one.row, one.key) for one in zones.skipped] == [(1, "b")]
    assert reason in zones.skipped[0].reason
    assert zones.table["gid"].to_pylist() == ["a"]
    assert zones.row.tolist() == [0]
    assert zones.digest == read_zones(frame(SQUARES[:1], gid=["a"]), GRID, key="gid").digest


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


def test_curves_of_a_geopackage_are_named(tmp_path: Path) -> None:
    path = write(frame(SQUARES[:1]), tmp_path / "zones.gpkg")
    import sqlite3

    base = sqlite3.connect(path)
    (blob,) = base.execute("select geom from zones").fetchone()
    curve = blob[: len(blob) - len(SQUARES[0].wkb)] + struct.pack("<BII", 1, 10, 1)
    curve += struct.pack("<BII", 1, 2, 4) + struct.pack("<8d", *np.ravel(TRIANGLE))
    base.executescript("drop trigger if exists rtree_zones_geom_update6")
    for (name,) in base.execute("select name from sqlite_master where type='trigger'").fetchall():
        base.execute(f'drop trigger "{name}"')
    base.execute("update zones set geom = ?", (curve,))
    base.commit()
    base.close()
    with says("row 0 (key 1): CurvePolygon, not Polygon", "CONVERT_TO_LINEAR"):
        read_zones(path, GRID, key="gid")


@pytest.mark.parametrize("kind", [1003, 2003, 3003, 0x80000003, 0x40000003, 0xC0000003])
@pytest.mark.parametrize("order", ["<", ">"])
def test_heights_and_measures_are_dropped(tmp_path: Path, kind: int, order: str) -> None:
    n = 2 if kind in (3003, 0xC0000003) else 1
    deep = polygon([(*point, *[float("nan"), 5.0][:n]) for point in TRIANGLE], kind, order)
    zones = read_zones(write_wkb(tmp_path / "z.parquet", [deep]), GRID)
    flat = read_zones(frame([shapely.Polygon(TRIANGLE)]).drop(columns="gid"), GRID)
    assert zones.geometry[0].wkb == flat.geometry[0].wkb
    assert zones.digest == flat.digest
    frame_zones = read_zones(frame([shapely.from_wkb(deep)]), GRID)
    assert frame_zones.geometry[0].wkb == flat.geometry[0].wkb


def test_open_rings_are_closed(tmp_path: Path) -> None:
    closed = read_zones(write_wkb(tmp_path / "a.parquet", [polygon(TRIANGLE)]), GRID)
    opened = read_zones(write_wkb(tmp_path / "b.parquet", [polygon(TRIANGLE[:3])]), GRID)
    assert opened.digest == closed.digest
    assert opened.geometry[0].wkb == closed.geometry[0].wkb


def test_rings_that_cross_themselves_are_burned_and_named() -> None:
    zones = read_zones(frame([BOWTIE, SQUARES[0]]), GRID, key="gid")
    assert zones.invalid == (1,)
    assert zones.geometry[0].wkb == BOWTIE.wkb
    assert zones.skipped == ()


def test_repair_rebuilds_rings_that_cross_themselves() -> None:
    flat = shapely.Polygon([(0, 0), (1, 1), (2, 2), (0, 0)])
    zones = read_zones(
        frame([BOWTIE, SQUARES[0], flat, None]), GRID, key="gid", on_invalid="repair"
    )
    assert shapely.is_valid(zones.geometry).all()
    assert zones.geometry[0].area == 2
    assert zones.geometry[1].wkb == SQUARES[0].wkb
    assert zones.invalid == (1, 3)
    assert zones.skipped == (
        SkippedRow(2, 3, "nothing is left of it after the repair"),
        SkippedRow(3, 4, "geometry is null"),
    )
    assert zones.row.tolist() == [0, 1]
    assert set(zone_rings(zones, GRID).part_zone.tolist()) == {0, 1}


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
    rings = zone_rings(zones, metres)
    flat = [ring for part in shapely.get_parts(zones.geometry) for ring in shapely.get_rings(part)]
    u, v = metres.to_pixels(*shapely.get_coordinates(flat).T)
    assert np.array_equal(rings.u, u)
    assert np.array_equal(rings.v, v)


# ---- reference systems ---------------------------------------------------------------------------

ODD = [shapely.Polygon([(0.1, 0.2), (1 / 3, 0.7), (0.9, 1e-17), (0.1, 0.2)])]


@pytest.mark.parametrize("crs", ["EPSG:4326", "OGC:CRS84", CRS(4326).to_wkt("WKT1_GDAL")])
def test_the_same_crs_keeps_every_bit(tmp_path: Path, crs: str) -> None:
    for source in (frame(ODD, crs), write(frame(ODD, crs), tmp_path / "zones.parquet")):
        assert read_zones(source, GRID).geometry[0].wkb == ODD[0].wkb


def test_the_default_crs_of_geoparquet_is_crs84(tmp_path: Path) -> None:
    path = write_wkb(tmp_path / "zones.parquet", [ODD[0].wkb])
    assert read_zones(path, GRID).geometry[0].wkb == ODD[0].wkb


def test_a_missing_crs_is_asked_for(tmp_path: Path) -> None:
    path = write(frame(crs=None), tmp_path / "zones.parquet")
    with says("zones.parquet declares no CRS", "assume_crs= (--assume-crs)"):
        read_zones(path, GRID)
    assert read_zones(path, GRID, assume_crs=4326).row.size == 3
    with says("GeoDataFrame declares no CRS"):
        read_zones(frame(crs=None), GRID)


def test_an_assumed_crs_does_not_override() -> None:
    assert read_zones(frame(), GRID, assume_crs="OGC:CRS84").row.size == 3
    with says("declares the CRS WGS 84, not CH1903+ / LV95", "leave out assume_crs"):
        read_zones(frame(), GRID, assume_crs=2056)
    with says("assume_crs: unknown CRS 'nonsense'"):
        read_zones(frame(crs=None), GRID, assume_crs="nonsense")


def test_degrees_out_of_range_are_refused() -> None:
    with says(
        "row 1 (key 2): y = 160 (5 such vertices in all)",
        " in WGS 84 lies outside of -90..90: are the axes swapped",
    ):
        read_zones(frame([SQUARES[0], shapely.box(10, 160, 11, 170)]), GRID, key="gid")
    with says("row 0 (key 1): x = 541", "outside of -540..540"):
        read_zones(frame([shapely.box(540, 0, 541, 1)]), GRID, key="gid")
    assert read_zones(frame([shapely.box(359, -90, 540, 90)]), GRID).row.size == 1
    # Metres may be as large as they like.
    metres = Grid("EPSG:3857", (30, 0, 0, 0, -30, 0), (10, 10))
    assert read_zones(frame([shapely.box(0, 0, 900, 900)], 3857), metres).row.size == 1


def test_other_reference_systems_are_brought_to_the_grid(tmp_path: Path) -> None:
    swiss = shapely.box(2_600_000, 1_200_000, 2_610_000, 1_210_000)
    hole = shapely.Polygon(swiss.exterior, [swiss.centroid.buffer(100).exterior])
    two = shapely.MultiPolygon([shapely.box(2_620_000, 1_200_000, 2_621_000, 1_201_000), hole])
    grid = Grid.from_bounds((5, 45, 11, 48), "1/4000")
    zones = read_zones(frame([hole, None, two], 2056), grid, key="gid", on_invalid="skip")
    transformer = Transformer.from_crs(2056, 4326, always_xy=True)
    for old, new in zip((hole, two), zones.geometry, strict=True):
        expected = shapely.transform(old, lambda xy: np.stack(transformer.transform(*xy.T), axis=1))
        assert new.symmetric_difference(expected).area < 1e-3 * expected.area
        assert shapely.get_num_interior_rings(shapely.get_parts(new)).sum() == 1
    assert zones.row.tolist() == [0, 2]
    rings = zone_rings(zones, grid)
    assert rings.part_zone.tolist() == [0, 1, 1]


def test_a_place_that_cannot_be_projected_is_named() -> None:
    europe = Grid("EPSG:3035", (30, 0, 0, 0, -30, 0), (10, 10))
    antipode = shapely.Polygon([(-170, -52), (-169, -52), (-169, -51)])
    with says("GeoDataFrame: row 1 (key 2): vertex (-170, -52) has no place in the grid's CRS"):
        read_zones(frame([SQUARES[0], antipode]), europe, key="gid")


def test_neighbours_stay_neighbours_after_reprojection() -> None:
    metres = Grid("EPSG:3035", (10, 0, 0, 0, -10, 6_000_000), (600_000, 600_000))
    corner = [shapely.Polygon([(x, 44), (x + 9, 44), (x + 9, 57), (x, 57)]) for x in (2, 11)]
    one, two = read_zones(frame(corner), metres).geometry
    places = [set(map(tuple, shapely.get_coordinates(each))) for each in (one, two)]
    assert len(places[0] & places[1]) > 20
    assert one.intersection(two).area == 0
    assert shapely.is_valid([one, two]).all()


def test_real_neighbours_stay_neighbours(data_dir: Path) -> None:
    path = data_dir / "swiss_municipalities_2025.parquet"
    if not path.exists():
        pytest.skip(f"no {path}")
    grid = Grid.from_bounds((5, 45, 11, 48), "1/100000")

    def lonely(geometry: Any) -> int:
        """How many edges no other ring shares in the opposite direction."""
        edges: set[tuple[float, ...]] = set()
        for ring in shapely.get_rings(shapely.get_parts(geometry)):
            xy = shapely.get_coordinates(ring)
            edges |= set(map(tuple, np.concatenate([xy[:-1], xy[1:]], axis=1)))
        return sum((c, d, a, b) not in edges for a, b, c, d in edges)

    before = shapely.from_wkb(pq.read_table(path)["geometry"].to_numpy())
    after = read_zones(path, grid, key="zone_id").geometry
    n_before, n_after = (shapely.get_num_coordinates(each).sum() for each in (before, after))
    assert n_after > n_before
    # The outer border grows with its new points, the shared edges stay shared.
    assert lonely(after) - lonely(before) < (n_after - n_before) * 0.2


# ---- rings and ids -------------------------------------------------------------------------------


def test_rings_are_in_pixels_of_the_whole_grid() -> None:
    outer = shapely.Polygon([(1, 1), (1, 5), (5, 5), (5, 1)], [[(2, 2), (3, 2), (3, 3)]])
    source = frame([SQUARES[0], shapely.MultiPolygon([outer, shapely.box(6, 6, 7, 7)])])
    rings = zone_rings(read_zones(source, GRID), GRID)
    assert rings.ring_offsets.tolist() == [0, 5, 10, 14, 19]
    assert rings.part_offsets.tolist() == [0, 1, 3, 4]
    assert rings.part_zone.tolist() == [0, 1, 1]
    assert rings.u[:5].tolist() == [1, 1, 0, 0, 1]
    assert rings.v[:5].tolist() == [10, 9, 9, 10, 10]
    assert rings.u[10:14].tolist() == [2, 3, 3, 2]
    assert rings.v[10:14].tolist() == [8, 8, 7, 8]
    dtypes = (rings.u, rings.v, rings.ring_offsets, rings.part_offsets, rings.part_zone)
    assert [str(array.dtype) for array in dtypes] == ["float64"] * 2 + ["int64"] * 3


def test_empty_rings_and_parts_have_no_place(tmp_path: Path) -> None:
    holes = shapely.from_wkt("MULTIPOLYGON (EMPTY, ((0 0, 1 0, 1 1, 0 0), EMPTY), EMPTY)")
    for source in (frame([holes]), write(frame([holes]), tmp_path / "zones.parquet")):
        rings = zone_rings(read_zones(source, GRID), GRID)
        assert rings.ring_offsets.tolist() == [0, 4]
        assert rings.part_offsets.tolist() == [0, 1]
        assert rings.part_zone.tolist() == [0]


def test_rings_agree_with_shapely_on_random_polygons() -> None:
    random = np.random.default_rng(1)
    points = shapely.points(random.uniform(1, 9, (200, 2)))
    blobs = shapely.buffer(points, random.uniform(0.1, 1, 200), quad_segs=3)
    source = [shapely.union_all(group) for group in np.array_split(blobs, 40)]
    source = [each.difference(shapely.Point(5, 5).buffer(0.3)) for each in source]
    rings = zone_rings(read_zones(frame(source), GRID), GRID)
    flat = [ring for part in shapely.get_parts(source) for ring in shapely.get_rings(part)]
    assert len(flat) == rings.ring_offsets.size - 1
    u, v = GRID.to_pixels(*shapely.get_coordinates(flat).T)
    assert (rings.u == u).all()
    assert (rings.v == v).all()
    assert np.diff(rings.ring_offsets).tolist() == shapely.get_num_coordinates(flat).tolist()
    parts, zone = shapely.get_parts(source, return_index=True)
    assert rings.part_zone.tolist() == zone.tolist()
    n_rings = 1 + shapely.get_num_interior_rings(parts)
    assert np.diff(rings.part_offsets).tolist() == n_rings.tolist()


def chunked(keys: Any) -> pa.ChunkedArray:
    return pa.chunked_array([keys])


@pytest.mark.parametrize(
    ("keys", "ids"),
    [
        ([5, 300, 2**32 - 1], [5, 300, 2**32 - 1]),
        ([5.0, 3.0], [5, 3]),
        ([5, 0], [1, 2]),
        ([-1, 7], [1, 2]),
        ([2**32, 7], [1, 2]),
        ([HUGE, HUGE + 1], [1, 2]),
        (["10", "7"], [1, 2]),
        (pa.array([9, 8], pa.uint64()), [9, 8]),
    ],
)
def test_ids_are_the_keys_where_they_can_be(keys: Any, ids: list[int]) -> None:
    got = assign_ids(chunked(keys))
    assert got.tolist() == ids
    assert got.dtype == np.uint32


def test_a_key_keeps_its_id_and_new_keys_follow() -> None:
    previous = pa.table({"key": ["a", "b", "gone"], "zone_id": pa.array([2, 1, 9], pa.uint32())})
    assert assign_ids(chunked(["new", "b", "a", "z"]), previous=previous).tolist() == [10, 1, 2, 11]
    huge = pa.table({"key": [HUGE, HUGE + 1], "zone_id": [1, 2]})
    assert assign_ids(chunked([5, HUGE + 1]), previous=huge).tolist() == [3, 2]
    same = pa.table({"key": pa.array([4, 5], pa.int32()), "zone_id": [4, 5]})
    assert assign_ids(chunked([900, 5]), previous=same).tolist() == [900, 5]
    # An impossible id among the new keys: the others keep theirs all the same.
    assert assign_ids(chunked([0, 5]), previous=same).tolist() == [6, 5]


def test_ids_are_refused_when_keys_change_type_or_run_out() -> None:
    with says("keys are string, those of the last build are int64", "same key column"):
        assign_ids(chunked(["a"]), previous=pa.table({"key": [1], "zone_id": [1]}))
    full = pa.table({"key": ["a"], "zone_id": [2**32 - 1]})
    with says("1 new zones need ids beyond 4294967295", "build a new store"):
        assign_ids(chunked(["b"]), previous=full)


@pytest.mark.parametrize(
    ("max_id", "dtype"),
    [(0, "u1"), (255, "u1"), (256, "u2"), (65_535, "u2"), (65_536, "u4"), (2**32 - 1, "u4")],
)
def test_the_smallest_dtype_is_chosen(max_id: int, dtype: str) -> None:
    assert id_dtype(max_id) == np.dtype(dtype)


def test_an_id_beyond_uint32_is_refused() -> None:
    with says("zone id 4294967296 is outside of 0..4294967295"):
        id_dtype(2**32)


@pytest.mark.slow
def test_all_districts_of_the_world_are_read(data_dir: Path) -> None:
    path = data_dir / "geoboundaries_adm.parquet"
    if not path.exists():
        pytest.skip(f"no {path}")
    zones = read_zones(path, GRID, key="zone_id")
    rings = zone_rings(zones, GRID)
    assert (zones.row.size, rings.u.size, rings.part_zone.size) == (142_896, 4_529_538, 198_285)
