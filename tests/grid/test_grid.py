"""Grids, windows and chunkings."""

from __future__ import annotations

import json
import pickle
import re
import subprocess
import sys
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
import xarray as xr
from affine import Affine
from hypothesis import given
from hypothesis import strategies as st
from pyproj import CRS

from zoneraster._grid import grid as grid_module
from zoneraster._grid.chunking import Chunking
from zoneraster._grid.grid import Grid
from zoneraster._grid.windows import Window
from zoneraster._values.grid_of import grid_like
from zoneraster.errors import GridError, ZonerasterError

THIRD = "1/3600"


def small_grid(*, crs: object = "EPSG:4326") -> Grid:
    """2 rows and 3 columns of half a degree, north-west corner at 10 E, 50 N."""
    return Grid(crs, (0.5, 0, 10, 0, -0.5, 50), (2, 3))


# ---- windows -----------------------------------------------------------------------------------


def test_a_window_knows_its_size_and_its_slices():
    window = Window(1, 4, 2, 4)
    assert (window.height, window.width, window.shape) == (3, 2, (3, 2))
    assert window.slices == (slice(1, 4), slice(2, 4))


def test_windows_that_only_touch_share_no_pixel():
    window = Window(0, 4, 0, 4)
    assert window.intersect(Window(2, 6, 3, 5)) == Window(2, 4, 3, 4)
    assert window.intersect(Window(4, 6, 0, 4)) is None
    assert window.intersect(Window(0, 4, 4, 6)) is None


@pytest.mark.parametrize("edges", [(3, 3, 0, 1), (0, 1, 2, 2), (4, 3, 0, 1)])
def test_a_window_without_pixels_is_refused(edges):
    with pytest.raises(GridError, match=r"holds no pixel: give row0 < row1 and col0 < col1"):
        Window(*edges)


def test_slices_of_a_window_north_or_west_of_the_array_are_refused():
    with pytest.raises(GridError, match="starts outside of the array: intersect it with the grid"):
        _ = Window(-1, 2, 0, 2).slices
    assert Window(-1, 2, 0, 2).intersect(Window(0, 9, 0, 9)) == Window(0, 2, 0, 2)


windows = st.tuples(
    st.integers(0, 12), st.integers(1, 12), st.integers(0, 12), st.integers(1, 12)
).map(lambda w: Window(w[0], w[0] + w[1], w[2], w[2] + w[3]))


@given(windows, windows)
def test_intersecting_windows_is_intersecting_painted_pixels(one, other):
    first, second = np.zeros((2, 24, 24), dtype=bool)
    first[one.slices] = second[other.slices] = True
    both = one.intersect(other)
    painted = np.zeros((24, 24), dtype=bool)
    if both is not None:
        painted[both.slices] = True
    np.testing.assert_array_equal(painted, first & second)
    assert both == other.intersect(one)
    assert one.intersect(one) == one


@given(windows)
def test_a_window_comes_back_from_its_painted_pixels(window):
    painted = np.zeros((24, 24), dtype=bool)
    painted[window.slices] = True
    rows, cols = np.nonzero(painted)
    assert painted.sum() == window.height * window.width
    assert Window(rows.min(), rows.max() + 1, cols.min(), cols.max() + 1) == window


# ---- the lattice -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("given_step", "exact"),
    [
        (0.00025, Fraction(1, 4000)),
        (0.0002777777777777778, Fraction(1, 3600)),
        (0.000277777777778, Fraction(1, 3600)),
        ("0.000277777777778", Fraction(1, 3600)),
        (THIRD, Fraction(1, 3600)),
        (29.9, Fraction(299, 10)),
        (0.1, Fraction(1, 10)),
        (30.0, Fraction(30)),
        (30, Fraction(30)),
        (np.float64(28.5), Fraction(57, 2)),
        (np.int64(30), Fraction(30)),
        (1 / 12, Fraction(1, 12)),
        (10 / 33600, Fraction(1, 3360)),
        (90 / 27008, Fraction(45, 13504)),
        (0.00025000000000000006, Fraction(1, 4000)),
        # not close enough to a simple fraction: the decimal itself
        (0.00027778, Fraction(27778, 10**8)),
        (28.123456789, Fraction(28123456789, 10**9)),
        (0.0083333333, Fraction(83333333, 10**10)),
        (19.109257071294063, Fraction("19.109257071294063")),
        # a fraction is never touched
        (Fraction(1000, 3333333333), Fraction(1000, 3333333333)),
    ],
)
def test_the_step_is_the_fraction_a_person_meant(given_step, exact):
    assert Grid("EPSG:3857", (given_step, 0, 0, 0, -30, 0), (1, 1)).resolution[0] == exact


@given(st.integers(1, 9999), st.integers(1, 9999))
def test_every_simple_fraction_is_found_again_from_its_float(numerator, denominator):
    step = Fraction(numerator, denominator)
    grid = Grid("EPSG:4326", (float(step), 0, 0, 0, -float(step), 0), (1, 1))
    assert grid.resolution == (step, step)


@given(st.floats(1e-6, 1e6))
def test_the_step_of_any_float_is_within_1e_12_of_it(step):
    exact = Grid("EPSG:3857", (step, 0, 0, 0, -1, 0), (1, 1)).resolution[0]
    assert abs(exact - Fraction(step)) <= Fraction(step) * Fraction(1001, 10**15)


