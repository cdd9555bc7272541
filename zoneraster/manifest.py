"""The manifest: which zones touch which chunk, and with which edges.

`write_manifest` sweeps the grid one row of batches at a time: an STRtree over the boxes of the
parts names those that can matter there, the partition hands their edges to chunks, and the records
go to one Parquet row group per batch. A worker reads its row group and nothing else; no worker ever
holds all polygons. The *chunk index*, a small table beside it, has one row per chunk with its
fingerprint.
"""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import BinaryIO, NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq
import shapely

from zoneraster import burn, partition
from zoneraster.windows import Chunking, Window
from zoneraster.zones import Rings

_Ints = npt.NDArray[np.int64]
_Floats = npt.NDArray[np.float64]

RECORD_SCHEMA = pa.schema(
    [
        ("chunk_row", pa.int32()),
        ("chunk_col", pa.int32()),
        ("zone_id", pa.uint32()),
        ("full", pa.bool_()),
        ("edges", pa.list_(pa.float64())),
        ("toggles", pa.list_(pa.int32())),
    ]
)
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
# Footer entry that ties a manifest and its index to the plan named in the spec.
PLAN_MARK = "zoneraster:plan"
# Work of a chunk in units of one crossing: what it costs whatever it holds (encode, put, receipt).
_WORK_PER_CHUNK = 2_000


class Records(NamedTuple):
    """Records of some chunks in painting order, as flat arrays (see `partition.partition`)."""

    chunk_row: npt.NDArray[np.int32]
    chunk_col: npt.NDArray[np.int32]
    zone_id: npt.NDArray[np.uint32]
    full: npt.NDArray[np.bool_]
    edge_ptr: _Ints
    edges: _Floats
    toggle_ptr: _Ints
    toggles: npt.NDArray[np.int32]

    def of_chunk(self, first: int, n: int) -> Records:
        """The records ``first`` to ``first + n``, arrays shared."""
        s = slice(first, first + n)
        e, t = self.edge_ptr[first : first + n + 1], self.toggle_ptr[first : first + n + 1]
        return Records(
            self.chunk_row[s], self.chunk_col[s], self.zone_id[s], self.full[s],
            e - e[0], self.edges[e[0] : e[-1]], t - t[0], self.toggles[t[0] : t[-1]],
        )  # fmt: skip

    def to_table(self) -> pa.Table:
        """Arrow table of `RECORD_SCHEMA`."""
        edges = pa.ListArray.from_arrays(
            pa.array((self.edge_ptr * 4).astype(np.int32)), pa.array(self.edges.reshape(-1))
        )
        toggles = pa.ListArray.from_arrays(
            pa.array(self.toggle_ptr.astype(np.int32)), pa.array(self.toggles)
        )
        columns = [self.chunk_row, self.chunk_col, self.zone_id, self.full, edges, toggles]
        return pa.Table.from_arrays([pa.array(c) for c in columns], schema=RECORD_SCHEMA)

    @classmethod
    def from_table(cls, table: pa.Table) -> Records:
        """Inverse of `to_table`."""
        edges = table["edges"].combine_chunks()
        toggles = table["toggles"].combine_chunks()
        return cls(
            table["chunk_row"].to_numpy(),
            table["chunk_col"].to_numpy(),
            table["zone_id"].to_numpy(),
            table["full"].to_numpy(),
            edges.offsets.to_numpy().astype(np.int64) // 4,
            edges.values.to_numpy(zero_copy_only=True).reshape(-1, 4),
            toggles.offsets.to_numpy().astype(np.int64),
            toggles.values.to_numpy(zero_copy_only=True),
        )


class Slab(NamedTuple):
    """One batch row of the plan: records sorted by batch and chunk, and where each chunk is."""

    records: Records
    batch: npt.NDArray[np.int32]
    first: _Ints
    work: _Ints


@dataclass(frozen=True, slots=True)
class ManifestInput:
    """What the manifest is made of.

    Parameters
    ----------
    rings : Rings
    zone_id : (n_zones,) uint32
    paint_rank : (n_zones,) int64
        Zones are painted in ascending rank.
    chunking : Chunking
    touched : bool
    spec_hash : bytes
        Enters every fingerprint.
    """

    rings: Rings
    zone_id: npt.NDArray[np.uint32]
    paint_rank: _Ints
    chunking: Chunking
    touched: bool
    spec_hash: bytes


def part_boxes(rings: Rings) -> npt.NDArray[np.float64]:
    """Bounding boxes of the parts, (n_parts, 4) float64: u min, v min, u max, v max, pixels."""
    if rings.part_zone.size == 0:
        return np.empty((0, 4), np.float64)
    first = rings.ring_offsets[rings.part_offsets[:-1]]
    return np.stack(
        [
            np.minimum.reduceat(rings.u, first),
            np.minimum.reduceat(rings.v, first),
            np.maximum.reduceat(rings.u, first),
            np.maximum.reduceat(rings.v, first),
        ],
        axis=1,
    )


