"""What holds for opened rasters of every kind."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from affine import Affine

from tests.values.samples import (
    CORNER,
    GRID,
    array,
    check_reading,
    dataset,
    pixels,
    windows,
    write_tif,
    write_zarr,
)
from zoneraster._values.open import open_raster
from zoneraster._values.raster import Raster


def test_lanes_are_chosen_by_slices(tmp_path: Path) -> None:
    source = pixels(3)
    paths = write_zarr(tmp_path / "a.zarr", dataset(source)), write_tif(tmp_path / "a.tif", source)
    for given in (*paths, array(source), array(source).chunk(y=7)):
        block = open_raster(given).read((slice(1, 3),), CORNER)
        assert np.array_equal(block, source[1:3, :10, :10])


def test_rows_that_run_north_are_flipped_when_read(tmp_path: Path) -> None:
    source = pixels()
    upward = array(source).isel(y=slice(None, None, -1))
    upward.coords["spatial_ref"].attrs["GeoTransform"] = "10 0.25 0 40 0 0.25"
    zarr = str(tmp_path / "a.zarr")
    upward.to_dataset().to_zarr(zarr, consolidated=False)
    transform = Affine(0.25, 0, 10, 0, 0.25, 40)
    tif = write_tif(tmp_path / "a.tif", source[::-1], transform=transform)
    for given in (upward, upward.chunk(y=7), zarr, tif):
        opened = open_raster(given)
        assert opened.grid == GRID
        check_reading(opened, source)


def test_identity_changes_with_what_gives_pixels_their_meaning(tmp_path: Path) -> None:
    path = write_zarr(tmp_path / "a.zarr", dataset())
    tif = write_tif(tmp_path / "a.tif", pixels(2))
    asked = [
        Raster(path), Raster(path, nodata=3), Raster(path, crs=3857), Raster(tif),
        Raster(tif, band=1), Raster(tif, band=2), Raster(array()),
        Raster(array().astype("int32")), Raster(array().chunk()), Raster(array(scale_factor=2.0)),
    ]  # fmt: skip
    assert len({open_raster(one).identity(CORNER) for one in asked}) == len(asked)
    assert len({open_raster(path).identity(window) for window in windows()}) == len(windows())