def test_an_origin_nearly_on_the_lattice_is_put_on_it():
    for noise in (0.0, 1e-12, -2e-10):
        grid = Grid("EPSG:4326", (0.00025, 0, -180 + noise, 0, -0.00025, 90 - noise), (1, 1))
        assert grid.origin == (-180, 90)
        assert grid.transform == Affine(0.00025, 0, -180, 0, -0.00025, 90)


def test_an_origin_off_the_lattice_is_its_decimal():
    grid = Grid("EPSG:4326", (0.25, 0, -180.125, 0, -0.25, 90.1), (1, 1))
    assert grid.origin == (Fraction(-1441, 8), Fraction(901, 10))
    # 4e-6 pixels are more than 1e-6
    grid = Grid("EPSG:4326", (0.00025, 0, 1e-9, 0, -0.00025, 0), (1, 1))
    assert grid.origin == (Fraction(1, 10**9), 0)


@pytest.mark.parametrize("parts", [2, 3, 12, 300])
def test_an_origin_at_a_part_of_a_pixel_loses_the_rounding_of_its_float(parts):
    step = Fraction(1, 12)
    origin = -180 + step * Fraction(1, parts)
    grid = Grid("EPSG:4326", (float(step), 0, float(origin), 0, -float(step), 90), (1, 1))
    assert grid.origin == (origin, 90)


def test_a_transform_within_the_last_digits_of_another_gives_the_same_grid():
    one = Grid("EPSG:4326", (1 / 3600, 0, -180, 0, -1 / 3600, 90), (10, 10))
    other = Grid("EPSG:4326", (0.000277777777778, 0, -180, 0, -0.000277777777778, 90), (10, 10))
    assert one == other
    assert one.transform == other.transform
    assert hash(one) == hash(other)


# ---- grids -------------------------------------------------------------------------------------


def test_a_grid_by_hand():
    grid = small_grid()
    assert grid.shape == (2, 3)
    assert (grid.height, grid.width) == (2, 3)
    assert grid.resolution == (Fraction(1, 2), Fraction(1, 2))
    assert grid.origin == (10, 50)
    assert grid.bounds == (10.0, 49.0, 11.5, 50.0)
    assert grid.transform == Affine(0.5, 0, 10, 0, -0.5, 50)
    assert grid.crs == CRS("EPSG:4326")
    assert grid.is_geographic
    assert not small_grid(crs="EPSG:3857").is_geographic
    assert repr(grid) == (
        "Grid('EPSG:4326', resolution=0.5, bounds=(10.0, 49.0, 11.5, 50.0), shape=(2, 3))"
    )


def test_a_grid_takes_an_affine_or_six_numbers():
    assert Grid(4326, Affine(0.5, 0, 10, 0, -0.5, 50), (2, 3)) == small_grid()
    assert Grid(4326, ("1/2", 0, "10", 0, "-1/2", Fraction(50)), np.array([2, 3])) == small_grid()


def test_a_grid_cannot_be_changed():
    with pytest.raises(AttributeError):
        small_grid().shape = (1, 1)


@pytest.mark.parametrize("resolution", [0.5, "1/2", Fraction(1, 2), (0.5, 0.5), ["0.5", "1/2"]])
def test_bounds_and_resolution_make_the_same_grid_however_written(resolution):
    assert Grid.from_bounds((10, 49, 11.5, 50), resolution) == small_grid()


def test_resolution_may_differ_in_x_and_y():
    grid = Grid.from_bounds((0, 0, 3, 2), (0.5, "1/3"), "EPSG:3857")
    assert grid.shape == (6, 6)
    assert grid.resolution == (Fraction(1, 2), Fraction(1, 3))
    assert "resolution=(0.5, 1/3)" in repr(grid)


def test_bounds_need_not_be_multiples_of_the_resolution():
    grid = Grid.from_bounds((-180.125, -90.125, 179.875, 90.125), 0.25)
    assert grid.shape == (721, 1440)
    grid = Grid.from_bounds((-180.0416666666667, 0, 179.9583333333333, 1), 1 / 12)
    assert grid.shape == (12, 4320)


def test_bounds_come_back_from_the_grid():
    bounds = (-180.0, -56.0, 179.0, 76.0)
    grid = Grid.from_bounds(bounds, 0.00025)
    assert grid.shape == (528_000, 1_436_000)
    assert grid.bounds == bounds
    assert Grid.from_bounds(grid.bounds, grid.resolution) == grid


@given(
    st.integers(-2000, 2000),
    st.integers(-2000, 2000),
    st.integers(1, 5000),
    st.integers(1, 5000),
    st.sampled_from(["1/4000", "1/3600", "0.1", "30", "28.5", "1/7"]),
)
def test_float_bounds_of_a_lattice_give_its_integers(col, row, width, height, resolution):
    step = Fraction(resolution)
    edges = (col * step, (row - height) * step, (col + width) * step, row * step)
    grid = Grid.from_bounds(tuple(map(float, edges)), float(step))
    assert grid.shape == (height, width)
    assert grid.origin == (edges[0], edges[3])
    assert grid.bounds == tuple(map(float, edges))


