"""One chunk in memory: its records to bytes, runs, cells, or zones that share pixels."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, NamedTuple, Protocol

import numpy as np
import numpy.typing as npt

from zoneraster._build.sets import PAIRS_KEPT, Contests, keys_of_sets
from zoneraster._burn import (
    FAR,
    contested_pairs,
    count_values,
    covered_spans,
    frame,
    make_cells,
    make_spans,
    overlay_spans,
    runs_of_cells,
    set_spans,
    whole_cells,
)
from zoneraster._grid import Window, row_areas
from zoneraster._store import (
    BatchChunk,
    PixelRule,
    Records,
    Spec,
    ZoneSets,
    ledger,
)
from zoneraster.arrays import WHOLE, Bools, Floats, Ints
from zoneraster.errors import CorruptStoreError, StoreError

NO_ZONES: Ints = np.zeros(0, np.int64)


class Planned(Protocol):
    """What chunks are burned by: a snapshot has it."""

    @property
    def spec(self) -> Spec:
        """How."""

    @property
    def sets(self) -> ZoneSets | None:
        """Sets of zones, where pixels stand for them."""

    @property
    def crossing(self) -> Ints:
        """Ids of the zones whose rings cross themselves."""


class ChunkRuns(NamedTuple):
    """Runs of a chunk, row by row: (height + 1,) pointers, first columns, zone ids (0: none).

    And what is covered of the pixels of each run; without entries all of it.
    """

    run_ptr: Ints
    start: npt.NDArray[np.int32]
    zone_id: Ints
    share: Floats = WHOLE


class ChunkCells(NamedTuple):
    """Stretches of pixels by zone, row and column: ids, rows, first and end columns, fractions.

    Rows and columns are those of the grid.
    """

    zone_id: Ints
    row: Ints
    col0: Ints
    col1: Ints
    fraction: Floats

    def take(self, some: npt.NDArray[np.bool_] | Ints) -> ChunkCells:
        """Some of them."""
        return ChunkCells(
            self.zone_id[some], self.row[some], self.col0[some], self.col1[some],
            self.fraction[some],
        )  # fmt: skip


class Burned(NamedTuple):
    """A chunk in memory: stored bytes (empty when no pixel is owned) and its counts."""

    data: bytes
    zones: ledger.ZoneCounts


@functools.lru_cache(maxsize=4096)
def _constant(value: int, shape: tuple[int, int], itemsize: int) -> bytes:
    """Frame of a chunk that one zone covers: the same bytes for each such chunk."""
    return frame.encode_constant(value, shape=shape, itemsize=itemsize)


def _local_zones(records: Records) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Ids of a chunk's zones in painting order, and the local number of each record.

    The parts of a zone are painted one after the other, so a new id begins a new zone.
    """
    new = np.concatenate([[True], np.diff(records.zone_id) != 0])
    return records.zone_id[new].astype(np.int64), np.cumsum(new) - 1


# Any: what `burn.spans` returns, untyped like all kernels.
def _spans(records: Records, number: Ints, window: Window, rule: PixelRule) -> Any:
    """Spans of a chunk, by a rule whose pixels are in a zone or not."""
    corner = (window.row0, window.col0, window.height, window.width)
    return make_spans(number, *records[3:], corner, rule == "touched")


def _stretches(
    spec: Spec, records: Records, number: Ints, place: tuple[int, int], crossing: Ints
) -> Any:
    """Stretches of a chunk with what is covered of their pixels: row, first, end, zone, share.

    `crossing` are the ids of the zones whose rings cross themselves.

    Raises
    ------
    CorruptStoreError
        For places that no grid has.
    """
    _check_near(records, place)
    window = spec.chunking.chunk_window(*place)
    corner = (window.row0, window.col0, window.height, window.width)
    return make_cells(number, *records[3:], corner, np.isin(records.zone_id, crossing))


