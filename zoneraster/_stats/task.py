"""One task: a pure function of zones, values and options.

cell -> bands of runs -> slots -> values -> accumulators. A task walks over its cells. In each it
takes the runs of the zones, cuts them by condition and keys into bands whose runs have one slot
each (`bands`), counts the pixels of the slots, and hands the values below the runs to the families.
Every block of a raster is read once, when the first cell needs it, and dropped after the last one;
what lies beside all zones of a chunk is counted as pixels without a zone, and not read.
"""

from __future__ import annotations

import functools
import itertools
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from zoneraster._build import ChunkRuns
from zoneraster._grid import Window, row_areas
from zoneraster._stats.audit import pixels_of_zones
from zoneraster._stats.bands import EVERYWHERE, Cutter
from zoneraster._stats.blocks import Blocks
from zoneraster._stats.cut import count_pixels
from zoneraster._stats.families import Band, Leaves, Place, Values, sorted_rows
from zoneraster._stats.keys import Key
from zoneraster._stats.partial import Partial
from zoneraster._stats.planes import ZoneSource
from zoneraster._stats.request import Request, StatsTask
from zoneraster._stats.slots import Slots
from zoneraster._stats.tiles import Cell, cells_of
from zoneraster._values import Lanes
from zoneraster.arrays import Bools, Floats, Ints, Numbers
from zoneraster.errors import ClosureError, ValuesError, number_of

# Runs that may wait for the values of their cell: 8 bytes each.
_WAITING_RUNS = 2**21


@dataclass(slots=True)
class _Pixels:
    """Pixels that a task has met: of each slot, what is covered of them, areas, without a zone.

    Those that several zones claim are `read` once, and `shared` by each further zone.
    """

    of_slot: Ints
    covered: Floats
    area: Floats
    # Of each measure: pixels of each slot that it does not reach, and all in chunks not stored.
    outside: list[Floats]
    not_stored: list[int]
    read: int = 0
    no_zone: int = 0
    shared: int = 0

    @classmethod
    def none(cls, request: Request) -> _Pixels:
        """Nothing met."""
        none, n = np.zeros(0), len(request.measures)
        return cls(np.zeros(0, np.int64), none, none, [none] * n, [0] * n)


@dataclass(frozen=True, slots=True)
class _Counting:
    """What a task works with: what it reads, the groups it has met, what it has counted."""

    task: StatsTask
    blocks: Blocks
    slots: Slots
    cutter: Cutter
    lane_blocks: tuple[tuple[tuple[Lanes, Ints], ...], ...]
    pixels: _Pixels
    # Accumulators of each measure's families.
    accumulators: list[list[Any]] = field(default_factory=list)


def run_task(task: StatsTask) -> tuple[int, Partial]:
    """Reduce one task.

    Parameters
    ----------
    task : StatsTask

    Returns
    -------
    number : int
        Of the task.
    partial : Partial
    """
    cells = cells_of(task.parts, task.request.placements)
    counting = _begin(task, cells)
    for cell in cells:
        painted, covered = counting.blocks.planes(cell)
        near = counting.blocks.near_zones(cell)
        n_near = 0 if near is None else math.prod(near.window.shape)
        counting.pixels.read += len(painted) * math.prod(cell.window.shape)
        counting.pixels.no_zone += len(painted) * (math.prod(cell.window.shape) - n_near)
        planes = [*((runs, False) for runs in painted), *((runs, True) for runs in covered)]
        for left, (runs, is_covered) in zip(range(len(planes) - 1, -1, -1), planes, strict=True):
            if near is not None:
                _count_cell(counting, near, runs, is_covered=is_covered, is_last=not left)
        counting.blocks.done_with(cell)
    return task.number, _partial_of(counting)


def _begin(task: StatsTask, cells: list[Cell]) -> _Counting:
    """Nothing read, nothing counted."""
    request = task.request
    slots = Slots(len(request.keys), has_where=request.where is not None)
    blocks = Blocks(task, cells)
    return _Counting(
        task,
        blocks,
        slots,
        Cutter(task, blocks, slots),
        tuple(tuple(_lane_blocks(task, number)) for number in request.measures),
        _Pixels.none(request),
        [[family.start(request.n_lanes) for family in own] for own in request.families],
    )


