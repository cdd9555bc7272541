"""Exact fractions: how much of each pixel a part covers, from its edges alone.

An edge that goes down has the inside to its right, one that goes up to its left (shells turn that
way, holes the other). What an edge does to the pixels of a row is two numbers in each cell that it
passes through: its height there, by which all cells to the right are covered more, and the area to
its right within the cell. The covered fraction of a cell is the sum of all heights to its left and
of its own areas (the accumulation of font rasterizers). Cells without an edge are covered wholly or
not at all, so that what is between edges stays whole runs, and cost follows the boundary.

All places are counted from the pixel in which an edge begins. So the numbers of an edge depend
neither on chunks nor on where on the globe they lie, but for the sums of heights from a chunk's
left border on.
"""

from __future__ import annotations

import numpy as np

from zoneraster._burn.cache import inlined, kernel
from zoneraster._burn.edges import grown
from zoneraster._burn.rule import first_row, touched_rows, upper_first

# Below this many cells in a row an insertion sort beats the general one.
_SHORT = 24


@inlined
def folded(x):  # type: ignore[no-untyped-def]
    """Even-odd share of what is covered `x` times: 0, 1, 0, 1 at whole numbers, straight between.

    What a ring that crosses itself winds around twice is outside, as by the other rules. Where
    pixels have several windings in them, it is the fold of their mean.
    """
    x = abs(x) % 2.0
    return x if x <= 1.0 else 2.0 - x


@inlined
def _border(edge, row0, col0, height, parity, cover):  # type: ignore[no-untyped-def]
    """How an edge covers the pixels right of the chunk's left border, from beyond it.

    Rows whose centre line it crosses there flip their `parity`, as toggles do. Where it meets the
    border, the row is covered from there on or up to there: `cover` is by how much that changes
    the row, seen from its centre.
    """
    u1, v1, u2, v2 = upper_first(edge)
    left1, left2 = u1 < col0, u2 < col0
    if not (left1 or left2):
        return
    y = v2
    if left1 != left2:
        if u1 == col0:
            y = v1
        elif u2 != col0:
            y = min(max(v1 + (col0 - u1) * (v2 - v1) / (u2 - u1), v1), v2)
    a, b = max(first_row(v1) - row0, 0), min(first_row(v2) - row0, height)
    for r in range(a, b):
        centre = row0 + r + 0.5
        if (left1 and left2) or (left1 == (centre < y)):
            parity[r] ^= 1
    if left1 == left2:
        return
    r = int(np.floor(y)) - row0
    if 0 <= r < height:
        # A ring that comes in over the border takes its cover with it from there down.
        change = -1.0 if edge[0] < col0 else 1.0
        top = float(row0 + r)
        cover[r] += -change * (y - top) if y <= top + 0.5 else change * (top + 1.0 - y)


@inlined
def _cells_of(edge, window, out, n):  # type: ignore[no-untyped-def]
    """Append what an edge does to the cells of a chunk that it passes through."""
    row0, col0, height, width = window
    rows, cols, heights, areas = out
    u1, v1, u2, v2 = upper_first(edge)
    sign = 1.0 if edge[1] < edge[3] else -1.0
    iu, iv = np.floor(u1), np.floor(v1)
    x1, y1, x2, y2 = u1 - iu, v1 - iv, u2 - iu, v2 - iv
    slope = (u2 - u1) / (v2 - v1) if v1 < v2 else 0.0
    lo, hi = min(x1, x2), max(x1, x2)
    a, b = touched_rows(v1, v2)
    shift = int(iu) - col0
    for r in range(max(a, row0), min(b, row0 + height)):
        ya, yb = max(y1, r - iv), min(y2, r + 1 - iv)
        xa = x1 if ya == y1 else min(max(x1 + (ya - y1) * slope, lo), hi)
        xb = x2 if yb == y2 else min(max(x1 + (yb - y1) * slope, lo), hi)
        tall = sign * (yb - ya)
        left, right = min(xa, xb), max(xa, xb)
        first = int(np.floor(left))
        last = max(first, int(np.ceil(right)) - 1)
        c, end = max(first, -shift), min(last, width - 1 - shift)
        if c > end:
            continue
        if n + end - c + 1 > rows.size:
            more = n + end - c + 1
            rows, cols = grown(rows, more), grown(cols, more)
            heights, areas = grown(heights, more), grown(areas, more)
        before = 0.0 if c == first else tall * ((c - left) / (right - left))
        xl = max(left, float(c))
        while c <= end:
            xr = min(right, c + 1.0)
            upto = tall if c == last else tall * ((c + 1 - left) / (right - left))
            rows[n], cols[n] = r - row0, c + shift
            heights[n] = upto - before
            areas[n] = (upto - before) * (c + 1 - 0.5 * (xl + xr))
            n += 1
            before, xl = upto, xr
            c += 1
    return n, (rows, cols, heights, areas)


