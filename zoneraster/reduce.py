"""Kernels of the statistics: runs to groups, groups and values to accumulators.

A *group* is a zone, or a zone with a combination of labels; *slots* number the groups that a task
meets. Runs are stretches of a row that belong to one slot (-1 where there is no zone), so that most
of the work is done in registers, once per pixel, and the accumulators are touched once per run.
Key rasters and predicates only cut the runs finer.

Columns count from the left edge of a cell. A raster whose pixels are ``k`` lattice pixels wide is
read at ``(origin + r) // k, (origin + c) // k``, where the origin is the cell's corner seen from
the corner of the block that was read, in lattice pixels.
"""

from __future__ import annotations

import numba as nb
import numpy as np

# Hash tables are kept at most this full: one half.
_ROOM = 2
NO_SLOT = -1


@nb.njit(nogil=True, cache=True, inline="always")
def _place(parent, code, mask):  # type: ignore[no-untyped-def]
    """Where to look first for a pair in a hash table (the mixer of splitmix64, signed)."""
    x = np.int64(code) ^ (np.int64(parent) * np.int64(-7046029254386353131))
    x = (x ^ (x >> np.int64(30))) * np.int64(-4658895280553007687)
    x = (x ^ (x >> np.int64(27))) * np.int64(-7723592293110705685)
    return (x ^ (x >> np.int64(31))) & mask


@nb.njit(nogil=True, cache=True)
def _find(parent, code, places, entries, n):  # type: ignore[no-untyped-def]
    """Number of a pair (parent, code); a new one gets number `n` and the caller counts it."""
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


