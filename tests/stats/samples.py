"""Tiny stores and rasters for the tests of zonal statistics, made pixel by pixel."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import geopandas
import numpy as np
import numpy.typing as npt
import pytest
import shapely
import xarray as xr

import zoneraster as zr

# 3 x 3 pixels of one hectare.
GRID = zr.Grid.from_bounds((500_000, 0, 500_300, 300), 100, "EPSG:32633")
ZONES = [[1, 1, 1], [1, 2, 2], [0, 2, 2]]
VALUES = [[1, 2, 3], [4, 5, 6], [7, 8, 9]]
CLASSES = [[1, 1, 2], [2, 2, 2], [3, 1, 3]]


def raster(
    values: npt.ArrayLike,
    grid: zr.Grid = GRID,
    *,
    dtype: Any = None,
    name: str | None = "value",
    dims: tuple[str, ...] = (),
    coords: dict[str, Any] | None = None,
    **attrs: Any,
) -> xr.DataArray:
    """Values on a grid, extra dimensions first."""
    said = {"crs": grid.crs.to_wkt(), "spatial:transform": list(grid.transform)[:6], **attrs}
    centres = {"y": grid.y_centres(), "x": grid.x_centres()}
    made = xr.DataArray(
        np.asarray(values, dtype),
        coords={**centres, **(coords or {})},
        dims=(*dims, "y", "x"),
        attrs=said,
        name=name,
    )
    made.encoding = {"dtype": made.dtype}  # as of an array that was opened
    return made


def moved(
    values: npt.ArrayLike,
    grid: zr.Grid = GRID,
    *,
    rows: float = 0,
    cols: float = 0,
    ratio: float = 1,
    **options: Any,
) -> xr.DataArray:
    """A raster with its corner at a row and column of a grid, and pixels `ratio` times as wide."""
    array = np.asarray(values)
    (step_x, step_y), (west, north) = map(float, grid.resolution), map(float, grid.origin)
    transform = (
        step_x * ratio, 0, west + cols * step_x, 0, -step_y * ratio, north - rows * step_y
    )  # fmt: skip
    shape = (array.shape[-2], array.shape[-1])
    return raster(array, zr.Grid(grid.crs, transform, shape), **options)


def zones_of(ids: npt.ArrayLike, grid: zr.Grid = GRID, **columns: Any) -> geopandas.GeoDataFrame:
    """One polygon per id above 0 that covers its pixels; the key is `fid`."""
    numbers = np.asarray(ids)
    (step_x, step_y), (west, north) = map(float, grid.resolution), map(float, grid.origin)
    found = [int(i) for i in np.unique(numbers) if i > 0]
    shapes = []
    for i in found:
        # One box for each run of pixels in a row.
        edges = np.diff(np.pad(numbers == i, ((0, 0), (1, 1))).astype(int), axis=1)
        (rows, first), last = np.nonzero(edges == 1), np.nonzero(edges == -1)[1]
        y = north - rows * step_y
        boxes = shapely.box(west + first * step_x, y - step_y, west + last * step_x, y)
        shapes.append(shapely.union_all(boxes))
    return geopandas.GeoDataFrame({"fid": found, **columns}, geometry=shapes, crs=grid.crs)


def build(
    path: Path, ids: npt.ArrayLike = ZONES, grid: zr.Grid = GRID, chunks: int = 2, **columns: Any
) -> Path:
    """A store whose zones own given pixels."""
    zr.build(zones_of(ids, grid, **columns), path, grid=grid, key="fid", chunks=chunks)
    return path


def write_zones(
    path: Path,
    ids: npt.NDArray[Any],
    grid: zr.Grid = GRID,
    *,
    chunks: tuple[int, ...] | None = None,
    zarr_format: int = 3,
) -> Path:
    """A Zarr group with an array `zone` that zoneraster did not write."""
    dims = ("layer", "y", "x")[-ids.ndim :] if ids.ndim < 4 else ("time", "layer", "y", "x")
    a, b, c, d, e, f = list(grid.transform)[:6]
    mapping = {
        **grid.crs.to_cf(),
        "GeoTransform": " ".join(repr(float(n)) for n in (c, a, b, f, d, e)),
    }
    dataset = xr.Dataset(
        {
            "zone": (dims, ids, {"grid_mapping": "spatial_ref"}),
            "spatial_ref": ((), np.int32(0), mapping),
        },
        {"y": grid.y_centres(), "x": grid.x_centres()},
    )
    encoding = {"zone": {"chunks": chunks}} if chunks else None
    dataset.to_zarr(path, zarr_format=zarr_format, encoding=encoding, consolidated=False)  # type: ignore[call-overload]
    return path


def sparing(patch: pytest.MonkeyPatch) -> None:
    """Tasks tell as little as they can, so that whatever is not whole takes several passes."""
    patch.setattr("zoneraster._stats.call._FEW_PIXELS", 0)
    for name, value in (("ALLOWED", 0), ("_IN_ALL", 0), ("_FEWEST", 1), ("_MOST", 1)):
        patch.setattr(f"zoneraster._stats.families.ranges.{name}", value)
