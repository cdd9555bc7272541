"""What a task reads, each block once: pixels of rasters, and the zones of chunks as runs."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import replace
from typing import NamedTuple, TypeAlias

import numpy as np

from zoneraster._grid import Window, hull
from zoneraster._stats.families import Place
from zoneraster._stats.planes import Planes
from zoneraster._stats.request import StatsTask
from zoneraster._stats.tiles import Cell
from zoneraster._values import Block, Lanes
from zoneraster.arrays import Floats

_Ranges: TypeAlias = tuple[tuple[int, int], ...]
# Number of a raster, and of a block of it.
_Block: TypeAlias = tuple[int, tuple[int, int]]


NotStored: TypeAlias = list[tuple[int, Window]]


class Held(NamedTuple):
    """What was read of a raster for a cell: (lanes, rows, cols), and where the cell lies in it.

    And the lattice windows of it that were never written, each with a number of lanes.
    """

    pixels: Block
    place: Place
    not_stored: NotStored


class Blocks:
    """What a task has read and still needs: blocks of rasters, runs of chunks.

    Parameters
    ----------
    task : StatsTask
    cells : sequence of Cell
        All cells of the task; what the last of them needs is dropped after it.
    """

    def __init__(self, task: StatsTask, cells: list[Cell]) -> None:
        self._task = task
        self._zones = task.request.zones.open()
        self._within = hulls_of(cells)
        self._chunks_of = _chunks_of(cells)
        # What zones reach of a chunk matters where reading less than a whole block saves anything.
        placements = task.request.placements
        self._is_cut = any(p.unit[a] > p.chunk[a] for p in placements for a in (0, 1))
        # Arrays in memory are read where they lie by those that can.
        families = zip(task.request.measures, task.request.families, strict=True)
        self._in_place = {n for n, own in families if all(family.in_place for family in own)}
        self._in_place -= {number for number, _ in task.request.keys}
        self._uses = Counter((i, b) for c in cells for i, b in enumerate(c.blocks) if b)
        self._chunk_uses = Counter(cell.chunk for cell in cells)
        # By raster and number of the block, then by the ranges of the lanes.
        self._blocks: dict[_Block, dict[_Ranges, tuple[Block, NotStored]]] = {}
        self._weights: dict[_Block, Floats] = {}
        self._planes: dict[tuple[int, int], Planes] = {}
        self._reach: dict[tuple[int, int], Window | None] = {}

    def planes(self, cell: Cell) -> Planes:
        """Runs of the chunk of a cell."""
        if cell.chunk not in self._planes:
            planes = self._zones.planes(cell.chunk, self._task.request.only)
            self._planes[cell.chunk] = planes
            if self._is_cut:
                request = self._task.request
                window = request.tiling.chunk_window(*cell.chunk)
                self._reach[cell.chunk] = reach(planes, window, request.fine)
        return self._planes[cell.chunk]

    def near_zones(self, cell: Cell) -> Cell | None:
        """What of a cell lies between zones, once its planes are known; None where none are."""
        if not self._is_cut:
            return cell
        around = self._reach[cell.chunk]
        window = around and around.intersect(cell.window)
        return None if window is None else replace(cell, window=window)

    def get(self, cell: Cell, number: int, lanes: Lanes = ()) -> Held | None:
        """The block of a raster that a cell lies in; None outside of the raster."""
        block = cell.blocks[number]
        if block is None:
            return None
        request = self._task.request
        placement = request.placements[number]
        within, around = self._within[number, block], self._reach.get(cell.chunk)
        window = placement.block_window(block, within)
        met = around and within.intersect(around)
        if met is not None and len(self._chunks_of[number, block]) == 1:
            # A chunk is decoded as a whole.
            near = placement.whole_chunks(placement.block_window(block, met))
            window = near.intersect(window) or window
        known = self._blocks.setdefault((number, block), {})
        key = tuple((s.start, s.stop) for s in lanes)
        if key not in known:
            raster = self._task.rasters[number]
            pixels = raster.read(lanes, window, in_place=number in self._in_place)
            # Counted in the first pass, which looks at all zones.
            is_counted = number in request.measures and request.only is None
            absent = raster.not_stored(lanes, window, pixels) if is_counted else []
            found = [(n, placement.lattice_of(part)) for n, part in absent]
            known[key] = pixels.reshape(-1, *window.shape), found
        k = placement.factor
        row = cell.window.row0 - placement.row - window.row0 * k
        col = cell.window.col0 - placement.col - window.col0 * k
        pixels, absent = known[key]
        return Held(pixels, (row, col, k), absent)

    def weights(self, cell: Cell, number: int) -> tuple[Floats, Place] | None:
        """`get` for weights: (rows, cols), NaN where there are none."""
        held, block = self.get(cell, number), cell.blocks[number]
        if held is None or block is None:
            return None
        if (number, block) not in self._weights:
            pixels, nodata = held.pixels[0], self._task.rasters[number].nodata
            weights = pixels.astype(np.float64)
            if nodata is not None:
                weights[pixels == nodata] = np.nan
            self._weights[number, block] = weights
        return self._weights[number, block], held.place

    def forget(self, cell: Cell, number: int, lanes: Lanes) -> None:
        """Drop some lanes of a block early, where no other cell needs them."""
        block = cell.blocks[number]
        if block is not None and self._uses[number, block] == 1:
            self._blocks[number, block].pop(tuple((s.start, s.stop) for s in lanes), None)

    def drop_keys(self, cell: Cell) -> None:
        """Drop blocks of rasters that are no measures, where no later cell needs them."""
        for number, block in enumerate(cell.blocks):
            request = self._task.request
            is_key = number not in (*request.measures, request.weights)
            if block is not None and is_key and self._uses[number, block] == 1:
                self._blocks.pop((number, block), None)

    def done_with(self, cell: Cell) -> None:
        """Drop what no later cell needs."""
        for number, block in enumerate(cell.blocks):
            if block is not None:
                self._uses[number, block] -= 1
                if not self._uses[number, block]:
                    self._blocks.pop((number, block), None)
                    self._weights.pop((number, block), None)
        self._chunk_uses[cell.chunk] -= 1
        if not self._chunk_uses[cell.chunk]:
            self._planes.pop(cell.chunk, None)
            self._reach.pop(cell.chunk, None)


def reach(planes: Planes, chunk: Window, fine: int) -> Window | None:
    """The smallest window around all zones of a chunk; None without any.

    Parameters
    ----------
    planes : Planes
    chunk : Window
        On the lattice.
    fine : int
        Lattice pixels along a pixel of the store.
    """
    found = []
    for runs in (*planes.painted, *planes.covered):
        at = np.flatnonzero(runs.zone_id > 0)
        if not at.size:
            continue
        rows = np.searchsorted(runs.run_ptr, at[[0, -1]], side="right")
        stop = np.append(runs.start[1:], chunk.width)
        stop[runs.run_ptr[1:][np.diff(runs.run_ptr) > 0] - 1] = chunk.width
        cols = int(runs.start[at].min()), min(int(stop[at].max()), -(-chunk.width // fine))
        found.append(Window(int(rows[0]) - 1, int(rows[1]), *cols))
    if not found:
        return None
    met = hull(found)
    sides = (met.row0 * fine, met.row1 * fine, met.col0 * fine, met.col1 * fine)
    return Window(*sides).moved(chunk.row0, chunk.col0).intersect(chunk)


def _chunks_of(cells: Iterable[Cell]) -> dict[_Block, set[tuple[int, int]]]:
    """Chunks of the store whose cells need each block."""
    found: dict[_Block, set[tuple[int, int]]] = {}
    for cell in cells:
        for number, block in enumerate(cell.blocks):
            if block is not None:
                found.setdefault((number, block), set()).add(cell.chunk)
    return found


def hulls_of(cells: Iterable[Cell]) -> dict[_Block, Window]:
    """What all cells together need of each block, on the lattice."""
    found: dict[_Block, list[Window]] = {}
    for cell in cells:
        for number, block in enumerate(cell.blocks):
            if block is not None:
                found.setdefault((number, block), []).append(cell.window)
    return {block: hull(windows) for block, windows in found.items()}
