"""What other tools for zonal statistics get wrong, each as a test."""

from __future__ import annotations

import itertools
import math
import shutil
from fractions import Fraction
from pathlib import Path
from typing import Any

import geopandas
import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import rasterio
import shapely
import xarray as xr
import zarr

import zoneraster as zr
from tests.samples import sample_zones
from tests.stats.samples import CLASSES, GRID, VALUES, build, moved, raster, write_zones, zones_of
from zoneraster._grid.areas import row_areas
from zoneraster._store.ledger import LEDGER

NAN = math.nan
BIG = zr.Grid.from_bounds((0, 0, 10, 10), "1/10", "EPSG:4326")  # 100 x 100
EVERY = [
    "pixels", "count", "nodata", "sum", "mean", "min", "max", "var", "median", "q0.1", "majority",
    "variety", "area", "area_sum",
]  # fmt: skip


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Zone 1 holds the values 1, 2, 3, 4 and zone 2 the values 5, 6, 8, 9."""
    return build(tmp_path_factory.mktemp("acceptance") / "zones.zarr")


@pytest.fixture(scope="module")
def big(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """25 stars on 100 x 100 pixels in chunks of 40."""
    path = tmp_path_factory.mktemp("acceptance") / "big.zarr"
    zr.build(sample_zones(25, seed=3), path, grid=BIG, key="fid", chunks=40)
    return path


def sums(store: Path, values: Any, **options: Any) -> list[float]:
    found: list[float] = zr.zonal_stats(store, values, stats="sum", **options)["sum"].tolist()
    return found


def closed(table: pd.DataFrame) -> None:
    """Every pixel that was read is somewhere."""
    audit = table.attrs["audit"]
    assert audit["pixels_read"] == audit["no_zone"] + audit["in_zones"]
    for measure in audit["measures"].values():
        of_zones = audit["in_zones"] + audit["shared"]
        assert measure["valid"] + measure["nodata"] == of_zones - audit["excluded"]
        assert measure["outside"] <= measure["nodata"]


# ---- labels that nobody listed -----------------------------------------------------------------


def test_a_label_outside_of_the_list_is_refused_or_counted_but_never_dropped(store: Path) -> None:
    values, classes = raster(VALUES), raster(CLASSES)
    with pytest.raises(zr.ValuesError, match="which is not listed, in zone"):
        sums(store, values, by={"class": zr.labels(classes, [1, 2], unlisted="error")})
    assert sum(sums(store, values, by={"class": zr.labels(classes, [1, 2])})) == 38
    assert sum(sums(store, values, by={"class": zr.labels(classes, [7, 8])})) == 38
    assert sum(sums(store, values, by={"class": classes})) == 38


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_nan_in_a_key_is_a_bucket(store: Path, dtype: str) -> None:
    key = raster([[1, NAN, 2], [2, NAN, 2], [3, 1, 3]], dtype=dtype)
    table = zr.zonal_stats(store, raster(VALUES), stats="sum", by={"class": key})
    assert table["sum"].to_dict() == {
        (1, -1): 2, (1, 1): 1, (1, 2): 7, (2, -1): 5, (2, 1): 8, (2, 2): 6, (2, 3): 9,
    }  # fmt: skip
    assert table.attrs["audit"]["keys"]["class"]["nodata"] == 2
    closed(table)


def test_label_255_of_a_uint8_key_is_a_label(store: Path) -> None:
    key = raster([[255, 255, 0], [0, 255, 0], [0, 0, 0]], dtype="uint8")
    table = zr.zonal_stats(store, raster(VALUES), stats="sum", by={"class": key})
    assert table["sum"].to_dict() == {(1, 0): 7, (1, 255): 3, (2, 0): 23, (2, 255): 5}


def test_a_nodata_value_at_the_end_of_int64_is_no_label(store: Path) -> None:
    for end in (-(2**63), 2**63 - 1):
        key = raster([[end, 1, 1], [1, end, 1], [1, 1, 1]], dtype="int64", _FillValue=end)
        table = zr.zonal_stats(store, raster(VALUES), stats="sum", by={"class": key})
        assert table["sum"].to_dict() == {(1, -1): 1, (1, 1): 9, (2, -1): 5, (2, 1): 23}


# ---- where layers lie --------------------------------------------------------------------------


def test_values_that_cover_less_are_counted_as_outside(store: Path) -> None:
    part = raster(VALUES).isel(y=slice(0, 2), x=slice(1, 3))
    with pytest.warns(zr.ZonerasterWarning, match="value does not reach 4 pixels of 2 zones; they"):
        table = zr.zonal_stats(store, part, stats=["pixels", "count", "nodata", "sum", "area"])
    assert table.to_dict("list") == {
        "pixels": [4, 4], "count": [2, 2], "nodata": [2, 2], "sum": [5, 11],
        "area_m2": [2e4, 2e4],
    }  # fmt: skip
    counts = table.attrs["audit"]["measures"]["value"]
    assert [counts[what] for what in ("valid", "nodata", "outside")] == [4, 4, 4]
    closed(table)


def test_a_key_that_covers_less_leaves_the_rest_in_its_bucket(store: Path) -> None:
    part = raster(CLASSES).isel(y=slice(0, 2), x=slice(1, 3))
    table = zr.zonal_stats(store, raster(VALUES), stats="sum", by={"class": part})
    assert table["sum"].to_dict() == {(1, -1): 5, (1, 1): 2, (1, 2): 3, (2, -1): 17, (2, 2): 11}
    assert table.attrs["audit"]["keys"]["class"]["nodata"] == 4
    closed(table)


def test_a_predicate_that_covers_less_excludes_the_rest_and_says_so(store: Path) -> None:
    part = zr.Raster(raster(VALUES).isel(y=slice(0, 2), x=slice(1, 3)))
    table = zr.zonal_stats(store, raster(VALUES), stats=["sum", "pixels"], where=part >= 0)
    assert table.to_dict("list") == {"sum": [5, 11], "pixels": [2, 2]}
    assert table.attrs["audit"]["excluded"] == 4
    closed(table)
    assert sums(store, raster(VALUES), where=~(part >= 0)) == [5, 17]


def test_a_key_that_lies_elsewhere_is_one_bucket(store: Path) -> None:
    key = moved(CLASSES, rows=10)
    table = zr.zonal_stats(store, raster(VALUES), stats="sum", by={"class": key})
    assert table["sum"].to_dict() == {(1, -1): 10, (2, -1): 28}


def test_values_that_cover_more_are_cut(store: Path) -> None:
    values = np.full((9, 9), 1000)
    values[3:6, 2:5] = VALUES
    assert sums(store, moved(values, rows=-3, cols=-2)) == [10, 28]


@pytest.mark.parametrize(
    ("rows", "cols", "said"),
    [(0.5, 0, "row 0.5, column 0 "), (0, 0.5, "row 0, column 0.5 "), (-1.5, 0.25, "row -1.5, ")],
)
def test_a_shift_by_half_a_pixel_is_refused_naming_it(
    store: Path, rows: float, cols: float, said: str
) -> None:
    values = moved(VALUES, rows=rows, cols=cols)
    with pytest.raises(zr.AlignmentError, match=f"its corner lies at {said}.*half a pixel"):
        sums(store, values)
    with pytest.raises(zr.AlignmentError, match="half a pixel"):
        sums(store, raster(VALUES), by={"class": values})
    with pytest.raises(zr.AlignmentError, match="half a pixel"):
        sums(store, raster(VALUES), where=zr.Raster(values) > 3)
    assert len(sums(store, values, resample="nearest")) == 2


@pytest.mark.slow
@pytest.mark.parametrize("step", ["1/9", "1/50", "1/3600"])
def test_coordinates_off_by_a_rounding_of_1e_minus_9_are_those_of_the_store(
    tmp_path: Path, step: str
) -> None:
    side = 90 * Fraction(step)
    grid = zr.Grid.from_bounds((10, 20, 10 + side, 20 + side), step, "EPSG:4326")
    ids = np.zeros((90, 90), int)
    ids[10:30, 5:80], ids[40:90, 20:30] = 1, 2
    store = build(tmp_path / "zones.zarr", ids, grid, chunks=40)
    rng = np.random.default_rng(1)
    values = rng.integers(0, 100, (90, 90))
    expected = [int(values[ids == i].sum()) for i in (1, 2)]
    noise = min(1e-9, 1e-7 * float(Fraction(step)))
    lat, lon = (c + rng.uniform(-noise, noise, 90) for c in (grid.y_centres(), grid.x_centres()))
    values_on = xr.DataArray(values, coords={"lat": lat, "lon": lon}, dims=("lat", "lon"))
    assert sums(store, values_on) == expected
    a, b, c, d, e, f = list(grid.transform)[:6]
    path = tmp_path / "values.tif"
    # As many tools write them: decimals are cut, 0.000277777778 for 1/3600.
    transform = rasterio.Affine(round(a, 12), b, c + 1e-9, d, round(e, 12), f - 1e-9)
    with rasterio.open(
        path, "w", driver="GTiff", width=90, height=90, count=1, dtype="int32", crs="EPSG:4326",
        transform=transform,
    ) as file:  # fmt: skip
        file.write(values.astype("int32"), 1)
    assert sums(store, path) == expected


def test_a_shift_by_a_whole_pixel_is_taken_at_its_word(store: Path) -> None:
    # Under zone 1 (0, 0), (0, 1), (0, 2), (1, 0) lie -, 1, 2, -; under zone 2 4, 5, 7, 8.
    table = zr.zonal_stats(store, moved(VALUES, cols=1), stats=["count", "sum"])
    assert table.to_dict("list") == {"count": [2, 4], "sum": [3, 24]}
    table = zr.zonal_stats(store, moved(VALUES, rows=-1), stats=["count", "sum"])
    assert table.to_dict("list") == {"count": [4, 2], "sum": [4 + 5 + 6 + 7, 8 + 9]}


@pytest.mark.slow
@pytest.mark.parametrize(("ratio", "said"), [(1.5, "1.5"), (0.4, "0.4"), (2 / 3, "0.666667")])
def test_a_ratio_that_is_no_whole_number_is_refused_with_the_ratio_and_the_cure(
    store: Path, ratio: float, said: str
) -> None:
    values = moved(np.arange(1, 101).reshape(10, 10), ratio=ratio)
    text = rf"pixels are {said} times as wide .*give resample='nearest', resample='average'"
    with pytest.raises(zr.AlignmentError, match=text):
        sums(store, values)
    assert len(sums(store, values, resample="average")) == 2
    assert len(sums(store, zr.Raster(values, resample="nearest"))) == 2


@pytest.mark.parametrize(("ratio", "total"), [(1 / 2, 4), (1 / 3, 9), (1, 1)])
def test_finer_values_are_used_as_they_are(store: Path, ratio: float, total: int) -> None:
    n = round(3 / ratio)
    table = zr.zonal_stats(store, moved(np.ones((n, n)), ratio=ratio), stats=["count", "area"])
    assert table["count"].tolist() == [4 * total, 4 * total]
    assert table["area_m2"].tolist() == pytest.approx([4e4, 4e4], rel=1e-13)
    assert table.attrs["audit"]["pixels_per_store_pixel"] == total
    closed(table)


def test_coarser_values_count_once_per_pixel_of_the_store(store: Path) -> None:
    # Pixels of 2 x 2: rows and columns 0-1, 2-3.
    table = zr.zonal_stats(store, moved([[1, 10], [100, 1000]], ratio=2), stats=["count", "sum"])
    assert table.to_dict("list") == {"count": [4, 4], "sum": [1 + 1 + 10 + 1, 1 + 10 + 100 + 1000]}
    values = moved([[1, 10], [100, 1000]], ratio=2, rows=-1, cols=-1)
    assert sums(store, values) == [1 + 10 + 10 + 100, 4 * 1000]


def test_another_reference_system_is_refused_and_may_be_resampled_or_set(store: Path) -> None:
    other = zr.Grid("EPSG:32634", GRID.transform, GRID.shape)
    values = raster(VALUES, other)
    with pytest.raises(zr.AlignmentError, match=r"different CRS, .*EPSG:32634.*EPSG:32633"):
        sums(store, values)
    assert sums(store, zr.Raster(values, crs="EPSG:32633")) == [10, 28]
    west, _, _, north = geopandas.GeoSeries(
        [shapely.box(*GRID.bounds)], crs=GRID.crs
    ).to_crs(4326).total_bounds.tolist()  # fmt: skip
    step = 1e-4
    around = zr.Grid(
        "EPSG:4326", (step, 0, west - 0.01, 0, -step, north + 0.01), (250, 250)
    )  # fmt: skip
    degrees = raster(np.full((250, 250), 7.0), around)
    with pytest.raises(zr.AlignmentError, match="different CRS"):
        sums(store, degrees)
    assert sums(store, degrees, resample="nearest") == [28, 28]
    assert sums(store, zr.Raster(degrees, resample="average")) == pytest.approx([28, 28])
    by = {"class": zr.Raster(raster(np.full((250, 250), 7), around), resample="nearest")}
    found = zr.zonal_stats(store, raster(VALUES), stats="sum", by=by)
    assert found["sum"].to_dict() == {(1, 7): 10, (2, 7): 28}


# ---- numbers -----------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def one_zone(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One zone over 300 x 300 pixels in chunks of 128."""
    grid = zr.Grid.from_bounds((0, 0, 300, 300), 1, "EPSG:32633")
    return build(
        tmp_path_factory.mktemp("acceptance") / "one.zarr",
        np.ones((300, 300), int),
        grid,
        chunks=128,
    )


