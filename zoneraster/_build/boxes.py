"""Boxes of parts: where zones lie, before anything is burned."""

from __future__ import annotations

import numpy as np

from zoneraster._grid import Grid
from zoneraster._zones import Rings
from zoneraster.arrays import Floats, Ints


def part_boxes(rings: Rings) -> Floats:
    """Bounding boxes of the parts, (n_parts, 4) float64: u min, v min, u max, v max, pixels."""
    if rings.part_zone.size == 0:
        return np.empty((0, 4), np.float64)
    first = rings.ring_offsets[rings.part_offsets[:-1]]
    return np.stack(
        [
            np.minimum.reduceat(rings.u, first),
            np.minimum.reduceat(rings.v, first),
            np.maximum.reduceat(rings.u, first),
            np.maximum.reduceat(rings.v, first),
        ],
        axis=1,
    )


def zones_outside(boxes: Floats, part_zone: Ints, grid: Grid, n_zones: int) -> Ints:
    """Positions of zones none of whose parts has a box that meets the grid."""
    height, width = grid.shape
    meets = (boxes[:, 2] > 0) & (boxes[:, 0] < width) & (boxes[:, 3] > 0) & (boxes[:, 1] < height)
    inside = np.zeros(n_zones, bool)
    inside[part_zone[meets]] = True
    return np.flatnonzero(~inside)
