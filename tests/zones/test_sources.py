"""Files and frames are opened, or refused with the reason."""

from __future__ import annotations

import json
import sqlite3
import subprocess
import sys
from pathlib import Path
from typing import Any

import geopandas as gpd
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import shapely

from tests.zones.samples import (
    GRID,
    HUGE,
    ODD,
    SQUARES,
    collection,
    content,
    frame,
    says,
    shapes,
    write,
    write_wkb,
)
from zoneraster._zones.paths import file_digest, source_digest
from zoneraster._zones.read import read_zones
from zoneraster._zones.wkb import objects_of
from zoneraster.errors import ZonesError

# pyogrio and GDAL warn of rings that are not closed; closing them is what is tested.
pytestmark = pytest.mark.filterwarnings("ignore:Non closed ring")


@pytest.mark.parametrize("suffix", [".parquet", ".gpkg", ".geojson", ".fgb", ".shp"])
def test_a_key_beyond_float64_survives_every_format(tmp_path: Path, suffix: str) -> None:
    path = write(frame(gid=[HUGE, HUGE + 1, HUGE + 2]), tmp_path / f"zones{suffix}")
    zones = read_zones(path, GRID, key="gid")
    assert sorted(zones.table["gid"].to_pylist()) == [HUGE, HUGE + 1, HUGE + 2]
    assert zones.table.num_rows == 3
    assert zones.row.tolist() == [0, 1, 2]
    assert not {"geometry", "geom", "wkb_geometry"} & set(zones.table.column_names)


@pytest.mark.parametrize("suffix", [".parquet", ".gpkg", ".geojson", ".shp"])
def test_the_same_content_has_the_same_keys_and_rings(tmp_path: Path, suffix: str) -> None:
    path = write(frame(gid=[5, 7, 9]), tmp_path / f"zones{suffix}")
    again = content(read_zones(path, GRID, key="gid"))
    if suffix != ".shp":  # a Shapefile turns its rings the other way round
        assert again == content(read_zones(frame(gid=[5, 7, 9]), GRID, key="gid"))
    assert again == content(read_zones(str(path), GRID, key="gid"))


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
    assert shapely.equals_exact(shapes(zones), np.array(geometry)).all()


def test_geoparquet_is_read_from_a_url(tmp_path: Path) -> None:
    path = write(frame(), tmp_path / "zones.parquet")
    here = read_zones(path, GRID, key="gid")
    assert content(read_zones(f"file://{path}", GRID, key="gid")) == content(here)


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
    with says("zones.gpkg has several layers", "layer=:", "'districts', 'parks'"):
        read_zones(path, GRID)
    with says("zones.gpkg has no layer 'lakes'", "'districts', 'parks'"):
        read_zones(path, GRID, layer="lakes")
    with says("layer='parks' is for files"):
        read_zones(frame(), GRID, layer="parks")
    with says("is Parquet and has no layers", "leave out layer='parks'"):
        read_zones(write(frame(), tmp_path / "zones.parquet"), GRID, layer="parks")


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
        (f"file://{tmp_path}/empty.gpkg", ("empty.gpkg is not GeoParquet", "ogr2ogr")),
        (f"file://me:secret@{tmp_path}/no.parquet?sig=x", ("no.parquet", "cannot be opened")),
    ]
    for source, texts in cases:
        with says(*texts) as caught:
            read_zones(source, GRID)
        assert "secret" not in str(caught.value)


def geo(primary: str, columns: Any) -> bytes:
    return json.dumps({"primary_column": primary, "columns": columns}).encode()


NOTHING = "metadata is damaged, no primary_column and columns in "
DAMAGED_METADATA = {
    b"{": NOTHING,
    b"[" * 100_000: NOTHING,
    b"[]": NOTHING,
    b"{}": NOTHING,
    b"\xff": NOTHING,
    geo("geometry", None): NOTHING,
    geo("geometry", {"geometry": 1}): NOTHING,
    geo("geom", {"geom": {"encoding": "WKB"}}): (
        "damaged, no single column 'geom' of geometries; columns: ['gid', 'geometry']"
    ),
    geo("x", {"geometry": {}}): "no single column 'x'",
    geo("gid", {"gid": {}}): "(ArrowNotImplementedError: Unsupported cast from int64",
    geo("geometry", {"geometry": {"encoding": "tar"}}): (
        "geometry column 'geometry' is encoded as 'tar': zones must be WKB, polygon or"
    ),
    geo("geometry", {"geometry": {"encoding": "point"}}): "cannot be read as zones",
    geo("geometry", {"geometry": {"covering": 3}}): "cannot be read as zones (AttributeError",
}


