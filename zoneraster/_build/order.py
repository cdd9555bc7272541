"""Painting order of the zones."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from zoneraster._store import Spec
from zoneraster._zones import Zones
from zoneraster.errors import ZonesError


def paint_ranks(zones: Zones, options: Spec) -> npt.NDArray[np.int64]:
    """Painting order of the zones: ascending rank, so that the highest wins.

    Raises
    ------
    ZonesError
        For a priority column that is missing, not numeric or has gaps.
    """
    n = zones.table.num_rows
    order = np.arange(n)
    if options.priority is not None:
        if options.priority in zones.refused:
            why = zones.refused[options.priority]
            raise ZonesError(f"priority column {options.priority!r} cannot be told: {why}")
        if options.priority not in zones.table.column_names:
            raise ZonesError(
                f"no priority column {options.priority!r}: the zones have "
                + ", ".join(zones.table.column_names)
            )
        values = zones.table[options.priority]
        if not (pa.types.is_integer(values.type) or pa.types.is_floating(values.type)):
            raise ZonesError(f"priority column {options.priority!r} is {values.type}, not numeric")
        empty = np.flatnonzero(values.is_null(nan_is_null=True).to_numpy())
        if empty.size:
            raise ZonesError(
                f"priority column {options.priority!r} is empty in row {zones.row[empty[0]]}: "
                "give every zone a number"
            )
        order = np.argsort(values.to_numpy(), kind="stable")
    rank = np.empty(n, np.int64)
    rank[order] = np.arange(n)
    # "first" is "last" painted backwards.
    return rank[::-1].max(initial=0) - rank if options.overlap == "first" else rank
