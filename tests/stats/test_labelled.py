"""Tables elsewhere: units, attributes and audits go along into xarray, Parquet, CSV and Zarr."""

from __future__ import annotations

import copy
import json
import pickle
import warnings
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
import xarray as xr

import zoneraster as zr
from tests.stats.samples import CLASSES, VALUES, build, raster
from zoneraster._stats.labelled import (
    csv_metadata,
    finite,
    with_labels,
    write_csv,
    write_parquet,
    write_zarr,
)  # fmt: skip


def table(index: pd.Index | None = None) -> pd.DataFrame:
    """Three zones, an attribute, a mean in mm and an area."""
    frame = pd.DataFrame(
        {"name": ["a", "b", "c"], "mean": [1.0, np.nan, 3.0], "area_ha": [1.0, 2.0, 3.0]},
        index=pd.Index(["x", "y", "z"], name="k") if index is None else index,
    )
    frame.attrs = {
        "audit": {"pixels_read": 9, "high": np.inf},
        "units": {"mean": "mm", "area_ha": "ha"},
        "attributes": ["name"],
    }
    return with_labels(frame)


def by_year() -> pd.DataFrame:
    """Two zones and years, not all of them; attributes repeated as in a long table."""
    index = pd.MultiIndex.from_tuples([("y", 2001), ("y", 2003), ("x", 2003)], names=["k", "year"])
    frame = pd.DataFrame({"name": ["b", "b", "a"], "mean": [1.0, 2.0, 3.0]}, index=index)
    frame.attrs = {"units": {"mean": "mm"}, "attributes": ["name"], "audit": {}}
    return with_labels(frame)


def test_to_xarray_has_units_and_the_audit_as_json() -> None:
    made = table().to_xarray()
    assert made["mean"].attrs == {"units": "mm"}
    assert made["area_ha"].attrs == {"units": "ha"}
    assert json.loads(made.attrs["audit"]) == {"pixels_read": 9, "high": None}
    assert set(made.data_vars) == {"mean", "area_ha"}
    assert made["name"].values.tolist() == ["a", "b", "c"]


def test_attributes_lie_along_the_zones_alone() -> None:
    made = by_year().to_xarray()
    assert made["name"].dims == ("k",)
    assert made["mean"].dims == ("k", "year")
    assert made["name"].sel(k="y").item() == "b"
    assert made["name"].sel(k="x").item() == "a"
    assert made["mean"].sel(k="y", year=2003).item() == 2


def test_a_table_stays_one_of_pandas() -> None:
    frame = table()
    assert type(frame) is pd.DataFrame
    pd.testing.assert_frame_equal(pickle.loads(pickle.dumps(frame)), frame)
    pd.testing.assert_frame_equal(copy.deepcopy(frame), frame)
    assert frame[["mean"]].attrs["units"]["mean"] == "mm"


def test_parquet_has_units_with_its_columns_and_pandas_finds_all_of_it(tmp_path: Path) -> None:
    frame = table()
    write_parquet(frame, tmp_path / "t.parquet")
    back = pd.read_parquet(tmp_path / "t.parquet")
    pd.testing.assert_frame_equal(back, frame)
    assert back.attrs["units"] == frame.attrs["units"]
    assert back.attrs["audit"] == {"pixels_read": 9, "high": None}
    schema = pq.read_schema(tmp_path / "t.parquet")
    assert schema.names == ["name", "mean", "area_ha", "k"]
    assert schema.field("area_ha").metadata == {b"units": b"ha"}


