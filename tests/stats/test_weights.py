"""Statistics by the weights of a second raster: beside exactextract and NumPy."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import exactextract
import exactextract.raster
import numpy as np
import pandas as pd
import pytest
import xarray as xr
from click.testing import CliRunner

import zoneraster as zr
from tests.stats.test_fractions import GRID, Array, build, heights, raster, zones
from zoneraster._grid import row_areas
from zoneraster.cli import main

OURS = ["weighted_sum", "weighted_mean", "weighted_var", "weighted_std"]
THEIRS = ["weighted_sum", "weighted_mean", "weighted_variance", "weighted_stdev"]


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build(tmp_path_factory.mktemp("weights") / "zones.zarr", zones(), chunks=16)


def people(seed: int = 8, grid: zr.Grid = GRID) -> Array:
    return np.random.default_rng(seed).gamma(0.5, 3.0, grid.shape)


def holes(values: Array, seed: int = 9) -> Array:
    return np.where(np.random.default_rng(seed).random(values.shape) < 0.1, np.nan, values)


def source(values: Array) -> Any:
    return exactextract.raster.NumPyRasterSource(
        values, *GRID.bounds, srs_wkt=GRID.crs.to_wkt(), nodata=np.nan
    )


def test_weights_of_covered_parts_are_those_of_exactextract(store: Path) -> None:
    values, weights = heights() / 100, people()
    table = zr.zonal_stats(
        store, raster(values), weights=raster(weights), stats=OURS, pixels="fraction"
    )
    right = exactextract.exact_extract(
        source(values), zones(), THEIRS, weights=source(weights), output="pandas"
    )
    for ours, theirs in zip(OURS, THEIRS, strict=True):
        assert np.allclose(table[ours], right[theirs], rtol=2e-5, equal_nan=True)


def test_weighted_fractions_are_those_of_exactextract(store: Path) -> None:
    values, weights = np.random.default_rng(4).integers(0, 4, GRID.shape), people()
    table = zr.zonal_stats(
        store, raster(values), weights=raster(weights), stats="weighted_frac", pixels="fraction"
    )
    right = exactextract.exact_extract(
        source(values.astype(float)), zones(), ["unique", "weighted_frac"],
        weights=source(weights), output="pandas",
    )  # fmt: skip
    found = np.zeros((len(right), 4))
    for i, row in enumerate(zip(right["unique"], right["weighted_frac"], strict=True)):
        found[i, np.asarray(row[0], int)] = row[1]
    assert np.allclose(table[[f"weighted_frac_{v}" for v in range(4)]], found, atol=1e-5)


@pytest.mark.parametrize("zones_of", ["claimed", "owned"])
def test_whole_pixels_are_weighted_as_numpy_does(store: Path, zones_of: Any) -> None:
    values, weights = heights(), holes(people())
    table = zr.zonal_stats(
        store, raster(values), weights=raster(weights), zones=zones_of, area="ha",
        stats=[*OURS, "weight_sum", "weighted_area", "weighted_area_sum", "weighted_area_mean"],
    )  # fmt: skip
    ids = {name: i for i, name in enumerate(zones()["name"], start=1)}
    claimed = zr.cells(store).read_pandas()
    owned = zr.open(store)["zone"].to_numpy()
    area = np.broadcast_to(row_areas(GRID, 0, GRID.height)[:, None], GRID.shape) / 1e4
    n_without = n_valid = total = 0.0
    for name, row in table.iterrows():
        own = np.zeros(GRID.shape, bool)
        for _, r, a, b, _ in claimed[claimed.zone_id == ids[name]].itertuples(index=False):
            own[r, a:b] = True
        own = own if zones_of == "claimed" else owned == ids[name]
        has_value, has_weight = own & (values == values), weights == weights
        x, w = values[has_value & has_weight], weights[has_value & has_weight]
        n_valid, n_without = n_valid + x.size, n_without + (has_value & ~has_weight).sum()
        total += w.sum()
        a = area[has_value & has_weight]
        assert row["weight_sum"] == pytest.approx(w.sum())
        assert row["weighted_sum"] == pytest.approx((w * x).sum())
        assert row["weighted_area_ha"] == pytest.approx((a * w).sum())
        assert row["weighted_area_sum_ha"] == pytest.approx((a * w * x).sum())
        if w.sum():
            mean = (w * x).sum() / w.sum()
            assert row["weighted_mean"] == pytest.approx(mean)
            assert row["weighted_var"] == pytest.approx((w * (x - mean) ** 2).sum() / w.sum())
            assert row["weighted_area_mean"] == pytest.approx((a * w * x).sum() / (a * w).sum())
        else:
            assert np.isnan(row["weighted_mean"])
    audit = table.attrs["audit"]["weights"]
    assert audit["assumed"]["nodata"] == []
    assert audit["measures"]["v"]["valid"] == n_valid
    assert audit["measures"]["v"]["without"] == n_without > 0
    assert audit["measures"]["v"]["total"] == pytest.approx(total)


@pytest.mark.slow
def test_weights_may_lie_on_another_lattice_and_end_inside(store: Path, tmp_path: Path) -> None:
    values, stats = heights(), ["weighted_sum", "weighted_mean", "weight_sum"]
    coarse = zr.Grid(GRID.crs, (200, 0, 500_000, 0, -200, 5_000), (25, 30))
    loads = people(grid=coarse)
    spread = np.repeat(np.repeat(loads, 2, 0), 2, 1)
    expected = zr.zonal_stats(store, raster(values), weights=raster(spread), stats=stats)
    found = zr.zonal_stats(store, raster(values), weights=raster(loads, coarse), stats=stats)
    pd.testing.assert_frame_equal(found, expected, rtol=1e-12)
    finer = zr.Grid(GRID.crs, (50, 0, 500_000, 0, -50, 5_000), (100, 120))
    fine = np.repeat(np.repeat(spread, 2, 0), 2, 1) / 4
    people_of = zr.Raster(raster(fine, finer), resample="sum")
    found = zr.zonal_stats(store, raster(values), weights=people_of, stats=stats)
    pd.testing.assert_frame_equal(found, expected, rtol=1e-6)
    with pytest.raises(zr.AlignmentError, match="resample"):
        zr.zonal_stats(store, raster(values), weights=raster(fine, finer), stats=stats)
    # As a file, in parts, and kept: the same; beyond its end there are no weights.
    part = raster(spread, name="people").isel(y=slice(0, 30), x=slice(10, None))
    part.to_dataset().to_zarr(tmp_path / "people.zarr", consolidated=False)
    masked = spread.copy()
    masked[30:] = np.nan
    masked[:, :10] = np.nan
    expected = zr.zonal_stats(store, raster(values), weights=raster(masked), stats=stats)
    for _ in range(2):
        found = zr.zonal_stats(
            store, raster(values), weights=tmp_path / "people.zarr", stats=stats,
            checkpoint=tmp_path / "kept", executor=2,
        )  # fmt: skip
        pd.testing.assert_frame_equal(found, expected, rtol=1e-12)


def test_each_lane_has_its_own_sums(store: Path) -> None:
    values = np.stack([heights(), 2 * heights()])
    coords = {"time": [1, 2], "y": GRID.y_centres(), "x": GRID.x_centres()}
    cube = xr.DataArray(values, coords=coords, dims=("time", "y", "x"), name="v")
    cube = cube.assign_attrs(crs="EPSG:32633")
    weights = raster(people())
    table = zr.zonal_stats(store, cube, weights=weights, stats=["weighted_mean", "weighted_sum"])
    first, second = (table.xs(t, level="time") for t in (1, 2))
    pd.testing.assert_frame_equal(2 * first, second, rtol=1e-12)
    kinds = cube.copy(data=(np.stack([heights(), heights() + 1]) % 3))
    table = zr.zonal_stats(store, kinds, weights=weights, stats="weighted_frac")
    one, two = (table.xs(t, level="time") for t in (1, 2))
    for v in range(3):
        pd.testing.assert_series_equal(
            one[f"weighted_frac_{v}"], two[f"weighted_frac_{(v + 1) % 3}"], check_names=False
        )


def test_what_cannot_be_weighted_says_so(store: Path) -> None:
    values, weights = raster(heights()), raster(people())
    with pytest.raises(zr.ValuesError, match="'weighted_mean' needs weights"):
        zr.zonal_stats(store, values, stats="weighted_mean")
    with pytest.warns(zr.ZonerasterWarning, match="weights= changes nothing: none of mean is"):
        zr.zonal_stats(store, values, weights=weights, stats="mean")
    with pytest.raises(zr.ValuesError, match="weights must not have"):
        zr.zonal_stats(store, values, weights=weights.expand_dims(time=[1, 2]))
    with pytest.raises(zr.ValuesError, match="needs values, and there are none"):
        zr.zonal_stats(store, weights=weights)
    coarse = zr.Grid(GRID.crs, (200, 0, 500_000, 0, -200, 5_000), (25, 30))
    per_pixel = raster(people(grid=coarse), coarse, "people").assign_attrs(units="people/pixel")
    with pytest.raises(zr.ValuesError, match="would be added several times"):
        zr.zonal_stats(store, values, weights=per_pixel)


def test_the_command_line_weights_too(store: Path, tmp_path: Path) -> None:
    raster(heights()).to_dataset().to_zarr(tmp_path / "v.zarr", consolidated=False)
    raster(holes(people()), name="w").to_dataset().to_zarr(tmp_path / "w.zarr", consolidated=False)
    arguments = ["stats", str(store), str(tmp_path / "v.zarr"), "--weights", f"{tmp_path}/w.zarr"]
    result = CliRunner().invoke(main, arguments, catch_exceptions=False)
    assert result.exit_code == 0
    expected = zr.zonal_stats(store, raster(heights()), weights=raster(holes(people())))
    assert list(expected) == ["count", "weighted_sum", "weighted_mean"]
    without = expected.attrs["audit"]["weights"]["measures"]["v"]["without"]
    assert f"{without:,.3f} without" in result.output
