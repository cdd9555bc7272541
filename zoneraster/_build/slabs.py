"""Rings to records, one row of batches at a time."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, BinaryIO, NamedTuple, Self

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq
import shapely

from zoneraster._build.chunk import contests_in_chunk, sets_in_chunk
from zoneraster._build.sets import Contests
from zoneraster._burn import edges_in_rows, gather_records, partition_edges
from zoneraster._grid import Chunking, Window
from zoneraster._store import (
    INDEX_SCHEMA,
    LAYERS_SCHEMA,
    PLAN_MARK,
    RECORD_SCHEMA,
    Manifest,
    PassingWriter,
    PixelRule,
    Records,
    chunk_fingerprint,
    plan_digest,
)
from zoneraster._zones import Rings
from zoneraster.arrays import Floats, Ints

# Work of a chunk in units of one crossing: what it costs whatever it holds (encode, put, receipt).
_WORK_PER_CHUNK = 2_000
_PARTS_OF_A_BOX = 64
# How records are packed in Parquet.
_STORED: dict[str, Any] = {
    "compression": {"edges.list.element": "zstd"},
    "compression_level": {"edges.list.element": 1},
    "use_dictionary": ["chunk_row", "chunk_col", "zone_id"],
    "write_statistics": ["chunk_row", "chunk_col", "zone_id"],
}


class Slab(NamedTuple):
    """One batch row of the plan: records sorted by batch and chunk, and where each chunk is.

    Where there are layers, a chunk is one of a layer, and records have theirs. And the zone sets of
    the chunks (see `keys_of_sets`) with their pixels, or the zones that share pixels, where these
    are wanted.
    """

    records: Records
    batch: npt.NDArray[np.int32]
    first: Ints
    work: Ints
    layer: Ints | None = None
    sets: Mapping[bytes, int] = MappingProxyType({})
    contests: Contests = Contests()


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
    spec_hash : bytes
        Enters every fingerprint.
    overlap : str
        Sets are wanted for "sets", and for "layers" as long as there are none; contests for
        "error".
    rule : {"centre", "touched"}
        By which zones share pixels.
    layer : (n_zones,) int64, optional
        In which zones are; then the order of painting is that of layers first.
    """

    rings: Rings
    zone_id: npt.NDArray[np.uint32]
    paint_rank: Ints
    chunking: Chunking
    spec_hash: bytes
    overlap: str = "last"
    rule: PixelRule = "centre"
    layer: Ints | None = None

    @property
    def wants_sets(self) -> bool:
        """Sets of zones that share pixels are to be found."""
        return self.overlap == "sets" or (self.overlap == "layers" and self.layer is None)


