"""Kernels of the statistics that cut: runs of zones to runs of groups.

A *group* is a zone, or a zone with a combination of labels; *slots* number the groups that a task
meets. Runs are stretches of a row that belong to one slot (-1 where there is no zone). Key rasters
and predicates only cut the runs finer; the families then count the values below each run.

Kernels take runs as (ptr, begin, slot, width): pointers of the rows, first columns and slots of the
runs, columns of the cell; and tables of pairs as (places, entries, n), see `ensure_room`. Where a
run may be of pixels that a zone covers a part of, `share` has that part for each run; without
entries all are whole.

Columns count from the left edge of a cell. A raster whose pixels are ``k`` lattice pixels wide is
read at ``(origin + r) // k, (origin + c) // k``, where the origin is the cell's corner seen from
the corner of the block that was read, in lattice pixels.
"""

from __future__ import annotations

import numpy as np

from zoneraster._burn import grown, grown_rows, inlined, kernel

# Hash tables are kept at most this full: one half.
_ROOM = 2
NO_SLOT = -1


@inlined
def _place(parent, code, mask):  # type: ignore[no-untyped-def]
    """Where to look first for a pair in a hash table (the mixer of splitmix64, signed)."""
    x = np.int64(code) ^ (np.int64(parent) * np.int64(-7046029254386353131))
    x = (x ^ (x >> np.int64(30))) * np.int64(-4658895280553007687)
    x = (x ^ (x >> np.int64(27))) * np.int64(-7723592293110705685)
    return (x ^ (x >> np.int64(31))) & mask


@kernel
def find(parent, code, places, entries, n):  # type: ignore[no-untyped-def]
    """Number of a pair (parent, code); a new one gets number `n` and the caller counts it.

    There must be room for it, see `ensure_room`.
    """
    mask = places.size - 1
    i = _place(parent, code, mask)
    while True:
        number = places[i]
        if number < 0:
            places[i] = n
            entries[n, 0], entries[n, 1] = parent, code
            return n
        if entries[number, 0] == parent and entries[number, 1] == code:
            return number
        i = (i + 1) & mask