def whole(values: npt.ArrayLike, dtype: Any = None, **attrs: Any) -> xr.DataArray:
    grid = zr.Grid.from_bounds((0, 0, 300, 300), 1, "EPSG:32633")
    return raster(np.broadcast_to(np.asarray(values, dtype), (300, 300)), grid, **attrs)


@pytest.mark.parametrize(
    ("dtype", "value"),
    [
        ("uint8", 255), ("int8", -128), ("int16", -(2**15)), ("uint16", 2**16 - 1),
        ("int32", -(2**31)), ("int32", 2**31 - 1), ("uint32", 2**32 - 1), ("int64", 2**44),
    ],
)  # fmt: skip
def test_the_largest_integers_do_not_wrap(one_zone: Path, dtype: str, value: int) -> None:
    stats = ["count", "sum", "mean", "min", "max", "range", "var", "median", "majority", "variety"]
    table = zr.zonal_stats(one_zone, whole(value, dtype), stats=stats)
    n = 300 * 300
    assert table.loc[1].tolist() == [n, n * value, value, value, value, 0, 0, value, value, 1]
    assert table["sum"].dtype == np.int64


def test_both_ends_of_int32_lie_2_to_the_32_apart(store: Path) -> None:
    low, high = -(2**31), 2**31 - 1
    values = raster([[low, high, low], [high, low, high], [0, low, high]], dtype="int32")
    stats = ["sum", "min", "max", "range", "median", "var", "q1"]
    table = zr.zonal_stats(store, values, stats=stats)
    for zone in (1, 2):
        assert table.loc[zone].tolist()[:5] == [-2, low, high, 2**32 - 1, -0.5]
        assert table.loc[zone, "var"] == pytest.approx(((2**32 - 1) / 2) ** 2, rel=1e-15)
        assert table.loc[zone, "q1"] == high


