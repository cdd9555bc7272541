"""Moments: counts, sums, means, extremes, variances and areas, in one loop over the pixels.

Formulas stand in the records below and in docs/explanation/statistics.md: with values ``x_i`` of
the ``n`` valid pixels of a group and their areas ``a_i``, of ``N`` pixels in all. Most of the work
is done in registers, once per pixel, and the accumulators are touched once per run.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from zoneraster._burn import inlined, kernel
from zoneraster._stats.families.base import (
    Columns,
    Group,
    Leaves,
    OnePass,
    Statistic,
    Values,
    is_valid,
)
from zoneraster._stats.families.rows import Rows
from zoneraster.arrays import Bools, Floats, Ints, Numbers
from zoneraster.errors import ValuesError

_LOW_BITS = 32


class Sums(NamedTuple):
    """Accumulators of some rows or slots.

    `total` and `lost` are a float sum and what rounding took from it, or for integers the lower 32
    bits of an exact sum and the rest. What no statistic needs has no entries.
    """

    n: Ints
    total: Numbers
    lost: Numbers
    lowest: Numbers
    highest: Numbers
    mean: Floats
    m2: Floats
    area: Floats
    area_total: Floats

    @property
    def is_integer(self) -> bool:
        """Sums are exact integers."""
        return self.total.dtype.kind == "i"

    @property
    def some(self) -> Bools:
        """Groups that have a value."""
        return self.n > 0

    def carry(self) -> None:
        """Move what exceeds 32 bits from `total` to `lost`, in place; integers only."""
        if self.is_integer:
            np.add(self.lost, self.total >> _LOW_BITS, out=self.lost)
            np.bitwise_and(self.total, (1 << _LOW_BITS) - 1, out=self.total)

    def sums(self) -> Numbers:
        """Final sums: int64 where all fit, else float64."""
        if not self.is_integer:
            with np.errstate(invalid="ignore"):
                # Of an infinite sum nothing can be lost.
                return np.where(np.isfinite(self.total), self.total + self.lost, self.total)
        exact = [
            (int(high) << _LOW_BITS) + int(low)
            for high, low in zip(self.lost, self.total, strict=True)
        ]
        fits = all(-(2**63) <= n < 2**63 for n in exact)
        return np.array(exact, np.int64 if fits else np.float64)

    def per_value(self, amounts: Numbers) -> Floats:
        """Amounts divided by `n`; NaN without a value."""
        return self.told(amounts / np.where(self.some, self.n, 1))

    def told(self, numbers: Numbers) -> Floats:
        """Numbers of groups that have a value, NaN for the others."""
        return np.where(self.some, numbers.astype(np.float64), np.nan)


# ---- the records -------------------------------------------------------------------------------


def _record(
    name: str, formula: str, column: Callable[[Sums, Group], Numbers], needs: str = "",
    kind: str = "value",
) -> Statistic[Sums]:  # fmt: skip
    """A statistic with one column."""
    return Statistic(name, formula, lambda sums, group: {"": column(sums, group)}, needs, kind)


# Accumulators beside count and sum, and the columns of `Sums` that they are.
NEEDS = {
    "extremes": ("lowest", "highest"),
    "squares": ("mean", "m2"),
    "areas": ("area", "area_total"),
}
STATISTICS: dict[str, Statistic[Sums]] = {
    record.name: record
    for record in (
        _record("pixels", "N", lambda s, g: g.pixels, kind=""),
        _record("count", "n", lambda s, g: s.n, kind=""),
        _record("valid", "n", lambda s, g: s.n, kind=""),
        _record("nodata", "N - n", lambda s, g: g.pixels - s.n, kind=""),
        _record("sum", "sum x_i", lambda s, g: s.sums(), kind="total"),
        _record("mean", "sum x_i / n", lambda s, g: s.per_value(s.sums())),
        _record("min", "least x_i", lambda s, g: s.told(s.lowest), "extremes"),
        _record("max", "largest x_i", lambda s, g: s.told(s.highest), "extremes"),
        _record("range", "max - min", lambda s, g: s.told(s.highest.astype(float) - s.lowest),
                "extremes"),
        _record("var", "sum (x_i - mean)² / n", lambda s, g: s.per_value(s.m2), "squares",
                "square"),
        _record("std", "√var", lambda s, g: np.sqrt(s.per_value(s.m2)), "squares"),
        _record("area", "sum a_i", lambda s, g: s.area / g.unit, "areas", "area"),
        _record("pixel_area", "sum of all N areas", lambda s, g: g.area / g.unit, kind="area"),
        _record("area_sum", "sum a_i x_i", lambda s, g: s.area_total / g.rate_unit, "areas",
                "area_total"),
        _record(
            "area_mean",
            "sum a_i x_i / sum a_i",
            lambda s, g: s.told(s.area_total / np.where(s.some, s.area, 1)),
            "areas",
        ),
    )
}  # fmt: skip
# What can be told without values: all pixels are counted, and all their areas added.
OF_PIXELS: dict[str, Callable[[Group], Numbers]] = {
    "pixels": lambda g: g.pixels,
    "count": lambda g: g.pixels,
    "valid": lambda g: g.pixels,
    "area": lambda g: g.area / g.unit,
    "pixel_area": lambda g: g.area / g.unit,
}


# ---- the four steps ----------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Moments(OnePass):
    """The family for one measure.

    Parameters
    ----------
    needs : tuple of str
        Which of `NEEDS`, sorted.
    is_integer : bool
        Values are integers, and their sums exact.
    """

    needs: tuple[str, ...]
    is_integer: bool

    @classmethod
    def of(cls, names: Sequence[str], dtype: np.dtype[Any]) -> Moments:
        """What some statistics need of values of a dtype."""
        needs = {STATISTICS[name].needs for name in names if name in STATISTICS} - {""}
        return cls(tuple(sorted(needs)), dtype.kind in "iu")

    def _empty(self, n: int) -> Sums:
        """Accumulators that nothing was added to."""
        kind: type[Any] = np.int64 if self.is_integer else np.float64  # Any: a scalar type
        high = np.iinfo(np.int64).max if self.is_integer else np.inf
        low = np.iinfo(np.int64).min if self.is_integer else -np.inf
        extremes, squares, areas = (
            n if name in self.needs else 0 for name in ("extremes", "squares", "areas")
        )
        return Sums(
            np.zeros(n, np.int64), np.zeros(n, kind), np.zeros(n, kind),
            np.full(extremes, high, kind), np.full(extremes, low, kind),
            np.zeros(squares), np.zeros(squares), np.zeros(areas), np.zeros(areas),
        )  # fmt: skip

    def _grown(self, sums: Sums, n: int) -> Sums:
        """Accumulators with room for `n` slots at least."""
        if n <= sums.n.size:
            return sums
        more = self._empty(max(n, 2 * sums.n.size))
        for old, new in zip(sums, more, strict=True):
            new[: old.size] = old
        return more

    def start(self, n_lanes: int) -> list[Sums]:
        """Empty accumulators, one set per lane."""
        return [self._empty(0) for _ in range(n_lanes)]

    def add(self, into: list[Sums], values: Values) -> None:
        """Add values to the accumulators of their slots."""
        _refuse_overflow(values)
        sums = into[values.lane] = self._grown(into[values.lane], values.n_slots)
        for piece in values.pieces():
            accumulate(
                piece.runs, values.pixels, piece.place, values.mask,
                _limits_of(values.pixels.dtype), piece.row_area, (values.skip, *sums),
            )  # fmt: skip
        sums.carry()

    def rows(self, into: list[Sums], leaves: Leaves) -> Rows:
        """Rows of some slots, lane by lane."""
        lanes = [self._grown(sums, leaves.n_slots) for sums in into]
        return {
            name: np.concatenate([getattr(sums, name)[leaves.slot] for sums in lanes])
            for name in self._names()
        }

    def _names(self) -> tuple[str, ...]:
        wanted = [column for need in NEEDS if need in self.needs for column in NEEDS[need]]
        return ("n", "total", "lost", *wanted)

    def _sums(self, rows: Rows) -> Sums:
        """Rows as accumulators."""
        columns: dict[str, Any] = {**rows}  # Any: of two types, as `Sums` has them
        return self._empty(0)._replace(**columns)

    def _rows(self, sums: Sums) -> Rows:
        return {name: getattr(sums, name) for name in self._names()}

    def blank(self, n: int) -> Rows:
        """Rows of groups without a pixel."""
        return self._rows(self._empty(n))

    def merge(self, rows: Rows, number: Ints, n: int) -> Rows:
        """Merge rows into groups, one row after the other."""
        merged = self._empty(n)
        fold_rows(number, tuple(self._sums(rows)), tuple(merged))
        merged.carry()
        return self._rows(merged)

    def finish(self, rows: Rows, name: str, group: Group) -> Columns | None:
        """The column of a statistic."""
        if name not in STATISTICS:
            return None
        with np.errstate(invalid="ignore"):
            return STATISTICS[name].finish(self._sums(rows), group)

    def said(self) -> tuple[object, ...]:
        """Which accumulators there are."""
        return ("moments", self.needs)


def _limits_of(dtype: np.dtype[Any]) -> tuple[Any, Any, Any]:
    """Zero of the sum's type, largest and smallest value of the dtype."""
    if dtype.kind == "f":
        return np.float64(0), dtype.type(np.inf), dtype.type(-np.inf)
    limits = np.iinfo(dtype)
    return np.int64(0), dtype.type(limits.max), dtype.type(limits.min)


