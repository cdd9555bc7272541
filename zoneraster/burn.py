"""Burn a chunk without touching its pixels: edges to spans to runs.

A *span* is (first column, end column, zone) in one row; a *run* is a maximal stretch of equal
pixels of a row, given by its first column and its value. Columns and rows count from the chunk's
corner. Cost follows the crossings of the boundaries, never the area: a chunk of 64 MB usually has
some ten thousand runs.

Zones are dense local numbers ``0 .. n - 1`` in painting order here; the caller maps them to ids.
"""

from __future__ import annotations

import numba as nb
import numpy as np

from zoneraster.partition import crossing, first_row, touched_columns, touched_rows

# Below this many items an insertion sort beats the general one.
_SHORT = 24


@nb.njit(nogil=True, cache=True, inline="always")
def _sort(a, start, end):  # type: ignore[no-untyped-def]
    """Sort ``a[start:end]`` in place."""
    if end - start > _SHORT:
        a[start:end].sort()
        return
    for i in range(start + 1, end):
        x = a[i]
        j = i - 1
        while j >= start and a[j] > x:
            a[j + 1] = a[j]
            j -= 1
        a[j + 1] = x


@nb.njit(nogil=True, cache=True, inline="always")
def _rows_of(edge, row0, height, touched):  # type: ignore[no-untyped-def]
    """Rows of the chunk that an edge crosses, or touches."""
    if touched:
        a, b = touched_rows(edge[1], edge[3])
    else:
        a, b = first_row(edge[1]), first_row(edge[3])
    return max(a - row0, 0), min(b - row0, height)


@nb.njit(nogil=True, cache=True)
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


@nb.njit(nogil=True, cache=True)
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
        u1, v1, u2, v2 = edges[i, 0], edges[i, 1], edges[i, 2], edges[i, 3]
        a, b = _rows_of(edges[i], row0, height, False)
        for r in range(a, b):
            c = crossing(u1, v1, u2, v2, r + row0) - col0
            cross[rows[r - ra + 1]] = min(max(c, 0), width)
            rows[r - ra + 1] += 1
    for r in range(n):
        _sort(cross, rows[r], rows[r + 1])
    return ra, rb


@nb.njit(nogil=True, cache=True)
def _touch(edge, window, zone, out, n):  # type: ignore[no-untyped-def]
    """Append the pixels that an edge passes through as spans."""
    row0, col0, height, width = window
    row, first, end, zones = out
    a, b = _rows_of(edge, row0, height, True)
    for r in range(a, b):
        c0, c1 = touched_columns(edge[0], edge[1], edge[2], edge[3], r + row0)
        c0, c1 = max(c0 - col0, 0), min(c1 - col0, width)
        if c0 < c1:
            row[n], first[n], end[n], zones[n] = r, c0, c1, zone
            n += 1
    return n


@nb.njit(nogil=True, cache=True)
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


@nb.njit(nogil=True, cache=True)
def spans(zone, full, e_ptr, edges, t_ptr, toggles, window, touched):  # type: ignore[no-untyped-def]
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


@nb.njit(nogil=True, cache=True)
def _settle(zones, n_active, n_pixels, claimed, contested):  # type: ignore[no-untyped-def]
    """Count one stretch of pixels that several spans cover; return its owner."""
    owner = zones[0]
    shared = False
    for j in range(1, n_active):
        shared |= zones[j] != zones[0]
        owner = max(owner, zones[j])
    for j in range(n_active):
        fresh = True
        for q in range(j):
            if zones[q] == zones[j]:  # two parts of one zone: united, not contested
                fresh = False
                break
        if fresh:
            claimed[zones[j]] += n_pixels
            if shared:
                contested[zones[j]] += n_pixels
    return owner


@nb.njit(nogil=True, cache=True, inline="always")
def _begin_run(start, value, n, row_start, x, new):  # type: ignore[no-untyped-def]
    """Let the row's pixels from column `x` on have the value `new`; return the number of runs."""
    if start[n - 1] == x:
        value[n - 1] = new
        return n - 1 if n - 1 > row_start and value[n - 2] == new else n
    if value[n - 1] == new:
        return n
    start[n], value[n] = x, new
    return n + 1


@nb.njit(nogil=True, cache=True, inline="always")
def _retire(ends, zones, n_active, x):  # type: ignore[no-untyped-def]
    """Drop the spans that end at or before column `x`; return how many are left."""
    j = 0
    while j < n_active:
        if ends[j] <= x:
            n_active -= 1
            ends[j], zones[j] = ends[n_active], zones[n_active]
        else:
            j += 1
    return n_active


