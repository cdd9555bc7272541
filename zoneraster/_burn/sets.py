"""Spans to runs in which a pixel that several zones claim stands for the set of them."""

from __future__ import annotations

import numpy as np

from zoneraster._burn.cache import inlined, kernel
from zoneraster._burn.edges import grown
from zoneraster._burn.overlay import begin_run, sort_ends, sort_starts


@inlined
def _mixed(z):  # type: ignore[no-untyped-def]
    """Bits of a number stirred (splitmix64, Steele, Lea and Flood 2014)."""
    x = np.uint64(z) + np.uint64(0x9E3779B97F4A7C15)
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return x ^ (x >> np.uint64(31))


@inlined
def _is_set(members, a, b, zones):  # type: ignore[no-untyped-def]
    """Whether ``members[a:b]`` are just these zones, ascending."""
    same = b - a == zones.size
    i = 0
    while same and i < zones.size:
        same = members[a + i] == zones[i]
        i += 1
    return same


@kernel
def _more_slots(slots, hashes, n):  # type: ignore[no-untyped-def]
    """A hash table of the first `n` sets in twice the room."""
    more = np.full(2 * slots.size, -1, np.int64)
    for k in range(n):
        at = np.int64(hashes[k] & np.uint64(more.size - 1))
        while more[at] >= 0:
            at = (at + 1) & (more.size - 1)
        more[at] = k
    return more


@kernel
def _number_of(zones, hashed, known):  # type: ignore[no-untyped-def]
    """Number of a set of zones, a new one where it is not known.

    Parameters
    ----------
    zones : (m,) int32
        Sorted in place.
    hashed : uint64
        Of these zones, whatever their order.
    known : (slots, hashes, ptr, members, n)
        Sets so far, and a hash table of them.

    Returns
    -------
    int, known
    """
    slots, hashes, ptr, members, n = known
    zones.sort()
    at = np.int64(hashed & np.uint64(slots.size - 1))
    while slots[at] >= 0:
        k = slots[at]
        if hashes[k] == hashed and _is_set(members, ptr[k], ptr[k + 1], zones):
            return k, known
        at = (at + 1) & (slots.size - 1)
    if n == hashes.size:
        hashes = grown(hashes, n + 1)
    if n + 1 == ptr.size:
        ptr = grown(ptr, n + 2)
    a, b = ptr[n], ptr[n] + zones.size
    if b > members.size:
        members = grown(members, b)
    members[a:b] = zones
    ptr[n + 1], hashes[n], slots[at] = b, hashed, n
    n += 1
    if 2 * n > slots.size:
        slots = _more_slots(slots, hashes, n)
    return n - 1, (slots, hashes, ptr, members, n)


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
    A sweep over the first and end columns of each row's spans. The hash of the active zones is kept
    up to date by exclusive or; where it is that of a known set, members are compared too.
    """
    room = 2 * first.size + height
    run_ptr = np.zeros(height + 1, np.int64)
    start, value = np.empty(room, np.int32), np.empty(room, np.int32)
    widest = 1
    for r in range(row_ptr.size - 1):
        widest = max(widest, row_ptr[r + 1] - row_ptr[r])
    starts, ends = np.empty(widest, np.int64), np.empty(widest, np.int64)
    depth, place = np.zeros(n_zones, np.int32), np.empty(n_zones, np.int32)
    active = np.empty(n_zones, np.int32)
    known = (
        np.full(64, -1, np.int64), np.empty(16, np.uint64), np.zeros(17, np.int64),
        np.empty(64, np.int32), np.int64(0),
    )  # fmt: skip
    n = 0
    for r in range(height):
        run_ptr[r] = n
        start[n], value[n] = 0, 0
        n += 1
        if r >= row_ptr.size - 1:
            continue
        m = row_ptr[r + 1] - row_ptr[r]
        sort_starts(row_ptr[r], m, first, starts)
        sort_ends(0, m, end, starts, ends)
        x = np.int64(0)
        i, e, n_active, hashed = 0, 0, 0, np.uint64(0)
        while e < m:
            if n_active == 0:
                x = starts[i] >> 32
            while i < m and starts[i] >> 32 == x:
                z = zone[starts[i] & 0xFFFFFFFF]
                if depth[z] == 0:
                    active[n_active], place[z] = z, n_active
                    n_active += 1
                    hashed ^= _mixed(z)
                depth[z] += 1
                i += 1
            stop = ends[e] >> 32
            if i < m:
                stop = min(stop, starts[i] >> 32)
            new = np.int64(active[0]) + 1
            if n_active > 1:
                k, known = _number_of(active[:n_active].copy(), hashed, known)
                new = n_zones + 1 + k
            n = begin_run(start, value, n, run_ptr[r], x, new)
            x = stop
            while e < m and ends[e] >> 32 == x:
                z = zone[ends[e] & 0xFFFFFFFF]
                depth[z] -= 1
                if depth[z] == 0:
                    hashed ^= _mixed(z)
                    n_active -= 1
                    last = active[n_active]
                    active[place[z]], place[last] = last, place[z]
                e += 1
            if n_active == 0 and x < width:
                n = begin_run(start, value, n, run_ptr[r], x, 0)
    run_ptr[height] = n
    _, _, set_ptr, members, n_sets = known
    return run_ptr, start[:n], value[:n], set_ptr[: n_sets + 1], members[: set_ptr[n_sets]]


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
