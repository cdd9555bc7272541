"""Statistics of small random rasters against plain NumPy, for every way a raster may lie."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import xarray as xr
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import zoneraster as zr
from tests.samples import sample_zones
from tests.stats.oracle import on_grid, zonal
from zoneraster._grid.areas import row_areas

STATS = [
    "pixels", "count", "valid", "nodata", "sum", "mean", "min", "max", "range", "var", "std",
    "median", "q0.1", "majority", "minority", "variety", "area", "area_sum", "area_mean",
]  # fmt: skip
GRID = zr.Grid.from_bounds((0, 0, 10, 10), "1/9", "EPSG:4326")  # 90 x 90
DTYPES = ["uint8", "int16", "uint16", "int32", "uint32", "int64", "float32", "float64"]


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("stats") / "zones.zarr"
    zr.build(sample_zones(25, seed=3), path, grid=GRID, key="fid", chunks=32)
    return path


@pytest.fixture(scope="module")
def zone_ids(store: Path) -> np.ndarray[Any, Any]:
    return zr.open(store).zone.values.astype(np.int64)


def raster_on(
    grid: zr.Grid, values: np.ndarray[Any, Any], place: tuple[int, int], ratio: str, **attrs: Any
) -> xr.DataArray:
    """Values as a DataArray with its corner at a pixel of a grid, pixels `ratio` times as wide."""
    from fractions import Fraction

    k = Fraction(ratio)
    (sx, sy), (west, north) = grid.resolution, grid.origin
    shape = values.shape[-2:]
    lattice = zr.Grid(
        grid.crs,
        (sx * k, 0, west + place[1] * sx, 0, -sy * k, north - place[0] * sy),
        shape,
    )
    dims = ("band", "time")[2 - (values.ndim - 2) :] if values.ndim > 2 else ()
    return xr.DataArray(
        values,
        coords={"latitude": lattice.y_centres(), "longitude": lattice.x_centres()},
        dims=(*dims, "latitude", "longitude"),
        attrs=attrs,
        name="value",
    )


def sample_values(
    rng: np.random.Generator, dtype: str, shape: tuple[int, int], nodata: float | None
) -> np.ndarray[Any, Any]:
    if dtype.startswith("f"):
        values = rng.normal(100, 40, shape).round(int(rng.integers(0, 4))).astype(dtype)
        values[rng.random(shape) < 0.1] = np.nan
    else:
        values = rng.integers(0, int(rng.choice([3, 60, 250])), shape).astype(dtype)
    if nodata is not None:
        values[rng.random(shape) < 0.2] = nodata
    return values


def same(table: pd.DataFrame, expected: dict[tuple[int, ...], dict[str, float]]) -> None:
    """All rows of the oracle, exactly for integers and to 1e-12 for sums of floats."""
    for group, numbers in expected.items():
        row = table.loc[group if len(group) > 1 else group[0]]
        for name, value in numbers.items():
            found = row[f"{name}_m2" if name in {"area", "area_sum"} else name]
            if name in {"area", "area_sum", "area_mean", "sum", "mean", "var", "std"}:
                wanted = pytest.approx(value, rel=1e-11, abs=1e-9, nan_ok=True)
                assert found == wanted, (group, name)
            elif np.isnan(value):
                assert np.isnan(found), (group, name)
            else:
                assert found == pytest.approx(value, rel=1e-14, abs=0), (group, name)


@pytest.mark.slow
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    dtype=st.sampled_from(DTYPES),
    ratio=st.sampled_from(["1", "1", "2", "7", "30", "1/2", "1/3"]),
    place=st.tuples(st.integers(-20, 60), st.integers(-20, 60)),
    shape=st.tuples(st.integers(1, 95), st.integers(1, 95)),
    chunks=st.tuples(st.sampled_from([5, 16, 33, 100]), st.sampled_from([7, 32, 100])),
    nodata=st.sampled_from([None, 0, 7]),
    seed=st.integers(0, 2**32 - 1),
    lazy=st.booleans(),
)
def test_any_raster_on_the_lattice_gives_what_numpy_gives(
    store: Path,
    zone_ids: np.ndarray[Any, Any],
    dtype: str,
    ratio: str,
    place: tuple[int, int],
    shape: tuple[int, int],
    chunks: tuple[int, int],
    nodata: float | None,
    seed: int,
    lazy: bool,
) -> None:
    rng = np.random.default_rng(seed)
    shape = (max(shape[0], 2), max(shape[1], 2))
    values = sample_values(rng, dtype, shape, nodata)
    attrs = {} if nodata is None else {"_FillValue": nodata}
    raster = raster_on(GRID, values, place, ratio, **attrs)
    if lazy:
        raster = raster.chunk({"latitude": chunks[0], "longitude": chunks[1]})
    fine = int(ratio.partition("/")[2] or 1)
    k = 1 if fine > 1 else int(ratio)
    canvas = (90 * fine, 90 * fine)
    big, there = on_grid(values, canvas, (place[0] * fine, place[1] * fine, k), 0)
    if not there.any():
        with pytest.raises(zr.ValuesError, match="do not meet"):
            zr.zonal_stats(store, raster)
        return
    valid = there & (big == big)
    if nodata is not None:
        valid &= big != nodata
    zones = np.repeat(np.repeat(zone_ids, fine, axis=0), fine, axis=1)
    areas = np.repeat(np.repeat(row_areas(GRID, 0, 90), fine)[:, None] / fine**2, 90 * fine, axis=1)
    if fine > 1:
        step = GRID.resolution[0] / fine
        lattice = zr.Grid(GRID.crs, (step, 0, GRID.origin[0], 0, -step, GRID.origin[1]), canvas)
        areas = np.repeat(row_areas(lattice, 0, canvas[0])[:, None], canvas[1], axis=1)
    expected = zonal(zones, big, valid, areas)
    found = zr.zonal_stats(store, raster, stats=STATS, executor="serial", zones="owned")
    same(found, expected)
    assert len(found) == 25
    audit = found.attrs["audit"]
    assert audit["in_zones"] == int((zones > 0).sum())
    assert audit["measures"]["value"]["valid"] == int((valid & (zones > 0)).sum())
    assert audit["measures"]["value"]["outside"] == int((~there & (zones > 0)).sum())
