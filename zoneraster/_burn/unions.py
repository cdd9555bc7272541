"""The area of a pixel that lies in any of several parts, exactly.

Every piece of an edge in the pixel is a straight line from one height to another. The covered
length at a height is the sum of the places where the union ends, less those where it begins: places
on the lines, between which lines begin and end is decided by how many parts cover what is just left
of a line. So each line is followed down, past all others that cross it, begin or end beside it, and
what it adds is integrated in stretches in which nothing changes. Equal lines lie in the order of
their numbers, everywhere, so that what they add cancels.

What lies left of the pixel is known by its area alone: as the parity of a part changes on the left
border only where pieces meet it, it is known at every height.

A part whose rings may cross themselves is followed in the same way, also where it is alone: left of
a line its own parity counts. It can have very many lines in a pixel, so they lie in the order of
their upper ends there, and only those that may reach a line are looked at.
"""

from __future__ import annotations

import numpy as np

from zoneraster._burn.arrays import stable_order, write_order
from zoneraster._burn.cache import inlined, kernel
from zoneraster._burn.pieces import piece_in_pixel

# Up to so many edges are looked through for those that two parts share.
_FEW = 24


@kernel
def _is_tiled(parts, edge_cells, edges):  # type: ignore[no-untyped-def]
    """Each edge is that of two parts, and an odd number of parts covers each place.

    The sum of windings changes nowhere in the pixel, where edges come in pairs of opposite
    directions; where it is odd, that of a part is odd at each place.
    """
    ptr, left, through = edge_cells
    mine, n, total = np.empty(_FEW, np.int64), 0, 0.0
    for p in parts:
        total += left[p]
        for i in range(ptr[p], ptr[p + 1]):
            edge, j = edges[through[i]], 0
            while j < n:
                other = edges[mine[j]]
                if (
                    other[0] == edge[2] and other[1] == edge[3]
                    and other[2] == edge[0] and other[3] == edge[1]
                ):  # fmt: skip
                    break
                j += 1
            if j < n:
                n -= 1
                mine[j] = mine[n]
            elif n == _FEW:
                return False
            else:
                mine[n] = through[i]
                n += 1
    return n == 0 and np.rint(total) % 2.0 == 1.0


@kernel
def _left_border(edge, piece, out, t):  # type: ignore[no-untyped-def]
    """Append heights at which a piece turns the parity on the left border.

    Returns also by how much less is left of the border, on the whole, than above the first turn.
    """
    x0, y0, x1, y1, on_left = piece
    if not on_left:
        return t, 0.0
    out[t] = y0 if x0 <= x1 else y1
    # What comes in over the border is no longer left of it from there down.
    comes_in = edge[1] < edge[3] if x0 == x1 else edge[0] < edge[2]
    less = 1.0 - out[t]
    t += 1
    if x0 == x1:
        out[t] = y1
        less -= 1.0 - y1
        t += 1
    return t, less if comes_in else -less


@kernel
def _sorted_by_top(lines):  # type: ignore[no-untyped-def]
    """Sort lines in place by their upper ends; returns the height of the tallest."""
    order, before = stable_order(lines[:, 1].copy()), lines.copy()
    tallest = 0.0
    for i in range(order.size):
        for j in range(4):
            lines[i, j] = before[order[i], j]
        tallest = max(tallest, lines[i, 3] - lines[i, 1])
    return tallest


