"""Spans to runs in which a pixel that several zones claim stands for the set of them."""

from __future__ import annotations

import numpy as np

from zoneraster._burn.arrays import put
from zoneraster._burn.cache import inlined, kernel
from zoneraster._burn.overlay import begin_run, group_end, sort_ends, sort_starts


@inlined
def _mixed(z):  # type: ignore[no-untyped-def]
    """Bits of a number stirred (splitmix64, Steele, Lea and Flood 2014)."""
    x = np.uint64(z) + np.uint64(0x9E3779B97F4A7C15)
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return x ^ (x >> np.uint64(31))


@inlined
def _sorted_into(out, zones, n):  # type: ignore[no-untyped-def]
    """Copy `n` zones in ascending order; there are few."""
    for i in range(n):
        j = i
        while j and out[j - 1] > zones[i]:
            out[j] = out[j - 1]
            j -= 1
        out[j] = zones[i]


@inlined
def _number_of(zones, n, hashed, slots, hashes, ptr, members):  # type: ignore[no-untyped-def]
    """Number of the set of the first `n` zones, ascending; -1 where it is not known."""
    at = np.int64(hashed & np.uint64(slots.size - 1))
    while slots[at] >= 0:
        k = slots[at]
        same = hashes[k] == hashed and ptr[k + 1] - ptr[k] == n
        i = 0
        while same and i < n:
            same = members[ptr[k] + i] == zones[i]
            i += 1
        if same:
            return k
        at = (at + 1) & (slots.size - 1)
    return np.int64(-1)


@kernel
def _add_set(zones, hashed, slots, hashes, ptr, members, n):  # type: ignore[no-untyped-def]
    """Write down set `n`; False where there is no room for it."""
    a, b = ptr[n], ptr[n] + zones.size
    if n == hashes.size or b > members.size:
        return False
    put(members, a, zones)
    ptr[n + 1], hashes[n] = b, hashed
    at = np.int64(hashed & np.uint64(slots.size - 1))
    while slots[at] >= 0:
        at = (at + 1) & (slots.size - 1)
    slots[at] = n
    return True


@kernel
def _sweep(row_ptr, first, end, zone, n_zones, shape, tables):  # type: ignore[no-untyped-def]
    """`set_spans` with tables of sets to fill, and the number of sets; -1 where these are full."""
    height, width = shape
    slots, hashes, set_ptr, members = tables
    room = 2 * first.size + height
    run_ptr = np.zeros(height + 1, np.int64)
    start, value = np.empty(room, np.int32), np.empty(room, np.int32)
    widest = 1
    for r in range(row_ptr.size - 1):
        widest = max(widest, row_ptr[r + 1] - row_ptr[r])
    starts, ends = np.empty(widest, np.int64), np.empty(widest, np.int64)
    depth, place = np.zeros(n_zones, np.int32), np.empty(n_zones, np.int32)
    active, asked = np.empty(n_zones, np.int32), np.empty(n_zones, np.int32)
    n = n_sets = 0
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
                s = starts[i] & 0xFFFFFFFF
                n = begin_run(start, value, n, run_ptr[r], x, zone[s] + 1)
                x = np.int64(end[s])
                i = stop_at
                continue
            sort_ends(i, stop_at, end, starts, ends)
            e, n_active, hashed = i, 0, np.uint64(0)
            while e < stop_at:
                while i < stop_at and starts[i] >> 32 == x:
                    z = zone[starts[i] & 0xFFFFFFFF]
                    if depth[z] == 0:
                        active[n_active], place[z] = z, n_active
                        n_active += 1
                        hashed ^= _mixed(z)
                    depth[z] += 1
                    i += 1
                stop = ends[e] >> 32
                if i < stop_at:
                    stop = min(stop, starts[i] >> 32)
                new = np.int64(active[0]) + 1
                if n_active > 1:
                    _sorted_into(asked, active, n_active)
                    k = _number_of(asked, n_active, hashed, slots, hashes, set_ptr, members)
                    if k < 0:
                        k, n_sets = n_sets, n_sets + 1
                        zones = asked[:n_active]
                        if not _add_set(zones, hashed, slots, hashes, set_ptr, members, k):
                            return run_ptr, start, value, -1
                    new = n_zones + 1 + k
                n = begin_run(start, value, n, run_ptr[r], x, new)
                x = stop
                while e < stop_at and ends[e] >> 32 == x:
                    z = zone[ends[e] & 0xFFFFFFFF]
                    depth[z] -= 1
                    if depth[z] == 0:
                        hashed ^= _mixed(z)
                        n_active -= 1
                        last = active[n_active]
                        active[place[z]], place[last] = last, place[z]
                    e += 1
        if x < width:
            n = begin_run(start, value, n, run_ptr[r], x, 0)
    run_ptr[height] = n
    return run_ptr, start[:n], value[:n], n_sets


@kernel
def set_spans(row_ptr, first, end, zone, n_zones, height, width):  # type: ignore[no-untyped-def]
    """Runs of a chunk: in each pixel the zone that claims it, or the set of those that do.

    Parameters
    ----------
    row_ptr, first, end, zone : as `spans` returns them
    n_zones : int
    height, width : int
        Size of the whole chunk; what lies beyond the grid is empty.

    Returns
    -------
    run_ptr : (height + 1,) int64
    start : (m,) int32
        As those of `overlay_spans`.
    value : (m,) int32
        0: no zone; ``z + 1``: zone z alone; ``n_zones + 1 + k``: set k.
    set_ptr : (n_sets + 1,) int64
    members : (set_ptr[-1],) int32
        Zones of each set, two at least, ascending; in the order in which sets are met.

    Notes
    -----
    A sweep over the first and end columns of spans that overlap, group by group. The hash of the
    active zones is kept up to date by exclusive or; where it is that of a known set, members are
    compared too.
    """
    room = 256
    while True:
        # Tables that do not move while they are filled: growing them on the way is slower.
        slots, hashes = np.full(4 * room, -1, np.int64), np.empty(room, np.uint64)
        set_ptr, members = np.zeros(room + 1, np.int64), np.empty(4 * room, np.int32)
        run_ptr, start, value, n_sets = _sweep(
            row_ptr, first, end, zone, n_zones, (height, width), (slots, hashes, set_ptr, members)
        )
        if n_sets >= 0:
            set_ptr = set_ptr[: n_sets + 1]
            return run_ptr, start, value, set_ptr, members[: set_ptr[n_sets]]
        room *= 4


@kernel
def count_values(run_ptr, value, start, n_values, width, row_area):  # type: ignore[no-untyped-def]
    """Pixels of each value, and their area.

    Parameters
    ----------
    run_ptr, value, start : as `set_spans` returns them
    n_values : int
    width : int
        Of the whole chunk.
    row_area : (rows,) float64
        Area of a pixel in each row; rows beyond have no value.

    Returns
    -------
    pixels : (n_values,) int64
    area : (n_values,) float64
    """
    pixels, area = np.zeros(n_values, np.int64), np.zeros(n_values, np.float64)
    for r in range(row_area.size):
        for i in range(run_ptr[r], run_ptr[r + 1]):
            stop = np.int64(start[i + 1]) if i + 1 < run_ptr[r + 1] else np.int64(width)
            pixels[value[i]] += stop - start[i]
            area[value[i]] += (stop - start[i]) * row_area[r]
    return pixels, area
