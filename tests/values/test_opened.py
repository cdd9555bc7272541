"""What holds for opened rasters of every kind."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from affine import Affine

from tests.values.samples import (
    CORNER,
    GRID,
    WHOLE,
    array,
    check_reading,
    dataset,
    every,
    lazy,
    pixels,
    windows,
    write_tif,
    write_zarr,
)
from zoneraster._grid.grid import Grid
from zoneraster._values.open import open_raster
from zoneraster._values.raster import Raster
from zoneraster._values.resample import resampled
from zoneraster.errors import ValuesError


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


def test_a_version_stands_for_the_pixels_of_a_raster_and_of_what_is_made_of_it(
    tmp_path: Path,
) -> None:
    path = write_zarr(tmp_path / "a.zarr", dataset())
    grid = Grid.from_bounds(GRID.bounds, 1 / 3)
    found = []
    for version in ("1", "2"):
        for source in (array(), array() + 1, array().chunk(), path):
            opened = open_raster(Raster(source, version=version))
            assert opened.identity(CORNER) == opened.quick_identity(CORNER)
            found.append(opened.identity(CORNER))
            warped = resampled(opened, grid, "nearest")
            found.append(warped.identity(CORNER))
            assert found[-1] != resampled(opened, grid, "max").identity(CORNER)
    # Arrays of one name are told apart by their version only, and a path by its own.
    assert len(set(found)) == 8
    assert open_raster(path).identity(CORNER) not in found


def test_only_pixels_tell_what_is_computed_or_read_by_others(tmp_path: Path) -> None:
    path = write_zarr(tmp_path / "a.zarr", dataset())
    tif = write_tif(tmp_path / "a.tif", pixels(2))
    for source in (array(), path, tif):
        assert open_raster(source).quick_identity(WHOLE) is not None
    grid = Grid.from_bounds(GRID.bounds, 1 / 3)
    for given in (array().chunk(y=7), lazy(path)):
        opened = open_raster(given)
        assert opened.quick_identity(WHOLE) is None
        assert resampled(opened, grid, "nearest").quick_identity(CORNER) is None
        held = opened.narrowed(CORNER).held(CORNER, 2**20)
        assert held.identity(CORNER) == opened.identity(CORNER)
        assert np.array_equal(every(held, CORNER), every(opened, CORNER))
        assert opened.held(CORNER, 10) is opened


@pytest.mark.slow
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


class StrangeError(Exception):
    """What some library raises, of no family."""


@pytest.mark.parametrize("error", [StrangeError, MemoryError, AttributeError, ZeroDivisionError])
def test_whatever_a_graph_raises_is_ours_and_names_raster_and_window(
    error: type[Exception],
) -> None:
    def fail(block: object) -> None:
        raise error("no luck")

    lazy = array(pixels()).chunk(10)
    broken = lazy.copy(data=lazy.data.map_blocks(fail, dtype=lazy.dtype, meta=lazy.data._meta))
    opened = open_raster(broken)
    match = rf"'tcd': cannot read Window\(.*\({error.__name__}: no luck\)"
    with pytest.raises(ValuesError, match=match):
        every(opened)