def _sorted_records(
    source: ManifestInput, parts: Ints, rows: tuple[int, int]
) -> tuple[Records, npt.NDArray[np.int32], Ints]:
    """Records of one row of batches, and the batch and the zone of each."""
    rings, cut = source.rings, source.chunking
    width = cut.shape[1]
    edges, offsets = edges_in_rows(
        rings.u, rings.v, rings.ring_offsets, rings.part_offsets, parts, *rows
    )
    part, chunk, full, edge_ptr, edge_index, toggle_ptr, toggles = partition_edges(
        edges, offsets, *rows, width, *cut.chunks
    )
    row = (rows[0] // cut.chunks[0] + chunk // cut.n_cols).astype(np.int32)
    col = (chunk % cut.n_cols).astype(np.int32)
    batch = np.asarray(cut.batch_of(row, col), dtype=np.int32)
    # Stable: within a chunk the parts stay in painting order.
    order = np.lexsort((chunk, batch))
    edge_ptr, edges, toggle_ptr, toggles = gather_records(
        order, edge_ptr, edge_index, edges, toggle_ptr, toggles
    )
    zone = rings.part_zone[parts[part[order]]]
    records = Records(
        row[order], col[order], source.zone_id[zone], full[order],
        edge_ptr, edges, toggle_ptr, toggles,
    )  # fmt: skip
    return records, batch[order], zone


def _crossings(records: Records, chunk_height: int) -> Ints:
    """Rows of its chunk that each record's edges cross, the measure of its work, (n,) int64."""
    top = np.repeat(records.chunk_row.astype(np.float64) * chunk_height, np.diff(records.edge_ptr))
    v1, v2 = records.edges[:, 1], records.edges[:, 3]
    first = np.maximum(np.ceil(np.minimum(v1, v2) - 0.5), top)
    end = np.minimum(np.ceil(np.maximum(v1, v2) - 0.5), top + chunk_height)
    total = np.concatenate([[0], np.cumsum(np.maximum(end - first, 1.0).astype(np.int64))])
    counts: Ints = total[records.edge_ptr[1:]] - total[records.edge_ptr[:-1]]
    return counts


class PartTree:
    """Which parts can lie in some rows: an STRtree over boxes of parts that follow each other.

    Neighbours in a table are mostly neighbours on the ground; a tree over the parts themselves
    takes longer to build than the plan of small ones.

    Parameters
    ----------
    boxes : (n_parts, 4) float64
        In pixels: first column and row, last column and row.
    """

    def __init__(self, boxes: Floats) -> None:
        starts = np.arange(0, len(boxes), _PARTS_OF_A_BOX)
        low = np.minimum.reduceat(boxes[:, :2], starts) if starts.size else boxes[:, :2]
        high = np.maximum.reduceat(boxes[:, 2:], starts) if starts.size else boxes[:, 2:]
        self._boxes, self._tree = boxes, shapely.STRtree(shapely.box(*low.T, *high.T))

    def query(self, window: tuple[float, float, float, float]) -> Ints:
        """Parts whose boxes meet a window, (n,) int64 ascending."""
        col0, row0, col1, row1 = window
        found = np.sort(self._tree.query(shapely.box(*window)))
        near = (found[:, None] * _PARTS_OF_A_BOX + np.arange(_PARTS_OF_A_BOX)).reshape(-1)
        near = near[near < len(self._boxes)]
        box = self._boxes[near]
        meets = (
            (box[:, 0] <= col1) & (box[:, 2] >= col0) & (box[:, 1] <= row1) & (box[:, 3] >= row0)
        )
        hits: Ints = near[meets]
        return hits


def make_slab(source: ManifestInput, tree: PartTree, batch_row: int) -> Slab:
    """Plan one row of batches."""
    cut = source.chunking
    rows_per_batch = cut.chunks[0] * cut.batch
    row0 = batch_row * rows_per_batch
    row1 = min(row0 + rows_per_batch, cut.shape[0])
    hits = tree.query((-1.0, row0 - 1.0, cut.shape[1] + 1.0, row1 + 1.0))
    rank = source.paint_rank[source.rings.part_zone[hits]]
    parts = hits[np.lexsort((hits, rank))].astype(np.int64)
    records, batch, zone = _sorted_records(source, parts, (row0, row1))
    slab = _slab(records, batch, None if source.layer is None else source.layer[zone], cut)
    if source.wants_sets:
        return _with_sets(slab, source.rule, cut)
    if source.overlap == "error":
        found = [contests_in_chunk(*chunk, source.rule) for chunk in _chunks_of(slab, cut)]
        return slab._replace(contests=Contests.merged(found))
    return slab


def _slab(
    records: Records, batch: npt.NDArray[np.int32], layer: Ints | None, cut: Chunking
) -> Slab:
    """A slab of records, and of the layer of each."""
    if batch.size == 0:
        return Slab(records, batch, np.zeros(0, np.int64), np.zeros(0, np.int64), layer)
    is_new = (np.diff(records.chunk_row) != 0) | (np.diff(records.chunk_col) != 0)
    if layer is not None:
        is_new |= np.diff(layer) != 0
    first = np.concatenate([[0], np.flatnonzero(is_new) + 1]).astype(np.int64)
    work = np.add.reduceat(_crossings(records, cut.chunks[0]), first) + _WORK_PER_CHUNK
    return Slab(records, batch, first, work.astype(np.int64), layer)


def _with_sets(slab: Slab, rule: PixelRule, cut: Chunking) -> Slab:
    """A slab with the sets of its chunks."""
    sets: Counter[bytes] = Counter()
    for chunk in _chunks_of(slab, cut):
        sets.update(sets_in_chunk(*chunk, rule))
    return slab._replace(sets=sets)


def _chunks_of(slab: Slab, cut: Chunking) -> Iterator[tuple[Records, Window]]:
    """Records and window of each chunk of a slab that several zones may share."""
    for a, b in itertools.pairwise([*slab.first.tolist(), slab.records.zone_id.size]):
        own = slab.records.of_chunk(a, b - a)
        if (own.zone_id != own.zone_id[0]).any():
            row, col = int(own.chunk_row[0]), int(own.chunk_col[0])
            yield own, cut.chunk_window(row, col)


def _index_of(slab: Slab, spec_hash: bytes | None, row_group: int) -> pa.Table:
    """Chunk index rows of a slab whose first batch is `row_group`; no prints without a hash."""
    records, first = slab.records, slab.first
    end = np.append(first[1:], records.zone_id.size)
    layers = [None] * first.size if slab.layer is None else slab.layer[first].tolist()
    prints = [
        bytes(16)
        if spec_hash is None
        else chunk_fingerprint(spec_hash, records.of_chunk(int(a), int(b - a)), layer)
        for a, b, layer in zip(first, end, layers, strict=True)
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
            *([] if slab.layer is None else [slab.layer[first].astype(np.int32)]),
        ],
        schema=INDEX_SCHEMA if slab.layer is None else LAYERS_SCHEMA,
    )


def _slabs(source: ManifestInput, workers: int) -> Iterator[Slab]:
    """Slabs from north to south, computed a few ahead by threads (the kernels drop the GIL)."""
    tree = PartTree(source.rings.boxes)
    n = source.chunking.batch_rows
    with ThreadPoolExecutor(workers) as pool:
        ahead = [pool.submit(make_slab, source, tree, b) for b in range(min(workers + 1, n))]
        for b in range(n):
            slab = ahead.pop(0).result()
            if b + workers + 1 < n:
                ahead.append(pool.submit(make_slab, source, tree, b + workers + 1))
            yield slab


