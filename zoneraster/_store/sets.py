"""Zone sets: what a pixel that several zones claim stands for, and their ids, kept across updates.

A private table has all sets that ever had an id; the public one, put at the end of a build, those
that own a pixel, with their counts.
"""

from __future__ import annotations

import functools
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from zoneraster._store.ids import MAX_ID
from zoneraster._store.manifest import PLAN_MARK
from zoneraster._store.parquet import table_bytes
from zoneraster._store.zone_table import counts_by_id
from zoneraster.arrays import Ints, Numbers
from zoneraster.blobs import PRIVATE, Blobs
from zoneraster.errors import CorruptStoreError, StoreError, told_as

SETS_KEY = "sets.parquet"
KNOWN_SETS_KEY = f"{PRIVATE}sets.parquet"
# Footer entry with the first id of a set.
_FIRST_MARK = "zoneraster:first_set"
_SCHEMA = pa.schema([("set_id", pa.uint32()), ("zone_id", pa.uint32())])


@dataclass(frozen=True, eq=False)
class ZoneSets:
    """Sets of zones and their ids.

    Parameters
    ----------
    first : int
        The id of the first one; ids of zones are smaller.
    sets : tuple of bytes
        Ids of the zones of each set, ascending, as little-endian uint32: the key of the set.
    """

    first: int
    sets: tuple[bytes, ...] = ()

    @functools.cached_property
    def _ids(self) -> dict[bytes, int]:
        return {own: self.first + k for k, own in enumerate(self.sets)}

    def ids_of(self, sets: Sequence[bytes]) -> Ints:
        """Ids of some sets.

        Raises
        ------
        CorruptStoreError
            For a set that has none.
        """
        try:
            return np.array([self._ids[own] for own in sets], np.int64)
        except KeyError:
            raise CorruptStoreError(
                f"{KNOWN_SETS_KEY} does not know all sets of zones: build again with the same zones"
            ) from None

    def with_more(self, found: Iterable[bytes]) -> ZoneSets:
        """The same with the sets that are new behind it, in the order of their zones.

        Raises
        ------
        StoreError
            When no ids are left.
        """
        new = set(found) - self._ids.keys()
        # By the zones and not by the bytes, so that people find their way.
        more = sorted(new, key=lambda own: np.frombuffer(own, "<u4").tolist())
        if self.first + len(self.sets) + len(more) - 1 > MAX_ID:
            raise StoreError(
                f"{len(self.sets) + len(more):,} different sets of zones need ids beyond {MAX_ID}, "
                "the largest of uint32: take overlap='last', or several stores"
            )
        return ZoneSets(self.first, (*self.sets, *more))

    def to_table(self) -> pa.Table:
        """Columns set_id and zone_id, a row for each zone of each set."""
        sizes = [len(own) // 4 for own in self.sets]
        set_id = np.repeat(self.first + np.arange(len(sizes)), sizes).astype(np.uint32)
        zone_id = np.frombuffer(b"".join(self.sets), "<u4")
        return pa.Table.from_arrays([pa.array(set_id), pa.array(zone_id)], schema=_SCHEMA)

    def to_bytes(self, plan: str) -> bytes:
        """Parquet bytes of the private table, marked with the digest of the plan."""
        marks = {PLAN_MARK: plan, _FIRST_MARK: str(self.first)}
        return table_bytes(self.to_table().replace_schema_metadata(marks))

    def public_bytes(self, sums: Mapping[str, Numbers]) -> bytes:
        """Parquet bytes of the public table: sets that own a pixel, with their pixels and area.

        Parameters
        ----------
        sums : mapping
            As `sum_counts` returns them.
        """
        table = self.to_table()
        counts = counts_by_id(table["set_id"].to_numpy().astype(np.int64), sums)
        table = table.append_column("pixels", pa.array(counts["owned"]))
        table = table.append_column("area_m2", pa.array(counts["area_m2"]))
        return table_bytes(table.filter(pa.array(counts["owned"] > 0)))


def first_set_id(max_id: int) -> int:
    """Id of the first set of a new store: a power of ten that leaves zones room to become more.

    Examples
    --------
    >>> first_set_id(444), first_set_id(200_000)
    (10000, 10000000)
    """
    first = 10 ** max(4, len(str(max_id)) + 1)
    return first if first <= 2**31 else max_id + 1


def read_sets(blobs: Blobs) -> tuple[ZoneSets, str]:
    """The sets of a store, and the digest of the plan that they belong to.

    Raises
    ------
    CorruptStoreError
        When their table is lost or cannot be read.
    """
    cure = "build again with the same zones"
    with told_as(CorruptStoreError, f"{KNOWN_SETS_KEY} cannot be read", cure):
        table = pq.read_table(pa.BufferReader(blobs.get(KNOWN_SETS_KEY)))
        marks = table.schema.metadata or {}
        set_id = table["set_id"].to_numpy().astype(np.int64)
        zone_id = table["zone_id"].to_numpy().astype("<u4")
        first = int(marks[_FIRST_MARK.encode()])
        ends = np.flatnonzero(np.diff(set_id, append=-1)) + 1
        starts = np.concatenate([[0], ends[:-1]]).astype(np.int64)[: ends.size]
        if not np.array_equal(set_id[starts], first + np.arange(ends.size)):
            raise ValueError("its ids do not follow each other")
        sets = (zone_id[a:b].tobytes() for a, b in zip(starts, ends, strict=True))
        return ZoneSets(first, tuple(sets)), marks[PLAN_MARK.encode()].decode()