def test_equal_grids_are_equal_in_step_origin_shape_and_crs():
    grid = small_grid()
    assert grid == small_grid()
    assert hash(grid) == hash(small_grid(crs=CRS("EPSG:4326").to_wkt()))
    assert grid != Grid("EPSG:4326", (0.5, 0, 10, 0, -0.5, 50), (3, 3))
    assert grid != Grid("EPSG:4326", (0.5, 0, 10.5, 0, -0.5, 50), (2, 3))
    assert grid != Grid("EPSG:4326", (0.5, 0, 10, 0, -0.25, 50), (2, 3))
    assert grid != small_grid(crs="EPSG:4269")
    assert grid != "a grid"
    assert len({grid, small_grid(crs="OGC:CRS84"), small_grid(crs="EPSG:4269")}) == 2


@pytest.mark.parametrize(
    "crs", ["OGC:CRS84", CRS("EPSG:4326").to_wkt(), CRS("EPSG:4326").to_wkt("WKT1_GDAL")]
)
def test_the_order_of_axes_and_the_dialect_of_wkt_do_not_matter(crs):
    assert small_grid(crs=crs) == small_grid()


def test_a_grid_survives_pickle():
    grid = Grid.from_bounds((-180, -90, 180, 90), THIRD)
    assert pickle.loads(pickle.dumps(grid)) == grid


@pytest.mark.parametrize(
    "grid",
    [
        small_grid(),
        Grid.from_bounds((-180, -90, 180, 90), THIRD),
        Grid("EPSG:32119", (28.5, 0, 630534, 0, -28.5, 228114), (443, 489)),
        Grid("+proj=laea +lat_0=10 +lon_0=20", (Fraction(10**9, 3), 0, 1 / 3, 0, -1, 0.1), (1, 2)),
    ],
)
def test_json_keeps_every_digit_of_a_grid(grid):
    again = Grid.from_dict(json.loads(json.dumps(grid.to_dict())))
    assert again == grid
    assert again.to_dict() == grid.to_dict()
    assert again.transform == grid.transform


def test_the_description_of_a_grid_is_readable():
    said = Grid.from_bounds((-180, -90, 180, 90), "1/4000").to_dict()
    assert said["crs"]["authority"] == "EPSG:4326"
    assert said["crs"]["wkt"].startswith("GEOGCRS[")
    assert said["resolution"] == ["1/4000", "1/4000"]
    assert said["origin"] == ["-180", "90"]
    assert said["shape"] == [720_000, 1_440_000]
    assert small_grid(crs="+proj=laea +lat_0=1").to_dict()["crs"]["authority"] is None


@pytest.mark.parametrize("key", ["crs", "resolution", "origin", "shape"])
def test_an_incomplete_description_is_refused(key):
    said = small_grid().to_dict()
    for broken in (said | {key: 7}, {k: v for k, v in said.items() if k != key}):
        with pytest.raises(GridError, match=r"not the description of a grid: .*expected crs\.wkt"):
            Grid.from_dict(broken)


def test_the_global_grid_is_made_once_and_on_demand():
    grid = grid_module.GLOBAL_30M
    assert grid is grid_module.GLOBAL_30M
    assert grid.shape == (720_000, 1_440_000)
    assert grid == Grid.from_bounds((-180, -90, 180, 90), 0.00025)
    with pytest.raises(AttributeError, match="no attribute 'GLOBAL_10M'"):
        _ = grid_module.GLOBAL_10M


def test_import_looks_up_no_crs_and_needs_neither_xarray_nor_rasterio():
    folder = Path(grid_module.__file__).parents[1]
    script = f"""
import sys, types
package = types.ModuleType("zoneraster")
package.__path__ = [{str(folder)!r}]
sys.modules["zoneraster"] = package
import pyproj
def fail(*args): raise SystemExit("a CRS was looked up")
pyproj.CRS.__init__ = fail
import zoneraster._grid.grid
assert not {{"xarray", "rasterio", "rioxarray"}} & set(sys.modules)
"""
    done = subprocess.run(
        [sys.executable, "-c", script], check=False, capture_output=True, text=True
    )
    assert (done.returncode, done.stderr.strip()) == (0, "")


# ---- pixel coordinates -------------------------------------------------------------------------


def test_the_corners_of_a_grid_in_pixels():
    u, v = small_grid().to_pixels([10, 11.5, 10.25], [50, 49, 49.75])
    assert u.tolist() == [0, 3, 0.5]
    assert v.tolist() == [0, 2, 0.5]
    assert u.dtype == v.dtype == np.float64


finite = st.floats(-1e7, 1e7)


@given(
    st.lists(st.tuples(finite, finite), min_size=1, max_size=20),
    st.sampled_from([1 / 4000, 1 / 3600, 0.1, 1 / 12, 30.0, 28.123456789]),
    finite,
    finite,
)
def test_pixel_coordinates_have_the_bits_of_plain_float_arithmetic(places, step, west, north):
    grid = Grid("EPSG:3857", (step, 0, west, 0, -step, north), (5, 5))
    a, _, c, _, e, f = tuple(grid.transform)[:6]
    u, v = grid.to_pixels(*np.array(places).T)
    inverse_a, inverse_e = 1 / a, 1 / e
    shift_u, shift_v = -c / a, -f / e
    for k, (x, y) in enumerate(places):
        scaled_x, scaled_y = x * inverse_a, y * inverse_e
        assert u[k].hex() == (shift_u + scaled_x).hex()
        assert v[k].hex() == (shift_v + scaled_y).hex()


def test_pixel_coordinates_keep_the_shape_of_what_is_asked():
    u, v = small_grid().to_pixels(np.zeros((2, 3)), 50)
    assert u.shape == (2, 3)
    assert v.shape == ()
    assert isinstance(v, np.ndarray)
    assert [part.shape for part in small_grid().to_pixels([], [])] == [(0,), (0,)]
    u, _ = small_grid().to_pixels(np.array([10.5], dtype=np.float32), np.array([1]))
    assert u.dtype == np.float64


