"""Columns that nobody asked for stop no build: they are kept, or left out and named."""

from __future__ import annotations

import decimal
import enum
import json
import uuid
from pathlib import Path
from typing import Any

import geopandas as gpd
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import shapely

import zoneraster as zr
from tests.zones.samples import GRID, SQUARES, frame, says, write_geojson, write_wkb
from zoneraster._zones.columns import dbf_codec
from zoneraster._zones.read import read_zones


class Kind(enum.Enum):
    A, B, C = 1, 2, 3


class Hostile:
    """Whatever Arrow asks of it goes wrong."""

    def __getattr__(self, name: str) -> Any:
        # Older versions of NumPy look for names of their own and expect AttributeError.
        raise AttributeError(name) if name.startswith("__array") else KeyError(name)


LEFT_OUT = {
    "empty dicts": [{}] * 3,
    "empty dicts in lists": [[{}], [], None],
    "a mixture": [1, "x", 2],
    "points": np.array(shapely.points([0, 1, 2], 0), dtype=object),
    "complex": [1j] * 3,
    "tables": [np.zeros((2, 2))] * 3,
    "beyond 64 bits": [10**30, 1, 2],
    "long doubles": np.array([1, 2, 3], "longdouble"),
    "enums": list(Kind),
    "anything": [Hostile()] * 3,
    "frames": [pd.DataFrame({"a": [1]})] * 3,
    "categories that are intervals": pd.cut([1, 5, 9], 3),
    "bytes and text": [b"a", "b", None],
}
KEPT = {
    "lists": [[1], [], None],
    "dicts": [{"a": 1}, {}, None],
    "decimals": [decimal.Decimal("1.5"), None, decimal.Decimal(2)],
    "periods": pd.period_range("2020", periods=3, freq="M"),
    "sparse": pd.arrays.SparseArray([0, 0, 1]),
    "bytes": [b"a", b"\xff", None],
    "times": pd.to_datetime(["2020-01-01", None, "2021-01-01"]).tz_localize("Asia/Tokyo"),
    "durations": pd.to_timedelta([1, 2, None], unit="s"),
    "bools": [True, None, False],
    "halves": np.array([1, 2, 3], "float16"),
    "categories of numbers": pd.Categorical([3, None, 1]),
    "nothing": [None] * 3,
}


def column_of(values: Any) -> Any:
    return pd.Series(list(values), dtype=object) if isinstance(values, np.ndarray) else values


@pytest.mark.parametrize("name", LEFT_OUT)
def test_what_a_store_cannot_hold_is_left_out_and_named(name: str) -> None:
    source = frame(gid=[1, 2, 3], **{name: column_of(LEFT_OUT[name])}, rest=[4, 5, 6])
    zones = read_zones(source, GRID, key="gid")
    # What pandas makes of intervals has changed: kept or named, and no third way.
    if name not in zones.table.column_names:
        assert zones.table.column_names == ["gid", "rest"]
        (note,) = zones.notes
        assert note.startswith(f"GeoDataFrame: 1 column left out: {name!r} (")
    assert name in zones.table.column_names or name in zones.refused
    with says(name):
        read_zones(source, GRID, key=name)


@pytest.mark.parametrize("name", KEPT)
def test_what_a_store_can_hold_is_kept(name: str) -> None:
    zones = read_zones(frame(gid=[1, 2, 3], **{name: column_of(KEPT[name])}), GRID, key="gid")
    assert zones.notes == ()
    assert zones.table.column_names == ["gid", name]


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::zoneraster.ZonerasterWarning")
def test_every_kept_column_goes_into_a_store_and_out_of_it(tmp_path: Path) -> None:
    columns = {name: column_of(values) for name, values in {**KEPT, **LEFT_OUT}.items()}
    source = frame(gid=[1, 2, 3], uuids=[uuid.uuid4() for _ in range(3)], **columns)
    zr.build(source, tmp_path / "zones.zarr", grid=GRID, key="gid")
    table = zr.zones(tmp_path / "zones.zarr")
    assert set(KEPT) <= set(table.columns)
    assert table["lists"].iloc[0].tolist() == [1]
    assert table["decimals"].tolist() == [decimal.Decimal("1.5"), None, 2]
    assert table["sparse"].tolist() == [0, 0, 1]
    zr.zonal_stats(tmp_path / "zones.zarr", stats="pixels", attributes=list(KEPT))


