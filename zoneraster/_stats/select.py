"""Which zones a call looks at: by key, by attributes, or by place."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, TypeAlias

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from zoneraster._stats.planes import ZoneSource
from zoneraster._store import asked_column
from zoneraster.arrays import Bools, Ints
from zoneraster.errors import ZonesError, name_some, nearest

# Keys; values of columns, all of which must hold; or a shapely geometry that zones must meet. Any:
# keys and values are the user's.
Select: TypeAlias = Mapping[str, Any] | Iterable[Any] | Any


def selected_ids(select: Select, source: ZoneSource, table: pa.Table, key: str) -> Ints:
    """Ids of the zones that are meant, ascending.

    Parameters
    ----------
    select : keys, mapping of column to value or values, or shapely geometry
        In the reference system of the grid.
    source : ZoneSource
    table : pyarrow.Table
        The zone table.
    key : str
        Its key column.

    Raises
    ------
    ZonesError
        For a column, key or value that no zone has, and where no zone is left.
    """
    if hasattr(select, "geom_type"):
        polygons, bounds = source.polygons(), getattr(select, "bounds", None)
        ids: Ints = polygons.index.to_numpy()[polygons.intersects(select).to_numpy()]
        if not (ids > 0).any():
            raise ZonesError(
                f"no zone meets select={bounds}, west, south, east and north in the "
                "reference system of the grid"
            )
        return np.unique(ids[ids > 0]).astype(np.int64)
    columns = select if isinstance(select, Mapping) else {key: select}
    if not columns:
        raise ZonesError("select= names no column: give keys, {column: values} or a geometry")
    if not table.num_rows and [*columns] == [key]:
        return _labels(columns[key], source.shift)
    ids = table["zone_id"].to_numpy().astype(np.int64)
    keep = ids > 0
    for name, values in columns.items():
        keep &= _holds(table, name, _several(values))
    if not keep.any():
        raise ZonesError(f"no zone has all of select={select!r}")
    return np.unique(ids[keep])


def _several(values: Any) -> list[Any]:  # Any: one of the user's values, or several
    if isinstance(values, str | bytes) or not isinstance(values, Iterable):
        return [values]
    return list(values)


def _labels(values: Any, shift: int) -> Ints:  # Any: as above
    """Ids of labels of a raster: which of them it has is not known yet."""
    try:
        labels = np.array([int(value) for value in _several(values)], np.int64)
    except (TypeError, ValueError) as err:
        raise ZonesError(f"select={values!r}: labels of a raster are whole numbers") from err
    return np.unique(labels + shift)


def _holds(table: pa.Table, name: str, values: list[Any]) -> Bools:
    """Rows whose column has one of some values."""
    column = asked_column(table.column_names, name)
    if column is None:
        raise ZonesError(
            f"select= asks for a column {name!r}, which the zones do not have: "
            f"{nearest(name, table.column_names)}"
        )
    kind = table[column].type
    kind = kind.value_type if pa.types.is_dictionary(kind) else kind
    try:
        asked = pa.array(values)
        # Whoever types on a command line has text for everything.
        asked = asked.cast(kind) if pa.types.is_string(asked.type) else pa.array(values, kind)
    except (pa.ArrowException, OverflowError) as err:
        raise ZonesError(f"select= compares column {name!r} ({kind}) with {values!r}") from err
    found = pc.is_in(table[column].cast(kind), value_set=asked)
    absent = asked.filter(pc.invert(pc.is_in(asked, value_set=table[column].cast(kind))))
    if len(absent):
        first = str(absent[0].as_py())
        there = pc.unique(table[column].cast(kind)).to_pylist()
        raise ZonesError(
            f"select= asks for {name}={name_some(absent.to_pylist())}, which no zone has: "
            f"{nearest(first, map(str, there))}"
        )
    return np.asarray(found.to_numpy(), bool)
