"""Zones that share pixels: sets and their ids, and pairs that nobody wants."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from zoneraster._store import (
    KNOWN_SETS_KEY,
    SETS_KEY,
    Spec,
    ZoneIds,
    ZoneSets,
    first_set_id,
    read_sets,
)
from zoneraster.arrays import Ints
from zoneraster.blobs import Blobs, Location
from zoneraster.errors import (
    CorruptStoreError,
    OverlapError,
    StoreError,
    name_some,
    number_of,
)

# Of those that `overlap="error"` refuses, so many are kept.
PAIRS_KEPT = 256


class Contests(NamedTuple):
    """Pairs of zones that claim the same pixels.

    Parameters
    ----------
    pairs : tuple of (int, int, int)
        Two zone ids and their pixels; at most `PAIRS_KEPT`, those with most pixels first.
    n_pairs : int
        How many pairs there are; at least so many where not all are kept.
    """

    pairs: tuple[tuple[int, int, int], ...] = ()
    n_pairs: int = 0

    @classmethod
    def merged(cls, many: Sequence[Contests]) -> Contests:
        """Those of several chunks or batches."""
        pixels: Counter[tuple[int, int]] = Counter()
        for one in many:
            for zone, other, n in one.pairs:
                pixels[min(zone, other), max(zone, other)] += n
        worst = sorted(pixels.items(), key=lambda item: (-item[1], item[0]))[:PAIRS_KEPT]
        n_pairs = max([len(pixels), *(one.n_pairs for one in many)])
        return cls(tuple((*pair, n) for pair, n in worst), n_pairs)


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


def refuse_contests(contests: Contests, ids: ZoneIds) -> None:
    """Refuse zones that overlap, by their keys, worst pair first.

    Raises
    ------
    OverlapError
    """
    if not contests.pairs:
        return
    keys = dict(zip(ids.zone_id.tolist(), ids.keys.to_pylist(), strict=True))
    pairs = [
        f"{keys[a]!r} and {keys[b]!r} share {number_of(n, 'pixel')}" for a, b, n in contests.pairs
    ]
    at_least = "at least " if contests.n_pairs > len(pairs) else ""
    raise OverlapError(
        f"overlap='error', but {at_least}{number_of(contests.n_pairs, 'pair')} of zones claim the "
        f"same pixels: {name_some(pairs, contests.n_pairs)}; nothing was burned: choose another "
        "overlap, or mend the zones"
    )


def known_sets(location: Location, spec: Spec, *, highest_id: int) -> tuple[ZoneSets | None, bool]:
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