@pytest.mark.parametrize("metadata", DAMAGED_METADATA, ids=lambda geo: geo[:60].decode("latin-1"))
def test_damaged_metadata_of_geoparquet_is_refused(tmp_path: Path, metadata: bytes) -> None:
    path = write(frame(), tmp_path / "zones.parquet")
    table = pq.read_table(path).replace_schema_metadata({b"geo": metadata})
    pq.write_table(table, path)
    with says("zones.parquet", DAMAGED_METADATA[metadata], "write it anew"):
        read_zones(path, GRID, key="gid")


def test_geometry_nested_too_deep_for_geos_is_refused_or_named_in_every_format(
    tmp_path: Path,
) -> None:
    deep = collection(20_000)
    path = write_wkb(tmp_path / "zones.parquet", [deep])
    with says("row 0", "GeometryCollection, not Polygon"):
        read_zones(path, GRID)
    package = write(frame(), tmp_path / "zones.gpkg")
    with sqlite3.connect(package) as database:
        for kind in ("trigger", "table"):
            named = f"select name from sqlite_master where type = '{kind}' and name like 'rtree_%'"
            for (name,) in database.execute(named).fetchall():
                if kind == "trigger" or name == "rtree_zones_geom":
                    database.execute(f'drop {kind} "{name}"')
        database.execute("update zones set geom = ?", [b"GP\0\1" + b"\0" * 4 + deep])
    database.close()
    with says("zones.gpkg"):
        read_zones(package, GRID, key="gid")
    inside = '{"type":"GeometryCollection","geometries":['
    text = inside * 20_000 + "]}" * 20_000
    feature = f'{{"type":"Feature","properties":{{}},"geometry":{text}}}'
    (tmp_path / "zones.geojson").write_text(feature)
    with says("zones.geojson"):
        read_zones(tmp_path / "zones.geojson", GRID)


@pytest.mark.parametrize("suffix", [".parquet", ".gpkg", ".geojson", ".fgb", ".shp"])
def test_a_row_without_geometry_damages_no_other(tmp_path: Path, suffix: str) -> None:
    shapes = [*shapely.box([0, 2], 0, [1, 3], 1), None, *shapely.box([4, 6], 0, [5, 7], 2)]
    whole, path = frame(shapes), tmp_path / f"zones{suffix}"
    # The index of a FlatGeobuf has no place for it.
    options = {"SPATIAL_INDEX": "NO"} if suffix == ".fgb" else {}
    whole.to_parquet(path) if suffix == ".parquet" else whole.to_file(path, **options)
    zones = read_zones(path, GRID, key="gid", on_invalid="skip")
    assert zones.table["gid"].to_pylist() == [1, 2, 4, 5]
    assert shapely.area(objects_of(zones.wkb)).tolist() == [1, 1, 2, 2]


@pytest.mark.slow
@pytest.mark.parametrize("suffix", [".parquet", ".gpkg", ".geojson", ".fgb", ".shp"])
def test_flipped_bytes_are_read_or_refused_by_us(tmp_path: Path, suffix: str) -> None:
    random = np.random.default_rng(5)
    path = write(frame(name=["a", "b", None]), tmp_path / f"zones{suffix}")
    whole = path.read_bytes()
    refused = 0
    for _ in range(40):
        content = bytearray(whole)
        for at in random.integers(len(whole), size=random.integers(1, 6)):
            content[at] = random.integers(256)
        path.write_bytes(content[: random.choice([len(whole), random.integers(len(whole))])])
        try:
            read_zones(path, GRID, on_invalid="skip")
        except ZonesError:
            refused += 1
    assert refused


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


def test_the_default_crs_of_geoparquet_is_crs84(tmp_path: Path) -> None:
    path = write_wkb(tmp_path / "zones.parquet", [ODD[0].wkb])
    assert shapes(read_zones(path, GRID))[0].wkb == ODD[0].wkb


def test_a_missing_crs_is_asked_for(tmp_path: Path) -> None:
    path = write(frame(crs=None), tmp_path / "zones.parquet")
    with says("zones.parquet declares no CRS", "assume_crs="):
        read_zones(path, GRID)
    assert read_zones(path, GRID, assume_crs=4326).row.size == 3
    with says("GeoDataFrame declares no CRS"):
        read_zones(frame(crs=None), GRID)


@pytest.mark.slow
def test_an_assumed_crs_does_not_override() -> None:
    assert read_zones(frame(), GRID, assume_crs="OGC:CRS84").row.size == 3
    with says("declares the CRS WGS 84, not CH1903+ / LV95", "leave out assume_crs"):
        read_zones(frame(), GRID, assume_crs=2056)
    with says("assume_crs: unknown CRS 'nonsense'"):
        read_zones(frame(crs=None), GRID, assume_crs="nonsense")


# In a process of its own: locks of SQLite are those of a process.
EDITOR = """
import sqlite3, sys
editor = sqlite3.connect(sys.argv[1], isolation_level=None)
for line in sys.stdin:
    editor.execute(line)
    print("done", flush=True)
"""


