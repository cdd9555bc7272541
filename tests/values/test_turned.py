"""Rasters whose longitudes are counted from elsewhere than those of a store."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import xarray as xr
import zarr

from zoneraster._grid.grid import Grid
from zoneraster._grid.windows import Window
from zoneraster._values.align import aligned
from zoneraster._values.open import open_raster, place_of
from zoneraster._values.opened import OpenRaster
from zoneraster._values.turned import is_turned, meets_twice, turned

VALUES = np.random.default_rng(3).integers(0, 30_000, (18, 36)).astype("i2")


def globe(west: float, step: float = 10) -> Grid:
    return Grid("EPSG:4326", (step, 0, west, 0, -step, 90), (int(180 / step), int(360 / step)))


def source(grid: Grid, kind: str, path: Path, *, is_flipped: bool = False) -> Any:
    """`VALUES` on a grid, in memory, as dask blocks, or as Zarr."""
    values = VALUES[: grid.height, : grid.width]
    coords = {"y": grid.y_centres(), "x": grid.x_centres()}
    array = xr.DataArray(values, coords, ("y", "x"), name="v", attrs={"crs": "EPSG:4326"})
    array = array.isel(y=slice(None, None, -1)) if is_flipped else array
    if kind == "memory":
        return array
    if kind == "dask":
        return array.chunk({"y": 5, "x": 7})
    store = path / "v.zarr"
    array.to_dataset().to_zarr(store, encoding={"v": {"chunks": (5, 7)}})
    return store


def at(opened: OpenRaster, lon: npt.NDArray[np.float64]) -> npt.NDArray[np.intp]:
    """Columns of `VALUES`, whose west is at 0 or at -180, at some longitudes."""
    west = float(opened.grid.origin[0])
    step = float(opened.grid.resolution[0])
    found: npt.NDArray[np.intp] = (((lon - west) % 360) // step).astype(np.intp)
    return found


@pytest.mark.parametrize("kind", ["memory", "dask", "zarr"])
@pytest.mark.parametrize("is_flipped", [False, True])
@pytest.mark.parametrize("west", [0.0, -180.0, -5.0])
@pytest.mark.parametrize(
    "store",
    [
        globe(-180), globe(0), globe(-170),
        Grid.from_bounds((150, -40, 210, 40), 10), Grid.from_bounds((-210, -40, -150, 40), 5),
        Grid.from_bounds((-20, -40, 20, 40), 10),
    ],
    ids=lambda grid: str(grid.bounds),
)  # fmt: skip
def test_a_raster_around_the_globe_has_its_values_wherever_a_store_begins(
    tmp_path: Path, kind: str, is_flipped: bool, west: float, store: Grid
) -> None:
    opened = open_raster(source(globe(west), kind, tmp_path, is_flipped=is_flipped))
    found = turned(opened, store)
    grid = found.grid
    low, high = store.bounds[0], store.bounds[2]
    assert grid.bounds[0] <= low
    assert grid.bounds[2] >= high
    expected = VALUES[:, at(opened, grid.x_centres())]
    rng = np.random.default_rng(0)
    for _ in range(5):
        row, col = (np.sort(rng.choice(n + 1, 2, replace=False)) for n in grid.shape)
        window = Window(*row.tolist(), *col.tolist())
        assert np.array_equal(found.read((), window), expected[window.slices])
        shipped = pickle.loads(pickle.dumps(found.narrowed(window)))
        assert np.array_equal(shipped.read((), window), expected[window.slices])
        assert found.identity(window) == turned(opened, store).identity(window)
    whole = Window(0, grid.height, 0, grid.width)
    held = found.held(whole, 10**6)
    assert np.array_equal(held.read((), whole), expected)


def test_what_covers_a_store_or_lies_elsewhere_is_left_alone(tmp_path: Path) -> None:
    around = open_raster(source(globe(-180), "memory", tmp_path))
    assert turned(around, Grid.from_bounds((-180, -90, 180, 90), 10)) is around
    assert turned(around, Grid.from_bounds((100, -90, 180, 90), 10)) is around
    metres = Grid.from_bounds((0, 0, 100, 100), 10, "EPSG:3857")
    assert turned(around, metres) is around
    assert turned(open_raster(source(globe(0), "memory", tmp_path)), metres) is not around
    part = open_raster(source(Grid.from_bounds((0, 0, 60, 60), 10), "memory", tmp_path))
    assert turned(part, Grid.from_bounds((-20, 0, 20, 60), 10)) is part
    assert turned(part, Grid.from_bounds((100, 0, 120, 60), 10)) is part


def test_a_part_of_the_globe_is_moved_where_it_meets_a_store_nowhere_else(tmp_path: Path) -> None:
    part = open_raster(source(Grid.from_bounds((190, 0, 250, 60), 10), "memory", tmp_path))
    found = turned(part, globe(-180))
    assert found.grid.bounds == (-170, 0, -110, 60)
    assert is_turned(found)
    assert not is_turned(part)
    whole = Window(0, 6, 0, 6)
    assert np.array_equal(found.read((), whole), part.read((), whole))
    over = open_raster(source(Grid.from_bounds((170, 0, 230, 60), 10), "memory", tmp_path))
    assert turned(over, globe(-180)) is over
    assert meets_twice(over.grid, globe(-180))
    assert not meets_twice(part.grid, globe(-180))
    assert not meets_twice(globe(0), globe(-180))


def test_pixels_half_as_far_east_begin_within_a_pixel_of_the_store(tmp_path: Path) -> None:
    """A raster with centres at 0, 10, ... has no border at -180."""
    opened = open_raster(source(globe(-5), "memory", tmp_path))
    found = aligned(opened, globe(-180, 5), None)
    col = int(found.relation.col)
    assert found.relation.ratio == 2
    fine = np.repeat(found.opened.read((), Window(0, 18, 0, found.opened.grid.width)), 2, axis=1)
    centres = globe(-180, 5).x_centres()
    assert np.array_equal(fine[:, -col : -col + 72], VALUES[:, at(opened, centres)])


def test_chunks_that_are_not_stored_are_told_where_they_lie_after_the_turn(tmp_path: Path) -> None:
    path = source(globe(0), "zarr", tmp_path)
    node = zarr.open_group(path)["v"]
    assert isinstance(node, zarr.Array)
    (path / "v" / "c" / "1" / "2").unlink()
    opened = open_raster(path)
    found = turned(opened, globe(-180))
    assert place_of(found) == place_of(opened)
    whole = Window(0, 18, 0, found.grid.width)
    (absent,) = {
        (n, part.row0, part.row1, float(found.grid.x_centres()[part.col0]), part.width)
        for n, part in found.not_stored((), whole, found.read((), whole))
        if -180 < found.grid.x_centres()[part.col0] < 180
    }
    # Columns 14 to 20, which begin at 140 degrees: on both sides of 180.
    assert absent[:3] == (1, 5, 10)
