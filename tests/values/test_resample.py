"""Rasters on another lattice against GDAL itself."""

from __future__ import annotations

import os
import pickle
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import rasterio
from pyproj import Transformer
from rasterio.enums import Resampling
from rasterio.vrt import WarpedVRT

from tests.values.samples import (
    GRID,
    HEIGHT,
    WIDTH,
    array,
    dataset,
    every,
    pixels,
    write_zarr,
)
from zoneraster._grid.grid import Grid
from zoneraster._grid.windows import Window
from zoneraster._values.open import open_raster
from zoneraster._values.opened import OpenRaster
from zoneraster._values.resample import (
    METHODS,
    neighbourhoods,
    prepared,
    resampled,
    tiles_under,
)
from zoneraster._values.warp import Tile, tile_of
from zoneraster.errors import AlignmentError, ValuesError

COARSE = Grid("EPSG:4326", (0.7, 0, 9.3, 0, -0.7, 50.9), (17, 25))
METRES = Grid("EPSG:3035", (20_000, 0, 4_200_000, 0, -20_000, 3_100_000), (60, 70))


def small_tiles(opened: OpenRaster, side: int = 8) -> OpenRaster:
    """The same cut into small tiles, so that small windows touch several."""
    return replace(opened, pixels=replace(opened.pixels, side=side))  # type: ignore[type-var]


@pytest.mark.parametrize("grid", [COARSE, METRES], ids=["same CRS", "another CRS"])
@pytest.mark.slow
@pytest.mark.parametrize("method", ["nearest", "average"])
def test_windows_cut_in_any_way_give_the_same_pixels(grid: Grid, method: str) -> None:
    height, width = grid.shape
    opened = small_tiles(resampled(open_raster(array(pixels(), _FillValue=7)), grid, method), 20)
    whole = every(opened, Window(0, height, 0, width))
    rng = np.random.default_rng(4)
    for _ in range(3):
        row, col = int(rng.integers(1, height)), int(rng.integers(1, width))
        for window in (
            Window(0, row, 0, col), Window(0, row, col, width), Window(row, height, 0, col),
            Window(row, height, col, width), Window(row - 1, row, col - 1, col),
        ):  # fmt: skip
            shipped = pickle.loads(pickle.dumps(opened.narrowed(window)))
            for one in (opened, shipped):
                block = every(one, window)
                assert np.array_equal(block, whole[(..., *window.slices)], equal_nan=True)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("grid", [COARSE, METRES], ids=["same CRS", "another CRS"])
def test_tiles_give_what_gdal_gives_at_once(grid: Grid, method: str) -> None:
    source = pixels(dtype="float64")
    profile = {
        "driver": "GTiff", "height": HEIGHT, "width": WIDTH, "count": 1, "dtype": "float64",
        "crs": "EPSG:4326", "transform": GRID.transform, "nodata": np.nan,
    }  # fmt: skip
    opened = small_tiles(resampled(open_raster(array(source)), grid, method), 500)
    if grid is COARSE:  # elsewhere scales are those of a tile, and differ from one to the next
        opened = small_tiles(opened)
    tile = tile_of(Window(0, grid.height, 0, grid.width), GRID, grid)
    assert tile is not None
    x_scale, y_scale = tile.scales
    with rasterio.MemoryFile() as memory:
        with memory.open(**profile) as file:
            file.write(source, 1)
        with memory.open() as file, WarpedVRT(
            file, crs=grid.crs.to_wkt(), transform=grid.transform, height=grid.height,
            width=grid.width, resampling=Resampling[method], tolerance=1e-9, XSCALE=x_scale,
            YSCALE=y_scale,
        ) as warped:  # fmt: skip
            expected = warped.read(1)
    got = every(opened, Window(0, grid.height, 0, grid.width))
    assert np.isfinite(got).sum() > 100
    assert np.array_equal(np.isnan(got), np.isnan(expected))
    np.testing.assert_allclose(got, expected, rtol=1e-6, atol=1e-6)


