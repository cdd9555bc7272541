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

from zoneraster._burn.arrays import grown, sort_order, stable_order
from zoneraster._burn.cache import inlined, kernel
from zoneraster._burn.pieces import columns_of, framed, height_upto, piece_in_row
from zoneraster._burn.rule import first_row, touched_rows, upper_first
from zoneraster._burn.unions import area_of_union


@inlined
def folded(x):  # type: ignore[no-untyped-def]
    """Even-odd share of what is covered `x` times: 0, 1, 0, 1 at whole numbers, straight between.

    What a ring that crosses itself winds around twice is outside, as by the other rules. Of several
    windings in a pixel `x` is the mean, and the share is exact where they are one apart.
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
def _cells_of(edge, e, window, out, n):  # type: ignore[no-untyped-def]
    """Append what edge number `e` does to the cells of a chunk that it passes through."""
    row0, col0, height, width = window
    rows, cols, heights, areas, through = out
    sign = 1.0 if edge[1] < edge[3] else -1.0
    frame = framed(edge)
    shift = int(frame[0]) - col0
    a, b = touched_rows(min(edge[1], edge[3]), max(edge[1], edge[3]))
    for r in range(max(a, row0), min(b, row0 + height)):
        xa, ya, xb, yb = piece = piece_in_row(frame, r)
        tall = sign * (yb - ya)
        left, right = min(xa, xb), max(xa, xb)
        first, last = columns_of(left, right)
        c, end = max(first, -shift), min(last, width - 1 - shift)
        if c > end:
            continue
        if n + end - c + 1 > rows.size:
            more = n + end - c + 1
            rows, cols, through = grown(rows, more), grown(cols, more), grown(through, more)
            heights, areas = grown(heights, more), grown(areas, more)
        before = 0.0 if c == first else sign * height_upto(piece, c)
        xl = max(left, float(c))
        while c <= end:
            xr = min(right, c + 1.0)
            upto = tall if c == last else sign * height_upto(piece, c + 1)
            rows[n], cols[n], through[n] = r - row0, c + shift, e
            heights[n] = upto - before
            areas[n] = (upto - before) * (c + 1 - 0.5 * (xl + xr))
            n += 1
            before, xl = upto, xr
            c += 1
    return n, (rows, cols, heights, areas, through)


@kernel
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
        sort_order(order, a, b, cols)
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
def _no_edge_cells():  # type: ignore[no-untyped-def]
    """Edge cells as `area_of_union` takes them."""
    return np.zeros(256, np.int64), np.empty(256, np.float64), np.empty(256, np.int64)


@kernel
def make_cells(zone, full, e_ptr, edges, t_ptr, toggles, window, crossing):  # type: ignore[no-untyped-def]
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
    crossing : (n,) bool
        Records of parts whose rings may cross themselves, whose edges are followed one by one.

    Returns
    -------
    row, first, end, zone : (s,) int32
        Stretches of pixels, by zone, row and column; none of a zone overlap.
    fraction : (s,) float64
        In (0, 1]; 1 for all stretches of more than a pixel. Of several parts of a zone in a pixel
        it is the area of their union.
    """
    row0, col0, height, width = window
    parity, cover = np.zeros(height, np.int8), np.zeros(height, np.float64)
    cells = (
        np.empty(256, np.int32), np.empty(256, np.int32), np.empty(256, np.float64),
        np.empty(256, np.float64), np.empty(256, np.int64),
    )  # fmt: skip
    out, kept = _no_stretches(), _no_edge_cells()
    m = begin = n_kept = 0
    for k in range(zone.size):
        begins = k == 0 or zone[k - 1] != zone[k]
        ends = k + 1 == zone.size or zone[k + 1] != zone[k]
        is_plain = begins and ends and not crossing[k]
        if begins:
            begin, n_kept = m, 0
        n, ra, rb = 0, height, 0
        if full[k]:
            ra, rb = 0, height
            for r in range(height):
                parity[r] = 1
        for i in range(t_ptr[k], t_ptr[k + 1], 2):
            ra, rb = min(ra, toggles[i]), max(rb, toggles[i + 1])
            for r in range(toggles[i], toggles[i + 1]):
                parity[r] ^= 1
        for i in range(e_ptr[k], e_ptr[k + 1]):
            a, b = touched_rows(min(edges[i, 1], edges[i, 3]), max(edges[i, 1], edges[i, 3]))
            ra, rb = min(ra, max(a - row0, 0)), max(rb, min(b - row0, height))
            _border(edges[i], row0, col0, height, parity, cover)
            n, cells = _cells_of(edges[i], i, window, cells, n)
        if ra < rb:
            # What several parts cover of a pixel is found when all are there.
            extent = (ra, rb, width, zone[k] if is_plain else -1, crossing[k])
            m, out, kept, n_kept = _sweep(cells, n, extent, (parity, cover), out, m, kept, n_kept)
        if ends and not is_plain:
            m = _united(out, begin, m, zone[k], kept, edges, window)
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
        for i in range(row_ptr[r], row_ptr[r + 1]):
            row[i] = r
    order = stable_order(zone)
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
    order = np.arange(begin, stop)
    sort_order(order, 0, order.size, first)
    sort_order(order, 0, order.size, row)
    return order


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
def _with_more(kept, n, more):  # type: ignore[no-untyped-def]
    """Edge cells, of which there are `n`, with room for `more` that an edge each passes through."""
    ptr, left, through = kept
    if n + more + 1 > ptr.size:
        ptr, left = grown(ptr, n + more + 1), grown(left, n + more + 1)
    if ptr[n] + more > through.size:
        through = grown(through, ptr[n] + more)
    return ptr, left, through


