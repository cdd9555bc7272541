"""Edges of rings, gathered for some rows and handed on in another order."""

from __future__ import annotations

import numpy as np

from zoneraster._burn.arrays import put
from zoneraster._burn.cache import kernel
from zoneraster._burn.rule import touched_rows


@kernel
def _turns_down_first(u, v, a, b):  # type: ignore[no-untyped-def]
    """Whether the ring ``[a, b]`` has its inside to the right of edges that go down."""
    twice = 0.0
    for j in range(a, b):
        # From the first vertex, so that far places lose no digits.
        twice += (u[j] - u[a]) * (v[j + 1] - v[a]) - (u[j + 1] - u[a]) * (v[j] - v[a])
    return twice <= 0


@kernel
def edges_in_rows(u, v, ring_offsets, part_offsets, parts, row0, row1):  # type: ignore[no-untyped-def]
    """Edges of some parts that pass through rows ``[row0, row1)``.

    Parameters
    ----------
    u, v : (n_vertices,) float64, global pixel coordinates
    ring_offsets : (n_rings + 1,) int64, into `u` and `v`; rings are closed
    part_offsets : (n_parts + 1,) int64, into `ring_offsets`
    parts : (m,) int64, the parts wanted
    row0, row1 : int

    Returns
    -------
    edges : (n, 4) float64
        Directed: of a part's shell, its first ring, as of its holes.
    edge_offsets : (m + 1,) int64
        ``edges[edge_offsets[i]:edge_offsets[i + 1]]`` belong to ``parts[i]``.
    """
    n = 0
    for p in parts:
        n += ring_offsets[part_offsets[p + 1]] - ring_offsets[part_offsets[p]]
    # Room for all of their edges: what is not written to costs no memory.
    edges = np.empty((n, 4), np.float64)
    offsets = np.zeros(parts.size + 1, np.int64)
    n = 0
    for i in range(parts.size):
        p = parts[i]
        for ring in range(part_offsets[p], part_offsets[p + 1]):
            start, end = ring_offsets[ring], ring_offsets[ring + 1] - 1
            is_shell = ring == part_offsets[p]
            ahead = np.int64(_turns_down_first(u, v, start, end) == is_shell)
            for j in range(start, end):
                a, b = touched_rows(min(v[j], v[j + 1]), max(v[j], v[j + 1]))
                if a >= b or b <= row0 or a >= row1:
                    continue
                edges[n, 0] = u[j + 1 - ahead]
                edges[n, 1] = v[j + 1 - ahead]
                edges[n, 2] = u[j + ahead]
                edges[n, 3] = v[j + ahead]
                n += 1
        offsets[i + 1] = n
    return edges[:n], offsets


@kernel
def gather_records(order, e_ptr, edge_index, edges, t_ptr, toggles):  # type: ignore[no-untyped-def]
    """Records in another order, their edges copied out.

    Returns
    -------
    e_ptr : (m + 1,) int64, edges : (k, 4) float64, t_ptr : (m + 1,) int64, toggles : (t,) int32
    """
    m = order.size
    new_e, new_t = np.zeros(m + 1, np.int64), np.zeros(m + 1, np.int64)
    for q in range(m):
        k = order[q]
        new_e[q + 1] = new_e[q] + e_ptr[k + 1] - e_ptr[k]
        new_t[q + 1] = new_t[q] + t_ptr[k + 1] - t_ptr[k]
    out_edges, out_toggles = np.empty((new_e[m], 4), np.float64), np.empty(new_t[m], np.int32)
    for q in range(m):
        k = order[q]
        n = new_e[q]
        for i in range(e_ptr[k], e_ptr[k + 1]):
            for j in range(4):
                out_edges[n, j] = edges[edge_index[i], j]
            n += 1
        put(out_toggles, new_t[q], toggles[t_ptr[k] : t_ptr[k + 1]])
    return new_e, out_edges, new_t, out_toggles
