"""Moments: counts, sums, means, extremes, variances and areas, in one loop over the pixels.

Formulas stand in the records below and in docs/explanation/statistics.md: with values ``x_i`` of
the ``n`` valid pixels of a group and their areas ``a_i``, of ``N`` pixels in all. Where pixels
count by what is covered of them, by ``f_i``, each sum is one of ``f_i`` times that, and ``n`` and
``N`` are sums of ``f_i``.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from zoneraster._stats.families.base import (
    Columns,
    Group,
    Leaves,
    OnePass,
    Statistic,
    Values,
)
from zoneraster._stats.families.folding import accumulate, fold_rows
from zoneraster._stats.families.rows import Rows
from zoneraster.arrays import Bools, Floats, Ints, Numbers
from zoneraster.errors import ValuesError

_LOW_BITS = 32


class Sums(NamedTuple):
    """Accumulators of some rows or slots.

    `n` counts pixels, or adds up their covered parts, by which all else is weighted then. `total`
    and `lost` are a float sum and what rounding took from it, or for integers the lower 32 bits of
    an exact sum and the rest. What no statistic needs has no entries.
    """

    n: Numbers
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


def _left(pixels: Numbers, n: Numbers) -> Numbers:
    """Pixels without a value; sums of covered parts may differ by their rounding."""
    left = pixels - n
    return np.maximum(left, 0.0) if left.dtype.kind == "f" else left


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
        _record("nodata", "N - n", lambda s, g: _left(g.pixels, s.n), kind=""),
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
    is_weighted : bool
        Pixels count by what is covered of them.
    """

    needs: tuple[str, ...]
    is_integer: bool
    is_weighted: bool = False

    in_place = True

    @classmethod
    def of(
        cls, names: Sequence[str], dtype: np.dtype[Any], *, is_weighted: bool = False
    ) -> Moments:
        """What some statistics need of values of a dtype."""
        needs = {STATISTICS[name].needs for name in names if name in STATISTICS} - {""}
        is_integer = dtype.kind in "iu" and not is_weighted
        return cls(tuple(sorted(needs)), is_integer, is_weighted)

    def _empty(self, n: int) -> Sums:
        """Accumulators that nothing was added to."""
        kind: type[Any] = np.int64 if self.is_integer else np.float64  # Any: a scalar type
        high = np.iinfo(np.int64).max if self.is_integer else np.inf
        low = np.iinfo(np.int64).min if self.is_integer else -np.inf
        extremes, squares, areas = (
            n if name in self.needs else 0 for name in ("extremes", "squares", "areas")
        )
        return Sums(
            np.zeros(n, np.float64 if self.is_weighted else np.int64),
            np.zeros(n, kind), np.zeros(n, kind),
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
        flat, limits = values.flat, _limits_of(values.pixels.dtype)
        for piece in values.pieces():
            accumulate(
                piece.runs, piece.share, flat, piece.place, values.mask, limits, piece.row_area,
                (values.skip, *sums),
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
        return ("moments", self.needs, *(["weighted"] if self.is_weighted else []))


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
