"""Zones of stores, and of plans that no store is built of: runs burned again from the plan.

Burning a chunk's runs again takes about a millisecond and no pixel is ever painted; decoding takes
tens of them and 64 MB. Both must give the same, so the manifest is believed only where the records
hash to the fingerprint of the receipt and the stored bytes have the receipt's checksum. Arrays that
zoneraster did not build are decoded (`decoded`). Layers of a store are put together again: a pixel
is met once, whoever lies over whom.
"""

from __future__ import annotations

import functools
import hashlib
import threading
import uuid
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Generic, TypeVar

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from zoneraster._build import chunk_runs, contested_zones, remarkable_zones, zone_frame
from zoneraster._grid import Window
from zoneraster._stats.decoded import ArrayRuns
from zoneraster._stats.planes import Planes, ZoneRuns, ZoneSource
from zoneraster._store import (
    BatchChunk,
    ChunkReceipt,
    PixelRule,
    Records,
    chunk_fingerprint,
    expected_receipts,
    ledger,
    load_spec,
    mending,
    of_all_layers,
    one_of_each,
    open_finished,
    read_zone_table,
    refuse_changed,
    shared_snapshot,
)
from zoneraster._values import ZARR_NODES
from zoneraster.arrays import Ints
from zoneraster.blobs import Location, get_or_none
from zoneraster.errors import CorruptStoreError, StoreError, warn

if TYPE_CHECKING:
    import geopandas

T = TypeVar("T")
# Of the manifest, kept in a process for the tasks that share a batch.
_KEPT_BYTES = 2**27


@dataclass(frozen=True, slots=True)
class StoredZones:
    """Zones that lie somewhere: a finished store, or an integer array `zone` that anybody wrote.

    Parameters
    ----------
    location : Location
    digest : str
        Of the spec with its plan. An array has none: a name of the call, so that one that is
        written anew later is opened anew.
    is_planned : bool
        Whether zoneraster built it.
    are_claimed : bool
        Zones have all pixels that they claim, also those that others own.
    merged_by : tuple of str
        Columns of the zone table: zones that agree in them count as one, so that a pixel that
        several of them claim counts once.
    merging : str
        Digest of which zones these are.
    rule : {"centre", "touched", "fraction"}, optional
        Which pixels a zone has; None for those of the array.
    with_sets : bool
        Pixels of zone sets have the id of the set, as in the array, and not none.
    is_burned : bool
        There is an array, whose bytes are compared with their receipts.
    selected : bytes
        Ids of the zones that are looked at, int64 in ascending order; none for all of them.
    place : str
        What calls have in common that ask the same zones; empty where nothing tells.
    """

    location: Location
    digest: str
    is_planned: bool
    are_claimed: bool = False
    merged_by: tuple[str, ...] = ()
    merging: str = ""
    rule: PixelRule | None = None
    with_sets: bool = False
    is_burned: bool = True
    selected: bytes = b""
    place: str = ""

    def ruled(self, rule: PixelRule) -> StoredZones:
        """The zones with the pixels that they have by a rule."""
        if not self.is_planned:
            raise StoreError(
                f"{self.location} is an array of zones without a plan: of its pixels nothing else "
                f"is known, leave out pixels={rule!r}"
            )
        spec = shared_snapshot(self.location, self.digest).spec
        spec.check_rule(self.location, rule)
        return self if rule == spec.own_rule else replace(self, rule=rule)

    @property
    def owns_all(self) -> bool:
        """Zones own all that they claim, each in its layer."""
        if not self.is_planned:
            return False
        return shared_snapshot(self.location, self.digest).spec.has_layers

    def claimed(self, table: pa.Table, merged_by: tuple[str, ...]) -> StoredZones:
        """The zones with all that they claim; the same where none claims what another owns."""
        if not self.is_planned:
            return self
        # A build that is all burned and not finished has counted nothing yet.
        known = "contested" in table.column_names and self.rule is None
        if known and not pc.any(pc.greater(table["contested"], 0)).as_py():
            return self
        if merged_by and not self.is_burned and self.rule is None:
            # As after a build, so that sums are added in the same order.
            opened, ids = self.open(), table["zone_id"].to_numpy().astype(np.int64)
            if isinstance(opened, PlannedRuns) and not opened.has_contested(ids):
                return self
        merging = _digest_of(one_of_each(table, merged_by))
        return replace(self, are_claimed=True, merged_by=merged_by, merging=merging)

    def selecting(self, zones: Ints) -> StoredZones:
        """These zones alone."""
        return replace(self, selected=np.sort(zones.astype(np.int64)).tobytes())

    def open(self) -> ZoneRuns:
        """Runs from the manifest, or of the decoded pixels."""
        return _open(self)

    def narrowed(self, windows: Sequence[Window]) -> StoredZones:
        """The same: workers read what they need."""
        return self

    def table(self) -> tuple[pa.Table, str]:
        """The zone table of the store or beside the array.

        Empty but for a column zone_id where there is none.
        """
        table, key = read_zone_table(self.location)
        if self.is_planned:
            refuse_changed(self.location, self.digest)
        return self.rows(table), key

    def rows(self, table: pa.Table) -> pa.Table:
        """Those whose ids are among the selected, all of them where none are."""
        if not self.selected:
            return table
        among = np.frombuffer(self.selected, np.int64)
        return table.filter(pa.array(np.isin(table["zone_id"], among)))

    def polygons(self) -> geopandas.GeoSeries:
        """The polygon of each zone, by its id."""
        frame = zone_frame(self.location)
        return frame.set_index("zone_id").geometry

    def said(self) -> tuple[object, ...]:
        """Whether zones are claimed, which of them count as one, and by which rule they burn."""
        rule = [self.rule] if self.rule else []
        chosen = [hashlib.blake2b(self.selected, digest_size=8).hexdigest()]
        return (self.are_claimed, self.merging, *rule, *(chosen if self.selected else []))

    @property
    def is_selected(self) -> bool:
        """Not all zones are looked at."""
        return bool(self.selected)

    @property
    def remarkable(self) -> dict[str, Any]:
        """Zones that lie beyond the grid, for the audit; JSON, hence Any."""
        return remarkable_zones(self.location)

    @property
    def shift(self) -> int:
        """Ids are what the array has."""
        return 0