@inlined
def _in_order(rows, cols, n, first, end):  # type: ignore[no-untyped-def]
    """Order of ``n`` cells by row of ``[first, end)`` and column, stable; and where rows start."""
    ptr = np.zeros(end - first + 2, np.int64)
    for i in range(n):
        ptr[rows[i] - first + 2] += 1
    for r in range(2, ptr.size):
        ptr[r] += ptr[r - 1]
    order = np.empty(n, np.int64)
    for i in range(n):
        at = rows[i] - first + 1
        order[ptr[at]] = i
        ptr[at] += 1
    for r in range(end - first):
        a, b = ptr[r], ptr[r + 1]
        if b - a > _SHORT:
            own = order[a:b].copy()
            order[a:b] = own[np.argsort(cols[own], kind="mergesort")]
            continue
        for i in range(a + 1, b):
            x = order[i]
            j = i - 1
            while j >= a and cols[order[j]] > cols[x]:
                order[j + 1] = order[j]
                j -= 1
            order[j + 1] = x
    return order, ptr


@inlined
def _append(out, m, r, a, b, zone, share):  # type: ignore[no-untyped-def]
    """Append a stretch, or let the last one go on; returns how many there are."""
    row, first, end, number, fraction = out
    goes_on = m > 0 and row[m - 1] == r and end[m - 1] == a and number[m - 1] == zone
    if goes_on and share == 1.0 and fraction[m - 1] == 1.0:
        end[m - 1] = b
        return m
    row[m], first[m], end[m], number[m], fraction[m] = r, a, b, zone, share
    return m + 1


@inlined
def _with_room(out, n):  # type: ignore[no-untyped-def]
    row, first, end, zone, fraction = out
    if n <= row.size:
        return out
    return grown(row, n), grown(first, n), grown(end, n), grown(zone, n), grown(fraction, n)


@kernel
def _no_stretches():  # type: ignore[no-untyped-def]
    return (
        np.empty(256, np.int32), np.empty(256, np.int32), np.empty(256, np.int32),
        np.empty(256, np.int32), np.empty(256, np.float64),
    )  # fmt: skip


@kernel
def make_cells(zone, full, e_ptr, edges, t_ptr, toggles, window):  # type: ignore[no-untyped-def]
    """Covered fractions of a chunk's pixels.

    Parameters
    ----------
    zone : (n,) int64
        Local zone number of each record, ascending.
    full : (n,) bool
    e_ptr, t_ptr : (n + 1,) int64 offsets into `edges` and `toggles`
    edges : (k, 4) float64, global pixel coordinates, directed (see `rule`)
    toggles : (t,) int32, rows counted from the chunk's top
    window : (row0, col0, height, width) int
        The chunk's corner on the grid and its size, cut to the grid.

    Returns
    -------
    row, first, end, zone : (s,) int32
        Stretches of pixels, by zone, row and column; none of a zone overlap.
    fraction : (s,) float64
        In (0, 1]; 1 for all stretches of more than a pixel. What several parts of a zone cover of
        a pixel is added, up to 1.
    """
    row0, col0, height, width = window
    parity, cover = np.zeros(height, np.int8), np.zeros(height, np.float64)
    cells = (
        np.empty(256, np.int32), np.empty(256, np.int32), np.empty(256, np.float64),
        np.empty(256, np.float64),
    )  # fmt: skip
    out = _no_stretches()
    m = begin = 0
    for k in range(zone.size):
        n, ra, rb = 0, height, 0
        if full[k]:
            ra, rb = 0, height
            parity[:] = 1
        for i in range(t_ptr[k], t_ptr[k + 1], 2):
            ra, rb = min(ra, toggles[i]), max(rb, toggles[i + 1])
            for r in range(toggles[i], toggles[i + 1]):
                parity[r] ^= 1
        for i in range(e_ptr[k], e_ptr[k + 1]):
            a, b = touched_rows(min(edges[i, 1], edges[i, 3]), max(edges[i, 1], edges[i, 3]))
            ra, rb = min(ra, max(a - row0, 0)), max(rb, min(b - row0, height))
            _border(edges[i], row0, col0, height, parity, cover)
            n, cells = _cells_of(edges[i], window, cells, n)
        if ra < rb:
            m, out = _sweep(cells, n, (ra, rb, width), parity, cover, zone[k], out, m)
        if k + 1 == zone.size or zone[k + 1] != zone[k]:
            if k > 0 and zone[k - 1] == zone[k]:
                m, out = _united(out, begin, m)
            begin = m
    row, first, end, number, fraction = out
    return row[:m], first[:m], end[:m], number[:m], fraction[:m]


@kernel
def runs_of_cells(row, first, end, fraction, height, width):  # type: ignore[no-untyped-def]
    """Runs of a chunk from the stretches of one zone.

    Parameters
    ----------
    row, first, end, fraction : as `make_cells` returns them
    height, width : int
        Size of the whole chunk.

    Returns
    -------
    run_ptr : (height + 1,) int64
    start : (m,) int32
        First column of each run; a row's first is 0 and its last runs to the chunk's right end.
    fraction : (m,) float64
        0 between the stretches.
    """
    room = 2 * row.size + height
    run_ptr, start = np.zeros(height + 1, np.int64), np.empty(room, np.int32)
    share = np.empty(room, np.float64)
    n = i = 0
    for r in range(height):
        run_ptr[r] = n
        start[n], share[n] = 0, 0.0
        n += 1
        while i < row.size and row[i] == r:
            if first[i] > start[n - 1]:
                start[n] = first[i]
                n += 1
            share[n - 1] = fraction[i]
            if end[i] < width:
                start[n], share[n] = end[i], 0.0
                n += 1
            i += 1
    run_ptr[height] = n
    return run_ptr, start[:n], share[:n]


