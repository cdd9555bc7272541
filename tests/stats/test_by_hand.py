"""Statistics of rasters of nine pixels, with the answers typed in by hand."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import xarray as xr

import zoneraster as zr
from tests.stats.samples import CLASSES, GRID, VALUES, build, moved, raster, write_zones
from zoneraster._values.raster import Predicate

NAN, INF = math.nan, math.inf
COVER = [[0, 10, 20], [30, 40, 50], [60, 70, 80]]
HALF = [[0, 0, 1], [0, 0, 1], [0, 0, 1]]
DTYPES = ["uint8", "int8", "int16", "uint16", "int32", "uint32", "int64", "float32", "float64"]
SUM_OF_SQUARES = zr.Stat(
    "squares",
    init=lambda: (0.0,),
    update=lambda s, x, a: (s[0] + float((x.astype(float) ** 2).sum()),),
    combine=lambda s, t: (s[0] + t[0],),
    finalize=lambda s: s[0],
)
HECTARES = zr.Stat(
    "hectares",
    init=lambda: (0.0,),
    update=lambda s, x, a: (s[0] + float(a.sum()) / 1e4,),
    combine=lambda s, t: (s[0] + t[0],),
    finalize=lambda s: s[0],
)


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Zone 1 holds the values 1, 2, 3, 4 and zone 2 the values 5, 6, 8, 9."""
    return build(tmp_path_factory.mktemp("hand") / "zones.zarr")