@kernel
def _pieces_of(parts, shares, edge_cells, edges, row, col):  # type: ignore[no-untyped-def]
    """What lies of parts in a pixel; parameters of `area_of_union`.

    Returns
    -------
    line_ptr : (n + 1,) int64, lines : (k + 1, 4) float64
        (x, y, x', y') from the pixel's corner, by part, the upper end first; none is level. The
        last one is the pixel's right border.
    turn_ptr : (n + 1,) int64, turns : (t,) float64
        Heights at which the parity of each part changes on the left border.
    is_odd : (n,) bool
        That parity above all turns.
    boxes : (n, 4) float64
        (x, y, x', y') around what each part covers of the pixel.
    tallest : (n,) float64
        Of the lines of parts that are sorted by their upper ends, the height; elsewhere infinite.
    """
    ptr, left, through = edge_cells
    room = 0
    for p in parts:
        room += ptr[p + 1] - ptr[p]
    n = parts.size
    lines, turns = np.empty((room + 1, 4), np.float64), np.empty(2 * room, np.float64)
    line_ptr, turn_ptr = np.zeros(n + 1, np.int64), np.zeros(n + 1, np.int64)
    is_odd, boxes = np.empty(n, np.bool_), np.empty((n, 4), np.float64)
    tallest = np.full(n, np.inf)
    k = t = 0
    for q in range(n):
        p, t0 = parts[q], t
        xa, ya, xb, yb = 1.0, 1.0, 0.0, 0.0
        above, at_top, at_bottom = left[p], 0, 0
        for i in range(ptr[p], ptr[p + 1]):
            edge = edges[through[i]]
            x0, y0, x1, y1, _ = piece = piece_in_pixel(edge, row, col)
            t, less = _left_border(edge, piece, turns, t)
            above += less
            xa, ya, xb, yb = min(xa, x0, x1), min(ya, y0), max(xb, x0, x1), max(yb, y1)
            if y0 < y1:
                lines[k, 0], lines[k, 1], lines[k, 2], lines[k, 3] = x0, y0, x1, y1
                k += 1
                at_top += y0 <= 0.0
                at_bottom += y1 >= 1.0
        is_odd[q] = np.rint(above) % 2.0 == 1.0
        # Corners of the pixel in the part, just below the upper border and above the lower one.
        upper = lower = np.int64(is_odd[q])
        for i in range(t0, t):
            upper += turns[i] <= 0.0
            lower += turns[i] < 1.0
        for corner, x, y in (
            (upper, 0.0, 0.0), (upper + at_top, 1.0, 0.0),
            (lower, 0.0, 1.0), (lower + at_bottom, 1.0, 1.0),
        ):  # fmt: skip
            if corner % 2 == 1:
                xa, ya, xb, yb = min(xa, x), min(ya, y), max(xb, x), max(yb, y)
        boxes[q, 0], boxes[q, 1], boxes[q, 2], boxes[q, 3] = xa, ya, xb, yb
        line_ptr[q + 1], turn_ptr[q + 1] = k, t
        if np.isnan(shares[q]):
            tallest[q] = _sorted_by_top(lines[line_ptr[q] : k])
    lines[k, 0], lines[k, 1], lines[k, 2], lines[k, 3] = 1.0, 0.0, 1.0, 1.0
    return line_ptr, lines[: k + 1], turn_ptr, turns[:t], is_odd, boxes, tallest


@inlined
def _first_at(lines, a, b, y):  # type: ignore[no-untyped-def]
    """First of the lines `a` to `b`, sorted by their upper ends, that begins at `y` or below."""
    while a < b:
        middle = (a + b) // 2
        if lines[middle, 1] < y:
            a = middle + 1
        else:
            b = middle
    return a


@inlined
def _beside(k, q, pieces):  # type: ignore[no-untyped-def]
    """First and end of the lines of part `q` that may be beside line `k`: all, where unsorted."""
    line_ptr, lines, _, _, _, _, tallest = pieces
    a, b = line_ptr[q], line_ptr[q + 1]
    if tallest[q] == np.inf:
        return a, b
    # None of those before reaches down to the line, and none of those after up to it.
    a = _first_at(lines, a, b, lines[k, 1] - tallest[q])
    return a, _first_at(lines, a, b, lines[k, 3])


@inlined
def _place_at(lines, k, y):  # type: ignore[no-untyped-def]
    """Where a line is at a height between its ends."""
    x0, y0, x1, y1 = lines[k, 0], lines[k, 1], lines[k, 2], lines[k, 3]
    return x0 + (x1 - x0) * ((y - y0) / (y1 - y0))


@inlined
def _where_left(lines, j, k):  # type: ignore[no-untyped-def]
    """Heights between which line `j` is left of line `k`; the same where it nowhere is."""
    lo, hi = max(lines[j, 1], lines[k, 1]), min(lines[j, 3], lines[k, 3])
    if lo >= hi:
        return lo, lo
    upper = _place_at(lines, j, lo) - _place_at(lines, k, lo)
    lower = _place_at(lines, j, hi) - _place_at(lines, k, hi)
    if upper == 0.0 and lower == 0.0:
        return lo, hi if j < k else lo
    if upper <= 0.0 and lower <= 0.0:
        return lo, hi
    if upper >= 0.0 and lower >= 0.0:
        return lo, lo
    y = min(max(lo + (hi - lo) * (upper / (upper - lower)), lo), hi)
    return (lo, y) if upper < 0.0 else (y, hi)


