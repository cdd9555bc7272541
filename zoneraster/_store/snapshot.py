"""What fits together in a store: spec, plan, manifest and ledger of one moment."""

from __future__ import annotations

import functools
import itertools
import json
import threading
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from zoneraster._store.ids import as_text
from zoneraster._store.ledger import LEDGER, parse_receipt_name, receipt_name
from zoneraster._store.manifest import (
    INDEX_SCHEMA,
    LAYERS_SCHEMA,
    PLAN_MARK,
    Manifest,
    plan_digest,
)
from zoneraster._store.parquet import get_table
from zoneraster._store.records import Records
from zoneraster._store.sets import ZoneSets, read_sets
from zoneraster._store.spec import INDEX_KEY, MANIFEST_KEY, PLAN_KEY, load_spec, require_spec
from zoneraster._store.zarr_meta import parse_chunk_key
from zoneraster._store.zone_table import read_zone_ids, require_zone_table
from zoneraster.arrays import Ints
from zoneraster.blobs import Blobs, Location, file_state
from zoneraster.errors import IncompleteBuildError, StoreBusyError, StoreError, name_some, told_as

# Requests at a time, for names that cannot be listed.
_ASKED_AT_ONCE = 16


def load_index(blobs: Blobs) -> pa.Table:
    """The chunk index of a store's plan."""
    with told_as(StoreError, f"{INDEX_KEY} cannot be read", "build again with the same zones"):
        table = get_table(blobs, INDEX_KEY)
        is_known = table.schema in (INDEX_SCHEMA, LAYERS_SCHEMA)
        if not is_known or any(column.null_count for column in table.columns):
            raise TypeError(f"columns {table.schema.names} are none of a chunk index")
        return table


def plan_is_whole(blobs: Blobs, digest: str) -> bool:
    """Manifest, chunk index and what was said of them are there, and of the plan of the spec."""
    if not digest:
        return False
    try:
        with blobs.open(MANIFEST_KEY) as file:
            marks = pq.ParquetFile(file).metadata.metadata or {}
        said = json.loads(blobs.get(PLAN_KEY))
        return (
            isinstance(said, dict)
            and said.get("plan") == digest
            and marks.get(PLAN_MARK.encode(), b"").decode() == digest
            and plan_digest(load_index(blobs)) == digest
        )
    except (pa.ArrowException, StoreError, OSError, ValueError, RecursionError):
        return False


class BatchChunk(NamedTuple):
    """A row of the chunk index: a chunk, or a chunk of a layer where there are some."""

    batch: int
    row_group: int
    row: int
    col: int
    first_record: int
    n_records: int
    work: int
    fingerprint: bytes
    layer: int | None = None

    @property
    def place(self) -> tuple[int, ...]:
        """Row and column, with a layer before them where there are some."""
        return (self.row, self.col) if self.layer is None else (self.layer, self.row, self.col)

    def records_in(self, batch: Records) -> Records:
        """The chunk's own among the records of its batch."""
        return batch.of_chunk(self.first_record, self.n_records)


def of_all_layers(chunks: Iterable[BatchChunk]) -> list[BatchChunk]:
    """Chunks of a batch, those of all layers at a place as one, with the records of all."""
    found = []
    for _, own in itertools.groupby(chunks, lambda chunk: (chunk.row, chunk.col)):
        first, *others = own
        for other in others:
            first = first._replace(
                n_records=first.n_records + other.n_records,
                work=first.work + other.work,
                fingerprint=first.fingerprint + other.fingerprint,
            )
        found.append(first._replace(layer=None))
    return found


def _batches(index: pa.Table) -> dict[int, tuple[BatchChunk, ...]]:
    """Chunks of a chunk index, by batch."""
    rows = (BatchChunk(*row) for row in zip(*index.to_pydict().values(), strict=True))
    return {b: tuple(c) for b, c in itertools.groupby(rows, lambda row: row.batch)}


