"""The ledger: what is done. One immutable receipt per batch, put after the batch's chunks.

A receipt's name holds the batch number and a hash of the fingerprints of its chunks, so that one
listing tells which batches of a plan are done; its rows tell what bytes to expect where.
"""

from __future__ import annotations

import hashlib
import io
import re
from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

import google_crc32c
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from zoneraster._store.zarr_meta import chunk_key
from zoneraster.arrays import Floats, Ints
from zoneraster.blobs import PRIVATE, Blobs
from zoneraster.errors import CorruptStoreError

LEDGER = f"{PRIVATE}ledger/"
_NAME = re.compile(r"(\d+)-[0-9a-f]{16}\.parquet")
SCHEMA = pa.schema(
    [
        ("chunk_row", pa.int32()),
        ("chunk_col", pa.int32()),
        ("fingerprint", pa.binary(16)),
        ("nbytes", pa.int64()),
        ("crc32c", pa.uint32()),
        ("zone_id", pa.uint32()),
        ("claimed", pa.int64()),
        ("owned", pa.int64()),
        ("contested", pa.int64()),
        ("area_m2", pa.float64()),
    ]
)
# Of an array (layer, y, x).
LAYERS_SCHEMA = SCHEMA.append(pa.field("layer", pa.int32()))


class ZoneCounts(NamedTuple):
    """Pixels of the zones of a chunk, by ascending id, and what they own in square metres: (n,)."""

    zone_id: Ints
    claimed: Ints
    owned: Ints
    contested: Ints
    area_m2: Floats


_KINDS = (np.int64, np.int64, np.int64, np.int64, np.float64)
NO_COUNTS = ZoneCounts._make(np.zeros(0, kind) for kind in _KINDS)
# A chunk whose zones have no pixel has a row too.
_NO_ZONE = ZoneCounts._make(np.zeros(1, kind) for kind in _KINDS)


class ChunkReceipt(NamedTuple):
    """What one chunk holds.

    Parameters
    ----------
    row, col : int
    fingerprint : bytes
    nbytes : int
        Stored bytes; 0 when no pixel is owned and so nothing is stored.
    crc32c : int
        Of the stored bytes.
    zones : ZoneCounts
    layer : int or None
        Where there are layers, in which the chunk is.
    """

    row: int
    col: int
    fingerprint: bytes
    nbytes: int
    crc32c: int
    zones: ZoneCounts
    layer: int | None = None

    @property
    def place(self) -> tuple[int, ...]:
        """Row and column, with a layer before them where there are some."""
        return (self.row, self.col) if self.layer is None else (self.layer, self.row, self.col)

    def agrees(self, data: bytes) -> bool:
        """The bytes are those of the receipt."""
        return len(data) == self.nbytes and crc32c(data) == self.crc32c


def crc32c(data: bytes) -> int:
    """CRC-32C (Castagnoli) of bytes."""
    return int(google_crc32c.value(data))


def receipt_name(batch: int, fingerprints: Iterable[bytes]) -> str:
    """Key of the receipt of a batch whose chunks have these fingerprints."""
    digest = hashlib.blake2b(b"".join(fingerprints), digest_size=8).hexdigest()
    return f"{LEDGER}{batch}-{digest}.parquet"


def parse_receipt_name(key: str) -> int | None:
    """Batch number in a receipt's key; None for files that others left in the ledger."""
    match = _NAME.fullmatch(key.removeprefix(LEDGER))
    return int(match[1]) if match else None


def encode_receipt(chunks: Sequence[ChunkReceipt]) -> bytes:
    """Parquet bytes of a receipt, one row per chunk and zone; equal content, equal bytes."""
    zones = [chunk.zones if chunk.zones.zone_id.size else _NO_ZONE for chunk in chunks]
    times = pa.array(np.repeat(np.arange(len(chunks)), [own.zone_id.size for own in zones]))
    of_chunks = zip(*(chunk[:5] for chunk in chunks), strict=True)
    columns = [
        *(pa.array(c, field.type).take(times) for c, field in zip(of_chunks, SCHEMA, strict=False)),
        *map(np.concatenate, zip(*zones, strict=True)),
    ]
    schema = SCHEMA
    if any(chunk.layer is not None for chunk in chunks):
        schema = LAYERS_SCHEMA
        columns.append(pa.array([chunk.layer for chunk in chunks], pa.int32()).take(times))
    table = pa.Table.from_arrays(
        [pa.array(c, field.type) for c, field in zip(columns, schema, strict=True)], schema=schema
    )
    sink = io.BytesIO()
    pq.write_table(table, sink, compression="zstd", write_statistics=False)
    return sink.getvalue()


def decode_receipt(key: str, data: bytes) -> pa.Table:
    """Arrow table of a receipt.

    Raises
    ------
    CorruptStoreError
        When the bytes are no receipt.
    """
    try:
        # Receipts are small, and read many at once: a pool of threads costs more than it saves.
        table = pq.ParquetFile(pa.BufferReader(data)).read(use_threads=False)
    except (pa.ArrowException, OSError) as err:
        reason = str(err)
    else:
        if table.schema.equals(SCHEMA) or table.schema.equals(LAYERS_SCHEMA):
            return table
        reason = f"its columns are {', '.join(map(str, table.schema))}"
    raise CorruptStoreError(
        f"receipt {key} cannot be read ({reason}): delete it and build again, "
        "its batch is then burned anew"
    )


def chunk_starts(table: pa.Table) -> Ints:
    """Rows of receipts at which another chunk begins, (m,) int64."""
    names = [name for name in ("chunk_row", "chunk_col", "layer") if name in table.column_names]
    begins = np.zeros(table.num_rows, bool)
    begins[:1] = True
    for name in names:
        begins[1:] |= np.diff(table[name].to_numpy()) != 0
    return np.flatnonzero(begins)


def chunk_receipts(table: pa.Table, *, with_zones: bool = True) -> Iterator[ChunkReceipt]:
    """Chunks of a receipt's table, in its order; without zones quicker, and in less memory."""
    if not table.num_rows:
        return
    starts = chunk_starts(table)
    counts = [column.to_numpy() for column in table.columns[5:10]] if with_zones else []
    of_chunks = list(table.select(range(5)).take(pa.array(starts)).to_pydict().values())
    layers: list[int | None] = [None] * starts.size
    if "layer" in table.column_names:
        layers = table["layer"].take(pa.array(starts)).to_pylist()
    chunks = zip(*of_chunks, layers, starts, [*starts[1:], table.num_rows], strict=True)
    for *of_chunk, layer, a, b in chunks:
        if not with_zones:
            yield ChunkReceipt._make((*of_chunk, NO_COUNTS, layer))
            continue
        own = slice(a if counts[0][a] else a + 1, b)
        zones = ZoneCounts._make(
            column[own].astype(kind) for column, kind in zip(counts, _KINDS, strict=True)
        )
        yield ChunkReceipt._make((*of_chunk, zones, layer))


def stored_as_promised(blobs: Blobs, array: str, chunk: ChunkReceipt) -> bool:
    """A store's array holds exactly the bytes of a receipt (or nothing, where it says so)."""
    try:
        return chunk.agrees(blobs.get(chunk_key(chunk.place, array)))
    except FileNotFoundError:
        return chunk.nbytes == 0
