"""Classes: what occurs how often, for rasters of few different values."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from zoneraster._stats.families.base import Columns, Group, OnePass, Statistic
from zoneraster._stats.families.order import quantile, quantile_of
from zoneraster._stats.families.rows import Lists, Rows, total_of
from zoneraster._stats.families.tally import Counting, tally_of, value_of
from zoneraster.arrays import Floats, Ints, Numbers
from zoneraster.errors import ValuesError

# A histogram has one column per value; more than these are asked for as a key.
_MAX_COLUMNS = 1000


@dataclass(frozen=True, slots=True)
class Counted:
    """Counts of the values of each group, and the dtype of the values."""

    counts: Lists
    dtype: np.dtype[Any]


# ---- the records -------------------------------------------------------------------------------


def _most_frequent(counted: Counted, _: Group) -> Columns:
    return {"": _first(counted, -counted.counts.values[1])}


def _least_frequent(counted: Counted, _: Group) -> Columns:
    return {"": _first(counted, counted.counts.values[1])}


def _first(counted: Counted, rank: Ints) -> Floats:
    """The value of least rank in each group; of several such the smallest, NaN without one."""
    counts, (code, _) = counted.counts, counted.counts.values
    order = np.lexsort((code, rank, counts.row))
    some = counts.sizes > 0
    found = np.full(some.size, np.nan)
    found[some] = value_of(code[order[counts.ptr[:-1][some]]], counted.dtype)
    return found


def _per_value(
    name: str, formula: str, shares: Callable[[Ints, Ints], Numbers]
) -> Statistic[Counted]:
    """A statistic with a column for each value that occurs, from all counts and their totals."""

    def finish(counted: Counted, _: Group) -> Columns:
        counts, n = counted.counts, total_of(counted.counts)
        codes, column = np.unique(counts.values[0], return_inverse=True)
        named = names_of_values(name, codes, counted.dtype)
        table = np.zeros((n.size, codes.size), np.int64)
        table[counts.row, column] = counts.values[1]
        return dict(zip(named, shares(table, n).T, strict=True))

    return Statistic(name, formula, finish)


def names_of_values(name: str, codes: Ints, dtype: np.dtype[Any]) -> list[str]:
    """What follows the name of a statistic for each value; refuses too many of them."""
    if codes.size > _MAX_COLUMNS:
        raise ValuesError(
            f"a {name} of {codes.size:,} different values is too wide: group by the raster "
            "instead, by={'value': ...}, or ask for quantiles"
        )
    return [f"_{_name_of(value, dtype)}" for value in value_of(codes, dtype).tolist()]


def _name_of(value: float, dtype: np.dtype[Any]) -> str:
    """A value as people write it, and so that no two of a dtype are written alike."""
    if float(value).is_integer() and abs(value) < 2**53:
        return str(int(value))  # whole numbers in full
    return str(np.float32(value)) if dtype == np.float32 else repr(value)


STATISTICS: dict[str, Statistic[Counted]] = {
    record.name: record
    for record in (
        Statistic("majority", "the most frequent x_i", _most_frequent, kind="value"),
        Statistic("minority", "the least frequent x_i that occurs", _least_frequent, kind="value"),
        Statistic("variety", "number of different x_i", lambda c, g: {"": c.counts.sizes}),
        _per_value("histogram", "pixels with x_i = v, a column for each v", lambda table, n: table),
        _per_value(
            "fractions",
            "pixels with x_i = v, over n",
            lambda table, n: table / np.where(n > 0, n, np.nan)[:, None],
        ),
    )
}


# ---- the four steps ----------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Classes(OnePass, Counting):
    """The family for one measure; its counts of whole values also give all quantiles.

    Parameters
    ----------
    dtype : numpy.dtype
        Of the values.
    """

    dtype: np.dtype[Any]

    def finish(self, rows: Rows, name: str, group: Group) -> Columns | None:
        """The columns of a statistic."""
        counted = Counted(tally_of(rows), self.dtype)
        if name in STATISTICS:
            return STATISTICS[name].finish(counted, group)
        q = quantile_of(name)
        return None if q is None else {"": quantile(counted.counts, q, self.dtype)}

    def said(self) -> tuple[object, ...]:
        """All bits are counted."""
        return ("classes",)
