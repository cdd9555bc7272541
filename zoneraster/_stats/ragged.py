"""Counts of codes by row, and rows of integers in order."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from zoneraster.arrays import Ints

_WIDE = 2**40


@dataclass(frozen=True, slots=True, eq=False)
class Ragged:
    """Pairs (code, count) of each row: row i has ``ptr[i]:ptr[i + 1]``, codes ascending."""

    ptr: Ints
    code: Ints
    count: Ints


def _take_ragged(ragged: Ragged, rows: Ints) -> Ragged:
    sizes = np.diff(ragged.ptr)[rows]
    ptr = np.concatenate([[0], np.cumsum(sizes)])
    where = np.repeat(ragged.ptr[rows] - ptr[:-1], sizes) + np.arange(ptr[-1])
    return Ragged(ptr, ragged.code[where], ragged.count[where])


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


def sorted_rows(rows: Ints) -> tuple[Ints, npt.NDArray[np.bool_]]:
    """Order of rows, ascending and stable, and which of them differ from the one before.

    Columns are packed into one integer, which sorts several times faster than `numpy.lexsort`,
    where their ranges allow it.
    """
    packed, room = np.zeros(rows.shape[0], np.int64), 1
    for column in rows.T if rows.shape[0] else ():
        low, size = int(column.min()), int(column.max()) - int(column.min()) + 1
        if size > _WIDE:
            # Codes of buckets lie far from all others.
            values, column = np.unique(column, return_inverse=True)
            low, size = 0, values.size
        room *= size
        if room >= 2**63:
            order = np.lexsort(rows.T[::-1])
            return order, _differ(rows[order])
        packed = packed * size + (column - low)
    order = np.argsort(packed, kind="stable")
    return order, _differ(packed[order][:, None])


def _differ(ordered: Ints) -> npt.NDArray[np.bool_]:
    """Which rows differ from the one before; the first one does."""
    new = np.ones(ordered.shape[0], bool)
    new[1:] = (ordered[1:] != ordered[:-1]).any(axis=1)
    return new


def stacked(parts: Sequence[Ragged]) -> Ragged:
    """Ragged rows, one after the other."""
    sizes = np.concatenate([np.diff(p.ptr) for p in parts])
    return Ragged(
        np.concatenate([[0], np.cumsum(sizes)]),
        np.concatenate([p.code for p in parts]),
        np.concatenate([p.count for p in parts]),
    )


def ragged_of(owner: Ints, code: Ints, count: Ints, n: int) -> Ragged:
    """Counts by owner (0 to n - 1) and code; equal pairs are added."""
    pairs, number = group_numbers(np.stack([owner, code], axis=1))
    total = np.zeros(pairs.shape[0], np.int64)
    np.add.at(total, number, count)
    ptr = np.searchsorted(pairs[:, 0], np.arange(n + 1))
    return Ragged(ptr.astype(np.int64), pairs[:, 1].copy(), total)
