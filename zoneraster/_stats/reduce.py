"""Kernels of the statistics that add up: values below runs to accumulators of slots.

Most of the work is done in registers, once per pixel, and the accumulators are touched once per
run. Runs, slots and the places of rasters are those of `cut`.
"""

from __future__ import annotations

import numpy as np

from zoneraster._burn import inlined, kernel
from zoneraster._stats.cut import ensure_room, find


@kernel
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


@inlined
def _is_valid(x, nodata, has_nodata):  # type: ignore[no-untyped-def]
    """Neither NaN nor the nodata value."""
    return (x == x) & ((x != nodata) | (not has_nodata))


@inlined
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


@inlined
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


@inlined
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


@inlined
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


@inlined
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


@kernel
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


@inlined
def _ordered(bits, top):  # type: ignore[no-untyped-def]
    """Bits of a float as an integer that sorts as the float does."""
    return np.int64(bits) if bits >= 0 else np.int64(bits ^ top)


@kernel
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
                number = find(g, code >> low_shift, places, entries, n)
                n = max(n, number + 1)
                counts[number] += c - first
    return counts, places, entries, n


@kernel
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


@kernel
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