def _refuse_overflow(values: Values) -> None:
    """Stop where a sum of 64-bit integers could leave 64 bits."""
    if values.pixels.dtype != np.int64:
        return
    pixels, nodata = values.pixels, values.nodata
    valid = pixels if nodata is None else pixels[pixels != nodata]
    largest = max(abs(int(valid.min())), abs(int(valid.max()))) if valid.size else 0
    if largest * values.row_area.size * values.width >= 2**62:
        raise ValuesError(
            f"{values.label}: integers up to {largest:,} may overflow in sums: store them as "
            "float64, or give their nodata value"
        )


# ---- kernels -----------------------------------------------------------------------------------


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
def _fold_run(row, a, b, mask, limits):  # type: ignore[no-untyped-def]
    """Count, sum, minimum and maximum of the valid pixels of a stretch of a row.

    First as if all were valid, in loops that the compiler turns into vectors. A sum that is NaN, or
    extremes on both sides of the nodata value, send the stretch through loops that ask each pixel.
    """
    nodata, has_nodata = mask
    zero, high, low = limits
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
def _fold_wide(row, a, b, origin, k, mask, limits):  # type: ignore[no-untyped-def]
    """`_fold_run` where a pixel of the raster is `k` columns wide."""
    nodata, has_nodata = mask
    zero, high, low = limits
    n, s, lowest, highest = 0, zero, high, low
    c = a
    while c < b:
        j = (origin + c) // k
        end = min(b, (j + 1) * k - origin)
        x = row[j]
        if is_valid(x, nodata, has_nodata):
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
            if is_valid(row[j], nodata, has_nodata):
                d = row[j] - mean
                q += d * d * (end - c)
            c = end
        return q
    q0 = q1 = q2 = q3 = 0.0
    i, stop = origin + a, origin + b
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


@kernel
def accumulate(runs, values, place, nodata, limits, row_area, into):  # type: ignore[no-untyped-def]
    """Add the values of some rows of a cell to the accumulators of their slots.

    Parameters
    ----------
    runs : (ptr, begin, slot, width)
        See `cut`; slots whose `skip` is set are left out.
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
    ptr, begin, slot, width = runs
    skip, n, total, lost, lowest, highest, mean, m2, area, area_total = into
    row_origin, col_origin, k = place
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
                count, s, x0, x1 = _fold_run(row, col_origin + a, col_origin + b, nodata, limits)
            else:
                count, s, x0, x1 = _fold_wide(row, a, b, col_origin, k, nodata, limits)
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
