"""The front door: polygons and labels in place of a store give what a store gives."""

from __future__ import annotations

import shutil
import tempfile
import warnings
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import fsspec
import geopandas
import numpy as np
import pandas as pd
import pytest
import rasterio
import shapely
import xarray as xr
from geopandas.testing import assert_geodataframe_equal

import zoneraster as zr
from tests.samples import GRID as FINE_GRID
from tests.samples import sample_zones
from tests.stats.samples import GRID, VALUES, ZONES, raster, zones_of
from zoneraster._stats.request import StatsTask

STATS = ["count", "sum", "mean", "var", "min", "max", "median", "majority", "variety", "area"]


def noise(grid: zr.Grid = FINE_GRID, *, seed: int = 1, dtype: str = "float32") -> xr.DataArray:
    rng = np.random.default_rng(seed)
    return raster(rng.integers(0, 50, grid.shape).astype(dtype), grid, nodata=7)


def classes(seed: int) -> xr.DataArray:
    rng = np.random.default_rng(seed)
    return raster(rng.integers(0, 4, FINE_GRID.shape).astype("uint8"), FINE_GRID)


def as_file(array: xr.DataArray, path: Path, *, nodata: float | None = None) -> Path:
    west, north = array.x.values[0], array.y.values[0]
    step_x, step_y = abs(np.diff(array.x.values[:2])[0]), abs(np.diff(array.y.values[:2])[0])
    corner = rasterio.transform.from_origin(west - step_x / 2, north + step_y / 2, step_x, step_y)
    with rasterio.open(
        path, "w", driver="GTiff", width=array.sizes["x"], height=array.sizes["y"], count=1,
        dtype=array.dtype, crs=array.attrs["crs"], transform=corner, nodata=nodata,
    ) as file:  # fmt: skip
        file.write(array.values, 1)
    return path


def same(one: pd.DataFrame, other: pd.DataFrame) -> None:
    pd.testing.assert_frame_equal(one, other, check_exact=True)


def memory_keys() -> list[str]:
    return [*fsspec.filesystem("memory").store]


# ---- polygons ------------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(8))
@pytest.mark.filterwarnings("ignore::zoneraster.ZonerasterWarning")
def test_polygons_give_the_table_of_a_store_on_the_grid_of_the_values(
    seed: int, tmp_path: Path
) -> None:
    rng = np.random.default_rng(seed)
    zones = sample_zones(int(rng.integers(1, 40)), seed=seed)
    values = noise(seed=seed, dtype=str(rng.choice(["uint8", "int32", "float32", "float64"])))
    options: dict[str, Any] = {
        "pixels": rng.choice(np.array([None, "centre", "touched", "fraction"])),
        "by": {"class": classes(seed + 50)} if rng.random() < 0.4 else None,
        "roll_up": "half" if rng.random() < 0.3 else None,
        "weights": noise(seed=seed + 90) if rng.random() < 0.3 else None,
    }
    zones["half"] = np.arange(len(zones)) % 2
    stats = ["count", "sum", "mean", "var", "min", "max", "area"]
    stats += ["weighted_mean"] if options["weights"] is not None else ["median", "majority"]
    zr.build(zones, tmp_path / "zones.zarr", grid=zr.grid_like(values), key="fid")
    from_store = zr.zonal_stats(tmp_path / "zones.zarr", values, stats=stats, **options)
    same(zr.zonal_stats(zones, values, key="fid", stats=stats, **options), from_store)
    zones.to_file(tmp_path / "zones.gpkg")
    in_file = zr.zonal_stats(tmp_path / "zones.gpkg", values, key="fid", stats=stats, **options)
    same(in_file, from_store)


@pytest.mark.filterwarnings("ignore::zoneraster.ZonerasterWarning")
def test_those_that_own_a_pixel_are_those_of_the_array(tmp_path: Path) -> None:
    zones, values = sample_zones(), noise()
    zr.build(zones, tmp_path / "zones.zarr", grid=zr.grid_like(values))
    owned = zr.zonal_stats(tmp_path / "zones.zarr", values, zones="owned", stats=STATS)
    same(zr.zonal_stats(zones, values, zones="owned", stats=STATS), owned)


