"""Polygons that are simple beyond doubt, so that GEOS need not be asked about them.

Making an object of a small polygon and checking it takes GEOS longer than burning it. Two segments
are apart for sure where their boxes are, or where both ends of one lie on the same side of the
other by more than arithmetic can be wrong; whatever is not that clear is left to GEOS.
"""

from __future__ import annotations

import numpy as np

from zoneraster._burn import kernel
from zoneraster._zones.wkb import Ragged
from zoneraster.arrays import Bools

# Pairs of segments are looked at one by one: rings of more vertices are left to GEOS.
_MOST_VERTICES = 48
# What the determinant of `_side` is wrong by at most, relative to the sum of its terms, and below
# which it may be wrong by more (J. R. Shewchuk, Adaptive Precision Floating-Point Arithmetic and
# Fast Robust Geometric Predicates, 1997: the bound of orient2d's first stage).
_WRONG_BY, _TINY = 3.3306690738754716e-16, 1e-250


def is_surely_simple(ragged: Ragged, n_zones: int) -> Bools:
    """Zones that are a single ring, which does not touch or cross itself.

    Parameters
    ----------
    ragged : Ragged
    n_zones : int

    Returns
    -------
    (n_zones,) bool
        Where False, it is not known.
    """
    n_parts = np.bincount(ragged.part_zone, minlength=n_zones)
    single = np.diff(ragged.part_offsets) == 1
    single &= n_parts[ragged.part_zone] == 1
    simple = np.zeros(n_zones, np.bool_)
    rings = ragged.part_offsets[:-1][single]
    found = np.zeros(rings.size, np.bool_)
    _look_at_rings(ragged.xy, ragged.ring_offsets, rings, found)
    simple[ragged.part_zone[single]] = found
    return simple


@kernel
def _side(ax, ay, bx, by, cx, cy):  # type: ignore[no-untyped-def]
    """1 or -1: on which side of a to b c lies; 0 where that is not sure."""
    left, right = (ax - cx) * (by - cy), (ay - cy) * (bx - cx)
    det, most = left - right, abs(left) + abs(right)
    if abs(det) <= max(_WRONG_BY * most, _TINY):
        return 0
    return 1 if det > 0 else -1


@kernel
def _are_apart(xy, i, j):  # type: ignore[no-untyped-def]
    """The segments that begin at vertices i and j have no point in common, for sure."""
    ax, ay, bx, by = xy[i, 0], xy[i, 1], xy[i + 1, 0], xy[i + 1, 1]
    cx, cy, dx, dy = xy[j, 0], xy[j, 1], xy[j + 1, 0], xy[j + 1, 1]
    if max(ax, bx) < min(cx, dx) or max(cx, dx) < min(ax, bx):
        return True
    if max(ay, by) < min(cy, dy) or max(cy, dy) < min(ay, by):
        return True
    side = _side(ax, ay, bx, by, cx, cy)
    if side != 0 and side == _side(ax, ay, bx, by, dx, dy):
        return True
    side = _side(cx, cy, dx, dy, ax, ay)
    return side != 0 and side == _side(cx, cy, dx, dy, bx, by)


@kernel
def _is_simple(xy, a, b):  # type: ignore[no-untyped-def]
    """The closed ring of vertices a to b, of which the last is the first, is simple for sure."""
    n = b - a - 1
    if n < 3 or n > _MOST_VERTICES:
        return False
    for i in range(a, a + n):
        # Segments that follow each other must turn, or go on: not back over themselves.
        k = i + 2 if i + 2 < b else a + 1
        if _side(xy[i, 0], xy[i, 1], xy[i + 1, 0], xy[i + 1, 1], xy[k, 0], xy[k, 1]) == 0:
            return False
        last = a + n - 1 if i == a else a + n
        for j in range(i + 2, last):
            if not _are_apart(xy, i, j):
                return False
    return True


@kernel
def _look_at_rings(xy, ring_offsets, rings, found):  # type: ignore[no-untyped-def]
    for k in range(rings.size):
        ring = rings[k]
        found[k] = _is_simple(xy, ring_offsets[ring], ring_offsets[ring + 1])
