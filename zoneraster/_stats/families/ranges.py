"""Ranges: how many values of a group lie between two codes, and where a rank must lie then.

Of ``n`` values each lies in a range. The value of rank r is no less than the r-th of all least
codes, and no more than the r-th of all largest codes. Between these two, its *bracket*, it is
looked for; where they are equal it is known. All this holds for any ranges that are true, so they
may be joined, and come from any number of parts.
"""

from __future__ import annotations

import numpy as np

from zoneraster._burn import inlined, kernel
from zoneraster._stats.families.rows import Lists, take, total_of
from zoneraster.arrays import Bools, Floats, Ints

# Ranges of a row, see `room_of`.
_FEWEST, _MOST = 16, 4096
# How many there may be on average in any case, and of a few rows in all.
ALLOWED = 16
_IN_ALL = 2**21


def order_statistic_ranks(n: Ints, q: float) -> tuple[Ints, Ints, Floats]:
    """Ranks (from 0) between which a quantile lies, and how far: ``(n - 1) q``.

    Returns
    -------
    lower, upper : (...) int64
    share : (...) float64
    """
    place = np.maximum(n - 1, 0) * q
    lower = np.floor(place).astype(np.int64)
    return lower, np.minimum(lower + 1, np.maximum(n - 1, 0)), place - lower


def find_rank(counts: Lists, rows: Ints, rank: Ints) -> Ints:
    """Positions among all counts of the values with given ranks (from 0) in some rows."""
    total = np.concatenate([[0], np.cumsum(counts.values[-1])])
    found: Ints = np.searchsorted(total, total[counts.ptr[rows]] + rank, side="right") - 1
    return found


def ranges_of(owner: Ints, low: Ints, high: Ints, n: Ints, n_rows: int) -> Lists:
    """Ranges by owner (0 to n_rows - 1), least codes ascending; equal ranges are added."""
    order = _order_of(owner, low, high)
    owner, low, high, n = owner[order], low[order], high[order], n[order]
    new = np.ones(owner.size, bool)
    new[1:] = (np.diff(owner) != 0) | (low[1:] != low[:-1]) | (high[1:] != high[:-1])
    first = np.flatnonzero(new)
    counts = np.add.reduceat(n, first, dtype=np.int64) if first.size else n.astype(np.int64)
    ptr = np.searchsorted(owner[first], np.arange(n_rows + 1)).astype(np.int64)
    return Lists(ptr, (low[first], high[first], counts))


def _order_of(owner: Ints, low: Ints, high: Ints) -> Ints:
    """Stable order by owner and both codes, quick where it is nearly there: lists are sorted."""
    if (np.diff(owner) >= 0).all():
        order = np.arange(owner.size)
    else:
        order = np.argsort(owner, kind="stable")
    _merge_lists(owner, low, high, order)
    return order


@kernel
def _merge_lists(owner, low, high, order):  # type: ignore[no-untyped-def]
    """Sort the items of each owner by both codes: lists that ascend already are merged in pairs.

    Parameters
    ----------
    owner, low, high : (n,) int
    order : (n,) int64
        Places of all items, owner after owner; written in place.
    """
    spare = np.empty_like(order)
    a = 0
    while a < order.size:
        b = a + 1
        while b < order.size and owner[order[b]] == owner[order[a]]:
            b += 1
        while _end_of_list(low, high, order, a, b) < b:
            i = a
            while i < b:
                middle = _end_of_list(low, high, order, i, b)
                end = _end_of_list(low, high, order, middle, b)
                _merge_two(low, high, order, (i, middle, end), spare)
                i = end
            order[a:b] = spare[a:b]
        a = b


@inlined
def _end_of_list(low, high, order, a, b):  # type: ignore[no-untyped-def]
    """Where the items from `a` on no longer ascend; `b` at the latest."""
    i = a + 1
    while i < b and not _is_before(low, high, order[i], order[i - 1]):
        i += 1
    return min(i, b)


@inlined
def _is_before(low, high, i, j):  # type: ignore[no-untyped-def]
    """Item `i` has lesser codes than item `j`."""
    return low[i] < low[j] or (low[i] == low[j] and high[i] < high[j])


@inlined
def _merge_two(low, high, order, where, spare):  # type: ignore[no-untyped-def]
    """Merge neighbouring lists, from `where[0]` to `where[1]` and from there to `where[2]`."""
    i, middle, end = where
    j = middle
    for k in range(i, end):
        if j < end and (i == middle or _is_before(low, high, order[j], order[i])):
            spare[k] = order[j]
            j += 1
        else:
            spare[k] = order[i]
            i += 1