@pytest.mark.filterwarnings("ignore::zoneraster.ZonerasterWarning")
@pytest.mark.parametrize("executor", [None, "threads", "serial", "processes", "pool"])
def test_nothing_is_left_behind_whoever_reduces(
    executor: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    zones, values, before = sample_zones(9), noise(), memory_keys()
    with ThreadPoolExecutor(2) as pool:
        how = pool if executor == "pool" else executor
        found = zr.zonal_stats(zones, values, stats=STATS, executor=how)
    same(found, zr.zonal_stats(zones, values, stats=STATS))
    assert memory_keys() == before
    assert not [*tmp_path.iterdir()]


def test_nothing_is_left_behind_when_it_fails(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    before = memory_keys()
    for executor in (None, "processes"):
        with pytest.raises(zr.ValuesError, match="no column 'naem': did you mean 'name'"):
            zr.zonal_stats(sample_zones(9), noise(), attributes=["naem"], executor=executor)
    assert memory_keys() == before
    assert not [*tmp_path.iterdir()]


def test_the_finest_raster_is_the_lattice_and_each_counts_as_far_as_it_reaches() -> None:
    fine = raster(np.ones((3, 3), "int16"), name="fine")
    beside = zr.Grid(GRID.crs, (200, 0, 500_200, 0, -200, 400), (3, 3))
    coarse = raster(np.full((3, 3), 2, "int16"), beside, name="coarse")
    zones = geopandas.GeoDataFrame(
        {"fid": [1, 2]},
        geometry=[shapely.box(500_000, 0, 500_300, 300), shapely.box(500_400, -200, 500_800, 400)],
        crs=GRID.crs,
    )
    with pytest.warns(zr.ZonerasterWarning, match="does not reach"):
        found = zr.zonal_stats(
            zones, {"coarse": coarse, "fine": fine}, key="fid", stats=["count", "sum"]
        )
    assert found["fine_count"].tolist() == [9, 0]
    assert found["coarse_count"].tolist() == [3, 24]
    assert found["coarse_sum"].tolist() == [6, 48]


@pytest.mark.parametrize(
    ("wests", "spans"),
    [
        ((0, -180), (360, 360)), ((-180, 0), (360, 360)), ((-10, 0), (30, 360)),
        ((340, -180), (40, 360)), ((170, -190), (30, 30)), ((0,), (362,)), ((0, 0), (362, 362)),
    ],
)  # fmt: skip
def test_longitudes_a_turn_apart_are_one_place(
    wests: tuple[int, ...], spans: tuple[int, ...]
) -> None:
    """Each place counts once, in whichever of the rasters' longitudes it lies."""
    values = {}
    for number, (west, span) in enumerate(zip(wests, spans, strict=True)):
        grid = zr.Grid.from_bounds((west, -80, west + span, 80), 2)
        east = (grid.x_centres() + 180) % 360 - 180
        values[f"v{number}"] = raster(np.broadcast_to(east, grid.shape), grid)
    places = [(-10, -4, 14, 8), (172, 0, 180, 8), (-180, -4, -172, 8), (-60, 0, -40, 8)]
    zones = geopandas.GeoDataFrame(geometry=[shapely.box(*box) for box in places], crs=4326)
    x, y = np.meshgrid(np.arange(-179, 180, 2), np.arange(-79, 80, 2))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", zr.ZonerasterWarning)
        found = zr.zonal_stats(zones, values, stats=["count", "min", "max"])
    names = found.columns.str.replace("v0_", "") if len(values) > 1 else found.columns
    found.columns = [name if "_" in name else f"v0_{name}" for name in names]
    for number, (west, span) in enumerate(zip(wests, spans, strict=True)):
        there = (x - west) % 360 < span
        for row, box in enumerate(places):
            met = x[shapely.contains_xy(shapely.box(*box), x, y) & there]
            assert found[f"v{number}_count"][row] == met.size
            if met.size:
                assert found[f"v{number}_min"][row] == met.min()
                assert found[f"v{number}_max"][row] == met.max()


def test_zones_of_another_reference_system_are_brought_to_the_raster() -> None:
    zones = zones_of(ZONES).to_crs("EPSG:4326")
    found = zr.zonal_stats(zones, raster(VALUES), key="fid", stats=["count", "sum"])
    assert found["sum"].tolist() == [1 + 2 + 3 + 4, 5 + 6 + 8 + 9]
    assert found.index.tolist() == [1, 2]


def test_a_series_of_polygons_has_its_index_for_a_key() -> None:
    series = zones_of(ZONES).set_index("fid").geometry
    found = zr.zonal_stats(series, raster(VALUES))
    assert found.index.tolist() == [1, 2]
    assert found.index.name == "fid"


def test_polygons_without_values_are_counted_on_the_lattice_of_the_labels() -> None:
    labels = raster([[1, 1, 2], [1, 2, 2], [1, 1, 1]], dtype="uint8")
    found = zr.zonal_stats(zones_of(ZONES), by={"class": labels}, key="fid", stats="pixels")
    assert found["pixels"].to_dict() == {(1, 1): 3, (1, 2): 1, (2, 1): 2, (2, 2): 2}


def test_polygons_come_back_with_the_table(tmp_path: Path) -> None:
    zones = zones_of(ZONES, name=["a", "b"])
    found = zr.zonal_stats(
        zones, raster(VALUES), key="fid", attributes=["name"], geometry=True, stats="sum"
    )
    assert isinstance(found, geopandas.GeoDataFrame)
    assert found.crs == zones.crs
    assert found.geometry.geom_equals(zones.set_index("fid").geometry).all()
    assert found["name"].tolist() == ["a", "b"]
    zr.build(zones, tmp_path / "zones.zarr", grid=GRID, key="fid")
    stored = zr.zonal_stats(
        tmp_path / "zones.zarr", raster(VALUES), attributes=["name"], geometry=True, stats="sum"
    )
    assert_geodataframe_equal(found, stored)
    by = {"class": raster([[1, 1, 2], [1, 2, 2], [1, 1, 1]], dtype="uint8")}
    long = zr.zonal_stats(zones, raster(VALUES), by=by, key="fid", geometry=True, stats="sum")
    keys = long.index.get_level_values("fid")
    assert [*long.geometry] == [*found.geometry.loc[keys]]


@pytest.mark.filterwarnings("ignore::zoneraster.ZonerasterWarning")
def test_a_checkpoint_of_polygons_goes_on(tmp_path: Path, ran: list[StatsTask]) -> None:
    zones, place = sample_zones(20), tmp_path / "zones.parquet"
    zones.to_parquet(place)
    options: dict[str, Any] = {
        "stats": STATS, "checkpoint": tmp_path / "partials", "executor": "serial", "key": "fid",
    }  # fmt: skip
    values = as_file(noise(), tmp_path / "values.tif", nodata=7)
    first, n = zr.zonal_stats(place, values, **options), len(ran)
    assert n > 0
    same(zr.zonal_stats(place, values, **options), first)
    assert len(ran) == n
    # As of a store: only the tasks of the zone that moved, and what they replace is swept.
    zones.geometry = [*zones.geometry[:-1], zones.geometry.iloc[-1].buffer(0.1)]
    zones.to_parquet(place)
    zr.zonal_stats(place, values, **options)
    assert n < len(ran) <= 2 * n
    assert len([*(tmp_path / "partials" / "partials").rglob("*.parquet")]) == n


def test_what_is_said_of_zones_is_warned_of_and_stands_in_the_audit() -> None:
    far = geopandas.GeoDataFrame(
        {"fid": [9]}, geometry=[shapely.box(400_000, 0, 400_300, 300)], crs=GRID.crs
    )
    zones = pd.concat([zones_of(ZONES), far])
    with pytest.warns(zr.ZonerasterWarning, match="1 zone outside the raster: 9"):
        found = zr.zonal_stats(zones, raster(VALUES), key="fid")
    assert found.attrs["audit"]["zones_outside"] == 1
    assert found["count"].tolist() == [4, 4, 0]


# ---- labels --------------------------------------------------------------------------------------


@pytest.mark.filterwarnings("ignore::zoneraster.ZonerasterWarning")
@pytest.mark.parametrize("executor", [None, "processes"])
def test_labels_are_zones_whatever_holds_them(executor: Any, tmp_path: Path) -> None:
    zones, values = sample_zones(), noise()
    zr.build(zones, tmp_path / "zones.zarr", grid=FINE_GRID, key="fid", chunks=60)
    wanted = zr.zonal_stats(tmp_path / "zones.zarr", values, zones="owned", stats=STATS)
    wanted = wanted[wanted["count"] > 0].rename_axis("zone_id").sort_index()
    ids = zr.open(tmp_path / "zones.zarr").zone
    ids.attrs["crs"] = FINE_GRID.crs.to_wkt()
    file = as_file(ids.compute(), tmp_path / "labels.tif", nodata=0)
    for labels in (ids, ids.compute(), file, str(file), zr.Raster(file)):
        found = zr.zonal_stats(labels, values, stats=STATS, executor=executor)
        np.testing.assert_array_equal(found.index, wanted.index)
        pd.testing.assert_frame_equal(found, wanted, check_index_type=False, rtol=1e-12)


def test_zero_is_a_label_where_another_number_means_none(tmp_path: Path) -> None:
    labels = raster([[0, 0, 5], [0, 5, 255], [255, 255, 255]], dtype="uint8")
    file = as_file(labels, tmp_path / "labels.tif", nodata=255)
    found = zr.zonal_stats(file, raster(VALUES), stats=["count", "sum"])
    assert found.index.tolist() == [0, 5]
    assert found["sum"].tolist() == [1 + 2 + 4, 3 + 5]
    assert found.attrs["audit"]["no_zone"] == 4
    chosen = zr.zonal_stats(file, raster(VALUES), stats="sum", select=[0])
    assert chosen["sum"].to_dict() == {0: 7}
    # Where nothing is declared it is none.
    plain = as_file(labels, tmp_path / "plain.tif")
    assert zr.zonal_stats(plain, raster(VALUES)).index.tolist() == [5, 255]


def test_labels_of_a_coarser_raster_hold_the_pixels_of_finer_values() -> None:
    coarse = zr.Grid(GRID.crs, (300, 0, 500_000, 0, -300, 300), (1, 2))
    values = raster(np.arange(18).reshape(3, 6), zr.Grid(GRID.crs, GRID.transform, (3, 6)))
    found = zr.zonal_stats(raster([[4, 9]], coarse, dtype="int32"), values, stats=["count", "sum"])
    assert found["count"].to_dict() == {4: 9, 9: 9}
    assert found["sum"].sum() == 153


@pytest.mark.parametrize(
    ("labels", "options", "text"),
    [
        (raster(VALUES, dtype="float32"), {}, "they must be integers"),
        (raster([[1, -2, 1]] * 3, dtype="int16"), {}, "holds -2: zone ids are positive"),
        (raster(VALUES, dtype="uint8"), {"pixels": "fraction"}, "nothing is known but their"),
        (raster(VALUES, dtype="uint8"), {"geometry": True}, "labels, without polygons"),
        (
            raster(VALUES, dtype="uint8"),
            {"key": "fid"},
            "key='fid' would say how polygons are read",
        ),
        (raster(VALUES, dtype="uint8"), {"select": ["a"]}, "labels of a raster are whole numbers"),
    ],
)
def test_labels_that_cannot_be_zones(labels: Any, options: dict[str, Any], text: str) -> None:
    with pytest.raises(zr.ZonerasterError, match=text):
        zr.zonal_stats(labels, raster(VALUES), **options)


# ---- what is neither -----------------------------------------------------------------------------


def test_swapped_arguments_are_told() -> None:
    with pytest.raises(zr.OptionError, match="is a raster: zones come first, then values: swap"):
        zr.zonal_stats(raster(VALUES), zones_of(ZONES))
    with pytest.raises(
        zr.OptionError, match=r"districts.gpkg holds polygons, which are no .*: give a ras"
    ):
        zr.zonal_stats(zones_of(ZONES), "districts.gpkg")


def test_a_place_with_nothing_or_something_else_is_told(tmp_path: Path) -> None:
    with pytest.raises(zr.StoreError, match=r"nothing at .*absent: give a store, a file of poly"):
        zr.zonal_stats(tmp_path / "absent", raster(VALUES))
    with pytest.raises(zr.ZonesError, match="no such file"):
        zr.zonal_stats(tmp_path / "absent.gpkg", raster(VALUES))
    (tmp_path / "folder").mkdir()
    with pytest.raises(zr.StoreError, match=r"no zone store at .*folder: build it first, or give"):
        zr.zonal_stats(tmp_path / "folder", raster(VALUES))
    (tmp_path / "notes.txt").write_text("no zones")
    with pytest.raises(zr.ZonesError, match="is not GeoParquet, GeoPackage"):
        zr.zonal_stats(tmp_path / "notes.txt", raster(VALUES))


def test_polygons_need_pixels_and_a_store_has_been_read(tmp_path: Path) -> None:
    with pytest.raises(zr.ValuesError, match="has no pixels of its own: give values="):
        zr.zonal_stats(zones_of(ZONES))
    zr.build(zones_of(ZONES), tmp_path / "zones.zarr", grid=GRID)
    with pytest.raises(zr.OptionError, match=r"on_invalid='skip' would say how polygons are read"):
        zr.zonal_stats(tmp_path / "zones.zarr", raster(VALUES), on_invalid="skip")
    with pytest.raises(zr.ValuesError, match="groups of zones, which have no geometry="):
        zr.zonal_stats(zones_of(ZONES), raster(VALUES), roll_up="fid", geometry=True)


def test_a_warning_points_at_the_line_of_the_caller() -> None:
    far = geopandas.GeoDataFrame(
        {"fid": [9]}, geometry=[shapely.box(400_000, 0, 400_300, 300)], crs=GRID.crs
    )
    zones = pd.concat([zones_of(ZONES), far])
    with pytest.warns(zr.ZonerasterWarning) as told:
        zr.zonal_stats(zones, raster(VALUES), key="fid")
    assert {one.filename for one in told} == {__file__}


@pytest.mark.parametrize("crs", [3857, 4326, 2056, 32633, "ESRI:54009", "+proj=laea +lat_0=9"])
@pytest.mark.parametrize("step", [1, 0.1, 1 / 3])
def test_grids_of_all_kinds_are_read_as_they_were_planned(crs: Any, step: float) -> None:
    grid = zr.Grid(crs, (step, 0, 5, 0, -step, 12), (6, 7))
    zone = shapely.box(5, 12 - 4 * step, 5 + 3 * step, 12)
    zones = geopandas.GeoDataFrame(geometry=[zone], crs=crs)
    values = zr.Raster(np.ones(grid.shape), transform=grid.transform, crs=zones.crs)
    assert zr.zonal_stats(zones, values)["count"].tolist() == [12]


def test_a_store_that_was_packed_is_read_as_it_is(tmp_path: Path) -> None:
    ids, values = np.array(ZONES), raster(VALUES)
    zr.build(zones_of(ids), tmp_path / "s.zarr", grid=GRID, key="fid")
    expected = zr.zonal_stats(tmp_path / "s.zarr", values, stats=["count", "median"])
    for inner in (None, "s.zarr"):
        place = tmp_path / "s.zarr" if inner is None else tmp_path
        packed = shutil.make_archive(str(tmp_path / f"packed{inner}"), "zip", place, inner)
        for executor in (None, "processes"):
            table = zr.zonal_stats(packed, values, stats=["count", "median"], executor=executor)
            pd.testing.assert_frame_equal(table, expected)
    with pytest.raises(zr.ZonerasterError):
        zr.build(zones_of(ids), packed, grid=GRID, key="fid")
