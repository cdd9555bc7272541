"""Rasters from 0 to 360 degrees under grids from -180 to 180, and the other way round.

Longitudes 360 degrees apart are one place. A raster whose columns lie east or west of a grid is
moved there by whole turns, in parts where need be, if a turn is a whole number of its pixels.
"""

from __future__ import annotations

import math
from dataclasses import replace
from fractions import Fraction

from zoneraster._grid import Grid, Window, is_in_degrees, same_crs
from zoneraster._values.mosaic import Tile, mosaic
from zoneraster._values.opened import OpenRaster
from zoneraster.errors import AlignmentError

_TURN = 360
# As far as edges may be off, in pixels.
_FIT_PIXELS = Fraction(1, 1000)
_GLOBE = (Fraction(-180), Fraction(180))


def turned_to(opened: OpenRaster, target: Grid, *, margin: int = 0) -> OpenRaster:
    """A raster with its columns where a grid has them; itself where they are there already.

    Parameters
    ----------
    opened : OpenRaster
    target : Grid
        In another reference system, longitudes from -180 to 180 are meant.
    margin : int
        Columns beyond the grid that are wanted, too.

    Raises
    ------
    AlignmentError
        When it has to be moved, and a turn is no whole number of its pixels.
    """
    grid = opened.grid
    if not is_in_degrees(grid.crs):
        return opened
    west, east = _ends(grid)
    low, high = _ends(target) if same_crs(grid.crs, target.crs) else _GLOBE
    step = grid.resolution[0]
    turns = _turns((west, east), (low, high), _FIT_PIXELS * step)
    if turns in ([], [0]):
        return opened
    pixels = Fraction(_TURN) / step
    period = round(pixels)
    if abs(pixels - period) > _FIT_PIXELS:
        if 0 in turns and east - west >= _TURN - step and low >= west - step:
            return opened  # it is all there, but for a part of a pixel
        raise AlignmentError(
            f"{opened.label}: its longitudes go from {float(west):g} to {float(east):g}, those of "
            f"the grid from {float(low):g} to {float(high):g}, and 360 degrees are "
            f"{float(pixels):.6g} of its pixels, no whole number to move it by: bring it to the "
            "grid's longitudes yourself, or build a store on a grid like it"
        )
    if len(turns) == 1:
        within = (turns[0] * period, turns[0] * period + grid.width)
    else:
        within = (
            math.floor((low - west) / step + _FIT_PIXELS) - margin,
            math.ceil((high - west) / step - _FIT_PIXELS) + margin,
        )
    placed = _placed(turns, period, grid.width, within)
    # What is there twice is not moved where one of them is in place.
    is_in_place = all(start == col for start, _, col in placed)
    return opened if is_in_place else _moved(opened, placed, period)


def _turns(
    own: tuple[Fraction, Fraction], wanted: tuple[Fraction, Fraction], slack: Fraction
) -> list[int]:
    """Turns by which some longitudes meet others, by more than a slack; few turns first.

    Of columns that are there twice, those that stay in place count.
    """
    (west, east), (low, high) = own, wanted
    near = range(math.floor((low - east) / _TURN), math.ceil((high - west) / _TURN) + 1)
    met = (n for n in near if min(high, east + n * _TURN) - max(low, west + n * _TURN) > slack)
    return sorted(met, key=lambda n: (abs(n), n))


def _moved(opened: OpenRaster, placed: list[tuple[int, int, int]], period: int) -> OpenRaster:
    """The raster in parts: first and end column of each, and where it goes."""
    grid = opened.grid
    first = min(col for _, _, col in placed)
    width = max(col + end - start for start, end, col in placed) - first
    tiles = [
        Tile(opened, Window(0, grid.height, start, end), 0, col - first)
        for start, end, col in placed
    ]
    (step_x, step_y), (west, north) = grid.resolution, grid.origin
    transform = (step_x, 0, west + first * step_x, 0, -step_y, north)
    made = mosaic(tiles, Grid(grid.crs, transform, (grid.height, width)), opened.name, opened.label)
    moved = sorted({(col - start) // period * _TURN for start, _, col in placed} - {0})
    is_partly = "partly " if len(placed) > 1 else ""
    said = f"{is_partly}moved by {' and '.join(f'{n:+}' for n in moved)} degrees"
    return replace(
        made,
        chunks=(*opened.chunks[:-1], min(opened.chunks[-1], width)),
        version=opened.version,
        remarks=opened.remarks,
        told={**opened.told, "longitudes": said},
    )


def _ends(grid: Grid) -> tuple[Fraction, Fraction]:
    west = grid.origin[0]
    return west, west + grid.width * grid.resolution[0]


def _placed(
    turns: list[int], period: int, width: int, within: tuple[int, int]
) -> list[tuple[int, int, int]]:
    """First and end column of each part, and where it goes; no place is taken twice.

    Parameters
    ----------
    turns : list of int
    period : int
        Columns of a turn.
    width : int
        Columns of the raster.
    within : (int, int)
        First and end column that are wanted, counted from the raster's own first.
    """
    free = [within]
    placed = []
    for turn in turns:
        start, end = turn * period, turn * period + width
        left = []
        for low, high in free:
            first, last = max(low, start), min(high, end)
            if first >= last:
                left.append((low, high))
                continue
            placed.append((first - start, last - start, first))
            left += [(a, b) for a, b in ((low, first), (last, high)) if a < b]
        free = left
    return placed
