"""Spans to runs: who owns each stretch of a row, and what everybody claims."""

from __future__ import annotations

import numpy as np

from zoneraster._burn.arrays import grown, sort_order, sort_stretch, stable_order
from zoneraster._burn.cache import inlined, kernel

# Beyond so many pairs of zones in a chunk, those that come later are not summed.
_MOST_PAIRS = 2**16


@inlined
def begin_run(start, value, n, row_start, x, new):  # type: ignore[no-untyped-def]
    """Let the row's pixels from column `x` on have the value `new`; return the number of runs."""
    if start[n - 1] == x:
        value[n - 1] = new
        return n - 1 if n - 1 > row_start and value[n - 2] == new else n
    if value[n - 1] == new:
        return n
    start[n], value[n] = x, new
    return n + 1


@inlined
def sort_starts(s0, m, first, starts):  # type: ignore[no-untyped-def]
    """Keys of a row's spans, (column, position), by first column."""
    for i in range(m):
        starts[i] = (np.int64(first[s0 + i]) << 32) | (s0 + i)
    sort_stretch(starts, 0, m)


@inlined
def sort_ends(a, b, end, starts, ends):  # type: ignore[no-untyped-def]
    """The same of spans ``[a, b)`` by end column."""
    in_order = True
    for i in range(a, b):
        s = starts[i] & 0xFFFFFFFF
        ends[i] = (np.int64(end[s]) << 32) | s
        in_order &= i == a or ends[i] > ends[i - 1]
    if not in_order:
        sort_stretch(ends, a, b)