class Snapshot:
    """What all tasks of a plan share in one process; files are opened once per thread."""

    def __init__(self, location: Location, digest: str) -> None:
        self._location, self._blobs = location, location.blobs()
        self.spec = require_spec(location, self.blobs)
        if self.spec.digest() != digest:
            raise _changed(location)
        self.index = load_index(self.blobs)
        if plan_digest(self.index) != self.spec.plan:
            raise _changed(location)
        self.batches = _batches(self.index)
        self._local = threading.local()

    @property
    def blobs(self) -> Blobs:
        """The store's bytes, through a client whose credentials are fresh."""
        return self._blobs if self._location.is_local else self._location.blobs()

    @functools.cached_property
    def sets(self) -> ZoneSets | None:
        """Sets of zones that share pixels, where pixels stand for them."""
        if not self.spec.has_sets:
            return None
        sets, plan = read_sets(self.blobs)
        if plan != self.spec.plan:
            raise _changed(self._location)
        return sets

    @functools.cached_property
    def crossing(self) -> Ints:
        """Ids of the zones whose rings cross themselves, (n,) int64."""
        with told_as(StoreError, f"{PLAN_KEY} cannot be read", "build again with the same zones"):
            said = json.loads(self.blobs.get(PLAN_KEY))
            plan, keys = said["plan"], [str(key) for key in said.get("invalid", ())]
        if plan != self.spec.plan:
            raise _changed(self._location)
        if not keys:
            return np.zeros(0, np.int64)
        data = require_zone_table(self._location, self.blobs, self.spec)
        zones = read_zone_ids(self._location, self.spec, data)
        is_one = pc.is_in(as_text(zones["key"]), pa.array(keys, pa.large_string()))
        ids: Ints = zones["zone_id"].filter(is_one).to_numpy().astype(np.int64)
        return ids

    @property
    def manifest(self) -> Manifest:
        """The open manifest of the calling thread, opened anew once it is written anew."""
        state: object = self.blobs
        if self._location.is_local and not self._location.is_zip:
            state = file_state(Path(self._location.url) / MANIFEST_KEY)
        seen, opened = getattr(self._local, "manifest", (None, None))
        if opened is None or seen != state:
            opened = self.open_manifest()
            self._local.manifest = (state, opened)
        return opened

    def open_manifest(self) -> Manifest:
        """A manifest of the caller's own, to close when it is done with."""
        opened = Manifest(
            self.blobs.open(MANIFEST_KEY),
            self.index,
            chunking=self.spec.chunking,
            spec_hash=self.spec.hash(),
            touched=self.spec.all_touched,
        )
        if opened.plan != self.spec.plan:
            raise _changed(self._location)
        return opened


@functools.lru_cache(maxsize=2)
def shared_snapshot(location: Location, digest: str) -> Snapshot:
    """The shared context of a plan, opened once per process."""
    return Snapshot(location, digest)


def refuse_changed(location: Location, digest: str) -> None:
    """Raise where a store no longer has the plan that it was opened with.

    Raises
    ------
    StoreBusyError
    """
    spec = load_spec(location, location.blobs())
    if spec is None or spec.digest() != digest:
        raise _changed(location)


def _changed(location: Location) -> StoreBusyError:
    return StoreBusyError(
        f"{location} was planned anew while it was read or built: run the same again once its "
        "build has finished"
    )


def expected_receipts(ctx: Snapshot) -> dict[int, str]:
    """Receipt name of every batch of the plan."""
    return _receipt_names(ctx.batches)


def _receipt_names(batches: Mapping[int, Sequence[BatchChunk]]) -> dict[int, str]:
    return {
        batch: receipt_name(batch, (chunk.fingerprint for chunk in chunks))
        for batch, chunks in batches.items()
    }