@pytest.mark.parametrize(
    "index",
    [
        pd.RangeIndex(3),
        pd.Index([7, 8, 9]),
        pd.MultiIndex.from_tuples([(1, "a"), (1, "b"), (2, "a")], names=["k", None]),
        pd.MultiIndex.from_tuples([(1, "a"), (1, "b"), (2, "a")]),
    ],
)
def test_an_index_without_a_name_gets_one_in_files(tmp_path: Path, index: pd.Index) -> None:
    frame = table(index)
    frame.index.name = None
    write_parquet(frame, tmp_path / "t.parquet")
    names = pq.read_schema(tmp_path / "t.parquet").names
    assert not any(name.startswith("__index") for name in names)
    assert len(names) == 3 + index.nlevels
    write_csv(frame, tmp_path / "t.csv")
    assert all(pd.read_csv(tmp_path / "t.csv").columns.str.match(r"(?!Unnamed)"))
    write_zarr(frame, tmp_path / "t.zarr")
    assert len(xr.open_zarr(tmp_path / "t.zarr").sizes) == index.nlevels


def test_csv_has_a_file_of_csv_on_the_web_beside_it() -> None:
    said = json.loads(csv_metadata(table(), "t.csv"))
    assert said["url"] == "t.csv"
    columns = {column["name"]: column for column in said["tableSchema"]["columns"]}
    assert list(columns) == ["k", "name", "mean", "area_ha"]
    assert columns["area_ha"]["schema:unitText"] == "ha"
    assert "schema:unitText" not in columns["name"]


def test_a_zarr_of_a_table_opens_without_a_warning(tmp_path: Path) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        write_zarr(by_year(), tmp_path / "t.zarr")
        back = xr.open_zarr(tmp_path / "t.zarr")
    assert back["mean"].attrs["units"] == "mm"
    assert back["name"].dims == ("k",)
    assert sorted(back["k"].values.tolist()) == ["x", "y"]


def test_what_json_does_not_have_is_null() -> None:
    said = finite({"a": [np.inf, -np.inf, np.float32("nan"), 1.5, {"b": float("nan")}]})
    assert said == {"a": [None, None, None, 1.5, {"b": None}]}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("units", "column", "unit"),
    [("Mg/ha", "area_sum_Mg", "Mg"), ("mm", "area_sum_mm_km2", "mm km2"),
     (None, "area_sum_km2", "km2"), ("kg m-2 s-1", "area_sum_kg_s-1", "kg s-1")],
)  # fmt: skip
def test_columns_of_areas_carry_their_unit(
    tmp_path: Path, units: str | None, column: str, unit: str
) -> None:
    store = build(tmp_path / "zones.zarr")
    values = raster(VALUES, **({} if units is None else {"units": units}))
    stats = ["mean", "var", "area", "pixel_area", "area_sum", "count"]
    found = zr.zonal_stats(store, values, stats=stats, area="km2")
    assert list(found.columns) == ["mean", "var", "area_km2", "pixel_area_km2", column, "count"]
    assert found.attrs["units"] == {
        **({} if units is None else {"mean": units, "var": f"({units})2"}),
        "area_km2": "km2", "pixel_area_km2": "km2", column: unit,
    }  # fmt: skip
    two = zr.zonal_stats(store, {"a": values, "b": values}, stats=["area_sum"], area="km2")
    assert list(two.columns) == [f"a_{column}", f"b_{column}"]


@pytest.mark.slow
def test_a_statistic_of_ones_own_keeps_its_name_and_totals_lose_their_pixel(tmp_path: Path) -> None:
    store = build(tmp_path / "zones.zarr")
    own = zr.Stat(
        "area", init=lambda: (0.0,), update=lambda s, x, a: (s[0] + x.size,),
        combine=lambda s, t: (s[0] + t[0],), finalize=lambda s: s[0],
    )  # fmt: skip
    people = raster(VALUES, units="people/pixel")
    found = zr.zonal_stats(store, people, stats=[own, "sum"], by={"class": raster(CLASSES)})
    assert list(found.columns) == ["area", "sum"]
    assert found.attrs["units"] == {"sum": "people"}
    with pytest.raises(zr.ValuesError, match="area_m2"):
        zr.zonal_stats(store, people, stats=["area"], attributes=["area_m2"])