def burn_chunk(
    spec: Spec,
    records: Records,
    row: int,
    col: int,
    sets: ZoneSets | None = None,
    crossing: Ints = NO_ZONES,
) -> Burned:
    """Burn one chunk in memory.

    Parameters
    ----------
    spec : Spec
    records : Records
        Of this chunk, in painting order.
    row, col : int
        Of the chunk.
    sets : ZoneSets, optional
        Where pixels stand for sets of zones.
    crossing : (n,) int64, optional
        Ids of zones whose rings cross themselves, for what zones cover of pixels.
    """
    window = spec.chunking.chunk_window(row, col)
    areas = row_areas(spec.grid, window.row0, window.row1)
    if spec.product != "ids":
        return _burn_product(spec, records, (row, col), areas, crossing)
    if len(records.zone_id) == 1 and records.full[0] and window.shape == spec.chunks:
        zone, pixels = records.zone_id.astype(np.int64), np.array([window.height * window.width])
        data = _constant(int(zone[0]), spec.chunks, spec.itemsize)
        area = np.array([float(areas.sum()) * window.width])
        counts = ledger.ZoneCounts(zone, pixels, pixels, 0 * pixels, area)
        return Burned(_sealed(spec, data), counts)
    zone_id, number = _local_zones(records)
    found = _spans(records, number, window, spec.own_rule)
    if sets is not None:
        return _burn_sets(spec, found, zone_id, areas, sets)
    run_ptr, start, value, *counts = overlay_spans(*found, zone_id.size, *spec.chunks, areas)
    lut = np.concatenate([[0], zone_id])
    return _encoded(spec, run_ptr, start, lut[value], _counted(zone_id, *counts))


def _counted(
    ids: Ints, claimed: Ints, owned: Ints, contested: Ints, area_m2: Floats
) -> ledger.ZoneCounts:
    """Counts by ascending id, of what has a pixel."""
    order = np.argsort(ids)
    order = order[claimed[order] + owned[order] > 0]
    columns = (ids, claimed, owned, contested, area_m2)
    return ledger.ZoneCounts._make(column[order] for column in columns)


def _encoded(
    spec: Spec, run_ptr: Ints, start: npt.NDArray[np.int32], values: Ints, zones: ledger.ZoneCounts
) -> Burned:
    """A chunk of these runs; nothing is stored where all are 0."""
    if not values.any():
        return Burned(b"", zones)
    data = frame.encode(run_ptr, start, values, width=spec.chunks[1], itemsize=spec.itemsize)
    return Burned(_sealed(spec, data), zones)


def _burn_sets(
    spec: Spec, spans: Any, zone_id: Ints, areas: Floats, sets: ZoneSets
) -> Burned:  # Any: as kernels take it
    """`burn_chunk` where pixels that several zones claim stand for the set of them."""
    n = zone_id.size
    run_ptr, start, value, set_ptr, members = set_spans(*spans, n, *spec.chunks)
    set_id = sets.ids_of(keys_of_sets(set_ptr, members, zone_id))
    lut = np.concatenate([[0], zone_id, set_id])
    pixels, area = count_values(run_ptr, value, start, lut.size, spec.chunks[1], areas)
    contested = np.zeros(lut.size, np.int64)
    np.add.at(contested, members + 1, np.repeat(pixels[n + 1 :], np.diff(set_ptr)))
    claimed = contested + pixels
    claimed[n + 1 :] = 0  # sets own pixels, which their zones claim
    zones = _counted(lut[1:], claimed[1:], pixels[1:], contested[1:], area[1:])
    return _encoded(spec, run_ptr, start, lut[value], zones)


def _burn_product(
    spec: Spec, records: Records, place: tuple[int, int], areas: Floats, crossing: Ints
) -> Burned:
    """`burn_chunk` where pixels are what zones cover of them, or how many claim them."""
    zone_id, number = _local_zones(records)
    spans = _spans(records, number, spec.chunking.chunk_window(*place), spec.own_rule)
    _, _, _, *counts = overlay_spans(*spans, zone_id.size, *spec.chunks, areas)
    if spec.product == "count":
        run_ptr, start, value, set_ptr, _ = set_spans(*spans, zone_id.size, *spec.chunks)
        values = np.concatenate([[0], np.ones(zone_id.size, np.int64), np.diff(set_ptr)])[value]
        if values.max(initial=0) > np.iinfo(spec.dtype).max:
            raise StoreError(f"{values.max():,} zones share a pixel, too many for {spec.dtype}")
    else:
        # All zones as one: of their parts in a pixel the union counts.
        found = _stretches(spec, records, np.zeros_like(number), place, crossing)
        run_ptr, start, share = runs_of_cells(*found[:3], found[4], *spec.chunks)
        values = np.rint(100 * share).astype(np.int64)
        if spec.product == "cover":
            values = share.astype(np.float32).view(np.uint32).astype(np.int64)
    return _encoded(spec, run_ptr, start, values, _counted(zone_id, *counts))


def _sealed(spec: Spec, data: bytes) -> bytes:
    """Bytes with what Zarr's crc32c codec adds, when the store has it."""
    if spec.integrity == "crc32c":
        return data + ledger.crc32c(data).to_bytes(4, "little")
    return data


