"""Zone ids: the numbers that stand for the user's keys in the raster, kept across updates."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from zoneraster._store.parquet import get_table, put_table
from zoneraster._store.spec import KEYS_KEY
from zoneraster._zones import whole_numbers
from zoneraster.arrays import Ints
from zoneraster.blobs import Blobs, Location
from zoneraster.errors import StoreMismatchError, ZonesError

MAX_ID = 2**32 - 1


def assign_ids(
    keys: pa.ChunkedArray, *, previous: pa.Table | None = None
) -> npt.NDArray[np.uint32]:
    """Zone ids for keys.

    Parameters
    ----------
    keys : (n,) unique keys
    previous : pyarrow.Table, optional
        Columns "key" and "zone_id" of all keys that ever had an id.

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
            f"keys are {keys.type}, those of the last build are {known.type}: "
            "give the same key column, or build a new store"
        )
    if is_whole and known_ids.tolist() == known.to_pylist():
        low, high = pc.min(keys).as_py(), pc.max(keys).as_py()
        if len(keys) == 0 or (low >= 1 and high <= MAX_ID):
            return np.asarray(keys.to_numpy()).astype(np.uint32)
    # As text they compare exactly, whatever the widths of the integers.
    place = pc.index_in(keys.cast(pa.large_string()), known.cast(pa.large_string()))
    ids: Ints = pc.fill_null(place, -1).to_numpy().astype(np.int64)
    new = ids < 0
    ids[~new] = known_ids[ids[~new]]
    ids[new] = known_ids.max(initial=0) + np.arange(1, new.sum() + 1)
    if ids.max(initial=0) > MAX_ID:
        raise ZonesError(
            f"{new.sum()} new zones need ids beyond {MAX_ID}, the largest of uint32: "
            "build a new store"
        )
    return ids.astype(np.uint32)


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


def are_ids(keys: pa.ChunkedArray, ids: npt.NDArray[np.uint32]) -> bool:
    """The keys are the zone ids themselves, so that no table of them is needed."""
    if not (pa.types.is_integer(keys.type) or pa.types.is_floating(keys.type)):
        return False
    return bool(np.array_equal(keys.to_numpy(), ids))


@dataclass(frozen=True, slots=True, eq=False)
class ZoneIds:
    """Zones by key and by id.

    Parameters
    ----------
    keys : (n,) pyarrow.ChunkedArray
    zone_id : (n,) uint32
    known : pyarrow.Table or None
        Columns "key" and "zone_id" of all keys that ever had an id in the store.
    """

    keys: pa.ChunkedArray
    zone_id: npt.NDArray[np.uint32]
    known: pa.Table | None


def give_ids(location: Location, keys: pa.ChunkedArray, *, is_new: bool) -> ZoneIds:
    """Ids for the keys of a store, which keeps those it gave before.

    Parameters
    ----------
    location : Location
    keys : (n,) unique keys
    is_new : bool
        The store holds no plan yet.

    Raises
    ------
    StoreMismatchError
        When the ids of the store were its keys, and these keys cannot be ids.
    """
    known = None if is_new else _known_ids(location.blobs())
    ids = assign_ids(keys, previous=known)
    if not is_new and known is None and not are_ids(keys, ids):
        raise StoreMismatchError(
            f"the keys of {location} were its zone ids, which these keys cannot all be (whole "
            "numbers from 1 to 2**32 - 1): mend the keys, or build into a new folder"
        )
    return ZoneIds(keys, ids, known)


def _known_ids(blobs: Blobs) -> pa.Table | None:
    """Keys that ever had an id in this store."""
    try:
        return get_table(blobs, KEYS_KEY)
    except FileNotFoundError:
        return None


def put_ids(blobs: Blobs, ids: ZoneIds) -> None:
    """Keep the ids of present and of retired keys, so that none is ever given to another zone.

    Keys that are ids themselves need no table.
    """
    if are_ids(ids.keys, ids.zone_id):
        return
    now = pa.table({"key": ids.keys, "zone_id": pa.array(ids.zone_id)})
    if ids.known is not None:
        values = ids.keys.combine_chunks()
        retired = ids.known.filter(pc.invert(pc.is_in(ids.known["key"], value_set=values)))
        now = pa.concat_tables([now, retired])
    put_table(blobs, KEYS_KEY, now.sort_by("zone_id"))
