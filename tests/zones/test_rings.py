"""Rings in pixels of a grid."""

from __future__ import annotations

import numpy as np
import pytest
import shapely

from tests.oracles import burned
from tests.zones.samples import GRID, SQUARES, frame
from zoneraster._grid import Grid
from zoneraster._zones.read import read_zones, zone_rings
from zoneraster._zones.rings import pixel_places


def test_rings_are_in_pixels_of_the_whole_grid() -> None:
    outer = shapely.Polygon([(1, 1), (1, 5), (5, 5), (5, 1)], [[(2, 2), (3, 2), (3, 3)]])
    source = frame([SQUARES[0], shapely.MultiPolygon([outer, shapely.box(6, 6, 7, 7)])])
    rings = zone_rings(read_zones(source, GRID), GRID)
    assert rings.ring_offsets.tolist() == [0, 5, 10, 14, 19]
    assert rings.part_offsets.tolist() == [0, 1, 3, 4]
    assert rings.part_zone.tolist() == [0, 1, 1]
    assert rings.u[:5].tolist() == [1, 1, 0, 0, 1]
    assert rings.v[:5].tolist() == [10, 9, 9, 10, 10]
    assert rings.u[10:14].tolist() == [2, 3, 3, 2]
    assert rings.v[10:14].tolist() == [8, 8, 7, 8]
    dtypes = (rings.u, rings.v, rings.ring_offsets, rings.part_offsets, rings.part_zone)
    assert [str(array.dtype) for array in dtypes] == ["float64"] * 2 + ["int64"] * 3


def test_rings_agree_with_shapely_on_random_polygons() -> None:
    random = np.random.default_rng(1)
    points = shapely.points(random.uniform(1, 9, (200, 2)))
    blobs = shapely.buffer(points, random.uniform(0.1, 1, 200), quad_segs=3)
    source = [shapely.union_all(group) for group in np.array_split(blobs, 40)]
    source = [each.difference(shapely.Point(5, 5).buffer(0.3)) for each in source]
    rings = zone_rings(read_zones(frame(source), GRID), GRID)
    flat = [ring for part in shapely.get_parts(source) for ring in shapely.get_rings(part)]
    assert len(flat) == rings.ring_offsets.size - 1
    u, v = GRID.to_pixels(*shapely.get_coordinates(flat).T)
    assert (rings.u == u).all()
    assert (rings.v == v).all()
    assert np.diff(rings.ring_offsets).tolist() == shapely.get_num_coordinates(flat).tolist()
    parts, zone = shapely.get_parts(source, return_index=True)
    assert rings.part_zone.tolist() == zone.tolist()
    n_rings = 1 + shapely.get_num_interior_rings(parts)
    assert np.diff(rings.part_offsets).tolist() == n_rings.tolist()


def test_places_are_freed_of_their_noise_by_rule_2_and_not_by_rule_1() -> None:
    grid = Grid.from_bounds((-124, 32, -123, 33), "1/100")
    xy = np.array([[-123.95, 32.30], [-123.945, 32.305], [-123.9475, 32.3021]])
    u, v = grid.to_pixels(*xy.T)
    assert v[0] != 70.0  # 70.00000000000045
    first = pixel_places(xy, grid, 1)
    assert first[0].tolist() == u.tolist()
    assert first[1].tolist() == v.tolist()
    second = pixel_places(xy, grid, 2)
    assert second[0].tolist() == [5.0, 5.5, u[2]]
    assert second[1].tolist() == [70.0, 69.5, v[2]]


# ---- the globe has no border ---------------------------------------------------------------------


def globe(west: float, step: float, *, half: bool) -> Grid:
    """A grid around the globe; with `half`, centres lie on the poles and on the seam."""
    cols, rows = int(360 / step), int(180 / step) + half
    shift = step / 2 * half
    return Grid("EPSG:4326", (step, 0, west - shift, 0, -step, 90 + shift), (rows, cols))


