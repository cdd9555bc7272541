"""The manifest: which zones touch which chunk, and with which edges.

`write_manifest` sweeps the grid one row of batches at a time: an STRtree over the boxes of the
parts names those that can matter there, the partition hands their edges to chunks, and the records
go to one Parquet row group per batch. A worker reads its row group and nothing else; no worker ever
holds all polygons. The *chunk index*, a small table beside it, has one row per chunk with its
fingerprint.
"""

from __future__ import annotations

import hashlib
import weakref
from types import TracebackType
from typing import BinaryIO, Self

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from zoneraster._burn import make_spans
from zoneraster._grid import Chunking, Window
from zoneraster._store.records import RECORD_SCHEMA, Records, chunk_fingerprint
from zoneraster._store.spec import MANIFEST_KEY
from zoneraster.arrays import Ints
from zoneraster.errors import CorruptStoreError, StoreError

INDEX_SCHEMA = pa.schema(
    [
        ("batch", pa.int32()),
        ("row_group", pa.int32()),
        ("chunk_row", pa.int32()),
        ("chunk_col", pa.int32()),
        ("first_record", pa.int64()),
        ("n_records", pa.int32()),
        ("work", pa.int64()),
        ("fingerprint", pa.binary(16)),
    ]
)
_ARROW = b"ARROW1"
# Of an array (layer, y, x), whose chunks are those of a layer.
LAYERS_SCHEMA = INDEX_SCHEMA.append(pa.field("layer", pa.int32()))
# Footer entry that ties a manifest and its index to the plan named in the spec.
PLAN_MARK = "zoneraster:plan"


def plan_digest(index: pa.Table) -> str:
    """Hash over the fingerprints of all chunks, hex: equal plans, equal stores."""
    digest = hashlib.blake2b(digest_size=16)
    for name in ("chunk_row", "chunk_col"):
        digest.update(index[name].to_numpy().astype("<i4").tobytes())
    digest.update(b"".join(index["fingerprint"].to_pylist()))
    return digest.hexdigest()


class _Parquet:
    """Records of a store, a row group for each batch."""

    def __init__(self, source: BinaryIO) -> None:
        self._file = pq.ParquetFile(source)

    @property
    def plan(self) -> str:
        """Digest of the plan."""
        marks = self._file.metadata.metadata or {}
        return str(marks.get(PLAN_MARK.encode(), b"").decode())

    def batch(self, number: int) -> pa.Table:
        """Records of a batch."""
        return self._file.read_row_group(number, use_threads=False)

    def zones(self) -> list[npt.NDArray[np.uint32]]:
        """Zone of each record, batch by batch."""
        groups = range(self._file.metadata.num_row_groups)
        ids = [self._file.read_row_group(i, columns=["zone_id"])["zone_id"] for i in groups]
        return [column.to_numpy() for column in ids]


class _Passing:
    """Records of one call, as `PassingWriter` has left them: Arrow, which needs no decoding."""

    def __init__(self, source: BinaryIO) -> None:
        self._file = pa.ipc.open_file(pa.BufferReader(source.read()))

    @property
    def plan(self) -> str:
        """Digest of the plan."""
        last = self._file.num_record_batches - 1
        return str(self._file.get_batch_with_custom_metadata(last)[1][PLAN_MARK].decode())

    def batch(self, number: int) -> pa.Table:
        """Records of a batch."""
        return pa.Table.from_batches([self._file.get_batch(number)])

    def zones(self) -> list[npt.NDArray[np.uint32]]:
        """Zone of each record, batch by batch."""
        numbers = range(self._file.num_record_batches - 1)
        return [self._file.get_batch(number)["zone_id"].to_numpy() for number in numbers]


def _opened(source: BinaryIO) -> _Parquet | _Passing:
    """Records in either format."""
    head = source.read(len(_ARROW))
    source.seek(0)
    return _Passing(source) if head == _ARROW else _Parquet(source)


class PassingWriter:
    """Records for one call, one record batch for each batch and an empty one with the mark.

    Parameters
    ----------
    sink : binary file
    """

    def __init__(self, sink: BinaryIO) -> None:
        self._file = pa.ipc.new_file(sink, RECORD_SCHEMA)

    def write(self, table: pa.Table) -> None:
        """A batch."""
        (batch,) = table.combine_chunks().to_batches()
        self._file.write_batch(batch)

    def mark(self, plan: str) -> None:
        """Which plan they are of."""
        nothing = pa.RecordBatch.from_pylist([], schema=RECORD_SCHEMA)
        self._file.write_batch(nothing, custom_metadata={PLAN_MARK: plan})

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()