def test_a_sum_beyond_int64_is_a_float(tmp_path: Path, store: Path) -> None:
    values = raster(np.full((3, 3), 2**59), dtype="int64")
    assert sums(store, values) == [2**61, 2**61]


def test_variance_of_large_values_is_right_to_1e_minus_9(one_zone: Path) -> None:
    rng = np.random.default_rng(7)
    for dtype in ("float64", "float32", "int32"):
        values = (rng.normal(0, 1, (300, 300)) + 2.5e5).astype(dtype)
        exact = values.astype(np.longdouble)
        mean = Fraction(math.fsum(values.astype(float).ravel().tolist())) / values.size
        squares = ((exact - np.longdouble(float(mean))) ** 2).ravel()
        expected = math.fsum(squares.astype(float).tolist()) / values.size
        table = zr.zonal_stats(one_zone, whole(values), stats=["var", "std", "mean"])
        assert table.loc[1, "var"] == pytest.approx(expected, rel=1e-9)
        assert table.loc[1, "std"] == pytest.approx(math.sqrt(expected), rel=1e-9)
        assert table.loc[1, "mean"] == pytest.approx(float(mean), rel=1e-15)


def test_sums_of_floats_keep_what_rounding_takes(one_zone: Path) -> None:
    rng = np.random.default_rng(8)
    values = rng.normal(0, 1, (300, 300)) * 10.0 ** rng.integers(-8, 9, (300, 300))
    found = zr.zonal_stats(one_zone, whole(values), stats="sum")["sum"].item()
    assert found == pytest.approx(math.fsum(values.ravel().tolist()), rel=1e-13)


