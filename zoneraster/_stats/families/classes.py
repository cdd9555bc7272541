"""Classes: what occurs how often, for rasters of few different values."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from zoneraster._stats.families.base import Columns, Group, OnePass, Statistic
from zoneraster._stats.families.order import quantile, quantile_of
from zoneraster._stats.families.rows import Lists, Rows
from zoneraster._stats.families.tally import Counting, tally_of, value_of
from zoneraster.arrays import Floats, Numbers
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
    return {"": first_value(counted.counts, -counted.counts.values[1], counted.dtype)}


def _least_frequent(counted: Counted, _: Group) -> Columns:
    return {"": first_value(counted.counts, counted.counts.values[1], counted.dtype)}


def _per_value(name: str, formula: str, *, is_relative: bool) -> Statistic[Counted]:
    """A statistic with a column for each value that occurs."""

    def finish(counted: Counted, _: Group) -> Columns:
        return columns_of(name, counted.counts, counted.dtype, is_relative=is_relative)

    return Statistic(name, formula, finish)


def first_value(amounts: Lists, rank: Numbers, dtype: np.dtype[Any]) -> Floats:
    """The value of least rank in each group; of several such the smallest, NaN without one."""
    code, some = amounts.values[0], amounts.sizes > 0
    order = np.lexsort((code, rank, amounts.row))
    found = np.full(some.size, np.nan)
    found[some] = value_of(code[order[amounts.ptr[:-1][some]]], dtype)
    return found


def columns_of(name: str, amounts: Lists, dtype: np.dtype[Any], *, is_relative: bool) -> Columns:
    """A column for each value that occurs; refuses too many of them.

    Parameters
    ----------
    name : str
        Of the statistic.
    amounts : Lists of (code, amount)
        Of each group.
    dtype : numpy.dtype
        Of the values.
    is_relative : bool
        Shares of the group's total, NaN where that is 0.
    """
    code, amount = amounts.values
    codes, column = np.unique(code, return_inverse=True)
    if codes.size > _MAX_COLUMNS:
        raise ValuesError(
            f"a {name} of {codes.size:,} different values is too wide: group by the raster "
            "instead, by={'value': ...}, or ask for quantiles"
        )
    table = np.zeros((amounts.sizes.size, codes.size), amount.dtype)
    table[amounts.row, column] = amount
    if is_relative:
        total = table.sum(axis=1)
        table = table / np.where(total != 0, total, np.nan)[:, None]
    names = [f"_{_name_of(value, dtype)}" for value in value_of(codes, dtype).tolist()]
    return dict(zip(names, table.T, strict=True))


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
        _per_value("histogram", "pixels with x_i = v, a column for each v", is_relative=False),
        _per_value("fractions", "pixels with x_i = v, over n", is_relative=True),
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
