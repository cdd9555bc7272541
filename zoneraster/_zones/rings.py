"""Rings in pixels of a grid: what is burned."""

from __future__ import annotations

import functools
from dataclasses import dataclass, replace
from fractions import Fraction

import numpy as np

from zoneraster._burn import snap
from zoneraster._grid import Grid, columns_around, is_in_degrees
from zoneraster._zones.wkb import Ragged
from zoneraster.arrays import Floats, Ints

# Around the globe, in the order in which they are tried: longitudes are of -540..540 degrees.
_TURNS = np.array([0, -1, 1, -2, 2])


@dataclass(frozen=True, eq=False)  # no slots: boxes are kept beside the fields
class Rings:
    """Closed rings of all parts, in global pixel coordinates.

    Parameters
    ----------
    u, v : (n_vertices,) float64, pixels east and south of the grid's north-western corner
    ring_offsets : (n_rings + 1,) int64, into the vertices
    part_offsets : (n_parts + 1,) int64, into the rings
    part_zone : (n_parts,) int64, position of the part's zone in `Zones`
        Parts that come in again on the other side of the globe stand behind all others.
    """

    u: Floats
    v: Floats
    ring_offsets: Ints
    part_offsets: Ints
    part_zone: Ints

    @functools.cached_property
    def boxes(self) -> Floats:
        """Bounding boxes of the parts, (n_parts, 4) float64: u min, v min, u max, v max, pixels."""
        first = self.ring_offsets[self.part_offsets[:-1]]
        if not first.size:
            return np.empty((0, 4))
        low, high = (
            [end.reduceat(places, first) for places in (self.u, self.v)]
            for end in (np.minimum, np.maximum)
        )
        return np.stack([*low, *high], axis=1)


def pixel_rings(ragged: Ragged, grid: Grid, rule: int) -> Rings:
    """Rings in pixels of a grid, from rings in units of its CRS, by a burn rule.

    By rule 2 a grid in degrees has no border at the poles and at the seam, see `_past_the_pole` and
    `_around_the_globe`.
    """
    u, v = pixel_places(ragged.xy, grid, rule)
    rings = Rings(u, v, ragged.ring_offsets, ragged.part_offsets, ragged.part_zone)
    if rule < 2 or not is_in_degrees(grid.crs):
        return rings
    return _around_the_globe(_past_the_pole(rings, grid), grid)


def _past_the_pole(rings: Rings, grid: Grid) -> Rings:
    """Edges that run along the south pole, where a row of centres lies, taken half a pixel further.

    A centre on a bottom edge belongs to what is below, and below a pole there is nothing. (One on a
    top edge, as at the north pole, is in.)
    """
    pole = (grid.origin[1] + 90) / grid.resolution[1]
    if (pole - Fraction(1, 2)).denominator != 1 or not 0 < pole < grid.height:
        return rings
    u, v, offsets = rings.u, rings.v, rings.ring_offsets
    along = (v[:-1] == float(pole)) & (v[1:] == float(pole)) & (u[:-1] != u[1:])
    along[offsets[1:-1] - 1] = False  # from the last vertex of a ring to the next one's first
    first = np.flatnonzero(along)
    if not first.size:
        return rings
    at = np.repeat(first + 1, 2)
    u = np.insert(u, at, np.stack([u[first], u[first + 1]], axis=1).ravel())
    v = np.insert(v, at, float(pole) + 0.5)
    offsets = offsets + 2 * np.searchsorted(first, offsets)
    return replace(rings, u=u, v=v, ring_offsets=offsets)


