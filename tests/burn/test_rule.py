"""The burn rule: what is a multiple of one half, and that ties come out as the table says."""

from __future__ import annotations

import math
import struct
from fractions import Fraction

import geopandas
import numpy as np
import pytest
import shapely
from hypothesis import given
from hypothesis import strategies as st
from rasterio.features import rasterize
from rasterio.io import MemoryFile

from tests.oracles import burned
from zoneraster._burn.rule import SNAP, snap
from zoneraster._grid import Grid
from zoneraster._zones import zone_rings
from zoneraster._zones.read import read_zones


def snapped(*places: float) -> list[float]:
    out = np.array(places)
    snap(out)
    return out.tolist()


def test_a_coordinate_within_a_millionth_of_a_half_is_that_half() -> None:
    assert snapped(70.00000000000045, 2.4999999, 3.0, -0.5000000001) == [70.0, 2.5, 3.0, -0.5]
    assert snapped(5 + SNAP, 5 - SNAP, 5.5 + SNAP) == [5.0, 5.0, 5.5]


def test_all_other_coordinates_keep_their_bits() -> None:
    beyond = [5 + 1.0001 * SNAP, 5 - 1.0001 * SNAP, 0.25, 0.4999, 1e12 + 0.25, -7.3]
    assert snapped(*beyond) == beyond
    far = [math.inf, -math.inf, 1e300, 2.0**60 + 256]
    assert snapped(*far) == far


def test_zero_has_no_sign() -> None:
    assert [math.copysign(1, one) for one in snapped(-1e-12, -0.0, 1e-12)] == [1, 1, 1]


@given(st.floats(-(2.0**40), 2.0**40), st.floats(-2e-6, 2e-6))
def test_snapping_is_that_of_fractions(near: float, noise: float) -> None:
    place = round(2 * near) / 2 + noise
    half = Fraction(round(2 * Fraction(place)), 2)
    is_near = abs(Fraction(place) - half) <= Fraction(1, 2**20)
    assert snapped(place) == [float(half) if is_near else place]


# ---- polygons whose borders are those of pixels, or run through their centres --------------------

STEPS = ["1/100", "1/1200", "1/3600", "1/4000", "100/3", "29.97"]


@st.composite
def lattices(draw: st.DrawFn) -> Grid:
    """A grid anywhere: in degrees, or in metres of a Mercator projection."""
    step, shape = Fraction(draw(st.sampled_from(STEPS))), (draw(st.integers(3, 9)),) * 2
    crs, sides = ("EPSG:4326", (170, 80)) if step < 1 else ("EPSG:3857", (10**7, 10**7))
    corner = (draw(st.integers(-side, side)) for side in sides)
    # Towards the middle, so that no grid reaches over a pole.
    west, north = (at - (at > 0 or -1) * draw(st.integers(0, 5000)) * step for at in corner)
    return Grid(crs, (step, 0, west, 0, -step, north), shape)


def cells(grid: Grid, labels: np.ndarray, offset: Fraction) -> geopandas.GeoDataFrame:
    """A zone for each label, made of unit squares `offset` pixels from the pixels."""
    (step_x, step_y), (west, north) = grid.resolution, grid.origin
    # As people have them: the nearest double of the decimal or fraction.
    x = [float(west + (k + offset) * step_x) for k in range(labels.shape[1] + 1)]
    y = [float(north - (k + offset) * step_y) for k in range(labels.shape[0] + 1)]
    shapes = [
        shapely.union_all([shapely.box(x[c], y[r + 1], x[c + 1], y[r]) for r, c in at])
        for at in (np.argwhere(labels == label).tolist() for label in np.unique(labels))
    ]
    return geopandas.GeoDataFrame(geometry=shapes, crs=grid.crs)


@pytest.mark.slow
@pytest.mark.parametrize("touched", [False, True])
@given(grid=lattices(), seed=st.integers(0, 2**32 - 1))
def test_polygons_made_of_pixels_claim_these_and_no_others(
    touched: bool, grid: Grid, seed: int
) -> None:
    labels = np.random.default_rng(seed).integers(0, 4, grid.shape)
    rings = zone_rings(read_zones(cells(grid, labels, Fraction(0)), grid), grid)
    canvas, counts = burned(rings, grid.shape, (4, 4), touched=touched)
    assert np.array_equal(canvas, np.searchsorted(np.unique(labels), labels) + 1)
    assert sum(claimed for claimed, _, _ in counts.values()) == labels.size
    assert not any(contested for _, _, contested in counts.values())


@pytest.mark.slow
@given(grid=lattices(), seed=st.integers(0, 2**32 - 1))
def test_cells_around_centres_claim_one_pixel_for_each_cell(grid: Grid, seed: int) -> None:
    shape = (grid.height - 1, grid.width - 1)
    labels = np.random.default_rng(seed).integers(0, 4, shape)
    rings = zone_rings(read_zones(cells(grid, labels, Fraction(1, 2)), grid), grid)
    canvas, counts = burned(rings, grid.shape, (4, 4))
    # A centre on a top or right edge is in: the pixel at the upper right corner of each cell.
    right = np.zeros(grid.shape, np.uint32)
    right[:-1, 1:] = np.searchsorted(np.unique(labels), labels) + 1
    assert np.array_equal(canvas, right)
    assert not any(contested for _, _, contested in counts.values())


# ---- GDAL's own numbers, as its tests state them -------------------------------------------------


