"""Which zones claim a pixel at all, on boxes of a few pixels."""

from __future__ import annotations

import numpy as np
import pytest
import shapely

from tests.oracles import rings_of, unit_grid
from zoneraster._burn import zones_with_centres

HOLE = shapely.Polygon(
    shapely.box(0, 0, 3, 3).exterior, [shapely.box(0.25, 0.25, 2.75, 2.75).exterior]
)
SHAPES = {
    "a pixel": (shapely.box(1, 1, 2, 2), True),
    "between centres": (shapely.box(1.6, 1.6, 2.4, 2.4), False),
    "a sliver between rows": (shapely.box(0, 1.6, 4, 2.4), False),
    "a sliver between columns": (shapely.box(1.6, 0, 2.4, 4), False),
    "left edge on a centre": (shapely.box(1.5, 0, 2.4, 4), False),
    "right edge on a centre": (shapely.box(0.6, 0, 1.5, 4), True),
    "centres in its hole": (HOLE, False),
    "off the grid": (shapely.box(10, 10, 20, 20), False),
    "over the grid": (shapely.box(-9, -9, 9, 9), True),
    "two parts, one with a centre": (
        shapely.MultiPolygon([shapely.box(1.6, 1.6, 2.4, 2.4), shapely.box(3, 3, 4, 4)]), True
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", SHAPES)
def test_a_zone_claims_a_pixel_when_it_holds_a_centre(name: str) -> None:
    shape, claims = SHAPES[name]
    rings = rings_of(np.array([shape]), unit_grid(4, 4))
    found = zones_with_centres(
        rings.u, rings.v, rings.ring_offsets, rings.part_offsets, rings.part_zone, 1, 4, 4
    )
    assert found.tolist() == [claims]