def _lane_blocks(task: StatsTask, raster: int) -> Iterator[tuple[Lanes, Ints]]:
    """What is read at once of the extra dimensions, and the numbers of these lanes."""
    dims = task.request.dims
    numbers = np.arange(task.request.n_lanes).reshape(dims)
    ranges = [
        [slice(a, min(a + c, n)) for a in range(0, n, c)]
        for n, c in zip(dims, task.rasters[raster].chunks, strict=False)
    ]
    for lanes in itertools.product(*ranges):
        yield lanes, numbers[lanes].ravel()


def _count_cell(
    counting: _Counting, cell: Cell, runs: ChunkRuns, *, is_covered: bool, is_last: bool
) -> None:
    """Count the pixels and values of a cell, below the runs of one plane.

    Bands wait for the values until all are cut, so that keys and values need not be held at a time;
    many runs wait only where values come in several blocks, each of which is read once.
    """
    may_wait = any(len(blocks) > 1 for blocks in counting.lane_blocks)
    waiting: list[Band] = []
    for band in counting.cutter.bands(cell, runs):
        if _count_pixels(counting, cell, band, is_covered=is_covered):
            waiting.append(band)
        if not may_wait and sum(b.slot.size for b in waiting) > _WAITING_RUNS:
            _add_values(counting, cell, waiting, is_last=False)
            waiting = []
    if is_last:
        counting.blocks.drop_keys(cell)
    if waiting:
        _add_values(counting, cell, waiting, is_last=is_last)


def _count_pixels(counting: _Counting, cell: Cell, band: Band, *, is_covered: bool) -> bool:
    """Count the pixels of a band by slot; whether any of them is to be reduced."""
    pixels, slots, request = counting.pixels, counting.slots, counting.task.request
    if slots.n > pixels.of_slot.size:
        room = max(slots.n, 2 * pixels.of_slot.size)
        pixels.of_slot = _padded(pixels.of_slot, room)
        if request.is_weighted:
            pixels.covered = _padded(pixels.covered, room)
        if request.with_area:
            pixels.area = _padded(pixels.area, room)
    areas = _areas(request, cell)[band.row : band.row + band.ptr.size - 1]
    no_zone, active = count_pixels(
        (*band[1:4], cell.window.width), band.share, areas, slots.skip,
        pixels.of_slot, pixels.covered, pixels.area,
    )  # fmt: skip
    if is_covered:
        pixels.shared += areas.size * cell.window.width - no_zone
    else:
        pixels.no_zone += no_zone
    for m, number in enumerate(request.measures):
        if cell.blocks[number] is None and active:
            if slots.n > pixels.outside[m].size:
                pixels.outside[m] = _padded(pixels.outside[m], pixels.of_slot.size)
            slot, _, length, share = _active_runs(band, cell.window.width, slots.skip)
            np.add.at(pixels.outside[m], slot, length * share if share.size else length)
    return bool(active)


def _active_runs(
    band: Band, width: int, skip: Bools, cols: tuple[int, int] | None = None
) -> tuple[Ints, Ints, Ints, Floats]:
    """Slot, row, length, share of the runs that are counted, or of their parts in some columns."""
    rows = np.diff(band.ptr)
    stop = np.append(band.begin[1:], width)
    stop[band.ptr[1:][rows > 0] - 1] = width
    first, last = (0, width) if cols is None else cols
    length = np.minimum(stop, last) - np.maximum(band.begin, first)
    kept = (band.slot >= 0) & (length > 0)
    kept[kept] = ~skip[band.slot[kept]]
    row = np.repeat(np.arange(rows.size), rows)
    share = band.share[kept] if band.share.size else band.share
    return band.slot[kept], row[kept], length[kept].astype(np.int64), share


