"""How much of each value occurs where pixels count by what is covered of them.

Whole pixels are counted as elsewhere; of others value and covered part are kept, as a quantile
needs both. What is left of a group are its distinct pairs of value and part, each with the number
of its pixels.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from zoneraster._burn import kernel
from zoneraster._stats.cut import NO_SLOT
from zoneraster._stats.families.base import (
    Columns,
    Group,
    Leaves,
    OnePass,
    Statistic,
    Values,
    is_valid,
)
from zoneraster._stats.families.classes import columns_of, first_value
from zoneraster._stats.families.order import quantile_of
from zoneraster._stats.families.rows import Lists, Rows, counts_of, group_numbers, join
from zoneraster._stats.families.tally import (
    MAX_VALUES,
    Tally,
    add_counts,
    bits_of,
    ordered,
    tally_of,
    value_of,
)
from zoneraster.arrays import Floats, Ints, Numbers
from zoneraster.errors import ValuesError


class Counted(NamedTuple):
    """What of each value is covered, and the dtype of the values.

    Parameters
    ----------
    pairs : Lists of (code, part, pixels)
        Codes ascending, then parts.
    dtype : numpy.dtype
    """

    pairs: Lists
    dtype: np.dtype[Any]

    def amounts(self) -> Lists:
        """Code and covered pixels of each value of each group, codes ascending."""
        code, part, pixels = self.pairs.values
        return counts_of(self.pairs.row, code, part * pixels, self.pairs.sizes.size)


# ---- the records -------------------------------------------------------------------------------


def _extreme(sign: float) -> Callable[[Counted, Group], Columns]:
    """The value that covers most, or least; of several such the smallest, NaN without one."""

    def finish(counted: Counted, _: Group) -> Columns:
        amounts = counted.amounts()
        return {"": first_value(amounts, sign * amounts.values[1], counted.dtype)}

    return finish


def _variety(counted: Counted, _: Group) -> Columns:
    return {"": counted.amounts().sizes}


def _per_value(name: str, formula: str, *, is_relative: bool) -> Statistic[Counted]:
    """A statistic with a column for each value that occurs."""

    def finish(counted: Counted, _: Group) -> Columns:
        return columns_of(name, counted.amounts(), counted.dtype, is_relative=is_relative)

    return Statistic(name, formula, finish)


STATISTICS: dict[str, Statistic[Counted]] = {
    record.name: record
    for record in (
        Statistic("majority", "x_i with the largest sum f_i", _extreme(-1.0), kind="value"),
        Statistic("minority", "x_i with the least sum f_i", _extreme(1.0), kind="value"),
        Statistic("variety", "number of different x_i", _variety),
        _per_value("histogram", "sum f_i where x_i = v, for each v", is_relative=False),
        _per_value("fractions", "sum f_i where x_i = v, over sum f_i", is_relative=True),
    )
}


def weighted_quantile(counted: Counted, q: float) -> Floats:
    """Quantile of values that count by their parts; NaN without one.

    Sorted values ``x_i`` (i from 0) with weights ``w_i`` stand at ``s_i = i w_i + (n - 1) sum_{j<i}
    w_j``, and the quantile is where ``q (n - 1) sum w`` lies between them, as exactextract has it.
    With equal weights that is NumPy's own. Equal values are taken by ascending weight.
    """
    pairs, row = counted.pairs, counted.pairs.row
    code, weight, pixels = pairs.values
    values = value_of(code, counted.dtype).astype(np.float64)
    begin = pairs.ptr[:-1][row]
    before = np.concatenate([[0], np.cumsum(pixels)])
    rank = (before[:-1] - before[begin]).astype(np.float64)
    n = (before[pairs.ptr[1:]] - before[pairs.ptr[:-1]]).astype(np.float64)[row]
    lighter, total = _running(weight * pixels, pairs)
    first = rank * weight + (n - 1) * lighter
    last = (rank + pixels - 1) * weight + (n - 1) * (lighter + (pixels - 1) * weight)
    target = q * (n - 1) * total[row]
    # Of each group the last pair that stands at the target or before; the first one stands at 0.
    found = np.full(pairs.sizes.size, np.nan)
    some = np.flatnonzero(pairs.sizes)
    passed = np.bincount(row, first <= target, pairs.sizes.size).astype(np.int64)
    left = pairs.ptr[some] + np.maximum(passed[some], 1) - 1
    right = np.minimum(left + 1, pairs.ptr[some + 1] - 1)
    over = np.maximum(target[left] - last[left], 0.0)
    gap = np.where(right > left, first[right] - last[left], 1.0)
    step = np.where(right > left, values[right] - values[left], 0.0)
    found[some] = values[left] + np.minimum(over / gap, 1.0) * step
    return found


def _running(weights: Floats, pairs: Lists) -> tuple[Floats, Floats]:
    """Sums of what comes before in the same group, and of the whole group.

    Each group is summed for itself, so that it does not matter what others there are.
    """
    before, total = np.zeros(weights.size), np.zeros(pairs.sizes.size)
    for length in np.unique(pairs.sizes[pairs.sizes > 0]):
        groups = np.flatnonzero(pairs.sizes == length)
        at = pairs.ptr[groups][:, None] + np.arange(length)
        sums = np.cumsum(weights[at], axis=1)
        before[at[:, 1:]], total[groups] = sums[:, :-1], sums[:, -1]
    return before, total


# ---- the four steps ----------------------------------------------------------------------------


@dataclass(slots=True)
class _Lane:
    """Accumulators of a lane: whole pixels, and (slot, code, part, pixels) of others."""

    whole: Tally
    others: list[tuple[Ints, Ints, Floats, Ints]]


@dataclass(frozen=True, slots=True)
class Parts(OnePass):
    """The family for one measure.

    Parameters
    ----------
    dtype : numpy.dtype
        Of the values.
    """

    dtype: np.dtype[Any]

    def start(self, n_lanes: int) -> list[_Lane]:
        """Nothing counted."""
        return [_Lane(Tally.empty(), []) for _ in range(n_lanes)]

    def add(self, into: list[_Lane], values: Values) -> None:
        """Count values below whole pixels, and keep those below others."""
        lane = into[values.lane]
        bits, is_float, top = bits_of(values.pixels)
        whole = []
        for band, piece in zip(values.bands, values.pieces(), strict=True):
            if not band.share.size:
                whole.append(band)
                continue
            is_whole = band.share == 1.0
            whole.append(band._replace(slot=np.where(is_whole, band.slot, NO_SLOT)))
            found = gather_parts(
                piece.runs, band.share, (values.pixels, bits), piece.place, values.mask,
                (is_float, top), values.skip,
            )  # fmt: skip
            lane.others.append(found)
        lane.whole = add_counts(lane.whole, values.below(whole), low=0)
        if sum(slot.size for slot, *_ in lane.others) > MAX_VALUES:
            raise ValuesError(
                f"{values.label}: more than {MAX_VALUES:,} pixels at the edges of zones in one "
                "task: take smaller chunks for the store, or ask for the mean"
            )

    def rows(self, into: list[_Lane], leaves: Leaves) -> Rows:
        """Pairs of some slots, lane by lane."""
        found, place = [], leaves.places()
        for lane in into:
            slot, code = lane.whole.entries[: lane.whole.n].T
            whole = (slot, code, np.ones(code.size), lane.whole.counts[: lane.whole.n])
            slot, code, part, pixels = map(np.concatenate, zip(whole, *lane.others, strict=True))
            found.append(pairs_of(place[slot], code, part, pixels, leaves.slot.size))
        return {"counts": join(found)}

    def blank(self, n: int) -> Rows:
        """Pairs of groups without a value."""
        none = np.zeros(0, np.int64)
        return {"counts": Lists(np.zeros(n + 1, np.int64), (none, np.zeros(0), none))}

    def merge(self, rows: Rows, number: Ints, n: int) -> Rows:
        """Add up equal pairs of a group."""
        pairs = tally_of(rows)
        code, part, pixels = pairs.values
        return {"counts": pairs_of(number[pairs.row], code, part, pixels, n)}

    def finish(self, rows: Rows, name: str, group: Group) -> Columns | None:
        """The columns of a statistic."""
        counted = Counted(tally_of(rows), self.dtype)
        if name in STATISTICS:
            return STATISTICS[name].finish(counted, group)
        q = quantile_of(name)
        return None if q is None else {"": weighted_quantile(counted, q)}

    def said(self) -> tuple[object, ...]:
        """All bits are counted."""
        return ("parts",)


def pairs_of(owner: Ints, code: Ints, part: Floats, pixels: Numbers, n: int) -> Lists:
    """Pairs by owner (0 to n - 1), code and part, ascending; pixels of equal ones are added."""
    # Parts are positive, so that their bits sort as they do.
    index, number = group_numbers(np.stack([owner, code, part.view(np.int64)], axis=1))
    total = np.zeros(index.shape[0], np.int64)
    np.add.at(total, number, pixels)
    ptr = np.searchsorted(index[:, 0], np.arange(n + 1)).astype(np.int64)
    return Lists(ptr, (index[:, 1].copy(), index[:, 2].copy().view(np.float64), total))


@kernel
def gather_parts(runs, share, pixels, place, nodata, kind, skip):  # type: ignore[no-untyped-def]
    """Values below the runs whose pixels are not whole.

    Parameters
    ----------
    runs : (ptr, begin, slot, width)
        See `cut`.
    share : (k,) float64
    pixels : (values, bits)
        As `tally` takes them.
    place : (row origin, column origin, k) int
    nodata : (value, bool)
    kind : (is_float, top)
    skip : (slots,) bool

    Returns
    -------
    slot, code : (m,) int64
    part : (m,) float64
    pixels : (m,) int64
        Of the lattice.
    """
    ptr, begin, slot, width = runs
    values, bits = pixels
    row_origin, col_origin, k = place
    is_float, top = kind
    room = 0
    for r in range(ptr.size - 1):
        for i in range(ptr[r], ptr[r + 1]):
            if slot[i] >= 0 and share[i] != 1.0 and not skip[slot[i]]:
                room += (begin[i + 1] if i + 1 < ptr[r + 1] else width) - begin[i]
    owner, code, part = np.empty(room, np.int64), np.empty(room, np.int64), np.empty(room)
    n_pixels = np.empty(room, np.int64)
    m = 0
    for r in range(ptr.size - 1):
        row, row_bits = values[(row_origin + r) // k], bits[(row_origin + r) // k]
        for i in range(ptr[r], ptr[r + 1]):
            if slot[i] < 0 or share[i] == 1.0 or skip[slot[i]]:
                continue
            c = np.int64(begin[i])
            stop = np.int64(begin[i + 1]) if i + 1 < ptr[r + 1] else np.int64(width)
            while c < stop:
                j = (col_origin + c) // k
                end = min(stop, (j + 1) * k - col_origin)
                if is_valid(row[j], nodata[0], nodata[1]):
                    x = row_bits[j]
                    found = ordered(x, top) if is_float else np.int64(x)
                    owner[m], part[m], n_pixels[m] = slot[i], share[i], end - c
                    code[m] = 0 if is_float and row[j] == 0 else found  # minus zero
                    m += 1
                c = end
    return owner[:m], code[:m], part[:m], n_pixels[:m]