def test_the_digest_of_a_geopackage_sees_what_sqlite_has_not_written_into_it(
    tmp_path: Path,
) -> None:
    path = tmp_path / "zones.gpkg"
    frame().to_file(path, spatial_index=False)
    link = tmp_path / "link.gpkg"
    link.symlink_to(path)
    command = [sys.executable, "-c", EDITOR, path]
    with subprocess.Popen(command, stdin=-1, stdout=-1, text=True) as editor:

        def run(sql: str) -> None:
            print(sql, file=editor.stdin, flush=True)
            assert editor.stdout.readline() == "done\n"

        run("pragma journal_mode=wal")
        run("update zones set gid = 4 where gid = 3")
        content, before = path.read_bytes(), (file_digest(path), file_digest(link))
        assert read_zones(path, GRID, key="gid").row.size == 3
        assert file_digest(path) == before[0], "reading alone changes nothing"
        run("delete from zones where gid = 2")
        assert path.read_bytes() == content
        assert read_zones(path, GRID, key="gid").row.size == 2
        assert file_digest(path) != before[0]
        assert file_digest(link) != before[1]
        editor.stdin.close()


def test_the_digest_of_a_shapefile_sees_all_of_its_files(tmp_path: Path) -> None:
    path = write(frame(), tmp_path / "z[o]nes.shp")
    seen = {file_digest(path)}
    for suffix in (".dbf", ".shx", ".prj", ".cpg", ".idm"):
        with path.with_suffix(suffix).open("ab") as file:
            file.write(b" ")
        seen.add(file_digest(path))
    (tmp_path / "zones.shp").touch()
    path.with_suffix(".zarr").mkdir()
    seen.add(file_digest(path))
    assert len(seen) == 6


def test_the_digest_of_a_file_that_stands_alone_is_its_own(tmp_path: Path) -> None:
    path = write(frame(), tmp_path / "zones.parquet")
    before = file_digest(path)
    (tmp_path / "zones.csv").write_text("another file")
    (tmp_path / "zones.parquet-wal").touch()
    assert file_digest(str(path)) == before
    assert file_digest(frame()) == file_digest(tmp_path) == file_digest("s3://a/b") == ""


def wide_frame() -> gpd.GeoDataFrame:
    """Two zones with columns of all kinds, some values missing."""
    columns = {
        "gid": [1, 2],
        "name": ["a", None],
        "share": [0.5, np.nan],
        "kind": pd.Categorical(["x", "y"]),
        "since": pd.to_datetime(["2020-01-01", None]),
        "many": pd.array([7, None], dtype="Int32"),
    }
    squares = [shapely.box(0, 0, 1, 1), shapely.box(2, 0, 3, 1)]
    return gpd.GeoDataFrame(columns, geometry=squares, crs=4326)


def test_a_frame_has_the_same_digest_again_and_another_after_any_change() -> None:
    before = source_digest(wide_frame())
    assert before
    assert source_digest(wide_frame()) == before
    assert source_digest(wide_frame().iloc[[0, 1]].copy()) == before
    changed: dict[str, Any] = {}
    for name in wide_frame().columns:
        changed[f"without {name}"] = wide_frame().drop(columns=name)
    del changed["without geometry"]
    for name, value in {"gid": 3, "name": "b", "share": 0.25, "kind": "y", "many": 8}.items():
        changed[name] = wide_frame()
        changed[name].loc[0, name] = value
    changed["missing"] = wide_frame()
    changed["missing"].loc[1, "name"] = ""
    changed["category"] = wide_frame()
    changed["category"]["kind"] = changed["category"]["kind"].cat.rename_categories(["x", "z"])
    changed["dtype"] = wide_frame().astype({"gid": "int32"})
    changed["renamed"] = wide_frame().rename(columns={"name": "title"})
    changed["crs"] = wide_frame().set_crs(4258, allow_override=True)
    changed["no crs"] = wide_frame().set_crs(None, allow_override=True)
    changed["moved"] = wide_frame().set_geometry(wide_frame().translate(1e-9))
    changed["turned"] = wide_frame().iloc[::-1]
    changed["fewer"] = wide_frame().iloc[:1]
    changed["index"] = wide_frame().rename_axis("place")
    changed["geometry alone"] = wide_frame()[["geometry"]]
    digests = {name: source_digest(frame) for name, frame in changed.items()}
    assert len({before, *digests.values()}) == 1 + len(digests), digests


def test_what_is_not_read_for_it_has_no_digest(tmp_path: Path) -> None:
    class Lazy:
        """A frame of a cluster."""

    assert source_digest(Lazy()) == source_digest("s3://bucket/zones.parquet") == ""
    wide_frame().to_parquet(tmp_path / "zones.parquet")
    assert source_digest(tmp_path / "zones.parquet") == file_digest(tmp_path / "zones.parquet")