@kernel
def _added_along(k, own, near, pieces, room):  # type: ignore[no-untyped-def]
    """What the union ends along a line, less what it begins there: areas left of it.

    Parameters
    ----------
    k, own : int
        The line, and its part.
    near : (m,) int64
        Parts that may cover some of it, `own` among them.
    pieces : as `_pieces_of` returns them
    room : (heights, whose, order, odd)
        For all lines and turns; and for each part, all False.
    """
    _, lines, turn_ptr, turns, is_odd, _, _ = pieces
    heights, whose, order, odd = room
    top, bottom = lines[k, 1], lines[k, 3]
    n, depth = 0, np.int64(0)
    for q in near:
        is_left = is_odd[q]
        for i in range(turn_ptr[q], turn_ptr[q + 1]):
            if turns[i] <= top:
                is_left = not is_left
            elif turns[i] < bottom:
                heights[n], whose[n] = turns[i], q
                n += 1
        for j in range(*_beside(k, q, pieces)):
            if j == k:
                continue
            ya, yb = _where_left(lines, j, k)
            if ya == yb:
                continue
            if ya <= top:
                is_left = not is_left
            else:
                heights[n], whose[n] = ya, q
                n += 1
            if yb < bottom:
                heights[n], whose[n] = yb, q
                n += 1
        odd[q] = is_left
        depth += is_left
    write_order(heights, n, order)
    added, y, i = 0.0, top, 0
    while y < bottom:
        upto = heights[order[i]] if i < n else bottom
        # No part but its own covers what is left of the line, nor then what is right of it.
        if depth == np.int64(odd[own]):
            area = (upto - y) * _place_at(lines, k, 0.5 * (y + upto))
            added += area if odd[own] else -area
        y = upto
        while i < n and heights[order[i]] <= y:
            q = whose[order[i]]
            odd[q] = not odd[q]
            depth += 1 if odd[q] else -1
            i += 1
    odd[near] = False
    return added


@inlined
def _with_near(p, q, boxes, out, n):  # type: ignore[no-untyped-def]
    """Append part `p` where it may lie over part `q`; returns how many there are."""
    if (
        boxes[p, 0] < boxes[q, 2] and boxes[q, 0] < boxes[p, 2]
        and boxes[p, 1] < boxes[q, 3] and boxes[q, 1] < boxes[p, 3]
    ):  # fmt: skip
        out[n] = p
        return n + 1
    return n


@kernel
def _near(i, order, boxes, tallest, out):  # type: ignore[no-untyped-def]
    """Write the `i`-th part from the top to `out`, and those that may lie over it: how many."""
    q, n, j = order[i], 1, i - 1
    out[0] = q
    while j >= 0 and boxes[order[j], 1] >= boxes[q, 1] - tallest:
        n = _with_near(order[j], q, boxes, out, n)
        j -= 1
    j = i + 1
    while j < order.size and boxes[order[j], 1] < boxes[q, 3]:
        n = _with_near(order[j], q, boxes, out, n)
        j += 1
    return n


@kernel
def area_of_union(parts, shares, edge_cells, edges, row, col):  # type: ignore[no-untyped-def]
    """Area of a pixel that lies in any of some parts, each even-odd.

    Parameters
    ----------
    parts : (n,) int64
        Edge cells of the pixel, one of each part.
    shares : (n,) float64
        What each covers of the pixel; NaN for those whose rings may cross themselves.
    edge_cells : (ptr, left, through)
        ``through[ptr[p]:ptr[p + 1]]`` are the edges that pass through edge cell p, and ``left[p]``
        the mean winding of its part on the pixel's left border.
    edges : (m, 4) float64
        In global pixel coordinates, directed.
    row, col : int
        The pixel on the grid.

    Returns
    -------
    float

    Notes
    -----
    A line has to do with parts whose box meets that of its own part. So the cost follows pairs of
    lines of parts that may lie over each other, and the sorting of what happens along a line. Of a
    part whose rings may cross themselves they are those that meet in height.
    """
    if _is_tiled(parts, edge_cells, edges):
        return 1.0
    pieces = _pieces_of(parts, shares, edge_cells, edges, row, col)
    line_ptr, lines, _, turns, _, boxes, _ = pieces
    n, m = parts.size, 2 * lines.shape[0] + turns.size
    order, near = np.empty(n, np.int64), np.empty(n, np.int64)
    on_right, n_right = np.empty(n, np.int64), 0
    write_order(boxes[:, 1].copy(), n, order)
    tallest = (boxes[:, 3] - boxes[:, 1]).max()
    room = (
        np.empty(m, np.float64), np.empty(m, np.int64), np.empty(m, np.int64),
        np.zeros(n + 1, np.bool_),
    )  # fmt: skip
    area, is_alone = 0.0, np.zeros(n, np.bool_)
    for i in range(n):
        q = order[i]
        n_near = _near(i, order, boxes, tallest, near)
        if n_near == 1 and not np.isnan(shares[q]):
            is_alone[q] = True
            continue
        for k in range(line_ptr[q], line_ptr[q + 1]):
            area += _added_along(k, q, near[:n_near], pieces, room)
        if boxes[q, 2] >= 1.0:
            on_right[n_right] = q
            n_right += 1
    if n_right:
        # As if all beyond the right border were covered, too, by a part that begins there.
        area += 1.0 + _added_along(lines.shape[0] - 1, n, on_right[:n_right], pieces, room)
    for q in range(n):
        # In the order of parts, whatever else there is.
        if is_alone[q]:
            area += shares[q]
    return min(max(area, 0.0), 1.0)