def _digest_of(ones: Ints) -> str:
    return hashlib.blake2b(ones.tobytes(), digest_size=8).hexdigest()


@functools.lru_cache(maxsize=2)
def _open(source: StoredZones) -> ZoneRuns:
    if source.is_planned:
        return PlannedRuns(source)
    return ArrayRuns.of_store(source.location, source.selected)


def forget_opened() -> None:
    """Let go of all that was opened in this process: of plans that are gone, and of others."""
    _open.cache_clear()
    shared_snapshot.cache_clear()


def find_zones(location: Location) -> ZoneSource:
    """The zones of a store, which must be finished, or of an array.

    Raises
    ------
    StoreError
        When there is none; `IncompleteBuildError` when batches are missing.
    """
    blobs, place = location.blobs(), f"{location.url} {location.options_hash}"
    if load_spec(location, blobs) is None:
        if all(get_or_none(blobs, name) is None for name in ZARR_NODES):
            raise StoreError(
                f"no zone store at {location}: build it first, or give polygons or a raster of "
                "labels in its place"
            )
        array = StoredZones(location, uuid.uuid4().hex, is_planned=False, place=place)
        opened = array.open()
        if isinstance(opened, ArrayRuns) and opened.remark:
            warn(opened.remark)
        return array
    plan = open_finished(location, cure="finish the build first")
    return StoredZones(location, plan.spec.digest(), is_planned=True, place=place)