def test_nearest_takes_the_pixel_that_the_centre_lies_in() -> None:
    source = pixels(dtype="float64")
    x, y = np.meshgrid(METRES.x_centres(), METRES.y_centres())
    transformer = Transformer.from_crs(METRES.crs, GRID.crs, always_xy=True)
    u, v = GRID.to_pixels(*transformer.transform(x, y))
    inside = (u >= 0) & (u < WIDTH) & (v >= 0) & (v < HEIGHT)
    expected = np.full(METRES.shape, np.nan)
    expected[inside] = source[v[inside].astype(int), u[inside].astype(int)]
    opened = resampled(open_raster(array(source)), METRES, "nearest")
    assert np.array_equal(every(opened, Window(0, 60, 0, 70)), expected, equal_nan=True)


def test_averages_of_whole_blocks_are_those_of_numpy() -> None:
    source = pixels()
    blocks = Grid("EPSG:4326", (1, 0, 10, 0, -1, 50), (HEIGHT // 4, WIDTH // 4))
    opened = resampled(open_raster(array(source)), blocks, "average")
    expected = source.reshape(HEIGHT // 4, 4, WIDTH // 4, 4).mean(axis=(1, 3))
    np.testing.assert_allclose(every(opened, Window(0, 10, 0, 15)), expected)
    assert (opened.dtype, opened.nodata, opened.chunks) == (np.float64, None, (10, 15))


def test_outside_of_the_source_there_is_nodata() -> None:
    around = Grid("EPSG:4326", (0.25, 0, 9, 0, -0.25, 51), (HEIGHT + 8, WIDTH + 8))
    inside = (slice(4, HEIGHT + 4), slice(4, WIDTH + 4))
    for dtype, attrs, expected in (
        ("uint8", {}, (np.int16, -(2**15))),
        ("uint8", {"_FillValue": 3}, (np.uint8, 3)),
        ("int64", {}, (np.int64, -(2**63))),
        ("uint32", {}, (np.int64, -(2**63))),
        ("float32", {"_FillValue": 3}, (np.float32, None)),
    ):
        source = pixels(dtype=dtype)
        opened = resampled(open_raster(array(source, **attrs)), around, "nearest")
        assert (opened.dtype, opened.nodata) == expected
        block = every(opened, Window(0, HEIGHT + 8, 0, WIDTH + 8))
        wanted = np.where(source == 3, np.nan, source) if expected[1] is None else source
        assert np.array_equal(block[inside], wanted, equal_nan=True)
        outside = np.delete(np.delete(block, range(4, HEIGHT + 4), 0), range(4, WIDTH + 4), 1)
        assert (np.isnan(outside) if expected[1] is None else outside == expected[1]).all()
    far = Grid("EPSG:4326", (0.25, 0, 100, 0, -0.25, 50), (5, 5))
    assert np.isnan(
        every(resampled(open_raster(array()), far, "average"), Window(0, 5, 0, 5))
    ).all()


def test_nodata_of_one_lane_is_not_taken_for_a_value_of_it() -> None:
    source = pixels(3)
    source[0] = 7
    opened = resampled(open_raster(array(source, _FillValue=7)), COARSE, "average")
    block = every(opened, Window(0, 17, 0, 25))
    assert np.isnan(block[0]).all()
    assert np.isfinite(block[1]).any()


def test_identity_of_a_resampled_raster_is_that_of_its_source_and_method(tmp_path: Path) -> None:
    path = write_zarr(tmp_path / "a.zarr", dataset())
    opened = small_tiles(resampled(open_raster(path), COARSE, "nearest"), 4)
    near, far = Window(0, 2, 0, 2), Window(15, 17, 23, 25)
    before = opened.identity(near), opened.identity(far)
    os.utime(Path(path) / "tcd/c/1/0/0", ns=(1, 1))
    assert opened.identity(near) != before[0]
    assert opened.identity(far) == before[1]
    other = small_tiles(resampled(open_raster(path), COARSE, "average"), 4)
    assert other.identity(far) != before[1]


def test_what_is_resampled_far_down_is_read_in_small_tiles() -> None:
    world = Grid("EPSG:4326", (100, 0, -180, 0, -60, 90), (3, 3))
    assert resampled(open_raster(array()), world, "average").pixels.side == 10  # type: ignore[attr-defined]
    assert resampled(open_raster(array()), COARSE, "average").pixels.side == 500  # type: ignore[attr-defined]


def test_unknown_methods_and_impossible_ways_are_refused() -> None:
    opened = open_raster(array())
    with pytest.raises(ValuesError, match="unknown resampling method 'gauss': use one of nearest"):
        resampled(opened, COARSE, "gauss")
    local = Grid('LOCAL_CS["site",UNIT["metre",1]]', (1, 0, 0, 0, -1, 0), (5, 5))
    with pytest.raises(AlignmentError, match="PROJ cannot bring"):
        resampled(opened, local, "nearest")
    large = pixels(dtype="int64")
    large[0, 0] = 2**60 + 1
    with pytest.raises(ValuesError, match=r"value 1152921504606846977 is beyond 2\*\*53"):
        every(resampled(open_raster(array(large)), COARSE, "nearest"), Window(0, 17, 0, 25))


@pytest.mark.slow
def test_threads_resample_at_once() -> None:
    opened = small_tiles(resampled(open_raster(array(pixels()).chunk(y=7)), METRES, "bilinear"), 20)
    whole = every(opened, Window(0, 60, 0, 70))
    rows = [Window(row, row + 15, 0, 70) for row in range(0, 60, 15)]
    with ThreadPoolExecutor(8) as pool:
        blocks = list(pool.map(lambda window: every(opened, window), rows))
    assert np.array_equal(np.concatenate(blocks, axis=-2), whole, equal_nan=True)


# ---- steps -------------------------------------------------------------------------------------


def test_a_window_touches_whole_tiles_that_need_the_source_around_them() -> None:
    # The target begins one pixel west and north of the source, with pixels half as large.
    target = Grid("EPSG:4326", (0.125, 0, 9.75, 0, -0.125, 50.25), (84, 124))
    tiles = tiles_under(Window(7, 9, 0, 8), 8, GRID, target)
    assert [tile.window for tile in tiles] == [Window(0, 8, 0, 8), Window(8, 16, 0, 8)]
    # 4 pixels of the source, 7 around for the method, 2 hundredths for bends; cut to the source.
    assert [tile.source for tile in tiles] == [Window(0, 11, 0, 11), Window(0, 15, 0, 11)]
    assert [tile.scales for tile in tiles] == [(2.0, 2.0)] * 2
    edge = tiles_under(Window(83, 84, 123, 124), 8, GRID, target)
    assert [tile.window for tile in edge] == [Window(80, 84, 120, 124)]
    far = Grid("EPSG:4326", (0.125, 0, 100, 0, -0.125, 50), (8, 8))
    assert tiles_under(Window(0, 8, 0, 8), 8, GRID, far) == []


def test_neighbours_share_one_read_as_far_as_memory_allows() -> None:
    side = 2**13  # two of them are all that fits
    tiles = [
        Tile(Window(0, 1, i, i + 1), Window(0, side, i * side, (i + 1) * side), (1.0, 1.0))
        for i in range(3)
    ]
    assert list(neighbourhoods([])) == []
    assert list(neighbourhoods(tiles[:1])) == [(Window(0, side, 0, side), tiles[:1])]
    shared = [replace(tile, source=Window(0, side, 0, side)) for tile in tiles]
    assert list(neighbourhoods(shared)) == [(Window(0, side, 0, side), shared)]
    found = list(neighbourhoods(tiles))
    assert [list(some) for _, some in found] == [[tile] for tile in tiles]
    assert [around for around, _ in found] == [tile.source for tile in tiles]
    large = [replace(tiles[0], source=Window(0, 2 * side, 0, side))]
    assert list(neighbourhoods(large)) == [(large[0].source, large)]


def test_what_was_read_gets_the_dtype_and_the_nodata_of_the_result() -> None:
    block = np.array([[1, 7], [2**53, -3]])
    got = prepared(block, 7, np.dtype("f8"), np.nan, label="a")
    assert got.dtype == np.float64
    assert np.array_equal(got, [[1, np.nan], [2.0**53, -3]], equal_nan=True)
    assert prepared(block, None, np.dtype("i8"), -1, label="a").tolist() == block.tolist()
    # Nodata itself may be as large as it likes.
    huge = np.array([[-(2**63) + 1, 5]])
    assert prepared(huge, -(2**63) + 1, np.dtype("i8"), 0, label="a").tolist() == [[0, 5]]
