"""Keys stay exact, or are refused with the rows."""

from __future__ import annotations

import datetime as dt
from pathlib import Path
from typing import Any

import geopandas as gpd
import pandas as pd
import pyarrow as pa
import pytest

from tests.zones.samples import (
    GRID,
    SQUARES,
    content,
    frame,
    says,
    write_geojson,
    write_wkb,
)
from zoneraster._zones.checks import SkippedRow
from zoneraster._zones.read import read_zones


def test_without_a_key_rows_of_files_and_frames_count_from_zero(tmp_path: Path) -> None:
    geometry = [SQUARES[0], None, SQUARES[2]]
    path = write_wkb(tmp_path / "zones.parquet", [SQUARES[0].wkb, None, SQUARES[2].wkb])
    for source in (frame(geometry), gpd.GeoDataFrame(geometry=geometry, crs=4326), path):
        zones = read_zones(source, GRID, on_invalid="skip")
        assert zones.key == "row"
        assert zones.is_numbered
        assert zones.table["row"].to_pylist() == [0, 2]
        assert zones.everything["row"].to_pylist() == [0, 1, 2]
        assert zones.row.tolist() == [0, 2]
        assert zones.skipped == (SkippedRow(1, 1, "geometry is null"),)


@pytest.mark.parametrize(
    ("index", "name"),
    [
        (pd.Index([5, 7, 9]), "row"),
        (pd.Index(["b", "a", "c"], name="code"), "code"),
        (pd.RangeIndex(10, 16, 2, name="gid2"), "gid2"),
        (pd.CategoricalIndex(["x", "y", "z"], name="kind"), "kind"),
        (pd.Index([2.0, 1.0, 0.0]), "row"),
    ],
)
def test_the_index_of_a_frame_is_its_key_and_a_parquet_file_keeps_it(
    tmp_path: Path, index: pd.Index, name: str
) -> None:
    source = frame(name=["x", "y", "z"]).set_index(index)
    source.to_parquet(tmp_path / "zones.parquet")
    for one in (source, tmp_path / "zones.parquet"):
        zones = read_zones(one, GRID)
        assert zones.key == name
        assert zones.keys().to_pylist() == index.tolist()
        assert zones.notes == ()
        assert set(zones.table.column_names) == {"name", name}
    assert read_zones(source, GRID, key="name").key == "name"
    assert read_zones(source.rename_axis(7), GRID).key == "7"


@pytest.mark.parametrize(
    ("index", "text"),
    [
        ([4, 4, 5], "is not unique in 2 of 3 rows: row 0 (4), row 1 (4)"),
        (pd.to_datetime(["2020", "2021", "2022"]), "is timestamp"),
        (pd.MultiIndex.from_tuples([(1, 2), (1, 3), (2, 2)], names=["a", "b"]), "2 levels (a, b)"),
        (pd.Index([1, None, 3], dtype=object), "is null in 1 of 3 rows"),
        (pd.Index([1, "a", 3], dtype=object), "choose or make one of whole numbers or text"),
    ],
)
def test_an_index_that_names_no_zones_is_refused_and_a_key_helps(index: Any, text: str) -> None:
    source = frame().set_index(pd.Index(index) if isinstance(index, list) else index)
    with says("GeoDataFrame: its index", text, "give key=, or call reset_index"):
        read_zones(source, GRID)
    assert read_zones(source, GRID, key="gid").table["gid"].to_pylist() == [1, 2, 3]


def test_a_column_named_like_the_index_is_left_out_and_named_unless_it_is_the_same() -> None:
    source = frame(code=[7, 8, 9])
    assert read_zones(source.set_index("code", drop=False), GRID).notes == ()
    zones = read_zones(source.set_index(pd.Index([1, 2, 3], name="code")), GRID)
    assert zones.keys().to_pylist() == [1, 2, 3]
    assert zones.notes == (
        "GeoDataFrame: column 'code' is left out, the index, which is the key, has its name",
    )


def test_a_column_zone_id_is_a_key_for_those_who_say_so() -> None:
    zones = read_zones(frame(zone_id=[7, 8, 9]), GRID)
    assert zones.keys().to_pylist() == [0, 1, 2]
    (note,) = zones.notes
    assert "has a column zone_id, which names no zones without key='zone_id'" in note
    assert read_zones(frame(zone_id=[7, 8, 9]), GRID, key="zone_id").notes == ()


