"""Where zones lie, before anything is burned."""

from __future__ import annotations

import numpy as np
import shapely

from tests.oracles import rings_of
from zoneraster._build.boxes import part_boxes, zones_outside
from zoneraster._grid import Grid
from zoneraster._zones import Rings

GLOBE = Grid.from_bounds((-180, -90, 180, 90), 0.5)


def boxes_of(*shapes: shapely.Geometry, grid: Grid = GLOBE) -> tuple[np.ndarray, np.ndarray]:
    rings = rings_of(np.array(shapes, dtype=object), grid)
    return part_boxes(rings), rings.part_zone


def test_boxes_hold_all_rings_of_a_part() -> None:
    two = shapely.MultiPolygon([shapely.box(0, 0, 1, 2), shapely.box(5, 5, 6, 6)])
    boxes, part_zone = boxes_of(shapely.Point(0, 0).buffer(3), two)
    assert part_zone.tolist() == [0, 1, 1]
    assert boxes.tolist()[1:] == [[360, 176, 362, 180], [370, 168, 372, 170]]
    empty, none = np.empty(0), np.zeros(1, np.int64)
    assert part_boxes(Rings(empty, empty, none, none, none[:0])).shape == (0, 4)


def test_a_zone_is_outside_when_none_of_its_parts_meets_the_grid() -> None:
    grid = Grid.from_bounds((0, 0, 10, 10), 1, 3857)
    parts = shapely.MultiPolygon([shapely.box(-9, 0, -8, 1), shapely.box(1, 1, 2, 2)])
    shapes = [
        shapely.box(9.5, 9.5, 12, 12), parts, shapely.box(10, 0, 11, 1), shapely.box(-1, 0, 0, 1),
        shapely.box(0, -1, 1, 0), shapely.box(0, 10, 1, 11),
    ]  # fmt: skip
    boxes, part_zone = boxes_of(*shapes, grid=grid)
    assert zones_outside(boxes, part_zone, grid, len(shapes)).tolist() == [2, 3, 4, 5]
