"""Burn a chunk without touching its pixels: edges to spans to runs.

A *span* is (first column, end column, zone) in one row; a *run* is a maximal stretch of equal
pixels of a row, given by its first column and its value. Columns and rows count from the chunk's
corner. Cost follows the crossings of the boundaries, never the area: a chunk of 64 MB usually has
some ten thousand runs.

Zones are dense local numbers ``0 .. n - 1`` in painting order here; the caller maps them to ids.
"""

from __future__ import annotations

import numpy as np

from zoneraster._burn.arrays import sort_stretch
from zoneraster._burn.cache import inlined, kernel
from zoneraster._burn.rule import crossing, first_row, touched_columns, touched_rows, upper_first


@inlined
def _rows_of(edge, row0, height, touched):  # type: ignore[no-untyped-def]
    """Rows of the chunk that an edge crosses, or touches."""
    v1, v2 = min(edge[1], edge[3]), max(edge[1], edge[3])
    a, b = touched_rows(v1, v2) if touched else (first_row(v1), first_row(v2))
    return max(a - row0, 0), min(b - row0, height)


@kernel
def _room(full, e_ptr, edges, t_ptr, toggles, row0, height, touched):  # type: ignore[no-untyped-def]
    """Upper bounds: crossings of the busiest record, spans of all records."""
    busiest = spans = 0
    for k in range(full.size):
        if full[k]:
            spans += height
            continue
        n = 0
        for i in range(e_ptr[k], e_ptr[k + 1]):
            a, b = _rows_of(edges[i], row0, height, touched)
            n += max(b - a, 0)
        for i in range(t_ptr[k], t_ptr[k + 1], 2):
            n += toggles[i + 1] - toggles[i]
        busiest = max(busiest, n)
        spans += 2 * n if touched else n
    return busiest, spans


@kernel
def _cross(e_ptr, edges, t_ptr, toggles, k, window, cross, rows):  # type: ignore[no-untyped-def]
    """Crossings of record `k`, bucketed by row and sorted within each.

    Returns the first and the end row; ``cross[rows[i]:rows[i + 1]]`` are those of row ``first +
    i``, cut to the chunk's columns.
    """
    row0, col0, height, width = window
    ra, rb = height, 0
    for i in range(e_ptr[k], e_ptr[k + 1]):
        a, b = _rows_of(edges[i], row0, height, False)
        if a < b:
            ra, rb = min(ra, a), max(rb, b)
    for i in range(t_ptr[k], t_ptr[k + 1], 2):
        ra, rb = min(ra, toggles[i]), max(rb, toggles[i + 1])
    n = rb - ra
    if n <= 0:
        return 0, 0
    rows[: n + 2] = 0
    # Counted two places ahead: after the fill below, rows[i] is where row i starts.
    for i in range(e_ptr[k], e_ptr[k + 1]):
        a, b = _rows_of(edges[i], row0, height, False)
        for r in range(a - ra, b - ra):
            rows[r + 2] += 1
    for i in range(t_ptr[k], t_ptr[k + 1], 2):
        for r in range(toggles[i] - ra, toggles[i + 1] - ra):
            rows[r + 2] += 1
    for r in range(2, n + 2):
        rows[r] += rows[r - 1]
    for i in range(t_ptr[k], t_ptr[k + 1], 2):
        for r in range(toggles[i] - ra, toggles[i + 1] - ra):
            cross[rows[r + 1]] = 0
            rows[r + 1] += 1
    for i in range(e_ptr[k], e_ptr[k + 1]):
        u1, v1, u2, v2 = upper_first(edges[i])
        a, b = _rows_of(edges[i], row0, height, False)
        for r in range(a, b):
            c = crossing(u1, v1, u2, v2, r + row0) - col0
            cross[rows[r - ra + 1]] = min(max(c, 0), width)
            rows[r - ra + 1] += 1
    for r in range(n):
        sort_stretch(cross, rows[r], rows[r + 1])
    return ra, rb


@kernel
def _touch(edge, window, zone, out, n):  # type: ignore[no-untyped-def]
    """Append the pixels that an edge passes through as spans."""
    row0, col0, height, width = window
    row, first, end, zones = out
    u1, v1, u2, v2 = upper_first(edge)
    a, b = _rows_of(edge, row0, height, True)
    for r in range(a, b):
        c0, c1 = touched_columns(u1, v1, u2, v2, r + row0)
        c0, c1 = max(c0 - col0, 0), min(c1 - col0, width)
        if c0 < c1:
            row[n], first[n], end[n], zones[n] = r, c0, c1, zone
            n += 1
    return n


@kernel
def _by_row(out, n, height):  # type: ignore[no-untyped-def]
    """Spans bucketed by row, their order within a row kept."""
    row, first, end, zones = out
    ptr = np.zeros(height + 2, np.int64)
    for i in range(n):
        ptr[row[i] + 2] += 1
    for r in range(2, height + 2):
        ptr[r] += ptr[r - 1]
    a, b, z = np.empty(n, np.int32), np.empty(n, np.int32), np.empty(n, np.int32)
    for i in range(n):
        q = ptr[row[i] + 1]
        ptr[row[i] + 1] = q + 1
        a[q], b[q], z[q] = first[i], end[i], zones[i]
    return ptr[: height + 1], a, b, z


@kernel
def make_spans(zone, full, e_ptr, edges, t_ptr, toggles, window, touched):  # type: ignore[no-untyped-def]
    """Spans of a chunk's records, by row and in painting order within a row.

    Parameters
    ----------
    zone : (n,) int64
        Local zone number of each record, ascending.
    full : (n,) bool
    e_ptr, t_ptr : (n + 1,) int64 offsets into `edges` and `toggles`
    edges : (k, 4) float64, global pixel coordinates
    toggles : (t,) int32, rows counted from the chunk's top
    window : (row0, col0, height, width) int
        The chunk's corner on the grid and its size, cut to the grid.
    touched : bool
        Add the supercover of every edge (``all_touched``).

    Returns
    -------
    row_ptr : (height + 1,) int64
    first, end, zone : (s,) int32

    Notes
    -----
    Crossings of one record and row are sorted and paired; an odd one runs to the chunk's right end,
    because the crossing that closes it lies in a chunk further right.
    """
    row0, _, height, width = window
    busiest, room = _room(full, e_ptr, edges, t_ptr, toggles, row0, height, touched)
    cross, rows = np.empty(busiest, np.int32), np.empty(height + 2, np.int64)
    out = (
        np.empty(room, np.int32),
        np.empty(room, np.int32),
        np.empty(room, np.int32),
        np.empty(room, np.int32),
    )
    row, first, end, zones = out
    n = 0
    for k in range(zone.size):
        if full[k]:
            for r in range(height):
                row[n], first[n], end[n], zones[n] = r, 0, width, zone[k]
                n += 1
            continue
        ra, rb = _cross(e_ptr, edges, t_ptr, toggles, k, window, cross, rows)
        for i in range(rb - ra):
            for j in range(rows[i], rows[i + 1], 2):
                stop = cross[j + 1] if j + 1 < rows[i + 1] else width
                if cross[j] < stop:
                    row[n], first[n], end[n], zones[n] = ra + i, cross[j], stop, zone[k]
                    n += 1
        if touched:
            for e in range(e_ptr[k], e_ptr[k + 1]):
                n = _touch(edges[e], window, zone[k], out, n)
    return _by_row(out, n, height)