def test_ids_of_features_are_keys(tmp_path: Path) -> None:
    frame(fid=[7, 8, 12]).to_file(tmp_path / "zones.gpkg")
    assert read_zones(tmp_path / "zones.gpkg", GRID, key="fid").keys().to_pylist() == [7, 8, 12]
    zones = read_zones(tmp_path / "zones.gpkg", GRID)
    assert zones.keys().to_pylist() == [0, 1, 2]
    with says("no single key column 'id'"):
        read_zones(tmp_path / "zones.gpkg", GRID, key="id")


@pytest.mark.parametrize("ids", [[70, 71, 2**53 + 1], ["a", "b", "c"], [5, "five", 6]])
@pytest.mark.parametrize("is_sequence", [False, True])
def test_ids_of_geojson_features_are_keys_as_they_are_written(
    tmp_path: Path, ids: list[Any], is_sequence: bool
) -> None:
    path = write_geojson(tmp_path / "zones.json", ids, is_sequence=is_sequence)
    right = ids if len({type(one) for one in ids}) == 1 else [str(one) for one in ids]
    assert read_zones(path, GRID, key="id").keys().to_pylist() == right


def test_ids_of_geojson_features_that_are_none_or_not_unique_are_refused(tmp_path: Path) -> None:
    path = write_geojson(tmp_path / "zones.json", [None, None, None])
    with says("no single key column 'id'"):
        read_zones(path, GRID, key="id")
    path = write_geojson(tmp_path / "zones.json", [4, None, 5])
    with says("key column 'id' is null in 1 of 3 rows: row 1"):
        read_zones(path, GRID, key="id")
    # GDAL would number the second one anew.
    path = write_geojson(tmp_path / "zones.json", [4, 4, 5])
    with says("key column 'id' is not unique in 2 of 3 rows"):
        read_zones(path, GRID, key="id")


def test_a_named_index_is_a_column_and_categories_are_text() -> None:
    source = frame(code=pd.Categorical(["b", "a", "c"]))
    assert read_zones(source, GRID, key="code").table["code"].to_pylist() == ["b", "a", "c"]
    zones = read_zones(source.set_index("code"), GRID, key="code")
    assert zones.table["code"].to_pylist() == ["b", "a", "c"]


def test_integral_floats_become_integers() -> None:
    zones = read_zones(frame(gid=[1.0, 2.0, 30.0]), GRID, key="gid")
    assert zones.table["gid"].to_pylist() == [1, 2, 30]
    assert zones.table["gid"].type == pa.int64()


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
    assert content(zones) == content(read_zones(frame(SQUARES * 2), GRID, key="gid"))


def test_only_the_first_rows_are_listed() -> None:
    with says("not unique in 9 of 9 rows: row 0 (4), row 1 (4)", "row 4 (4) and 4 more; make"):
        read_zones(frame(SQUARES * 3, gid=[4] * 9), GRID, key="gid")


def test_a_missing_key_column_lists_the_columns() -> None:
    with says("no single key column 'id': did you mean 'gid'? There are gid, name"):
        read_zones(frame(gid=[1, 2, 3], name=["a", "b", "c"]), GRID, key="id")
    with says("no single key column 'id': there are none"):
        read_zones(gpd.GeoDataFrame(geometry=SQUARES, crs=4326), GRID, key="id")


def test_a_column_called_row_keeps_its_name_and_the_number_of_the_row_has_another() -> None:
    zones = read_zones(frame(row=[3, 2, 1], name=["a", "b", "c"]), GRID)
    assert (zones.key, zones.keys().to_pylist()) == ("index", [0, 1, 2])
    assert zones.table["row"].to_pylist() == [3, 2, 1]
    zones = read_zones(frame(row=[3, 2, 1], index=[9, 8, 7]), GRID)
    assert (zones.key, zones.keys().to_pylist()) == ("row_1", [0, 1, 2])
    assert read_zones(frame(row=[0, 1, 2]), GRID).table.column_names == ["row"]
    assert read_zones(frame(row=[3, 2, 1]), GRID, key="row").table["row"].to_pylist() == [3, 2, 1]