@inlined
def _sweep(cells, n, extent, state, out, m, kept, n_kept):  # type: ignore[no-untyped-def]
    """Append what `n` cells and the chunk's left border make of rows; `state` is left empty.

    `extent` is (first row, end row, width, zone, whether rings may cross themselves). Without a
    zone, -1, edge cells are kept, and the number of a stretch is that of its edge cell, or -1;
    where rings may cross themselves the share of an edge cell is left open, NaN.
    """
    ra, rb, width, zone, may_cross = extent
    parity, cover = state
    rows, cols, heights, areas, through = cells
    order, ptr = _in_order(rows, cols, n, ra, rb)
    out = _with_room(out, m + 2 * n + rb - ra)
    if zone < 0:
        kept = _with_more(kept, n_kept, n)
    k_ptr, k_left, k_through = kept
    for r in range(ra, rb):
        i, stop, c = ptr[r - ra], ptr[r - ra + 1], 0
        total = parity[r] + cover[r]
        parity[r], cover[r] = 0, 0.0
        while True:
            col = cols[order[i]] if i < stop else width
            if col > c:
                # No edge is there, so that it is a whole number but for rounding.
                total = np.rint(total)
                if total % 2.0 == 1.0:
                    m = _append(out, m, r, c, col, zone, 1.0)
            if i == stop:
                break
            tall, area, begin = 0.0, 0.0, i
            while i < stop and cols[order[i]] == col:
                tall += heights[order[i]]
                area += areas[order[i]]
                i += 1
            share = np.nan if may_cross else folded(total + area)
            if share > 0.0 and zone >= 0:
                m = _append(out, m, r, col, col + 1, zone, share)
            elif share != 0.0:
                m = _append(out, m, r, col, col + 1, n_kept, share)
                first = k_ptr[n_kept]
                for k in range(i - begin):
                    k_through[first + k] = through[order[begin + k]]
                k_left[n_kept], k_ptr[n_kept + 1] = total, first + i - begin
                n_kept += 1
            total += tall
            c = col + 1
    return m, out, kept, n_kept


@kernel
def _united(out, begin, m, zone, kept, edges, window):  # type: ignore[no-untyped-def]
    """Stretches from `begin` on, of several parts of a zone, as those of their union."""
    row, first, end, number, fraction = out
    row0, col0, height, _ = window
    order, ptr = _in_order(row[begin:m], first[begin:m], m - begin, 0, height)
    own = order + begin
    room = m - begin
    made = (
        np.empty(room, np.int32), np.empty(room, np.int32), np.empty(room, np.int32),
        np.empty(room, np.int32), np.empty(room, np.float64),
    )  # fmt: skip
    cells, shares = np.empty(room, np.int64), np.empty(room, np.float64)
    n = 0
    for r in range(height):
        i, stop, upto = ptr[r], ptr[r + 1], 0
        while i < stop:
            # Stretches that begin in one column: the longest whole one, and edge cells.
            x, n_cells = first[own[i]], 0
            whole = x
            while i < stop and first[own[i]] == x:
                s = own[i]
                if fraction[s] == 1.0:
                    whole = max(whole, end[s])
                else:
                    cells[n_cells], shares[n_cells] = number[s], fraction[s]
                    n_cells += 1
                i += 1
            if whole > max(x, upto):
                n = _append(made, n, r, max(x, upto), whole, zone, 1.0)
                upto = whole
            elif x >= upto:
                share = shares[0]
                if n_cells > 1 or np.isnan(share):
                    share = area_of_union(
                        cells[:n_cells], shares[:n_cells], kept, edges, row0 + r, col0 + x
                    )
                if share > 0.0:
                    n = _append(made, n, r, x, x + 1, zone, share)
                upto = x + 1
    for i in range(n):
        s = begin + i
        row[s], first[s], end[s] = made[0][i], made[1][i], made[2][i]
        number[s], fraction[s] = made[3][i], made[4][i]
    return begin + n