def _sorted_records(
    source: ManifestInput, parts: _Ints, rows: tuple[int, int]
) -> tuple[Records, npt.NDArray[np.int32]]:
    """Records of one row of batches, and the batch of each."""
    rings, cut = source.rings, source.chunking
    width = cut.shape[1]
    edges, offsets = partition.edges_in_rows(
        rings.u, rings.v, rings.ring_offsets, rings.part_offsets, parts, *rows, source.touched
    )
    part, chunk, full, edge_ptr, edge_index, toggle_ptr, toggles = partition.partition(
        edges, offsets, *rows, width, *cut.chunks, source.touched
    )
    row = (rows[0] // cut.chunks[0] + chunk // cut.n_cols).astype(np.int32)
    col = (chunk % cut.n_cols).astype(np.int32)
    batch = np.asarray(cut.batch_of(row, col), dtype=np.int32)
    # Stable: within a chunk the parts stay in painting order.
    order = np.lexsort((chunk, batch))
    edge_ptr, edges, toggle_ptr, toggles = partition.gather_records(
        order, edge_ptr, edge_index, edges, toggle_ptr, toggles
    )
    zone_id = source.zone_id[rings.part_zone[parts[part[order]]]]
    records = Records(
        row[order], col[order], zone_id, full[order], edge_ptr, edges, toggle_ptr, toggles
    )
    return records, batch[order]


def _crossings(records: Records, chunk_height: int) -> _Ints:
    """Rows of its chunk that each record's edges cross, the measure of its work, (n,) int64."""
    top = np.repeat(records.chunk_row.astype(np.float64) * chunk_height, np.diff(records.edge_ptr))
    first = np.maximum(np.ceil(records.edges[:, 1] - 0.5), top)
    end = np.minimum(np.ceil(records.edges[:, 3] - 0.5), top + chunk_height)
    total = np.concatenate([[0], np.cumsum(np.maximum(end - first, 1.0).astype(np.int64))])
    counts: _Ints = total[records.edge_ptr[1:]] - total[records.edge_ptr[:-1]]
    return counts


def make_slab(source: ManifestInput, tree: shapely.STRtree, batch_row: int) -> Slab:
    """Plan one row of batches."""
    cut = source.chunking
    rows_per_batch = cut.chunks[0] * cut.batch
    row0 = batch_row * rows_per_batch
    row1 = min(row0 + rows_per_batch, cut.shape[0])
    hits = tree.query(shapely.box(-1.0, row0 - 1.0, cut.shape[1] + 1.0, row1 + 1.0))
    rank = source.paint_rank[source.rings.part_zone[hits]]
    parts = hits[np.lexsort((hits, rank))].astype(np.int64)
    records, batch = _sorted_records(source, parts, (row0, row1))
    if batch.size == 0:
        return Slab(records, batch, np.zeros(0, np.int64), np.zeros(0, np.int64))
    new = np.flatnonzero((np.diff(records.chunk_row) != 0) | (np.diff(records.chunk_col) != 0))
    first = np.concatenate([[0], new + 1]).astype(np.int64)
    work = np.add.reduceat(_crossings(records, cut.chunks[0]), first) + _WORK_PER_CHUNK
    return Slab(records, batch, first, work.astype(np.int64))


def chunk_fingerprint(spec_hash: bytes, records: Records) -> bytes:
    """Hash of everything that decides a chunk's bytes: 16 bytes, BLAKE2b.

    Parameters
    ----------
    spec_hash : bytes
    records : Records
        Those of one chunk, in painting order.
    """
    digest = hashlib.blake2b(spec_hash, digest_size=16)
    digest.update(np.array([records.chunk_row[0], records.chunk_col[0]], "<i4").tobytes())
    for array in (records.zone_id, records.full, records.edge_ptr, records.toggle_ptr):
        digest.update(np.ascontiguousarray(array).tobytes())
    digest.update(np.ascontiguousarray(records.edges).data)
    digest.update(np.ascontiguousarray(records.toggles).data)
    return digest.digest()


def _index_of(slab: Slab, spec_hash: bytes, row_group: int) -> pa.Table:
    """Chunk index rows of a slab whose first batch goes to `row_group`."""
    records, first = slab.records, slab.first
    end = np.append(first[1:], records.zone_id.size)
    prints = [
        chunk_fingerprint(spec_hash, records.of_chunk(int(a), int(b - a)))
        for a, b in zip(first, end, strict=True)
    ]
    batch = slab.batch[first]
    starts = np.concatenate([[True], np.diff(batch) != 0])
    number = np.cumsum(starts) - 1
    batch_first = first[starts][number]
    return pa.table(
        [
            batch,
            (row_group + number).astype(np.int32),
            records.chunk_row[first],
            records.chunk_col[first],
            first - batch_first,
            (end - first).astype(np.int32),
            slab.work,
            pa.array(prints, pa.binary(16)),
        ],
        schema=INDEX_SCHEMA,
    )


def _slabs(source: ManifestInput, workers: int) -> Iterator[Slab]:
    """Slabs from north to south, computed a few ahead by threads (the kernels drop the GIL)."""
    boxes = part_boxes(source.rings)
    tree = shapely.STRtree(shapely.box(boxes[:, 0], boxes[:, 1], boxes[:, 2], boxes[:, 3]))
    n = source.chunking.batch_rows
    with ThreadPoolExecutor(workers) as pool:
        ahead = [pool.submit(make_slab, source, tree, b) for b in range(min(workers + 1, n))]
        for b in range(n):
            slab = ahead.pop(0).result()
            if b + workers + 1 < n:
                ahead.append(pool.submit(make_slab, source, tree, b + workers + 1))
            yield slab


def write_manifest(
    source: ManifestInput,
    sink: BinaryIO,
    *,
    workers: int = 2,
    progress: Callable[[int, int], None] | None = None,
) -> pa.Table:
    """Partition all zones and write their records to Parquet, one row group per batch.

    Parameters
    ----------
    source : ManifestInput
    sink : binary file
        Receives the manifest.
    workers : int
        Threads.
    progress : callable, optional
        Called with (batch rows done, batch rows).

    Returns
    -------
    pyarrow.Table
        The chunk index (`INDEX_SCHEMA`), sorted by batch and chunk.
    """
    index, row_group = [INDEX_SCHEMA.empty_table()], 0
    options = {
        "compression": {"edges.list.element": "zstd"},
        "compression_level": {"edges.list.element": 1},
        "use_dictionary": ["chunk_row", "chunk_col", "zone_id"],
        "write_statistics": ["chunk_row", "chunk_col", "zone_id"],
    }
    with pq.ParquetWriter(sink, RECORD_SCHEMA, **options) as writer:
        for done, slab in enumerate(_slabs(source, workers), start=1):
            if slab.first.size:
                index.append(_index_of(slab, source.spec_hash, row_group))
                table = slab.records.to_table()
                cuts = np.flatnonzero(np.diff(slab.batch)) + 1
                bounds = [0, *cuts.tolist(), slab.batch.size]
                for a, b in itertools.pairwise(bounds):
                    writer.write_table(table.slice(a, b - a), row_group_size=b - a)
                row_group += len(bounds) - 1
            if progress is not None:
                progress(done, source.chunking.batch_rows)
        table = pa.concat_tables(index).combine_chunks()
        writer.add_key_value_metadata({PLAN_MARK: plan_digest(table)})
    return table


def plan_digest(index: pa.Table) -> str:
    """Hash over the fingerprints of all chunks, hex: equal plans, equal stores."""
    digest = hashlib.blake2b(digest_size=16)
    for name in ("chunk_row", "chunk_col"):
        digest.update(index[name].to_numpy().astype("<i4").tobytes())
    digest.update(b"".join(index["fingerprint"].to_pylist()))
    return digest.hexdigest()


class Manifest:
    """The manifest of a store, opened for questions.

    Parameters
    ----------
    source : binary file of the records
    index : pyarrow.Table
        The chunk index.
    chunking : Chunking
    touched : bool
        The store burns ``all_touched``.
    """

    def __init__(
        self,
        source: BinaryIO,
        index: pa.Table,
        *,
        chunking: Chunking,
        touched: bool = False,
    ) -> None:
        self._file = pq.ParquetFile(source)
        self.index = index
        self.chunking = chunking
        self.touched = touched

    @property
    def plan(self) -> str:
        """Digest of the plan that the records belong to."""
        marks = self._file.metadata.metadata or {}
        return str(marks.get(PLAN_MARK.encode(), b"").decode())

    def records(self, row_group: int) -> Records:
        """Records of one batch."""
        return Records.from_table(self._file.read_row_group(row_group, use_threads=False))

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
        row_ptr, first, end, zone = burn.spans(number, *records[3:], window, self.touched)
        span_row = np.repeat(np.arange(row_ptr.size - 1), np.diff(row_ptr)) + window[0]
        hit = (span_row >= wanted.row0) & (span_row < wanted.row1)
        hit &= (first + window[1] < wanted.col1) & (end + window[1] > wanted.col0)
        claiming: npt.NDArray[np.uint32] = records.zone_id[np.unique(zone[hit])]
        return claiming