def _n_within(band: Band, cell: Cell, window: Window, skip: Bools) -> int:
    """Counted pixels of a band in a window of the lattice."""
    part = window.intersect(cell.window)
    if part is None:
        return 0
    part = part.within(cell.window)
    _, row, length, _ = _active_runs(band, cell.window.width, skip, (part.col0, part.col1))
    row = row + band.row
    return int(length[(row >= part.row0) & (row < part.row1)].sum())


def _areas(request: Request, cell: Cell) -> Floats:
    """Area of a pixel in each row of a cell."""
    return row_areas(request.grid, cell.window.row0, cell.window.row1)


def _add_values(counting: _Counting, cell: Cell, bands: Sequence[Band], *, is_last: bool) -> None:
    """Hand the values below some bands to the families of all measures, lane by lane."""
    task, request = counting.task, counting.task.request
    weights = _weights_of(counting, cell)
    for m, number in enumerate(request.measures):
        if not request.families[m]:
            continue
        raster, blocks = task.rasters[number], counting.lane_blocks[m]
        for lanes, lane_numbers in blocks:
            held = counting.blocks.get(cell, number, lanes)
            if held is None:
                continue
            for n_lanes, window in held.not_stored:
                n = sum(_n_within(band, cell, window, counting.slots.skip) for band in bands)
                counting.pixels.not_stored[m] += n * n_lanes
            for lane, pixels in zip(lane_numbers.tolist(), held.pixels, strict=True):
                values = Values(
                    raster.label, lane, bands, cell.window.width, pixels, held.place,
                    raster.nodata, _areas(request, cell), counting.slots.skip,
                    counting.slots.keys_of, functools.partial(_is_whole, counting),
                    weights,
                )  # fmt: skip
                accumulators = counting.accumulators[m]
                for family, into in zip(request.families[m], accumulators, strict=True):
                    family.add(into, values)
            if is_last and len(blocks) > 1:
                counting.blocks.forget(cell, number, lanes)


def _weights_of(counting: _Counting, cell: Cell) -> tuple[Floats, Place] | None:
    """Weights of a cell, NaN where there are none, and where the cell lies in them."""
    number = counting.task.request.weights
    if number is None:
        return None
    nowhere = np.full((1, 1), np.nan), (0, 0, EVERYWHERE)
    return counting.blocks.weights(cell, number) or nowhere


def _partial_of(counting: _Counting) -> Partial:
    """All that was counted, one row per lane and group."""
    pixels, slots, request = counting.pixels, counting.slots, counting.task.request
    in_zones, leaves = int(pixels.of_slot.sum()), np.flatnonzero(pixels.of_slot)
    if in_zones - pixels.shared + pixels.no_zone != pixels.read:
        raise ClosureError(
            f"task {counting.task.number}: {in_zones:,} pixels in zones, {pixels.shared:,} of them "
            f"once more, and {pixels.no_zone:,} without make {pixels.read:,} read: please report "
            "this"
        )
    groups = slots.keys_of(leaves)
    _refuse_buckets(groups, request.keys)
    # Slots come in the order in which they appeared; rows are sorted, in every lane alike.
    order = sorted_rows(groups)[0]
    leaves, groups = leaves[order], groups[order]
    own_leaves = Leaves(leaves, slots.n, lambda: _is_whole(counting)[leaves])
    lane = np.repeat(np.arange(request.n_lanes), leaves.size)
    return Partial(
        np.column_stack([lane, np.tile(groups, (request.n_lanes, 1))]).astype(np.int64),
        np.tile(pixels.of_slot[leaves], request.n_lanes),
        _tiled(pixels.covered, leaves, request.n_lanes),
        _tiled(pixels.area, leaves, request.n_lanes),
        tuple(
            tuple(family.rows(into, own_leaves) for family, into in zip(own, done, strict=True))
            for own, done in zip(request.families, counting.accumulators, strict=True)
        ),
        np.tile(_of_leaves(pixels.outside, leaves), (request.n_lanes, 1)),
        pixels.read,
        pixels.no_zone,
        tuple(pixels.not_stored),
        pixels.shared,
    )


