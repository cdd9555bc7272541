"""The file that is named is the file that is read, wherever it lies and whatever it is."""

from __future__ import annotations

import io
import json
import shutil
import sqlite3
import zipfile
from pathlib import Path
from typing import Any

import geopandas as gpd
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import shapely

from tests.zones.samples import GRID, SQUARES, content, frame, says, write, write_geojson
from zoneraster._grid.grid import Grid
from zoneraster._zones import paths
from zoneraster._zones.paths import file_digest
from zoneraster._zones.read import Zones, read_zones

SUFFIXES = [".shp", ".gpkg", ".geojson", ".fgb", ".parquet"]
NAMES = ["a b", "ä 東", "a#b", "a?b", "a%20b", "a!b", "a&b", "[x]", "a:b", "~x", "-x", 'q"q', "a;b",
         "!a;", "it's"]  # fmt: skip


def keys(source: Any, **options: Any) -> list[Any]:
    found: list[Any] = read_zones(source, GRID, key="gid", **options).keys().to_pylist()
    return sorted(found)


def moved(path: Path, target: Path) -> Path:
    """All files of a stem, somewhere else under another name."""
    target.parent.mkdir(exist_ok=True, parents=True)
    for part in path.parent.glob(f"{path.stem}.*"):
        shutil.copy(part, target.with_name(target.name.removesuffix(path.suffix) + part.suffix))
    return target


@pytest.mark.slow
@pytest.mark.parametrize("suffix", SUFFIXES)
def test_any_name_of_a_file_or_folder_is_read(tmp_path: Path, suffix: str) -> None:
    plain = write(frame(gid=["x", "y", "z"]), tmp_path / f"plain{suffix}")
    for name in NAMES:
        path = moved(plain, tmp_path / "in" / f"{name}{suffix}")
        assert keys(path) == keys(f"file://{path}".replace("?", "%3F")) == ["x", "y", "z"]
        assert keys(path.as_uri()) == ["x", "y", "z"]
        assert file_digest(path.as_uri()) == file_digest(path) != ""
        assert keys(moved(plain, tmp_path / name / f"zones{suffix}")) == ["x", "y", "z"]


def test_a_path_with_an_exclamation_mark_is_not_taken_apart(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for folder, gid in (("!old", [1, 2, 3]), ("old", [9, 8, 7])):
        (tmp_path / "old").mkdir()
        write(frame(gid=gid), tmp_path / "old" / "zones.gpkg")
        (tmp_path / "old").rename(tmp_path / folder)
    assert keys(tmp_path / "!old" / "zones.gpkg") == keys("!old/zones.gpkg") == [1, 2, 3]


def test_edits_of_a_geopackage_are_seen_below_any_name(tmp_path: Path) -> None:
    path = tmp_path / "a!b" / "z;.gpkg"
    path.parent.mkdir()
    frame().to_file(tmp_path / "zones.gpkg", spatial_index=False)
    (tmp_path / "zones.gpkg").rename(path)
    editor = sqlite3.connect(path, isolation_level=None)
    editor.execute("pragma journal_mode=wal")
    editor.execute("update zones set gid = 7 where gid = 3")
    assert path.with_name("z;.gpkg-wal").stat().st_size
    assert keys(path) == [1, 2, 7]
    editor.close()


def test_a_tilde_is_the_home_unless_a_file_is_named_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "here" / "~").mkdir(parents=True)
    write(frame(gid=[1, 2, 3]), tmp_path / "zones.gpkg")
    assert keys("~/zones.gpkg") == keys("file://~/zones.gpkg") == [1, 2, 3]
    assert file_digest("~/zones.gpkg") == file_digest(tmp_path / "zones.gpkg")
    monkeypatch.chdir(tmp_path / "here")
    write(frame(gid=[4, 5, 6]), tmp_path / "here" / "~" / "zones.gpkg")
    assert keys("~/zones.gpkg") == [4, 5, 6]
    with says("~nobody/zones.gpkg: no such file"):
        keys("~nobody/zones.gpkg")


