"""The accessor `zones` of arrays of xarray, held against NumPy on the pixels and the zone table."""

from __future__ import annotations

import subprocess
import sys
import textwrap
import warnings
from pathlib import Path
from typing import Any

import dask
import geopandas
import numpy as np
import pandas as pd
import pytest
import shapely
import xarray as xr

import zoneraster as zr
from zoneraster.accessor import ZonesAccessor

GRID = zr.Grid.from_bounds((0, 0, 8, 6), "1/4", "EPSG:4326")


def parks() -> geopandas.GeoDataFrame:
    """Three parks, of which the first two overlap; two countries."""
    boxes = [shapely.box(0, 0, 3, 3), shapely.box(2, 2, 5, 5), shapely.box(6, 1, 8, 2)]
    columns = {"park": ["A", "B", "C"], "country": ["DE", "DE", "FR"], "year": [1970, 2003, 1999]}
    return geopandas.GeoDataFrame(columns, geometry=boxes, crs=4326)


def height() -> xr.DataArray:
    y, x = GRID.y_centres(), GRID.x_centres()
    coords = {"y": ("y", y, {"units": "degrees_north"}), "x": ("x", x, {"units": "degrees_east"})}
    values = np.add.outer(100 * y, x)
    return xr.DataArray(values, coords, ("y", "x"), name="height", attrs={"units": "m"})


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("accessor") / "parks.zarr"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        zr.build(parks(), path, grid=GRID, key="park", chunks=10)
    return path


