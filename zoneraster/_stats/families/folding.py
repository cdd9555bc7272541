"""Kernels of the moments: values below runs to the accumulators of their slots, and rows to rows.

Most of the work is done in registers, once per pixel, and the accumulators are touched once per
run.
"""

from __future__ import annotations

import numpy as np

from zoneraster._burn import inlined, kernel
from zoneraster._stats.families.base import is_valid, rounded_off


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
        s0 += x0 if is_valid(x0, nodata, has_nodata) else zero
        s1 += x1 if is_valid(x1, nodata, has_nodata) else zero
        s2 += x2 if is_valid(x2, nodata, has_nodata) else zero
        s3 += x3 if is_valid(x3, nodata, has_nodata) else zero
        i += 4
    s = (s0 + s1) + (s2 + s3)
    while i < b:
        s += row[i] if is_valid(row[i], nodata, has_nodata) else zero
        i += 1
    return s


@inlined
def _fold_run(row, a, b, mask, limits, extremes):  # type: ignore[no-untyped-def]
    """Count, sum, minimum and maximum of the valid pixels of a stretch of a row.

    First as if all were valid, in loops that the compiler turns into vectors. A sum that is NaN, or
    extremes on both sides of the nodata value, send the stretch through loops that ask each pixel.
    Extremes that nobody wants are not looked for.
    """
    nodata, has_nodata = mask
    zero, high, low = limits
    s = _sum(row, a, b, zero)
    lowest, highest = high, low
    if s == s and not (extremes or has_nodata):
        return b - a, s, lowest, highest
    for i in range(a, b):
        x = row[i]
        lowest = x if x < lowest else lowest
        highest = x if x > highest else highest
    if s == s and not (has_nodata and lowest <= nodata <= highest):
        return b - a, s, lowest, highest
    n = 0
    for i in range(a, b):
        n += is_valid(row[i], nodata, has_nodata)
    if n == 0:
        return 0, zero, high, low
    s = _sum_valid(row, a, b, nodata, has_nodata, zero)
    lowest, highest = high, low
    for i in range(a, b):
        x = row[i]
        valid = is_valid(x, nodata, has_nodata)
        lowest = x if valid & (x < lowest) else lowest
        highest = x if valid & (x > highest) else highest
    return n, s, lowest, highest


@inlined
def _fold_pixel(x, mask, limits):  # type: ignore[no-untyped-def]
    """`_fold_run` of one pixel."""
    zero, high, low = limits
    if is_valid(x, mask[0], mask[1]):
        return 1, zero + x, x, x
    return 0, zero, high, low


@inlined
def _fold_wide(row, at, a, b, origin, k, mask, limits):  # type: ignore[no-untyped-def]
    """`_fold_run` where a pixel of the raster is `k` columns wide; `at` is its column 0."""
    nodata, has_nodata = mask
    zero, high, low = limits
    n, s, lowest, highest = 0, zero, high, low
    c = a
    while c < b:
        j = (origin + c) // k
        end = min(b, (j + 1) * k - origin)
        x = row[at + j]
        if is_valid(x, nodata, has_nodata):
            n += end - c
            s += x * (zero + (end - c))
            lowest, highest = min(x, lowest), max(x, highest)
        c = end
    return n, s, lowest, highest


@inlined
def _squares(row, at, a, b, origin, k, nodata, has_nodata, mean):  # type: ignore[no-untyped-def]
    """Sum of the squared deviations of valid pixels from `mean`; `at` is column 0 of the raster."""
    if k > 1:
        q = 0.0
        c = a
        while c < b:
            j = (origin + c) // k
            end = min(b, (j + 1) * k - origin)
            if is_valid(row[at + j], nodata, has_nodata):
                d = row[at + j] - mean
                q += d * d * (end - c)
            c = end
        return q
    q0 = q1 = q2 = q3 = 0.0
    i, stop = at + origin + a, at + origin + b
    while i + 4 <= stop:
        x0, x1, x2, x3 = row[i], row[i + 1], row[i + 2], row[i + 3]
        d0, d1, d2, d3 = x0 - mean, x1 - mean, x2 - mean, x3 - mean
        q0 += d0 * d0 if is_valid(x0, nodata, has_nodata) else 0.0
        q1 += d1 * d1 if is_valid(x1, nodata, has_nodata) else 0.0
        q2 += d2 * d2 if is_valid(x2, nodata, has_nodata) else 0.0
        q3 += d3 * d3 if is_valid(x3, nodata, has_nodata) else 0.0
        i += 4
    while i < stop:
        d = row[i] - mean
        q0 += d * d if is_valid(row[i], nodata, has_nodata) else 0.0
        i += 1
    return (q0 + q1) + (q2 + q3)


