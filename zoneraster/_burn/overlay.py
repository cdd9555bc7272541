"""Spans to runs: who owns each stretch of a row, and what everybody claims."""

from __future__ import annotations

import numpy as np

from zoneraster._burn.cache import inlined, kernel
from zoneraster._burn.spans import sort_stretch


@kernel
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


@inlined
def _begin_run(start, value, n, row_start, x, new):  # type: ignore[no-untyped-def]
    """Let the row's pixels from column `x` on have the value `new`; return the number of runs."""
    if start[n - 1] == x:
        value[n - 1] = new
        return n - 1 if n - 1 > row_start and value[n - 2] == new else n
    if value[n - 1] == new:
        return n
    start[n], value[n] = x, new
    return n + 1


@inlined
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


@kernel
def overlay_spans(row_ptr, first, end, zone, n_zones, height, width, row_area):  # type: ignore[no-untyped-def]
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
        sort_stretch(keys, 0, m)
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


@kernel
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
