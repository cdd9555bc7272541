"""One task of the statistics: a pure function of zones, values and options.

A task walks over its cells. In each it takes the runs of the zones, cuts them by predicate and keys
(`bands`), and adds the values to the accumulators of their slots. Every block of a raster is read
once, when the first cell needs it, and dropped after the last one.
"""

from __future__ import annotations

import functools
import itertools
from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt

from zoneraster._grid import Grid, row_areas
from zoneraster._stats import reduce
from zoneraster._stats.bands import Band, Blocks, Cutter, Lanes, Place
from zoneraster._stats.keys import NODATA_CODE, UNLISTED_CODE, Key
from zoneraster._stats.partial import Moments, Partial
from zoneraster._stats.ragged import sorted_rows, stacked
from zoneraster._stats.request import Digits, StatsTask
from zoneraster._stats.slots import Slots, Tally, bits_of, limits_of
from zoneraster._stats.tiles import Cell, cells_of
from zoneraster._values import OpenRaster
from zoneraster.arrays import Floats, Ints
from zoneraster.errors import ClosureError, ValuesError

# Runs that may wait for the values of their cell: 8 bytes each.
_WAITING_RUNS = 2**21
_MAX_VALUES = 2**26  # pairs of group and value that a task may hold


@functools.lru_cache(maxsize=64)
def _areas(grid: Grid, row0: int, row1: int) -> Floats:
    """Areas of the pixels of some lattice rows."""
    return row_areas(grid, row0, row1)


