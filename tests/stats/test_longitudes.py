"""Rasters from 0 to 360 degrees under stores from -180 to 180, and the other way round.

What is right is the table of the same pixels, rolled by NumPy to the longitudes of the store.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import geopandas
import numpy as np
import numpy.typing as npt
import pandas as pd
import pytest
import shapely

import zoneraster as zr
from tests.stats.samples import raster
from zoneraster.output import stats_text

STEP = 5
WIDTH, HEIGHT = 360 // STEP, 160 // STEP
STATS = ["count", "nodata", "sum", "mean", "std", "min", "max", "median", "variety"]
PLACES = {"west": (-150, -40, -60, 50), "seam": (-20, -30, 25, 40), "east": (60, -60, 170, 60)}


def values_of(seed: int = 4) -> npt.NDArray[Any]:
    rng = np.random.default_rng(seed)
    return rng.integers(0, 50, (HEIGHT, WIDTH)).astype("int16")


def globe(west: float, step: float = STEP) -> zr.Grid:
    return zr.Grid.from_bounds((west, -80, west + 360, 80), step)


def build(path: Path, grid: zr.Grid, turn: float = 0) -> Path:
    boxes = [shapely.box(a + turn, b, c + turn, d) for a, b, c, d in PLACES.values()]
    zones = geopandas.GeoDataFrame({"k": [*PLACES]}, geometry=boxes, crs=4326)
    zr.build(zones, path, grid=grid, key="k", chunks=16)
    return path


def same(one: pd.DataFrame, other: pd.DataFrame) -> None:
    pd.testing.assert_frame_equal(one, other, check_exact=True)
    assert one.attrs["audit"]["measures"] == other.attrs["audit"]["measures"]


@pytest.mark.parametrize("executor", [None, "processes"])
def test_a_raster_from_0_to_360_under_a_store_from_minus_180(
    tmp_path: Path, executor: str | None
) -> None:
    store, values = build(tmp_path / "s.zarr", globe(-180)), values_of()
    here, there = raster(values, globe(-180)), raster(np.roll(values, WIDTH // 2, 1), globe(0))
    kinds = (
        raster(values // 20, globe(-180)),
        raster(np.roll(values, WIDTH // 2, 1) // 20, globe(0)),
    )
    how: dict[str, Any] = {"stats": STATS, "executor": executor, "workers": 2}
    expected = zr.zonal_stats(store, here, **how)
    found = zr.zonal_stats(store, there, **how)
    same(found, expected)
    assumed = found.attrs["audit"]["assumed"]["value"]
    assert assumed["longitudes"] == "partly moved by -360 degrees"
    assert "longitudes partly moved by -360 degrees" in stats_text(found)
    assert "longitudes" not in expected.attrs["audit"]["assumed"]["value"]
    # Keys, weights and conditions, too.
    same(
        zr.zonal_stats(store, here, by={"kind": kinds[1]}, where=zr.Raster(there) > 9, **how),
        zr.zonal_stats(store, here, by={"kind": kinds[0]}, where=zr.Raster(here) > 9, **how),
    )


def test_a_raster_from_minus_180_under_a_store_from_0_and_files_and_dask(tmp_path: Path) -> None:
    store, values = build(tmp_path / "s.zarr", globe(0), 0), values_of()
    here, there = raster(values, globe(0)), raster(np.roll(values, WIDTH // 2, 1), globe(-180))
    expected = zr.zonal_stats(store, here, stats=STATS)
    assert int(expected["count"].min()) > 0
    there.to_dataset().to_zarr(tmp_path / "value.zarr", zarr_format=3, consolidated=False)
    for given in (there, tmp_path / "value.zarr", there.chunk({"y": 32, "x": 36})):
        same(zr.zonal_stats(store, given, stats=STATS), expected)


def test_regional_rasters_and_stores_move_as_a_whole(tmp_path: Path) -> None:
    grid = zr.Grid.from_bounds((-160, -60, -40, 60), STEP)
    values = values_of()[:24, :24]
    box = shapely.box(-140, -40, -60, 40)
    zones = geopandas.GeoDataFrame({"k": ["a"]}, geometry=[box], crs=4326)
    zr.build(zones, tmp_path / "s.zarr", grid=grid, key="k")
    far = zr.Grid.from_bounds((200, -60, 320, 60), STEP)
    expected = zr.zonal_stats(tmp_path / "s.zarr", raster(values, grid), stats=STATS)
    found = zr.zonal_stats(tmp_path / "s.zarr", raster(values, far), stats=STATS)
    same(found, expected)
    assert found.attrs["audit"]["assumed"]["value"]["longitudes"] == "moved by -360 degrees"


def test_resampled_rasters_are_moved_before(tmp_path: Path) -> None:
    pytest.importorskip("rasterio")
    grid = zr.Grid.from_bounds((-120, -40, 40, 40), 4)
    boxes = [shapely.box(-100, -30, -60, 30), shapely.box(-20, -30, 20, 30)]
    zones = geopandas.GeoDataFrame({"k": ["a", "seam"]}, geometry=boxes, crs=4326)
    zr.build(zones, tmp_path / "s.zarr", grid=grid, key="k")
    values = values_of()
    here, there = raster(values, globe(-180)), raster(np.roll(values, WIDTH // 2, 1), globe(0))
    for method in ("nearest", "bilinear", "average"):
        expected = zr.zonal_stats(tmp_path / "s.zarr", here, stats="mean", resample=method)
        found = zr.zonal_stats(tmp_path / "s.zarr", there, stats="mean", resample=method)
        assert np.allclose(found["mean"], expected["mean"], rtol=1e-12)


def test_what_cannot_be_moved_by_whole_pixels_is_refused(tmp_path: Path) -> None:
    grid = zr.Grid.from_bounds((-175, -35, 175, 35), 7)
    box = shapely.box(-140, -28, -60, 28)
    zones = geopandas.GeoDataFrame({"k": ["a"]}, geometry=[box], crs=4326)
    zr.build(zones, tmp_path / "s.zarr", grid=grid, key="k")
    far = zr.Grid.from_bounds((0, -35, 364, 35), 7)
    with pytest.raises(zr.AlignmentError, match=r"from 0 to 364.*51\.4286 of its pixels, no whole"):
        zr.zonal_stats(tmp_path / "s.zarr", raster(np.ones(far.shape), far))


def test_polygons_meet_a_raster_from_0_to_360(tmp_path: Path) -> None:
    values = values_of()
    boxes = [shapely.box(*box) for box in PLACES.values()]
    zones = geopandas.GeoDataFrame({"k": [*PLACES]}, geometry=boxes, crs=4326)
    here = raster(values, globe(-180))
    there = raster(np.roll(values, WIDTH // 2, 1), globe(0))
    how: dict[str, Any] = {"key": "k", "stats": ["count", "sum", "median"]}
    expected = zr.zonal_stats(zones, here, **how)
    assert expected["count"].tolist() == [18 * 18, 9 * 14, 22 * 24]
    pd.testing.assert_frame_equal(zr.zonal_stats(zones, there, **how), expected)
    part = zr.zonal_stats(zones[:1], there.sel(x=slice(185, 330)), **how)
    pd.testing.assert_frame_equal(part, expected[:1])
