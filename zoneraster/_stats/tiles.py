"""How the lattice is cut into tasks, and tasks into cells: integers only."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from zoneraster._grid import BATCH_SIDES, MIN_BATCHES, Window, block_window, blocks_under, n_blocks
from zoneraster._values import Placement

# The largest side of a task's unit: a tile of 10 degrees at 0.00025 degree.
_MAX_UNIT = 40_000


class Part(NamedTuple):
    """A chunk of the store, by row and column, and the lattice window of it that is meant."""

    chunk: tuple[int, int]
    window: Window


@dataclass(frozen=True, slots=True)
class Tiling:
    """How the lattice is cut into tasks.

    Parameters
    ----------
    shape, chunks : (int, int)
        Of the store, on the lattice.
    side : (int, int)
        Rows and columns of a task.
    """

    shape: tuple[int, int]
    chunks: tuple[int, int]
    side: tuple[int, int]

    @classmethod
    def of(
        cls, shape: tuple[int, int], chunks: tuple[int, int], placements: Iterable[Placement]
    ) -> Tiling:
        """Cut into tasks that hold whole units of all rasters where these have a common multiple.

        Of up to 8 x 8 chunks of the store, or one common multiple where that is larger; fewer where
        the store would have less than 64 tasks.
        """
        unit = list(chunks)
        for placement in sorted(placements, key=lambda p: -p.unit[0] * p.unit[1]):
            for axis in (0, 1):
                common = math.lcm(unit[axis], placement.unit[axis] * placement.factor)
                if common <= max(_MAX_UNIT, chunks[axis]):
                    unit[axis] = common
        for times in BATCH_SIDES:
            side = tuple(max(u, times * c // u * u) for u, c in zip(unit, chunks, strict=True))
            tiling = cls(shape, chunks, (side[0], side[1]))
            if tiling.n_tasks >= MIN_BATCHES:
                return tiling
        return tiling

    @property
    def n_tasks(self) -> int:
        """Number of tasks."""
        return math.prod(n_blocks(n, side) for n, side in zip(self.shape, self.side, strict=True))

    def chunk_window(self, row: int, col: int) -> Window:
        """A chunk of the store on the lattice, cut to the grid."""
        return block_window((row, col), self.chunks, self.shape)

    def tasks_of(self, chunks: Iterable[tuple[int, int]]) -> dict[int, tuple[Part, ...]]:
        """Tasks, by number, and what they hold of some chunks."""
        found: dict[int, list[Part]] = {}
        across = n_blocks(self.shape[1], self.side[1])
        for chunk in chunks:
            window = self.chunk_window(*chunk)
            for i, j in itertools.product(*blocks_under(window, self.side)):
                part = block_window((i, j), self.side, self.shape).intersect(window)
                assert part is not None
                found.setdefault(i * across + j, []).append(Part(chunk, part))
        return {number: tuple(parts) for number, parts in found.items()}


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