@kernel
def ensure_room(places, entries, n, more):  # type: ignore[no-untyped-def]
    """Grow a table of pairs until `more` new ones fit.

    Parameters
    ----------
    places : (2**p,) int32
        Hash table of numbers, -1 where empty.
    entries : (capacity, 2) int64
        Parent and code of each number.
    n, more : int

    Returns
    -------
    places, entries
        The same arrays where nothing had to grow.
    """
    if _ROOM * (n + more) <= places.size and n + more <= entries.shape[0]:
        return places, entries
    size = places.size
    while size < _ROOM * (n + more):
        size *= 2
    bigger = grown_rows(entries[:n], size // _ROOM)
    table = np.full(size, -1, np.int32)
    for number in range(n):
        i = _place(bigger[number, 0], bigger[number, 1], size - 1)
        while table[i] >= 0:
            i = (i + 1) & (size - 1)
        table[i] = number
    return table, bigger


@kernel
def zone_runs(chunk, share, window, fine, table):  # type: ignore[no-untyped-def]
    """Runs of a cell with the slots of their zones, from the runs of a chunk.

    Parameters
    ----------
    chunk : (run_ptr (height + 1,) int64, start (m,) int32, zone (m,) int64)
        Runs of the chunk, 0 where there is no zone.
    share : (m,) or (0,) float64
    window : (row0, row1, col0, col1) int
        The cell on the lattice, counted from the chunk's corner.
    fine : int
        Lattice pixels along a pixel of the store.
    table : (places, entries, n)
        Of slots.

    Returns
    -------
    ptr : (rows + 1,) int64
    begin : (k,) int32
    slot : (k,) int32
        `NO_SLOT` where there is no zone.
    share : (k,) or (0,) float64
    places, entries, n
    """
    run_ptr, start, zone = chunk
    row0, row1, col0, col1 = window
    places, entries, n = table
    room = 0
    for r in range(row0, row1):
        room += run_ptr[r // fine + 1] - run_ptr[r // fine]
    ptr = np.zeros(row1 - row0 + 1, np.int64)
    begin, slot = np.empty(room, np.int32), np.empty(room, np.int32)
    found = np.empty(room if share.size else 0, np.float64)
    m = 0
    for r in range(row0, row1):
        a, b = run_ptr[r // fine], run_ptr[r // fine + 1]
        places, entries = ensure_room(places, entries, n, b - a)
        for i in range(a, b):
            stop = start[i + 1] * fine if i + 1 < b else col1
            if stop <= col0:
                continue
            first = start[i] * fine
            if first >= col1:
                break
            number = NO_SLOT
            if zone[i] > 0:
                number = find(-1, zone[i], places, entries, n)
                n = max(n, number + 1)
            begin[m], slot[m] = max(first - col0, 0), number
            if share.size:
                found[m] = share[i]
            m += 1
        ptr[r - row0 + 1] = m
    return ptr, begin[:m], slot[:m], found[:m], places, entries, n


@kernel
def runs_of_pixels(pixels):  # type: ignore[no-untyped-def]
    """Runs of an array of zone ids.

    Parameters
    ----------
    pixels : (height, width) any unsigned integer

    Returns
    -------
    run_ptr : (height + 1,) int64
    start : (m,) int32
    zone : (m,) int64
    """
    height, width = pixels.shape
    run_ptr = np.zeros(height + 1, np.int64)
    m = 0
    for r in range(height):
        m += 1
        for c in range(1, width):
            m += pixels[r, c] != pixels[r, c - 1]
        run_ptr[r + 1] = m
    start, zone = np.empty(m, np.int32), np.empty(m, np.int64)
    m = 0
    for r in range(height):
        for c in range(width):
            if c == 0 or pixels[r, c] != pixels[r, c - 1]:
                start[m], zone[m] = c, np.int64(pixels[r, c])
                m += 1
    return run_ptr, start, zone


@inlined
def _code_of(label, lut, lowest):  # type: ignore[no-untyped-def]
    """Code of a label, looked up unless it is one itself."""
    return lut[np.int64(label) - lowest] if lut.size else np.int64(label)


@kernel
def join_codes(numbers, labels, corner, ranks, lowest, n):  # type: ignore[no-untyped-def]
    """Append a key to the numbers of some pixels: ``number * n + rank of the label``.

    Parameters
    ----------
    numbers : (rows, width) int32, changed in place
    labels : (h, w) any integer
    corner : (row, column) int
        Where the pixels lie in `labels`.
    ranks : (q,) int32
        Of label ``lowest + i``.
    lowest, n : int
    """
    rows, width = numbers.shape
    row0, col0 = corner
    for r in range(rows):
        out, row = numbers[r], labels[row0 + r, col0 : col0 + width]
        for c in range(width):
            out[c] = out[c] * n + ranks[np.int64(row[c]) - lowest]


@inlined
def _equal_ahead(row, first, stop):  # type: ignore[no-untyped-def]
    """How many pixels behind the first one equal it, in steps of 16: one instruction each."""
    label = row[first]
    i = first + 1
    while i + 16 <= stop:
        same = 0
        for t in range(16):
            same += row[i + t] == label
        if same < 16:
            break
        i += 16
    return i - first - 1


@kernel
def refine(runs, share, labels, place, codes, keep, table):  # type: ignore[no-untyped-def]
    """Cut runs where the label of a key changes; new slots are pairs (old slot, code).

    Parameters
    ----------
    runs : (ptr, begin, slot, width)
        Of some rows of a cell.
    share : (k,) or (0,) float64
    labels : (h, w) any integer
        Pixels of the key, or codes.
    place : (row origin, column origin, k) int
        Where the labels are, see the module.
    codes : (lut (q,) int64, lowest int)
        Code of label ``lowest + i``; empty where labels are codes themselves.
    keep : (int, int)
        Runs whose slot was made with one of these codes stay as they are.
    table : (places, entries, n)
        Of slots.

    Returns
    -------
    ptr, begin, slot, share, places, entries, n
    """
    ptr, begin, slot, width = runs
    lut, lowest = codes
    places, entries, n = table
    row_origin, col_origin, k = place
    rows = ptr.size - 1
    new_ptr = np.zeros(rows + 1, np.int64)
    room = max(begin.size, 1024)
    new_begin, new_slot = np.empty(room, np.int32), np.empty(room, np.int32)
    new_share = np.empty(room if share.size else 0, np.float64)
    m = 0
    for r in range(rows):
        if m + width > new_begin.size:
            more = 2 * (m + width)
            new_begin, new_slot = grown(new_begin, more), grown(new_slot, more)
            if share.size:
                new_share = grown(new_share, more)
        places, entries = ensure_room(places, entries, n, width)
        row = labels[(row_origin + r) // k]
        row_start = m
        for i in range(ptr[r], ptr[r + 1]):
            c = np.int64(begin[i])
            stop = np.int64(begin[i + 1]) if i + 1 < ptr[r + 1] else np.int64(width)
            parent = slot[i]
            if parent < 0 or entries[parent, 1] == keep[0] or entries[parent, 1] == keep[1]:
                new_begin[m], new_slot[m] = c, parent
                if share.size:
                    new_share[m] = share[i]
                m += 1
                continue
            part = share[i] if share.size else 1.0
            while c < stop:
                j = (col_origin + c) // k
                code = _code_of(row[j], lut, lowest)
                # Labels may differ and their codes agree.
                if k == 1:
                    end = c + 1 + _equal_ahead(row, col_origin + c, col_origin + stop)
                    while end < stop and _code_of(row[col_origin + end], lut, lowest) == code:
                        end += 1
                else:
                    last = (col_origin + stop - 1) // k
                    while j < last and _code_of(row[j + 1], lut, lowest) == code:
                        j += 1
                    end = min(stop, (j + 1) * k - col_origin)
                number = find(parent, code, places, entries, n)
                n = max(n, number + 1)
                is_other = m == row_start or new_slot[m - 1] != number
                if is_other or (share.size and new_share[m - 1] != part):
                    new_begin[m], new_slot[m] = c, number
                    if share.size:
                        new_share[m] = part
                    m += 1
                c = end
        new_ptr[r + 1] = m
    return new_ptr, new_begin[:m], new_slot[:m], new_share[:m], places, entries, n


@kernel
def count_pixels(runs, share, row_area, skip, pixels, covered, area):  # type: ignore[no-untyped-def]
    """Add the pixels of each slot, what of them is covered, and their area.

    Parameters
    ----------
    runs : (ptr, begin, slot, width)
        Of some rows.
    share : (k,) or (0,) float64
    row_area : (rows,) float64
    skip : (slots,) bool
    pixels : (slots,) int64, covered, area : (slots,) float64
        Added to in place; no area where it has no entries, nothing covered where there is no share.

    Returns
    -------
    no_zone, active : int
        Pixels without a zone, and those of slots that are not skipped.
    """
    ptr, begin, slot, width = runs
    no_zone = active = 0
    for r in range(ptr.size - 1):
        for i in range(ptr[r], ptr[r + 1]):
            stop = begin[i + 1] if i + 1 < ptr[r + 1] else width
            if slot[i] < 0:
                no_zone += stop - begin[i]
            else:
                n = stop - begin[i]
                pixels[slot[i]] += n
                if not skip[slot[i]]:
                    active += n
                if share.size:
                    covered[slot[i]] += n * share[i]
                if area.size:
                    area[slot[i]] += row_area[r] * (n * share[i] if share.size else n)
    return no_zone, active
