"""Small value rasters of every kind, and how reading them is checked."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import rasterio
import xarray as xr

from zoneraster._grid.grid import Grid
from zoneraster._grid.windows import Window
from zoneraster._values.opened import OpenRaster

HEIGHT, WIDTH = 40, 60
GRID = Grid("EPSG:4326", (0.25, 0, 10, 0, -0.25, 50), (HEIGHT, WIDTH))
CORNER = Window(0, 10, 0, 10)
WHOLE = Window(0, HEIGHT, 0, WIDTH)
TIMES = np.array(["2020-01-01", "2021-01-01", "2022-01-01"], "datetime64[ns]")


def pixels(*lanes: int, dtype: Any = "int16", seed: int = 1) -> npt.NDArray[Any]:
    rng = np.random.default_rng(seed)
    return rng.integers(0, 100, (*lanes, HEIGHT, WIDTH)).astype(dtype)


def dataset(
    values: npt.NDArray[Any] | None = None, *, grid: Grid = GRID, **attrs: object
) -> xr.Dataset:
    """A variable `tcd` over time, a 1-D one and the grid mapping, as other tools write it."""
    values = pixels(3) if values is None else values
    dims = ("time", "y", "x")[-values.ndim :]
    coords: dict[str, Any] = {"y": grid.y_centres(), "x": grid.x_centres()}
    if "time" in dims:
        coords["time"] = TIMES
    said = {"grid_mapping": "spatial_ref", "units": "%", **attrs}
    spatial_ref = xr.Variable((), 0, {"crs_wkt": grid.crs.to_wkt()})
    # With the encoding of an array that was opened, whose attributes are its own.
    tcd = xr.Variable(dims, values, said, {"dtype": values.dtype})
    return xr.Dataset(
        {"tcd": tcd, "spatial_ref": spatial_ref, "row": ("y", grid.y_centres())},
        coords,
    )


def array(values: npt.NDArray[Any] | None = None, **attrs: object) -> xr.DataArray:
    return dataset(values, **attrs).set_coords("spatial_ref")["tcd"]


def write_zarr(
    path: Path | str, given: xr.Dataset, *, zarr_format: int = 3, sharded: bool = False
) -> str:
    lanes = (1,) * (given["tcd"].ndim - 2)
    encoding: dict[str, object] = {"chunks": (*lanes, 10, 20)}
    if sharded:
        encoding["shards"] = (*lanes, 20, 40)
    given.to_zarr(
        str(path), zarr_format=zarr_format, encoding={"tcd": encoding},
        consolidated=zarr_format == 2,
    )  # fmt: skip
    return str(path)


def write_tif(path: Path, values: npt.NDArray[Any], **profile: Any) -> str:
    values = values[None] if values.ndim == 2 else values
    said = {
        "driver": "GTiff", "crs": "EPSG:4326", "transform": GRID.transform, "tiled": True,
        "blockxsize": 32, "blockysize": 16, "dtype": values.dtype, "count": len(values),
        "height": values.shape[1], "width": values.shape[2],
    }  # fmt: skip
    with rasterio.open(path, "w", **{**said, **profile}) as file:
        file.write(values)
    return str(path)


def windows(n: int = 12, *, seed: int = 3) -> list[Window]:
    rng = np.random.default_rng(seed)
    found = []
    for _ in range(n):
        row0, col0 = rng.integers(0, HEIGHT), rng.integers(0, WIDTH)
        row1, col1 = rng.integers(row0, HEIGHT) + 1, rng.integers(col0, WIDTH) + 1
        found.append(Window(int(row0), int(row1), int(col0), int(col1)))
    return found


def every(opened: OpenRaster, window: Window = WHOLE) -> npt.NDArray[Any]:
    return opened.read((slice(None),) * len(opened.dims), window)


def check_reading(opened: OpenRaster, expected: npt.NDArray[Any]) -> None:
    """Windows, shipped or not, are those of the expected array (lanes..., rows, cols)."""
    for window in windows():
        shipped = pickle.loads(pickle.dumps(opened.narrowed(window)))
        for one in (opened, shipped):
            block = every(one, window)
            assert block.dtype == opened.dtype
            assert block.flags.c_contiguous
            assert np.array_equal(block, expected[(..., *window.slices)], equal_nan=True)
    again: OpenRaster = pickle.loads(pickle.dumps(opened))
    assert np.array_equal(every(again), expected, equal_nan=True)
    assert again.grid == opened.grid
    assert again.identity(CORNER) == opened.identity(CORNER)


def lazy(path: str) -> xr.DataArray:
    given = xr.open_zarr(path, chunks=None, mask_and_scale=False, consolidated=False)
    return given.set_coords("spatial_ref")["tcd"]