@pytest.mark.slow
def test_a_sum_of_1e8_equal_float32_values_is_exact_to_1e_minus_12(tmp_path: Path) -> None:
    side = 10_000
    grid = zr.Grid.from_bounds((0, 0, side, side), 1, "EPSG:32633")
    zones = geopandas.GeoDataFrame({"fid": [1]}, geometry=[shapely.box(*grid.bounds)], crs=grid.crs)
    zr.build(zones, tmp_path / "zones.zarr", grid=grid, key="fid", chunks=2500)
    value = np.float32(0.0769)
    values = raster(np.full((side, side), value), grid)
    table = zr.zonal_stats(tmp_path / "zones.zarr", values, stats=["count", "sum", "mean"])
    assert table.loc[1, "count"] == 10**8
    assert table.loc[1, "sum"] == pytest.approx(float(value) * 10**8, rel=1e-12)
    assert table.loc[1, "mean"] == pytest.approx(float(value), rel=1e-12)


@pytest.mark.slow
@pytest.mark.parametrize("dtype", ["int32", "float32", "float64"])
def test_quantiles_of_more_pixels_than_are_counted_at_once_are_exact(
    tmp_path: Path, dtype: str
) -> None:
    side = 1100  # more than 2**20 pixels, so several passes
    grid = zr.Grid.from_bounds((0, 0, side, side), 1, "EPSG:32633")
    parts = [shapely.box(0, 0, 400, side), shapely.box(400, 0, side, side)]
    zones = geopandas.GeoDataFrame({"fid": [1, 2]}, geometry=parts, crs=grid.crs)
    zr.build(zones, tmp_path / "zones.zarr", grid=grid, key="fid", chunks=300)
    values = (np.random.default_rng(3).normal(0, 1e4, (side, side))).astype(dtype)
    stats = ["median", "q0.001", "q0.9", "q1"]
    found = zr.zonal_stats(tmp_path / "zones.zarr", raster(values, grid), stats=stats)
    owned = [values[:, :400], values[:, 400:]]
    for zone, pixels in enumerate(owned, start=1):
        expected = np.quantile(pixels.astype(float), [0.5, 0.001, 0.9, 1])
        assert found.loc[zone].tolist() == pytest.approx(expected.tolist(), rel=1e-15)
    if dtype.startswith("f"):
        about = zr.zonal_stats(
            tmp_path / "zones.zarr", raster(values, grid), stats=stats, exact=False
        )
        assert about.to_numpy() == pytest.approx(found.to_numpy(), rel=1 / 256)


@pytest.mark.parametrize("dtype", ["uint32", "int32", "int64"])
def test_zone_ids_above_2_to_the_24_come_back_exact(tmp_path: Path, dtype: str) -> None:
    first = 2**24 + 1
    ids = np.array([[first, first, first + 1], [65_537, 65_536, 65_535], [0, 2**31 - 1, 1]], dtype)
    path = write_zones(tmp_path / "zones.zarr", ids)
    table = zr.zonal_stats(path, raster(VALUES), stats="sum")
    assert table["sum"].to_dict() == {
        1: 9, 65_535: 6, 65_536: 5, 65_537: 4, first: 3, first + 1: 3, 2**31 - 1: 8,
    }  # fmt: skip