class Manifest:
    """The manifest of a store, opened for questions; a context manager, as it holds a file.

    Parameters
    ----------
    source : binary file of the records
    index : pyarrow.Table
        The chunk index.
    chunking : Chunking
    spec_hash : bytes
        Of the spec, without its plan: what fingerprints begin with.
    touched : bool
        The store burns ``all_touched``.
    """

    def __init__(
        self,
        source: BinaryIO,
        index: pa.Table,
        *,
        chunking: Chunking,
        spec_hash: bytes,
        touched: bool = False,
    ) -> None:
        self._file = _opened(source)
        # Also when nobody closes it: threads of a pool drop theirs as they end.
        self._close = weakref.finalize(self, source.close)
        self.index = index
        self.chunking = chunking
        self.touched = touched
        self._spec_hash = spec_hash

    def close(self) -> None:
        """Close the file of the records; a second time does nothing."""
        self._close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    @property
    def plan(self) -> str:
        """Digest of the plan that the records belong to."""
        return self._file.plan

    def records(self, row_group: int, *, is_checked: bool = True) -> Records:
        """Records of one batch, which hash to the fingerprints of its chunks.

        Parameters
        ----------
        row_group : int
        is_checked : bool
            False for a manifest that nobody else has had.

        Raises
        ------
        CorruptStoreError
            When they are not what the plan was made of.
        StoreError
            After `close`.
        """
        if not self._close.alive:
            raise StoreError("this manifest is closed: open it again with open_manifest")
        try:
            records = Records.from_table(self._file.batch(row_group))
            if is_checked:
                self._check(records, row_group)
        except (pa.ArrowException, OSError, ValueError, KeyError, IndexError) as err:
            raise CorruptStoreError(
                f"row group {row_group} of the manifest cannot be read ({err}): delete "
                f"{MANIFEST_KEY} in the store, and build again with the same zones"
            ) from err
        return records

    def chunks_of(self, zones: Ints) -> pa.Table:
        """Rows of the chunk index whose chunks some zones may touch.

        Parameters
        ----------
        zones : (n,) int64
            Ids.
        """
        of_batches = self._file.zones()
        start = np.concatenate([[0], np.cumsum([ids.size for ids in of_batches])])
        is_of = np.isin(np.concatenate([*of_batches, np.zeros(0, np.uint32)]), zones)
        n_before = np.concatenate([[0], np.cumsum(is_of)])
        first = start[self.index["row_group"].to_numpy()] + self.index["first_record"].to_numpy()
        n = n_before[first + self.index["n_records"].to_numpy()] - n_before[first]
        return self.index.filter(pa.array(n > 0))

    def _check(self, records: Records, row_group: int) -> None:
        """Refuse records that the plan was not made of: a right footer does not tell."""
        chunks = self.index.filter(pc.equal(self.index["row_group"], row_group))
        for chunk in chunks.to_pylist():
            own = records.of_chunk(chunk["first_record"], chunk["n_records"])
            height = self.chunk_window(chunk["chunk_row"], chunk["chunk_col"])[2]
            made = chunk_fingerprint(self._spec_hash, own, chunk.get("layer"))
            # Kernels believe toggles, and whoever wrote the records can have made the hash too.
            if made != chunk["fingerprint"] or not own.has_toggles_within(height):
                raise CorruptStoreError(
                    f"the manifest of chunk {chunk['chunk_row']}/{chunk['chunk_col']} is not what "
                    f"the plan was made of: delete {MANIFEST_KEY} in the store, and build again "
                    "with the same zones"
                )

    def chunk_window(self, row: int, col: int) -> tuple[int, int, int, int]:
        """Corner and size of a chunk, cut to the grid: row0, col0, height, width."""
        window = self.chunking.chunk_window(row, col)
        return window.row0, window.col0, window.height, window.width

    def zones_in(self, window: Window | tuple[int, int, int, int]) -> npt.NDArray[np.uint32]:
        """Ids of the zones that claim a pixel of a window.

        Parameters
        ----------
        window : Window, or (row0, row1, col0, col1)

        Returns
        -------
        (n,) uint32, ascending
        """
        wanted = window if isinstance(window, Window) else Window(*window)
        (height, width), found = self.chunking.chunks, [np.zeros(0, np.uint32)]
        row, col = self.index["chunk_row"].to_numpy(), self.index["chunk_col"].to_numpy()
        hit = (row * height < wanted.row1) & ((row + 1) * height > wanted.row0)
        hit &= (col * width < wanted.col1) & ((col + 1) * width > wanted.col0)
        chunks = self.index.filter(pa.array(hit))
        for row_group in np.unique(chunks["row_group"].to_numpy()):
            records = self.records(int(row_group))
            for item in chunks.filter(
                pa.array(chunks["row_group"].to_numpy() == row_group)
            ).to_pylist():
                one = records.of_chunk(item["first_record"], item["n_records"])
                found.append(self._claiming(one, item["chunk_row"], item["chunk_col"], wanted))
        return np.unique(np.concatenate(found))

    def _claiming(
        self, records: Records, row: int, col: int, wanted: Window
    ) -> npt.NDArray[np.uint32]:
        """Ids of the records with a span inside the wanted window."""
        window = self.chunk_window(row, col)
        number = np.arange(records.zone_id.size)
        row_ptr, first, end, zone = make_spans(number, *records[3:], window, self.touched)
        span_row = np.repeat(np.arange(row_ptr.size - 1), np.diff(row_ptr)) + window[0]
        hit = (span_row >= wanted.row0) & (span_row < wanted.row1)
        hit &= (first + window[1] < wanted.col1) & (end + window[1] > wanted.col0)
        claiming: npt.NDArray[np.uint32] = records.zone_id[np.unique(zone[hit])]
        return claiming