def merged(ranges: Lists, number: Ints, n: int) -> Lists:
    """Ranges of rows that belong to one group, given by `number`, as those of the group."""
    order = np.argsort(number, kind="stable")
    ranges, number = take(ranges, order), number[order]
    some = np.bincount(number[ranges.sizes > 0], minlength=n)
    owner = number[ranges.row]
    several = some[owner] > 1
    if not several.any():
        return Lists(_ptr_of(owner, n), ranges.values)
    low, high, counts = _where(ranges, several)
    more = ranges_of(owner[several], low, high, counts, n)
    return _side_by_side(Lists(_ptr_of(owner[~several], n), _where(ranges, ~several)), more)


def _ptr_of(owner: Ints, n: int) -> Ints:
    """Pointers of items whose owners ascend."""
    ptr: Ints = np.searchsorted(owner, np.arange(n + 1)).astype(np.int64)
    return ptr


def _where(ranges: Lists, some: Bools) -> tuple[Ints, ...]:
    return tuple(values[some] for values in ranges.values)


def _side_by_side(one: Lists, other: Lists) -> Lists:
    """Lists of the same rows, of which one at most has items."""
    n = one.ptr.size - 1
    owner = np.concatenate([one.row, other.row])
    order = np.argsort(owner, kind="stable")
    values = zip(one.values, other.values, strict=True)
    return Lists(_ptr_of(owner[order], n), tuple(np.concatenate(both)[order] for both in values))


def brackets_of(ranges: Lists, quantiles: tuple[float, ...]) -> tuple[Ints, Ints, Ints]:
    """Where the order statistics of all quantiles lie.

    Returns
    -------
    row, low, high : (m,) int64
        Two for each quantile and row that has a value; `low` is `high` where that is known.
    """
    low, high, n = ranges.values
    row = ranges.row
    order = _order_of(row, high, high)
    from_above = Lists(ranges.ptr, (high[order], n[order]))
    from_below = Lists(ranges.ptr, (low, n))
    total = total_of(ranges)
    rows = np.flatnonzero(total > 0)
    found = [np.zeros((3, 0), np.int64)]
    for q in quantiles:
        for rank in order_statistic_ranks(total[rows], q)[:2]:
            least = from_below.values[0][find_rank(from_below, rows, rank)]
            most = from_above.values[0][find_rank(from_above, rows, rank)]
            found.append(np.stack([rows, least.astype(np.int64), most.astype(np.int64)]))
    row, low, high = np.concatenate(found, axis=1)
    return row, low, high


def joined(row: Ints, low: Ints, high: Ints, n_rows: int) -> Lists:
    """Brackets of each row, ascending; those that share a code are one."""
    order = np.lexsort((low, row))
    row, low, high = row[order], low[order], high[order].copy()
    n = _join(row, low, high)
    return Lists(_ptr_of(row[:n], n_rows), (low[:n], high[:n]))


@kernel
def _join(row, low, high):  # type: ignore[no-untyped-def]
    """Join intervals that share a code, in place; sorted by row and low. Returns how many stay."""
    n = 0
    for i in range(row.size):
        if n and row[n - 1] == row[i] and low[i] <= high[n - 1]:
            high[n - 1] = max(high[n - 1], high[i])
            continue
        row[n], low[n], high[n] = row[i], low[i], high[i]
        n += 1
    return n


def replaced(ranges: Lists, at: Ints, finer: Lists) -> Lists:
    """Ranges in which some rows, `at`, give way to what `finer` tells of them, if anything."""
    gone = np.zeros(ranges.ptr.size - 1, bool)
    gone[at[finer.sizes > 0]] = True
    stay = ~gone[ranges.row]
    rest = Lists(_ptr_of(ranges.row[stay], gone.size), _where(ranges, stay))
    owner = at[finer.row]
    order = np.argsort(owner, kind="stable")
    values = tuple(own[order] for own in finer.values)
    return _side_by_side(rest, Lists(_ptr_of(owner[order], gone.size), values))


def room_of(n: Ints) -> Ints:
    """About how many ranges tell of `n` values: enough that few values lie in each."""
    room: Ints = np.clip(2 * np.sqrt(n), _FEWEST, _MOST).astype(np.int64)
    return room