@pytest.mark.parametrize("west", [-180.0, 0.0, -170.0, 10.0])
@pytest.mark.parametrize("half", [False, True])
@pytest.mark.parametrize("zones_west", [-180.0, 0.0, -90.0])
@pytest.mark.parametrize("touched", [False, True])
def test_a_globe_of_zones_owns_every_pixel_once(
    west: float, half: bool, zones_west: float, touched: bool
) -> None:
    grid = globe(west, 10, half=half)
    x, y = zones_west + np.arange(0, 361, 45), np.arange(-90, 91, 30)
    tiles = [shapely.box(a, b, a + 45, b + 30) for a in x[:-1] for b in y[:-1]]
    rings = zone_rings(read_zones(frame(tiles), grid), grid)
    canvas, counts = burned(rings, grid.shape, (7, 10), touched=touched)
    assert (canvas > 0).all()
    if not touched:
        assert sum(claimed for claimed, _, _ in counts.values()) == canvas.size
        assert not any(contested for _, _, contested in counts.values())
    whole = [shapely.box(zones_west, -90, zones_west + 360, 90)]
    canvas, _ = burned(zone_rings(read_zones(frame(whole), grid), grid), grid.shape, (7, 10))
    assert (canvas == 1).all()


def test_the_pole_belongs_to_what_ends_there_by_an_edge() -> None:
    grid = globe(-180, 10, half=True)
    wedge = shapely.Polygon([(-100, -90), (-50, -90), (-50, -60), (-100, -60)])
    apex = shapely.Polygon([(0, -90), (30, -60), (-30, -60)])
    canvas, _ = burned(zone_rings(read_zones(frame([wedge, apex]), grid), grid), grid.shape, (9, 9))
    assert np.flatnonzero(canvas[-1]).tolist() == [9, 10, 11, 12, 13]  # centres -90 to -50
    # The edges beside the pole are where they were.
    off = grid.to_pixels([-100, -50], [-60, -60])[0].tolist()
    rings = zone_rings(read_zones(frame([wedge]), grid), grid)
    assert sorted(set(rings.u.tolist())) == off
    assert rings.v.max() == 19
    assert rings.u[0] == rings.u[-1]


@pytest.mark.parametrize(("west", "east"), [(170, 190), (-190, -170), (350, 370), (-20, 20)])
def test_zones_over_the_border_of_a_global_grid_come_in_on_the_other_side(
    west: float, east: float
) -> None:
    for grid_west in (-180.0, 0.0):
        grid = globe(grid_west, 5, half=False)
        rings = zone_rings(read_zones(frame([shapely.box(west, 0, east, 10)]), grid), grid)
        canvas, _ = burned(rings, grid.shape, (36, 36))
        middle = grid.x_centres()
        inside = ((middle - west) % 360) < east - west
        assert np.array_equal(canvas.any(axis=0), inside)
        assert np.count_nonzero(canvas) == 2 * np.count_nonzero(inside)


def test_zones_that_end_at_the_border_of_a_global_grid_have_no_copy() -> None:
    grid = globe(-180, 1, half=False)
    rings = zone_rings(read_zones(frame([shapely.box(-180, -90, 180, 90)]), grid), grid)
    assert rings.part_zone.tolist() == [0]
    # Neither have those of rule 1.
    assert (
        zone_rings(read_zones(frame([shapely.box(170, 0, 190, 9)]), grid), grid, rule=1).u.size == 5
    )


def test_a_hole_goes_along_and_a_part_stays_one() -> None:
    grid = globe(-180, 1, half=False)
    ring = shapely.box(170, 0, 190, 20).difference(shapely.box(178, 5, 184, 15))
    two = shapely.MultiPolygon([shapely.box(0, 0, 1, 1), ring])
    canvas, _ = burned(zone_rings(read_zones(frame([two]), grid), grid), grid.shape, (90, 90))
    assert np.count_nonzero(canvas) == 1 + 20 * 20 - 6 * 10
    assert not canvas[75:85, :4].any()  # the hole, east of the seam
