"""Exact quantiles by counting: leading bits first, then the rest where the ranks lie.

Values are taken as integers that sort as they do (`slots.bits_of`). One pass counts the upper 16
bits of all values; the next ones look only at the values whose upper bits are those of a wanted
order statistic, 16 bits further each time. Counts add up, so that neither the order of tasks nor
their number matters, and nothing is random.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from zoneraster._stats.ragged import Ragged, group_numbers, ragged_of
from zoneraster._stats.request import Digits
from zoneraster._stats.slots import value_of
from zoneraster._stats.statistics import Wanted, order_statistic_ranks
from zoneraster.arrays import Floats, Ints


def passes_of(dtype: np.dtype[Any], wanted: Wanted, few: bool, exact: bool) -> tuple[int, ...]:
    """Lower bits that each pass leaves out of what it counts, the last one none."""
    bits = 8 * dtype.itemsize
    if not wanted.tallied:
        return ()
    if wanted.categories or bits <= 16 or few:
        return (0,)
    if dtype.kind == "f" and not exact:
        # Sign, exponent and 7 bits: half a step is 1/256 of the value.
        return (16,) if bits == 32 else (45,)
    return tuple(range(bits - 16, -1, -16))


def quantile(tally: Ragged, n: Ints, q: float, dtype: np.dtype[Any]) -> Floats:
    """Quantiles from counts of full codes; NaN for groups without values."""
    some = n > 0
    found = np.full(n.size, np.nan)
    rows = np.flatnonzero(some)
    if rows.size:
        lower, upper, share = order_statistic_ranks(n[rows], q)
        a = value_of(tally.code[find_rank(tally, rows, lower)], dtype).astype(np.float64)
        b = value_of(tally.code[find_rank(tally, rows, upper)], dtype).astype(np.float64)
        with np.errstate(invalid="ignore", over="ignore"):
            # The order in which NumPy rounds: np.median, and np.quantile from the nearer side.
            near = np.where(share < 0.5, a + (b - a) * share, b - (b - a) * (1 - share))
            between = (a + b) / 2 if q == 0.5 else near
        found[rows] = np.where((share == 0) | (a == b), a, between)
    return found


def find_rank(tally: Ragged, rows: Ints, rank: Ints) -> Ints:
    """Positions in a tally of the values with given ranks (from 0) in some rows."""
    total = np.concatenate([[0], np.cumsum(tally.count)])
    found: Ints = np.searchsorted(total, total[tally.ptr[rows]] + rank, side="right") - 1
    return found


def narrowed(
    tally: Ragged, index: Ints, n: Ints, quantiles: Sequence[float], low: int
) -> dict[tuple[int, ...], Ints]:
    """Prefixes, per row, in which the order statistics of some quantiles lie.

    Parameters
    ----------
    tally : Ragged
        Codes in full length, the lower `low` bits unknown.
    index : (rows, columns) int64
    n : (rows,) int64
    quantiles : sequence of float
    low : int
    """
    rows = np.flatnonzero(n > 0)
    found = []
    for q in quantiles:
        for rank in order_statistic_ranks(n[rows], q)[:2]:
            prefix = tally.code[find_rank(tally, rows, rank)] >> low
            found.append(np.stack([rows, prefix], axis=1))
    if not found:
        return {}
    pairs, _ = group_numbers(np.concatenate(found))
    starts = np.searchsorted(pairs[:, 0], rows)
    keys = map(tuple, index[rows].tolist())
    return dict(zip(keys, np.split(pairs[:, 1], starts[1:]), strict=True))


def refined(tally: Ragged, index: Ints, digits: Digits, finer: Ragged, finer_index: Ints) -> Ragged:
    """A tally in which the prefixes that a pass looked into are replaced by what it found."""
    assert digits.prefixes is not None
    n = index.shape[0]
    owner = np.repeat(np.arange(n), np.diff(tally.ptr))
    looked: npt.NDArray[np.bool_] = np.zeros(owner.size, bool)
    for i, row in enumerate(map(tuple, index.tolist())):
        prefixes = digits.prefixes.get(row)
        if prefixes is not None:
            own = slice(tally.ptr[i], tally.ptr[i + 1])
            looked[own] = np.isin(tally.code[own] >> digits.high, prefixes)
    place = {row: i for i, row in enumerate(map(tuple, index.tolist()))}
    rows = np.array([place[row] for row in map(tuple, finer_index.tolist())], np.int64)
    more = np.repeat(rows, np.diff(finer.ptr))
    return ragged_of(
        np.concatenate([owner[~looked], more]),
        np.concatenate([tally.code[~looked], finer.code << digits.low]),
        np.concatenate([tally.count[~looked], finer.count]),
        n,
    )
