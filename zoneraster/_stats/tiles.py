"""How the lattice is cut into tasks, and tasks into cells: integers only."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from zoneraster._grid import (
    BATCH_SIDES,
    MIN_BATCHES,
    Window,
    block_window,
    blocks_near,
    blocks_under,
    n_blocks,
)
from zoneraster._values import Placement

# Up to a tile of 10 degrees at 0.00025 degree, tasks are made as large as a common multiple is.
_MAX_UNIT = 40_000


class Part(NamedTuple):
    """A chunk of the store, by row and column, and the lattice window of it that is meant."""

    chunk: tuple[int, int]
    window: Window


class _Cuts(NamedTuple):
    """Where tasks may be cut along an axis: every `step` lattice pixels; `first` is one."""

    step: int
    first: int

    def and_at(self, other: _Cuts) -> _Cuts | None:
        """Places that are among both, by the Chinese remainder theorem; None without any."""
        shared = math.gcd(self.step, other.step)
        if (other.first - self.first) % shared:
            return None
        ours, theirs = self.step // shared, other.step // shared
        times = (other.first - self.first) // shared * pow(ours, -1, theirs) % theirs
        step = ours * other.step
        return _Cuts(step, (self.first + times * self.step) % step)


@dataclass(frozen=True, slots=True)
class Tiling:
    """How the lattice is cut into tasks.

    Parameters
    ----------
    shape, chunks : (int, int)
        Of the store, on the lattice.
    side : (int, int)
        Rows and columns of a task.
    lead : (int, int)
        Rows and columns by which the first tasks are cut short.
    """

    shape: tuple[int, int]
    chunks: tuple[int, int]
    side: tuple[int, int]
    lead: tuple[int, int] = (0, 0)

    @classmethod
    def of(
        cls, shape: tuple[int, int], chunks: tuple[int, int], placements: Iterable[Placement]
    ) -> Tiling:
        """Cut into tasks that hold whole chunks of all rasters where these have a common multiple.

        Of whole chunks of the store too, where that leaves enough tasks: else its runs, which are
        cheap, are burned in each of the tasks that share a chunk. Tasks are as large as 8 x 8
        chunks of the store, or one common multiple where that is larger; less where there would be
        less than 64 tasks.
        """
        cuts = [_cuts_along(axis, shape, chunks, tuple(placements)) for axis in (0, 1)]
        for times in BATCH_SIDES:
            rows, cols = (
                max(step, times * chunk // step * step)
                for (step, _), chunk in zip(cuts, chunks, strict=True)
            )
            lead = (-cuts[0].first % rows, -cuts[1].first % cols)
            tiling = cls(shape, chunks, (rows, cols), lead)
            if tiling.n_tasks >= MIN_BATCHES:
                return tiling
        return tiling

    @property
    def n_tasks(self) -> int:
        """Number of tasks."""
        return math.prod(n_blocks(n, side) for n, side in zip(self._whole, self.side, strict=True))

    @property
    def _whole(self) -> tuple[int, int]:
        """Shape of the lattice with the lead before it."""
        return self.shape[0] + self.lead[0], self.shape[1] + self.lead[1]

    def chunk_window(self, row: int, col: int) -> Window:
        """A chunk of the store on the lattice, cut to the grid."""
        return block_window((row, col), self.chunks, self.shape)

    def tasks_of(self, chunks: Iterable[tuple[int, int]]) -> dict[int, tuple[Part, ...]]:
        """Tasks, by number, and what they hold of some chunks."""
        found: dict[int, list[Part]] = {}
        across = n_blocks(self._whole[1], self.side[1])
        rows, cols = self.lead
        for chunk in chunks:
            window = self.chunk_window(*chunk).moved(rows, cols)
            for i, j in itertools.product(*blocks_under(window, self.side)):
                part = block_window((i, j), self.side, self._whole).intersect(window)
                assert part is not None
                found.setdefault(i * across + j, []).append(Part(chunk, part.moved(-rows, -cols)))
        return {number: tuple(parts) for number, parts in found.items()}


def _cuts_along(
    axis: int, shape: tuple[int, int], chunks: tuple[int, int], placements: Sequence[Placement]
) -> _Cuts:
    """Where tasks may be cut along an axis, rasters with the largest chunks considered first."""
    size, chunk, other = shape[axis], chunks[axis], 1 - axis
    n_across = n_blocks(shape[other], chunks[other])

    def is_small(step: int) -> bool:
        few = n_blocks(size, step) * n_across < MIN_BATCHES
        return step <= max(_MAX_UNIT, chunk) or not few

    cuts = _Cuts(1, 0)
    for placement in sorted(placements, key=lambda p: -math.prod(p.chunk) * p.factor**2):
        own = placement.chunk[axis] * placement.factor
        both = cuts.and_at(_Cuts(own, placement.first[axis] % own))
        if both is not None and is_small(both.step):
            cuts = both
    whole = cuts.and_at(_Cuts(chunk, 0))
    if whole is not None and is_small(whole.step):
        is_nested = whole.step == max(chunk, cuts.step)
        if is_nested or n_blocks(size, whole.step) ** 2 >= MIN_BATCHES:
            return whole
    return cuts._replace(step=blocks_near(cuts.step, chunk))


@dataclass(frozen=True, slots=True)
class Cell:
    """A window inside one chunk of the store and at most one block of each raster.

    Parameters
    ----------
    chunk : (int, int)
        Chunk row and column of the store.
    window : Window
        On the lattice.
    blocks : tuple of (int, int) or None
        Block of each raster; None where the window lies outside of it.
    """

    chunk: tuple[int, int]
    window: Window
    blocks: tuple[tuple[int, int] | None, ...]


def cells_of(parts: Sequence[Part], placements: Sequence[Placement]) -> list[Cell]:
    """Cells of a task, in the order in which they are reduced.

    Parameters
    ----------
    parts : sequence of Part
        Of the task.
    placements : sequence of Placement

    Returns
    -------
    list of Cell
        All cells of a block of the raster with the largest blocks come one after the other, so that
        few blocks are needed at any time.
    """
    cells = []
    for chunk, window in parts:
        rows = _cut(window.row0, window.row1, 0, placements)
        cols = _cut(window.col0, window.col1, 1, placements)
        for (r0, r1), (c0, c1) in itertools.product(rows, cols):
            cell = Window(r0, r1, c0, c1)
            blocks = tuple(
                p.block_of(cell) if p.extent.intersect(cell) else None for p in placements
            )
            cells.append(Cell(chunk, cell, blocks))
    if not placements:
        return cells
    largest = max(range(len(placements)), key=lambda i: math.prod(placements[i].unit))
    return sorted(cells, key=lambda c: (c.blocks[largest] or (-1, -1), c.chunk, c.window.row0))


def _cut(
    start: int, stop: int, axis: int, placements: Sequence[Placement]
) -> list[tuple[int, int]]:
    """Cut a range at the units and ends of all rasters."""
    cuts = {n for p in placements for n in p.cuts(axis, start, stop) if start < n < stop}
    return list(itertools.pairwise([start, *sorted(cuts), stop]))
