"""Cells as bands of runs: what is read once, and cut by predicates and keys."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import Any, NamedTuple, TypeAlias

import numpy as np
import numpy.typing as npt

from zoneraster._grid import hull
from zoneraster._stats import cut
from zoneraster._stats.keys import EXCLUDED_CODE, INCLUDED_CODE, NODATA_CODE, UNKNOWN_CODE, Key
from zoneraster._stats.request import StatsTask
from zoneraster._stats.runs import Runs
from zoneraster._stats.slots import Joint, Slots
from zoneraster._stats.tiles import Cell
from zoneraster._stats.where import holds
from zoneraster._values import Predicate
from zoneraster.arrays import Ints

Place: TypeAlias = tuple[int, int, int]
Lanes: TypeAlias = tuple[slice, ...]
# Pixels of the rows that are cut by keys at a time: their labels and runs stay in the cache.
_BAND_PIXELS = 2**20
_EVERYWHERE = 2**40  # a pixel that covers any cell


class Band(NamedTuple):
    """Rows of a cell as runs of slots."""

    row: int
    ptr: Ints
    begin: npt.NDArray[np.int32]
    slot: npt.NDArray[np.int32]


class Block(NamedTuple):
    """What was read of a raster for a cell: (lanes, rows, cols), and where the cell lies in it."""

    pixels: npt.NDArray[Any]
    place: Place


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
        self._zones = task.request.store.open()
        self._within = hull([window for _, window in task.parts])
        self._uses = Counter((i, b) for c in cells for i, b in enumerate(c.blocks) if b)
        self._chunk_uses = Counter(cell.chunk for cell in cells)
        self._blocks: dict[tuple[int, tuple[int, int]], dict[Any, npt.NDArray[Any]]] = {}
        self._runs: dict[tuple[int, int], list[Runs | None]] = {}

    def runs(self, cell: Cell) -> list[Runs | None]:
        """Runs of the chunk of a cell, layer by layer."""
        chunk = cell.chunk
        if chunk not in self._runs:
            layers = range(self._zones.n_layers)
            self._runs[chunk] = [self._zones.runs(chunk, layer) for layer in layers]
        return self._runs[chunk]

    def get(self, cell: Cell, number: int, lanes: Lanes = ()) -> Block | None:
        """The block of a raster that a cell lies in; None outside of the raster."""
        block = cell.blocks[number]
        if block is None:
            return None
        placement = self._task.request.placements[number]
        window = placement.block_window(block, self._within)
        known = self._blocks.setdefault((number, block), {})
        key = tuple((s.start, s.stop) for s in lanes)
        if key not in known:
            pixels = self._task.rasters[number].read(lanes, window)
            known[key] = pixels.reshape(-1, *window.shape)
        k = placement.factor
        row = cell.window.row0 - placement.row - window.row0 * k
        col = cell.window.col0 - placement.col - window.col0 * k
        return Block(known[key], (row, col, k))

    def forget(self, cell: Cell, number: int, lanes: Lanes) -> None:
        """Drop some lanes of a block early, where no other cell needs them."""
        block = cell.blocks[number]
        if block is not None and self._uses[number, block] == 1:
            self._blocks[number, block].pop(tuple((s.start, s.stop) for s in lanes), None)

    def drop_keys(self, cell: Cell) -> None:
        """Drop blocks of rasters that are no measures, where no later cell needs them."""
        for number, block in enumerate(cell.blocks):
            is_key = number not in self._task.request.measures
            if block is not None and is_key and self._uses[number, block] == 1:
                self._blocks.pop((number, block), None)

    def done_with(self, cell: Cell) -> None:
        """Drop what no later cell needs."""
        for number, block in enumerate(cell.blocks):
            if block is not None:
                self._uses[number, block] -= 1
                if not self._uses[number, block]:
                    self._blocks.pop((number, block), None)
        self._chunk_uses[cell.chunk] -= 1
        if not self._chunk_uses[cell.chunk]:
            self._runs.pop(cell.chunk, None)


class Cutter:
    """Cuts the runs of cells by the predicate and the keys of a request.

    Parameters
    ----------
    task : StatsTask
    blocks : Blocks
    slots : Slots
        New groups are added to it.
    """

    def __init__(self, task: StatsTask, blocks: Blocks, slots: Slots) -> None:
        self._task, self._blocks, self._slots = task, blocks, slots
        # Codes of all values of keys with small integers.
        self._codes = [self._lookup(raster, key) for raster, key in task.request.keys]
        factors = [task.request.placements[raster].factor for raster, _ in task.request.keys]
        found = [codes for codes in self._codes if codes is not None]
        # All at once is quicker than one after the other, unless large pixels leave little to do.
        if len(found) == len(self._codes) > 1 and max(factors) == 1:
            slots.joint = Joint.of(found)

    def _lookup(self, number: int, key: Key) -> Ints | None:
        """Codes of all values of a small integer dtype; None for other dtypes."""
        raster = self._task.rasters[number]
        if raster.dtype.kind not in "iu" or raster.dtype.itemsize > 2:
            return None
        limits = np.iinfo(raster.dtype)
        every = np.arange(limits.min, limits.max + 1).astype(raster.dtype)
        return key.codes(every, raster.nodata)

    def whole(self, cell: Cell, runs: Runs) -> Band:
        """A cell with the slots of its zones."""
        request = self._task.request
        window, chunk = cell.window, request.tiling.chunk_window(*cell.chunk)
        inside = (
            window.row0 - chunk.row0, window.row1 - chunk.row0,
            window.col0 - chunk.col0, window.col1 - chunk.col0,
        )  # fmt: skip
        found = cut.zone_runs(*runs, inside, request.fine, *self._slots.table)
        return Band(0, *self._slots.take(found))

    def bands(self, cell: Cell, runs: Runs) -> Iterator[Band]:
        """Rows of a cell, cut; the whole cell where nothing cuts it."""
        request, whole = self._task.request, self.whole(cell, runs)
        if not request.keys and request.where is None:
            yield whole
            return
        height, width = cell.window.shape
        step = max(1, _BAND_PIXELS // width)
        for row in range(0, height, step):
            ptr = whole.ptr[row : row + step + 1]
            a, b = ptr[0], ptr[-1]
            band = Band(row, ptr - a, whole.begin[a:b], whole.slot[a:b])
            if (band.slot >= 0).any():
                if request.where is not None:
                    band = self._choose(cell, band, request.where)
                if self._slots.joint is not None:
                    band = self._split_jointly(cell, band, self._slots.joint)
                else:
                    for number in range(len(request.keys)):
                        band = self._split(cell, band, number)
            yield band

    def _choose(self, cell: Cell, band: Band, where: Predicate) -> Band:
        """Mark what the predicate leaves out."""
        rows, width = band.ptr.size - 1, cell.window.width
        unknown = np.zeros((rows, width), bool)

        def read(number: int) -> tuple[npt.NDArray[Any], npt.NDArray[np.bool_]]:
            block, raster = self._blocks.get(cell, number), self._task.rasters[number]
            if block is None:
                unknown[:] = True
                return np.zeros((rows, width), raster.dtype), np.zeros((rows, width), bool)
            pixels = _on_lattice(block, band.row, rows, width)
            valid: npt.NDArray[np.bool_] = pixels == pixels
            if raster.nodata is not None:
                valid &= pixels != raster.nodata
            unknown[~valid] = True
            return pixels, valid

        found = np.ascontiguousarray(holds(where, read)).view(np.uint8)
        found = np.where(unknown & (found == 0), np.uint8(2), found)
        lut = np.array([EXCLUDED_CODE, INCLUDED_CODE, UNKNOWN_CODE], np.int64)
        return self._refined(band, width, found, (0, 0, 1), lut, 0)

    def _split_jointly(self, cell: Cell, band: Band, joint: Joint) -> Band:
        """Cut runs by the labels of all keys at once."""
        rows, width = band.ptr.size - 1, cell.window.width
        numbers = np.zeros((rows, width), np.int32)
        keys = zip(self._task.request.keys, self._codes, joint.codes, strict=True)
        for (raster, _), codes, distinct in keys:
            assert codes is not None
            block = self._blocks.get(cell, raster)
            if block is None:
                numbers *= distinct.size
                numbers += np.searchsorted(distinct, NODATA_CODE)
                continue
            ranks = np.searchsorted(distinct, codes).astype(np.int32)
            row, col, _ = block.place
            lowest = int(np.iinfo(block.pixels.dtype).min)
            corner = (row + band.row, col)
            cut.join_codes(numbers, block.pixels[0], corner, ranks, lowest, distinct.size)
        return self._refined(band, width, numbers, (0, 0, 1), np.zeros(0, np.int64), 0)

    def _split(self, cell: Cell, band: Band, number: int) -> Band:
        """Cut runs by the labels of a key."""
        raster_number, key = self._task.request.keys[number]
        block, width = self._blocks.get(cell, raster_number), cell.window.width
        if block is None:
            lut = np.array([NODATA_CODE], np.int64)
            nothing = np.zeros((1, 1), np.uint8)
            return self._refined(band, width, nothing, (0, 0, _EVERYWHERE), lut, 0)
        nodata, (row, col, k) = self._task.rasters[raster_number].nodata, block.place
        pixels = block.pixels[0]
        of_values = self._codes[number]
        if of_values is not None:
            place, lowest = (row + band.row, col, k), int(np.iinfo(pixels.dtype).min)
            return self._refined(band, width, pixels, place, of_values, lowest)
        rows = band.ptr.size - 1
        r0, r1 = (row + band.row) // k, (row + band.row + rows - 1) // k + 1
        c0, c1 = col // k, (col + width - 1) // k + 1
        codes = key.codes(pixels[r0:r1, c0:c1], nodata)
        place = (row + band.row - r0 * k, col - c0 * k, k)
        return self._refined(band, width, codes, place, np.zeros(0, np.int64), 0)

    def _refined(
        self, band: Band, width: int, labels: npt.NDArray[Any], place: Place, lut: Ints, lowest: int
    ) -> Band:
        found = cut.refine(
            *band[1:],
            width,
            labels,
            place,
            lut,
            lowest,
            (EXCLUDED_CODE, UNKNOWN_CODE),
            *self._slots.table,
        )
        return Band(band.row, *self._slots.take(found))


def _on_lattice(block: Block, row0: int, rows: int, width: int) -> npt.NDArray[Any]:
    """Pixels of a band, repeated where a pixel of the raster covers several of the lattice."""
    row, col, k = block.place
    row += row0
    if k == 1:
        return block.pixels[0, row : row + rows, col : col + width]
    at_row, at_col = (row + np.arange(rows)) // k, (col + np.arange(width)) // k
    pixels: npt.NDArray[Any] = block.pixels[0][at_row[:, None], at_col[None, :]]
    return pixels