@pytest.fixture(scope="module")
def countries(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Four zones: 1, 2, 4 and 3 and 5, 6, 9 and 7."""
    path = tmp_path_factory.mktemp("hand") / "countries.zarr"
    return build(
        path, [[1, 1, 2], [1, 3, 3], [4, 0, 3]], country=list("AABB"), kind=list("xyxx"),
        name=["Aix", "Ayr", "Bex", "Bix"],
    )  # fmt: skip


# ---- each statistic ----------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(
    ("stat", "expected"),
    [
        ("pixels", [4, 4]),
        ("count", [4, 4]),
        ("valid", [4, 4]),
        ("nodata", [0, 0]),
        ("sum", [10, 28]),
        ("mean", [2.5, 7]),
        ("min", [1, 5]),
        ("max", [4, 9]),
        ("range", [3, 4]),
        ("var", [1.25, 2.5]),
        ("std", [math.sqrt(1.25), math.sqrt(2.5)]),
        ("median", [2.5, 7]),
        ("q0.25", [1.75, 5.75]),
        ("q0", [1, 5]),
        ("q1", [4, 9]),
        ("majority", [1, 5]),
        ("minority", [1, 5]),
        ("variety", [4, 4]),
        ("area", [40_000, 40_000]),
        ("area_sum", [100_000, 280_000]),
        ("area_mean", [2.5, 7]),
    ],
)
def test_each_statistic_of_the_numbers_from_one_to_nine(
    store: Path, stat: str, expected: list[float], dtype: str
) -> None:
    table = zr.zonal_stats(store, raster(VALUES, dtype=dtype), stats=stat)
    column = f"{stat}_m2" if stat in {"area", "area_sum"} else stat
    assert list(table.columns) == [column]
    assert table.index.name == "fid"
    assert table.index.tolist() == [1, 2]
    # All but variances and deviations are exact.
    rounding = 1e-15 if stat in {"var", "std"} else 0
    assert table[column].tolist() == pytest.approx(expected, rel=rounding, abs=0)


def test_the_default_is_count_sum_and_mean(store: Path) -> None:
    table = zr.zonal_stats(store, raster(VALUES))
    assert list(table.columns) == ["count", "sum", "mean"]
    assert table.to_numpy().tolist() == [[4, 10, 2.5], [4, 28, 7]]
    assert table["sum"].dtype == np.int64


@pytest.mark.parametrize(
    ("area", "areas", "sums"),
    [
        (None, [40_000, 40_000], [100_000, 280_000]),
        ("m2", [40_000, 40_000], [100_000, 280_000]),
        ("ha", [4, 4], [10, 28]),
        ("km2", [0.04, 0.04], [0.1, 0.28]),
    ],
)
def test_areas_in_each_unit(
    store: Path, area: str | None, areas: list[float], sums: list[float]
) -> None:
    table = zr.zonal_stats(
        store, raster(VALUES), stats=["area", "area_sum", "area_mean"], area=area
    )
    unit = area or "m2"
    assert table[f"area_{unit}"].tolist() == pytest.approx(areas, rel=1e-15)
    assert table[f"area_sum_{unit}"].tolist() == pytest.approx(sums, rel=1e-15)
    assert table.attrs["units"] == {f"area_{unit}": unit, f"area_sum_{unit}": unit}
    assert table["area_mean"].tolist() == pytest.approx([2.5, 7], rel=1e-15)


def test_area_weights_on_a_geographic_grid_are_those_of_the_sphere(tmp_path: Path) -> None:
    # Rows between 90, 60, 30 and 0 degrees north, columns of 30 degrees, on a sphere of 1000 m.
    grid = zr.Grid.from_bounds((0, 0, 90, 90), 30, "+proj=longlat +R=1000")
    store = build(tmp_path / "zones.zarr", [[1, 1, 1], [1, 1, 1], [2, 2, 2]], grid)
    values = [[8, 8, 8], [2, 2, 2], [1, 2, 3]]
    table = zr.zonal_stats(store, raster(values, grid), stats=["area", "area_sum", "area_mean"])
    zone = 1e6 * math.pi / 2  # area = R^2 (pi / 2) (sin north - sin south)
    root = math.sqrt(3) / 2
    area_1, area_2 = zone * 0.5, zone * 0.5
    assert table["area_m2"].tolist() == pytest.approx([area_1, area_2], rel=1e-14)
    total = 8 * zone * (1 - root) + 2 * zone * (root - 0.5)
    assert table["area_sum_m2"].tolist() == pytest.approx([total, 2 * area_2], rel=1e-14)
    assert table["area_mean"].tolist() == pytest.approx([total / area_1, 2], rel=1e-14)


@pytest.mark.parametrize("dtype", DTYPES)
def test_classes_have_majority_minority_variety_histogram_and_fractions(
    store: Path, dtype: str
) -> None:
    stats = ["majority", "minority", "variety", "histogram", "fractions"]
    table = zr.zonal_stats(store, raster(CLASSES, dtype=dtype), stats=stats)
    # Zone 1 holds 1, 1, 2, 2 and zone 2 holds 2, 2, 1, 3: of ties the smallest value.
    assert table["majority"].tolist() == [1, 2]
    assert table["minority"].tolist() == [1, 1]
    assert table["variety"].tolist() == [2, 3]
    assert table.filter(like="histogram_").to_dict("list") == {
        "histogram_1": [2, 1], "histogram_2": [2, 2], "histogram_3": [0, 1],
    }  # fmt: skip
    assert table.filter(like="fractions_").to_dict("list") == {
        "fractions_1": [0.5, 0.25], "fractions_2": [0.5, 0.5], "fractions_3": [0, 0.25],
    }  # fmt: skip


def test_ties_go_to_the_smallest_of_negative_values_too(store: Path) -> None:
    for dtype in ("int16", "float64"):
        values = raster([[-2, -2, 3], [3, 0, -1], [0, 0, -1]], dtype=dtype)
        table = zr.zonal_stats(store, values, stats=["majority", "minority"])
        assert table["majority"].tolist() == [-2, -1]
        assert table["minority"].tolist() == [-2, -1]


def test_a_histogram_names_large_and_fractional_values_in_full(store: Path) -> None:
    values = raster([[1234567, 1234567, 1234568], [1234568, 0, 0], [0, 0, 0]], dtype="int32")
    table = zr.zonal_stats(store, values, stats="histogram")
    assert table.to_dict("list") == {
        "histogram_0": [0, 4], "histogram_1234567": [2, 0], "histogram_1234568": [2, 0],
    }  # fmt: skip
    halves = raster([[0.5, 0.5, 2], [2, -1, -1], [0, -1, -1]])
    table = zr.zonal_stats(store, halves, stats="histogram")
    assert list(table.columns) == ["histogram_-1", "histogram_0.5", "histogram_2"]


def test_a_statistic_of_your_own_gets_values_and_areas(store: Path) -> None:
    stats = ["count", SUM_OF_SQUARES, HECTARES]
    values = raster([[1, 2, 3], [4, 5, 6], [7, 8, 255]], dtype="uint8", _FillValue=255)
    for executor in ("serial", 2):
        table = zr.zonal_stats(store, values, stats=stats, executor=executor)
        assert table["squares"].tolist() == [1 + 4 + 9 + 16, 25 + 36 + 64]
        assert table["hectares"].tolist() == [4, 3]
        assert list(table.columns) == ["count", "squares", "hectares"]


def test_a_statistic_of_your_own_that_sees_nothing_is_finalized_all_the_same(store: Path) -> None:
    values = raster(np.full((3, 3), NAN))
    assert zr.zonal_stats(store, values, stats=SUM_OF_SQUARES)["squares"].tolist() == [0, 0]


# ---- values that are none ----------------------------------------------------------------------


EVERY = [
    "pixels", "count", "nodata", "sum", "mean", "min", "max", "range", "var", "median", "majority",
    "minority", "variety", "area", "area_sum", "area_mean",
]  # fmt: skip
# 2, 3, 4 in zone 1 and 6, 8, 9 in zone 2.
WITHOUT_1_AND_5 = {
    "pixels": [4, 4], "count": [3, 3], "nodata": [1, 1], "sum": [9, 23], "mean": [3, 23 / 3],
    "min": [2, 6], "max": [4, 9], "range": [2, 3], "var": [2 / 3, 14 / 9], "median": [3, 8],
    "majority": [2, 6], "minority": [2, 6], "variety": [3, 3], "area_m2": [3e4, 3e4],
    "area_sum_m2": [9e4, 23e4], "area_mean": [3, 23 / 3],
}  # fmt: skip


def check(table: Any, expected: dict[str, list[float]]) -> None:
    assert list(table.columns) == list(expected)
    for name, numbers in expected.items():
        assert table[name].tolist() == pytest.approx(numbers, rel=1e-14, nan_ok=True), name


@pytest.mark.parametrize("dtype", DTYPES)
def test_a_declared_nodata_value_counts_for_nothing(store: Path, dtype: str) -> None:
    values = raster([[7, 2, 3], [4, 7, 6], [1, 8, 9]], dtype=dtype, _FillValue=7)
    check(zr.zonal_stats(store, values, stats=EVERY), WITHOUT_1_AND_5)


def test_a_nodata_value_given_with_the_layer_counts_for_nothing(store: Path) -> None:
    values = zr.Raster(raster([[7, 2, 3], [4, 7, 6], [1, 8, 9]]), nodata=7)
    check(zr.zonal_stats(store, values, stats=EVERY), WITHOUT_1_AND_5)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_nan_counts_for_nothing(store: Path, dtype: str) -> None:
    values = raster([[NAN, 2, 3], [4, NAN, 6], [1, 8, 9]], dtype=dtype)
    check(zr.zonal_stats(store, values, stats=EVERY), WITHOUT_1_AND_5)


def test_nan_and_a_nodata_value_both_count_for_nothing(store: Path) -> None:
    values = raster([[NAN, 2, 3], [4, -1, 6], [1, 8, 9]], _FillValue=-1.0)
    check(zr.zonal_stats(store, values, stats=EVERY), WITHOUT_1_AND_5)


def test_a_zone_without_a_value_has_count_0_and_nan(store: Path) -> None:
    values = raster([[NAN, NAN, NAN], [NAN, 5, 6], [7, 8, 9]])
    table = zr.zonal_stats(store, values, stats=[*EVERY, "std", "q0.1", "fractions"])
    row = table.loc[1]
    zero = ["count", "sum", "variety", "area_m2", "area_sum_m2"]
    assert row[zero].tolist() == [0] * 5
    assert row["pixels"] == row["nodata"] == 4
    assert row.drop([*zero, "pixels", "nodata"]).isna().all()
    assert table.loc[2, "sum"] == 28


def test_infinite_values_are_values(store: Path) -> None:
    stats = ["count", "sum", "mean", "min", "max", "range", "median", "majority", "variety"]
    table = zr.zonal_stats(store, raster([[INF, 2, 3], [4, -INF, 6], [7, 8, INF]]), stats=stats)
    assert table.loc[1].tolist() == [4, INF, INF, 2, INF, INF, 3.5, 2, 4]
    both = table.loc[2]
    assert both[["count", "min", "max", "range", "median", "variety"]].tolist() == [
        4, -INF, INF, INF, 7, 4,
    ]  # fmt: skip
    assert both[["sum", "mean"]].isna().all()


def test_minus_zero_and_zero_are_one_value(store: Path) -> None:
    values = raster([[0.0, -0.0, 1], [1, -0.0, 1], [0, 1, 1]])
    table = zr.zonal_stats(store, values, stats=["variety", "majority", "histogram"])
    assert table["variety"].tolist() == [2, 2]
    assert table["majority"].tolist() == [0, 1]
    assert table["histogram_0"].tolist() == [2, 1]


def test_scale_and_offset_are_applied_unless_the_layer_is_raw(store: Path) -> None:
    values = raster(VALUES, dtype="int16", scale_factor=0.5, add_offset=10.0, _FillValue=9)
    assert zr.zonal_stats(store, values, stats="sum")["sum"].tolist() == [45, 39.5]
    raw = zr.Raster(values, raw=True)
    assert zr.zonal_stats(store, raw, stats="sum")["sum"].tolist() == [10, 19]


# ---- several measures and dimensions -----------------------------------------------------------


def test_two_measures_have_their_names_in_front(store: Path) -> None:
    values = {"height": raster(VALUES), "cover": raster(COVER)}
    table = zr.zonal_stats(store, values, stats=["sum", "max"])
    assert table.to_dict("list") == {
        "height_sum": [10, 28], "height_max": [4, 9], "cover_sum": [60, 240], "cover_max": [30, 80],
    }  # fmt: skip


def test_a_dataset_gives_one_measure_per_variable(store: Path) -> None:
    values = xr.Dataset({"height": raster(VALUES), "cover": raster(COVER)})
    table = zr.zonal_stats(store, values, stats="sum")
    assert table.to_dict("list") == {"height_sum": [10, 28], "cover_sum": [60, 240]}


def test_an_extra_dimension_becomes_a_level_of_the_index(store: Path) -> None:
    years = raster([VALUES, COVER], dims=("year",), coords={"year": [2001, 2002]})
    table = zr.zonal_stats(store, years, stats="sum")
    assert table.index.names == ["fid", "year"]
    assert table["sum"].to_dict() == {(1, 2001): 10, (1, 2002): 60, (2, 2001): 28, (2, 2002): 240}
    assert zr.zonal_stats(store, zr.Raster(raster(VALUES)), stats="sum").index.names == ["fid"]


# ---- layers of zones ---------------------------------------------------------------------------

# Zone 1 holds 1, 2, 4, 5 and zone 2 holds 2, 3, 5, 6, 8, 9: they share 2 and 5.
LAYERS = [
    [[1, 1, 0], [1, 1, 0], [0, 0, 0]],
    [[0, 2, 2], [0, 2, 2], [0, 2, 2]],
]


@pytest.mark.parametrize("chunks", [(1, 3, 3), (1, 2, 2), (2, 2, 2), (2, 1, 3)])
@pytest.mark.parametrize("zarr_format", [2, 3])
def test_overlapping_zones_in_layers_are_each_exact(
    tmp_path: Path, chunks: tuple[int, ...], zarr_format: int
) -> None:
    ids = np.array(LAYERS, "uint16")
    path = write_zones(tmp_path / "layers.zarr", ids, chunks=chunks, zarr_format=zarr_format)
    table = zr.zonal_stats(path, raster(VALUES), stats=["pixels", "sum", "max", "median", "area"])
    assert table.index.name == "zone_id"
    assert table.index.tolist() == [1, 2]
    assert table.to_dict("list") == {
        "pixels": [4, 6], "sum": [12, 33], "max": [5, 9], "median": [3, 5.5],
        "area_m2": [4e4, 6e4],
    }  # fmt: skip
    by = zr.zonal_stats(path, raster(VALUES), stats="sum", by={"half": raster(HALF)})
    assert by["sum"].to_dict() == {(1, 0): 12, (2, 0): 15, (2, 1): 18}
    where = zr.zonal_stats(path, raster(VALUES), stats="sum", where=zr.Raster(raster(COVER)) >= 40)
    assert where["sum"].to_dict() == {1: 5, 2: 28}


def test_one_zone_may_lie_in_several_layers(tmp_path: Path) -> None:
    ids = np.array([[[1, 0, 0]] * 3, [[2, 1, 0]] * 3], "uint8")
    path = write_zones(tmp_path / "layers.zarr", ids)
    table = zr.zonal_stats(path, raster(VALUES), stats=["count", "sum"])
    assert table.to_dict("list") == {"count": [6, 3], "sum": [12 + 15, 12]}


def test_a_zone_table_beside_layers_gives_attributes_and_zones_without_a_pixel(
    tmp_path: Path,
) -> None:
    path = write_zones(tmp_path / "layers.zarr", np.array(LAYERS, "int32"))
    zones = pa.table(
        {"zone_id": pa.array([1, 2, 3], pa.uint32()), "name": ["a", "b", "c"], "kind": list("xxy")}
    )
    pq.write_table(zones, path / "zones.parquet")
    table = zr.zonal_stats(path, raster(VALUES), stats=["count", "mean"], attributes=["name"])
    assert table.index.tolist() == [1, 2, 3]
    assert table["name"].tolist() == ["a", "b", "c"]
    assert table["count"].tolist() == [4, 6, 0]
    assert table["mean"].tolist() == pytest.approx([3, 5.5, NAN], nan_ok=True)
    rolled = zr.zonal_stats(path, raster(VALUES), stats="sum", roll_up="kind")
    # Pixels of both layers count, those under two zones twice.
    assert rolled["sum"].to_dict() == {"x": 45, "y": 0}


def test_an_array_without_layers_and_without_a_table_works(tmp_path: Path) -> None:
    path = write_zones(tmp_path / "flat.zarr", np.array([[5, 5, 0], [5, 9, 9], [0, 0, 9]], "int64"))
    table = zr.zonal_stats(path, raster(VALUES), stats=["count", "sum"])
    assert table.to_dict("index") == {5: {"count": 3, "sum": 7}, 9: {"count": 3, "sum": 20}}


def test_an_array_without_any_zone_gives_an_empty_table(tmp_path: Path) -> None:
    path = write_zones(tmp_path / "none.zarr", np.zeros((3, 3), "uint8"))
    table = zr.zonal_stats(path, raster(VALUES), stats=["count", "median", "histogram"])
    assert len(table) == 0


# ---- keys --------------------------------------------------------------------------------------


def test_a_key_splits_zones_by_its_labels(store: Path) -> None:
    table = zr.zonal_stats(store, raster(VALUES), stats="sum", by={"class": raster(CLASSES)})
    assert table.index.names == ["fid", "class"]
    assert table["sum"].to_dict() == {(1, 1): 3, (1, 2): 7, (2, 1): 8, (2, 2): 11, (2, 3): 9}


@pytest.mark.parametrize("dtype", ["uint8", "int16", "int32", "int64", "float32"])
def test_two_keys_split_zones_by_their_combinations(store: Path, dtype: str) -> None:
    by = {"class": raster(CLASSES, dtype=dtype), "half": raster(HALF)}
    table = zr.zonal_stats(store, raster(VALUES), stats=["pixels", "sum", "median"], by=by)
    assert table.index.names == ["fid", "class", "half"]
    assert table["sum"].to_dict() == {
        (1, 1, 0): 3, (1, 2, 0): 4, (1, 2, 1): 3,
        (2, 1, 0): 8, (2, 2, 0): 5, (2, 2, 1): 6, (2, 3, 1): 9,
    }  # fmt: skip
    assert table["pixels"].tolist() == [2, 1, 1, 1, 1, 1, 1]
    assert table["median"].tolist() == [1.5, 4, 3, 8, 5, 6, 9]


def test_thresholds_are_cumulative_and_the_audit_tells_what_lies_below(store: Path) -> None:
    by = {"cover": zr.thresholds(raster(COVER), [50, 10, 30])}
    table = zr.zonal_stats(store, raster(VALUES), stats=["count", "sum", "min"], by=by)
    assert table.to_dict("index") == {
        (1, 10): {"count": 3, "sum": 9, "min": 2},
        (1, 30): {"count": 1, "sum": 4, "min": 4},
        (2, 10): {"count": 4, "sum": 28, "min": 5},
        (2, 30): {"count": 4, "sum": 28, "min": 5},
        (2, 50): {"count": 3, "sum": 23, "min": 6},
    }
    assert table.attrs["audit"]["keys"]["cover"] == {"nodata": 0, "unlisted": 0, "below": 1}


def test_a_threshold_is_reached_by_a_pixel_equal_to_it_and_nodata_has_its_own_row(
    store: Path,
) -> None:
    cover = raster([[NAN, 0.5, 1], [1, NAN, 0], [0, 2, 2]])
    by = {"cover": zr.thresholds(cover, [0.5, 1])}
    table = zr.zonal_stats(store, raster(VALUES), stats="sum", by=by)
    assert table["sum"].to_dict() == {
        (1, -1): 1, (1, 0.5): 9, (1, 1): 7, (2, -1): 5, (2, 0.5): 17, (2, 1): 17,
    }  # fmt: skip
    assert table.attrs["audit"]["keys"]["cover"] == {"nodata": 2, "unlisted": 0, "below": 1}


def test_numbers_are_compared_as_precisely_as_the_raster_stores_them(store: Path) -> None:
    # None of these is the same in float32 and float64.
    tenths = raster([[0.1, 0.3, 0.7], [0.7, 0.1, 0.1], [0, 0.7, 0.7]], dtype="float32")
    layer = zr.Raster(tenths)
    thresholds = {"class": zr.thresholds(tenths, [0.1, 0.7])}
    labels = {"class": zr.labels(tenths, [0.1, 0.3, 0.7])}
    assert zr.zonal_stats(store, raster(VALUES), stats="sum", by=thresholds)["sum"].to_dict() == {
        (1, 0.1): 10, (1, 0.7): 7, (2, 0.1): 28, (2, 0.7): 17,
    }  # fmt: skip
    assert zr.zonal_stats(store, raster(VALUES), stats="sum", by=labels)["sum"].to_dict() == {
        (1, 0.1): 1, (1, 0.3): 2, (1, 0.7): 7, (2, 0.1): 11, (2, 0.7): 17,
    }  # fmt: skip
    for where in (layer >= 0.7, layer == 0.7, layer.isin([0.7])):
        table = zr.zonal_stats(store, raster(VALUES), stats="sum", where=where)
        assert table["sum"].tolist() == [7, 17]


def test_two_cumulative_keys_multiply(store: Path) -> None:
    by = {
        "cover": zr.thresholds(raster(COVER), [0, 40]),
        "height": zr.thresholds(raster(VALUES), [1, 6]),
    }
    table = zr.zonal_stats(store, raster(VALUES), stats="count", by=by)
    assert table["count"].to_dict() == {
        (1, 0, 1): 4, (2, 0, 1): 4, (2, 0, 6): 3, (2, 40, 1): 4, (2, 40, 6): 3,
    }  # fmt: skip


def test_labels_that_are_not_listed_are_called_minus_2(store: Path) -> None:
    by = {"class": zr.labels(raster(CLASSES), [2, 1])}
    table = zr.zonal_stats(store, raster(VALUES), stats="sum", by=by)
    assert table["sum"].to_dict() == {(1, 1): 3, (1, 2): 7, (2, 1): 8, (2, 2): 11, (2, -2): 9}
    assert table.attrs["audit"]["keys"]["class"] == {"nodata": 0, "unlisted": 1, "below": 0}


def test_pixels_without_a_label_are_called_minus_1(store: Path) -> None:
    by = {"class": zr.labels(raster(CLASSES, _FillValue=3), [1])}
    table = zr.zonal_stats(store, raster(VALUES), stats="sum", by=by)
    assert table["sum"].to_dict() == {(1, 1): 3, (1, -2): 7, (2, 1): 8, (2, -2): 11, (2, -1): 9}
    assert table.attrs["audit"]["keys"]["class"] == {"nodata": 1, "unlisted": 2 + 2, "below": 0}


def test_buckets_may_have_other_numbers(store: Path) -> None:
    by = {"class": zr.labels(raster(CLASSES, _FillValue=3), [1], nodata=255, unlisted=99)}
    table = zr.zonal_stats(store, raster(VALUES), stats="sum", by=by)
    assert table["sum"].to_dict() == {(1, 1): 3, (1, 99): 7, (2, 1): 8, (2, 99): 11, (2, 255): 9}


def test_labels_have_names(store: Path) -> None:
    by = {"class": zr.labels(raster(CLASSES, _FillValue=3), {1: "forest"})}
    table = zr.zonal_stats(store, raster(VALUES), stats="sum", by=by)
    assert table["sum"].to_dict() == {
        (1, "forest"): 3, (1, "unlisted"): 7,
        (2, "forest"): 8, (2, "unlisted"): 11, (2, "nodata"): 9,
    }  # fmt: skip


def test_labels_that_are_refused_stop_the_call(store: Path) -> None:
    by = {"class": zr.labels(raster(CLASSES), [1, 2], unlisted="error")}
    with pytest.raises(zr.ValuesError, match="has the label 3, which is not listed, in zone"):
        zr.zonal_stats(store, raster(VALUES), by=by)
    by = {"class": zr.labels(raster(CLASSES, _FillValue=3), nodata="error")}
    with pytest.raises(zr.ValuesError, match="no value in zone 2"):
        zr.zonal_stats(store, raster(VALUES), by=by)
    by = {"class": zr.labels(raster(CLASSES), [1, 2, 3], nodata="error", unlisted="error")}
    assert len(zr.zonal_stats(store, raster(VALUES), by=by)) == 5


# ---- predicates --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("condition", "sums"),
    [
        (lambda c: c >= 30, [4, 28]),
        (lambda c: c > 30, [0, 28]),
        (lambda c: c <= 20, [6, 0]),
        (lambda c: c < 20, [3, 0]),
        (lambda c: c == 20, [3, 0]),
        (lambda c: c != 20, [7, 28]),
        (lambda c: 30 <= c, [4, 28]),  # noqa: SIM300
        (lambda c: c.isin([0, 10, 80]), [3, 9]),
        (lambda c: (c >= 10) & (c <= 50), [9, 11]),
        (lambda c: (c < 10) | (c > 70), [1, 9]),
        (lambda c: ~(c >= 30), [6, 0]),
        (lambda c: ~((c < 10) | (c > 70)) & (c != 50), [9, 13]),
        (lambda c: c.is_valid(), [10, 28]),
        (lambda c: c >= 1000, [0, 0]),
        (lambda c: c > -1, [10, 28]),
    ],
)
@pytest.mark.parametrize("dtype", ["uint8", "int16", "float32"])
def test_a_predicate_chooses_pixels(
    store: Path, condition: Callable[[zr.Raster], Predicate], sums: list[int], dtype: str
) -> None:
    where = condition(zr.Raster(raster(COVER, dtype=dtype)))
    table = zr.zonal_stats(store, raster(VALUES), stats=["sum", "count", "pixels"], where=where)
    assert table["sum"].tolist() == sums
    assert table["count"].tolist() == table["pixels"].tolist()
    audit = table.attrs["audit"]
    assert audit["in_zones"] == 8
    assert audit["excluded"] == 8 - table["pixels"].sum()


@pytest.mark.parametrize(
    ("condition", "sums"),
    [
        (lambda c: c >= 0, [9, 20]),
        (lambda c: c != 20, [6, 20]),
        (lambda c: ~(c == 20), [7, 28]),
        (lambda c: c.is_valid(), [9, 20]),
        (lambda c: ~c.is_valid(), [1, 8]),
        (lambda c: c.isin([255, 20]), [3, 0]),
    ],
)
def test_a_comparison_is_false_without_a_value_and_its_negation_true(
    store: Path, condition: Callable[[zr.Raster], Predicate], sums: list[int]
) -> None:
    # The values 1 and 8 lie under pixels without a cover.
    cover = raster([[255, 10, 20], [30, 40, 50], [60, 255, 80]], dtype="uint8", _FillValue=255)
    table = zr.zonal_stats(store, raster(VALUES), stats="sum", where=condition(zr.Raster(cover)))
    assert table["sum"].tolist() == sums


def test_the_audit_tells_what_is_left_out_from_what_is_not_known(store: Path) -> None:
    # In zones lie 10, 20, 30, 40, 50, 80, and two pixels without a cover.
    cover = zr.Raster(
        raster([[255, 10, 20], [30, 40, 50], [60, 255, 80]], dtype="uint8", _FillValue=255)
    )

    def said(where: Predicate) -> tuple[int, int]:
        audit = zr.zonal_stats(store, raster(VALUES), where=where).attrs["audit"]
        return audit["excluded"], audit["excluded_without_value"]

    assert said(cover >= 30) == (4, 2)
    assert said(cover > 255) == (8, 2)
    # A condition that holds is known to hold, whatever else has no value.
    assert said((cover >= 30) | (zr.Raster(raster(HALF)) >= 0)) == (0, 0)
    assert said(~(cover >= 30)) == (4, 0)
    # Beyond its edge a raster has no value either.
    part = zr.Raster(moved([[10, 20], [40, 50], [0, 80]], cols=1))
    assert said(part >= 30) == (5, 2)


def test_predicates_of_several_layers_and_keys_go_together(store: Path) -> None:
    where = (zr.Raster(raster(COVER)) >= 20) & (zr.Raster(raster(HALF)) == 0)
    table = zr.zonal_stats(
        store, raster(VALUES), stats="sum", where=where, by={"class": raster(CLASSES)}
    )
    assert table["sum"].to_dict() == {(1, 2): 4, (2, 1): 8, (2, 2): 5}
    assert table.attrs["audit"]["excluded"] == 5


# ---- the zone table ----------------------------------------------------------------------------


def test_roll_up_by_one_attribute(countries: Path) -> None:
    stats = ["pixels", "sum", "mean", "min", "max", "var", "median", "majority", "variety", "area"]
    table = zr.zonal_stats(countries, raster(VALUES), stats=stats, roll_up="country", area="ha")
    # A: 1, 2, 3, 4; B: 5, 6, 7, 9.
    assert table.index.name == "country"
    a, b = (
        pytest.approx(numbers, rel=1e-15)
        for numbers in (
            [4, 10, 2.5, 1, 4, 1.25, 2.5, 1, 4, 4],
            [4, 27, 6.75, 5, 9, 2.1875, 6.5, 5, 4, 4],
        )
    )
    assert table.loc["A"].tolist() == a
    assert table.loc["B"].tolist() == b


def test_roll_up_by_two_attributes(countries: Path) -> None:
    stats = ["sum", SUM_OF_SQUARES]
    table = zr.zonal_stats(countries, raster(VALUES), stats=stats, roll_up=["country", "kind"])
    assert table.index.names == ["country", "kind"]
    assert table["sum"].to_dict() == {("A", "x"): 7, ("A", "y"): 3, ("B", "x"): 27}
    assert table["squares"].tolist() == [21, 9, 25 + 36 + 49 + 81]


def test_roll_up_and_keys_go_together(countries: Path) -> None:
    by = {"cover": zr.thresholds(raster(COVER), [20, 50])}
    table = zr.zonal_stats(countries, raster(VALUES), stats="sum", roll_up="country", by=by)
    assert table["sum"].to_dict() == {("A", 20): 7, ("B", 20): 27, ("B", 50): 22}


def test_zones_without_an_attribute_are_rolled_up_together(tmp_path: Path) -> None:
    ids = [[1, 1, 2], [1, 3, 3], [4, 0, 3]]
    store = build(tmp_path / "zones.zarr", ids, country=["A", None, "A", None])
    table = zr.zonal_stats(store, raster(VALUES), stats="sum", roll_up="country")
    assert table["sum"].tolist() == [27, 10]
    assert table.index.isna().tolist() == [False, True]


def test_attributes_stand_before_statistics(countries: Path) -> None:
    table = zr.zonal_stats(
        countries, raster(VALUES), stats="sum", attributes=["name", "country"],
        by={"half": raster(HALF)},
    )  # fmt: skip
    assert list(table.columns) == ["name", "country", "sum"]
    assert table.reset_index().to_numpy().tolist() == [
        [1, 0, "Aix", "A", 7], [2, 1, "Ayr", "A", 3],
        [3, 0, "Bex", "B", 5], [3, 1, "Bex", "B", 15], [4, 0, "Bix", "B", 7],
    ]  # fmt: skip


def test_without_values_there_are_pixels_and_areas(countries: Path) -> None:
    table = zr.zonal_stats(countries, stats=["pixels", "count", "area"], area="km2")
    assert table.to_dict("list") == {
        "pixels": [3, 1, 4 - 1, 1], "count": [3, 1, 3, 1], "area_km2": [0.03, 0.01, 0.03, 0.01],
    }  # fmt: skip
    by = {"class": raster(CLASSES)}
    table = zr.zonal_stats(countries, stats="count", by=by, roll_up="country")
    assert table["count"].to_dict() == {("A", 1): 2, ("A", 2): 2, ("B", 2): 2, ("B", 3): 2}
    where = zr.Raster(raster(COVER)) > 10
    assert zr.zonal_stats(countries, stats="area", where=where)["area_m2"].tolist() == [
        1e4, 1e4, 3e4, 1e4,
    ]  # fmt: skip


def test_a_key_finer_than_the_store_counts_parts_of_pixels(store: Path) -> None:
    fine = np.repeat(np.repeat(np.array(CLASSES), 2, axis=0), 2, axis=1)
    fine[0, 0] = 7
    grid = zr.Grid.from_bounds(GRID.bounds, 50, GRID.crs)
    table = zr.zonal_stats(store, stats=["count", "area"], by={"class": raster(fine, grid)})
    assert table["area_m2"].to_dict() == {
        (1, 1): 17500, (1, 2): 20000, (1, 7): 2500, (2, 1): 1e4, (2, 2): 2e4, (2, 3): 1e4,
    }  # fmt: skip
    assert table["count"].tolist() == [7, 8, 1, 4, 8, 4]
    assert table.attrs["audit"]["pixels_per_store_pixel"] == 4
