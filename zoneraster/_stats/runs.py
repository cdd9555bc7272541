"""Zones as runs, chunk by chunk, through one interface: burned again from a plan, or decoded.

Runs come in planes. The first is the array; where zones lie over each other, more of them hold what
each claims and does not own, so that every zone is met whole and every pixel once per zone.
Burning a chunk's runs again takes about a millisecond and no pixel is ever painted; decoding takes
tens of them and 64 MB. Both must give the same, so the manifest is believed only where the records
hash to the fingerprint of the receipt and the stored bytes have the receipt's checksum. Arrays that
zoneraster did not build, and layered ones, are decoded.
"""

from __future__ import annotations

import functools
import hashlib
import itertools
import json
import math
import re
import threading
import uuid
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Generic, NamedTuple, Protocol, TypeVar

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from zoneraster._build import ChunkRuns, chunk_runs
from zoneraster._grid import Chunking, Grid, Window, n_blocks
from zoneraster._stats import cut
from zoneraster._store import (
    ARRAY,
    ChunkReceipt,
    Records,
    expected_receipts,
    ledger,
    load_spec,
    mending,
    one_of_each,
    open_finished,
    read_zone_table,
    refuse_changed,
    shared_snapshot,
)
from zoneraster._values import (
    NODATA_NAMES,
    ZARR_NODES,
    OpenRaster,
    Raster,
    is_improbable,
    open_raster,
)
from zoneraster.arrays import Ints
from zoneraster.blobs import Location, get_or_none
from zoneraster.errors import CorruptStoreError, StoreError, warn

T = TypeVar("T")
# Of the manifest, kept in a process for the tasks that share a batch.
_KEPT_BYTES = 2**27

_CHUNK_KEY = re.compile(rf"^{ARRAY}/c/((?:\d+/)*\d+)$")


class Planes(NamedTuple):
    """Runs of a chunk.

    Parameters
    ----------
    painted : sequence of ChunkRuns
        What is read of it: the array, or its layers.
    covered : sequence of ChunkRuns
        What zones claim of pixels that others own: pixels of `painted` once more.
    """

    painted: Sequence[ChunkRuns] = ()
    covered: Sequence[ChunkRuns] = ()


class ZoneRuns(Protocol):
    """Zones, chunk by chunk: what the reduction knows of them."""

    grid: Grid
    chunks: tuple[int, int]

    def positions(self) -> list[tuple[int, int]]:
        """Chunk rows and columns that hold zones, ascending."""

    def fingerprint(self, chunk: tuple[int, int]) -> bytes:
        """What changes whenever the zones of a chunk do."""

    def planes(self, chunk: tuple[int, int]) -> Planes:
        """Runs of a chunk, without those layers that have no zone in it."""


