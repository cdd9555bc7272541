"""Rings in pixels of a grid."""

from __future__ import annotations

import numpy as np
import shapely

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