@pytest.fixture(scope="module")
def sets(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("accessor") / "sets.zarr"
    zr.build(parks(), path, grid=GRID, key="park", chunks=10, overlap="sets")
    return path


def owners(store: Path) -> Any:
    return zr.open(store)["zone"].values


# ---- statistics ----------------------------------------------------------------------------------


def test_an_array_gives_the_statistics_of_a_store_of_polygons_and_of_an_opened_store(
    store: Path,
) -> None:
    expected = zr.zonal_stats(store, height(), stats=("mean", "max"))
    for zones in (store, str(store), zr.open(store), zr.open(store)["zone"]):
        found = height().zones.stats(zones, stats=("mean", "max"))
        pd.testing.assert_frame_equal(found, expected)
    found = height().zones.stats(parks(), key="park", stats=("mean", "max"))
    pd.testing.assert_frame_equal(found, expected)


def test_a_dataset_gives_those_of_all_its_variables(store: Path) -> None:
    both = xr.Dataset({"height": height(), "double": 2 * height()})
    found = both.zones.stats(store, stats=("sum",))
    assert [*found] == ["height_sum", "double_sum"]
    assert np.allclose(found["double_sum"], 2 * found["height_sum"])


def test_values_and_zones_that_are_swapped_or_cut_are_refused(store: Path) -> None:
    opened = zr.open(store)
    with pytest.raises(zr.ValuesError, match=r"these are the zones of .*, not values"):
        opened.zones.stats(store)
    with pytest.raises(zr.ZonesError, match=r"cut to \(24, 5\) of \(24, 32\) pixels"):
        height().zones.stats(opened.isel(x=slice(5)))
    with pytest.raises(zr.StoreError, match=r"no opened store"):
        _ = height().zones.table


# ---- zones ---------------------------------------------------------------------------------------


def test_an_opened_store_has_its_table_and_the_keys_of_its_ids(store: Path) -> None:
    opened = zr.open(store)
    assert opened.zones.table["park"].tolist() == ["A", "B", "C"]
    names = opened.zones.names
    assert names.name == "park"
    assert names.to_dict() == {1: "A", 2: "B", 3: "C"}
    assert xr.open_zarr(store).zones.names.equals(names)


def test_a_mask_has_the_pixels_of_a_zone_lazily(store: Path) -> None:
    opened = zr.open(store)
    mask = opened.zones.mask("B")
    assert mask.dtype == bool
    assert dask.is_dask_collection(mask)
    assert mask.chunks == opened["zone"].chunks
    assert np.array_equal(mask, owners(store) == 2)
    assert np.array_equal(opened.zones.mask(["A", "C"]), np.isin(owners(store), [1, 3]))
    with pytest.raises(zr.ZonesError, match=r"has the key 'Z'|has the key Z"):
        opened.zones.mask("Z")


def test_a_mask_of_a_store_of_sets_has_what_the_zone_claims(sets: Path) -> None:
    mask = zr.open(sets).zones.mask("A")
    x, y = np.meshgrid(GRID.x_centres(), GRID.y_centres())
    assert np.array_equal(mask, (x < 3) & (y < 3))


# ---- paint ---------------------------------------------------------------------------------------


def test_a_statistic_is_painted_on_the_pixels_lazily(store: Path) -> None:
    table = height().zones.stats(store, stats=("mean", "count"))
    opened = zr.open(store)
    painted = opened.zones.paint(table["mean"])
    assert dask.is_dask_collection(painted)
    assert painted.chunks == opened["zone"].chunks
    assert (painted.name, painted.attrs["units"]) == ("mean", "m")
    expected = np.array([np.nan, *table["mean"]])[owners(store)]
    assert np.array_equal(painted, expected, equal_nan=True)
    assert zr.grid_like(painted) == GRID
    # A part that is cut out, one that is loaded, and the array alone.
    part = opened.isel(y=slice(3, 20), x=slice(5, 30))
    for zones in (part, part.load(), part["zone"]):
        found = zones.zones.paint(table["mean"])
        assert np.array_equal(found, expected[3:20, 5:30], equal_nan=True)


def test_nothing_is_read_before_it_is_asked_for(store: Path, monkeypatch: Any) -> None:
    opened = zr.open(store)
    with dask.config.set(scheduler=lambda *_, **__: pytest.fail("pixels were read")):
        opened.zones.paint({"A": 1.0, "B": 2.0, "C": 3.0})
        opened.zones.mask("A")


def test_attributes_are_painted_texts_and_numbers(store: Path) -> None:
    opened = zr.open(store)
    ids = owners(store)
    found = opened.zones.paint("year", fill=0)
    assert found.dtype == np.int64
    assert np.array_equal(found, np.array([0, 1970, 2003, 1999])[ids])
    assert np.array_equal(opened.zones.paint("country"), np.array(["", "DE", "DE", "FR"])[ids])
    with pytest.raises(zr.ZonesError, match=r"no column 'yeer', but"):
        opened.zones.paint("yeer")


def test_a_rolled_up_table_is_painted_on_all_zones_of_a_group(store: Path) -> None:
    table = zr.zonal_stats(store, height(), stats=("max",), roll_up="country")
    painted = zr.open(store).zones.paint(table["max"])
    of_zones = table["max"][["DE", "DE", "FR"]].to_numpy()
    assert np.array_equal(painted, np.array([np.nan, *of_zones])[owners(store)], equal_nan=True)


def test_values_that_fit_no_zone_or_several_are_refused_and_missing_ones_named(store: Path) -> None:
    opened = zr.open(store)
    with pytest.raises(zr.ValuesError, match=r"no zone of .* has park = Z"):
        opened.zones.paint({"A": 1.0, "Z": 2.0})
    with pytest.raises(zr.ValuesError, match=r"several values for A"):
        opened.zones.paint(pd.Series([1, 2], ["A", "A"]))
    by = zr.zonal_stats(store, height(), by={"high": height().round(-2)}, stats=("count",))
    with pytest.raises(zr.ValuesError, match=r"by park, high"):
        opened.zones.paint(by["count"])
    with pytest.raises(zr.ValuesError, match="ndarray"):
        opened.zones.paint(np.ones(3))
    with pytest.warns(zr.ZonerasterWarning, match=r"1 zone without a value.*: C"):
        found = opened.zones.paint({"A": 1, "B": 2}, fill=-1)
    assert np.array_equal(found, np.array([-1, 1, 2, -1])[owners(store)])


def test_a_set_of_zones_has_the_value_that_all_of_them_have(sets: Path) -> None:
    opened = zr.open(sets)
    both = (zr.open(sets).zones.mask("A") & zr.open(sets).zones.mask("B")).values
    assert both.sum() == 16
    with pytest.warns(zr.ZonerasterWarning, match=r"16 pixels of 1 set of zones"):
        found = opened.zones.paint({"A": 1.0, "B": 2.0, "C": 3.0})
    assert np.isnan(found.values[both]).all()
    country = opened.zones.paint("country").values
    assert (country[both] == "DE").all()


def test_layers_hold_every_zone_whole(tmp_path: Path) -> None:
    path = tmp_path / "layers.zarr"
    zr.build(parks(), path, grid=GRID, key="park", chunks=10, overlap="layers")
    opened = zr.open(path)
    x, y = np.meshgrid(GRID.x_centres(), GRID.y_centres())
    claimed = {"A": (x < 3) & (y < 3), "B": (x > 2) & (x < 5) & (y > 2) & (y < 5)}
    for key, pixels in claimed.items():
        assert np.array_equal(opened.zones.mask(key), pixels)
    painted = opened.zones.paint({"A": 1.0, "B": 2.0, "C": 3.0})
    assert painted.dims == ("layer", "y", "x")
    for value, key in enumerate(claimed, 1):
        assert np.array_equal((painted == value).any("layer"), claimed[key])
    expected = zr.zonal_stats(path, height(), stats=("count",))
    pd.testing.assert_frame_equal(height().zones.stats(opened, stats=("count",)), expected)


def test_ids_far_apart_are_looked_up_all_the_same(tmp_path: Path) -> None:
    zones = parks().assign(code=[7, 3_000_000_000, 4_294_967_295])
    with pytest.warns(zr.ZonerasterWarning):
        zr.build(zones, tmp_path / "far.zarr", grid=GRID, key="code", chunks=10)
    opened = zr.open(tmp_path / "far.zarr")
    found = opened.zones.paint({4_294_967_295: 3, 7: 1, 3_000_000_000: 2}, fill=0).values
    ids = opened["zone"].values
    for code, value in ((0, 0), (7, 1), (3_000_000_000, 2), (4_294_967_295, 3)):
        assert (found[ids == code] == value).all()


def test_what_was_opened_can_still_be_written(store: Path, tmp_path: Path) -> None:
    opened = zr.open(store)
    opened.to_zarr(tmp_path / "copy.zarr", zarr_format=3, consolidated=False)
    opened.to_netcdf(tmp_path / "copy.nc")
    table = height().zones.stats(store, stats=("mean",))
    opened.zones.paint(table["mean"]).to_netcdf(tmp_path / "mean.nc")
    with xr.open_dataset(tmp_path / "copy.nc") as again:
        assert np.array_equal(again["zone"], owners(store))


# ---- shown ---------------------------------------------------------------------------------------


def test_notebooks_show_what_there_is_as_html(store: Path) -> None:
    opened = zr.open(store)
    table = zr.zonal_stats(store, height())
    report = zr.build(parks(), store, grid=GRID, key="park", chunks=10)
    shown = {
        "grid": GRID._repr_html_(),
        "store": opened.zones._repr_html_(),
        "audit": table.attrs["audit"]._repr_html_(),
        "report": report._repr_html_(),
    }
    for html in shown.values():
        assert html.startswith("<table>")
        assert html.count("<tr>") == html.count("</tr>") > 3
    assert "EPSG:4326" in shown["grid"]
    assert str(store) in shown["store"]
    assert "measures: height: valid" in shown["audit"]
    assert "park" in repr(opened.zones)
    assert "stats" in repr(height().zones)


# ---- registering ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "code",
    [
        "import zoneraster, xarray",
        "import xarray, zoneraster",
        "import zoneraster, importlib.util; importlib.util.find_spec('xarray'); import xarray",
    ],
)
def test_arrays_have_the_accessor_whichever_is_imported_first(code: str) -> None:
    program = f"""
        import sys
        {code}
        array = xarray.DataArray([1])
        assert type(array.zones).__name__ == "ZonesAccessor"
        assert type(array.to_dataset(name="a").zones).__name__ == "ZonesAccessor"
        assert type(xarray.__loader__).__name__ == type(xarray.__spec__.loader).__name__
        assert type(xarray.__loader__).__module__ != "zoneraster.registering"
        assert not [one for one in sys.meta_path if "zoneraster" in type(one).__module__]
    """
    command = [sys.executable, "-W", "error", "-c", textwrap.dedent(program)]
    subprocess.run(command, check=True)


def test_it_is_registered_here() -> None:
    assert isinstance(height().zones, ZonesAccessor)