@pytest.mark.parametrize("suffix", [".shp", ".gpkg", ".geojson", ".parquet"])
def test_escapes_of_a_url_are_read_as_the_standard_says(tmp_path: Path, suffix: str) -> None:
    plain = write(frame(gid=[1, 2, 3]), tmp_path / f"z{suffix}")
    path = moved(plain, tmp_path / f"a b%20é{suffix}")
    for url in (path.as_uri(), f"file://localhost{path.as_uri()[7:]}", f"file://{path}"):
        assert keys(url) == [1, 2, 3]
    with says("none.gpkg: no such file"):
        keys(f"file://{tmp_path}/none.gpkg")


def packed(path: Path, members: dict[str, bytes]) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in members.items():
            archive.writestr(name, data)
    return path


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_zones_are_read_out_of_a_zip(tmp_path: Path, suffix: str) -> None:
    plain = write(frame(gid=["é", "b", "c"]), tmp_path / f"zönes{suffix}")
    parts = {f"deep er/{p.name}": p.read_bytes() for p in tmp_path.glob("zönes.*")}
    noise = {"readme.txt": b"", "__MACOSX/deep er/._zönes.shp": b"", "deep er/": b""}
    path = packed(tmp_path / "a!b.zip", {**parts, **noise})
    assert keys(path) == ["b", "c", "é"]
    got, right = read_zones(path, GRID, key="gid"), read_zones(plain, GRID, key="gid")
    assert content(got) == content(right)
    before = file_digest(path)
    packed(path, {**parts, "more.txt": b""})
    assert file_digest(path) != before


def test_of_several_files_in_a_zip_the_layer_says_which(tmp_path: Path) -> None:
    members = {}
    for name, gid in (("east", [1, 2, 3]), ("west", [4, 5, 6])):
        members[f"{name}.gpkg"] = write(frame(gid=gid), tmp_path / f"{name}.gpkg").read_bytes()
    path = packed(tmp_path / "zones.zip", members)
    assert keys(path, layer="west") == [4, 5, 6]
    with says("zones.zip holds 2 files of zones: choose one with layer=: east, west"):
        keys(path)
    with says("holds no file of zones", "it has: a.txt"):
        keys(packed(tmp_path / "none.zip", {"a.txt": b""}))
    path.write_bytes(path.read_bytes()[:200])
    with says("zones.zip cannot be read as zones (BadZipFile"):
        keys(path)


def test_a_member_of_a_zip_is_read_by_its_content_and_stays_where_it_is_put(tmp_path: Path) -> None:
    vrt = b"<OGRVRTDataSource><OGRVRTLayer name='x'><SrcDataSource>/etc/passwd</SrcDataSource>"
    with says("zones.zip (zones.gpkg) is not GeoParquet", "begins with b'<OGRVRTDataSourc'"):
        keys(packed(tmp_path / "zones.zip", {"zones.gpkg": vrt}))
    plain = write(frame(gid=[1, 2, 3]), tmp_path / "plain.gpkg").read_bytes()
    out = tmp_path / "sub"
    out.mkdir()
    assert keys(packed(out / "up.zip", {"../../escaped.gpkg": plain})) == [1, 2, 3]
    assert not list(tmp_path.rglob("escaped*"))


def test_a_zip_that_would_fill_the_disk_is_not_unpacked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(paths, "_GROWN_BYTES", 1 << 20)
    path = packed(tmp_path / "bomb.zip", {"zones.geojson": bytes(1 << 21)})
    with says("bomb.zip would grow from", "to 2,097,152 bytes: unpack it yourself"):
        keys(path)


