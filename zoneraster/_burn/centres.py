"""Which zones claim a pixel at all."""

from __future__ import annotations

import numpy as np

from zoneraster._burn.arrays import sort_stretch, stable_order
from zoneraster._burn.cache import inlined, kernel
from zoneraster._burn.edges import edges_in_rows
from zoneraster._burn.rule import crossing, first_row, upper_first


@inlined
def _row_is_claimed(edges, some, n, row, width, columns):  # type: ignore[no-untyped-def]
    """Whether ``edges[some[:n]]`` enclose a centre of a row."""
    m = 0
    for j in range(n):
        e = some[j]
        u1, v1, u2, v2 = upper_first(edges[e])
        if v1 <= row + 0.5 < v2:
            k = crossing(u1, v1, u2, v2, row)
            columns[m] = min(max(k, 0), width)
            m += 1
    sort_stretch(columns, 0, m)
    claimed = False
    for j in range(0, m - 1, 2):
        claimed |= columns[j] < columns[j + 1]
    return claimed


@kernel
def _holds_a_centre(edges, height, width):  # type: ignore[no-untyped-def]
    """Whether a part claims any pixel of the grid.

    The middle row answers for most parts. Where it does not, rows are swept with the edges that
    cross them, from the first to one that is claimed.
    """
    first, end = np.empty(edges.shape[0], np.int64), np.empty(edges.shape[0], np.int64)
    crosses = np.empty(edges.shape[0], np.bool_)
    for i in range(edges.shape[0]):
        first[i] = max(first_row(min(edges[i, 1], edges[i, 3])), 0)
        end[i] = min(first_row(max(edges[i, 1], edges[i, 3])), height)
        crosses[i] = first[i] < end[i]
    edges, first, end = edges[crosses], first[crosses], end[crosses]
    n = edges.shape[0]
    active, columns = np.arange(n), np.empty(n, np.int64)
    if n == 0 or _row_is_claimed(edges, active, n, (first.min() + end.max()) // 2, width, columns):
        return n > 0
    order = stable_order(first)
    i = n_active = row = 0
    while i < n or n_active > 0:
        if n_active == 0:
            row = first[order[i]]
        while i < n and first[order[i]] == row:
            active[n_active] = order[i]
            n_active += 1
            i += 1
        if _row_is_claimed(edges, active, n_active, row, width, columns):
            return True
        row += 1
        j = 0
        while j < n_active:
            if end[active[j]] <= row:
                n_active -= 1
                active[j] = active[n_active]
            else:
                j += 1
    return False


@kernel
def zones_with_centres(u, v, ring_offsets, part_offsets, part_zone, n_zones, height, width):  # type: ignore[no-untyped-def]
    """Which zones claim at least one pixel of the grid, (n_zones,) bool."""
    found = np.zeros(n_zones, np.bool_)
    for p in range(part_zone.size):
        if not found[part_zone[p]]:
            edges, _ = edges_in_rows(u, v, ring_offsets, part_offsets, np.array([p]), 0, height)
            found[part_zone[p]] = _holds_a_centre(edges, height, width)
    return found