def _around_the_globe(rings: Rings, grid: Grid) -> Rings:
    """Parts that meet a grid in degrees elsewhere than where they are, moved by whole turns.

    So longitudes may be of 0..360 degrees or go on beyond 180, and what goes beyond the east or
    west of a grid that goes around the globe comes in again: a copy of each such part is one more
    part of its zone. A centre on the seam is in where the seam is a right edge, as anywhere.

    On other grids what meets them nowhere but after a turn or two is moved there, and what meets
    them nowhere to where it is next to them.
    """
    if not rings.part_zone.size:
        return rings
    west, _, east, _ = rings.boxes.T
    turn = float(360 / grid.resolution[0])
    if west.min() >= 0 and east.max() <= grid.width <= turn:
        return rings  # all are on the grid, and a turn leads off it
    by = _TURNS * turn
    meets = (east + by[:, None] > 0) & (west + by[:, None] < grid.width)
    first_at = np.zeros(west.size, np.int64)
    if not columns_around(grid):
        far = np.abs((west + east) / 2 + by[:, None] - grid.width / 2)
        first_at = np.where(meets.any(axis=0), meets.argmax(axis=0), far.argmin(axis=0))
        rings = _shifted(rings, np.flatnonzero(first_at), by[first_at])
    meets[first_at, np.arange(west.size)] = False
    copies = [
        _moved(rings, some, shift - by[first_at[some]])
        for some, shift in zip(map(np.flatnonzero, meets), by, strict=True)
        if some.size
    ]
    return functools.reduce(_joined, copies, rings)


def _shifted(rings: Rings, parts: Ints, by: Floats) -> Rings:
    """The same rings, with some parts moved by columns, each by its own number of all `by`."""
    start, end = (rings.ring_offsets[rings.part_offsets[parts + n]] for n in (0, 1))
    at = _ranges(start, end)
    some = rings.u[at] + np.repeat(by[parts], end - start)
    # A turn need not be a whole number of columns.
    snap(some)
    u = rings.u.copy()
    u[at] = some
    return replace(rings, u=u)


def moved_onto(u: Floats, grid: Grid) -> Floats:
    """Columns (n,) moved by whole turns onto a grid in degrees; as they are where no turn helps."""
    if not is_in_degrees(grid.crs):
        return u
    places = u + (_TURNS * float(360 / grid.resolution[0]))[:, None]
    fits = (places >= 0) & (places < grid.width)
    moved: Floats = places[fits.argmax(axis=0), np.arange(u.size)]
    return moved


def _moved(rings: Rings, parts: Ints, by: Floats) -> Rings:
    """Some parts, each moved by columns."""
    ring_at = _ranges(rings.part_offsets[parts], rings.part_offsets[parts + 1])
    at = _ranges(rings.ring_offsets[ring_at], rings.ring_offsets[ring_at + 1])
    n_rings = rings.part_offsets[parts + 1] - rings.part_offsets[parts]
    n_vertices = rings.ring_offsets[ring_at + 1] - rings.ring_offsets[ring_at]
    u = rings.u[at] + np.repeat(np.repeat(by, n_rings), n_vertices)
    snap(u)
    return Rings(
        u,
        rings.v[at],
        np.concatenate([[0], np.cumsum(n_vertices)]),
        np.concatenate([[0], np.cumsum(n_rings)]),
        rings.part_zone[parts],
    )


def _ranges(start: Ints, end: Ints) -> Ints:
    """All numbers of half-open ranges, one after the other."""
    length = end - start
    offset = np.cumsum(length) - length
    numbers: Ints = np.repeat(start - offset, length) + np.arange(length.sum())
    return numbers


def _joined(rings: Rings, more: Rings) -> Rings:
    return Rings(
        np.concatenate([rings.u, more.u]),
        np.concatenate([rings.v, more.v]),
        np.concatenate([rings.ring_offsets, rings.ring_offsets[-1] + more.ring_offsets[1:]]),
        np.concatenate([rings.part_offsets, rings.part_offsets[-1] + more.part_offsets[1:]]),
        np.concatenate([rings.part_zone, more.part_zone]),
    )


def pixel_places(xy: Floats, grid: Grid, rule: int) -> tuple[Floats, Floats]:
    """Where a burn rule has places: the one way from units of a CRS to pixels.

    Parameters
    ----------
    xy : (n, 2) float64, in units of the CRS of the grid
    grid : Grid
    rule : int
        1 takes the coordinates as they are computed, 2 frees them of their noise, see `snap`.

    Returns
    -------
    u, v : (n,) float64, global pixel coordinates
    """
    u, v = grid.to_pixels(xy[:, 0], xy[:, 1])
    if rule > 1:
        snap(u)
        snap(v)
    return u, v