def test_what_is_not_read_is_named_with_the_way_to_convert_it(tmp_path: Path) -> None:
    for name, head, text in (
        ("a.kml", b"<?xml ", "but KML: convert it, e.g. with ogr2ogr -f GPKG a.gpkg a.kml"),
        ("a.dbf", b"\x03", "but a part of a Shapefile"),
        ("a.geojson.gz", b"\x1f\x8b", "but compressed"),
        ("a.kmz", b"PK\x03\x04", "but KML"),
    ):
        (tmp_path / name).write_bytes(head)
        with says(f"{name} is not GeoParquet", text):
            keys(tmp_path / name)
    (tmp_path / "a.gdb").mkdir()
    with says("a.gdb is a file geodatabase, convert it, e.g. with ogr2ogr -f GPKG a.gpkg a.gdb"):
        keys(tmp_path / "a.gdb")
    write(frame(), tmp_path / "z.gpkg")
    with says("z.gpkg/ is a file and no folder"):
        keys(f"{tmp_path}/z.gpkg/")
    with says("/vsizip//x.zip: paths of GDAL's are not followed"):
        keys("/vsizip//x.zip")


# ---- JSON of other kinds -------------------------------------------------------------------------

TOPOLOGY = {
    "type": "Topology",
    "objects": {
        "zones": {
            "type": "GeometryCollection",
            "geometries": [
                {"type": "Polygon", "arcs": [[n]], "properties": {"gid": n + 1}} for n in range(3)
            ],
        }
    },
    "arcs": [[[n, 0], [n + 1, 0], [n + 1, 1], [n, 1], [n, 0]] for n in range(3)],
}
ESRI = {
    "geometryType": "esriGeometryPolygon",
    "spatialReference": {"wkid": 4326},
    "fields": [{"name": "gid", "type": "esriFieldTypeInteger"}],
    "features": [
        {
            "attributes": {"gid": n + 1},
            "geometry": {"rings": [[[n, 0], [n, 1], [n + 1, 1], [n + 1, 0], [n, 0]]]},
        }
        for n in range(3)
    ],
}


def squares_of(zones: Zones) -> bool:
    found = gpd.GeoSeries.from_wkb(zones.wkb.to_pylist())
    return bool(found.geom_equals(gpd.GeoSeries(SQUARES)).all())