def _is_whole(counting: _Counting) -> Bools:
    """Slots of zones all of whose pixels have been met.

    By the pixels that the build gave each zone. It saves work and decides no number: what another
    task has of a group that was called whole is taken for what it is.
    """
    pixels, slots = counting.pixels, counting.slots
    whole = np.zeros(slots.n, bool)
    met = np.flatnonzero(pixels.of_slot)
    whole[met] = are_whole(counting.task.request, slots.keys_of(met)[:, 0], pixels.of_slot[met])
    return whole


def are_whole(request: Request, zone: Ints, pixels: Ints) -> Bools:
    """Which of some groups belong to zones that have all their pixels in these groups.

    Parameters
    ----------
    request : Request
    zone, pixels : (n,) int64
        Id of the zone of each group, and its pixels.
    """
    ids, all_pixels = _pixels_of_zones(request.zones, request.fine)
    if not (ids.size and zone.size):
        return np.zeros(zone.size, bool)
    zones, number = np.unique(zone, return_inverse=True)
    counted = np.bincount(number, pixels)
    place = np.minimum(np.searchsorted(ids, zones), ids.size - 1)
    whole: Bools = ((ids[place] == zones) & (all_pixels[place] == counted))[number]
    return whole


@functools.lru_cache(maxsize=2)
def _pixels_of_zones(source: ZoneSource, fine: int) -> tuple[Ints, Ints]:
    """Ids of all zones, ascending, and their lattice pixels as the build counted them.

    Nothing of zones that count as one, or have others than in the array.
    """
    if source.merged_by or source.rule:
        return np.zeros(0, np.int64), np.zeros(0, np.int64)
    ids, n = pixels_of_zones(source.table()[0], fine, are_claimed=source.are_claimed)
    order = np.argsort(ids)
    return ids[order], n[order]


def _of_leaves(columns: Sequence[Floats], leaves: Ints) -> Floats:
    """Some slots of each of some columns, 0 where a column is shorter: (leaves, columns)."""
    size = int(leaves.max(initial=-1)) + 1
    whole = [_padded(column, max(size, column.size))[leaves] for column in columns]
    return np.array(whole, np.float64).reshape(len(whole), leaves.size).T


def _tiled(column: Floats, leaves: Ints, n_lanes: int) -> Floats:
    """Some slots of a column, for each lane; nothing where it has nothing."""
    return np.tile(column[leaves], n_lanes) if column.size else column


def _padded(values: Numbers, size: int) -> Numbers:
    """`values` with zeros behind them."""
    out = np.zeros(size, values.dtype)
    out[: values.size] = values
    return out


class LabelError(ValuesError):
    """A pixel of a zone has a label, or no value, that its key refuses.

    Parameters
    ----------
    raster, what : str
        Of the key, and what it has there.
    zone : int
        Its id; who knows its key says so, see `of`.
    others : int
        Zones with such pixels beside it.
    """

    def __init__(self, raster: str, what: str, zone: int, others: int) -> None:
        super().__init__(raster, what, zone, others)
        self.zone = zone

    def __str__(self) -> str:
        return self.of(f"{self.zone} (id)")

    def of(self, zone: str) -> str:
        """The message with the zone as the user calls it."""
        raster, what, _, others = self.args
        more = f" and {number_of(others, 'other zone')}" if others else ""
        if what == "no value":
            cure = "give pixels without a value a name, e.g. nodata=-1"
        else:
            what += ", which is not listed,"
            cure = "list it, or give what is not listed a name, e.g. unlisted=-2"
        return f"key {raster} has {what} in zone {zone}{more}: {cure}"


def _refuse_buckets(groups: Ints, keys: tuple[tuple[int, Key], ...]) -> None:
    """Raise for pixels without a label where the key refuses them."""
    for k, (_, key) in enumerate(keys, start=1):
        refused = key.refused(groups[:, k])
        if refused:
            first, what = min(refused.items())
            others = np.unique(groups[[*refused], 0]).size - 1
            raise LabelError(str(key.raster), what, int(groups[first, 0]), others)