def slabs_again(
    manifest: Manifest,
    zone_id: Ints,
    paint_rank: Ints,
    *,
    layer: Ints | None = None,
    sets_by: PixelRule | None = None,
) -> Iterator[Slab]:
    """The slabs of a plan, a batch each, with the records of each chunk in another order.

    Parameters
    ----------
    manifest : Manifest
    zone_id, paint_rank : (n_zones,) int64
    layer : (n_zones,) int64, optional
        In which zones are; then they are painted in the order of layers first.
    sets_by : {"centre", "touched"}, optional
        By which rule zone sets are looked for.
    """
    by_id = np.argsort(zone_id)
    for row_group, chunks in itertools.groupby(
        manifest.index.to_pylist(), lambda chunk: chunk["row_group"]
    ):
        records = manifest.records(row_group)
        zone = by_id[np.searchsorted(zone_id[by_id], records.zone_id)]
        order = np.lexsort((paint_rank[zone], records.chunk_col, records.chunk_row))
        batch = np.full(order.size, next(chunks)["batch"], np.int32)
        in_layers = None if layer is None else layer[zone[order]]
        slab = _slab(records.take(order), batch, in_layers, manifest.chunking)
        yield slab if sets_by is None else _with_sets(slab, sets_by, manifest.chunking)


def sets_of(slabs: Iterable[Slab]) -> Counter[bytes]:
    """Sets of zones that share pixels, and these pixels, of slabs that know those of their own."""
    sets: Counter[bytes] = Counter()
    for slab in slabs:
        sets.update(slab.sets)
    return sets


def find_sets(
    source: ManifestInput, *, workers: int = 2, progress: Callable[[int, int], None] | None = None
) -> Counter[bytes]:
    """`sets_of` all zones; nothing is written. Parameters of `write_manifest`."""
    return sets_of(_told(_slabs(source, workers), source, progress))


def _told(
    slabs: Iterable[Slab], source: ManifestInput, progress: Callable[[int, int], None] | None
) -> Iterator[Slab]:
    """The same slabs; progress is told once each is done with."""
    for done, slab in enumerate(slabs, start=1):
        yield slab
        if progress is not None:
            progress(done, source.chunking.batch_rows)


def write_manifest(
    source: ManifestInput,
    sink: BinaryIO,
    *,
    workers: int = 2,
    is_passing: bool = False,
    progress: Callable[[int, int], None] | None = None,
) -> tuple[pa.Table, Counter[bytes], Contests]:
    """Partition all zones and write their records to Parquet, one row group per batch.

    Parameters
    ----------
    source : ManifestInput
    sink : binary file
        Receives the manifest.
    workers : int
        Threads.
    is_passing : bool
        It is read once, by this call: nothing is packed, and nothing hashed.
    progress : callable, optional
        Called with (batch rows done, batch rows).

    Returns
    -------
    index : pyarrow.Table
        The chunk index (`INDEX_SCHEMA`, with layers `LAYERS_SCHEMA`), sorted by batch and chunk.
    sets : Counter
        As `sets_of` returns them.
    contests : Contests
        Zones that share pixels, where they are wanted.
    """
    sets: Counter[bytes] = Counter()
    contests = Contests()

    def collected() -> Iterator[Slab]:
        nonlocal contests
        for slab in _told(_slabs(source, workers), source, progress):
            sets.update(slab.sets)
            contests = Contests.merged([contests, slab.contests])
            yield slab

    index = write_slabs(collected(), source.spec_hash, sink, is_passing=is_passing)
    return index, sets, contests


def write_slabs(
    slabs: Iterable[Slab], spec_hash: bytes, sink: BinaryIO, *, is_passing: bool = False
) -> pa.Table:
    """Write records to a manifest, one row group per batch; the chunk index."""
    index, row_group = [], 0
    with PassingWriter(sink) if is_passing else _ParquetWriter(sink) as writer:
        for slab in slabs:
            if not slab.first.size:
                continue
            index.append(_index_of(slab, None if is_passing else spec_hash, row_group))
            table = slab.records.to_table()
            cuts = np.flatnonzero(np.diff(slab.batch)) + 1
            bounds = [0, *cuts.tolist(), slab.batch.size]
            for a, b in itertools.pairwise(bounds):
                writer.write(table.slice(a, b - a))
            row_group += len(bounds) - 1
        table = pa.concat_tables(index or [INDEX_SCHEMA.empty_table()]).combine_chunks()
        writer.mark(plan_digest(table))
    return table


class _ParquetWriter:
    """Records as Parquet, a row group for each batch."""

    def __init__(self, sink: BinaryIO) -> None:
        self._file = pq.ParquetWriter(sink, RECORD_SCHEMA, **_STORED)

    def write(self, table: pa.Table) -> None:
        """A batch."""
        self._file.write_table(table, row_group_size=table.num_rows)

    def mark(self, plan: str) -> None:
        """Which plan they are of."""
        self._file.add_key_value_metadata({PLAN_MARK: plan})

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()
