"""Zones without a pixel centre get the pixel under a point of theirs."""

from __future__ import annotations

import geopandas
import numpy as np
import pytest
import shapely

from zoneraster._build.rescue import rescue_zones
from zoneraster._grid import Grid
from zoneraster._zones import Zones, zone_rings
from zoneraster._zones.read import read_zones

GRID = Grid("EPSG:3857", (1, 0, 0, 0, -1, 4), (4, 4))


def zones_of(*shapes: shapely.Geometry) -> Zones:
    return read_zones(geopandas.GeoDataFrame(geometry=list(shapes), crs=3857), GRID)


def rescued(*shapes: shapely.Geometry) -> dict[int, list[tuple[float, float]]]:
    """The squares that were added, by zone, as their north-western and south-eastern corners."""
    zones = zones_of(*shapes)
    rings = zone_rings(zones, GRID)
    more, lost = rescue_zones(zones, rings, GRID)
    n = rings.part_zone.size
    assert more.part_zone[:n].tolist() == rings.part_zone.tolist()
    assert more.part_zone[n:].tolist() == lost.tolist()
    found = {}
    for zone, part in zip(lost.tolist(), range(n, more.part_zone.size), strict=True):
        ring = more.part_offsets[part]
        at = slice(more.ring_offsets[ring], more.ring_offsets[ring + 1])
        found[zone] = [
            (more.u[at].min(), more.v[at].min()), (more.u[at].max(), more.v[at].max())
        ]  # fmt: skip
    return found


def test_a_zone_that_holds_a_centre_gets_nothing() -> None:
    assert rescued(shapely.box(0, 0, 1, 1), shapely.box(0.4, 0.4, 0.6, 0.6)) == {}


@pytest.mark.parametrize(
    ("x", "y", "col", "row"),
    [
        (0.25, 3.75, 0, 0),
        (0.75, 3.75, 0, 0),
        (3.75, 0.25, 3, 3),
        (3.25, 0.75, 3, 3),
        (0.25, 0.25, 0, 3),
        (2.25, 1.75, 2, 2),
    ],
)
def test_a_dot_gets_the_pixel_that_it_lies_in(x: float, y: float, col: int, row: int) -> None:
    dot = shapely.box(x - 0.125, y - 0.125, x + 0.125, y + 0.125)
    assert rescued(shapely.box(0, 0, 1, 1), dot) == {1: [(col, row), (col + 1, row + 1)]}


@pytest.mark.parametrize(("x", "y"), [(-0.25, 2.25), (4.25, 2.25), (2.25, -0.25), (2.25, 4.25)])
def test_a_dot_beside_the_grid_gets_nothing(x: float, y: float) -> None:
    dot = shapely.box(x - 0.125, y - 0.125, x + 0.125, y + 0.125)
    assert rescued(dot) == {}


@pytest.mark.parametrize(
    ("shape", "col", "row"),
    [
        (shapely.box(-3, 2.05, 0.4, 2.3), 0, 1),
        (shapely.box(3.6, 2.05, 9, 2.3), 3, 1),
        (shapely.box(2.05, -5, 2.3, 0.25), 2, 3),
        (shapely.box(2.05, 3.75, 2.3, 8), 2, 0),
        (shapely.MultiPolygon([shapely.box(-9, 0, -5, 3), shapely.box(1.1, 1.1, 1.3, 1.3)]), 1, 2),
        # A bow tie, of which the wider half lies beside the grid.
        (shapely.Polygon([(-9, 1), (0.4, 3.2), (0.4, 3), (-9, 3.3)]), 0, 0),
    ],
)
def test_a_zone_whose_point_is_off_the_grid_gets_a_pixel_of_what_is_on_it(
    shape: shapely.Geometry, col: int, row: int
) -> None:
    assert rescued(shape, shapely.box(1, 1, 3, 3)) == {0: [(col, row), (col + 1, row + 1)]}


@pytest.mark.parametrize("west", [-180, 0, 170])
def test_dots_beyond_the_seam_get_the_pixel_on_the_other_side(west: int) -> None:
    grid = Grid.from_bounds((west, 0, west + 20 if west == 170 else west + 360, 10), 1)
    for x in (-185.3, 174.7):
        dots = [shapely.box(x, 5.1, x + 0.1, 5.2), shapely.box(173, 1, 176, 3)]
        zones = read_zones(geopandas.GeoDataFrame(geometry=dots, crs=4326), grid)
        more, lost = rescue_zones(zones, zone_rings(zones, grid), grid)
        assert lost.tolist() == [0]
        assert more.u[-5:].min() == (174 - west) % 360
        assert more.v[-5:].min() == 4


def test_each_lost_zone_gets_one_pixel_whatever_its_parts() -> None:
    dots = [shapely.box(x, x, x + 0.25, x + 0.25) for x in (0.125, 1.125)]
    found = rescued(shapely.MultiPolygon(dots), shapely.box(0, 0, 4, 4), dots[1])
    assert sorted(found) == [0, 2]
    assert found[2] == [(1, 2), (2, 3)]


def test_squares_are_closed_rings_with_edges_on_pixel_edges() -> None:
    zones = zones_of(shapely.box(1.125, 1.125, 1.25, 1.25))
    more, _ = rescue_zones(zones, zone_rings(zones, GRID), GRID)
    square = np.stack([more.u[-5:], more.v[-5:]], axis=1)
    assert square[0].tolist() == square[-1].tolist()
    assert shapely.Polygon(square).equals(shapely.box(1, 2, 2, 3))
