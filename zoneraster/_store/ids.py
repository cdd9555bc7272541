"""Zone ids: the numbers that stand for the user's keys in the raster, kept across updates."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from zoneraster._store.parquet import get_table
from zoneraster._store.spec import KEYS_KEY
from zoneraster._zones import whole_numbers
from zoneraster.arrays import Ints
from zoneraster.blobs import Blobs, Location
from zoneraster.errors import StoreMismatchError, ZonesError, warn

MAX_ID = 2**32 - 1


def assign_ids(
    keys: pa.ChunkedArray, *, previous: pa.Table | None = None, are_chosen: bool = True
) -> npt.NDArray[np.uint32]:
    """Zone ids for keys.

    Parameters
    ----------
    keys : (n,) unique keys
    previous : pyarrow.Table, optional
        Columns "key" and "zone_id" of all keys that ever had an id.
    are_chosen : bool
        False for numbers that nobody chose as ids, such as rows: they are none.

    Returns
    -------
    (n,) uint32
        The keys themselves when all are whole numbers in 1..2**32-1, and so were all before.
        Otherwise 1..n in row order; a key that had an id keeps it, others follow the largest.

    Raises
    ------
    ZonesError
        When the type of the keys has changed, or no ids are left.

    Examples
    --------
    >>> assign_ids(pa.chunked_array([["b", "a"]])).tolist()
    [1, 2]
    """
    known, known_ids = keys.slice(0, 0), np.empty(0, np.int64)
    if previous is not None and previous.num_rows:
        known, known_ids = previous["key"], previous["zone_id"].to_numpy().astype(np.int64)
    keys, known = whole_numbers(keys), whole_numbers(known)
    is_whole = pa.types.is_integer(keys.type)
    if is_whole != pa.types.is_integer(known.type):
        raise ZonesError(
            f"keys are {_kind(keys)}, those of the last build are {_kind(known)}: "
            "give the same key column, or build a new store"
        )
    if is_whole and are_chosen and known_ids.tolist() == known.to_pylist():
        low, high = pc.min(keys).as_py(), pc.max(keys).as_py()
        if len(keys) == 0 or (low >= 1 and high <= MAX_ID):
            return np.asarray(keys.to_numpy()).astype(np.uint32)
    ids: Ints = np.full(len(keys), -1)
    if len(known):
        place = pc.index_in(as_text(keys), as_text(known))
        ids = pc.fill_null(place, -1).to_numpy().astype(np.int64)
    new = ids < 0
    ids[~new] = known_ids[ids[~new]]
    ids[new] = known_ids.max(initial=0) + np.arange(1, new.sum() + 1)
    if ids.max(initial=0) > MAX_ID:
        raise ZonesError(
            f"{new.sum()} new zones need ids beyond {MAX_ID}, the largest of uint32: "
            "build a new store"
        )
    return ids.astype(np.uint32)


def _kind(keys: pa.ChunkedArray) -> str:
    """What people call the type of keys."""
    return f"{'whole numbers' if pa.types.is_integer(keys.type) else 'text'} ({keys.type})"


def id_dtype(max_id: int) -> np.dtype[Any]:  # Any: which unsigned integer depends on the value
    """Return the smallest unsigned dtype, of at most 32 bits, that holds `max_id`.

    Examples
    --------
    >>> id_dtype(255), id_dtype(256)
    (dtype('uint8'), dtype('uint16'))
    """
    if not 0 <= max_id <= MAX_ID:
        raise ZonesError(f"zone id {max_id} is outside of 0..{MAX_ID}")
    return np.dtype(np.min_scalar_type(max_id))


def are_ids(keys: pa.ChunkedArray, ids: npt.NDArray[np.uint32] | pa.ChunkedArray) -> bool:
    """The keys are the zone ids themselves, so that no table of them is needed."""
    if not (pa.types.is_integer(keys.type) or pa.types.is_floating(keys.type)):
        return False
    return bool(np.array_equal(keys.to_numpy(), np.asarray(ids)))


@dataclass(frozen=True, slots=True, eq=False)
class ZoneIds:
    """Zones by key and by id.

    Parameters
    ----------
    keys : (n,) pyarrow.ChunkedArray
    zone_id : (n,) uint32
    kept : pyarrow.Table or None
        Columns "key" and "zone_id" of all keys that ever had an id in the store, so that none is
        ever given to another zone. None where keys are ids themselves.
    """

    keys: pa.ChunkedArray
    zone_id: npt.NDArray[np.uint32]
    kept: pa.Table | None


def give_ids(
    location: Location,
    keys: pa.ChunkedArray,
    *,
    is_new: bool,
    zones: pa.Table | None = None,
    row: Ints | None = None,
) -> ZoneIds:
    """Ids for the keys of a store, which keeps those it gave before.

    Parameters
    ----------
    location : Location
    keys : (n,) unique keys
    is_new : bool
        The store has given no ids yet.
    zones : pyarrow.Table, optional
        Columns "key" and "zone_id" of the zones that the store has now: all that is known where the
        table of keys is lost.
    row : (n,) int64, optional
        Rows of keys that are nobody's choice, such as the rows themselves: a new store then counts
        its ids from 1, whatever the keys are.

    Raises
    ------
    ZonesError
        For keys of another kind than those of the store.
    StoreMismatchError
        When the ids of the store were its keys, and these keys cannot be ids.
    """
    known = None if is_new else kept_ids(location.blobs())
    if known is None and zones is not None and not are_ids(zones["key"], zones["zone_id"]):
        warn(
            f"{location}/{KEYS_KEY} was lost or damaged, and is made again from the zone table: "
            "the ids of zones that are gone may be given to others"
        )
        known = zones
    if is_new and row is not None:
        known = pa.table({"key": keys.slice(0, 0), "zone_id": pa.array([], pa.uint32())})
        if row.max(initial=0) >= MAX_ID:
            raise ZonesError(f"row {row.max():,} needs an id beyond {MAX_ID}: build two stores")
        ids = (row + 1).astype(np.uint32)
        return ZoneIds(keys, ids, _kept(keys, ids, known))
    # Rows that zoneraster 0.1 counted are ids, and no table of keys says otherwise.
    ids = assign_ids(keys, previous=known, are_chosen=row is None or known is None)
    if not is_new and known is None and not are_ids(keys, ids):
        raise StoreMismatchError(
            f"the keys of {location} were its zone ids, which these keys cannot all be (whole "
            "numbers from 1 to 2**32 - 1): mend the keys, or build into a new folder"
        )
    return ZoneIds(keys, ids, _kept(keys, ids, known))


def kept_ids(blobs: Blobs) -> pa.Table | None:
    """Keys that ever had an id in this store; None where no table says it, or a damaged one."""
    try:
        table = get_table(blobs, KEYS_KEY)
        return table if table.column_names == ["key", "zone_id"] else None
    except (FileNotFoundError, pa.ArrowException, OSError):
        return None


def ids_are_kept(blobs: Blobs, zones: pa.Table) -> bool:
    """The store knows the ids of these zones (columns "key" and "zone_id") in times to come.

    Keys that are ids themselves need no table.
    """
    known = kept_ids(blobs)
    if known is None:
        return are_ids(zones["key"], zones["zone_id"])
    place = pc.index_in(as_text(zones["key"]), as_text(known["key"]))
    return bool(not place.null_count and known["zone_id"].take(place).equals(zones["zone_id"]))


def _kept(
    keys: pa.ChunkedArray, ids: npt.NDArray[np.uint32], known: pa.Table | None
) -> pa.Table | None:
    """Present and retired keys with their ids; None where present ones are ids, and all were."""
    if known is None:
        if are_ids(keys, ids):
            return None
        known = pa.table({"key": keys.slice(0, 0), "zone_id": pa.array([], pa.uint32())})
    retired = known
    if known.num_rows:
        is_known = pc.is_in(as_text(known["key"]), value_set=as_text(keys))
        retired = known.filter(pc.invert(is_known))
    kind = _stored_type(keys, retired["key"])
    column = pa.chunked_array(
        [*keys.cast(kind).chunks, *retired["key"].cast(kind).chunks], type=kind
    )
    every_id = np.concatenate([ids, retired["zone_id"].to_numpy().astype(np.uint32)])
    return pa.table({"key": column.combine_chunks(), "zone_id": every_id}).sort_by("zone_id")


def as_text(keys: pa.ChunkedArray) -> pa.ChunkedArray:
    """Keys as they compare exactly, whatever the widths of integers or of offsets."""
    return whole_numbers(keys).cast(pa.large_string())


def _stored_type(*columns: pa.ChunkedArray) -> pa.DataType:
    """The one type that keys of a kind are stored in.

    Raises
    ------
    ZonesError
        For whole numbers that no type holds all of.
    """
    columns = tuple(whole_numbers(column) for column in columns if len(column))
    if not all(pa.types.is_integer(column.type) for column in columns):
        return pa.large_string()
    ends = [pc.min_max(column).as_py() for column in columns]
    low, high = min(end["min"] for end in ends), max(end["max"] for end in ends)
    if high < 2**63:
        return pa.int64()
    if low >= 0:
        return pa.uint64()
    raise ZonesError(
        f"keys from {low} to {high}, those of earlier builds among them, fit no type of whole "
        "numbers: make them smaller, or build into a new folder"
    )
