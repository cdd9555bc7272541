"""The user's keys: one for each zone, whole numbers or text, exact."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from zoneraster._zones.sources import Source
from zoneraster.errors import NAMED, ZonesError, name_some


def with_key(found: Source, key: str | None) -> tuple[Source, str]:
    """The input with a checked key column, and its name."""
    table, label = found.table, found.label
    names = ", ".join(table.column_names) or "none"
    if key is None and "zone_id" in table.column_names:
        key = "zone_id"
    if key is None:
        if "row" in table.column_names:
            raise ZonesError(
                f"{label}: a column 'row' is there already, and zones without a key are named by "
                f"one: give key='row' or another column ({names})"
            )
        rows = pa.array(np.arange(1, len(found.wkb) + 1))
        # Rebuilt, because a table without columns forgets how many rows it has.
        table = pa.Table.from_arrays([*table.columns, rows], names=[*table.column_names, "row"])
        return replace(found, table=table.replace_schema_metadata(None)), "row"
    if table.column_names.count(key) != 1:
        raise ZonesError(f"{label}: no single key column {key!r}; columns: {names}")
    column = table[key]
    if pa.types.is_dictionary(column.type):
        column = column.cast(column.type.value_type)
    if pa.types.is_string_view(column.type):
        column = column.cast(pa.large_string())
    _check_keys(column, f"{label}: key column {key!r}")
    index = table.column_names.index(key)
    table = table.set_column(index, key, whole_numbers(column)).replace_schema_metadata(None)
    return replace(found, table=table), key


def _check_keys(column: pa.ChunkedArray, label: str) -> None:
    kind = column.type
    is_float = pa.types.is_floating(kind)
    is_text = pa.types.is_string(kind) or pa.types.is_large_string(kind)
    is_whole = pa.types.is_integer(kind) or pa.types.is_decimal(kind)
    if not (is_float or is_text or is_whole):
        raise ZonesError(f"{label} is {kind}: choose or make one of whole numbers or text")
    if column.null_count:
        _refuse_keys(column, column.is_null(), label, "null", "give every zone a key")
    if pa.types.is_decimal(kind):
        cure = "make keys integers or text"
        halves = pc.not_equal(column, pc.floor(column))
        _refuse_keys(column, halves, label, "not a whole number", cure)
        numbers = np.array([abs(number) for number in column.to_pylist()], dtype=object)
        _refuse_keys(column, numbers >= 2**63, label, "beyond 64 bits", "make keys text")
    if is_float:
        _refuse_keys(column, pc.is_nan(column), label, "NaN", "give every zone a key")
        halves = pc.not_equal(column, pc.floor(column))
        halves = pc.or_(halves, pc.is_inf(column))
        _refuse_keys(column, halves, label, "not a whole number", "make keys integers or text")
        # From here on neighbouring integers share one float: an exact key cannot be told.
        limit = 2.0 ** (np.finfo(kind.to_pandas_dtype()).nmant + 1)
        large = pc.greater_equal(pc.abs(column.cast(pa.float64())), limit)
        cure = "it has lost digits already; write the keys as integers or text"
        _refuse_keys(column, large, label, f"a float of at least {limit:.0f}", cure)
    codes = pc.index_in(column, value_set=pc.unique(column)).to_numpy()
    twice = np.bincount(codes)[codes] > 1
    # Equal keys next to each other, in order of their first rows.
    order = np.lexsort((np.arange(codes.size), codes))
    rows = order[twice[order]]
    cure = "make keys unique, or dissolve the zones by key first"
    _refuse_keys(column, twice, label, "not unique", cure, rows=rows)


def _refuse_keys(
    column: pa.ChunkedArray, bad: Any, label: str, what: str, cure: str, *, rows: Any = None
) -> None:  # Any: numpy or Arrow mask
    """Raise when any key is bad, showing the first rows and their keys."""
    rows = np.flatnonzero(np.asarray(bad)) if rows is None else rows
    if len(rows):
        shown = [f"row {row} ({column[int(row)].as_py()!r})" for row in rows[:NAMED]]
        raise ZonesError(
            f"{label} is {what} in {len(rows)} of {len(column)} rows: "
            f"{name_some(shown, len(rows))}; {cure}"
        )


def whole_numbers(keys: pa.ChunkedArray) -> pa.ChunkedArray:
    """Floats and decimals as int64; they are known to be whole numbers."""
    is_other = pa.types.is_floating(keys.type) or pa.types.is_decimal(keys.type)
    return keys.cast(pa.int64()) if is_other else keys
