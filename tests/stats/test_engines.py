"""Real zones and real rasters: the same numbers as NumPy, exactextract, rasterstats and flox."""

from __future__ import annotations

from collections.abc import Sequence
from importlib import resources
from pathlib import Path
from typing import Any

import geopandas
import numpy as np
import numpy.typing as npt
import pandas as pd
import pytest
import rasterio
import shapely
import xarray as xr
from affine import Affine
from rasterio.features import shapes
from rasterio.warp import Resampling, reproject
from rasterio.windows import from_bounds

import zoneraster as zr
from tests.oracles import star
from zoneraster.demo import area_table, counties_path

pytestmark = pytest.mark.slow

Array = npt.NDArray[Any]
KOPPEN = Path(str(resources.files("zoneraster") / "data" / "koppen_us.tif"))
N_CLASSES = 6  # 0 is nodata
STATES = (-125, 24, -66, 50)
EUROPE = (-12, 34, 32, 60)
BASIC = ["count", "sum", "mean", "min", "max", "var", "std", "median", "variety"]


@pytest.fixture(scope="module")
def counties(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Counties on 30 arc-seconds like the Koeppen map; Alaska and Hawaii have no pixel."""
    path = tmp_path_factory.mktemp("counties") / "zones.zarr"
    grid = zr.Grid.from_bounds(STATES, "1/120", "EPSG:4326")
    zr.build(counties_path(), path, grid=grid, key="zone_id", chunks=700)
    return path


@pytest.fixture(scope="module")
def five_minutes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Counties on the 5 minutes of the altitudes."""
    path = tmp_path_factory.mktemp("five") / "zones.zarr"
    grid = zr.Grid.from_bounds(STATES, "1/12", "EPSG:4326")
    zr.build(counties_path(), path, grid=grid, key="zone_id", chunks=100)
    return path


def zone_pixels(store: Path) -> Array:
    return np.asarray(zr.open(store)["zone"].values)


def under(path: Path, grid: zr.Grid, *, band: int = 1) -> Array:
    """What rasterio reads under a grid with the same pixels."""
    with rasterio.open(path) as raster:
        window = from_bounds(*grid.bounds, raster.transform).round_offsets().round_lengths()
        return np.asarray(raster.read(band, window=window))


def class_counts(zones: Array, classes: Array) -> Array:
    """Pixels by zone and class, (zones, classes): one bincount over the canvas."""
    code = zones.astype(np.int64).ravel() * N_CLASSES + classes.ravel()
    n = int(zones.max()) + 1
    return np.bincount(code, minlength=n * N_CLASSES).reshape(n, N_CLASSES)


def check_classes(table: pd.DataFrame, counts: Array) -> None:
    """Count, majority, variety and histogram of every zone."""
    known = np.zeros((int(table.index.max()) + 1, N_CLASSES), np.int64)
    known[: len(counts)] = counts
    known = known[table.index]
    valid = known[:, 1:]
    assert np.array_equal(table["pixels"], known.sum(axis=1))
    assert np.array_equal(table["count"], valid.sum(axis=1))
    assert np.array_equal(table["variety"], (valid > 0).sum(axis=1))
    first = np.where(valid.any(axis=1), valid.argmax(axis=1) + 1.0, np.nan)
    assert np.array_equal(table["majority"], first, equal_nan=True)
    for k in range(1, N_CLASSES):
        # A class that nobody has has no column.
        found = table.get(f"histogram_{k}", 0)
        assert np.array_equal(np.broadcast_to(found, len(table)), valid[:, k - 1]), k


def by_zone(zones: Array, values: Array, valid: Array) -> dict[int, Array]:
    """Valid values of every zone that has some: one sort."""
    own = valid & (zones > 0)
    ids, numbers = zones[own], values[own]
    order = np.argsort(ids, kind="stable")
    names, starts = np.unique(ids[order], return_index=True)
    return dict(zip(names.tolist(), np.split(numbers[order], starts[1:]), strict=True))


def whole_pixel_zones(zones: Array, transform: Affine) -> geopandas.GeoDataFrame:
    """Zones as unions of whole pixels, a hundredth of a pixel smaller.

    exactextract tells covered fractions, and without weights counts whatever is touched: so no
    neighbour may be touched by rounding.
    """
    pairs = [
        (shapely.geometry.shape(s), int(v)) for s, v in shapes(zones, transform=transform) if v
    ]
    parts, ids = zip(*pairs, strict=True)
    frame = geopandas.GeoDataFrame({"zone_id": ids}, geometry=list(parts), crs="EPSG:4326")
    inward = -0.01 * transform.a
    joined = [
        shapely.union_all(shapely.buffer(own.to_numpy(), inward, join_style="mitre"))
        for _, own in frame.groupby("zone_id").geometry
    ]
    return geopandas.GeoDataFrame({"zone_id": np.unique(ids)}, geometry=joined, crs="EPSG:4326")


# ---- NumPy -------------------------------------------------------------------------------------


def test_koeppen_classes_of_counties_equal_one_bincount_over_the_canvas(counties: Path) -> None:
    stats = ["pixels", "count", "majority", "variety", "histogram", "fractions"]
    table = zr.zonal_stats(counties, KOPPEN, stats=stats)
    zones = zone_pixels(counties)
    counts = class_counts(zones, under(KOPPEN, zr.grid_like(zr.open(counties))))
    check_classes(table, counts)
    some = table["count"] > 0
    for k in range(1, N_CLASSES):
        share = table[f"histogram_{k}"] / table["count"].where(some)
        assert np.array_equal(table[f"fractions_{k}"], share, equal_nan=True)
    assert 3000 < some.sum() < len(table) == 3235
    audit = table.attrs["audit"]
    assert audit["pixels_read"] >= audit["in_zones"] == int((zones > 0).sum())


def test_the_global_koeppen_map_in_strips_gives_what_the_tiled_cutout_gives(
    counties: Path, data_dir: Path
) -> None:
    stats = ["pixels", "count", "sum", "var", "majority", "variety", "histogram"]
    tiled = zr.zonal_stats(counties, {"koppen": KOPPEN}, stats=stats)
    path = data_dir / "values" / "koppen_simplified_30s.tif"
    strips = zr.zonal_stats(counties, {"koppen": path}, stats=stats)
    # Tasks are cut in other places, so float sums may round in other ways.
    pd.testing.assert_frame_equal(tiled, strips, rtol=1e-13)
    exact = [name for name in stats if name not in {"var", "histogram"}]
    assert tiled[exact].equals(strips[exact])


def test_koeppen_that_is_twice_as_coarse_counts_each_of_its_pixels_four_times(
    tmp_path: Path,
) -> None:
    grid = zr.Grid.from_bounds((-100, 30, -80, 45), "1/240", "EPSG:4326")
    zr.build(counties_path(), tmp_path / "a.zarr", grid=grid, key="zone_id", chunks=1000)
    stats = ["pixels", "count", "majority", "variety", "histogram"]
    table = zr.zonal_stats(tmp_path / "a.zarr", KOPPEN, stats=stats)
    coarse = under(KOPPEN, zr.Grid.from_bounds(grid.bounds, "1/120", "EPSG:4326"))
    classes = coarse.repeat(2, axis=0).repeat(2, axis=1)
    check_classes(table, class_counts(zone_pixels(tmp_path / "a.zarr"), classes))


def test_altitudes_of_european_districts_equal_numpy(tmp_path: Path, data_dir: Path) -> None:
    every = geopandas.read_parquet(data_dir / "geoboundaries_adm.parquet")
    zones = every.cx[EUROPE[0] : EUROPE[2], EUROPE[1] : EUROPE[3]]
    grid = zr.Grid.from_bounds(EUROPE, "1/12", "EPSG:4326")
    store, path = tmp_path / "a.zarr", data_dir / "values" / "altitude_5min_pvlib.tif"
    zr.build(zones, store, grid=grid, key="zone_id", chunks=130, on_invalid="repair")
    stats = ["count", "sum", "mean", "min", "max", "range", "median", "q0.9"]
    table = zr.zonal_stats(store, path, stats=stats, zones="owned")
    values = under(path, grid)
    found = by_zone(zone_pixels(store), values, values != -9999)
    assert len(table) == len(zones) > 10_000
    assert (table["count"] > 0).sum() == len(found)
    rows = table.loc[list(found)]
    expected = {
        "count": [v.size for v in found.values()],
        "sum": [int(v.astype(np.int64).sum()) for v in found.values()],
        "mean": [v.astype(np.int64).sum() / v.size for v in found.values()],
        "min": [v.min() for v in found.values()],
        "max": [v.max() for v in found.values()],
        "range": [float(v.max()) - float(v.min()) for v in found.values()],
        "median": [np.median(v.astype(np.float64)) for v in found.values()],
    }
    for name, numbers in expected.items():
        assert np.array_equal(rows[name], np.array(numbers)), name
    ninth = [np.quantile(v.astype(np.float64), 0.9) for v in found.values()]
    np.testing.assert_allclose(rows["q0.9"], ninth, rtol=1e-14)
    assert table.drop(index=list(found))["sum"].eq(0).all()


def random_zones(grid: zr.Grid, n: int) -> geopandas.GeoDataFrame:
    rng = np.random.default_rng(17)
    west, south, east, north = grid.bounds
    rings = [
        star(rng, (rng.uniform(west, east), rng.uniform(south, north)), (east - west) / 9, 12)
        for _ in range(n)
    ]
    return geopandas.GeoDataFrame(geometry=[shapely.Polygon(r) for r in rings], crs=grid.crs)


def file_grid(path: Path) -> zr.Grid:
    with rasterio.open(path) as raster:
        return zr.Grid(raster.crs.to_wkt(), raster.transform, raster.shape)


def test_landsat_keeps_its_bands_and_equals_numpy_in_each(tmp_path: Path, data_dir: Path) -> None:
    path = data_dir / "values" / "landsat7_sanfrancisco_30m_3857.tif"
    grid = file_grid(path)
    zr.build(random_zones(grid, 60), tmp_path / "a.zarr", grid=grid, chunks=400)
    stats = ["count", "sum", "mean", "min", "max", "median", "majority", "variety"]
    table = zr.zonal_stats(tmp_path / "a.zarr", path, stats=stats, zones="owned")
    assert table.index.names == ["row", "band"]
    assert len(table) == 60 * 3
    zones = zone_pixels(tmp_path / "a.zarr")
    for band in (1, 2, 3):
        values = under(path, grid, band=band)
        single = zr.zonal_stats(
            tmp_path / "a.zarr", zr.Raster(path, band=band), stats=stats, zones="owned"
        )
        rows = table.xs(band, level="band")
        assert rows.equals(single)
        found = by_zone(zones, values, values != 0)
        assert int((rows["count"] > 0).sum()) == len(found) > 50
        for zone, own in found.items():
            counts = np.bincount(own)
            said = [
                own.size, int(own.sum(dtype=np.int64)), own.sum(dtype=np.int64) / own.size,
                own.min(), own.max(), np.median(own), counts.argmax(), np.count_nonzero(counts),
            ]  # fmt: skip
            assert rows.loc[zone - 1].tolist() == said  # rows of a frame count from 0


def test_five_float_bands_in_strips_equal_numpy_in_float64(tmp_path: Path, data_dir: Path) -> None:
    path = data_dir / "values" / "landsat_nc_28m_5band_32119.tif"
    grid = file_grid(path)
    zr.build(random_zones(grid, 40), tmp_path / "a.zarr", grid=grid, chunks=100)
    table = zr.zonal_stats(
        tmp_path / "a.zarr", path, stats=[*BASIC, "nodata", "q0.05"], zones="owned"
    )
    zones = zone_pixels(tmp_path / "a.zarr")
    for band in range(1, 6):
        values = under(path, grid, band=band)
        rows = table.xs(band, level="band")
        valid = (values != np.float32(-99999)) & ~np.isnan(values)
        assert rows["nodata"].sum() == int(((zones > 0) & ~valid).sum())
        for zone, own in by_zone(zones, values, valid).items():
            row, wide = rows.loc[zone - 1], own.astype(np.float64)
            for name, number in (
                ("count", own.size), ("min", wide.min()), ("max", wide.max()),
                ("median", np.median(wide)), ("variety", np.unique(own).size),
            ):  # fmt: skip
                assert row[name] == number, (zone, name)
            for name, number in (
                ("sum", wide.sum()), ("mean", wide.mean()), ("var", wide.var()),
                ("std", wide.std()), ("q0.05", np.quantile(wide, 0.05)),
            ):  # fmt: skip
                assert row[name] == pytest.approx(number, rel=1e-12), (zone, name)


def test_era5_that_is_off_by_half_a_pixel_is_refused_and_the_message_names_the_offset(
    tmp_path: Path, data_dir: Path
) -> None:
    path = data_dir / "values" / "era5_t2m_mean_025deg.tif"
    grid = zr.Grid.from_bounds(STATES, "1/4", "EPSG:4326")
    zr.build(counties_path(), tmp_path / "a.zarr", grid=grid, key="zone_id", chunks=50)
    with pytest.raises(zr.AlignmentError, match=r"row -160\.5, column -220\.5 .*half a pixel"):
        zr.zonal_stats(tmp_path / "a.zarr", path)


def test_era5_on_a_store_half_as_wide_needs_no_resampling_and_may_stick_out_of_the_globe(
    tmp_path: Path, data_dir: Path
) -> None:
    path = data_dir / "values" / "era5_t2m_mean_025deg.tif"
    grid = zr.Grid.from_bounds((-180, -90, 180, 90), "1/8", "EPSG:4326")
    zr.build(counties_path(), tmp_path / "a.zarr", grid=grid, key="zone_id", chunks=200)
    table = zr.zonal_stats(tmp_path / "a.zarr", path, stats=["count", "mean", "max", "median"])
    with rasterio.open(path) as raster:
        values = raster.read(1).repeat(2, axis=0).repeat(2, axis=1)[1:-1, 1:]
    check_floats(table, zone_pixels(tmp_path / "a.zarr"), values[:, : grid.width])


def check_floats(table: pd.DataFrame, zones: Array, values: Array) -> None:
    # The last half pixel in the east may be missing.
    wide = np.full(zones.shape, np.nan, np.float32)
    wide[: values.shape[0], : values.shape[1]] = values
    found = by_zone(zones, wide, ~np.isnan(wide))
    assert int((table["count"] > 0).sum()) == len(found) > 1000
    for zone, own in found.items():
        row = table.loc[zone]
        assert (row["count"], row["max"]) == (own.size, own.max())
        assert row["median"] == np.median(own.astype(np.float64))
        assert row["mean"] == pytest.approx(own.mean(dtype=np.float64), rel=1e-12)


def test_era5_resampled_to_the_nearest_equals_numpy_on_what_gdal_warped(
    tmp_path: Path, data_dir: Path
) -> None:
    path = data_dir / "values" / "era5_t2m_mean_025deg.tif"
    # Centres of a tenth of a degree are never halfway between those of a quarter.
    grid = zr.Grid.from_bounds(STATES, "1/10", "EPSG:4326")
    zr.build(counties_path(), tmp_path / "a.zarr", grid=grid, key="zone_id", chunks=90)
    stats = ["count", "mean", "max", "median"]
    with pytest.raises(zr.AlignmentError, match=r"2\.5 times as wide .*resample='nearest'"):
        zr.zonal_stats(tmp_path / "a.zarr", path, stats=stats, zones="owned")
    table = zr.zonal_stats(tmp_path / "a.zarr", path, stats=stats, resample="nearest")
    warped = np.full(grid.shape, np.nan, np.float32)
    with rasterio.open(path) as raster:
        reproject(
            rasterio.band(raster, 1), warped, dst_transform=grid.transform, dst_crs="EPSG:4326",
            resampling=Resampling.nearest,
        )  # fmt: skip
    check_floats(table, zone_pixels(tmp_path / "a.zarr"), warped)


# ---- exactextract and rasterstats --------------------------------------------------------------


def write_tif(path: Path, grid: zr.Grid, values: Array, *, nodata: float | None = None) -> None:
    with rasterio.open(
        path, "w", driver="GTiff", dtype=values.dtype, count=1, crs=grid.crs.to_wkt(),
        nodata=nodata, height=grid.height, width=grid.width, transform=grid.transform,
    ) as file:  # fmt: skip
        file.write(values, 1)


def check_exactextract(
    path: Path, store: Path, table: pd.DataFrame, stats: Sequence[tuple[str, str]]
) -> None:
    from exactextract import exact_extract

    grid = zr.grid_like(zr.open(store))
    frame = whole_pixel_zones(zone_pixels(store), grid.transform)
    ops = [
        f"s{i}={name[:-1]},coverage_weight=none)"
        if "(" in name
        else f"s{i}={name}(coverage_weight=none)"
        for i, (_, name) in enumerate(stats)
    ]
    found = exact_extract(path, frame, ops, include_cols=["zone_id"], output="pandas")
    # It adds which quantile it is to the name that it was given.
    found = found.set_index("zone_id").rename(columns=lambda name: name.partition("_")[0])
    assert len(found) == (table["pixels"] > 0).sum() > 2000
    rows = table.loc[found.index]
    for i, (name, _) in enumerate(stats):
        np.testing.assert_allclose(
            rows[name].astype(float), found[f"s{i}"].astype(float), 1e-12, 1e-9, err_msg=name
        )


def test_exactextract_finds_the_same_altitudes_in_zones_of_whole_pixels(
    five_minutes: Path, data_dir: Path
) -> None:
    path = data_dir / "values" / "altitude_5min_pvlib.tif"
    pairs = [
        ("count", "count"), ("sum", "sum"), ("mean", "mean"), ("min", "min"), ("max", "max"),
        ("var", "variance"), ("std", "stdev"), ("variety", "variety"),
    ]  # fmt: skip
    stats = ["pixels", *(name for name, _ in pairs)]
    check_exactextract(path, five_minutes, zr.zonal_stats(five_minutes, path, stats=stats), pairs)


def test_exactextract_finds_the_same_quantiles_where_no_value_occurs_twice(
    five_minutes: Path, tmp_path: Path
) -> None:
    # It merges equal values before it interpolates: of 8 times 26 and 22 times 54 the median is 40.
    path, grid = tmp_path / "noise.tif", zr.grid_like(zr.open(five_minutes))
    write_tif(path, grid, np.random.default_rng(5).normal(300, 200, grid.shape))
    pairs = [
        ("count", "count"), ("mean", "mean"), ("median", "median"), ("q0.1", "quantile(q=0.1)"),
        ("q0.875", "quantile(q=0.875)"),
    ]  # fmt: skip
    stats = ["pixels", *(name for name, _ in pairs)]
    check_exactextract(path, five_minutes, zr.zonal_stats(five_minutes, path, stats=stats), pairs)


def test_exactextract_finds_the_same_classes_and_takes_the_greatest_of_equals(
    five_minutes: Path, tmp_path: Path
) -> None:
    # Every tenth pixel of the map in both directions: the five minutes of the store.
    path, grid = tmp_path / "koppen.tif", zr.grid_like(zr.open(five_minutes))
    classes = under(KOPPEN, zr.Grid.from_bounds(STATES, "1/120", "EPSG:4326"))[4::10, 4::10]
    write_tif(path, grid, classes, nodata=0)
    stats = ["pixels", "count", "variety", "majority", "minority", "histogram"]
    table = zr.zonal_stats(five_minutes, path, stats=stats)
    counts = table[[f"histogram_{k}" for k in range(1, N_CLASSES)]].to_numpy()
    some = counts.sum(axis=1) > 0
    most = counts == counts.max(axis=1, keepdims=True)
    greatest = N_CLASSES - 1 - most[:, ::-1].argmax(axis=1)
    ties = some & (most.sum(axis=1) > 1)
    assert ties.sum() == 5
    assert (greatest[ties] > table["majority"].to_numpy()[ties]).all()
    theirs = table.assign(majority=np.where(some, greatest, np.nan))
    pairs = [(name, name) for name in ("count", "variety", "majority")]
    check_exactextract(path, five_minutes, theirs, pairs)


def test_rasterstats_finds_the_same_pixels_under_the_polygons_themselves(
    five_minutes: Path, data_dir: Path
) -> None:
    rasterstats = pytest.importorskip("rasterstats")
    path = data_dir / "values" / "altitude_5min_pvlib.tif"
    names = ["count", "sum", "mean", "min", "max", "std", "median"]
    table = zr.zonal_stats(five_minutes, path, stats=names)
    frame = zr.zones(five_minutes).to_crs("EPSG:4326").set_index("zone_id")
    # Not those that reach out of the canvas.
    inside = frame[frame.within(shapely.box(*STATES))].iloc[::3]
    found = rasterstats.zonal_stats(inside.geometry, str(path), stats=names)
    theirs = pd.DataFrame(found, index=inside.index).astype(float)
    theirs["sum"] = theirs["sum"].fillna(0)
    assert len(theirs) > 900
    np.testing.assert_allclose(
        table.loc[theirs.index, names].astype(float), theirs[names], rtol=1e-12
    )


# ---- flox --------------------------------------------------------------------------------------


def test_flox_groups_counties_by_class_and_height_into_the_same_counts_and_sums(
    five_minutes: Path, data_dir: Path
) -> None:
    flox = pytest.importorskip("flox")
    path = data_dir / "values" / "altitude_5min_pvlib.tif"
    grid = zr.grid_like(zr.open(five_minutes))
    zones, heights = zone_pixels(five_minutes).astype(np.int64), under(path, grid).astype(np.int64)
    classes = under(KOPPEN, zr.Grid.from_bounds(STATES, "1/120", "EPSG:4326"))[4::10, 4::10]
    steps = (heights // 500).astype(np.int16)
    keys = {
        name: xr.DataArray(
            values,
            coords={"lat": grid.y_centres(), "lon": grid.x_centres()},
            dims=("lat", "lon"),
            attrs=attrs,
        )
        for name, values, attrs in (("class", classes, {"_FillValue": 0}), ("step", steps, {}))
    }
    # Pixels without a label are called -1.
    labels = np.where(classes == 0, -1, classes.astype(np.int64))
    valid = heights != -9999
    every = [array[valid] for array in (zones, labels, steps.astype(np.int64))]
    heights = heights[valid]
    for by, arrays in ({}, every[:1]), (keys, every):
        table = zr.zonal_stats(five_minutes, path, stats=["count", "sum"], by=by)
        groups = [np.unique(a) for a in arrays]
        sums, *_ = flox.groupby_reduce(
            heights, *arrays, func="sum", expected_groups=tuple(groups), fill_value=0
        )
        counts, *_ = flox.groupby_reduce(
            heights, *arrays, func="count", expected_groups=tuple(groups), fill_value=0
        )
        at = np.nonzero(counts)
        index = np.stack([g[i] for g, i in zip(groups, at, strict=True)], axis=1)
        inside = index[:, 0] > 0
        names = ["zone_id", *by]
        expected = pd.DataFrame(index[inside], columns=names)
        expected["count"], expected["sum"] = counts[at][inside], sums[at][inside]
        found = table[table["count"] > 0].reset_index()[[*names, "count", "sum"]]
        pd.testing.assert_frame_equal(
            found.sort_values(names, ignore_index=True).astype(np.int64),
            expected.sort_values(names, ignore_index=True).astype(np.int64),
        )


# ---- areas -------------------------------------------------------------------------------------


def test_areas_of_all_counties_are_those_of_their_polygons(tmp_path: Path) -> None:
    grid = zr.Grid.from_bounds((-180, -15, 180, 72), "1/1200", "EPSG:4269")
    store = tmp_path / "a.zarr"
    zr.build(counties_path(), store, grid=grid, key="zone_id", chunks=1200)
    table = zr.zonal_stats(store, stats=("pixels", "area"), area="km2")
    known = area_table(store).loc[table.index]
    assert np.array_equal(table["pixels"], known["pixels"])
    assert np.allclose(table["area_km2"], known["area_km2"], rtol=1e-12)
    assert table["area_km2"].sum() == pytest.approx(known["geodesic_km2"].sum(), rel=0.0005)
    assert table.attrs["audit"]["in_zones"] == table["pixels"].sum()