def test_centres_lie_half_a_pixel_inside():
    assert small_grid().x_centres().tolist() == [10.25, 10.75, 11.25]
    assert small_grid().y_centres().tolist() == [49.75, 49.25]


@pytest.mark.parametrize("resolution", ["1/4000", "1/3600", "0.1"])
def test_centres_are_the_floats_nearest_to_the_exact_ones(resolution):
    grid = Grid.from_bounds((-180, -90, 180, 90), resolution)
    step, x, y = Fraction(resolution), grid.x_centres(), grid.y_centres()
    assert x.dtype == y.dtype == np.float64
    assert (y.size, x.size) == grid.shape
    for k in (0, 1, 2, 777, grid.height - 1):
        assert x[k] == float(-180 + step * (2 * k + 1) / 2)
        assert y[k] == float(90 - step * (2 * k + 1) / 2)


def test_centres_of_a_lattice_without_small_integers_are_still_right():
    grid = Grid("EPSG:3857", (19.109257071294063, 0, -20037508.342789244, 0, -1e-3, 0), (2, 1000))
    expected = float(grid.origin[0] + grid.resolution[0] * Fraction(1999, 2))
    assert grid.x_centres()[-1] == pytest.approx(expected, rel=1e-15)


@given(st.integers(0, 719_999), st.integers(0, 1_439_999))
def test_a_centre_is_in_the_middle_of_its_pixel(row, col):
    grid = grid_module.GLOBAL_30M
    x, y = float(-180 + Fraction(2 * col + 1, 8000)), float(90 - Fraction(2 * row + 1, 8000))
    u, v = grid.to_pixels(x, y)
    assert float(u) == pytest.approx(col + 0.5, abs=1e-8)
    assert float(v) == pytest.approx(row + 0.5, abs=1e-8)


# ---- grids on grids ----------------------------------------------------------------------------


def test_offsets_of_the_same_lattice_are_whole():
    world = grid_module.GLOBAL_30M
    part = Grid.from_bounds((-180, -56, 179, 76), 0.00025)
    assert part.offset_in(world) == (56_000, 0, 1)
    assert world.offset_in(part) == (-56_000, 0, 1)


def test_offsets_count_pixels_of_the_other_grid():
    fine, coarse = Grid.from_bounds((0, 0, 4, 4), 0.25), Grid.from_bounds((1, 0, 3, 2), 1)
    assert coarse.offset_in(fine) == (8, 4, 4)
    assert fine.offset_in(coarse) == (-2, -1, Fraction(1, 4))


def test_a_shift_of_half_a_pixel_shows():
    era5 = Grid.from_bounds((-180.125, -90.125, 179.875, 90.125), 0.25)
    quarter = Grid.from_bounds((-180, -90, 180, 90), 0.25)
    assert quarter.offset_in(era5) == (Fraction(1, 2), Fraction(1, 2), 1)


@given(st.integers(-50, 50), st.integers(-50, 50), st.integers(1, 9))
def test_offsets_are_those_the_grid_was_made_with(row, col, ratio):
    step = Fraction(1, 3600)
    other = Grid("EPSG:4326", (step, 0, 5, 0, -step, 7), (10, 10))
    mine = (step * ratio, 0, 5 + col * step, 0, -step * ratio, 7 - row * step)
    assert Grid("EPSG:4326", tuple(map(float, mine)), (3, 3)).offset_in(other) == (row, col, ratio)


def test_grids_of_different_crs_have_no_offset():
    message = "the grids have different CRS, EPSG:4326 and EPSG:3857: reproject one of them"
    with pytest.raises(GridError, match=message):
        small_grid().offset_in(small_grid(crs="EPSG:3857"))


def test_grids_of_different_proportions_have_no_offset():
    other = Grid("EPSG:4326", (0.25, 0, 10, 0, -0.5, 50), (2, 3))
    message = "pixels are 2 times as wide and 1 times as high as the other grid's: resample"
    with pytest.raises(GridError, match=message):
        small_grid().offset_in(other)


# ---- grids that cannot be ----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("transform", "message"),
    [
        ((1, 0.1, 0, 0, -1, 0), r"the transform is rotated or sheared \(b=0.1, d=0\): warp"),
        ((1, 0, 0, -0.1, -1, 0), r"the transform is rotated or sheared \(b=0, d=-0.1\): warp"),
        ((0, 0, 30, 60, -30, 0), r"rotated or sheared.*GDAL's order use affine.Affine.from_gdal"),
        ((1, 0, 0, 0, 1, 0), r"the transform is south-up \(e=1\): flip the rows"),
        ((0, 0, 0, 0, -1, 0), "resolution must be a positive finite number, not 0"),
        ((-1, 0, 0, 0, -1, 0), "resolution must be a positive finite number, not -1"),
        ((1, 0, 0, 0, -0.0, 0), "resolution must be a positive finite number, not -0.0"),
        ((5e-324, 0, 0, 0, -1, 0), "resolution must be a positive finite number, not 5e-324"),
        ((float("nan"), 0, 0, 0, -1, 0), "nan is not a finite number: give a number, or text"),
        ((float("inf"), 0, 0, 0, -1, 0), "inf is not a finite number"),
        ((1, 0, float("nan"), 0, -1, 0), "nan is not a finite number"),
        ((1, 0, 0, 0, -1, "north"), "'north' is not a finite number: .*'1/3600'"),
        ((1, 0, 0, 0, "-1/0", 0), "'-1/0' is not a finite number"),
        ((1, 0, 0, 0, -1, None), "None is not a finite number"),
        ((1, 0, 0, 0, -1, 10**400), "000 is not a finite number"),
        ((1, 0, 0, 0, -1), "a transform has six numbers, not .*the order is a, b, c, d, e, f"),
        ((1e-5, 0, 1e9, 0, -1e-5, 0), r"more than 2\*\*40 pixels of 1e-05 x 1e-05 away from 0"),
    ],
)
def test_a_transform_that_cannot_be_is_refused(transform, message):
    with pytest.raises(GridError, match=message):
        Grid("EPSG:4326", transform, (1, 1))