@pytest.mark.parametrize("name", ["zones.json", "a!b;.json"])
def test_topojson_and_esri_json_are_read_by_their_own_drivers(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    path.write_text(json.dumps(TOPOLOGY, indent=1))
    with says("declares no CRS", "assume_crs"):
        read_zones(path, GRID, key="gid")
    zones = read_zones(path, GRID, key="gid", assume_crs=4326)
    assert zones.keys().to_pylist() == [1, 2, 3]
    assert squares_of(zones)
    path.write_text(json.dumps(ESRI))
    zones = read_zones(path, GRID, key="gid")
    assert zones.keys().to_pylist() == [1, 2, 3]
    assert squares_of(zones)


def test_a_topology_with_an_object_that_is_null_is_refused(tmp_path: Path) -> None:
    said = json.loads(json.dumps(TOPOLOGY))
    said["objects"]["zones"]["geometries"][1] = {"type": None, "properties": {"gid": 2}}
    (tmp_path / "zones.json").write_text(json.dumps(said))
    with says("zones.json has 3 objects, GDAL reads 2 of them: leave out those"):
        read_zones(tmp_path / "zones.json", GRID, assume_crs=4326)


def test_sequences_of_features_are_read_whole(tmp_path: Path) -> None:
    path = write_geojson(tmp_path / "zones.geojson", [5, 6, 7], is_sequence=True)
    text = path.read_text()
    for one in (text, text + "\n", f"\n{text}\n\n".lstrip("\n"), text.replace("\n", "\r\n")):
        path.write_text(one)
        assert read_zones(path, GRID, key="id").keys().to_pylist() == [5, 6, 7]
    pretty = (json.dumps(json.loads(line), indent=2) for line in text.split("\n"))
    path.write_text("".join(f"\x1e{one}\n" for one in pretty))
    zones = read_zones(path, GRID, key="id")
    assert zones.keys().to_pylist() == [5, 6, 7]
    assert squares_of(zones)
    # One feature alone is GeoJSON.
    write_geojson(path, [5], is_sequence=True)
    assert read_zones(path, GRID, key="id").keys().to_pylist() == [5]


# ---- reference systems ---------------------------------------------------------------------------

UTM = Grid.from_bounds((500_000, 5_000_000, 510_000, 5_010_000), 1000, "EPSG:32633")
METRES = [shapely.box(500_000, 5_000_000, 503_000, 5_002_000)]


@pytest.mark.parametrize(("srs_id", "said"), [(-1, "Cartesian"), (0, "geographic")])
def test_an_undefined_system_of_a_geopackage_is_asked_for_and_assumed(
    tmp_path: Path, srs_id: int, said: str
) -> None:
    path = tmp_path / "zones.gpkg"
    frame(METRES, crs=32633).to_file(path, spatial_index=False)
    with sqlite3.connect(path) as database:
        for table in ("gpkg_geometry_columns", "gpkg_contents"):
            database.execute(f"update {table} set srs_id = ?", (srs_id,))
    database.close()
    with says(f"a CRS that says nothing or that PROJ does not know ('Undefined {said}", "assume"):
        read_zones(path, UTM)
    zones = read_zones(path, UTM, assume_crs="EPSG:32633")
    assert zones.notes == ()
    assert zones.row.size == 1


LOCAL = (
    'LOCAL_CS["site",LOCAL_DATUM["unknown",32767],UNIT["metre",1],AXIS["E",EAST],AXIS["N",NORTH]]'
)


def test_an_engineering_system_is_asked_for_and_a_text_of_proj_is_one(tmp_path: Path) -> None:
    with says("GeoDataFrame declares a CRS that says nothing", "('site')"):
        read_zones(frame(METRES, crs=LOCAL), UTM)
    assert read_zones(frame(METRES, crs=LOCAL), UTM, assume_crs=32633).row.size == 1
    zones = read_zones(frame(METRES, crs="+proj=utm +zone=33 +ellps=WGS84 +units=m"), UTM)
    assert zones.row.size == 1


def named(name: str) -> dict[str, Any]:
    return {"type": "name", "properties": {"name": name}}


@pytest.mark.parametrize(
    "crs",
    [
        named("urn:ogc:def:crs:EPSG::999999"), named("LOCAL"), named(""), None,
        {"type": "link", "properties": {"href": "http://x/crs"}},
        {"type": "EPSG", "properties": {"code": 999999}},
    ],
)  # fmt: skip
def test_a_crs_of_geojson_that_nobody_knows_is_asked_for(tmp_path: Path, crs: Any) -> None:
    path = write_geojson(tmp_path / "zones.geojson", [1, 2, 3], crs=crs)
    with says("zones.geojson declares", "say which it is with assume_crs"):
        read_zones(path, GRID)
    assert read_zones(path, GRID, assume_crs=4326).notes == ()


@pytest.mark.parametrize(
    "crs",
    [
        named("urn:ogc:def:crs:OGC:1.3:CRS84"), named("EPSG:4326"), named("OGC:CRS84"),
        named("urn:ogc:def:crs:EPSG::4326"), named("urn:ogc:def:crs:EPSG:6.9:4326"),
        {"type": "EPSG", "properties": {"code": 4326}},
    ],
)  # fmt: skip
def test_a_crs_of_geojson_is_known_in_all_its_forms_and_wherever_it_stands(
    tmp_path: Path, crs: Any
) -> None:
    path = write_geojson(tmp_path / "zones.geojson", [1, 2, 3], crs=crs)
    assert squares_of(read_zones(path, GRID))
    said = json.loads(path.read_text())
    said["crs"] = said.pop("crs")
    said["features"][0]["properties"]["crs"] = None
    path.write_text(json.dumps(said))
    assert list(said)[-1] == "crs"
    assert read_zones(path, GRID).notes == ()
    with says("declares the CRS", "not WGS 84 / UTM zone 33N: leave out assume_crs"):
        read_zones(path, UTM, assume_crs=32633)


def test_geojson_without_a_crs_may_be_assumed_to_have_another_with_a_warning(
    tmp_path: Path,
) -> None:
    path = write(frame(METRES, crs=32633), tmp_path / "zones.geojson")
    said = json.loads(path.read_text())
    del said["crs"]
    said["features"][0]["properties"]["crs"] = None
    path.write_text(json.dumps(said))
    (note,) = read_zones(path, UTM, assume_crs=32633).notes
    assert "declares no CRS, which stands for WGS 84" in note
    assert "taken for WGS 84 / UTM zone 33N, as assume_crs= says" in note


# ---- Parquet's own types -------------------------------------------------------------------------


class Geometry(pa.ExtensionType):
    """What geoarrow.pyarrow registers."""

    def __init__(self, said: str = "{}") -> None:
        self.said = said
        super().__init__(pa.binary(), "geoarrow.wkb")

    def __arrow_ext_serialize__(self) -> bytes:
        return self.said.encode()

    @classmethod
    def __arrow_ext_deserialize__(cls, storage: pa.DataType, said: bytes) -> Geometry:
        return cls(said.decode())


def native(said: dict[str, Any], *, is_registered: bool) -> bytes:
    """A Parquet file with a column of geometries and no 'geo' metadata."""
    kind = Geometry(json.dumps(said))
    if is_registered:
        pa.register_extension_type(kind)
    try:
        storage = pa.array(shapely.to_wkb(SQUARES), pa.binary())
        column = pa.ExtensionArray.from_storage(kind, storage)
        sink = io.BytesIO()
        table = pa.table({"gid": [1, 2, 3], "geom": column, "corner": column})
        pq.write_table(table, sink)
        return sink.getvalue()
    finally:
        if is_registered:
            pa.unregister_extension_type("geoarrow.wkb")


@pytest.mark.parametrize("is_registered", [False, True])
@pytest.mark.parametrize("edges", ["planar", "spherical"])
def test_columns_that_are_declared_to_be_geometries_are_zones(
    tmp_path: Path, edges: str, is_registered: bool
) -> None:
    said: dict[str, Any] = {"crs": "OGC:CRS84"}
    if edges != "planar":
        said["edges"] = edges
    path = tmp_path / "zones.parquet"
    path.write_bytes(native(said, is_registered=is_registered))
    kinds = json.loads(pq.ParquetFile(path).schema.column(1).logical_type.to_json())
    for is_known in (False, True):
        if is_known:
            pa.register_extension_type(Geometry())
        try:
            zones = read_zones(path, GRID, key="gid")
        finally:
            if is_known:
                pa.unregister_extension_type("geoarrow.wkb")
        assert squares_of(zones)
        assert zones.table.column_names == ["gid"]
        notes = [one for one in zones.notes if "left out: corner" not in one]
        assert ["spherical" in one for one in notes] == [True] * (edges != "planar"), kinds
        assert len(zones.notes) == len(notes) + 1


def test_the_index_that_pandas_wrote_is_passed_over_where_it_does_not_fit(tmp_path: Path) -> None:
    source = frame(gid=[1, 2, 3]).set_index(np.array([7, 9, 8]))
    source.to_parquet(tmp_path / "zones.parquet")
    table = pq.read_table(tmp_path / "zones.parquet")
    assert read_zones(tmp_path / "zones.parquet", GRID).keys().to_pylist() == [7, 9, 8]
    pq.write_table(table.drop_columns(["__index_level_0__"]), tmp_path / "zones.parquet")
    assert read_zones(tmp_path / "zones.parquet", GRID).keys().to_pylist() == [0, 1, 2]
    frame(gid=[1, 2, 3]).to_parquet(tmp_path / "zones.parquet")
    table = pq.read_table(tmp_path / "zones.parquet").slice(1)
    pq.write_table(table, tmp_path / "zones.parquet")
    assert read_zones(tmp_path / "zones.parquet", GRID).keys().to_pylist() == [0, 1]