def test_keys_above_2_to_the_24_and_above_2_to_the_53_come_back_exact(tmp_path: Path) -> None:
    ids = [[1, 1, 2], [3, 4, 5], [0, 6, 7]]
    keys = [2**24 + 1, 2**24 + 2, 65_535, 65_536, 65_537, 2**53 + 1, 2**53 + 2]
    zones = zones_of(ids).assign(fid=keys)
    zr.build(zones, tmp_path / "zones.zarr", grid=GRID, key="fid", chunks=2)
    table = zr.zonal_stats(tmp_path / "zones.zarr", raster(VALUES), stats="sum")
    assert table["sum"].to_dict() == dict(zip(keys, [3, 3, 4, 5, 6, 8, 9], strict=True))


def test_more_than_65_535_zones_come_back_exact(tmp_path: Path) -> None:
    grid = zr.Grid.from_bounds((0, 0, 270, 270), 1, "EPSG:32633")
    ids = np.arange(1, 270 * 270 + 1, dtype="uint32").reshape(270, 270)
    path = write_zones(tmp_path / "zones.zarr", ids, grid, chunks=(100, 100))
    table = zr.zonal_stats(path, raster(ids, grid), stats=["count", "sum"])
    assert np.array_equal(table.index, np.arange(1, 270 * 270 + 1))
    assert np.array_equal(table["sum"], table.index)
    assert (table["count"] == 1).all()


# ---- chunks ------------------------------------------------------------------------------------


@pytest.mark.slow
def test_no_chunking_changes_a_number(big: Path, tmp_path: Path) -> None:
    rng = np.random.default_rng(5)
    values = rng.normal(100, 30, (100, 100)).round(1)
    values[rng.random((100, 100)) < 0.1] = NAN
    key, mask = rng.integers(0, 4, (100, 100)), rng.integers(0, 100, (100, 100))
    expected = None
    for chunks in (100, 40, 20, 7):
        path = tmp_path / f"{chunks}.zarr"
        lanes = raster(values, BIG).to_dataset(name="value")
        lanes.to_zarr(path, encoding={"value": {"chunks": (chunks, chunks)}}, consolidated=False)
        lazy = raster(values, BIG).chunk({"y": chunks, "x": 3 * chunks})
        for source, executor in ((path, "serial"), (lazy, 2)):
            table = zr.zonal_stats(
                big, {"value": source}, stats=EVERY, by={"class": raster(key, BIG)},
                where=zr.Raster(raster(mask, BIG).chunk({"y": 33, "x": 100})) < 80,
                executor=executor,
            )  # fmt: skip
            if expected is None:
                expected = table
            exact = ["pixels", "count", "nodata", "min", "max", "median", "q0.1", "majority"]
            pd.testing.assert_frame_equal(table[exact], expected[exact], check_exact=True)
            pd.testing.assert_frame_equal(table, expected, rtol=1e-13)
            audit, first = table.attrs["audit"], expected.attrs["audit"]
            assert audit == first
            closed(table)


@pytest.mark.slow
@pytest.mark.parametrize("chunks", [17, 33, 100, 2000])
def test_the_chunks_of_the_store_change_no_table(big: Path, tmp_path: Path, chunks: int) -> None:
    path = tmp_path / "zones.zarr"
    zr.build(sample_zones(25, seed=3), path, grid=BIG, key="fid", chunks=chunks)
    values = raster(np.random.default_rng(6).integers(0, 255, (100, 100)), BIG, dtype="uint8")
    table, expected = (zr.zonal_stats(store, values, stats=EVERY) for store in (path, big))
    pd.testing.assert_frame_equal(table, expected, rtol=1e-13)


def test_threads_processes_and_a_restart_give_the_same_bits(big: Path, tmp_path: Path) -> None:
    values = raster(np.random.default_rng(7).normal(size=(100, 100)), BIG)
    expected = zr.zonal_stats(big, values, stats=EVERY, executor="serial")
    for options in ({"executor": 2}, {"checkpoint": tmp_path / "kept"}) * 2:
        table = zr.zonal_stats(big, values, stats=EVERY, **options)  # type: ignore[arg-type]
        pd.testing.assert_frame_equal(table, expected, check_exact=True)
        assert table.attrs == expected.attrs