class _Reduction:
    """The state of a task while it runs."""

    def __init__(self, task: StatsTask) -> None:
        self.task, self.request = task, task.request
        request = task.request
        self.cells = cells_of(task.parts, request.placements)
        self.slots = Slots()
        self.blocks = Blocks(task, self.cells)
        self.cutter = Cutter(task, self.blocks, self.slots)
        self.n_lanes = int(np.prod(request.dims, dtype=np.int64))
        self.pixels, self.area = np.zeros(0, np.int64), np.zeros(0, np.float64)
        parts = request.wanted.parts
        self.moments = [
            Moments.empty((self.n_lanes, 0), parts, is_integer=task.rasters[i].dtype.kind in "iu")
            for i in request.measures
        ]
        self.tallies = [
            [Tally() for _ in range(self.n_lanes)] if digits else None for digits in request.digits
        ]
        custom = request.wanted.custom if request.moments else ()
        self.states: list[dict[tuple[int, int], Floats]] = [
            {} for _ in itertools.product(request.measures, custom)
        ]
        self.prefixes: dict[int, list[Ints]] = {}
        self.read = self.no_zone = 0
        self.outside = [0] * len(request.measures)

    def run(self) -> Partial:
        """Reduce all cells."""
        lane_blocks = [list(self._lane_blocks(m)) for m in range(len(self.request.measures))]
        for cell in self.cells:
            layers = [runs for runs in self.blocks.runs(cell) if runs is not None]
            for left, runs in zip(range(len(layers) - 1, -1, -1), layers, strict=True):
                self.read += cell.window.height * cell.window.width
                self._reduce(cell, self.cutter.bands(cell, runs), lane_blocks, is_last=not left)
            self.blocks.done_with(cell)
        return self._partial()

    def _reduce(
        self,
        cell: Cell,
        bands: Iterator[Band],
        lane_blocks: list[list[tuple[Lanes, Ints]]],
        *,
        is_last: bool,
    ) -> None:
        """Add the values of a cell, below the runs of one layer.

        Bands wait for the values until all are cut, so that keys and values need not be held at a
        time; many runs wait only where values come in several blocks, each of which is read once.
        """
        may_wait = any(len(blocks) > 1 for blocks in lane_blocks)
        waiting: list[Band] = []
        for band in bands:
            if self._count(cell, band):
                waiting.append(band)
            if not may_wait and sum(b.slot.size for b in waiting) > _WAITING_RUNS:
                self._add_all(cell, waiting, lane_blocks, is_last=False)
                waiting = []
        if is_last:
            self.blocks.drop_keys(cell)
        if waiting:
            self._add_all(cell, waiting, lane_blocks, is_last=is_last)
        for moments in self.moments:
            if moments.is_integer:
                moments.carry()

    def _add_all(
        self,
        cell: Cell,
        bands: list[Band],
        lane_blocks: list[list[tuple[Lanes, Ints]]],
        *,
        is_last: bool,
    ) -> None:
        """Add the values of some bands to all measures and lanes."""
        for m, blocks in enumerate(lane_blocks):
            for lanes, numbers in blocks:
                self._add(cell, bands, m, lanes, numbers)
                if is_last and len(blocks) > 1:
                    self.blocks.forget(cell, self.request.measures[m], lanes)

    def _lane_blocks(self, measure: int) -> Iterator[tuple[Lanes, Ints]]:
        """What is read at once of the extra dimensions, and the numbers of these lanes."""
        dims = self.request.dims
        raster = self.task.rasters[self.request.measures[measure]]
        numbers = np.arange(self.n_lanes).reshape(dims)
        ranges = [
            [slice(a, min(a + c, n)) for a in range(0, n, c)]
            for n, c in zip(dims, raster.chunks, strict=False)
        ]
        for lanes in itertools.product(*ranges):
            yield lanes, numbers[lanes].ravel()

    def _count(self, cell: Cell, band: Band) -> bool:
        """Count pixels by slot; whether any of them is to be reduced."""
        self._grow()
        before = int(self.pixels[~self.excluded].sum())
        areas = self._band_areas(cell, band)
        self.no_zone += reduce.count_pixels(
            *band[1:], cell.window.width, areas, self.pixels, self.area
        )
        n_active = int(self.pixels[~self.excluded].sum()) - before
        for m, number in enumerate(self.request.measures):
            if cell.blocks[number] is None:
                self.outside[m] += n_active
        return n_active > 0

    def _band_areas(self, cell: Cell, band: Band) -> Floats:
        row = cell.window.row0 + band.row
        return _areas(self.request.grid, row, row + band.ptr.size - 1)

    def _grow(self) -> None:
        """Make room for the slots that have appeared."""
        n = self.slots.n
        if n > self.pixels.size:
            more = max(n, 2 * self.pixels.size)
            self.pixels = _padded(self.pixels, more, 0)
            if not self.moments or "pixel_area" in self.request.wanted.names:
                self.area = _padded(self.area, more, 0)
            for m, old in enumerate(self.moments):
                new = Moments.empty(
                    (self.n_lanes, more), self.request.wanted.parts, is_integer=old.is_integer
                )
                for old_values, values in zip(old, new, strict=True):
                    values[:, : old_values.shape[1]] = old_values
                self.moments[m] = new
        self.excluded = _padded(self.slots.is_excluded, self.pixels.size, fill=False)

    def _add(self, cell: Cell, bands: list[Band], m: int, lanes: Lanes, numbers: Ints) -> None:
        """Add the values of some bands and lanes to one measure."""
        raster = self.task.rasters[self.request.measures[m]]
        block = self.blocks.get(cell, self.request.measures[m], lanes)
        if block is None:
            return
        _refuse_overflow(block.pixels, cell, raster)
        for lane, pixels in zip(numbers.tolist(), block.pixels, strict=True):
            for band in bands:
                row, col, k = block.place
                place = (row + band.row, col, k)
                self._add_band(cell, band, m, lane, pixels, place)

    def _add_band(
        self, cell: Cell, band: Band, m: int, lane: int, pixels: npt.NDArray[Any], place: Place
    ) -> None:
        request, width = self.request, cell.window.width
        raster = self.task.rasters[request.measures[m]]
        kind = pixels.dtype.type
        nodata = (kind(0 if raster.nodata is None else raster.nodata), raster.nodata is not None)
        if request.moments:
            into = (self.excluded, *(column[lane] for column in self.moments[m]))
            areas = self._band_areas(cell, band)
            reduce.accumulate(
                *band[1:], width, pixels, place, nodata, limits_of(pixels.dtype), areas,
                into,
            )  # fmt: skip
            if request.wanted.custom:
                self._update_states(band, width, m, lane, pixels, place, nodata, areas)
        digits, tallies = request.digits[m], self.tallies[m]
        if digits is not None and tallies is not None:
            tally = tallies[lane]
            bits, is_float, top = bits_of(pixels)
            found = reduce.tally(
                *band[1:], width, pixels, bits, place, nodata,
                (digits.low, digits.high, is_float, top), self._prefixes(digits, lane),
                self.excluded, tally.counts, tally.table,
            )  # fmt: skip
            tally.counts, tally.table = found[0], found[1:]
            if tally.table[2] > _MAX_VALUES:
                raise ValuesError(
                    f"{raster.label}: more than {_MAX_VALUES:,} different values in one task: "
                    "majority, variety and the like are for rasters of classes; ask for quantiles"
                )

    def _prefixes(self, digits: Digits, lane: int) -> tuple[Ints, Ints]:
        """Prefixes of all slots that exist, as `reduce.tally` takes them."""
        if digits.prefixes is None:
            return np.zeros(0, np.int64), np.zeros(0, np.int64)
        request = self.request
        lists = self.prefixes.setdefault(lane, [])
        more = np.arange(len(lists), self.slots.n)
        rows = self.slots.index(more, len(request.keys), has_where=request.where is not None)
        nothing = np.zeros(0, np.int64)
        lists += [digits.prefixes.get((lane, *row), nothing) for row in map(tuple, rows.tolist())]
        sizes = [0, *(p.size for p in lists)]
        return np.cumsum(sizes), np.concatenate([nothing, *lists])

    def _update_states(
        self, band: Band, width: int, m: int, lane: int, pixels: npt.NDArray[Any], place: Place,
        nodata: tuple[Any, bool], areas: Floats,
    ) -> None:  # fmt: skip
        """Give the values of each slot to the custom statistics."""
        offset, values, value_areas = reduce.gather(
            *band[1:], width, pixels, place, nodata, areas, self.slots.n
        )
        custom = self.request.wanted.custom
        for g in np.flatnonzero(np.diff(offset)).tolist():
            if self.excluded[g]:
                continue
            own = slice(offset[g], offset[g + 1])
            for s, stat in enumerate(custom):
                states = self.states[m * len(custom) + s]
                old = states.get((lane, g))
                old = stat.initial() if old is None else old
                states[lane, g] = stat.updated(old, values[own], value_areas[own])

    def _partial(self) -> Partial:
        """All accumulators, one row per lane and group."""
        request = self.request
        leaves = np.flatnonzero(self.pixels)
        if int(self.pixels.sum()) + self.no_zone != self.read:
            raise ClosureError(
                f"task {self.task.number}: {int(self.pixels.sum()):,} pixels in zones and "
                f"{self.no_zone:,} without make {self.read:,} read: please report this"
            )
        groups = self.slots.index(leaves, len(request.keys), has_where=request.where is not None)
        _refuse_buckets(groups, request.keys)
        lane = np.repeat(np.arange(self.n_lanes), leaves.size)
        index = np.column_stack([lane, np.tile(groups, (self.n_lanes, 1))])
        owner = np.full(self.slots.n, -1, np.int64)
        owner[leaves] = np.arange(leaves.size)
        tallies = [
            None if lanes is None else stacked([t.ragged(owner, leaves.size) for t in lanes])
            for lanes in self.tallies
        ]
        initial = [stat.initial() for _ in request.measures for stat in request.wanted.custom]
        states = [
            [found.get((a, g), first) for a in range(self.n_lanes) for g in leaves.tolist()]
            for found, first in zip(self.states, initial, strict=False)
        ]
        partial = Partial(
            index.astype(np.int64),
            np.tile(self.pixels[leaves], self.n_lanes),
            np.tile(self.area[leaves], self.n_lanes) if self.area.size else self.area,
            tuple(
                Moments._make(c[:, leaves].ravel() if c.size else c.ravel() for c in m)
                for m in self.moments
            ),
            tuple(tallies),
            tuple(states),
            self.read,
            self.no_zone,
            tuple(self.outside),
        )
        # Slots come in the order in which they appeared; rows are sorted.
        return partial.take(sorted_rows(partial.index)[0])