@inlined
def _weighted(x, share, i):  # type: ignore[no-untyped-def]
    """A number of a run by what is covered of its pixels; whole pixels leave its type alone."""
    if share is None:
        return x
    return x * share[i]


@kernel
def accumulate(runs, share, values, place, nodata, limits, row_area, into):  # type: ignore[no-untyped-def]
    """Add the values of some rows of a cell to the accumulators of their slots.

    Parameters
    ----------
    runs : (ptr, begin, slot, width)
        See `cut`; slots whose `skip` is set are left out.
    share : (k,) float64 or None
        What is covered of the pixels of each run, by which they are weighted.
    values : (pixels, first, step)
        Pixels of any type as they lie in memory, (n,); where the first row begins, and from there
        on each `step` another one.
    place : (row origin, column origin, k) int
    nodata : (value of the dtype of `values`, bool)
        The bool says whether the value counts.
    limits : (zero, high, low)
        0 as int64 or float64, the type of sums; the largest and smallest values of the dtype.
    row_area : (rows,) float64
    into : (skip, n, total, lost, lowest, highest, mean, m2, area, area_total)
        Accumulators per slot, added to in place; those without entries are not wanted. `total` and
        `lost` are a float sum with the part that rounding took away, or an exact integer and
        nothing.

    Notes
    -----
    Mean and squared deviations are taken run by run and merged by Chan, Golub and LeVeque (1979):
    ``M = M1 + M2 + (m2 - m1)**2 * n1 * n2 / (n1 + n2)``.
    """
    ptr, begin, slot, width = runs
    pixels, first, step = values
    skip, n, total, lost, lowest, highest, mean, m2, area, area_total = into
    row_origin, col_origin, k = place
    extremes, squares, areas = lowest.size > 0, m2.size > 0, area.size > 0
    for r in range(ptr.size - 1):
        at = first + (row_origin + r) // k * step
        origin = at + col_origin
        for i in range(ptr[r], ptr[r + 1]):
            g = slot[i]
            if g < 0 or skip[g]:
                continue
            a = np.int64(begin[i])
            b = np.int64(begin[i + 1]) if i + 1 < ptr[r + 1] else np.int64(width)
            if k == 1 and b - a == 1:
                # As most are at the edges of zones, where each pixel has a part of its own.
                count, s, x0, x1 = _fold_pixel(pixels[origin + a], nodata, limits)
            elif k == 1:
                count, s, x0, x1 = _fold_run(
                    pixels, origin + a, origin + b, nodata, limits, extremes
                )
            else:
                count, s, x0, x1 = _fold_wide(pixels, at, a, b, col_origin, k, nodata, limits)
            if count == 0:
                continue
            if squares:
                m = s / count
                q = _squares(pixels, at, a, b, col_origin, k, nodata[0], nodata[1], m)
                q, weight = _weighted(q, share, i), _weighted(count, share, i)
                d = m - mean[g]
                both = n[g] + weight
                mean[g] += d * weight / both
                m2[g] += q + d * d * (np.float64(n[g]) * weight / both)
            weight, s = _weighted(count, share, i), _weighted(s, share, i)
            n[g] += weight
            t = total[g] + s
            lost[g] += rounded_off(total[g], s, t)
            total[g] = t
            if extremes:
                lowest[g], highest[g] = min(lowest[g], x0), max(highest[g], x1)
            if areas:
                area[g] += row_area[r] * weight
                area_total[g] += row_area[r] * s


@kernel
def fold_rows(group, rows, out):  # type: ignore[no-untyped-def]
    """Merge rows of accumulators into groups, one after the other.

    Parameters
    ----------
    group : (rows,) int64
        Group of each row.
    rows : (n, total, ...), each (rows,), or empty where not wanted
        Accumulators, see `accumulate`; `lost` of an integer sum is its upper part.
    out : the same, (groups,), zero or the identity; written in place
        An empty group takes its first row as it is.
    """
    n, total, lost, lowest, highest, mean, m2, area, area_total = rows
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
        o_lost[g] += rounded_off(o_total[g], total[i], t) + lost[i]
        o_total[g] = t
        if extremes:
            o_lowest[g], o_highest[g] = min(o_lowest[g], lowest[i]), max(o_highest[g], highest[i])
        if areas:
            o_area[g] += area[i]
            o_area_total[g] += area_total[i]