@pytest.mark.slow
def test_a_checkpoint_does_only_what_changed_and_never_serves_old_values(
    big: Path, tmp_path: Path
) -> None:
    values = np.random.default_rng(7).normal(size=(100, 100))
    kept = tmp_path / "kept"

    path = tmp_path / "values.zarr"

    def stats(values: npt.NDArray[Any], **options: Any) -> pd.DataFrame:
        opened = raster(values, BIG).to_dataset(name="value")
        if not path.is_dir():
            encoding = {"value": {"chunks": (20, 20)}}
            opened.to_zarr(path, encoding=encoding, consolidated=False)
        stored = zarr.open_array(path / "value")
        for r0, c0 in itertools.product(range(0, 100, 20), repeat=2):
            window = (slice(r0, r0 + 20), slice(c0, c0 + 20))
            if not np.array_equal(stored[window], values[window]):
                stored[window] = values[window]
        return zr.zonal_stats(big, path, checkpoint=kept, **options)

    first = stats(values)
    partials = {p.name: p.stat().st_mtime_ns for p in (kept / "partials").rglob("*.parquet")}
    assert len(partials) > 1
    pd.testing.assert_frame_equal(stats(values), first, check_exact=True)
    files = (kept / "partials").rglob("*.parquet")
    assert partials == {p.name: p.stat().st_mtime_ns for p in files}
    changed = values.copy()
    changed[0, 0] += 1
    changed[90, 90] += 1
    expected = zr.zonal_stats(big, raster(changed, BIG))
    pd.testing.assert_frame_equal(stats(changed), expected, check_exact=True)
    after = {p.name: p.stat().st_mtime_ns for p in (kept / "partials").rglob("*.parquet")}
    assert partials.items() & after.items()
    where = zr.Raster(raster(values, BIG))
    for limit in (0.0, 0.5):
        found = stats(values, where=where > limit)
        expected = zr.zonal_stats(big, raster(values, BIG), where=where > limit)
        pd.testing.assert_frame_equal(found, expected, check_exact=True)


# ---- zones -------------------------------------------------------------------------------------


def test_a_polygon_without_a_pixel_centre_is_listed(tmp_path: Path) -> None:
    zones = geopandas.GeoDataFrame(
        {"fid": [1, 2, 3]},
        geometry=[
            shapely.box(*GRID.bounds), shapely.box(500_001, 1, 500_002, 2), shapely.box(0, 0, 1, 1)
        ],
        crs=GRID.crs,
    )  # fmt: skip
    zr.build(zones, tmp_path / "zones.zarr", grid=GRID, key="fid")
    stats = ["pixels", "count", "sum", "mean", "min", "majority", "area"]
    table = zr.zonal_stats(tmp_path / "zones.zarr", raster(VALUES), stats=stats)
    assert table.index.tolist() == [1, 2, 3]
    for zone in (2, 3):
        row = table.loc[zone]
        assert row[["pixels", "count", "sum", "area_m2"]].tolist() == [0, 0, 0, 0]
        assert row[["mean", "min", "majority"]].isna().all()
    assert table.loc[1, "sum"] == 45


def test_polar_rows_have_small_but_right_areas(tmp_path: Path) -> None:
    grid = zr.Grid.from_bounds((-180, 80, 180, 90), 2, "EPSG:4326")
    ids = np.repeat([[1], [2], [3], [4], [5]], 180, axis=1)
    store = build(tmp_path / "zones.zarr", ids, grid, chunks=64)
    table = zr.zonal_stats(store, raster(np.ones((5, 180)), grid), stats=["count", "area"])
    assert table["count"].tolist() == [180] * 5
    expected = [band_area(lat, lat + 2, 360) for lat in (88, 86, 84, 82, 80)]
    assert table["area_m2"].tolist() == pytest.approx(expected, rel=1e-11)


def band_area(south: float, north: float, width: float) -> float:
    """Area between parallels of WGS 84 by quadrature of M N cos(lat), in square metres."""
    a, b = 6378137.0, 6378137.0 * (1 - 1 / 298.257223563)
    e2 = 1 - (b / a) ** 2
    nodes, weights = np.polynomial.legendre.leggauss(60)
    low, high = math.radians(south), math.radians(north)
    lat = (low + high) / 2 + (high - low) / 2 * nodes
    sine2 = e2 * np.sin(lat) ** 2
    meridian, normal = a * (1 - e2) / (1 - sine2) ** 1.5, a / np.sqrt(1 - sine2)
    integral = float((weights * meridian * normal * np.cos(lat)).sum()) * (high - low) / 2
    return math.radians(width) * integral


def test_the_area_of_one_degree_at_the_equator_is_that_of_a_quadrature(tmp_path: Path) -> None:
    grid = zr.Grid.from_bounds((0, 0, 2, 2), 1, "EPSG:4326")
    store = build(tmp_path / "zones.zarr", [[0, 0], [1, 0]], grid)
    found = zr.zonal_stats(store, stats="area", area="km2").loc[1, "area_km2"]
    assert found == pytest.approx(band_area(0, 1, 1) / 1e6, rel=1e-13)
    assert found == pytest.approx(12309, rel=1e-4)


