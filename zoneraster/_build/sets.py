"""Which zones share pixels: sets of a chunk, as it is planned and as it burns, and their ids."""

from __future__ import annotations

import itertools

import numpy as np

from zoneraster._burn import make_spans, set_spans
from zoneraster._grid import Window
from zoneraster._store import (
    KNOWN_SETS_KEY,
    SETS_KEY,
    Records,
    Spec,
    ZoneSets,
    first_set_id,
    read_sets,
)
from zoneraster.arrays import Ints
from zoneraster.blobs import Blobs, Location
from zoneraster.errors import CorruptStoreError, StoreError


def keys_of_sets(set_ptr: Ints, members: Ints, zone_id: Ints) -> list[bytes]:
    """Ids of the zones of each set as bytes, ascending: what `ZoneSets` knows them by.

    Parameters
    ----------
    set_ptr, members : as `set_spans` returns them
    zone_id : (n_zones,) int64
        Of each local number.
    """
    ids = zone_id[members].astype("<u4")
    return [np.sort(ids[a:b]).tobytes() for a, b in itertools.pairwise(set_ptr.tolist())]


def sets_in_chunk(records: Records, window: Window, *, touched: bool) -> list[bytes]:
    """Sets of zones that share a pixel of a chunk.

    Parameters
    ----------
    records : Records
        Of the chunk.
    window : Window
        Of the chunk, cut to the grid.
    touched : bool
        Zones claim all pixels that they touch.
    """
    zone_id, number = np.unique(records.zone_id.astype(np.int64), return_inverse=True)
    if zone_id.size < 2:
        return []
    corner = (window.row0, window.col0, window.height, window.width)
    spans = make_spans(number, *records[3:], corner, touched)
    *_, set_ptr, members = set_spans(*spans, zone_id.size, window.height, window.width)
    return keys_of_sets(set_ptr, members, zone_id)


def known_sets(
    location: Location, spec: Spec, *, highest_id: int
) -> tuple[ZoneSets | None, bool]:
    """Zone sets that have an id, where pixels stand for sets; and whether ids are given anew.

    Parameters
    ----------
    location : Location
    spec : Spec
    highest_id : int
        Of the zones.

    Raises
    ------
    StoreError
        When ids of zones reach those of sets.
    """
    if not spec.has_sets:
        return None, False
    try:
        sets, is_new = read_sets(location.blobs())[0], False
    except CorruptStoreError:
        sets, is_new = ZoneSets(first_set_id(highest_id)), True
    if highest_id >= sets.first:
        raise StoreError(
            f"zone ids go up to {highest_id:,}, and those of the sets of {location} begin at "
            f"{sets.first:,}: build a new store"
        )
    return sets, is_new


def faults_of_sets(blobs: Blobs, plan: str, *, is_finished: bool) -> tuple[list[str], list[str]]:
    """Keys of the tables of sets of a plan that are missing, and that are damaged."""
    missing = [KNOWN_SETS_KEY] * (not blobs.has(KNOWN_SETS_KEY))
    missing += [SETS_KEY] * (is_finished and not blobs.has(SETS_KEY))
    damaged = []
    if KNOWN_SETS_KEY not in missing:
        try:
            damaged = [KNOWN_SETS_KEY] * (read_sets(blobs)[1] != plan)
        except CorruptStoreError:
            damaged = [KNOWN_SETS_KEY]
    return missing, damaged