def sets_in_chunk(records: Records, window: Window, rule: PixelRule) -> dict[bytes, int]:
    """Sets of zones that share pixels of a chunk, see `keys_of_sets`, and these pixels.

    Parameters
    ----------
    records : Records
        Of the chunk.
    window : Window
        Of the chunk, cut to the grid.
    rule : {"centre", "touched"}
        By which they claim pixels.
    """
    zone_id, number = _local_zones(records)
    spans = _spans(records, number, window, rule)
    run_ptr, start, value, set_ptr, members = set_spans(*spans, zone_id.size, *window.shape)
    n, whole = zone_id.size + 1, np.ones(window.height)
    pixels, _ = count_values(run_ptr, value, start, n + set_ptr.size - 1, window.width, whole)
    return dict(zip(keys_of_sets(set_ptr, members, zone_id), pixels[n:].tolist(), strict=True))


def contests_in_chunk(records: Records, window: Window, rule: PixelRule) -> Contests:
    """Pairs of zones that claim the same pixels of a chunk; parameters of `sets_in_chunk`."""
    zone_id, number = _local_zones(records)
    spans = _spans(records, number, window, rule)
    pairs, n_pairs = contested_pairs(*spans, zone_id.size, PAIRS_KEPT)
    pairs[:, :2] = zone_id[pairs[:, :2]]
    return Contests(tuple(map(tuple, pairs.tolist())), n_pairs)


def chunk_cells(ctx: Planned, batch: Records, chunk: BatchChunk, rule: PixelRule) -> ChunkCells:
    """Stretches of pixels of all zones of a chunk.

    Parameters
    ----------
    ctx : Planned
    batch : Records
        Of the chunk's batch.
    chunk : BatchChunk
    rule : {"centre", "touched", "fraction"}

    Raises
    ------
    CorruptStoreError
        For places that no grid has.
    """
    own = chunk.records_in(batch)
    zone_id, number = _local_zones(own)
    window, place = ctx.spec.chunking.chunk_window(chunk.row, chunk.col), (chunk.row, chunk.col)
    if rule == "fraction":
        found = _stretches(ctx.spec, own, number, place, ctx.crossing)
    else:
        found = whole_cells(*_spans(own, number, window, rule))
    row, first, end, zone, fraction = found
    return ChunkCells(
        zone_id[zone],
        row.astype(np.int64) + window.row0,
        first.astype(np.int64) + window.col0,
        end.astype(np.int64) + window.col0,
        fraction,
    )


def _check_near(records: Records, place: tuple[int, int]) -> None:
    """Refuse places that no grid has: fractions are made of all of them."""
    if not (np.abs(records.edges) <= FAR).all():
        raise CorruptStoreError(
            f"the manifest of chunk {place[0]}/{place[1]} has places that no plan has: build again "
            "with the same zones"
        )


def chunk_runs(
    ctx: Planned,
    batch: Records,
    chunk: BatchChunk,
    merged: Callable[[Ints], Ints] | None = None,
    rule: PixelRule | None = None,
    *,
    only: Ints | None = None,
    among: Ints | None = None,
) -> list[ChunkRuns]:
    """Runs of a chunk burned again, and those of what zones claim and do not own.

    Parameters
    ----------
    ctx : Planned
    batch : Records
        Of the chunk's batch.
    chunk : BatchChunk
    merged : callable, optional
        From zone ids to those under which zones count as one. Without it only the array is wanted.
    rule : {"centre", "touched", "fraction"}, optional
        Which pixels zones have; by default those of the array.
    only : (n,) int64, optional
        Ids under which the zones count that are wanted, with `merged`; by default all.
    among : (n,) int64, optional
        Ids of the zones that `merged` knows; of others nothing is wanted.

    Returns
    -------
    list of ChunkRuns
        The array, or what zones cover together, then as many planes as a pixel is claimed by others
        at most.
    """
    own = _wanted(chunk.records_in(batch), merged, only, among)
    if rule == "fraction":
        assert merged is not None
        return _shared_runs(ctx, own, (chunk.row, chunk.col), merged)
    zone_id, number = _local_zones(own)
    window = ctx.spec.chunking.chunk_window(chunk.row, chunk.col)
    spans = _spans(own, number, window, rule or ctx.spec.own_rule)
    if merged is None and ctx.sets is not None:
        *runs, set_ptr, members = set_spans(*spans, zone_id.size, *ctx.spec.chunks)
        set_id = ctx.sets.ids_of(keys_of_sets(set_ptr, members, zone_id))
        return [_named(runs, np.concatenate([zone_id, set_id]))]
    runs, counts = _overlaid(ctx.spec, spans, zone_id.size, chunk.row)
    if merged is None:
        return [_named(runs, zone_id)]
    contested = bool(counts.any())
    run_ptr, start, value = runs
    zone_id, one = np.unique(merged(zone_id), return_inverse=True)
    value = np.concatenate([[0], one + 1]).astype(np.int32)[value]
    row_ptr, first, end, zone = spans
    spans = (row_ptr, first, end, one.astype(np.int32)[zone])
    return _planes(ctx.spec, spans, (run_ptr, start, value), contested, zone_id)