@nb.njit(nogil=True, cache=True)
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
    bigger = np.empty((size // _ROOM, 2), np.int64)
    bigger[:n] = entries[:n]
    table = np.full(size, -1, np.int32)
    for number in range(n):
        i = _place(bigger[number, 0], bigger[number, 1], size - 1)
        while table[i] >= 0:
            i = (i + 1) & (size - 1)
        table[i] = number
    return table, bigger


@nb.njit(nogil=True, cache=True)
def zone_runs(run_ptr, start, zone, window, fine, places, entries, n):  # type: ignore[no-untyped-def]
    """Runs of a cell with the slots of their zones, from the runs of a chunk.

    Parameters
    ----------
    run_ptr : (height + 1,) int64
    start : (m,) int32
    zone : (m,) int64
        Runs of the chunk, 0 where there is no zone.
    window : (row0, row1, col0, col1) int
        The cell on the lattice, counted from the chunk's corner.
    fine : int
        Lattice pixels along a pixel of the store.
    places, entries, n
        Table of slots.

    Returns
    -------
    ptr : (rows + 1,) int64
    begin : (k,) int32
    slot : (k,) int32
        `NO_SLOT` where there is no zone.
    places, entries, n
    """
    row0, row1, col0, col1 = window
    room = 0
    for r in range(row0, row1):
        room += run_ptr[r // fine + 1] - run_ptr[r // fine]
    ptr = np.zeros(row1 - row0 + 1, np.int64)
    begin, slot = np.empty(room, np.int32), np.empty(room, np.int32)
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
                number = _find(-1, zone[i], places, entries, n)
                n = max(n, number + 1)
            begin[m], slot[m] = max(first - col0, 0), number
            m += 1
        ptr[r - row0 + 1] = m
    return ptr, begin[:m], slot[:m], places, entries, n


@nb.njit(nogil=True, cache=True)
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


@nb.njit(nogil=True, cache=True, inline="always")
def _code_of(label, lut, lowest):  # type: ignore[no-untyped-def]
    """Code of a label, looked up unless it is one itself."""
    return lut[np.int64(label) - lowest] if lut.size else np.int64(label)


@nb.njit(nogil=True, cache=True)
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


@nb.njit(nogil=True, cache=True, inline="always")
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


@nb.njit(nogil=True, cache=True)
def refine(ptr, begin, slot, width, labels, place, lut, lowest, keep, places, entries, n):  # type: ignore[no-untyped-def]
    """Cut runs where the label of a key changes; new slots are pairs (old slot, code).

    Parameters
    ----------
    ptr, begin, slot
        Runs of some rows of a cell.
    width : int
        Columns of the cell.
    labels : (h, w) any integer
        Pixels of the key, or codes.
    place : (row origin, column origin, k) int
        Where the labels are, see the module.
    lut : (q,) int64
        Code of label ``lowest + i``; empty where labels are codes themselves.
    lowest : int
    keep : (int, int)
        Runs whose slot was made with one of these codes stay as they are.
    places, entries, n
        Table of slots.

    Returns
    -------
    ptr, begin, slot, places, entries, n
    """
    row_origin, col_origin, k = place
    rows = ptr.size - 1
    new_ptr = np.zeros(rows + 1, np.int64)
    room = max(begin.size, 1024)
    new_begin, new_slot = np.empty(room, np.int32), np.empty(room, np.int32)
    m = 0
    for r in range(rows):
        if m + width > new_begin.size:
            more = 2 * (m + width)
            bigger_begin, bigger_slot = np.empty(more, np.int32), np.empty(more, np.int32)
            bigger_begin[:m], bigger_slot[:m] = new_begin[:m], new_slot[:m]
            new_begin, new_slot = bigger_begin, bigger_slot
        places, entries = ensure_room(places, entries, n, width)
        row = labels[(row_origin + r) // k]
        row_start = m
        for i in range(ptr[r], ptr[r + 1]):
            c = np.int64(begin[i])
            stop = np.int64(begin[i + 1]) if i + 1 < ptr[r + 1] else np.int64(width)
            parent = slot[i]
            if parent < 0 or entries[parent, 1] == keep[0] or entries[parent, 1] == keep[1]:
                new_begin[m], new_slot[m] = c, parent
                m += 1
                continue
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
                number = _find(parent, code, places, entries, n)
                n = max(n, number + 1)
                if m == row_start or new_slot[m - 1] != number:
                    new_begin[m], new_slot[m] = c, number
                    m += 1
                c = end
        new_ptr[r + 1] = m
    return new_ptr, new_begin[:m], new_slot[:m], places, entries, n


@nb.njit(nogil=True, cache=True)
def count_pixels(ptr, begin, slot, width, row_area, pixels, area):  # type: ignore[no-untyped-def]
    """Add the pixels of each slot, and their area; return the pixels without a zone.

    Parameters
    ----------
    ptr, begin, slot, width
        Runs of some rows.
    row_area : (rows,) float64
    pixels : (slots,) int64, area : (slots,) float64
        Added to in place; no area where it has no entries.
    """
    outside = 0
    for r in range(ptr.size - 1):
        for i in range(ptr[r], ptr[r + 1]):
            stop = begin[i + 1] if i + 1 < ptr[r + 1] else width
            if slot[i] < 0:
                outside += stop - begin[i]
            else:
                pixels[slot[i]] += stop - begin[i]
                if area.size:
                    area[slot[i]] += row_area[r] * (stop - begin[i])
    return outside


@nb.njit(nogil=True, cache=True, inline="always")
def _is_valid(x, nodata, has_nodata):  # type: ignore[no-untyped-def]
    """Neither NaN nor the nodata value."""
    return (x == x) & ((x != nodata) | (not has_nodata))


@nb.njit(nogil=True, cache=True, inline="always")
def _sum(row, a, b, zero):  # type: ignore[no-untyped-def]
    """Sum of a stretch of a row.

    Eight independent sums let the processor add without waiting; their order is fixed, so that the
    result is the same on every machine.
    """
    s0 = s1 = s2 = s3 = s4 = s5 = s6 = s7 = zero
    i = a
    while i + 8 <= b:
        s0, s1, s2, s3 = s0 + row[i], s1 + row[i + 1], s2 + row[i + 2], s3 + row[i + 3]
        s4, s5, s6, s7 = s4 + row[i + 4], s5 + row[i + 5], s6 + row[i + 6], s7 + row[i + 7]
        i += 8
    s = ((s0 + s1) + (s2 + s3)) + ((s4 + s5) + (s6 + s7))
    while i < b:
        s += row[i]
        i += 1
    return s


@nb.njit(nogil=True, cache=True, inline="always")
def _sum_valid(row, a, b, nodata, has_nodata, zero):  # type: ignore[no-untyped-def]
    """`_sum` of the valid pixels."""
    s0 = s1 = s2 = s3 = zero
    i = a
    while i + 4 <= b:
        x0, x1, x2, x3 = row[i], row[i + 1], row[i + 2], row[i + 3]
        s0 += x0 if _is_valid(x0, nodata, has_nodata) else zero
        s1 += x1 if _is_valid(x1, nodata, has_nodata) else zero
        s2 += x2 if _is_valid(x2, nodata, has_nodata) else zero
        s3 += x3 if _is_valid(x3, nodata, has_nodata) else zero
        i += 4
    s = (s0 + s1) + (s2 + s3)
    while i < b:
        s += row[i] if _is_valid(row[i], nodata, has_nodata) else zero
        i += 1
    return s


@nb.njit(nogil=True, cache=True, inline="always")
def _fold_run(row, a, b, nodata, has_nodata, zero, high, low):  # type: ignore[no-untyped-def]
    """Count, sum, minimum and maximum of the valid pixels of a stretch of a row.

    First as if all were valid, in loops that the compiler turns into vectors. A sum that is NaN, or
    extremes on both sides of the nodata value, send the stretch through loops that ask each pixel.
    """
    s = _sum(row, a, b, zero)
    lowest, highest = high, low
    for i in range(a, b):
        x = row[i]
        lowest = x if x < lowest else lowest
        highest = x if x > highest else highest
    if s == s and not (has_nodata and lowest <= nodata <= highest):
        return b - a, s, lowest, highest
    n = 0
    for i in range(a, b):
        n += _is_valid(row[i], nodata, has_nodata)
    if n == 0:
        return 0, zero, high, low
    s = _sum_valid(row, a, b, nodata, has_nodata, zero)
    lowest, highest = high, low
    for i in range(a, b):
        x = row[i]
        valid = _is_valid(x, nodata, has_nodata)
        lowest = x if valid & (x < lowest) else lowest
        highest = x if valid & (x > highest) else highest
    return n, s, lowest, highest


@nb.njit(nogil=True, cache=True, inline="always")
def _fold_wide(row, a, b, origin, k, nodata, has_nodata, zero, high, low):  # type: ignore[no-untyped-def]
    """`_fold_run` where a pixel of the raster is `k` columns wide."""
    n, s, lowest, highest = 0, zero, high, low
    c = a
    while c < b:
        j = (origin + c) // k
        end = min(b, (j + 1) * k - origin)
        x = row[j]
        if _is_valid(x, nodata, has_nodata):
            n += end - c
            s += x * (zero + (end - c))
            lowest, highest = min(x, lowest), max(x, highest)
        c = end
    return n, s, lowest, highest


@nb.njit(nogil=True, cache=True, inline="always")
def _squares(row, a, b, origin, k, nodata, has_nodata, mean):  # type: ignore[no-untyped-def]
    """Sum of the squared deviations of valid pixels from `mean`."""
    if k > 1:
        q = 0.0
        c = a
        while c < b:
            j = (origin + c) // k
            end = min(b, (j + 1) * k - origin)
            if _is_valid(row[j], nodata, has_nodata):
                d = row[j] - mean
                q += d * d * (end - c)
            c = end
        return q
    q0 = q1 = q2 = q3 = 0.0
    i, stop = origin + a, origin + b
    while i + 4 <= stop:
        x0, x1, x2, x3 = row[i], row[i + 1], row[i + 2], row[i + 3]
        d0, d1, d2, d3 = x0 - mean, x1 - mean, x2 - mean, x3 - mean
        q0 += d0 * d0 if _is_valid(x0, nodata, has_nodata) else 0.0
        q1 += d1 * d1 if _is_valid(x1, nodata, has_nodata) else 0.0
        q2 += d2 * d2 if _is_valid(x2, nodata, has_nodata) else 0.0
        q3 += d3 * d3 if _is_valid(x3, nodata, has_nodata) else 0.0
        i += 4
    while i < stop:
        d = row[i] - mean
        q0 += d * d if _is_valid(row[i], nodata, has_nodata) else 0.0
        i += 1
    return (q0 + q1) + (q2 + q3)


@nb.njit(nogil=True, cache=True)
def accumulate(ptr, begin, slot, width, values, place, nodata, limits, row_area, into):  # type: ignore[no-untyped-def]
    """Add the values of some rows of a cell to the accumulators of their slots.

    Parameters
    ----------
    ptr, begin, slot, width
        Runs; slots whose `skip` is set are left out.
    values : (h, w) any number
    place : (row origin, column origin, k) int
    nodata : (value of the dtype of `values`, bool)
        The bool says whether the value counts.
    limits : (zero, high, low)
        0 as int64 or float64, the type of sums; the largest and smallest values of the dtype.
    row_area : (rows,) float64
    into : (skip, n, total, lost, lowest, highest, mean, m2, area, area_total)
        Accumulators per slot, added to in place; those without entries are not wanted. `total` and
        `lost` are a float sum with the part that rounding took away (Neumaier, 1974), or an exact
        integer and nothing.

    Notes
    -----
    Mean and squared deviations are taken run by run and merged by Chan, Golub and LeVeque (1979):
    ``M = M1 + M2 + (m2 - m1)**2 * n1 * n2 / (n1 + n2)``.
    """
    skip, n, total, lost, lowest, highest, mean, m2, area, area_total = into
    row_origin, col_origin, k = place
    zero, high, low = limits
    extremes, squares, areas = lowest.size > 0, m2.size > 0, area.size > 0
    for r in range(ptr.size - 1):
        row = values[(row_origin + r) // k]
        for i in range(ptr[r], ptr[r + 1]):
            g = slot[i]
            if g < 0 or skip[g]:
                continue
            a = np.int64(begin[i])
            b = np.int64(begin[i + 1]) if i + 1 < ptr[r + 1] else np.int64(width)
            if k == 1:
                count, s, x0, x1 = _fold_run(
                    row, col_origin + a, col_origin + b, nodata[0], nodata[1], zero, high, low
                )
            else:
                count, s, x0, x1 = _fold_wide(
                    row, a, b, col_origin, k, nodata[0], nodata[1], zero, high, low
                )
            if count == 0:
                continue
            if squares:
                m = s / count
                q = _squares(row, a, b, col_origin, k, nodata[0], nodata[1], m)
                d = m - mean[g]
                both = n[g] + count
                mean[g] += d * count / both
                m2[g] += q + d * d * (np.float64(n[g]) * count / both)
            n[g] += count
            t = total[g] + s
            if abs(total[g]) >= abs(s):
                lost[g] += (total[g] - t) + s
            else:
                lost[g] += (s - t) + total[g]
            total[g] = t
            if extremes:
                lowest[g], highest[g] = min(lowest[g], x0), max(highest[g], x1)
            if areas:
                area[g] += row_area[r] * count
                area_total[g] += row_area[r] * s


@nb.njit(nogil=True, cache=True, inline="always")
def _ordered(bits, top):  # type: ignore[no-untyped-def]
    """Bits of a float as an integer that sorts as the float does."""
    return np.int64(bits) if bits >= 0 else np.int64(bits ^ top)


@nb.njit(nogil=True, cache=True)
def tally(ptr, begin, slot, width, values, bits, place, nodata, shift, wanted, skip, counts, table):  # type: ignore[no-untyped-def]
    """Count how often each value occurs in each slot.

    Parameters
    ----------
    ptr, begin, slot, width
        Runs.
    values : (h, w) any number
    bits : (h, w) signed integer
        The values themselves, or the bits of floats.
    place : (row origin, column origin, k) int
    nodata : (value, bool)
    shift : (int, int, is_float, top)
        Lower bits of the ordered value that the code leaves out, and that the prefix of the pass
        before left out; `top` has all bits but the sign.
    wanted : (pointers (slots + 1,) int64, prefixes int64)
        Only values with one of these prefixes count; no pointers: all do.
    skip : (slots,) bool
    counts : (capacity,) int64
    table : places, entries, n
        Table of pairs (slot, code).

    Returns
    -------
    counts, places, entries, n
    """
    places, entries, n = table
    row_origin, col_origin, k = place
    low_shift, high_shift, is_float, top = shift
    wanted_ptr, prefixes = wanted
    for r in range(ptr.size - 1):
        places, entries = ensure_room(places, entries, n, width)
        if counts.size < entries.shape[0]:
            more = np.zeros(entries.shape[0], np.int64)
            more[: counts.size] = counts
            counts = more
        row, row_bits = values[(row_origin + r) // k], bits[(row_origin + r) // k]
        for i in range(ptr[r], ptr[r + 1]):
            g = slot[i]
            if g < 0 or skip[g]:
                continue
            c = np.int64(begin[i])
            stop = np.int64(begin[i + 1]) if i + 1 < ptr[r + 1] else np.int64(width)
            while c < stop:
                j = (col_origin + c) // k
                first, x = c, row_bits[j]
                last = (col_origin + stop - 1) // k
                v = row[j]
                while j < last and row_bits[j + 1] == x:
                    j += 1
                c = min(stop, (j + 1) * k - col_origin)
                if not _is_valid(v, nodata[0], nodata[1]):
                    continue
                code = _ordered(x, top) if is_float else np.int64(x)
                if is_float and v == 0:
                    code = 0  # minus zero
                if wanted_ptr.size:
                    hit = False
                    for w in range(wanted_ptr[g], wanted_ptr[g + 1]):
                        hit |= prefixes[w] == code >> high_shift
                    if not hit:
                        continue
                number = _find(g, code >> low_shift, places, entries, n)
                n = max(n, number + 1)
                counts[number] += c - first
    return counts, places, entries, n


@nb.njit(nogil=True, cache=True)
def gather(ptr, begin, slot, width, values, place, nodata, row_area, n_slots):  # type: ignore[no-untyped-def]
    """Valid values of some rows, slot by slot, with the areas of their pixels.

    Returns
    -------
    offset : (n_slots + 1,) int64
    value : (m,) dtype of `values`
    area : (m,) float64
        Those of slot ``g`` are ``offset[g]:offset[g + 1]``, in the order of rows and columns.
    """
    row_origin, col_origin, k = place
    offset = np.zeros(n_slots + 2, np.int64)
    for filling in range(2):
        if filling:
            for g in range(2, n_slots + 2):
                offset[g] += offset[g - 1]
            value = np.empty(offset[n_slots + 1], values.dtype)
            area = np.empty(offset[n_slots + 1], np.float64)
        for r in range(ptr.size - 1):
            row = values[(row_origin + r) // k]
            for i in range(ptr[r], ptr[r + 1]):
                g = slot[i]
                if g < 0:
                    continue
                stop = begin[i + 1] if i + 1 < ptr[r + 1] else width
                for c in range(begin[i], stop):
                    x = row[(col_origin + c) // k]
                    if not _is_valid(x, nodata[0], nodata[1]):
                        continue
                    if filling:
                        value[offset[g + 1]], area[offset[g + 1]] = x, row_area[r]
                        offset[g + 1] += 1
                    else:
                        offset[g + 2] += 1
    return offset[: n_slots + 1], value, area


@nb.njit(nogil=True, cache=True)
def fold_rows(group, n, total, lost, lowest, highest, mean, m2, area, area_total, out):  # type: ignore[no-untyped-def]
    """Merge rows of accumulators into groups, one after the other.

    Parameters
    ----------
    group : (rows,) int64
        Group of each row.
    n, total, ... : (rows,), or empty where not wanted
        Accumulators, see `accumulate`; `lost` of an integer sum is its upper part.
    out : the same, (groups,), zero or the identity; written in place
        An empty group takes its first row as it is.
    """
    (o_n, o_total, o_lost, o_lowest, o_highest, o_mean, o_m2, o_area, o_area_total) = out
    extremes, squares, areas = lowest.size > 0, m2.size > 0, area.size > 0
    for i in range(group.size):
        g = group[i]
        if n[i] == 0:
            continue
        both = o_n[g] + n[i]
        if squares and o_n[g] == 0:
            o_mean[g], o_m2[g] = mean[i], m2[i]
        elif squares:
            d = mean[i] - o_mean[g]
            o_mean[g] += d * n[i] / both
            o_m2[g] += m2[i] + d * d * (np.float64(o_n[g]) * n[i] / both)
        o_n[g] = both
        t = o_total[g] + total[i]
        if abs(o_total[g]) >= abs(total[i]):
            o_lost[g] += ((o_total[g] - t) + total[i]) + lost[i]
        else:
            o_lost[g] += ((total[i] - t) + o_total[g]) + lost[i]
        o_total[g] = t
        if extremes:
            o_lowest[g], o_highest[g] = min(o_lowest[g], lowest[i]), max(o_highest[g], highest[i])
        if areas:
            o_area[g] += area[i]
            o_area_total[g] += area_total[i]