def drawn(wkt: list[str], grid: Grid, *, touched: bool = False) -> np.ndarray:
    """Canvas of polygons 1, 2, ..."""
    zones = geopandas.GeoDataFrame(geometry=[shapely.from_wkt(w) for w in wkt], crs=grid.crs)
    rings = zone_rings(read_zones(zones, grid), grid)
    return burned(rings, grid.shape, (1000, 1000), touched=touched)[0]


def with_lines(canvas: np.ndarray, grid: Grid, lines: dict[str, int], *, add: bool) -> np.ndarray:
    """The lines that are in some of these pictures, by GDAL: we burn polygons only."""
    out = canvas.astype(np.uint8)
    for wkt, value in lines.items():
        line = shapely.from_wkt(wkt)
        is_on = rasterize([line], grid.shape, transform=grid.transform).astype(bool)
        out[is_on] = out[is_on] + value if add else value
    return out


def checksum(image: np.ndarray) -> int:
    shape = {"height": image.shape[0], "width": image.shape[1], "count": 1, "dtype": "uint8"}
    with MemoryFile() as memory, memory.open(driver="GTiff", **shape) as raster:
        raster.write(image.astype(np.uint8), 1)
        return raster.checksum(1)


HUNDRED = Grid("EPSG:32631", (1, 0, 1000, 0, -1, 1100), (100, 100))
BOX = "POLYGON((1020 1030,1020 1045,1050 1045,1050 1030,1020 1030))"
TALL = "POLYGON((1045 1050,1055 1050,1055 1020,1045 1020,1045 1050))"
SLANTED = "POLYGON((1010 1046,1015 1055,1055 1060,1054 1048,1010 1046))"
HOLLOW = (
    "POLYGON((1020 1076,1025 1085,1065 1090,1064 1078,1020 1076),"
    "(1023 1079,1061 1081,1062 1087,1028 1082,1023 1079))"
)
RISING = "LINESTRING(1000 1000, 1100 1050)"


@pytest.mark.filterwarnings("ignore::rasterio.errors.NotGeoreferencedWarning")
def test_pictures_of_gdals_tests_have_the_checksums_that_gdal_states() -> None:
    one = np.where(drawn([BOX], HUNDRED) > 0, 220, 0)
    assert checksum(with_lines(one, HUNDRED, {RISING: 220}, add=False)) == 6452
    labels = np.array([0, 50, 255, 60])[drawn([BOX, SLANTED, HOLLOW], HUNDRED)]
    bent = "LINESTRING(1000 1000, 1095 1050, 1080 1080)"
    lines = {"LINESTRING(1005 1000, 1100 1050)": 100, bent: 180}
    assert checksum(with_lines(labels, HUNDRED, lines, add=False)) == 16265
    added = sum((drawn([wkt], HUNDRED) > 0) * 110 for wkt in (BOX, TALL))
    lines = {RISING: 110, "LINESTRING(1005 1000, 1000 1050)": 110}
    assert checksum(with_lines(added, HUNDRED, lines, add=True)) == 13022
    square = "POLYGON((1020 1020,1020 1080,1080 1080,1080 1020,1020 1020))"
    assert checksum(drawn([square], HUNDRED) * 255) == 44190


@pytest.mark.filterwarnings("ignore::rasterio.errors.NotGeoreferencedWarning")
def test_touched_pixels_of_gdals_tests_are_those_that_gdal_states() -> None:
    cutline = [
        "POLYGON((6.25 1.25,7.25 1.25,7.25 2.25,6.25 2.25,6.25 1.25))",
        "POLYGON((4.25 4.25,6.25 4.25,6.25 6.25,4.25 6.25,4.25 4.25))",
        "POLYGON((1.001 1.001,3.999 3.999,3.2 1.6,1.001 1.001))",
    ]
    twelve = Grid("EPSG:32631", (1, 0, 0, 0, -1, 12), (12, 12))
    touched = drawn(cutline, twelve, touched=True)
    assert checksum(np.where(touched > 0, 220, 0)) == 121
    # OSGeo/gdal#7523: close to a border, but not on it.
    near = (
        "POLYGON((475439.996613325 424122.228740036,475439.996613325 424142.201761073,"
        "475446.914301362 424124.133743847,475439.996613325 424122.228740036))"
    )
    grid = Grid("EPSG:25831", (5, 0, 475435, 0, -5, 424145), (5, 3))
    assert drawn([near], grid, touched=True).tolist() == [[1, 1, 0]] * 3 + [[1, 1, 1]] * 2
    # OSGeo/gdal#14615: vertices on a border touch nothing below it.
    low = (
        "POLYGON((872512 6114970,872512 6114970.4,872513.3 6114970.4,872513.1 6114970,"
        "872512 6114970))"
    )
    grid = Grid("EPSG:25832", (0.4, 0, 872511.2, 0, -0.4, 6114971.2), (5, 8))
    assert np.argwhere(drawn([low], grid, touched=True)).tolist() == [[2, c] for c in (2, 3, 4, 5)]


@pytest.mark.slow
def test_the_polygon_of_gdals_issue_5580_touches_what_gdal_burns() -> None:
    places = [
        ["411c8a8d78ef4c68", "415709b9501d14d0"],
        ["411c90bf7da52936", "4157400e6f67357c"],
        ["411e847ffffffffe", "41573ff1daf13e7f"],
        ["411e848000000000", "4157099c8e7e90ec"],
    ]
    xy = [[struct.unpack(">d", bytes.fromhex(n))[0] for n in place] for place in places]
    grid = Grid("EPSG:32631", (0.4, 0, 499000, 0, -0.4, 6095000), (5000, 5000))
    canvas = drawn([shapely.to_wkt(shapely.Polygon(xy), -1)], grid, touched=True)
    assert np.count_nonzero(canvas) == 11_208_806