@kernel
def whole_cells(row_ptr, first, end, zone):  # type: ignore[no-untyped-def]
    """Stretches of a chunk by a rule whose pixels are in a zone or not.

    Parameters
    ----------
    row_ptr, first, end, zone : as `spans` returns them

    Returns
    -------
    row, first, end, zone, fraction
        As `make_cells` returns them.
    """
    row = np.empty(first.size, np.int32)
    for r in range(row_ptr.size - 1):
        row[row_ptr[r] : row_ptr[r + 1]] = r
    order = np.argsort(zone, kind="mergesort")
    out = (row[order], first[order], end[order], zone[order], np.ones(first.size, np.float64))
    m = begin = 0
    while begin < first.size:
        stop = begin + 1
        while stop < first.size and out[3][stop] == out[3][begin]:
            stop += 1
        # What is united is no longer than it was, so that it fits in where it came from.
        m = _joined(out, begin, stop, m)
        begin = stop
    row, first, end, number, fraction = out
    return row[:m], first[:m], end[:m], number[:m], fraction[:m]


@kernel
def _by_place(row, first, begin, stop):  # type: ignore[no-untyped-def]
    """Stretches ``[begin, stop)`` in the order of rows and first columns."""
    order = np.argsort(first[begin:stop], kind="mergesort")
    return begin + order[np.argsort(row[begin:stop][order], kind="mergesort")]


@kernel
def _joined(out, begin, stop, m):  # type: ignore[no-untyped-def]
    """Write the union of a zone's stretches from place `m` on; returns where it ends."""
    row, first, end, number, _ = out
    own = _by_place(row, first, begin, stop)
    rows, lefts, rights = row[own], first[own], end[own]
    last = m - 1
    for i in range(own.size):
        if last >= m and row[last] == rows[i] and lefts[i] <= end[last]:
            end[last] = max(end[last], rights[i])
            continue
        last += 1
        row[last], first[last], end[last], number[last] = (
            rows[i], lefts[i], rights[i], number[begin],
        )  # fmt: skip
    return last + 1


@inlined
def _sweep(cells, n, extent, parity, cover, zone, out, m):  # type: ignore[no-untyped-def]
    """Append what `n` cells and the chunk's left border make of rows; both are left empty."""
    ra, rb, width = extent
    rows, cols, heights, areas = cells
    order, ptr = _in_order(rows, cols, n, ra, rb)
    for r in range(ra, rb):
        i, stop, c = ptr[r - ra], ptr[r - ra + 1], 0
        total = parity[r] + cover[r]
        parity[r], cover[r] = 0, 0.0
        while True:
            col = cols[order[i]] if i < stop else width
            out = _with_room(out, m + 2)
            if col > c:
                # No edge is there, so that it is a whole number but for rounding.
                total = np.rint(total)
                if total % 2.0 == 1.0:
                    m = _append(out, m, r, c, col, zone, 1.0)
            if i == stop:
                break
            tall = area = 0.0
            while i < stop and cols[order[i]] == col:
                tall += heights[order[i]]
                area += areas[order[i]]
                i += 1
            share = folded(total + area)
            if share > 0.0:
                m = _append(out, m, r, col, col + 1, zone, share)
            total += tall
            c = col + 1
    return m, out


@kernel
def _united(out, begin, m):  # type: ignore[no-untyped-def]
    """Stretches from `begin` on, of several parts of a zone, with those that overlap added up."""
    row, first, end, number, fraction = out
    own = _by_place(row, first, begin, m)
    made, n = _no_stretches(), 0
    i = 0
    while i < own.size:
        # Stretches that overlap, from `i` to `j`, are swept over the columns where any begins.
        r, x, stop, j = row[own[i]], first[own[i]], end[own[i]], i + 1
        while j < own.size and row[own[j]] == r and first[own[j]] < stop:
            stop = max(stop, end[own[j]])
            j += 1
        while x < stop:
            upto, share = stop, 0.0
            for s in own[i:j]:
                if first[s] > x:
                    upto = min(upto, first[s])
                elif end[s] > x:
                    upto = min(upto, end[s])
                    share += fraction[s]
            made = _with_room(made, n + 1)
            n = _append(made, n, r, x, upto, number[begin], min(share, 1.0))
            x = upto
        i = j
    out = _with_room(out, begin + n)
    row, first, end, number, fraction = made
    for i in range(n):
        _append(out, begin + i, row[i], first[i], end[i], number[i], fraction[i])
    return begin + n, out