@pytest.mark.parametrize(
    ("shape", "message"),
    [
        ((0, 5), r"0 rows x 5 columns: each must be 1 to 2\*\*31"),
        ((5, -1), "5 rows x -1 columns"),
        ((2**31 + 1, 1), "2,147,483,649 rows x 1 columns: .*same units"),
        ((1, 10**40), r"1 rows x 1(.0*)?e\+40 columns"),
        ((1.5, 2), r"shape must be two integers \(rows, cols\), not \(1.5, 2\)"),
        ((1, 2, 3), "shape must be two integers"),
        (7, "shape must be two integers"),
    ],
)
def test_a_shape_that_cannot_be_is_refused(shape, message):
    with pytest.raises(GridError, match=message):
        Grid("EPSG:4326", (1, 0, 0, 0, -1, 0), shape)


def test_the_largest_grid_is_accepted():
    assert Grid("EPSG:3857", (1, 0, 0, 0, -1, 0), (2**31, 2**31)).shape == (2**31, 2**31)


@pytest.mark.parametrize("crs", ["EPSG:0", "garbage", None, 3.5])
def test_an_unknown_crs_is_refused(crs):
    with pytest.raises(GridError, match=f"unknown CRS {crs!r}: give a code like 'EPSG:4326'"):
        small_grid(crs=crs)


@pytest.mark.parametrize("resolution", [0, -1, float("nan"), float("inf"), "0", "-1/4", "abc"])
def test_a_resolution_that_cannot_be_is_refused(resolution):
    with pytest.raises(GridError, match="finite number"):
        Grid.from_bounds((0, 0, 1, 1), resolution)


def test_the_wrong_number_of_bounds_or_sides_is_refused():
    with pytest.raises(GridError, match=r"expected bounds \(west, south, east, north\)"):
        Grid.from_bounds((0, 0, 1), 1)
    with pytest.raises(GridError, match="resolution as one number or a pair"):
        Grid.from_bounds((0, 0, 1, 1), (1, 1, 1))


@pytest.mark.parametrize("bounds", [(1, 0, 1, 1), (0, 2, 1, 1), (170, -10, -170, 10)])
def test_empty_bounds_are_refused(bounds):
    message = r"are empty: give west < east and south < north \(a grid over the antimeridian"
    with pytest.raises(GridError, match=message):
        Grid.from_bounds(bounds, 1)


def test_too_many_pixels_are_refused():
    with pytest.raises(GridError, match=r"5,000,000,000 rows x 2,000 columns: .*the same units"):
        Grid.from_bounds((0, 0, 2, 5e6), 1e-3, "EPSG:3857")


def test_bounds_of_broken_pixels_are_refused_with_what_would_do():
    message = (
        "bounds (0.0, 0.0, 1.0, 1.0) hold 3.33333333333 rows x 3.33333333333 columns of 0.3, "
        "not a whole number: take bounds (0.0, 0.1, 0.9, 1.0) or resolution 1/3"
    )
    with pytest.raises(GridError, match=re.escape(message)):
        Grid.from_bounds((0, 0, 1, 1), 0.3)


def test_a_shortened_third_is_answered_with_the_fraction():
    with pytest.raises(GridError, match=r"43,200\.000172\d* columns .* or resolution 1/120$"):
        Grid.from_bounds((-180, -90, 180, 90), 0.0083333333)


def test_sides_that_would_do_are_named_apart_when_they_differ():
    with pytest.raises(GridError, match=r"columns of 0.3, .* or resolution \(1/3, 0.375\)$"):
        Grid.from_bounds((0, 0, 1, 0.75), 0.3)


@given(
    st.integers(-180, 170),
    st.integers(-90, 80),
    st.floats(0.5, 9.5),
    st.floats(0.5, 9.5),
    st.sampled_from([0.3, 0.07, 1 / 3600, 0.013]),
)
def test_what_the_message_names_does_work(west, south, width, height, resolution):
    bounds = (west, south, west + width, south + height)
    try:
        Grid.from_bounds(bounds, resolution)
    except GridError as err:
        said = re.search(r"take bounds \((.*)\) or resolution \(?([^()]*)\)?$", str(err))
        assert said
        fitting = tuple(map(float, said[1].split(", ")))
        sides = said[2].split(", ")
        assert Grid.from_bounds(fitting, resolution).bounds == pytest.approx(fitting)
        assert Grid.from_bounds(bounds, (sides[0], sides[-1])).bounds == pytest.approx(bounds)


