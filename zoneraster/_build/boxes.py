"""Boxes of parts: where zones lie, before anything is burned."""

from __future__ import annotations

import math

import numpy as np

from zoneraster._grid import Grid, columns_around, crs_name, is_in_degrees, likely_reason
from zoneraster._zones import Zones
from zoneraster.arrays import Bools, Floats, Ints
from zoneraster.errors import ZonesError, number_of

SIDES = ("west", "north", "east", "south")


def zones_outside(boxes: Floats, part_zone: Ints, grid: Grid, n_zones: int) -> Ints:
    """Positions of zones none of whose parts has a box that meets the grid."""
    height, width = grid.shape
    meets = (boxes[:, 2] > 0) & (boxes[:, 0] < width) & (boxes[:, 3] > 0) & (boxes[:, 1] < height)
    inside = np.zeros(n_zones, bool)
    inside[part_zone[meets]] = True
    return np.flatnonzero(~inside)


def sides_beyond(boxes: Floats, part_zone: Ints, grid: Grid, n_zones: int) -> Bools:
    """On which of `SIDES` a zone reaches beyond the grid so far that a centre may lie there.

    Returns
    -------
    (n_zones, 4) bool
        A grid that goes around the globe has no west and no east.
    """
    height, width = grid.shape
    low, high = boxes[:, :2] < -0.5, boxes[:, 2:] > np.array([width, height]) + 0.5
    if columns_around(grid):
        low[:, 0] = high[:, 0] = False
    out = np.zeros((n_zones, 4), bool)
    beyond = np.concatenate([low, high], axis=1)
    some = np.flatnonzero(beyond.any(axis=1))
    np.logical_or.at(out, part_zone[some], beyond[some])
    return out


def columns_twice(grid: Grid) -> tuple[str, ...]:
    """What is to be said of a grid in degrees with more columns than there are around the globe."""
    around = math.ceil(360 / grid.resolution[0])
    n = grid.width - around
    if n <= 0 or not is_in_degrees(grid.crs):
        return ()
    said = (
        f"the grid goes around the globe and on for {number_of(n, 'column')}: what lies there is "
        f"burned twice and counts twice; one of its first {around:,} columns has all of it once"
    )
    return (said,)


def refuse_apart(zones: Zones, grid: Grid) -> None:
    """Say that no zone meets the grid, where both are, and why that may be.

    Raises
    ------
    ZonesError
    """
    low, high = zones.ragged.xy.min(axis=0), zones.ragged.xy.max(axis=0)
    box = (float(low[0]), float(low[1]), float(high[0]), float(high[1]))
    places = (", ".join(f"{edge:.10g}" for edge in one) for one in (box, grid.bounds))
    is_brought = bool(zones.operation)
    raise ZonesError(
        f"no zone meets the grid: the zones lie in ({next(places)}) and the grid in "
        f"({next(places)}), west, south, east and north of {crs_name(grid.crs)}: "
        f"{likely_reason(box, grid.bounds, grid.crs, what='the zones', is_brought=is_brought)}"
    )
