"""Which zones share pixels: the sets of a chunk, found while it is planned and while it burns."""

from __future__ import annotations

import itertools

import numpy as np

from zoneraster._burn import make_spans, set_spans
from zoneraster._grid import Window
from zoneraster._store import Records
from zoneraster.arrays import Ints


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
