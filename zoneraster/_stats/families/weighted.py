"""Statistics by the weights of a second raster: population, or the share of a crop.

With values ``x_i`` and weights ``w_i`` of pixels that have both, their areas ``a_i``, and ``f_i``
for what is covered of them: 1 unless covered parts are asked for.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from zoneraster._burn import kernel, put
from zoneraster._stats.cut import ensure_room, find
from zoneraster._stats.families.base import (
    Columns,
    Group,
    Leaves,
    OnePass,
    Statistic,
    Values,
    is_valid,
    rounded_off,
)
from zoneraster._stats.families.classes import columns_of
from zoneraster._stats.families.rows import Lists, Rows, counts_of, join
from zoneraster._stats.families.tally import MAX_VALUES, Tally, bits_of, ordered
from zoneraster.arrays import Floats, Ints
from zoneraster.errors import ClosureError, ValuesError


class Sums(NamedTuple):
    """Accumulators of some rows or slots, (n,) float64.

    `covered` is the sum of ``f_i`` of pixels with value and weight, `without` that of pixels with a
    value alone. `total` and `lost` are the sum of ``f_i w_i x_i`` and what rounding took from it;
    `weight`, `mean` and `m2` belong to these weights, `area` and `area_total` are sums of ``a_i f_i
    w_i`` and ``a_i f_i w_i x_i``.
    """

    covered: Floats
    without: Floats
    weight: Floats
    total: Floats
    lost: Floats
    mean: Floats
    m2: Floats
    area: Floats
    area_total: Floats

    @classmethod
    def empty(cls, n: int) -> Sums:
        """Nothing added."""
        return cls._make(np.zeros(n) for _ in cls._fields)

    def grown(self, n: int) -> Sums:
        """With room for `n` slots at least."""
        if n <= self.weight.size:
            return self
        more = Sums.empty(max(n, 2 * self.weight.size))
        for old, new in zip(self, more, strict=True):
            new[: old.size] = old
        return more

    def over(self, amounts: Floats, divisor: Floats) -> Floats:
        """Amounts divided; NaN where there is nothing to divide by."""
        some = divisor != 0
        return np.where(some, amounts / np.where(some, divisor, 1.0), np.nan)


# ---- the records -------------------------------------------------------------------------------


def _record(
    name: str, formula: str, column: Callable[[Sums, Group], Floats], kind: str = ""
) -> Statistic[Sums]:
    return Statistic(name, formula, lambda sums, group: {"": column(sums, group)}, kind=kind)


STATISTICS: dict[str, Statistic[Sums]] = {
    record.name: record
    for record in (
        _record("weighted_sum", "sum f_i w_i x_i", lambda s, g: s.total + s.lost),
        _record(
            "weighted_mean",
            "sum f_i w_i x_i / sum f_i w_i",
            lambda s, g: s.over(s.total + s.lost, s.weight),
            "value",
        ),
        _record(
            "weighted_var",
            "sum f_i w_i (x_i - weighted_mean)² / sum f_i w_i",
            lambda s, g: s.over(s.m2, s.weight),
            "square",
        ),
        _record("weighted_std", "√weighted_var", lambda s, g: np.sqrt(s.over(s.m2, s.weight)),
                "value"),
        _record("weight_sum", "sum f_i w_i", lambda s, g: s.weight),
        _record("weighted_area", "sum a_i f_i w_i", lambda s, g: s.area / g.unit, "area"),
        _record("weighted_area_sum", "sum a_i f_i w_i x_i",
                lambda s, g: s.area_total / g.rate_unit, "area_total"),
        _record(
            "weighted_area_mean",
            "sum a_i f_i w_i x_i / sum a_i f_i w_i",
            lambda s, g: s.over(s.area_total, s.area),
            "value",
        ),
    )
}  # fmt: skip
# Finished by its own family, as its columns are those of the values.
FRACTIONS: Statistic[Sums] = Statistic(
    "weighted_frac", "sum f_i w_i where x_i = v, over sum f_i w_i", lambda s, g: {}
)


# ---- the four steps ----------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Weighted(OnePass):
    """The family for one measure."""

    def start(self, n_lanes: int) -> list[Sums]:
        """Empty accumulators, one set per lane."""
        return [Sums.empty(0) for _ in range(n_lanes)]

    def add(self, into: list[Sums], values: Values) -> None:
        """Add values and weights to the accumulators of their slots."""
        if values.weights is None:
            raise ClosureError("values came without their weights: please report this")
        sums = into[values.lane] = into[values.lane].grown(values.n_slots)
        for piece in values.pieces():
            assert piece.weights is not None
            weigh(
                piece.runs, piece.share, (values.pixels, piece.place, values.mask),
                piece.weights, piece.row_area, values.skip, tuple(sums),
            )  # fmt: skip

    def rows(self, into: list[Sums], leaves: Leaves) -> Rows:
        """Rows of some slots, lane by lane."""
        lanes = [sums.grown(leaves.n_slots) for sums in into]
        return {
            name: np.concatenate([getattr(sums, name)[leaves.slot] for sums in lanes])
            for name in Sums._fields
        }

    def blank(self, n: int) -> Rows:
        """Rows of groups without a pixel."""
        return dict(Sums.empty(n)._asdict())

    def merge(self, rows: Rows, number: Ints, n: int) -> Rows:
        """Merge rows into groups, one row after the other."""
        merged = Sums.empty(n)
        fold_weighted(number, tuple(_sums_of(rows)), tuple(merged))
        return dict(merged._asdict())

    def finish(self, rows: Rows, name: str, group: Group) -> Columns | None:
        """The column of a statistic."""
        return STATISTICS[name].finish(_sums_of(rows), group) if name in STATISTICS else None

    def said(self) -> tuple[object, ...]:
        """There is but one."""
        return ("weighted",)


def _sums_of(rows: Rows) -> Sums:
    """Rows as accumulators."""
    columns = [rows[name] for name in Sums._fields]
    return Sums._make(np.asarray(column, np.float64) for column in columns)


class Amounts(NamedTuple):
    """Accumulators of a lane: sums of weights of the pairs (slot, code) of a table, see `tally`."""

    amounts: Floats
    places: Any  # Any: (2**p,) int32, as kernels take it
    entries: Ints
    n: int


@dataclass(frozen=True, slots=True)
class WeightedClasses(OnePass):
    """The family of `weighted_frac` for one measure.

    Parameters
    ----------
    dtype : numpy.dtype
        Of the values.
    """

    dtype: np.dtype[Any]

    def start(self, n_lanes: int) -> list[Amounts]:
        """Nothing added."""
        tables = [Tally.empty() for _ in range(n_lanes)]
        return [Amounts(np.zeros(0), own.places, own.entries, 0) for own in tables]

    def add(self, into: list[Amounts], values: Values) -> None:
        """Add weights to the classes of their slots."""
        own, (bits, is_float, top) = into[values.lane], bits_of(values.pixels)
        for piece in values.pieces():
            assert piece.weights is not None
            own = Amounts._make(
                tally_weights(
                    piece.runs, piece.share, (values.pixels, bits), piece.place, values.mask,
                    piece.weights, (is_float, top), values.skip, tuple(own),
                )
            )  # fmt: skip
            if own.n > MAX_VALUES:
                raise ValuesError(
                    f"{values.label}: more than {MAX_VALUES:,} different values in one task: "
                    "weighted_frac is for rasters of classes"
                )
        into[values.lane] = own

    def rows(self, into: list[Amounts], leaves: Leaves) -> Rows:
        """Weights of the classes of some slots, lane by lane."""
        found, place = [], leaves.places()
        for own in into:
            slot, code = own.entries[: own.n].T
            found.append(counts_of(place[slot], code, own.amounts[: own.n], leaves.slot.size))
        return {"amounts": join(found)}

    def blank(self, n: int) -> Rows:
        """Classes of groups without a value."""
        return {"amounts": Lists(np.zeros(n + 1, np.int64), (np.zeros(0, np.int64), np.zeros(0)))}

    def merge(self, rows: Rows, number: Ints, n: int) -> Rows:
        """Add up equal classes of a group, one row after the other."""
        amounts = rows["amounts"]
        assert isinstance(amounts, Lists)
        code, amount = amounts.values
        return {"amounts": counts_of(number[amounts.row], code, amount, n)}

    def finish(self, rows: Rows, name: str, group: Group) -> Columns | None:
        """A column for each value that occurs."""
        if name != FRACTIONS.name:
            return None
        amounts = rows["amounts"]
        assert isinstance(amounts, Lists)
        return columns_of(name, amounts, self.dtype, is_relative=True)

    def said(self) -> tuple[object, ...]:
        """All bits are counted."""
        return ("weighted classes",)


# ---- kernels -----------------------------------------------------------------------------------


@kernel
def weigh(runs, share, values, weights, row_area, skip, into):  # type: ignore[no-untyped-def]
    """Add values and their weights to the accumulators of their slots.

    Parameters
    ----------
    runs : (ptr, begin, slot, width)
        See `cut`.
    share : (k,) float64 or None
        What is covered of the pixels of each run.
    values : (pixels, place, (nodata, bool))
        (h, w) any number, where the cell lies in it, what is no value.
    weights : (pixels, place)
        (h, w) float64, NaN without a weight.
    row_area : (rows,) float64
    skip : (slots,) bool
    into : as `Sums`
        Added to in place.

    Notes
    -----
    Means and squared deviations are taken run by run and merged as in `accumulate`, with sums of
    weights in the place of counts.
    """
    ptr, begin, slot, width = runs
    pixels, (row0, col0, k), (nodata, has_nodata) = values
    loads, (load_row0, load_col0, load_k) = weights
    covered, without, weight, total, lost, mean, m2, area, area_total = into
    for r in range(ptr.size - 1):
        row, load = pixels[(row0 + r) // k], loads[(load_row0 + r) // load_k]
        for i in range(ptr[r], ptr[r + 1]):
            g = slot[i]
            if g < 0 or skip[g]:
                continue
            a = np.int64(begin[i])
            b = np.int64(begin[i + 1]) if i + 1 < ptr[r + 1] else np.int64(width)
            n = n_without = 0
            w = s = 0.0
            for c in range(a, b):
                x = row[(col0 + c) // k] if k > 1 else row[col0 + c]
                if not is_valid(x, nodata, has_nodata):
                    continue
                y = load[(load_col0 + c) // load_k] if load_k > 1 else load[load_col0 + c]
                if y != y:
                    n_without += 1
                    continue
                n += 1
                w += y
                s += y * x
            part = 1.0
            if share is not None:
                part = share[i]
            without[g] += n_without * part
            if n == 0:
                continue
            q = 0.0
            m = s / w if w != 0.0 else 0.0
            for c in range(a, b):
                x = row[(col0 + c) // k] if k > 1 else row[col0 + c]
                y = load[(load_col0 + c) // load_k] if load_k > 1 else load[load_col0 + c]
                if is_valid(x, nodata, has_nodata) and y == y:
                    q += y * (x - m) * (x - m)
            w, s, q = w * part, s * part, q * part
            both = weight[g] + w
            if both != 0.0:
                d = m - mean[g]
                mean[g] += d * w / both
                m2[g] += q + d * d * (weight[g] * w / both)
            covered[g] += n * part
            weight[g] = both
            t = total[g] + s
            lost[g] += rounded_off(total[g], s, t)
            total[g] = t
            area[g] += row_area[r] * w
            area_total[g] += row_area[r] * s


@kernel
def fold_weighted(group, rows, out):  # type: ignore[no-untyped-def]
    """Merge rows of accumulators into groups, one after the other.

    Parameters
    ----------
    group : (rows,) int64
    rows, out : as `Sums`
        `out` is written in place.
    """
    covered, without, weight, total, lost, mean, m2, area, area_total = rows
    (o_covered, o_without, o_weight, o_total, o_lost, o_mean, o_m2, o_area, o_area_total) = out
    for i in range(group.size):
        g = group[i]
        o_without[g] += without[i]
        if covered[i] == 0.0:
            continue
        both = o_weight[g] + weight[i]
        if o_covered[g] == 0.0:
            o_mean[g], o_m2[g] = mean[i], m2[i]
        elif both != 0.0:
            d = mean[i] - o_mean[g]
            o_mean[g] += d * weight[i] / both
            o_m2[g] += m2[i] + d * d * (o_weight[g] * weight[i] / both)
        o_covered[g] += covered[i]
        o_weight[g] = both
        t = o_total[g] + total[i]
        o_lost[g] += rounded_off(o_total[g], total[i], t) + lost[i]
        o_total[g] = t
        o_area[g] += area[i]
        o_area_total[g] += area_total[i]


@kernel
def tally_weights(runs, share, pixels, place, nodata, weights, kind, skip, into):  # type: ignore[no-untyped-def]
    """Add the weights of each value in each slot.

    Parameters
    ----------
    runs, pixels, place, nodata, skip : as `tally` takes them
    share, weights : as `weigh` takes them
    kind : (is_float, top)
    into : (amounts, places, entries, n)
        (capacity,) float64, and the table of pairs (slot, code) that it belongs to.

    Returns
    -------
    amounts, places, entries, n
    """
    ptr, begin, slot, width = runs
    values, bits = pixels
    loads, (load_row0, load_col0, load_k) = weights
    amounts, places, entries, n = into
    row0, col0, k = place
    is_float, top = kind
    for r in range(ptr.size - 1):
        places, entries = ensure_room(places, entries, n, width)
        if amounts.size < entries.shape[0]:
            more = np.zeros(entries.shape[0])
            put(more, 0, amounts)
            amounts = more
        row, row_bits = values[(row0 + r) // k], bits[(row0 + r) // k]
        load = loads[(load_row0 + r) // load_k]
        for i in range(ptr[r], ptr[r + 1]):
            g = slot[i]
            if g < 0 or skip[g]:
                continue
            part = 1.0
            if share is not None:
                part = share[i]
            stop = np.int64(begin[i + 1]) if i + 1 < ptr[r + 1] else np.int64(width)
            for c in range(np.int64(begin[i]), stop):
                j, y = (col0 + c) // k, load[(load_col0 + c) // load_k]
                if y != y or not is_valid(row[j], nodata[0], nodata[1]):
                    continue
                code = ordered(row_bits[j], top) if is_float else np.int64(row_bits[j])
                if is_float and row[j] == 0:
                    code = 0  # minus zero
                number = find(g, code, places, entries, n)
                n = max(n, number + 1)
                amounts[number] += y * part
    return amounts, places, entries, n