def test_grid_errors_are_value_errors_of_the_package():
    assert issubclass(GridError, ValueError)
    assert issubclass(GridError, ZonerasterError)


# ---- chunks and batches ------------------------------------------------------------------------


def test_chunks_at_the_south_and_east_edge_are_cut():
    chunking = Chunking((10, 11), (4, 5), 2)
    assert (chunking.n_rows, chunking.n_cols) == (3, 3)
    assert (chunking.batch_rows, chunking.batch_cols, chunking.n_batches) == (2, 2, 4)
    assert chunking.chunk_window(0, 0) == Window(0, 4, 0, 5)
    assert chunking.chunk_window(2, 2) == Window(8, 10, 10, 11)
    assert chunking.batch_window(0) == Window(0, 8, 0, 10)
    assert chunking.batch_window(3) == Window(8, 10, 10, 11)
    assert chunking.batch_chunks(1) == (0, 2, 2, 3)
    assert chunking.batch_chunks(2) == (2, 3, 0, 2)
    assert [chunking.batch_of(i, j) for i in range(3) for j in range(3)] == [0, 0, 1] * 2 + [
        2,
        2,
        3,
    ]


def test_a_chunk_larger_than_the_grid_is_cut_to_it():
    chunking = Chunking.of(small_grid(), 4000)
    assert chunking == Chunking((2, 3), (4000, 4000), 1)
    assert chunking.chunk_window(0, 0) == Window(0, 2, 0, 3)


chunkings = st.builds(
    Chunking,
    st.tuples(st.integers(1, 40), st.integers(1, 40)),
    st.tuples(st.integers(1, 12), st.integers(1, 12)),
    st.integers(1, 5),
)


@given(chunkings)
def test_chunks_cover_the_grid_exactly_once_and_so_do_batches(chunking):
    in_chunks = np.zeros(chunking.shape, dtype=int)
    batch_by_chunk = np.full(chunking.shape, -1)
    for i in range(chunking.n_rows):
        for j in range(chunking.n_cols):
            window = chunking.chunk_window(i, j)
            in_chunks[window.slices] += 1
            batch_by_chunk[window.slices] = chunking.batch_of(i, j)
            assert (window.row0 // chunking.chunks[0], window.col0 // chunking.chunks[1]) == (i, j)
    in_batches = np.zeros(chunking.shape, dtype=int)
    for b in range(chunking.n_batches):
        window = chunking.batch_window(b)
        in_batches[window.slices] += 1
        assert (batch_by_chunk[window.slices] == b).all()
    assert (in_chunks == 1).all()
    assert (in_batches == 1).all()


@given(chunkings)
def test_a_batch_holds_the_chunks_that_name_it(chunking):
    for b in range(chunking.n_batches):
        i0, i1, j0, j1 = chunking.batch_chunks(b)
        assert {chunking.batch_of(i, j) for i in range(i0, i1) for j in range(j0, j1)} == {b}


@given(chunkings)
def test_batches_of_arrays_are_batches_of_their_elements(chunking):
    i, j = np.indices((chunking.n_rows, chunking.n_cols), dtype=np.int16)
    batches = chunking.batch_of(i, j)
    assert batches.dtype == np.int64
    assert batches.tolist() == [
        [chunking.batch_of(row, col) for col in range(chunking.n_cols)]
        for row in range(chunking.n_rows)
    ]


def test_batch_numbers_outgrow_the_dtype_of_their_indices():
    chunking = Chunking((100_000, 100_000), (10, 10), 1)
    index = np.array([9_999], dtype=np.int16)
    assert chunking.batch_of(index, index).tolist() == [99_999_999]


@pytest.mark.parametrize(
    ("rows", "cols", "batch"),
    [(64, 64, 8), (63, 56, 4), (57, 57, 8), (16, 16, 2), (8, 8, 1), (2, 3, 1)],
)
def test_batches_are_as_large_as_leaves_64_of_them(rows, cols, batch):
    grid = Grid("EPSG:3857", (1, 0, 0, 0, -1, 0), (rows * 10, cols * 10 - 1))
    assert Chunking.of(grid, 10).batch == batch


def test_the_globe_has_65_thousand_chunks_in_batches_of_64():
    chunking = Chunking.of(grid_module.GLOBAL_30M, 4000)
    assert (chunking.n_rows, chunking.n_cols, chunking.batch) == (180, 360, 8)
    assert chunking.n_batches == 23 * 45
    assert Chunking.of(grid_module.GLOBAL_30M, (10_000, 4000)).chunks == (10_000, 4000)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (((10, 10), (0, 4), 1), "chunks of 0 x 4 pixels in batches of 1: all of these must be at"),
        (((10, 10), (4, -4), 1), "chunks of 4 x -4 pixels"),
        (((10, 10), (4, 4), 0), "in batches of 0: all of these must be at least 1"),
        (((10, 0), (4, 4), 1), "10 rows x 0 columns: each must be 1 to"),
        (((10, 10), (2**15, 2**14 + 1), 1), "takes 2.0 GiB as uint32, the limit is 2 GiB: take sm"),
        (((10, 10), (10**6, 10**6), 1), "a chunk of 1000000 x 1000000 pixels takes 3725.3 GiB"),
    ],
)
def test_a_chunking_that_cannot_be_is_refused(arguments, message):
    with pytest.raises(GridError, match=message):
        Chunking(*arguments)


def test_the_largest_chunk_is_accepted():
    assert Chunking((10, 10), (2**15, 2**14), 1).n_batches == 1