@nb.njit(nogil=True, cache=True)
def overlay(row_ptr, first, end, zone, n_zones, height, width, row_area):  # type: ignore[no-untyped-def]
    """Runs of a chunk: in each pixel the zone that was painted last.

    Parameters
    ----------
    row_ptr, first, end, zone : as `spans` returns them
    n_zones : int
    height, width : int
        Size of the whole chunk; what lies beyond the grid is empty.
    row_area : (rows,) float64
        Area of a pixel in each row.

    Returns
    -------
    run_ptr : (height + 1,) int64
    start : (m,) int32
        First column of each run; a row's first is 0 and its last runs to the chunk's right end.
    value : (m,) int32
        Local zone number + 1; 0 where there is none.
    claimed, owned, contested : (n_zones,) int64, pixels
    area : (n_zones,) float64
        Owned area, in the unit of `row_area`, added in the order of rows and columns.
    """
    room = 2 * first.size + height
    run_ptr = np.zeros(height + 1, np.int64)
    start, value = np.empty(room, np.int32), np.empty(room, np.int32)
    claimed, owned = np.zeros(n_zones, np.int64), np.zeros(n_zones, np.int64)
    contested, area = np.zeros(n_zones, np.int64), np.zeros(n_zones, np.float64)
    widest = 1
    for r in range(row_ptr.size - 1):
        widest = max(widest, row_ptr[r + 1] - row_ptr[r])
    keys = np.empty(widest, np.int64)
    ends, zones = np.empty(widest, np.int32), np.empty(widest, np.int32)
    n = 0
    for r in range(height):
        run_ptr[r] = n
        start[n], value[n] = 0, 0
        n += 1
        if r >= row_ptr.size - 1:
            continue
        s0, m = row_ptr[r], row_ptr[r + 1] - row_ptr[r]
        for i in range(m):
            keys[i] = (np.int64(first[s0 + i]) << 32) | (s0 + i)
        _sort(keys, 0, m)
        i = n_active = 0
        x = np.int64(0)
        while i < m or n_active > 0:
            if n_active == 0 and keys[i] >> 32 > x:
                n = _begin_run(start, value, n, run_ptr[r], x, 0)
                x = keys[i] >> 32
            while i < m and keys[i] >> 32 == x:
                s = keys[i] & 0xFFFFFFFF
                ends[n_active], zones[n_active] = end[s], zone[s]
                n_active += 1
                i += 1
            stop = np.int64(ends[0])
            for j in range(1, n_active):
                stop = min(stop, np.int64(ends[j]))
            if i < m:
                stop = min(stop, keys[i] >> 32)
            owner = zones[0]
            if n_active == 1:
                claimed[owner] += stop - x
            else:
                owner = _settle(zones, n_active, stop - x, claimed, contested)
            owned[owner] += stop - x
            area[owner] += (stop - x) * row_area[r]
            n = _begin_run(start, value, n, run_ptr[r], x, owner + 1)
            x = stop
            n_active = _retire(ends, zones, n_active, x)
        if x < width:
            n = _begin_run(start, value, n, run_ptr[r], x, 0)
    run_ptr[height] = n
    return run_ptr, start[:n], value[:n], claimed, owned, contested, area


@nb.njit(nogil=True, cache=True)
def paint(run_ptr, start, value, row0, out):  # type: ignore[no-untyped-def]
    """Write the runs of rows ``row0 ...`` into the pixels of `out`.

    Parameters
    ----------
    run_ptr : (height + 1,) int64
    start : (m,) int32
    value : (m,) any unsigned integer, zone ids
    row0 : int
    out : (rows, width) unsigned integer, written in place
    """
    height, width = out.shape
    for r in range(height):
        for i in range(run_ptr[row0 + r], run_ptr[row0 + r + 1]):
            stop = start[i + 1] if i + 1 < run_ptr[row0 + r + 1] else width
            for c in range(start[i], stop):
                out[r, c] = value[i]


@nb.njit(nogil=True, cache=True)
def contested_pairs(row_ptr, first, end, zone):  # type: ignore[no-untyped-def]
    """Every pair of zones that claim the same pixels of a chunk, once per row and meeting.

    Returns
    -------
    pairs : (m, 3) int64
        Lower zone number, higher zone number, pixels.
    """
    out = np.empty((64, 3), np.int64)
    n = 0
    for r in range(row_ptr.size - 1):
        for i in range(row_ptr[r], row_ptr[r + 1]):
            for j in range(row_ptr[r], i):
                pixels = min(end[i], end[j]) - max(first[i], first[j])
                if pixels <= 0 or zone[i] == zone[j]:
                    continue
                if n == out.shape[0]:
                    more = np.empty((2 * n, 3), np.int64)
                    more[:n] = out
                    out = more
                out[n, 0], out[n, 1] = min(zone[i], zone[j]), max(zone[i], zone[j])
                out[n, 2] = pixels
                n += 1
    return out[:n]
