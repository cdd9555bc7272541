"""Cells as bands of runs, cut by the condition and the keys: a run has one group in the end."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from zoneraster._build import ChunkRuns
from zoneraster._stats import cut
from zoneraster._stats.blocks import Blocks, Held
from zoneraster._stats.families import Band, Place
from zoneraster._stats.keys import (
    EXCLUDED_CODE,
    INCLUDED_CODE,
    NODATA_CODE,
    UNKNOWN_CODE,
    Key,
)
from zoneraster._stats.request import StatsTask
from zoneraster._stats.slots import Joint, Slots
from zoneraster._stats.tiles import Cell
from zoneraster._stats.where import holds
from zoneraster._values import Block, Predicate
from zoneraster.arrays import Bools, Ints

# Pixels of the rows that are cut by keys at a time: their labels and runs stay in the cache.
_BAND_PIXELS = 2**20
EVERYWHERE = 2**40  # a pixel that covers any cell
# For `cut.refine`: labels that are codes already.
_AS_THEY_ARE = (np.zeros(0, np.int64), 0)


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

    def whole(self, cell: Cell, runs: ChunkRuns) -> Band:
        """A cell with the slots of its zones."""
        request = self._task.request
        window, chunk = cell.window, request.tiling.chunk_window(*cell.chunk)
        inside = (
            window.row0 - chunk.row0, window.row1 - chunk.row0,
            window.col0 - chunk.col0, window.col1 - chunk.col0,
        )  # fmt: skip
        chunk_runs = (runs.run_ptr, runs.start, runs.zone_id)
        found = cut.zone_runs(chunk_runs, runs.share, inside, request.fine, self._slots.table)
        ptr, begin, slot, share = self._slots.take(found)
        if request.only is not None:
            # Without a zone: nothing is read for their sake.
            slot = np.where(self._slots.is_of(request.only)[slot], slot, cut.NO_SLOT)
        return Band(0, ptr, begin, slot.astype(np.int32, copy=False), share)

    def bands(self, cell: Cell, runs: ChunkRuns) -> Iterator[Band]:
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
            band = Band(row, ptr - a, whole.begin[a:b], whole.slot[a:b], whole.share[a:b])
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

        def read(number: int) -> tuple[Block, Bools]:
            block, raster = self._blocks.get(cell, number), self._task.rasters[number]
            if block is None:
                unknown[:] = True
                return np.zeros((rows, width), raster.dtype), np.zeros((rows, width), bool)
            pixels = _on_lattice(block, band.row, rows, width)
            valid: Bools = pixels == pixels
            if raster.nodata is not None:
                valid &= pixels != raster.nodata
            unknown[~valid] = True
            return pixels, valid

        found = np.ascontiguousarray(holds(where, read)).view(np.uint8)
        found = np.where(unknown & (found == 0), np.uint8(2), found)
        lut = np.array([EXCLUDED_CODE, INCLUDED_CODE, UNKNOWN_CODE], np.int64)
        return self._refined(band, width, found, (0, 0, 1), (lut, 0))

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
        return self._refined(band, width, numbers, (0, 0, 1), _AS_THEY_ARE)

    def _split(self, cell: Cell, band: Band, number: int) -> Band:
        """Cut runs by the labels of a key."""
        raster_number, key = self._task.request.keys[number]
        block, width = self._blocks.get(cell, raster_number), cell.window.width
        if block is None:
            lut = np.array([NODATA_CODE], np.int64)
            nothing = np.zeros((1, 1), np.uint8)
            return self._refined(band, width, nothing, (0, 0, EVERYWHERE), (lut, 0))
        nodata, (row, col, k) = self._task.rasters[raster_number].nodata, block.place
        pixels = block.pixels[0]
        of_values = self._codes[number]
        if of_values is not None:
            place, lowest = (row + band.row, col, k), int(np.iinfo(pixels.dtype).min)
            return self._refined(band, width, pixels, place, (of_values, lowest))
        rows = band.ptr.size - 1
        r0, r1 = (row + band.row) // k, (row + band.row + rows - 1) // k + 1
        c0, c1 = col // k, (col + width - 1) // k + 1
        codes = key.codes(pixels[r0:r1, c0:c1], nodata)
        place = (row + band.row - r0 * k, col - c0 * k, k)
        return self._refined(band, width, codes, place, _AS_THEY_ARE)

    def _refined(
        self, band: Band, width: int, labels: Block, place: Place, codes: tuple[Ints, int]
    ) -> Band:
        """Cut runs where the code of a label changes."""
        keep = (EXCLUDED_CODE, UNKNOWN_CODE)
        runs, table = (*band[1:4], width), self._slots.table
        found = cut.refine(runs, band.share, labels, place, codes, keep, table)
        return Band(band.row, *self._slots.take(found))


def _on_lattice(block: Held, row0: int, rows: int, width: int) -> Block:
    """Pixels of a band, repeated where a pixel of the raster covers several of the lattice."""
    row, col, k = block.place
    row += row0
    if k == 1:
        return block.pixels[0, row : row + rows, col : col + width]
    at_row, at_col = (row + np.arange(rows)) // k, (col + np.arange(width)) // k
    pixels: Block = block.pixels[0][at_row[:, None], at_col[None, :]]
    return pixels