def within_allowance(sizes: Ints) -> Bools:
    """Which lists may stay as long as they are, the shortest first: `ALLOWED` items a row."""
    order = np.argsort(sizes, kind="stable")
    fits = np.empty(sizes.size, bool)
    fits[order] = np.cumsum(sizes[order]) <= max(ALLOWED * sizes.size, _IN_ALL)
    return fits


def thinned(ranges: Lists, quantiles: tuple[float, ...], room: Ints) -> Lists:
    """Ranges of which the longest lists are joined where all have too many; the known stays known.

    Parameters
    ----------
    ranges : Lists
        Of some rows.
    quantiles : tuple of float
        Their order statistics are as sharp as before, where they are known.
    room : (rows,) int64
        About how many ranges a row should have; four times as many are no reason to do anything.
    """
    crowded = np.flatnonzero(~within_allowance(ranges.sizes) & (ranges.sizes > 4 * room))
    known, _ = _known(take(ranges, crowded), quantiles)
    return _shortened(ranges, crowded, known, room[crowded])


def settled(ranges: Lists, quantiles: tuple[float, ...], is_whole: Bools) -> Lists:
    """Ranges of which all but the known is joined in rows to which nothing is added any more.

    Others stay as they are, and those of which something is unknown.
    """
    # Two known codes a quantile, and what lies around them.
    rows = np.flatnonzero(is_whole & (ranges.sizes > 4 * len(quantiles) + 1))
    known, is_known = _known(take(ranges, rows), quantiles)
    known, rows = take(known, np.flatnonzero(is_known)), rows[is_known]
    return _shortened(ranges, rows, known, np.ones(rows.size, np.int64))


def _known(ranges: Lists, quantiles: tuple[float, ...]) -> tuple[Lists, Bools]:
    """Codes of the order statistics that are known of each row; and whether all are."""
    row, low, high = brackets_of(ranges, quantiles)
    is_known = np.ones(ranges.sizes.size, bool)
    is_known[row[low < high]] = False
    sharp = low == high
    return joined(row[sharp], low[sharp], high[sharp], is_known.size), is_known


def _shortened(ranges: Lists, some: Ints, known: Lists, room: Ints) -> Lists:
    """Ranges joined in some rows, but for known codes, until each has about as many as its room."""
    if not some.size:
        return ranges
    own, n_rows = take(ranges, some), ranges.ptr.size - 1
    kept, low, high, n = _thin(own.ptr, own.values, known.ptr, known.values[0], room)
    others = np.ones(n_rows, bool)
    others[some] = False
    stay = others[ranges.row]
    rest = Lists(_ptr_of(ranges.row[stay], n_rows), _where(ranges, stay))
    return _side_by_side(rest, ranges_of(some[kept], low, high, n, n_rows))


@kernel
def _thin(ptr, ranges, known_ptr, known, room):  # type: ignore[no-untyped-def]
    """Join neighbouring ranges until each row has about `room` of them.

    Ranges with a known code in them are left alone, and no two are joined that a known code lies
    between: so what was known of ranks still is.

    Parameters
    ----------
    ptr : (rows + 1,) int64
    ranges : (low, high, n)
    known_ptr, known : (rows + 1,) int64, (m,) int64
        Codes, ascending in each row.
    room : (rows,) int64

    Returns
    -------
    row, low, high, n
    """
    low, high, n = ranges
    rows = np.empty(low.size, np.int64)
    lows, highs, ns = np.empty_like(low), np.empty_like(high), np.empty_like(n)
    k = 0
    for r in range(ptr.size - 1):
        own = known[known_ptr[r] : known_ptr[r + 1]]
        total = 0
        for i in range(ptr[r], ptr[r + 1]):
            total += n[i]
        depth = total / room[r]
        open_side = -1  # of the range written last, where it may be joined
        for i in range(ptr[r], ptr[r + 1]):
            side = np.searchsorted(own, low[i])
            alone = side < own.size and own[side] <= high[i]
            if not alone and side == open_side and ns[k - 1] + n[i] <= depth:
                highs[k - 1] = max(highs[k - 1], high[i])
                ns[k - 1] += n[i]
                continue
            rows[k], lows[k], highs[k], ns[k] = r, low[i], high[i], n[i]
            k += 1
            open_side = -1 if alone else side
    return rows[:k], lows[:k], highs[:k], ns[:k]
