"""Columns of counted rows: taken, joined, sorted and grouped, whatever they count."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple, TypeAlias

import numpy as np

from zoneraster.arrays import Bools, Ints, Numbers

# Ranges of values above which a column is ranked before it is packed, see `sorted_rows`.
_WIDE = 2**40


class Lists(NamedTuple):
    """A list in each row: row i has ``ptr[i]:ptr[i + 1]`` of each of some parallel arrays.

    Parameters
    ----------
    ptr : (rows + 1,) int64
    values : tuple of (n,) arrays
    """

    ptr: Ints
    values: tuple[Numbers, ...]

    @property
    def sizes(self) -> Ints:
        """Length of each list."""
        return np.diff(self.ptr)

    @property
    def row(self) -> Ints:
        """Row of each item."""
        return np.repeat(np.arange(self.ptr.size - 1), self.sizes)


# Columns by name, all with one entry per row; what no statistic needs has no column.
Rows: TypeAlias = dict[str, "Numbers | Lists"]


def take_rows(rows: Rows, index: Ints) -> Rows:
    """Some rows, in a given order."""
    return {name: take(column, index) for name, column in rows.items()}


def take(column: Any, index: Ints) -> Any:  # Any: as the column is
    """Some entries of a column, in a given order; one may come several times."""
    if not isinstance(column, Lists):
        return column[index]
    sizes = column.sizes[index]
    ptr = np.concatenate([[0], np.cumsum(sizes)])
    where = np.repeat(column.ptr[index] - ptr[:-1], sizes) + np.arange(ptr[-1])
    return Lists(ptr, tuple(values[where] for values in column.values))


def join_rows(parts: Sequence[Rows]) -> Rows:
    """Rows one after the other."""
    return {name: join([part[name] for part in parts]) for name in parts[0]}


def join(parts: Sequence[Any]) -> Any:  # Any: columns of one kind
    """Columns one after the other."""
    if len(parts) == 1:
        return parts[0]
    if not isinstance(parts[0], Lists):
        return np.concatenate(parts)
    sizes = np.concatenate([part.sizes for part in parts])
    values = zip(*(part.values for part in parts), strict=True)
    return Lists(
        np.concatenate([[0], np.cumsum(sizes)]), tuple(np.concatenate(column) for column in values)
    )


def total_of(counts: Lists) -> Ints:
    """Sum of each row; counts are the last of the parallel arrays."""
    total = np.concatenate([[0], np.cumsum(counts.values[-1], dtype=np.int64)])
    sums: Ints = total[counts.ptr[1:]] - total[counts.ptr[:-1]]
    return sums


def counts_of(owner: Ints, code: Ints, count: Numbers, n: int) -> Lists:
    """Counts or weights by owner (0 to n - 1) and code, codes ascending; equal pairs are added."""
    pairs, number = group_numbers(np.stack([owner, code], axis=1))
    total = np.zeros(pairs.shape[0], np.float64 if count.dtype.kind == "f" else np.int64)
    np.add.at(total, number, count)
    ptr = np.searchsorted(pairs[:, 0], np.arange(n + 1))
    return Lists(ptr.astype(np.int64), (pairs[:, 1].copy(), total))


def group_numbers(index: Ints) -> tuple[Ints, Ints]:
    """Number rows that are equal alike, in ascending order of the rows.

    Returns
    -------
    groups : (n, columns) int64
    number : (rows,) int64
    """
    order, new = sorted_rows(index)
    number = np.empty(order.size, np.int64)
    number[order] = np.cumsum(new) - 1
    return index[order[new]], number


def sorted_rows(index: Ints) -> tuple[Ints, Bools]:
    """Order of rows, ascending and stable, and which of them differ from the one before.

    Columns are packed into one integer, which sorts several times faster than `numpy.lexsort`,
    where their ranges allow it.
    """
    packed, room = np.zeros(index.shape[0], np.int64), 1
    for column in index.T if index.shape[0] else ():
        low, size = int(column.min()), int(column.max()) - int(column.min()) + 1
        if size > _WIDE:
            # Codes of buckets lie far from all others.
            values, column = np.unique(column, return_inverse=True)
            low, size = 0, values.size
        room *= size
        if room >= 2**63:
            order = np.lexsort(index.T[::-1])
            return order, _differ(index[order])
        packed = packed * size + (column - low)
    order = np.argsort(packed, kind="stable")
    return order, _differ(packed[order][:, None])


def _differ(ordered: Ints) -> Bools:
    """Which rows differ from the one before; the first one does."""
    new = np.ones(ordered.shape[0], bool)
    new[1:] = (ordered[1:] != ordered[:-1]).any(axis=1)
    return new