def test_a_zone_split_at_the_antimeridian_has_both_parts(tmp_path: Path) -> None:
    grid = zr.Grid.from_bounds((-180, -10, 180, 10), 1, "EPSG:4326")
    both = shapely.union_all([shapely.box(178, -2, 180, 2), shapely.box(-180, -2, -177, 2)])
    zones = geopandas.GeoDataFrame({"fid": [9]}, geometry=[both], crs=4326)
    zr.build(zones, tmp_path / "zones.zarr", grid=grid, key="fid", chunks=64)
    columns = np.broadcast_to(np.arange(360), (20, 360))
    values = raster(columns, grid)
    table = zr.zonal_stats(
        tmp_path / "zones.zarr", values, stats=["count", "sum", "min", "max", "area"]
    )
    total = 4 * (0 + 1 + 2 + 358 + 359)
    assert table.loc[9].tolist()[:4] == [20, total, 0, 359]
    assert table.loc[9, "area_m2"] == pytest.approx(5 * band_area(-2, 2, 1), rel=1e-12)
    # A raster from 0 to 360 degrees is a whole number of pixels away: its halves change places.
    east = zr.Grid.from_bounds((0, -10, 360, 10), 1, "EPSG:4326")
    turned = raster(np.roll(columns, 180, axis=1), east)
    again = zr.zonal_stats(tmp_path / "zones.zarr", turned, stats=["count", "sum", "min", "max"])
    assert again.loc[9].tolist()[:4] == table.loc[9].tolist()[:4]
    assert again.attrs["audit"]["measures"]["value"]["outside"] == 0
    assumed = again.attrs["audit"]["assumed"]["value"]
    assert assumed["longitudes"] == "partly moved by -360 degrees"


# ---- units -------------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize(
    ("units", "amount"),
    [
        ("Mg/ha", "Mg"), ("Mg ha-1", "Mg"), ("t per hectare", "t"), ("Mg/ha/yr", "Mg_per_yr"),
        ("Mg C ha^-1", "Mg_C"),
    ],
)  # fmt: skip
def test_a_rate_per_hectare_has_no_sum_but_an_area_sum(
    store: Path, units: str, amount: str
) -> None:
    values = raster(VALUES, units=units)
    with pytest.raises(zr.ValuesError, match=r"rate per ha: ask for 'area_sum'"):
        sums(store, values)
    # Pixels are one hectare each.
    for area in (None, "m2", "km2"):
        table = zr.zonal_stats(store, values, stats=["area_sum", "area_mean"], area=area)
        assert list(table.columns) == [f"area_sum_{amount}", "area_mean"]
        assert table.to_numpy().tolist() == [[10, 2.5], [28, 7]]
        assert table.attrs["units"]["area_mean"] == units
    assert sums(store, zr.Raster(values, units="")) == [10, 28]


@pytest.mark.parametrize(
    ("units", "total"),
    [("kg m-2", 1e5), ("kg/m2", 1e5), ("people/km²", 0.1), ("people per km2", 0.1), ("W m⁻²", 1e5)],
)
def test_a_rate_per_square_metre_or_kilometre_sums_in_its_own_unit(
    store: Path, units: str, total: float
) -> None:
    table = zr.zonal_stats(store, raster(VALUES, units=units), stats=["area_sum"], area="ha")
    assert table.iloc[0, 0] == pytest.approx(total)


@pytest.mark.parametrize("units", ["Mg/pixel", "Mg px-1", "people per cell", "Mg pixel-1"])
def test_a_total_per_pixel_has_a_sum_but_no_area_sum(store: Path, units: str) -> None:
    values = raster(VALUES, units=units)
    assert sums(store, values) == [10, 28]
    for stat in ("area_sum", "area_mean"):
        with pytest.raises(zr.ValuesError, match=r"total per pixel.*ask for 'sum'"):
            zr.zonal_stats(store, values, stats=stat)


@pytest.mark.parametrize("units", ["m", "m s-1", "degC", "%", "mm/day", "m-1", "1", "kg"])
def test_other_units_have_both(store: Path, units: str) -> None:
    table = zr.zonal_stats(store, raster(VALUES, units=units), stats=["sum", "area_sum"])
    assert table.to_numpy().tolist() == [[10, 1e5], [28, 28e4]]
    of_sums = "m2" if units == "1" else f"{units} m2"
    assert table.attrs["units"] == {"sum": units, table.columns[1]: of_sums}


# ---- closure -----------------------------------------------------------------------------------


def test_the_audit_accounts_for_every_pixel(big: Path) -> None:
    ids = zr.open(big).zone.values
    values = np.random.default_rng(9).normal(size=(100, 100))
    values[values > 1] = NAN
    part = raster(values, BIG).isel(y=slice(10, 100), x=slice(0, 80))
    key = raster(np.arange(10_000).reshape(100, 100) % 5, BIG)
    table = zr.zonal_stats(
        big, part, stats=["pixels", "count", "nodata"],
        by={"class": zr.labels(key, [1, 2, 3])}, where=zr.Raster(key) != 4, zones="owned",
    )  # fmt: skip
    closed(table)
    audit, there, classes = table.attrs["audit"], np.isfinite(values), key.values
    there[:10], there[:, 80:] = False, False
    inside, kept = ids > 0, (ids > 0) & (classes != 4)
    assert audit["pixels_read"] == 10_000
    assert audit["no_zone"] == int((~inside).sum())
    assert audit["excluded"] == int((inside & (classes == 4)).sum())
    assert audit["measures"]["value"]["valid"] == int((kept & there).sum())
    assert audit["keys"]["class"]["unlisted"] == int((kept & (classes == 0)).sum())
    assert table["pixels"].sum() == kept.sum()
    assert (table["count"] + table["nodata"] == table["pixels"]).all()
    outside = kept.copy()
    outside[10:, :80] = False
    assert audit["measures"]["value"]["outside"] == int(outside.sum())