@inlined
def group_end(a, m, end, starts):  # type: ignore[no-untyped-def]
    """Where the spans stop that overlap span `a`, or one of those that do, or one of those ..."""
    b, stop = a + 1, np.int64(end[starts[a] & 0xFFFFFFFF])
    while b < m and starts[b] >> 32 < stop:
        stop = max(stop, np.int64(end[starts[b] & 0xFFFFFFFF]))
        b += 1
    return b


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

    Notes
    -----
    A row falls into groups of spans that overlap; most are one span, which needs no more. Others
    are swept once over the columns at which their spans start or end. Between two of these the
    zones that are active are known; a zone is counted when its last span ends, its contested pixels
    as the growth of `shared`, the pixels so far in which two zones or more were active. The owner
    is the highest active zone, and is looked for only when the last one has left, so that the cost
    of a row follows its spans however deep they lie.
    """
    room = 2 * first.size + height
    run_ptr = np.zeros(height + 1, np.int64)
    start, value = np.empty(room, np.int32), np.empty(room, np.int32)
    claimed, owned = np.zeros(n_zones, np.int64), np.zeros(n_zones, np.int64)
    contested, area = np.zeros(n_zones, np.int64), np.zeros(n_zones, np.float64)
    widest = 1
    for r in range(row_ptr.size - 1):
        widest = max(widest, row_ptr[r + 1] - row_ptr[r])
    starts, ends = np.empty(widest, np.int64), np.empty(widest, np.int64)
    # Of each zone: its active spans, its place among the active zones, and the column and `shared`
    # at which it became active.
    depth, place = np.zeros(n_zones, np.int32), np.empty(n_zones, np.int32)
    active = np.empty(n_zones, np.int32)
    since, shared_then = np.empty(n_zones, np.int64), np.empty(n_zones, np.int64)
    n = 0
    for r in range(height):
        run_ptr[r] = n
        start[n], value[n] = 0, 0
        n += 1
        if r >= row_ptr.size - 1:
            continue
        m = row_ptr[r + 1] - row_ptr[r]
        sort_starts(row_ptr[r], m, first, starts)
        x = np.int64(0)
        i = 0
        while i < m:
            if starts[i] >> 32 > x:
                n = begin_run(start, value, n, run_ptr[r], x, 0)
                x = starts[i] >> 32
            stop_at = group_end(i, m, end, starts)
            if stop_at == i + 1:
                s, z = starts[i] & 0xFFFFFFFF, zone[starts[i] & 0xFFFFFFFF]
                n = begin_run(start, value, n, run_ptr[r], x, z + 1)
                x = np.int64(end[s])
                claimed[z] += x - first[s]
                owned[z] += x - first[s]
                area[z] += (x - first[s]) * row_area[r]
                i = stop_at
                continue
            sort_ends(i, stop_at, end, starts, ends)
            e, n_active = i, 0
            shared = np.int64(0)
            owner = np.int32(-1)
            while e < stop_at:
                while i < stop_at and starts[i] >> 32 == x:
                    z = zone[starts[i] & 0xFFFFFFFF]
                    if depth[z] == 0:
                        active[n_active], place[z] = z, n_active
                        since[z], shared_then[z] = x, shared
                        n_active += 1
                    depth[z] += 1
                    owner = max(owner, z)
                    i += 1
                stop = ends[e] >> 32
                if i < stop_at:
                    stop = min(stop, starts[i] >> 32)
                if n_active > 1:
                    shared += stop - x
                owned[owner] += stop - x
                area[owner] += (stop - x) * row_area[r]
                n = begin_run(start, value, n, run_ptr[r], x, owner + 1)
                x = stop
                while e < stop_at and ends[e] >> 32 == x:
                    z = zone[ends[e] & 0xFFFFFFFF]
                    depth[z] -= 1
                    if depth[z] == 0:
                        claimed[z] += x - since[z]
                        contested[z] += shared - shared_then[z]
                        n_active -= 1
                        last = active[n_active]
                        active[place[z]], place[last] = last, place[z]
                    e += 1
                if depth[owner] == 0:
                    owner = np.int32(-1)
                    for j in range(n_active):
                        owner = max(owner, active[j])
        if x < width:
            n = begin_run(start, value, n, run_ptr[r], x, 0)
    run_ptr[height] = n
    return run_ptr, start[:n], value[:n], claimed, owned, contested, area


@kernel
def covered_spans(row_ptr, first, end, zone, runs, n_zones, width):  # type: ignore[no-untyped-def]
    """What zones claim and do not own: pixels under others, as planes of runs of their own.

    Parameters
    ----------
    row_ptr, first, end, zone : as `spans` returns them
    runs : (run_ptr, start, value)
        As `overlay_spans` returns them; values may stand for several zones that count as one, then
        `zone` does too.
    n_zones : int
    width : int
        Of the whole chunk.

    Returns
    -------
    n_planes : int
    run_ptr : (n_planes * height + 1,) int64
        Rows of the first plane, then of the next.
    start, value : (m,) int32
        As in `runs`.

    Notes
    -----
    In a group of spans that overlap, a zone has what its spans cover together less the runs that it
    owns. Where no more than two spans lie over each other, one of the two has what they share.
    Stretches of all zones are handed to planes as intervals are to rooms: by first column, each to
    one that is free, so that there are as many planes as pixels are covered at most.
    """
    run_ptr, start, value = runs
    height = run_ptr.size - 1
    row, left, right = np.empty(64, np.int32), np.empty(64, np.int32), np.empty(64, np.int32)
    owner, plane = np.empty(64, np.int32), np.empty(64, np.int32)
    widest = 1
    for r in range(row_ptr.size - 1):
        widest = max(widest, row_ptr[r + 1] - row_ptr[r], run_ptr[r + 1] - run_ptr[r])
    starts = np.empty(widest, np.int64)
    head, after = np.full(n_zones, -1, np.int64), np.empty(widest, np.int64)
    n = n_planes = 0
    for r in range(row_ptr.size - 1):
        m = row_ptr[r + 1] - row_ptr[r]
        sort_starts(row_ptr[r], m, first, starts)
        n_before, i, j, own1 = n, 0, run_ptr[r], run_ptr[r + 1]
        if n + m + own1 - j > row.size:
            room = n + m + own1 - j
            row, left, right = grown(row, room), grown(left, room), grown(right, room)
            owner, plane = grown(owner, room), grown(plane, room)
        while i < m:
            stop_at = group_end(i, m, end, starts)
            if stop_at == i + 1:
                i = stop_at
                continue
            # The run in which the group begins.
            while j + 1 < own1 and start[j + 1] <= starts[i] >> 32:
                j += 1
            if _is_chain(i, stop_at, end, starts):
                before = starts[i] & 0xFFFFFFFF
                for k in range(i + 1, stop_at):
                    # Each span shares pixels with the one before that reaches furthest.
                    s, x = starts[k] & 0xFFFFFFFF, starts[k] >> 32
                    while j + 1 < own1 and start[j + 1] <= x:
                        j += 1
                    if zone[s] != zone[before] and x < end[before]:
                        row[n], left[n], right[n] = r, x, min(end[s], end[before])
                        owner[n] = zone[s] if value[j] - 1 == zone[before] else zone[before]
                        n += 1
                    if end[s] > end[before]:
                        before = s
            else:
                n = _uncovered(
                    starts[i:stop_at], first, end, zone, (start, value, j, own1, width),
                    (head, after), r, (row, left, right, owner), n,
                )  # fmt: skip
            i = stop_at
        if n > n_before:
            n_planes = _to_planes(left, right, plane, n_before, n, n_planes)
    return _planes_of(row[:n], left[:n], right[:n], owner[:n], plane[:n], n_planes, height, width)


@inlined
def _is_chain(a, b, end, starts):  # type: ignore[no-untyped-def]
    """Whether no more than two of the spans ``[a, b)`` lie over each other anywhere."""
    longest, other = np.int64(end[starts[a] & 0xFFFFFFFF]), np.int64(0)
    chain = True
    for i in range(a + 1, b):
        chain &= other <= starts[i] >> 32
        stop = np.int64(end[starts[i] & 0xFFFFFFFF])
        longest, other = max(longest, stop), max(other, min(longest, stop))
    return chain


@kernel
def _uncovered(group, first, end, zone, runs, lists, r, out, n):  # type: ignore[no-untyped-def]
    """Append what zones of a group of spans have of it without the runs that they own.

    Parameters
    ----------
    group : (m,) int64
        Spans, as `sort_starts` leaves them.
    runs : (start, value, j, own1, width)
        Those of the row; `j` is the one in which the group begins.
    lists : (head, after)
        Room for the runs of each zone: (n_zones,) int64, all -1, and (runs of a row,) int64.
    r : int
    out, n : stretches so far, with room
    """
    start, value, own0, own1, width = runs
    head, after = lists
    row, left, right, owner = out
    last = own0
    most = np.int64(0)
    for key in group:
        most = max(most, np.int64(end[key & 0xFFFFFFFF]))
    while last < own1 and start[last] < most:
        last += 1
    for j in range(last - 1, own0 - 1, -1):
        if value[j] > 0:
            after[j - own0] = head[value[j] - 1]
            head[value[j] - 1] = j
    # By zone, and as they are sorted already, by first column, within one.
    by_zone = group & 0xFFFFFFFF
    sort_order(by_zone, 0, by_zone.size, zone)
    i = 0
    while i < by_zone.size:
        s = by_zone[i]
        z, x, stop = zone[s], first[s], end[s]
        i += 1
        while i < by_zone.size:
            s = by_zone[i]
            if zone[s] != z or first[s] > stop:
                break
            stop = max(stop, end[s])
            i += 1
        while x < stop:
            j = head[z]
            upto = stop if j < 0 else min(stop, max(start[j], x))
            if x < upto:
                row[n], left[n], right[n], owner[n] = r, x, upto, z
                n += 1
            if j < 0 or start[j] >= stop:
                break
            x = max(x, start[j + 1] if j + 1 < own1 else np.int32(width))
            head[z] = after[j - own0]
    for j in range(own0, last):
        if value[j] > 0:
            head[value[j] - 1] = -1
    return n


@kernel
def _to_planes(left, right, plane, a, b, n_planes):  # type: ignore[no-untyped-def]
    """Give each stretch ``[a, b)`` of a row a plane; returns how many there are by then."""
    apart = True
    for i in range(a + 1, b):
        apart &= right[i - 1] <= left[i]
    if apart:
        for i in range(a, b):
            plane[i] = 0
        return max(n_planes, 1 if b > a else 0)
    begins, ends = np.arange(a, b), np.arange(a, b)
    sort_order(begins, 0, b - a, left)
    sort_order(ends, 0, b - a, right)
    free, n_free, used, e = np.empty(b - a, np.int32), 0, 0, 0
    for i in begins:
        while right[ends[e]] <= left[i]:
            free[n_free] = plane[ends[e]]
            n_free += 1
            e += 1
        if n_free:
            n_free -= 1
            plane[i] = free[n_free]
        else:
            plane[i] = used
            used += 1
    return max(n_planes, used)


@kernel
def _planes_of(row, left, right, owner, plane, n_planes, height, width):  # type: ignore[no-untyped-def]
    """Runs of all planes, row by row."""
    order = np.arange(row.size)
    in_order = True
    for i in range(1, row.size):
        in_order &= plane[i] == plane[i - 1] and (
            row[i] > row[i - 1] or (row[i] == row[i - 1] and left[i] > left[i - 1])
        )
    if not in_order:
        sort_order(order, 0, order.size, left)
        sort_order(order, 0, order.size, plane.astype(np.int64) * height + row)
    room = n_planes * height + 2 * row.size
    run_ptr = np.zeros(n_planes * height + 1, np.int64)
    start, value = np.empty(room, np.int32), np.empty(room, np.int32)
    n = i = 0
    for line in range(n_planes * height):
        run_ptr[line] = n
        start[n], value[n] = 0, 0
        n += 1
        while i < order.size and plane[order[i]] * height + row[order[i]] == line:
            s = order[i]
            n = begin_run(start, value, n, run_ptr[line], left[s], owner[s] + 1)
            if right[s] < width:
                n = begin_run(start, value, n, run_ptr[line], right[s], 0)
            i += 1
    run_ptr[n_planes * height] = n
    return n_planes, run_ptr, start[:n], value[:n]


@inlined
def _slot_of(keys, key):  # type: ignore[no-untyped-def]
    """Where a key stands in a hash table (-1: free), or where it would."""
    slot = key & (keys.size - 1)
    while keys[slot] != key and keys[slot] != -1:
        slot = (slot + 1) & (keys.size - 1)
    return slot


@kernel
def _enlarged(keys, sums):  # type: ignore[no-untyped-def]
    """The same hash table in twice the room."""
    more_keys, more_sums = np.full(2 * keys.size, -1, np.int64), np.zeros(2 * keys.size, np.int64)
    for i in range(keys.size):
        if keys[i] != -1:
            slot = _slot_of(more_keys, keys[i])
            more_keys[slot], more_sums[slot] = keys[i], sums[i]
    return more_keys, more_sums


@kernel
def contested_pairs(row_ptr, first, end, zone, n_zones, most):  # type: ignore[no-untyped-def]
    """Pairs of zones that claim the same pixels of a chunk.

    Parameters
    ----------
    row_ptr, first, end, zone : as `spans` returns them
    n_zones : int
    most : int
        So many pairs are returned at most.

    Returns
    -------
    pairs : (m, 3) int64
        Lower zone number, higher zone number, pixels; those with most pixels first.
    n_pairs : int
        How many pairs there are; at least so many where it is 2**16, the most that are summed.
    """
    # Odd, so that keys of one higher zone do not all fall into one slot.
    base = np.int64(n_zones | 1)
    keys, sums = np.full(1024, -1, np.int64), np.zeros(1024, np.int64)
    widest = 1
    for r in range(row_ptr.size - 1):
        widest = max(widest, row_ptr[r + 1] - row_ptr[r])
    starts, active = np.empty(widest, np.int64), np.empty(widest, np.int64)
    n = 0
    for r in range(row_ptr.size - 1):
        m = row_ptr[r + 1] - row_ptr[r]
        sort_starts(row_ptr[r], m, first, starts)
        n_active = 0
        for i in range(m):
            s = starts[i] & 0xFFFFFFFF
            j = 0
            while j < n_active:
                other = active[j]
                if end[other] <= first[s]:
                    n_active -= 1
                    active[j] = active[n_active]
                    continue
                j += 1
                if zone[other] == zone[s]:
                    continue
                key = min(zone[s], zone[other]) * base + max(zone[s], zone[other])
                slot = _slot_of(keys, key)
                if keys[slot] != key:
                    if n == _MOST_PAIRS:
                        continue
                    keys[slot] = key
                    n += 1
                sums[slot] += min(end[s], end[other]) - first[s]
                if 2 * n > keys.size:
                    keys, sums = _enlarged(keys, sums)
            active[n_active] = s
            n_active += 1
    keys, sums = keys[keys != -1], sums[keys != -1]
    order = stable_order(keys)
    sort_order(order, 0, order.size, -sums)
    order = order[:most]
    out = np.empty((order.size, 3), np.int64)
    out[:, 0], out[:, 1], out[:, 2] = keys[order] // base, keys[order] % base, sums[order]
    return out, n