class ZoneSource(Protocol):
    """Where zones come from: what travels to workers. Another source is another such record."""

    def __hash__(self) -> int:
        """Equal sources are opened once per process."""

    def open(self) -> ZoneRuns:
        """The zones, opened once per process."""

    def table(self) -> tuple[pa.Table, str]:
        """The zone table without geometries, and the name of its key column."""

    def claimed(self, table: pa.Table, merged_by: tuple[str, ...]) -> ZoneSource:
        """The zones with all that they claim, those that agree in some columns as one."""

    def said(self) -> tuple[object, ...]:
        """What decides which pixels a zone has, beside the fingerprints of chunks."""

    @property
    def are_claimed(self) -> bool:
        """Zones have all that they claim."""

    @property
    def merged_by(self) -> tuple[str, ...]:
        """Columns of the zone table: zones that agree in them count as one."""


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
    """

    location: Location
    digest: str
    is_planned: bool
    are_claimed: bool = False
    merged_by: tuple[str, ...] = ()
    merging: str = ""

    def claimed(self, table: pa.Table, merged_by: tuple[str, ...]) -> StoredZones:
        """The zones with all that they claim; the same where none claims what another owns."""
        if not self.is_planned:
            return self
        # A build that is all burned and not finished has counted nothing yet.
        known = "contested" in table.column_names
        if known and not pc.any(pc.greater(table["contested"], 0)).as_py():
            return self
        merging = _digest_of(one_of_each(table, merged_by))
        return replace(self, are_claimed=True, merged_by=merged_by, merging=merging)

    def open(self) -> ZoneRuns:
        """Runs from the manifest, or of the decoded pixels."""
        return _open(self)

    def table(self) -> tuple[pa.Table, str]:
        """The zone table of the store or beside the array.

        Empty but for a column zone_id where there is none.
        """
        found = read_zone_table(self.location)
        if self.is_planned:
            refuse_changed(self.location, self.digest)
        return found

    def said(self) -> tuple[object, ...]:
        """Whether zones are claimed, and which of them count as one."""
        return (self.are_claimed, self.merging)


def _digest_of(ones: Ints) -> str:
    return hashlib.blake2b(ones.tobytes(), digest_size=8).hexdigest()


@functools.lru_cache(maxsize=2)
def _open(source: StoredZones) -> ZoneRuns:
    return PlannedRuns(source) if source.is_planned else ArrayRuns(source.location)


def find_zones(location: Location) -> ZoneSource:
    """The zones of a store, which must be finished, or of an array.

    Raises
    ------
    StoreError
        When there is none; `IncompleteBuildError` when batches are missing.
    """
    blobs = location.blobs()
    if load_spec(location, blobs) is None:
        if all(get_or_none(blobs, name) is None for name in ZARR_NODES):
            raise StoreError(f"no zone store at {location}: build it first")
        array = StoredZones(location, uuid.uuid4().hex, is_planned=False)
        opened = array.open()
        if isinstance(opened, ArrayRuns) and opened.remark:
            warn(opened.remark)
        return array
    plan = open_finished(location, cure="finish the build first")
    return StoredZones(location, plan.spec.digest(), is_planned=True)


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
        self._chunks = {(c.row, c.col): c for batch in plan.batches.values() for c in batch}
        self._receipts = _Shared(self._read_receipts, lambda of_chunks: 500 * len(of_chunks))
        self._records = _Shared(self._read_records, lambda some: sum(a.nbytes for a in some))
        self._names = expected_receipts(plan)

    def positions(self) -> list[tuple[int, int]]:
        """Chunks of the manifest."""
        return sorted(self._chunks)

    def fingerprint(self, chunk: tuple[int, int]) -> bytes:
        """Fingerprint of the plan."""
        return self._chunks[chunk].fingerprint

    def planes(self, chunk: tuple[int, int]) -> Planes:
        """Runs burned again, once the stored bytes are found to be those of the receipt.

        Raises
        ------
        CorruptStoreError
            When bytes, receipt and manifest do not agree.
        StoreError
            When the store is being changed.
        """
        try:
            return self._checked_planes(chunk)
        except (CorruptStoreError, FileNotFoundError):
            # Whoever plans a store anew is no damage of it.
            refuse_changed(self._source.location, self._source.digest)
            raise

    def _checked_planes(self, chunk: tuple[int, int]) -> Planes:
        planned = self._chunks[chunk]
        receipt = self._receipts.get(planned.batch).get(chunk)
        if (
            receipt is None
            or receipt.fingerprint != planned.fingerprint
            or not ledger.stored_as_promised(self._plan.blobs, receipt)
        ):
            raise CorruptStoreError(
                f"chunk {chunk[0]}/{chunk[1]} of the zones is not as its receipt says: "
                f"{mending(self._source.location)}"
            )
        if not receipt.nbytes:
            return Planes()
        merged = self._merged if self._source.are_claimed else None
        records = self._records.get(planned.row_group)
        painted, *covered = chunk_runs(self._plan, records, planned, merged)
        return Planes([painted], covered)

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

    def _read_receipts(self, batch: int) -> dict[tuple[int, int], ChunkReceipt]:
        name = self._names[batch]
        data = get_or_none(self._plan.blobs, name)
        if data is None:
            raise CorruptStoreError(f"receipt {name} is gone: build again, to burn its batch anew")
        table = ledger.decode_receipt(name, data)
        # Counts of zones are many, and nobody asks for them here.
        chunks = ledger.chunk_receipts(table)
        return {(c.row, c.col): c._replace(zones=()) for c in chunks}

    def _read_records(self, row_group: int) -> Records:
        try:
            return self._plan.manifest.records(row_group)
        except (OSError, pa.ArrowException) as err:
            raise CorruptStoreError(
                f"the manifest cannot be read ({err}): build again with the same zones"
            ) from err


class ArrayRuns:
    """Runs of any integer Zarr array named `zone`, (y, x) or (layer, y, x).

    0 is no zone, and so is what the array declares as nodata.
    """

    def __init__(self, location: Location) -> None:
        self._raster, self.remark = _open_array(location)
        if self._raster.dtype.kind not in "iu":
            raise StoreError(
                f"zones of {location} are {self._raster.dtype}: they must be integers, e.g. "
                "zone.fillna(0).astype('uint32')"
            )
        if len(self._raster.dims) > 1:
            raise StoreError(
                f"zones of {location} have dimensions {(*self._raster.dims, 'y', 'x')}: "
                "(y, x) or (layer, y, x) is needed"
            )
        self.grid = self._raster.grid
        self._n_layers = self._raster.coords[0].size if self._raster.dims else 1
        shape, places = _stored_chunks(location, self._is_no_zone)
        self._depth, rows, cols = shape or (1, *self._raster.chunks[-2:])
        self.chunks = (rows, cols)
        if places is None:
            cut = Chunking(self.grid.shape, self.chunks, 1)
            depth = range(n_blocks(self._n_layers, self._depth))
            places = frozenset(itertools.product(depth, range(cut.n_rows), range(cut.n_cols)))
        self._places = places

    def positions(self) -> list[tuple[int, int]]:
        """Chunks that may hold zones in any layer."""
        return sorted({(place[1], place[2]) for place in self._places})

    def fingerprint(self, chunk: tuple[int, int]) -> bytes:
        """Identity of the stored chunks."""
        return self._raster.identity(self._window(chunk))

    def planes(self, chunk: tuple[int, int]) -> Planes:
        """Runs of the decoded pixels, layer by layer."""
        is_there = [(i // self._depth, *chunk) in self._places for i in range(self._n_layers)]
        return Planes([self._runs(chunk, i) for i, there in enumerate(is_there) if there])

    def _runs(self, chunk: tuple[int, int], layer: int) -> ChunkRuns:
        lanes = (slice(layer, layer + 1),) if self._raster.dims else ()
        window = self._window(chunk)
        pixels = self._raster.read(lanes, window).reshape(window.shape)
        if self._raster.nodata:  # neither None nor 0
            pixels = np.where(pixels == self._raster.nodata, 0, pixels)
        if pixels.dtype.kind == "i" and pixels.min() < 0:
            raise StoreError(
                f"chunk {chunk[0]}/{chunk[1]} of the zones holds {pixels.min()}: zone ids are "
                "positive, 0 is no zone"
            )
        return ChunkRuns(*cut.runs_of_pixels(pixels))

    def _is_no_zone(self, stored: object) -> bool:
        """Whether a stored number means "no zone"."""
        decoding = self._raster.decoding
        try:
            pixel = np.full((1, 1), stored, decoding.turned or decoding.stored)
        except (TypeError, ValueError, OverflowError):
            return False
        return decoding.values(pixel, self._raster.label).item() in (0, self._raster.nodata)

    def _window(self, chunk: tuple[int, int]) -> Window:
        return Chunking(self.grid.shape, self.chunks, 1).chunk_window(*chunk)


def _open_array(location: Location) -> tuple[OpenRaster, str]:
    """The array of zones, and what is assumed of it.

    Chunks that were never written hold its fill value. That is a zone like any other, unless the
    array declares it as nodata, or no id is like it.
    """
    asked = Raster(location, variable=ARRAY, raw=True)
    fill, declares, is_v2 = _fill_of(location)
    if declares or not isinstance(fill, int) or fill == 0:
        return open_raster(asked), ""
    where = f"{location}/{ARRAY}: fill_value is {fill} and no nodata is declared"
    opened = open_raster(replace(asked, nodata=math.nan))
    if opened.dtype.kind in "iu" and is_improbable(fill, opened.dtype):
        opened = open_raster(replace(asked, nodata=fill))
        return opened, f"{where}: taken for no zone; an attribute nodata={fill} says so for good"
    # xarray makes it nodata in this format.
    remark = f"{where}: taken for zone {fill}; an attribute nodata={fill} makes it no zone"
    return opened, remark if is_v2 else ""


def _fill_of(location: Location) -> tuple[object, bool, bool]:
    """Fill value of an array of zones, whether it declares nodata, and is of format 2."""
    blobs = location.blobs()
    try:
        said = json.loads(get_or_none(blobs, f"{ARRAY}/zarr.json") or b"null")
        is_v2 = said is None
        if not is_v2:
            attributes = said.get("attributes", {})
        else:
            said = json.loads(get_or_none(blobs, f"{ARRAY}/.zarray") or b"{}")
            attributes = json.loads(get_or_none(blobs, f"{ARRAY}/.zattrs") or b"{}")
        # GDAL declares nodata by the fill value alone.
        names = {str(name).lower() for name in attributes}
        return said.get("fill_value"), bool(names & {*NODATA_NAMES, "_crs"}), is_v2
    except (ValueError, AttributeError, TypeError):
        return None, True, False


def _stored_chunks(
    location: Location, is_no_zone: Callable[[object], bool]
) -> tuple[tuple[int, int, int] | None, frozenset[tuple[int, int, int]] | None]:
    """Shape of the stored objects of a Zarr v3 array, (layers, rows, cols), and which hold zones.

    None for what is not known of other formats and key encodings; and any chunk may hold zones
    where one that is not stored does, as `is_no_zone` says of the fill value, or where nothing can
    be listed.
    """
    blobs = location.blobs()
    try:
        said = json.loads(blobs.get(f"{ARRAY}/zarr.json"))
        shape = tuple(said["chunk_grid"]["configuration"]["chunk_shape"])
        encoding, fill = said["chunk_key_encoding"], said["fill_value"]
    except (FileNotFoundError, ValueError, KeyError, TypeError):
        return None, None
    if encoding.get("name") != "default" or encoding["configuration"].get("separator") != "/":
        return None, None
    flat = len(shape) == 2
    depth, rows, cols = (1, *shape) if flat else shape
    if not is_no_zone(fill):
        return (depth, rows, cols), None
    try:
        keys = [_CHUNK_KEY.match(key) for key, _ in blobs.list(f"{ARRAY}/c")]
    except (PermissionError, NotImplementedError):
        return (depth, rows, cols), None
    found = [tuple(map(int, match[1].split("/"))) for match in keys if match]
    places = frozenset((0, *place) if flat else place for place in found)
    return (depth, rows, cols), places  # type: ignore[return-value]