def test_a_priority_that_cannot_be_told_is_refused(tmp_path: Path) -> None:
    source = frame(gid=[1, 2, 3], rank=[1, "b", 2])
    with pytest.raises(zr.ZonesError, match=r"priority column 'rank' cannot be told: Arrow"):
        zr.build(source, tmp_path / "zones.zarr", grid=GRID, key="gid", priority="rank")
    assert not (tmp_path / "zones.zarr").exists()


def test_of_equal_names_the_first_is_kept_in_files_too(tmp_path: Path) -> None:
    twice = frame(gid=[1, 2, 3], a=[4, 5, 6], b=[7, 8, 9]).rename(columns={"b": "a"})
    numbered = frame(gid=[1, 2, 3]).assign(**{"1": 4})
    numbered[1] = 5
    path = tmp_path / "zones.parquet"
    geo = {"version": "1.1.0", "primary_column": "g", "columns": {"g": {"encoding": "WKB"}}}
    columns = [pa.array([1, 2, 3]), pa.array([4, 5, 6]), pa.array([7, 8, 9]),
               pa.array(shapely.to_wkb(SQUARES), pa.binary())]  # fmt: skip
    table = pa.table(columns, names=["gid", "a", "a", "g"])
    pq.write_table(table.replace_schema_metadata({"geo": json.dumps(geo)}), path)
    for source, name in ((twice, "a"), (path, "a"), (numbered, "1")):
        zones = read_zones(source, GRID, key="gid")
        assert zones.table.column_names == ["gid", name]
        assert zones.table[name][0].as_py() == 4
        (note,) = zones.notes
        assert f"1 column left out: {name!r} (another column has its name)" in note
        with says(f"key column {name!r} cannot be told: another column has its name"):
            read_zones(source, GRID, key=name)


# ---- text ----------------------------------------------------------------------------------------

WORDS = ["Köln", "Łódź", "a"]


@pytest.mark.parametrize(
    ("written", "cpg", "read", "note"),
    [
        ("UTF-8", "UTF-8", WORDS, None),
        ("UTF-8", None, WORDS, None),
        ("CP1250", "CP1250", WORDS, None),
        ("CP1250", "1250", WORDS, None),
        ("CP1250", "ANSI 1250\n", WORDS, None),
        ("CP1250", None, ["Köln", "£ódŸ", "a"], "read as cp1252, no .cpg says which it is"),
        ("CP1250", "UTF-8", ["Köln", "£ódŸ", "a"], "read as cp1252, its .cpg says utf-8, which"),
        ("CP1250", "martian", ["Köln", "£ódŸ", "a"], "names an encoding that is not known, 'marti"),
    ],
)
def test_text_of_a_shapefile_is_in_the_encoding_that_it_is_in(
    tmp_path: Path, written: str, cpg: str | None, read: list[str], note: str | None
) -> None:
    path = tmp_path / "zones.shp"
    frame(gid=WORDS, größe=[1, 2, 3]).to_file(path, encoding=written)
    path.with_suffix(".cpg").unlink(missing_ok=True)
    if cpg is not None:
        path.with_suffix(".cpg").write_text(cpg)
    zones = read_zones(path, GRID, key="gid")
    assert zones.keys().to_pylist() == read
    assert zones.table.column_names == ["gid", "größe"]
    assert [note is not None and note in one for one in zones.notes][:1] == [True] * bool(note)
    zones.table.validate(full=True)


def test_the_code_page_of_a_dbf_is_believed_where_its_text_is_no_utf8(tmp_path: Path) -> None:
    path = tmp_path / "zones.shp"
    frame(gid=["Москва", "Пермь", "b"]).to_file(path, encoding="CP1251")
    path.with_suffix(".cpg").unlink(missing_ok=True)
    dbf = path.with_suffix(".dbf")
    content = bytearray(dbf.read_bytes())
    content[29] = 0xC9
    dbf.write_bytes(content)
    zones = read_zones(path, GRID, key="gid")
    assert zones.keys().to_pylist() == ["Москва", "Пермь", "b"]
    assert zones.notes == ()


