"""Which zones claim a pixel at all, on boxes of a few pixels."""

from __future__ import annotations

import time
from dataclasses import replace

import numba
import numpy as np
import pytest
import shapely

from tests.oracles import rings_of, unit_grid
from zoneraster._burn import zones_with_centres
from zoneraster._zones import Rings


def has_centre(rings: Rings, height: int, width: int) -> bool:
    found = zones_with_centres(
        rings.u, rings.v, rings.ring_offsets, rings.part_offsets, rings.part_zone, 1, height, width
    )
    return found.tolist() == [True]


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
    "a row below its middle": (
        shapely.Polygon([(0.6, 4), (0.7, 4), (0.7, 0), (2, 0), (2, 0.6), (0.6, 0.6)]), True
    ),
    "a row above its middle": (
        shapely.Polygon([(0.6, 0), (0.7, 0), (0.7, 3.4), (2, 3.4), (2, 4), (0.6, 4)]), True
    ),
    "the westernmost pixel": (shapely.box(-0.2, 0.4, 0.6, 0.6), True),
    "the easternmost pixel": (shapely.box(3.4, 0.4, 4.2, 0.6), True),
    "west of the first centre": (shapely.box(-2, 0, 0.4, 4), False),
    "east of the last centre": (shapely.box(3.6, 0, 6, 4), False),
    "off the grid": (shapely.box(10, 10, 20, 20), False),
    "over the grid": (shapely.box(-9, -9, 9, 9), True),
    "two parts, one with a centre": (
        shapely.MultiPolygon([shapely.box(1.6, 1.6, 2.4, 2.4), shapely.box(3, 3, 4, 4)]), True
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", SHAPES)
def test_a_zone_claims_a_pixel_when_it_holds_a_centre(name: str) -> None:
    shape, claims = SHAPES[name]
    assert has_centre(rings_of(np.array([shape]), unit_grid(4, 4)), 4, 4) == claims


def test_every_small_box_agrees_with_its_centres() -> None:
    sides = np.array([-1, 0, 0.5, 0.75, 1.5, 2, 2.25, 3, 4.5])
    rows = cols = np.arange(3) + 0.5
    for left in sides:
        for right in sides[sides > left]:
            for low in sides:
                for high in sides[sides > low]:
                    rings = rings_of(
                        np.array([shapely.box(left, low, right, high)]), unit_grid(3, 3)
                    )
                    # A centre on a left or bottom edge is out, on a right or top edge in.
                    holds = ((cols > left) & (cols <= right)).any()
                    holds &= ((rows > low) & (rows <= high)).any()
                    assert has_centre(rings, 3, 3) == holds


def test_the_cost_of_a_long_sliver_follows_its_edges() -> None:
    # As plain Python a smaller case only shows that it works.
    n = 400 if numba.config.DISABLE_JIT else 40_000
    v = np.arange(n + 1) + 0.25
    ring_u = np.concatenate([np.full(n + 1, 10.0), np.full(n + 1, 10.2), [10.0]])
    ring_v = np.concatenate([v, v[::-1], v[:1]])
    one = np.array([0, 1], np.int64)
    rings = Rings(ring_u, ring_v, np.array([0, ring_u.size]), one, np.array([0]))
    assert not has_centre(rings, 5, 5)  # compiled
    started = time.process_time()
    assert not has_centre(rings, n + 9, 99)
    # A hundredth of a second; where each row looks at each edge, 15 s.
    assert time.process_time() - started < 1
    assert has_centre(replace(rings, u=ring_u + 0.4), n + 9, 99)
