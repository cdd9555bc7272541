"""One batch: a pure function of the spec and the batch's manifest rows.

A task reads its row group and burns each chunk in memory. Receipts of older plans go, then the
chunks are put, then the receipt: no receipt ever says what is no longer there. Killed anywhere, it
leaves whole chunks without a receipt, and its next run writes the same bytes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from zoneraster._build.chunk import NO_ZONES, Burned, burn_chunk
from zoneraster._store import (
    BatchChunk,
    ChunkReceipt,
    Records,
    Snapshot,
    chunk_key,
    ledger,
    shared_snapshot,
)
from zoneraster.blobs import Location
from zoneraster.errors import CorruptStoreError, OverlapError
from zoneraster.lock import Fence


@dataclass(frozen=True, slots=True)
class Task:
    """What travels to a worker: a place and a few integers.

    Parameters
    ----------
    location : Location
    spec : str
        Digest of the spec, with its plan, that the task belongs to.
    token : str
        Of that plan, see `zoneraster.lock.Fence`.
    batch : int
    previous : tuple of str
        Receipts that this batch has already, of this plan or of an older one.
    """

    location: Location
    spec: str
    token: str
    batch: int
    previous: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class TaskResult:
    """What a task did: `burned` and `kept` chunks, bytes put, and its share of the work."""

    batch: int
    work: int
    burned: int
    kept: int
    nbytes: int


def _previous(task: Task, ctx: Snapshot) -> dict[bytes, ChunkReceipt]:
    """Chunks that older receipts of the batch promise, by fingerprint."""
    known = {}
    for key in task.previous:
        try:
            table = ledger.decode_receipt(key, ctx.blobs.get(key))
        except (FileNotFoundError, CorruptStoreError):
            continue  # promises nothing: its chunks are burned again
        for chunk in ledger.chunk_receipts(table):
            known[chunk.fingerprint] = chunk
    return known


def _withdraw(out: Fence, ctx: Snapshot, receipts: Sequence[str]) -> None:
    """Delete receipts that are about to become untrue."""
    for key in receipts:
        out.delete(key)
    ctx.blobs.sync(receipts)


def _burn(ctx: Snapshot, chunk: BatchChunk, batch: Records) -> Burned:
    """Burn a chunk, which must have no overlap where none is allowed."""
    crossing = ctx.crossing if ctx.spec.has_parts else NO_ZONES
    made = burn_chunk(ctx.spec, chunk.records_in(batch), chunk.row, chunk.col, ctx.sets, crossing)
    is_shared = bool(made.zones.contested.any())
    if ctx.spec.has_layers and is_shared:
        raise CorruptStoreError(
            f"zones of layer {chunk.layer} overlap in chunk {chunk.row}/{chunk.col}: please report "
            "this"
        )
    if ctx.spec.overlap == "error" and is_shared:
        # Of a plan of an older version, which did not look.
        raise OverlapError(
            f"overlap='error', but zones overlap in chunk {chunk.row}/{chunk.col}: build again "
            "with the same zones, which names them"
        )
    return made


def run_batch(task: Task) -> TaskResult:
    """Bring one batch of chunks up to date and put its receipt.

    Parameters
    ----------
    task : Task

    Returns
    -------
    TaskResult

    Raises
    ------
    StoreError
        When the plan is not the task's any more.
    """
    ctx = shared_snapshot(task.location, task.spec)
    out = Fence(task.location, ctx.blobs, task.token)
    chunks = ctx.batches[task.batch]
    name = ledger.receipt_name(task.batch, (chunk.fingerprint for chunk in chunks))
    known = _previous(task, ctx)
    receipts: list[ChunkReceipt] = []
    records: Records | None = None
    put: list[str] = []
    nbytes = 0
    for chunk in chunks:
        old = known.get(chunk.fingerprint)
        if old is not None and ledger.stored_as_promised(ctx.blobs, ctx.spec.array, old):
            receipts.append(old)
            continue
        if records is None:
            records = ctx.manifest.records(chunk.row_group)
        made = _burn(ctx, chunk, records)
        key = chunk_key(chunk.place, ctx.spec.array)
        if not put:
            _withdraw(out, ctx, [key for key in task.previous if key != name])
        put.append(key)
        if made.data:
            out.put(key, made.data)
        else:
            out.delete(key)
        nbytes += len(made.data)
        receipts.append(
            ChunkReceipt(
                chunk.row, chunk.col, chunk.fingerprint,
                len(made.data), ledger.crc32c(made.data), made.zones, chunk.layer,
            )
        )  # fmt: skip
    if put or name not in task.previous:
        ctx.blobs.sync(put)
        out.put(name, ledger.encode_receipt(receipts), synced=True)
    work = sum(chunk.work for chunk in chunks)
    kept = len(receipts) - len(put)
    return TaskResult(task.batch, work, len(put), kept, nbytes)


def reburn(ctx: Snapshot, chunk: BatchChunk) -> bytes:
    """Bytes of a chunk burned again from the manifest."""
    return _burn(ctx, chunk, ctx.manifest.records(chunk.row_group)).data