def test_a_character_that_is_cut_off_at_the_end_of_a_field_is_left_out(tmp_path: Path) -> None:
    path = tmp_path / "zones.shp"
    frame(gid=["é" * 40, "b", "c"]).to_file(path, encoding="UTF-8")
    path.with_suffix(".cpg").unlink(missing_ok=True)
    dbf = path.with_suffix(".dbf")
    content = dbf.read_bytes()
    at = content.index("é".encode())
    dbf.write_bytes(content[:at] + ("é" * 40).encode()[:79] + b" " + content[at + 80 :])
    zones = read_zones(path, GRID, key="gid")
    assert zones.keys().to_pylist()[0] == "é" * 39
    assert zones.notes == ()


def test_the_last_letter_of_a_word_is_no_half_of_a_character(tmp_path: Path) -> None:
    path = tmp_path / "zones.shp"
    for cpg in (None, "UTF-8"):
        frame(gid=["Café", "Orlé", "c"]).to_file(path, encoding="CP1252")
        path.with_suffix(".cpg").unlink(missing_ok=True)
        if cpg is not None:
            path.with_suffix(".cpg").write_text(cpg)
        zones = read_zones(path, GRID, key="gid")
        assert zones.keys().to_pylist() == ["Café", "Orlé", "c"]
        assert zones.notes or cpg is None  # a code page in the header of the .dbf is enough


@pytest.mark.parametrize(
    ("name", "codec"),
    [
        ("UTF-8", "utf-8"), ("utf8", "utf-8"), ("65001", "utf-8"), ("1252", "cp1252"),
        ("CP1251", "cp1251"), ("ANSI 1252", "cp1252"), ("OEM 866", "cp866"), ("Big5", "big5"),
        ("ISO 88591", "iso8859-1"), ("88592", "iso8859-2"), ("ISO-8859-15", "iso8859-15"),
        ("windows-1250", "cp1250"), ("GB18030", "gb18030"), ("932", "cp932"), ("", None),
        ("../../etc", None), ("none", None), ("LATIN1", "iso8859-1"),
    ],
)  # fmt: skip
def test_names_of_encodings_as_they_stand_in_cpg_files(name: str, codec: str | None) -> None:
    assert dbf_codec(name) == codec


def test_invalid_text_never_reaches_a_store(tmp_path: Path) -> None:
    column = pa.Array.from_buffers(
        pa.string(), 3,
        [None, pa.array([0, 4, 6, 6], pa.int32()).buffers()[1], pa.py_buffer(b"Caf\xe9ab")],
    )  # fmt: skip
    path = write_wkb(tmp_path / "zones.parquet", [g.wkb for g in SQUARES], gid=column)
    zones = read_zones(path, GRID, key="gid")
    assert zones.keys().to_pylist() == ["Café", "ab", ""]
    (note,) = zones.notes
    assert "not UTF-8 was read as Windows-1252: 'gid' in 1 row (first: 0)" in note


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "cp1252", "latin-1"])
@pytest.mark.parametrize("is_sequence", [False, True])
def test_geojson_is_read_in_any_encoding(tmp_path: Path, encoding: str, is_sequence: bool) -> None:
    features = [
        {"type": "Feature", "properties": {"größe": word}, "geometry": shapely.geometry.mapping(g)}
        for word, g in zip(["Köln", "Ölsnitz", "b"], SQUARES, strict=True)
    ]
    text = "\n".join(json.dumps(one, ensure_ascii=False) for one in features)
    if not is_sequence:
        collection = {"type": "FeatureCollection", "features": features}
        text = json.dumps(collection, ensure_ascii=False)
    path = tmp_path / "zones.geojson"
    path.write_bytes(text.encode(encoding))
    zones = read_zones(path, GRID, key="größe")
    assert zones.keys().to_pylist() == ["Köln", "Ölsnitz", "b"]
    assert len(zones.notes) == (not encoding.startswith("utf-8"))
    assert gpd.GeoSeries.from_wkb(zones.wkb.to_pylist()).geom_equals(gpd.GeoSeries(SQUARES)).all()


def test_a_sequence_with_a_broken_record_is_refused(tmp_path: Path) -> None:
    path = write_geojson(tmp_path / "zones.geojsonl", [1, 2, 3], is_sequence=True)
    lines = path.read_text().split("\n")
    path.write_text("\n".join([lines[0], lines[1][:40], "", lines[2]]))
    with says("zones.geojsonl has 3 records, GDAL reads"):
        read_zones(path, GRID)
