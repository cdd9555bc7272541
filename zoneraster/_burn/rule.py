"""The pixel rules: which rows an edge decides, and at which column, ties included.

An *edge* is a row ``(u, v, u', v')`` of a float64 array in global pixel coordinates, directed so
that one that goes down has the inside of its polygon to its right, as far as rings say. With its
upper end first, ``v1 <= v2``, it crosses by the centre rule the centre line of pixel row ``r`` when
``v1 <= r + 0.5 < v2``, at

    k = floor((r + 0.5 - v1) * (u2 - u1) / (v2 - v1) + u1 + 0.5)

in this order of operations (GDAL's ``llrasterize.cpp``): pixels ``k, k + 1, ...`` lie to its right.
So a centre on a left or bottom edge is out, on a right or top edge in. Every operation is monotone
in ``r``, so the crossings of an edge in a band of rows lie between those of its first and last row.

Before that, a coordinate within `SNAP` of a multiple of one half *is* that multiple: float noise
decides no tie. The same vertex gets the same place in every polygon.

By ``all_touched`` an edge also has the pixels whose inside it passes through (its supercover).
"""

from __future__ import annotations

import math

import numpy as np

from zoneraster._burn.cache import inlined, kernel

# The number of this rule. Rule 1, of version 0.1, snapped nothing; a store keeps the rule that its
# plan was made by.
BURN_RULE = 2
# Rows and columns are cut to this range as floats before they become integers: a coordinate of
# 1e300 must not overflow, and nothing beyond 2**40 pixels can meet a grid.
FAR = float(2**40)
# A millionth of a pixel, 30 micrometres at 30 m; the noise of pixel coordinates is at most 1e-9.
SNAP = 2.0**-20


@kernel
def snap(places):  # type: ignore[no-untyped-def]
    """Pixel coordinates, (n,) float64, moved in place to the multiples of 1/2 that they mean."""
    for i in range(places.size):
        # Exact: doubling, halving and the difference of two numbers that are so close.
        half = np.rint(2.0 * places[i]) / 2.0
        if abs(places[i] - half) <= SNAP:
            places[i] = half + 0.0  # no -0.0, which has other bytes


@inlined
def upper_first(edge):  # type: ignore[no-untyped-def]
    """Ends of an edge, (u1, v1, u2, v2), the upper one first."""
    if edge[1] <= edge[3]:
        return edge[0], edge[1], edge[2], edge[3]
    return edge[2], edge[3], edge[0], edge[1]


@inlined
def first_row(v):  # type: ignore[no-untyped-def]
    """First row whose centre line is at or below `v`: the smallest r with v <= r + 0.5."""
    return int(math.ceil(min(max(v - 0.5, -FAR), FAR)))


@inlined
def crossing(u1, v1, u2, v2, row):  # type: ignore[no-untyped-def]
    """Column at which an edge crosses the centre line of `row` (the formula of the module)."""
    x = (row + 0.5 - v1) * (u2 - u1) / (v2 - v1) + u1 + 0.5
    return int(math.floor(min(max(x, -FAR), FAR)))


@inlined
def touched_rows(v1, v2):  # type: ignore[no-untyped-def]
    """Half-open rows whose open interior, or left half of it, an edge passes through."""
    a = int(math.floor(min(max(v1, -FAR), FAR)))
    return a, int(math.ceil(min(max(v2, -FAR), FAR)))


@inlined
def touched_columns(u1, v1, u2, v2, row):  # type: ignore[no-untyped-def]
    """Half-open columns that the piece of an edge inside `row` passes through (supercover)."""
    xa, xb = u1, u2
    if v1 < row:
        xa = (row - v1) * (u2 - u1) / (v2 - v1) + u1
    if v2 > row + 1:
        xb = (row + 1 - v1) * (u2 - u1) / (v2 - v1) + u1
    lo, hi = min(xa, xb), max(xa, xb)
    a = int(math.floor(min(max(lo, -FAR), FAR)))
    return a, int(math.ceil(min(max(hi, -FAR), FAR)))


@inlined
def last_column(u1, v1, u2, v2, row):  # type: ignore[no-untyped-def]
    """Column to the right of, or under, the easternmost place of the piece of an edge in `row`.

    One beyond `touched_columns` where that place is on a border of pixels: it is the pixel there
    that a vertical edge bounds.
    """
    xa, xb = u1, u2
    if v1 < row:
        xa = (row - v1) * (u2 - u1) / (v2 - v1) + u1
    if v2 > row + 1:
        xb = (row + 1 - v1) * (u2 - u1) / (v2 - v1) + u1
    return int(math.floor(min(max(max(xa, xb), -FAR), FAR)))