def _padded(values: npt.NDArray[Any], size: int, fill: Any) -> npt.NDArray[Any]:
    """`values` with `fill` behind them."""
    out = np.full(size, fill, values.dtype)
    out[: values.size] = values
    return out


def _refuse_overflow(pixels: npt.NDArray[Any], cell: Cell, raster: OpenRaster) -> None:
    """Stop where a sum of 64-bit integers could leave 64 bits."""
    if pixels.dtype != np.int64:
        return
    valid = pixels if raster.nodata is None else pixels[pixels != raster.nodata]
    largest = max(abs(int(valid.min())), abs(int(valid.max()))) if valid.size else 0
    if largest * cell.window.height * cell.window.width >= 2**62:
        raise ValuesError(
            f"{raster.label}: integers up to {largest:,} may overflow in sums: store them as "
            "float64, or give their nodata value"
        )


def _refuse_buckets(groups: Ints, keys: tuple[tuple[int, Key], ...]) -> None:
    """Raise for pixels without a label where the key refuses them."""
    for k, (_, key) in enumerate(keys, start=1):
        for code, name, what in (
            (NODATA_CODE, key.nodata, "no value"),
            (UNLISTED_CODE, key.unlisted, "a label that is not listed"),
        ):
            bad = np.flatnonzero(groups[:, k] == code)
            if name == "error" and bad.size:
                raise ValuesError(
                    f"key {key.raster} has {what} in zone {groups[bad[0], 0]} (id) and "
                    f"{bad.size - 1:,} other groups: give these pixels a name, e.g. nodata=-1 or "
                    "unlisted=-2"
                )


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
    return task.number, _Reduction(task).run()
