"""Keys stay exact, or are refused with the rows."""

from __future__ import annotations

import datetime as dt
from pathlib import Path
from typing import Any

import geopandas as gpd
import pandas as pd
import pyarrow as pa
import pytest

from tests.zones.samples import GRID, SQUARES, content, frame, says, write_wkb
from zoneraster._zones.checks import SkippedRow
from zoneraster._zones.read import read_zones


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
    with says("no single key column 'id'; columns: gid, name"):
        read_zones(frame(gid=[1, 2, 3], name=["a", "b", "c"]), GRID, key="id")
    with says("no single key column 'id'; columns: none"):
        read_zones(gpd.GeoDataFrame(geometry=SQUARES, crs=4326), GRID, key="id")


def test_a_column_called_row_is_not_hidden() -> None:
    with says("a column 'row' is there already", "give key='row' or another column (row, name)"):
        read_zones(frame(row=[3, 2, 1], name=["a", "b", "c"]), GRID)
    assert read_zones(frame(row=[3, 2, 1]), GRID, key="row").table["row"].to_pylist() == [3, 2, 1]