class _Entry(Generic[T]):
    """What was read of a batch, and its size in bytes; nothing yet."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.found: tuple[T, int] | None = None


class _Shared(Generic[T]):
    """What is read of each batch, once for all threads; the latest is kept.

    Parameters
    ----------
    read : callable
        From the number of a batch.
    n_bytes : callable
        Size of what was read.
    """

    def __init__(self, read: Callable[[int], T], n_bytes: Callable[[T], int]) -> None:
        self._read, self._n_bytes = read, n_bytes
        self._lock = threading.Lock()
        self._entries: OrderedDict[int, _Entry[T]] = OrderedDict()

    def get(self, number: int) -> T:
        """What is read of a batch; threads that ask at a time wait for the first."""
        with self._lock:
            entry = self._entries.setdefault(number, _Entry())
            self._entries.move_to_end(number)
        with entry.lock:
            if entry.found is not None:
                return entry.found[0]
            value = self._read(number)
            entry.found = (value, self._n_bytes(value))
        self._forget()
        return value

    def _forget(self) -> None:
        """Drop what nobody has asked for of late."""
        # A task that is cut across batches needs four where they meet.
        least = 4 * threading.active_count()
        with self._lock:
            sizes = {n: e.found[1] for n, e in self._entries.items() if e.found is not None}
            total = sum(sizes.values())
            for number in list(sizes)[: max(0, len(sizes) - least)]:
                if total <= _KEPT_BYTES:
                    break
                total -= sizes[number]
                del self._entries[number]


class PlannedRuns:
    """Runs from the manifest of a store that zoneraster built."""

    def __init__(self, source: StoredZones) -> None:
        plan = shared_snapshot(source.location, source.digest)
        self._source, self._plan = source, plan
        self.grid, self.chunks = plan.spec.grid, plan.spec.chunks
        self._chunks = {
            (c.row, c.col): c for batch in plan.batches.values() for c in of_all_layers(batch)
        }
        self._receipts = _Shared(self._read_receipts, lambda of_chunks: 500 * len(of_chunks))
        self._records = _Shared(self._read_records, lambda some: sum(a.nbytes for a in some))
        self._names = expected_receipts(plan) if source.is_burned else {}
        self._among = np.frombuffer(source.selected, np.int64) if source.selected else None

    def positions(self) -> list[tuple[int, int]]:
        """Chunks of the manifest that hold zones which are looked at."""
        if self._among is None:
            return sorted(self._chunks)
        index = self._plan.manifest.chunks_of(self._among)
        rows, cols = (index[name].to_pylist() for name in ("chunk_row", "chunk_col"))
        return sorted({*zip(rows, cols, strict=True)})

    def has_contested(self, zones: Ints) -> bool:
        """Whether one of some zones claims a pixel that another zone claims: chunks are burned."""
        for chunk in self.positions():
            planned = self._chunks[chunk]
            records = self._records.get(planned.row_group)
            if np.isin(contested_zones(self._plan, records, planned), zones).any():
                return True
        return False

    def fingerprint(self, chunk: tuple[int, int]) -> bytes:
        """Fingerprint of the plan."""
        planned = self._chunks[chunk]
        if self._source.is_burned:
            return planned.fingerprint
        # Whoever burns nothing seldom asks for it.
        records = planned.records_in(self._records.get(planned.row_group))
        return chunk_fingerprint(self._plan.spec.hash(), records)

    def planes(self, chunk: tuple[int, int], only: Ints | None = None) -> Planes:
        """Runs burned again, once the stored bytes are found to be those of the receipt.

        Raises
        ------
        CorruptStoreError
            When bytes, receipt and manifest do not agree.
        StoreError
            When the store is being changed.
        """
        try:
            return self._checked_planes(chunk, only)
        except (CorruptStoreError, FileNotFoundError):
            # Whoever plans a store anew is no damage of it.
            refuse_changed(self._source.location, self._source.digest)
            raise

    def _checked_planes(self, chunk: tuple[int, int], only: Ints | None) -> Planes:
        planned, source = self._chunks[chunk], self._source
        if source.is_burned and self._is_empty(planned):
            return Planes()
        merged = self._merged if source.are_claimed else None
        records = self._records.get(planned.row_group)
        painted, *covered = chunk_runs(
            self._plan, records, planned, merged, source.rule, only=only, among=self._among
        )
        hidden = np.zeros(painted.zone_id.size, bool)
        if self._plan.sets is not None and not source.with_sets:
            hidden |= painted.zone_id >= self._plan.sets.first
        if self._among is not None and merged is None:
            hidden |= ~np.isin(painted.zone_id, self._among)
        if hidden.any():
            painted = painted._replace(zone_id=np.where(hidden, 0, painted.zone_id))
        return Planes([painted], covered)

    def _is_empty(self, planned: BatchChunk) -> bool:
        """Whether no pixel of a chunk has a zone, once its bytes are found to be as promised."""
        chunk = (planned.row, planned.col)
        # One, or as many as there are layers at the place.
        receipts = self._receipts.get(planned.batch).get(chunk, [])
        blobs, array = self._plan.blobs, self._plan.spec.array
        if b"".join(receipt.fingerprint for receipt in receipts) != planned.fingerprint or not all(
            ledger.stored_as_promised(blobs, array, receipt) for receipt in receipts
        ):
            raise CorruptStoreError(
                f"chunk {chunk[0]}/{chunk[1]} of the zones is not as its receipt says: "
                f"{mending(self._source.location)}"
            )
        is_stored = any(receipt.nbytes for receipt in receipts)
        return not (is_stored or self._source.rule) and self._plan.spec.product == "ids"

    def _merged(self, zones: Ints) -> Ints:
        """Ids under which some zones count."""
        if not self._source.merged_by:
            return zones
        ids, ones = self._ones
        return ones[np.searchsorted(ids, zones)]

    @functools.cached_property
    def _ones(self) -> tuple[Ints, Ints]:
        """Ids of all zones, ascending, and those under which they count."""
        table, _ = self._source.table()
        ones = one_of_each(table, self._source.merged_by)
        if _digest_of(ones) != self._source.merging:
            raise StoreError(f"the zone table of {self._source.location} has changed: run again")
        ids = table["zone_id"].to_numpy().astype(np.int64)
        order = np.argsort(ids)
        return ids[order], ones[order]

    def _read_receipts(self, batch: int) -> dict[tuple[int, int], list[ChunkReceipt]]:
        name = self._names[batch]
        data = get_or_none(self._plan.blobs, name)
        if data is None:
            raise CorruptStoreError(f"receipt {name} is gone: build again, to burn its batch anew")
        table = ledger.decode_receipt(name, data)
        found: dict[tuple[int, int], list[ChunkReceipt]] = {}
        for chunk in ledger.chunk_receipts(table, with_zones=False):
            found.setdefault((chunk.row, chunk.col), []).append(chunk)
        return found

    def _read_records(self, row_group: int) -> Records:
        try:
            is_checked = self._source.is_burned
            return self._plan.manifest.records(row_group, is_checked=is_checked)
        except (OSError, pa.ArrowException) as err:
            raise CorruptStoreError(
                f"the manifest cannot be read ({err}): build again with the same zones"
            ) from err
