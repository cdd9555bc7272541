"""Keys and names of the user's table come through to the table of statistics."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import geopandas
import numpy as np
import pandas as pd
import pytest
import shapely
import xarray as xr

import zoneraster as zr
from tests.samples import tree

GRID = zr.Grid.from_bounds((0, 0, 4, 4), 1)
HALVES = [shapely.box(0, 0, 2, 4), shapely.box(2, 0, 3, 4), shapely.box(3, 0, 4, 4)]
VALUES = xr.DataArray(
    np.arange(16.0).reshape(4, 4),
    coords={"lat": GRID.y_centres(), "lon": GRID.x_centres()},
    dims=("lat", "lon"),
)
# By NumPy: means of the columns 0 and 1, 2, 3.
MEANS = {"a": 6.5, "b": 8.0, "c": 9.0}


def zones(**columns: Any) -> geopandas.GeoDataFrame:
    return geopandas.GeoDataFrame(
        {"name": list("abc"), **columns}, geometry=HALVES, crs="EPSG:4326"
    )


def built(source: Any, store: Path, **options: Any) -> Path:
    zr.build(source, store, grid=GRID, chunks=4, **options)
    return store


@pytest.mark.parametrize(
    "index",
    [
        pd.RangeIndex(3),
        pd.Index([5, 7, 9]),
        pd.Index([1, 2, 3]),
        pd.Index([9, 3, 2], name="fid"),
        pd.Index(["x", "y", "z"], name="owned"),
    ],
)
def test_a_table_without_a_key_joins_the_frame_by_its_index(
    tmp_path: Path, index: pd.Index
) -> None:
    frame = zones().set_index(index)
    table = zr.zonal_stats(built(frame, tmp_path / "zones.zarr"), VALUES, stats="mean")
    assert table.index.tolist() == index.tolist()
    assert table.index.name == (index.name or "row")
    assert dict(zip(frame["name"], frame.join(table)["mean"], strict=True)) == MEANS
    # The pixels are those of ids that count from 1, whatever an index without a name says.
    if index.name is None:
        assert zr.zones(tmp_path / "zones.zarr")["zone_id"].tolist() == [1, 2, 3]


@pytest.mark.parametrize("suffix", [".gpkg", ".parquet", ".geojson"])
def test_a_table_without_a_key_joins_what_geopandas_reads_of_the_file(
    tmp_path: Path, suffix: str
) -> None:
    path = tmp_path / f"zones{suffix}"
    zones().to_parquet(path) if suffix == ".parquet" else zones().to_file(path)
    table = zr.zonal_stats(built(path, tmp_path / "zones.zarr"), VALUES, stats="mean")
    read = geopandas.read_parquet if suffix == ".parquet" else geopandas.read_file
    joined = read(path).join(table)
    assert dict(zip(joined["name"], joined["mean"], strict=True)) == MEANS


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::zoneraster.ZonerasterWarning")
def test_an_update_without_a_key_goes_by_the_index(tmp_path: Path) -> None:
    frame = zones().set_index(pd.Index([1, 2, 3]))
    store = built(frame, tmp_path / "zones.zarr")
    ids = dict(zip(frame.index, [1, 2, 3], strict=True))
    for changed in (frame.iloc[[2, 0]], pd.concat([frame, zones().iloc[:1].set_index([[7]])])):
        table = zr.zones(built(changed, store)).set_index("row")["zone_id"]
        assert all(table[key] == ids.get(key, 4) for key in changed.index)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::zoneraster.ZonerasterWarning")
def test_a_store_of_zoneraster_0_1_goes_on_to_count_rows_from_one(tmp_path: Path) -> None:
    old = zones(row=[1, 2, 3])  # as 0.1 made the column
    store = built(old, tmp_path / "zones.zarr", key="row")
    assert not (store / ".zoneraster" / "keys.parquet").exists()
    before = tree(store, what="zone")
    more = pd.concat([zones(), zones().iloc[:1]])
    for source in (zones(), zones().set_index(pd.Index([8, 5, 9])), more):
        zr.build(source, store, chunks=4)
        assert zr.zones(store)["row"].tolist() == list(range(1, len(source) + 1))
        if len(source) == 3:
            assert tree(store, what="zone") == before


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::zoneraster.ZonerasterWarning")
def test_rows_that_are_left_out_have_a_row_with_count_0(tmp_path: Path) -> None:
    source = zones(country=["n", "lost", "s"], size=[1.5, 2.5, 3.5])
    source.loc[1, "geometry"] = None
    for key in ("name", None):
        store = tmp_path / f"{key}.zarr"
        built(source, store, key=key, on_invalid="skip")
        table = zr.zonal_stats(store, VALUES, stats=["count", "mean"], attributes=["size"])
        assert table.index.tolist() == (list("abc") if key else [0, 1, 2])
        assert table["count"].tolist() == [8, 0, 4]
        assert table["size"].tolist() == [1.5, 2.5, 3.5]
        rolled = zr.zonal_stats(store, VALUES, stats="count", roll_up="country")
        assert rolled["count"].to_dict() == {"n": 8, "lost": 0, "s": 4}
        frame = zr.zones(store)
        assert frame["zone_id"].tolist() == ([1, 0, 2] if key else [1, 0, 3])
        assert frame.geometry.isna().tolist() == [False, True, False]
        assert zr.verify(store).ok
        report = zr.build(source, store, key=key, on_invalid="skip", chunks=4)
        assert (report.burned, report.n_zones, report.zero_pixel_zones) == (0, 2, ())
    # The row is mended, and then lost.
    mended = zones(country=["n", "lost", "s"], size=[1.5, 2.5, 3.5])
    for one, counts in ((mended, [8, 4, 4]), (source, [8, 0, 4])):
        built(one, tmp_path / "name.zarr", key="name", on_invalid="skip")
        assert zr.zonal_stats(tmp_path / "name.zarr", VALUES)["count"].tolist() == counts


def test_a_left_out_row_keeps_its_key_where_keys_are_ids(tmp_path: Path) -> None:
    source = zones(zone_id=[4, 6, 9])
    source.loc[1, "geometry"] = None
    with pytest.warns(zr.ZonerasterWarning, match="row 1 .key 6."):
        store = built(source, tmp_path / "zones.zarr", key="zone_id", on_invalid="skip")
    table = zr.zonal_stats(store, VALUES, stats="count")
    assert table["count"].to_dict() == {4: 8, 6: 0, 9: 4}
    assert table.index.name == "zone_id"
    assert np.unique(zr.open(store).zone).tolist() == [0, 4, 9]


OURS = {
    "owned": ["state", "private", "state"],
    "claimed": ["yes", "no", "yes"],
    "area_m2": [10.0, 20.0, 30.0],
    "zone_id": ["u", "v", "w"],
    "contested": [True, None, False],
    "owned_input": ["p", "q", "r"],
}


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::zoneraster.ZonerasterWarning")
@pytest.mark.parametrize("how", ["fresh", "frame", "file"])
def test_columns_of_the_user_win_over_ours_also_in_stores_made_of_stores(
    tmp_path: Path, how: str
) -> None:
    store = built(zones(**OURS), tmp_path / "0.zarr", key="name")
    for n in range(1, 3 if how != "fresh" else 0):
        source = zr.zones(store) if how == "frame" else store / "zones.parquet"
        store = built(source, tmp_path / f"{n}.zarr", key="name")
    table = zr.zonal_stats(store, VALUES, stats="count", attributes=list(OURS))
    assert {name: table[name].tolist() for name in OURS} == OURS
    rolled = zr.zonal_stats(store, VALUES, stats="count", roll_up="owned")
    assert rolled["count"].to_dict() == {"state": 12, "private": 4}
    assert rolled.index.name == "owned"
    keyed = built(zones(**OURS), tmp_path / "keyed.zarr", key="zone_id")
    again = built(keyed / "zones.parquet", tmp_path / "again.zarr", key="zone_id")
    for one in (keyed, again):
        table = zr.zonal_stats(one, VALUES, stats="count")
        assert table.index.name == "zone_id"
        assert table["count"].to_dict() == {"u": 8, "v": 4, "w": 4}


def test_ids_and_counts_of_a_store_can_be_asked_for_in_the_next_one(tmp_path: Path) -> None:
    first = built(zones(), tmp_path / "0.zarr", key="name")
    store = built(first / "zones.parquet", tmp_path / "1.zarr", key="zone_id", priority="area_m2")
    assert zr.zones(store).columns.tolist() == [
        "zone_id", "name", "claimed", "owned", "contested", "area_m2", "geometry",
    ]  # fmt: skip
    assert zr.zonal_stats(store, VALUES, stats="mean")["mean"].tolist() == list(MEANS.values())


def test_a_key_that_is_named_like_a_statistic_or_dimension_is_refused_before_it_is_counted(
    tmp_path: Path,
) -> None:
    store = built(zones().rename(columns={"name": "mean"}), tmp_path / "zones.zarr", key="mean")
    with pytest.raises(zr.ValuesError, match="two columns would be named 'mean': rename the col"):
        zr.zonal_stats(store, VALUES)
    store = built(zones().rename(columns={"name": "time"}), tmp_path / "time.zarr", key="time")
    stack = xr.concat([VALUES, VALUES], pd.Index([1, 2], name="time"))
    with pytest.raises(zr.ValuesError, match=r"'time' .*zones' key too: rename the dimension"):
        zr.zonal_stats(store, stack)
