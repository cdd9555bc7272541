"""Zones without a pixel centre."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import shapely

from zoneraster._build.boxes import zones_outside
from zoneraster._burn import BURN_RULE, zones_with_centres
from zoneraster._grid import Grid, is_in_degrees
from zoneraster._zones import Rings, Zones, moved_onto, objects_of, pixel_places
from zoneraster.arrays import Floats, Objects


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
        Their positions; zones no part of which lies on the grid are left out.
    """
    height, width = grid.shape
    n_zones = zones.table.num_rows
    found = zones_with_centres(
        rings.u, rings.v, rings.ring_offsets, rings.part_offsets, rings.part_zone,
        n_zones, height, width,
    )  # fmt: skip
    # What lies off the grid altogether has no pixel to get.
    found[zones_outside(rings.boxes, rings.part_zone, grid, n_zones)] = True
    lost = np.flatnonzero(~found)
    u, v = _places(objects_of(zones.wkb.take(pa.array(lost))), grid, rule)
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


def _places(shapes: Objects, grid: Grid, rule: int) -> tuple[Floats, Floats]:
    """Representative points in pixels; of what lies on the grid, where that of all does not."""
    u, v = _pixel_under(shapes, grid, rule)
    is_off = ~((u >= 0) & (u < grid.width) & (v >= 0) & (v < grid.height))
    west, south, east, north = grid.bounds
    turns = (0, 360, -360, 720, -720) if rule > 1 and is_in_degrees(grid.crs) else (0,)
    # GEOS clips rings that cross themselves wrongly.
    whole = shapes.copy()
    whole[is_off] = shapely.make_valid(shapes[is_off])
    for by in turns:
        off = np.flatnonzero(is_off)
        inside = shapely.clip_by_rect(whole[off], west + by, south, east + by, north)
        found = _pixel_under(inside, grid, rule)
        has_some = ~np.isnan(found[0])
        at = off[has_some]
        # A point on the border of the grid is in its last pixel.
        u[at] = np.minimum(found[0][has_some], grid.width - 0.5)
        v[at] = np.minimum(found[1][has_some], grid.height - 0.5)
        is_off[at] = False
    return u, v


def _pixel_under(shapes: Objects, grid: Grid, rule: int) -> tuple[Floats, Floats]:
    """Representative points in pixels, NaN for what is empty."""
    points = shapely.point_on_surface(shapes)
    points[shapely.is_empty(points)] = None
    places = np.stack([shapely.get_x(points), shapely.get_y(points)], axis=1)
    u, v = pixel_places(places, grid, rule)
    return (moved_onto(u, grid) if rule > 1 else u), v
