"""Painting order of the zones."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from zoneraster._store import Spec, asked_column
from zoneraster._zones import Zones
from zoneraster.arrays import Ints
from zoneraster.errors import ZonesError, nearest


def paint_ranks(zones: Zones, spec: Spec) -> npt.NDArray[np.int64]:
    """Painting order of the zones: ascending rank, so that the highest wins.

    Raises
    ------
    ZonesError
        For a priority column that is missing, not numeric or has gaps.
    """
    name, _ = _asked(spec, zones.table.column_names)
    if name is not None and name in zones.refused:
        raise ZonesError(f"priority column {name!r} cannot be told: {zones.refused[name]}")
    return _ranks(spec, zones.table, lambda name: name, zones.row)


def ranks_again(table: pa.Table, spec: Spec) -> tuple[Ints, npt.NDArray[np.int64]]:
    """Ids of the zones of a stored zone table, and the `paint_ranks` that they have by a spec."""
    has_id = np.flatnonzero(table["zone_id"].to_numpy() > 0)
    table = table.take(pa.array(has_id))
    names = table.column_names
    ranks = _ranks(spec, table, lambda name: asked_column(names, name) or name, has_id)
    return table["zone_id"].to_numpy().astype(np.int64), ranks


def _asked(spec: Spec, names: Sequence[str]) -> tuple[str | None, bool]:
    """The priority column, and whether its lower numbers are painted later: "-" before its name."""
    asked = spec.priority
    if asked is not None and asked.startswith("-") and asked not in names:
        return asked[1:], True
    return asked, False


def _ranks(
    spec: Spec, table: pa.Table, stored: Callable[[str], str], row: Ints
) -> npt.NDArray[np.int64]:
    """Ranks of the rows of a table, whose columns are called otherwise than the user calls them.

    Parameters
    ----------
    spec : Spec
    table : pyarrow.Table
    stored : callable
        Name of a column in the table.
    row : (n,) int64
        Of the input.
    """
    order = np.arange(table.num_rows)
    name, is_descending = _asked(spec, table.column_names)
    if name is not None:
        if stored(name) not in table.column_names:
            raise ZonesError(
                f"the zones have no priority column {name!r}: {nearest(name, table.column_names)}"
            )
        values = table[stored(name)]
        if not (pa.types.is_integer(values.type) or pa.types.is_floating(values.type)):
            raise ZonesError(
                f"priority column {name!r} is {values.type}, not numeric: choose or make one of "
                "numbers"
            )
        empty = np.flatnonzero(values.is_null(nan_is_null=True).to_numpy())
        if empty.size:
            raise ZonesError(
                f"priority column {name!r} is empty in row {row[empty[0]]}: give every zone a "
                "number"
            )
        # Equal ones keep the order of the table, whichever way.
        _, place = np.unique(values.to_numpy(), return_inverse=True)
        order = np.argsort(-place if is_descending else place, kind="stable")
    rank = np.empty(order.size, np.int64)
    rank[order] = np.arange(order.size)
    # "first" is "last" painted backwards.
    return rank[::-1].max(initial=0) - rank if spec.overlap == "first" else rank
