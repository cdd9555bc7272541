"""What lies of an edge within a row of pixels, and within one pixel of it.

Places are counted from the pixel in which the edge begins, see `cells`. The arithmetic is that of
the cells, so that what is known of a pixel's edges fits what is known of the pixels left of it.
"""

from __future__ import annotations

import numpy as np

from zoneraster._burn.cache import inlined
from zoneraster._burn.rule import upper_first


@inlined
def framed(edge):  # type: ignore[no-untyped-def]
    """Pixel in which an edge begins, (column, row); its ends from there, and columns by row."""
    u1, v1, u2, v2 = upper_first(edge)
    iu, iv = np.floor(u1), np.floor(v1)
    slope = (u2 - u1) / (v2 - v1) if v1 < v2 else 0.0
    return iu, iv, u1 - iu, v1 - iv, u2 - iu, v2 - iv, slope


@inlined
def piece_in_row(frame, r):  # type: ignore[no-untyped-def]
    """Ends (x, y, x', y') of what lies of an edge in row `r` of the grid, the upper one first."""
    _, iv, x1, y1, x2, y2, slope = frame
    lo, hi = min(x1, x2), max(x1, x2)
    ya, yb = max(y1, r - iv), min(y2, r + 1 - iv)
    xa = x1 if ya == y1 else min(max(x1 + (ya - y1) * slope, lo), hi)
    xb = x2 if yb == y2 else min(max(x1 + (yb - y1) * slope, lo), hi)
    return xa, ya, xb, yb


@inlined
def columns_of(left, right):  # type: ignore[no-untyped-def]
    """First and last pixel of a piece from `left` to `right`: on a border, the one that it ends."""
    first = int(np.floor(left))
    return first, max(first, int(np.ceil(right)) - 1)


@inlined
def height_upto(piece, c):  # type: ignore[no-untyped-def]
    """Height of a piece left of column `c`, which lies strictly within it."""
    xa, ya, xb, yb = piece
    left, right = min(xa, xb), max(xa, xb)
    return (yb - ya) * ((c - left) / (right - left))


@inlined
def piece_in_pixel(edge, row, col):  # type: ignore[no-untyped-def]
    """What lies of an edge in a pixel that it passes through.

    Returns
    -------
    x0, y0, x1, y1 : float
        Its ends from the pixel's corner, the upper one first.
    on_left : bool
        Its left end is on the pixel's left border.
    """
    frame = framed(edge)
    xa, ya, xb, yb = piece = piece_in_row(frame, row)
    left, right = min(xa, xb), max(xa, xb)
    first, last = columns_of(left, right)
    c, top = float(col - frame[0]), row - frame[1]
    xl, xr = max(left, c), min(right, c + 1.0)
    if xa <= xb:
        yl = ya if c <= first else ya + height_upto(piece, c)
        yr = yb if c >= last else ya + height_upto(piece, c + 1.0)
        return xl - c, yl - top, xr - c, yr - top, xl == c
    yl = yb if c <= first else yb - height_upto(piece, c)
    yr = ya if c >= last else yb - height_upto(piece, c + 1.0)
    return xr - c, yr - top, xl - c, yl - top, xl == c
