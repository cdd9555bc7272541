"""Grids, pixel coordinates, and grids on grids."""

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
from affine import Affine
from hypothesis import given
from hypothesis import strategies as st
from pyproj import CRS

from tests.grid.samples import THIRD, small_grid
from zoneraster._grid import grid as grid_module
from zoneraster._grid.grid import Grid
from zoneraster.errors import GridError, ZonerasterError


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


# ---- pixel coordinates ---------------------------------------------------------------------------


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


# ---- grids on grids ------------------------------------------------------------------------------


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
    message = "CRS, WGS 84 \\(EPSG:4326\\) and WGS 84 / Pseudo-Mercator \\(EPSG:3857\\): reproject"
    with pytest.raises(GridError, match=message):
        small_grid().offset_in(small_grid(crs="EPSG:3857"))


def test_grids_of_different_proportions_have_no_offset():
    other = Grid("EPSG:4326", (0.25, 0, 10, 0, -0.5, 50), (2, 3))
    message = "pixels are 2 times as wide and 1 times as high as the other grid's: resample"
    with pytest.raises(GridError, match=message):
        small_grid().offset_in(other)


# ---- grids that cannot be ------------------------------------------------------------------------


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
        "not a whole number: Grid.covering(...) takes bounds (0.0, 0.0, 1.2, 1.2) around them; or "
        "take resolution 1/3"
    )
    with pytest.raises(GridError, match=re.escape(message)):
        Grid.from_bounds((0, 0, 1, 1), 0.3)


def test_a_shortened_third_is_answered_with_the_fraction():
    with pytest.raises(GridError, match=r"43,200\.000172\d* columns .* or take resolution 1/120$"):
        Grid.from_bounds((-180, -90, 180, 90), 0.0083333333)


def test_sides_that_would_do_are_named_apart_when_they_differ():
    with pytest.raises(GridError, match=r"columns of 0.3, .* or take resolution \(1/3, 0.375\)$"):
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
        said = re.search(
            r"takes bounds \((.*)\) around them; or take resolution \(?([^()]*)\)?$", str(err)
        )
        assert said
        fitting = tuple(map(float, said[1].split(", ")))
        sides = said[2].split(", ")
        assert Grid.from_bounds(fitting, resolution).bounds == pytest.approx(fitting)
        assert Grid.covering(bounds, resolution).bounds == fitting
        assert fitting[0] <= west
        assert fitting[1] <= south
        assert fitting[2] >= bounds[2]
        assert fitting[3] >= bounds[3]
        assert Grid.from_bounds(bounds, (sides[0], sides[-1])).bounds == pytest.approx(bounds)


STEPS = st.sampled_from(["0.3", "0.07", "1/3600", "30", "0.00025"])
EDGES = st.decimals(-170, 170, places=7)


@given(EDGES, EDGES, st.decimals("0.01", 5, places=7), STEPS)
def test_a_covering_grid_lies_on_whole_steps_and_is_as_small_as_may_be(west, south, side, step):
    box = [Fraction(str(n)) for n in (west, south, west + side, south + side)]
    grid, exact = Grid.covering(list(map(str, box)), step), Fraction(step)
    (left, top), (rows, cols) = grid.origin, grid.shape
    edges = (left, top - rows * exact, left + cols * exact, top)
    beyond = [(a - b) * sign for a, b, sign in zip(edges, box, (-1, -1, 1, 1), strict=True)]
    assert all((edge / exact).denominator == 1 for edge in edges)
    # An edge within a millionth of a pixel of a whole step is that step.
    assert all(-exact / 10**6 <= part < exact for part in beyond)
    assert grid.resolution == (exact, exact)


def test_a_covering_grid_of_bounds_on_whole_steps_is_that_of_the_bounds():
    bounds = (-180, -90, 180, 90)
    assert Grid.covering(bounds, "1/3600") == Grid.from_bounds(bounds, "1/3600")
    noisy = (5.000000000001, 45, 11, 48.00000000001)
    assert Grid.covering(noisy, 0.00025).bounds == (5, 45, 11, 48)
    utm = Grid.covering((300_005, 5_000_017, 300_050, 5_000_090), (30, 10), "EPSG:32632")
    assert utm.bounds == (299_990 + 10, 5_000_010, 300_060, 5_000_090)
    with pytest.raises(GridError, match="are empty"):
        Grid.covering((1, 0, 1, 1), 0.5)


def test_grid_errors_are_value_errors_of_the_package():
    assert issubclass(GridError, ValueError)
    assert issubclass(GridError, ZonerasterError)
