"""Which zones claim a pixel at all."""

from __future__ import annotations

import numpy as np

from zoneraster._burn.cache import kernel
from zoneraster._burn.edges import edges_in_rows
from zoneraster._burn.rule import crossing, first_row


@kernel
def _holds_a_centre(edges, height, width):  # type: ignore[no-untyped-def]
    """Whether a part claims any pixel of the grid; stops at the first row that it does."""
    top, end = height, 0
    for i in range(edges.shape[0]):
        top = min(top, max(first_row(edges[i, 1]), 0))
        end = max(end, min(first_row(edges[i, 3]), height))
    columns = np.empty(edges.shape[0], np.int64)
    for row in range(top, end):
        n = 0
        for i in range(edges.shape[0]):
            if edges[i, 1] <= row + 0.5 < edges[i, 3]:
                k = crossing(edges[i, 0], edges[i, 1], edges[i, 2], edges[i, 3], row)
                columns[n] = min(max(k, 0), width)
                n += 1
        columns[:n].sort()
        for j in range(0, n - 1, 2):
            if columns[j] < columns[j + 1]:
                return True
    return False


@kernel
def zones_with_centres(u, v, ring_offsets, part_offsets, part_zone, n_zones, height, width):  # type: ignore[no-untyped-def]
    """Which zones claim at least one pixel of the grid, (n_zones,) bool."""
    found = np.zeros(n_zones, np.bool_)
    for p in range(part_zone.size):
        if not found[part_zone[p]]:
            edges, _ = edges_in_rows(
                u, v, ring_offsets, part_offsets, np.array([p]), 0, height, False
            )
            found[part_zone[p]] = _holds_a_centre(edges, height, width)
    return found