def test_chunks_and_batches_that_are_not_there_are_refused():
    chunking = Chunking((10, 11), (4, 5), 2)
    for place in ((3, 0), (0, 3), (-1, 0), (0, -1)):
        with pytest.raises(GridError, match=r"there is no chunk \(.*\): rows are 0..2, columns 0"):
            chunking.chunk_window(*place)
    for batch in (-1, 4):
        for ask in (chunking.batch_window, chunking.batch_chunks):
            with pytest.raises(GridError, match=rf"there is no batch {batch}: batches are 0..3"):
                ask(batch)


# ---- grids of rasters --------------------------------------------------------------------------


def raster_of(grid: Grid, *, names: tuple[str, str] = ("y", "x")) -> xr.DataArray:
    """Zeros with coordinates at the pixel centres, and no CRS."""
    coordinates = dict(zip(names, (grid.y_centres(), grid.x_centres()), strict=True))
    return xr.DataArray(np.zeros(grid.shape, dtype=np.uint8), coordinates, names)


def with_grid_mapping(raster: xr.DataArray, grid: Grid, *, transform: bool = True) -> xr.DataArray:
    """Add the CF grid mapping that GDAL and rioxarray write."""
    a, b, c, d, e, f = tuple(grid.transform)[:6]
    attributes = {"crs_wkt": grid.crs.to_wkt()}
    if transform:
        attributes["GeoTransform"] = " ".join(map(repr, (c, a, b, f, d, e)))
    return raster.assign_coords(spatial_ref=((), 0, attributes))


THIRDS = Grid("EPSG:4326", (1 / 3600, 0, -180, 0, -1 / 3600, 90), (100, 200))
MERCATOR = Grid(
    "EPSG:3857", (19.109257071294063, 0, -20037508.342789244, 0, -19.109257071294063, 0), (30, 40)
)


@pytest.mark.parametrize("grid", [small_grid(), THIRDS, MERCATOR])
@pytest.mark.parametrize("transform", [True, False])
def test_the_grid_of_an_array_with_grid_mapping(grid, transform):
    raster = with_grid_mapping(raster_of(grid), grid, transform=transform)
    found = grid_like(raster)
    assert found.shape == grid.shape
    assert found.bounds == pytest.approx(grid.bounds, rel=1e-12)
    if transform or grid != MERCATOR:
        assert found == grid


def test_the_grid_of_an_array_needs_no_coordinates_when_it_has_a_transform():
    raster = with_grid_mapping(raster_of(THIRDS), THIRDS).drop_vars(["x", "y"])
    assert grid_like(raster) == THIRDS


def test_the_grid_of_a_dataset_follows_the_named_grid_mapping():
    grid = small_grid(crs="EPSG:32633")
    raster = raster_of(grid).assign_attrs(grid_mapping="utm: x y")
    attributes = grid.crs.to_cf()
    del attributes["crs_wkt"]
    dataset = xr.Dataset({"cover": raster, "utm": ((), 0, attributes)})
    found = grid_like(dataset)
    assert found.crs.to_cf()["grid_mapping_name"] == "transverse_mercator"
    assert (found.resolution, found.origin, found.shape) == (grid.resolution, grid.origin, (2, 3))
    decoded = raster.drop_attrs().assign_coords(utm=((), 0, {"crs_wkt": grid.crs.to_wkt()}))
    decoded.encoding["grid_mapping"] = "utm"
    assert grid_like(decoded) == grid


def test_the_grid_of_an_array_with_the_attributes_of_zarr_conventions():
    attributes = {
        "proj:wkt2": MERCATOR.crs.to_wkt(),
        "spatial:dimensions": ["row", "col"],
        "spatial:transform": list(MERCATOR.transform)[:6],
        "spatial:registration": "pixel",
    }
    raster = xr.DataArray(np.zeros((30, 40)), dims=("row", "col"), attrs=attributes)
    assert grid_like(raster) == MERCATOR
    code = raster.assign_attrs({"proj:wkt2": None, "proj:code": "EPSG:3857"})
    assert grid_like(xr.Dataset({"cover": code.drop_attrs()}, attrs=code.attrs)) == MERCATOR
    with pytest.raises(GridError, match="spatial:registration is not 'pixel': shift"):
        grid_like(raster.assign_attrs({"spatial:registration": "node"}))


@pytest.mark.parametrize("names", [("lat", "lon"), ("latitude", "longitude")])
def test_latitudes_and_longitudes_without_crs_are_wgs84(names):
    assert grid_like(raster_of(THIRDS, names=names)) == THIRDS


def test_more_dimensions_do_not_disturb():
    raster = raster_of(THIRDS, names=("lat", "lon")).expand_dims(time=3).transpose("lon", ...)
    assert grid_like(raster) == THIRDS
    assert grid_like(raster.to_dataset(name="rain")) == THIRDS


@pytest.mark.parametrize("grid", [THIRDS, MERCATOR])
def test_a_slice_is_on_the_lattice_of_the_whole(grid):
    whole = with_grid_mapping(raster_of(grid), grid)
    part = grid_like(whole.isel(y=slice(5, 9), x=slice(7, 8)))
    assert part.shape == (4, 1)
    assert part.offset_in(grid) == (5, 7, 1)


