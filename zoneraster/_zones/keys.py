"""The user's keys: one for each zone, whole numbers or text, exact."""

from __future__ import annotations

import itertools
import re
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from zoneraster._zones.sources import Source
from zoneraster.errors import NAMED, ZonesError, name_some, nearest

# What the number of a row is called, see `_free_name`.
_NUMBERS = re.compile(r"row|index|row_\d+")


@dataclass(frozen=True, slots=True)
class Kept:
    """The key that the zones of a store have had so far.

    Parameters
    ----------
    key : str
    first_row : int
        What rows are counted from; not 0 in a store that has always counted otherwise, where an
        index is passed over.
    """

    key: str
    first_row: int = 0


@dataclass(frozen=True, slots=True)
class Keyed:
    """A source whose zones have names.

    Parameters
    ----------
    found : Source
        With the key among the columns.
    key : str
        Name of that column.
    is_numbered : bool
        The key is the row, or an index without a name: numbers that nobody chose as zone ids.
    """

    found: Source
    key: str
    is_numbered: bool


def with_key(found: Source, key: str | None, kept: Kept | None = None) -> Keyed:
    """The input with a checked key column.

    Parameters
    ----------
    found : Source
    key : str or None
        A column, or what the feature ids of the source are called. None for the index of a frame,
        and the row of a file.
    kept : Kept, optional
        Taken without a `key`.

    Raises
    ------
    ZonesError
        For a key that is missing, has gaps, is neither whole numbers nor text, or is not unique.
    """
    if key is None and kept is not None and not _is_automatic(kept.key, found):
        key = kept.key
    if key is None:
        return _indexed(found, kept.first_row if kept is not None else 0)
    table, label = found.table, found.label
    if key in found.refused:
        raise ZonesError(f"{label}: key column {key!r} cannot be told: {found.refused[key]}")
    if table.column_names.count(key) != 1:
        ids = found.feature_ids.get(key) if key not in table.column_names else None
        if ids is None:
            raise ZonesError(
                f"{label}: no single key column {key!r}: {nearest(key, table.column_names)}"
            )
        found = _with_column(found, key, ids)
        table = found.table
    column = _plain(table[key])
    _check_keys(column, f"{label}: key column {key!r}")
    index = table.column_names.index(key)
    table = table.set_column(index, key, whole_numbers(column)).replace_schema_metadata(None)
    return Keyed(replace(found, table=table), key, is_numbered=False)


def _is_automatic(kept: str, found: Source) -> bool:
    """The store's key is a number of rows, or the index of the frame."""
    is_index = len(found.index) == 1 and found.index[0][0] == kept
    return is_index or (bool(_NUMBERS.fullmatch(kept)) and kept not in found.table.column_names)


def _indexed(found: Source, first_row: int) -> Keyed:
    """The input with its own index as key; without one, the number of the row."""
    table, label, notes = found.table, found.label, []
    if "zone_id" in table.column_names and "zone_id" not in [name for name, _ in found.index]:
        notes.append(
            f"{label} has a column zone_id, which names no zones without key='zone_id': "
            "they go by the index of the frame or the row of the file"
        )
    name, column = None, None
    if found.index and not first_row:
        if len(found.index) > 1:
            levels = ", ".join(str(name) for name, _ in found.index)
            raise ZonesError(
                f"{label}: its index has {len(found.index)} levels ({levels}), and a key has one: "
                "give key=, or call reset_index"
            )
        name, column = found.index[0]
        column = _plain(column)
        try:
            _check_keys(column, f"{label}: its index, the key of zones without key=,")
        except ZonesError as err:
            raise ZonesError(f"{err}; or give key=, or call reset_index(drop=True)") from None
        column = whole_numbers(column)
    if column is None:
        rows = np.arange(first_row, first_row + len(found.wkb))
        column = pa.chunked_array([pa.array(rows)])
    is_numbered = name is None
    if name is None:
        name = _free_name(table, column)
    elif name in table.column_names and not _is_equal(table[name], column):
        notes.append(
            f"{label}: column {name!r} is left out, the index, which is the key, has its name"
        )
    found = replace(found, notes=(*found.notes, *notes))
    return Keyed(_with_column(found, name, column), name, is_numbered)


def _free_name(table: pa.Table, column: pa.ChunkedArray) -> str:
    """What the number of the row is called: the user's columns keep their names."""
    for name in itertools.chain(("row", "index"), (f"row_{n}" for n in itertools.count(1))):
        if name not in table.column_names or (
            table.column_names.count(name) == 1 and _is_equal(table[name], column)
        ):
            break
    return name


def _is_equal(column: pa.ChunkedArray, keys: pa.ChunkedArray) -> bool:
    """A column holds the very keys."""
    try:
        return bool(_plain(column).cast(keys.type).equals(keys))
    except pa.ArrowException:
        return False


def _with_column(found: Source, name: str, column: pa.ChunkedArray) -> Source:
    """The source with a column, which takes the place of another one of its name."""
    names = [*found.table.column_names]
    columns = [*found.table.columns]
    if name in names:
        columns[names.index(name)] = column
    else:
        names, columns = [*names, name], [*columns, column]
    # Rebuilt, because a table without columns forgets how many rows it has.
    return replace(found, table=pa.Table.from_arrays(columns, names=names))


def _plain(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """Values without a dictionary or views."""
    if pa.types.is_dictionary(column.type):
        column = column.cast(column.type.value_type)
    if pa.types.is_string_view(column.type):
        column = column.cast(pa.large_string())
    return column


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
    distinct = pc.unique(column)
    if len(distinct) == len(column):
        return
    codes = pc.index_in(column, value_set=distinct).to_numpy()
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