def found_receipts(blobs: Blobs, expected: Mapping[int, str]) -> dict[int, list[str]]:
    """Receipts in the ledger, by batch.

    Parameters
    ----------
    blobs : Blobs
    expected : mapping of int to str
        Name of the receipt of each batch of the plan: asked for one by one where nobody lists the
        names that there are.
    """
    found: dict[int, list[str]] = {}
    try:
        names = [key for key, _ in blobs.list(LEDGER)]
    except (PermissionError, NotImplementedError):
        with ThreadPoolExecutor(_ASKED_AT_ONCE) as pool:
            there = pool.map(blobs.has, expected.values())
            names = list(itertools.compress(expected.values(), there))
    for key in names:
        batch = parse_receipt_name(key)
        if batch is not None:
            found.setdefault(batch, []).append(key)
    return found


def withdraw_unexpected(blobs: Blobs, index: pa.Table) -> None:
    """Delete the receipts of other plans, where nothing is known of these any more.

    Theirs may be chunks of another shape under the same keys.
    """
    expected = set(_receipt_names(_batches(index)).values())
    for key, _ in list(blobs.list(LEDGER)):
        if parse_receipt_name(key) is not None and key not in expected:
            blobs.delete(key)


def is_done(batch: int, expected: Mapping[int, str], have: Mapping[int, Sequence[str]]) -> bool:
    """The ledger has the receipt that the plan asks for."""
    return expected[batch] in have.get(batch, ())


def refuse_missing(
    expected: Mapping[int, str],
    have: Mapping[int, Sequence[str]],
    location: Location,
    *,
    cure: str,
) -> None:
    """Raise unless every batch of the plan has its receipt.

    Raises
    ------
    IncompleteBuildError
        Naming the batches, and the cure.
    """
    missing = [b for b in sorted(expected) if not is_done(b, expected, have)]
    if missing:
        raise IncompleteBuildError(
            f"{len(missing):,} of {len(expected):,} batches of {location} have no receipt "
            f"(batches {name_some(missing)}): {cure}"
        )


def open_finished(location: Location, *, cure: str) -> Snapshot:
    """The context of a store's present plan, all of which is burned.

    Raises
    ------
    StoreError
        When there is none; `IncompleteBuildError` when batches are missing, with the cure.
    """
    plan = open_snapshot(location)
    expected = expected_receipts(plan)
    refuse_missing(expected, found_receipts(plan.blobs, expected), location, cure=cure)
    return plan


def mending(location: Location) -> str:
    """How chunks that are not as their receipts say are found and burned anew.

    Elsewhere than on local disk a build believes receipts, unless it is told to compare.
    """
    how = "" if location.is_local else " with check=True"
    return f"run zoneraster verify, and build again{how}"


def open_snapshot(location: Location) -> Snapshot:
    """The context of a store's present plan."""
    blobs = location.blobs()
    spec = require_spec(location, blobs)
    if not plan_is_whole(blobs, spec.plan):
        raise StoreError(
            f"the plan of {location} is not whole: wait for the build that is planning, or build "
            "again with the same zones"
        )
    return shared_snapshot(location, spec.digest())


def chunks_fit(blobs: Blobs, array: str, *, n_dims: int) -> bool:
    """All chunks of an array, of which there are some, are those of one of so many dimensions.

    So they are said to be where the place lists no keys, as keys do not get in each other's way.
    """
    try:
        places = [parse_chunk_key(key) for key, _ in blobs.list(f"{array}/c")]
    except (PermissionError, NotImplementedError):
        return True
    return {len(place) for place in places if place is not None} == {n_dims}


def stray_chunks(ctx: Snapshot) -> list[str]:
    """Chunk keys that the plan does not know; none where the place lists no keys."""
    planned = {chunk.place for chunks in ctx.batches.values() for chunk in chunks}
    stray: list[str] = []
    try:
        keys = [key for key, _ in ctx.blobs.list(f"{ctx.spec.array}/c")]
    except (PermissionError, NotImplementedError):
        return stray
    for key in keys:
        place = parse_chunk_key(key)
        if place is not None and place not in planned:
            stray.append(key)
    return stray
