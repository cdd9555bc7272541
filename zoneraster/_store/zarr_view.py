"""A finished store as zarr reads it: pixels of one plan, or an error.

xarray opens lazily: pixels are read long after a store was opened, when an update may have begun to
replace its chunks one by one. So each chunk is compared with its receipt as it is read, and there
is neither a mixture of two plans nor a chunk that is missing and reads as 0.
"""

from __future__ import annotations

import asyncio
import functools
from collections.abc import AsyncIterator, Iterable
from typing import TYPE_CHECKING, Any

from zoneraster._store import ledger
from zoneraster._store.snapshot import (
    Snapshot,
    expected_receipts,
    mending,
    refuse_changed,
    shared_snapshot,
)
from zoneraster._store.zarr_meta import parse_chunk_key
from zoneraster.blobs import Location, get_or_none
from zoneraster.errors import CorruptStoreError, StoreError

if TYPE_CHECKING:
    from zarr.abc.store import ByteRequest, Store
    from zarr.core.buffer import Buffer, BufferPrototype


class PlanBytes:
    """Bytes of a store by key, as a plan has them.

    Parameters
    ----------
    location : Location
    digest : str
        Of the spec with its plan.
    """

    def __init__(self, location: Location, digest: str) -> None:
        self._location, self._digest = location, digest

    @property
    def _plan(self) -> Snapshot:
        return shared_snapshot(self._location, self._digest)

    def get(self, key: str) -> bytes | None:
        """Bytes of a key; None where there are none.

        Raises
        ------
        CorruptStoreError
            For a chunk that is not as its receipt says.
        StoreError
            When the store is being changed.
        """
        place = parse_chunk_key(key)
        if place is None:
            return get_or_none(self._location.blobs(), key)
        receipt = _receipts_of(self._location, self._digest).get(place)
        if receipt is None:
            return None
        data = get_or_none(self._plan.blobs, key)
        if receipt.agrees(data or b""):
            return data
        refuse_changed(self._location, self._digest)
        raise CorruptStoreError(
            f"chunk {key} of {self._location} is not as its receipt says: {mending(self._location)}"
        )


@functools.lru_cache(maxsize=2)
def _receipts_of(location: Location, digest: str) -> dict[tuple[int, ...], ledger.ChunkReceipt]:
    """What every chunk of a plan holds; counts of zones left out."""
    plan = shared_snapshot(location, digest)
    found: dict[tuple[int, ...], ledger.ChunkReceipt] = {}
    for name in expected_receipts(plan).values():
        try:
            table = ledger.decode_receipt(name, plan.blobs.get(name))
        except FileNotFoundError:
            refuse_changed(location, digest)
            raise
        chunks = ledger.chunk_receipts(table, with_zones=False)
        found |= {chunk.place: chunk for chunk in chunks}
    return found


def zarr_view(location: Location, digest: str) -> Store:
    """A read-only store of zarr, which can be pickled and is read by any number of threads."""
    view: Store = _view_class()(location, digest)
    return view


@functools.cache
def _view_class() -> type[Any]:  # Any: the class below
    """The class of views, made when zarr is needed: it is slow to import."""
    from zarr.abc.store import Store  # noqa: PLC0415

    class View(Store):
        supports_writes = supports_deletes = supports_listing = False

        def __init__(self, location: Location, digest: str) -> None:
            super().__init__(read_only=True)
            self._place, self._bytes = (location, digest), PlanBytes(location, digest)

        def __reduce__(self) -> tuple[Any, ...]:
            return zarr_view, self._place

        def __dask_tokenize__(self) -> tuple[str, str]:
            return self._place[0].url, self._place[1]

        def __eq__(self, other: object) -> bool:
            return isinstance(other, View) and other._place == self._place

        __hash__ = None  # type: ignore[assignment]

        def __str__(self) -> str:
            return str(self._place[0])

        async def get(
            self, key: str, prototype: BufferPrototype, byte_range: ByteRequest | None = None
        ) -> Buffer | None:
            data = await asyncio.to_thread(self._bytes.get, key)
            return None if data is None else prototype.buffer.from_bytes(_part(data, byte_range))

        async def get_partial_values(
            self,
            prototype: BufferPrototype,
            key_ranges: Iterable[tuple[str, ByteRequest | None]],
        ) -> list[Buffer | None]:
            return [await self.get(key, prototype, wanted) for key, wanted in key_ranges]

        async def exists(self, key: str) -> bool:
            return await asyncio.to_thread(self._bytes.get, key) is not None

        async def set(self, key: str, value: Buffer) -> None:
            raise StoreError(f"{self} is opened for reading: zoneraster.build changes a store")

        async def delete(self, key: str) -> None:
            raise StoreError(f"{self} is opened for reading: zoneraster.build changes a store")

        def list(self) -> AsyncIterator[str]:
            raise NotImplementedError

        def list_prefix(self, prefix: str) -> AsyncIterator[str]:
            raise NotImplementedError

        def list_dir(self, prefix: str) -> AsyncIterator[str]:
            raise NotImplementedError

    return View


def _part(data: bytes, wanted: ByteRequest | None) -> bytes:
    """The bytes that are wanted of some."""
    start, stop = getattr(wanted, "start", 0), getattr(wanted, "end", len(data))
    start = getattr(wanted, "offset", start)
    suffix = getattr(wanted, "suffix", None)
    return data[start:stop] if suffix is None else data[max(0, len(data) - suffix) :]