def contested_zones(ctx: Planned, batch: Records, chunk: BatchChunk) -> Ints:
    """Ids of the zones of a chunk that claim a pixel which others claim too, by the array's rule.

    Parameters as in `chunk_runs`.
    """
    own = chunk.records_in(batch)
    zone_id, number = _local_zones(own)
    window = ctx.spec.chunking.chunk_window(chunk.row, chunk.col)
    spans = _spans(own, number, window, ctx.spec.own_rule)
    _, counts = _overlaid(ctx.spec, spans, zone_id.size, chunk.row)
    return zone_id[counts > 0]


def _wanted(
    records: Records,
    merged: Callable[[Ints], Ints] | None,
    only: Ints | None,
    among: Ints | None,
) -> Records:
    """Records of the zones that are wanted: what a zone claims does not depend on others."""
    if merged is None:
        return records
    if among is not None:
        records = _kept(records, np.isin(records.zone_id, among))
    if only is not None:
        records = _kept(records, np.isin(merged(records.zone_id.astype(np.int64)), only))
    return records


def _kept(records: Records, keep: Bools) -> Records:
    return records if keep.all() else records.take(np.flatnonzero(keep))


def _shared_runs(
    ctx: Planned, records: Records, place: tuple[int, int], merged: Callable[[Ints], Ints]
) -> list[ChunkRuns]:
    """`chunk_runs` by covered parts: each stretch of pixels is laid over others as zones are."""
    zone_id, one = np.unique(merged(records.zone_id.astype(np.int64)), return_inverse=True)
    if (np.diff(one) < 0).any():
        # Parts of zones that count as one are united where they follow each other.
        order = np.argsort(one, kind="stable")
        records, one = records.take(order), one[order]
    row, first, end, zone, share = _stretches(ctx.spec, records, one, place, ctx.crossing)
    order = np.argsort(row, kind="stable")
    height = ctx.spec.chunking.chunk_window(*place).height
    row_ptr = np.searchsorted(row[order], np.arange(height + 1))
    spans = (row_ptr, first[order], end[order], order.astype(np.int32))
    runs, counts = _overlaid(ctx.spec, spans, row.size, place[0])
    return _planes(ctx.spec, spans, runs, bool(counts.any()), zone_id[zone], share)


def _overlaid(spec: Spec, spans: Any, n_zones: int, chunk_row: int) -> tuple[Any, Ints]:
    """Runs of the last of overlapping spans, and of each zone the pixels that others claim too."""
    window = spec.chunking.chunk_window(chunk_row, 0)
    areas = row_areas(spec.grid, window.row0, window.row1)
    run_ptr, start, value, _, _, contested, _ = overlay_spans(*spans, n_zones, *spec.chunks, areas)
    return (run_ptr, start, value), contested


def _planes(
    spec: Spec, spans: Any, runs: Any, is_contested: bool, zone_id: Ints, share: Floats = WHOLE
) -> list[ChunkRuns]:  # Any: as kernels take and return it
    """Runs as they are, and what they leave of the spans."""
    height, width = spec.chunks
    found = [_named(runs, zone_id, share)]
    if not is_contested:
        return found
    n, run_ptr, start, value = covered_spans(*spans, runs, zone_id.size, width)
    for plane in range(n):
        ptr = run_ptr[plane * height : (plane + 1) * height + 1]
        own = slice(ptr[0], ptr[-1])
        found.append(_named((ptr - ptr[0], start[own], value[own]), zone_id, share))
    return found


def _named(runs: Any, zone_id: Ints, share: Floats = WHOLE) -> ChunkRuns:  # Any: as above
    """Runs with ids, and shares where there are some, for local numbers."""
    run_ptr, start, value = runs
    ids = np.concatenate([[0], zone_id])
    covered = np.concatenate([[0.0], share])[value] if share.size else WHOLE
    return ChunkRuns(run_ptr, start, ids[value], covered)