def test_every_third_pixel_is_another_lattice():
    whole = with_grid_mapping(raster_of(THIRDS), THIRDS)
    part = grid_like(whole.isel(y=slice(None, None, 3), x=slice(1, None, 3)))
    assert part.resolution == (Fraction(3, 3600), Fraction(3, 3600))
    assert part.offset_in(THIRDS) == (-1, 0, 3)


@given(st.integers(0, 1_439_000), st.integers(2, 900), st.sampled_from(["1/4000", "1/3600"]))
def test_short_stretches_of_coordinates_still_tell_the_lattice(col, width, resolution):
    step = Fraction(resolution)
    grid = Grid("EPSG:4326", (step, 0, -180 + col * step, 0, -step, 50), (2, width))
    assert grid_like(raster_of(grid, names=("lat", "lon"))) == grid


def test_float32_coordinates_go_with_a_transform_only():
    grid = Grid.from_bounds((-180, -60, 180, 60), 0.1)
    raster = raster_of(grid, names=("lat", "lon"))
    raster = raster.assign_coords({n: raster[n].astype(np.float32) for n in ("lat", "lon")})
    assert grid_like(with_grid_mapping(raster, grid)) == grid
    with pytest.raises(GridError, match=r"y coordinates are uneven by .* as float64, not float32"):
        grid_like(raster)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda r: r.isel(lat=slice(None, None, -1)), "must run from west to east and from north"),
        (lambda r: r.isel(lon=slice(None, None, -1)), r"use obj.sortby\(x\).sortby\(y, asc"),
        (lambda r: r.isel(lat=[0]), "1 y coordinate has no step: write a transform"),
        (lambda r: r.isel(lon=[0, 0, 2]), "x coordinates are uneven by up to"),
        (lambda r: r.isel(lon=[0, 0]), "x coordinates are uneven by up to 0 at a mean step of 0"),
        (lambda r: r.assign_coords(lon=list("abc")), r"coordinate 'lon' \(<U1\) is not a row of"),
        (lambda r: r.assign_coords(lon=[0, 1, np.nan]), "is not a row of finite numbers: give"),
        (lambda r: r.drop_vars("lat"), "neither coordinates 'lat' and 'lon' nor a transform"),
        (lambda r: r.rename(lat="y", lon="x"), r"no CRS: write one, e.g. obj.rio.write_crs"),
        (lambda r: r.rename(lat="a"), r"cannot tell rows from columns in dimensions \('a', 'lon"),
        (lambda r: r.assign_attrs(crs="garbage"), "unknown CRS 'garbage'"),
        (
            lambda r: r.assign_coords(spatial_ref=((), 0, {"grid_mapping_name": "nonsense"})),
            "cannot read the CF grid mapping .*nonsense",
        ),
        (lambda r: r.assign_attrs({"spatial:transform": [1, 2]}), r"cannot read the transform \[1"),
        (
            lambda r: r.assign_coords(spatial_ref=((), 0, {"GeoTransform": "0 1 x 0 0 -1"})),
            "cannot read the transform '0 1 x 0 0 -1': expected six numbers",
        ),
        (
            lambda r: r.assign_attrs({"spatial:transform": [1, 0.1, 0, 0, -1, 0]}),
            "rotated or sheared",
        ),
    ],
)
def test_an_array_without_a_grid_is_refused(change, message):
    with pytest.raises(GridError, match=message):
        grid_like(change(raster_of(small_grid(), names=("lat", "lon"))))


@pytest.mark.parametrize("obj", [np.zeros((2, 2)), None, 7])
def test_what_is_no_raster_is_refused(obj):
    with pytest.raises(GridError, match=r"cannot tell the grid of a .*: give an xarray DataArray"):
        grid_like(obj)


def test_the_grid_of_an_array_written_by_rioxarray():
    pytest.importorskip("rioxarray")
    raster = raster_of(MERCATOR).rio.write_crs("EPSG:3857").rio.write_transform(MERCATOR.transform)
    assert grid_like(raster) == MERCATOR


@pytest.mark.filterwarnings("ignore::UserWarning")
def test_the_grid_of_a_file(tmp_path):
    rasterio = pytest.importorskip("rasterio")

    def write(name: str, **profile: object) -> Path:
        shape = {"height": 30, "width": 40, "count": 1, "dtype": "uint8", "driver": "GTiff"}
        with rasterio.open(tmp_path / name, "w", **shape, **profile):
            return tmp_path / name

    path = write("good.tif", crs="EPSG:3857", transform=MERCATOR.transform)
    assert grid_like(path) == grid_like(str(path)) == MERCATOR
    with pytest.raises(GridError, match=r"bare.tif' has no CRS: write one, e.g. rio edit-info"):
        grid_like(write("bare.tif", transform=MERCATOR.transform))
    turned = MERCATOR.transform @ Affine.rotation(30)
    with pytest.raises(GridError, match="rotated or sheared"):
        grid_like(write("turned.tif", crs="EPSG:3857", transform=turned))
    with pytest.raises(GridError, match=r"cannot open raster '.*absent.tif'"):
        grid_like(tmp_path / "absent.tif")


@pytest.mark.parametrize(
    ("module", "obj", "message"),
    [
        ("rasterio", "a.tif", r"the grid of 'a.tif' needs rasterio: pip install 'zoneraster\[ra"),
        ("xarray", 7, "grid_like needs xarray: pip install xarray"),
    ],
)
def test_a_missing_package_is_named_with_the_pip_line(monkeypatch, module, obj, message):
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(ImportError, match=message):
        grid_like(obj)
