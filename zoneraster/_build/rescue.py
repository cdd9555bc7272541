"""Zones without a pixel centre."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import shapely

from zoneraster._burn import BURN_RULE, zones_with_centres
from zoneraster._grid import Grid
from zoneraster._zones import Rings, Zones, moved_onto, objects_of, pixel_places


def rescue_zones(
    zones: Zones, rings: Rings, grid: Grid, *, rule: int = BURN_RULE
) -> tuple[Rings, npt.NDArray[np.int64]]:
    """Give zones without a pixel centre the pixel under their representative point.

    Parameters
    ----------
    zones : Zones
    rings : Rings
        Theirs, by the burn rule `rule`.
    grid : Grid
    rule : int

    Returns
    -------
    rings : Rings
        With one unit square more for each such zone.
    rescued : (m,) int64
        Their positions; zones whose point lies off the grid are left out.
    """
    height, width = grid.shape
    n_zones = zones.table.num_rows
    found = zones_with_centres(
        rings.u, rings.v, rings.ring_offsets, rings.part_offsets, rings.part_zone,
        n_zones, height, width,
    )  # fmt: skip
    lost = np.flatnonzero(~found)
    point = shapely.get_coordinates(
        shapely.point_on_surface(objects_of(zones.wkb.take(pa.array(lost))))
    )
    u, v = pixel_places(point, grid, rule)
    if rule > 1:
        u = moved_onto(u, grid)
    inside = (u >= 0) & (u < width) & (v >= 0) & (v < height)
    lost, col, row = lost[inside], np.floor(u[inside]), np.floor(v[inside])
    square_u = (col[:, None] + np.array([0.0, 1.0, 1.0, 0.0, 0.0])).ravel()
    square_v = (row[:, None] + np.array([0.0, 0.0, 1.0, 1.0, 0.0])).ravel()
    steps = np.arange(1, lost.size + 1)
    more = Rings(
        np.concatenate([rings.u, square_u]),
        np.concatenate([rings.v, square_v]),
        np.concatenate([rings.ring_offsets, rings.u.size + 5 * steps]),
        np.concatenate([rings.part_offsets, rings.part_offsets[-1] + steps]),
        np.concatenate([rings.part_zone, lost]),
    )
    return more, lost