def test_areas_of_all_pixels_of_the_globe_are_the_area_of_wgs_84() -> None:
    grid = zr.GLOBAL_30M
    total = math.fsum(row_areas(grid, 0, grid.height).tolist()) * grid.width
    assert grid.width == 1_440_000
    assert total / 1e6 == pytest.approx(510_065_621.7, rel=1e-9)


def test_zonal_areas_are_those_of_the_zone_table(big: Path) -> None:
    zones = zr.zones(big).set_index("fid")
    table = zr.zonal_stats(big, stats=["pixels", "area"], zones="owned")
    assert table.index.tolist() == zones.index.tolist()
    assert table["area_m2"].tolist() == pytest.approx(zones["area_m2"].tolist(), rel=1e-12)
    assert table["pixels"].tolist() == zones["owned"].tolist()


# ---- stores that must not be believed ----------------------------------------------------------


@pytest.fixture
def copied(store: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(store, tmp_path / "copied.zarr"))


def test_a_chunk_file_that_was_changed_is_refused(copied: Path) -> None:
    chunk = copied / "zone" / "c" / "0" / "0"
    data = bytearray(chunk.read_bytes())
    data[-1] ^= 1
    chunk.write_bytes(bytes(data))
    with pytest.raises(zr.CorruptStoreError, match=r"chunk 0/0 .*not as its receipt says"):
        sums(copied, raster(VALUES))


def test_a_chunk_file_that_is_gone_is_refused(copied: Path) -> None:
    (copied / "zone" / "c" / "0" / "0").unlink()
    with pytest.raises(zr.CorruptStoreError, match=r"chunk 0/0 .*run zoneraster verify"):
        sums(copied, raster(VALUES))


def test_a_chunk_file_that_was_exchanged_for_another_is_refused(copied: Path) -> None:
    folder = copied / "zone" / "c"
    shutil.copy(folder / "0" / "0", folder / "0" / "1")
    with pytest.raises(zr.CorruptStoreError, match="not as its receipt says"):
        sums(copied, raster(VALUES))


def receipts_of(store: Path) -> list[Path]:
    return sorted(p for p in (store / LEDGER).rglob("*") if p.is_file())


def test_a_receipt_that_was_changed_is_refused(copied: Path) -> None:
    for receipt in receipts_of(copied):
        said = pq.read_table(receipt)
        place = said.column_names.index("crc32c")
        other = pa.array([n ^ 1 for n in said["crc32c"].to_pylist()], pa.uint32())
        pq.write_table(said.set_column(place, said.schema.field("crc32c"), other), receipt)
    with pytest.raises(zr.CorruptStoreError, match="not as its receipt says"):
        sums(copied, raster(VALUES))


def test_a_receipt_that_was_damaged_is_refused(copied: Path) -> None:
    for receipt in receipts_of(copied):
        data = bytearray(receipt.read_bytes())
        data[4] ^= 255
        receipt.write_bytes(bytes(data))
    with pytest.raises(zr.CorruptStoreError, match=r"receipt .* cannot be read"):
        sums(copied, raster(VALUES))


def test_a_store_without_all_receipts_is_refused_as_unfinished(copied: Path) -> None:
    receipts_of(copied)[0].unlink()
    with pytest.raises(zr.IncompleteBuildError, match=r"1 of \d+ batches .*finish the build first"):
        sums(copied, raster(VALUES))


def test_a_planned_store_is_refused_as_unfinished(tmp_path: Path) -> None:
    zr.plan(zones_of(CLASSES), tmp_path / "zones.zarr", grid=GRID, key="fid", chunks=2)
    with pytest.raises(zr.IncompleteBuildError, match="have no receipt"):
        sums(tmp_path / "zones.zarr", raster(VALUES))


def test_other_pixel_counts_than_the_builds_are_refused(copied: Path) -> None:
    path = copied / "zones.parquet"
    table = pq.read_table(path)
    place = table.column_names.index("owned")
    owned = table["owned"].to_numpy().copy()
    owned[1] += 1
    pq.write_table(table.set_column(place, table.schema.field("owned"), pa.array(owned)), path)
    with pytest.raises(
        zr.ClosureError, match=r"1 zones have other .*zone 2 \(id\): 4 instead of 5"
    ):
        sums(copied, raster(VALUES))


@pytest.mark.parametrize("name", ["nothing.zarr", "nothing", "nothing.tif"])
def test_a_store_that_is_not_there_is_a_clean_error(tmp_path: Path, name: str) -> None:
    with pytest.raises(zr.ZonerasterError, match=name):
        sums(tmp_path / name, raster(VALUES))
    (tmp_path / name).mkdir()
    with pytest.raises(zr.ZonerasterError, match=name):
        sums(tmp_path / name, raster(VALUES))


def test_a_zarr_group_without_zones_is_a_clean_error(tmp_path: Path) -> None:
    raster(VALUES).to_dataset(name="height").to_zarr(tmp_path / "other.zarr", consolidated=False)
    with pytest.raises(zr.ZonerasterError, match=r"other\.zarr has no variable 'zone'.*height"):
        sums(tmp_path / "other.zarr", raster(VALUES))
