"""Where rasters lie on the pixels that are reduced: integers only.

The *lattice* is the store's grid, or a whole number of times finer where the values are. Everything
that a reduction reads is placed on it by whole numbers, or refused. *Tasks* cut the lattice so that
the chunks of all rasters fit into them where that is possible; *cells* cut a task along the chunks
of everything, so that one cell needs one chunk of each raster.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction

from zoneraster.errors import AlignmentError, GridError
from zoneraster.grid import Grid
from zoneraster.windows import BATCH_SIDES, MIN_BATCHES, Window

# The largest side of a task's unit: a tile of 10 degrees at 0.00025 degree.
_MAX_UNIT = 40_000
# Pixels read at once from rasters whose chunks are wide strips.
_MAX_BLOCK = 2**26
# Decimals of a transform or of coordinates are often cut: no edge may be off by more than this.
_FIT_PIXELS = Fraction(1, 1000)


@dataclass(frozen=True, slots=True)
class Placement:
    """A raster on the lattice.

    Parameters
    ----------
    factor : int
        Side of the raster's pixels, in lattice pixels.
    row, col : int
        Lattice position of its north-western corner.
    height, width : int
        Its size, in its own pixels.
    unit : (int, int)
        Rows and columns that are read at once, in its own pixels.
    """

    factor: int
    row: int
    col: int
    height: int
    width: int
    unit: tuple[int, int]

    @property
    def extent(self) -> Window:
        """What it covers, on the lattice."""
        k = self.factor
        return Window(self.row, self.row + self.height * k, self.col, self.col + self.width * k)

    def pixels_of(self, window: Window) -> Window:
        """Its pixels under a lattice window that lies inside its extent."""
        k = self.factor
        return Window(
            (window.row0 - self.row) // k,
            -((self.row - window.row1) // k),
            (window.col0 - self.col) // k,
            -((self.col - window.col1) // k),
        )

    def block_of(self, window: Window) -> tuple[int, int]:
        """Number, in both directions, of the unit that holds a cell."""
        pixels = self.pixels_of(window)
        return pixels.row0 // self.unit[0], pixels.col0 // self.unit[1]

    def block_window(self, block: tuple[int, int], within: Window) -> Window:
        """Pixels of a block that a lattice window needs."""
        (i, j), (rows, cols) = block, self.unit
        unit = Window(i * rows, (i + 1) * rows, j * cols, (j + 1) * cols)
        covered = self.extent.intersect(within)
        needed = covered and self.pixels_of(covered).intersect(unit)
        if needed is None:  # pragma: no cover - cells come from within
            raise AssertionError(f"block {block} has nothing in {within}")
        return needed

    def cuts(self, axis: int, start: int, stop: int) -> Iterator[int]:
        """Lattice rows (axis 0) or columns at which a new unit, or the raster, begins or ends."""
        first = (self.row, self.col)[axis]
        size = (self.height, self.width)[axis] * self.factor
        step = self.unit[axis] * self.factor
        begin = first + max(0, (start - first) // step) * step
        yield from range(begin, min(stop, first + size), step)
        yield first + size


def relation(raster: Grid, store: Grid, *, label: str) -> tuple[Fraction, Fraction, Fraction]:
    """Row and column of a raster's corner on the store's grid, and the side of its pixels there.

    Raises
    ------
    AlignmentError
        When neither the ratio nor its inverse is a whole number, or the corner is off the lattice.
    """
    cure = (
        "give resample='nearest', 'average' or another method, or build the store on a grid like it"
    )
    try:
        row, col, ratio = _with_steps_of(store, raster).offset_in(store)
    except GridError as err:
        raise AlignmentError(f"{label}: {err}, or {cure}") from err
    if 1 not in {ratio.numerator, ratio.denominator}:
        raise AlignmentError(
            f"{label}: its pixels are {float(ratio):.6g} times as wide as the store's, not a whole "
            f"number of times as wide or as narrow: {cure}"
        )
    fine = ratio.denominator
    # Coordinates are floats, and a raster's own lattice need not show what they were before.
    row, col = (_snapped(place * fine) / fine for place in (row, col))
    if (row * fine).denominator != 1 or (col * fine).denominator != 1:
        raise AlignmentError(
            f"{label}: its corner lies at row {float(row):.6g}, column {float(col):.6g} of the "
            f"store's grid, between the pixels (ratio {ratio}): check for a shift by half a pixel, "
            f"or {cure}"
        )
    return row, col, ratio


def _snapped(place: Fraction) -> Fraction:
    """The whole number next to a place that is within 1/1000 pixel of one."""
    whole = Fraction(round(place))
    return whole if abs(place - whole) <= _FIT_PIXELS else place


def _with_steps_of(store: Grid, raster: Grid) -> Grid:
    """The raster with steps that fit the store's, where that moves no edge by 1/1000 pixel."""
    steps = []
    for mine, theirs, n in zip(
        raster.resolution, store.resolution, raster.shape[::-1], strict=True
    ):
        ratio = mine / theirs
        whole = Fraction(round(ratio)) if ratio >= 1 else Fraction(1, round(1 / ratio))
        fits = n * abs(ratio / whole - 1) <= _FIT_PIXELS
        steps.append(whole * theirs if fits else mine)
    west, north = raster.origin
    return Grid(raster.crs, (steps[0], 0, west, 0, -steps[1], north), raster.shape)


def place(
    raster: Grid, store: Grid, fine: int, chunks: tuple[int, int], *, label: str
) -> Placement:
    """Place a raster on the lattice `fine` times finer than the store's grid.

    Parameters
    ----------
    raster, store : Grid
    fine : int
    chunks : (int, int)
        Rows and columns of the chunks of the raster, in its pixels.
    label : str
        For errors.

    Raises
    ------
    AlignmentError
    """
    row, col, ratio = relation(raster, store, label=label)
    factor = ratio * fine
    if factor.denominator != 1:
        raise AlignmentError(
            f"{label}: its pixels are {float(ratio):.6g} times as wide as the store's, finer than "
            "the values that they choose or group: give resample='nearest' for it, or values as "
            "fine, or leave it out"
        )
    height, width = raster.shape
    unit = (min(chunks[0], height), min(chunks[1], width))
    return Placement(int(factor), int(row * fine), int(col * fine), height, width, unit)


def read_unit(chunks: tuple[int, int], near: tuple[int, int]) -> tuple[int, int]:
    """Whole chunks of about the size `near`, both in pixels of the raster, to be read at once."""
    rows, cols = (
        c if n <= c else (n if n % c == 0 else max(1, round(n / c)) * c)
        for c, n in zip(chunks, near, strict=True)
    )
    if rows * cols > _MAX_BLOCK:
        rows = min(rows, max(chunks[0], _MAX_BLOCK // cols // chunks[0] * chunks[0]))
    return rows, cols


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
        return math.prod(-(-n // s) for n, s in zip(self.shape, self.side, strict=True))

    def chunk_window(self, row: int, col: int) -> Window:
        """A chunk of the store on the lattice, cut to the grid."""
        (rows, cols), (height, width) = self.chunks, self.shape
        return Window(
            row * rows, min((row + 1) * rows, height), col * cols, min((col + 1) * cols, width)
        )

    def tasks_of(self, row: int, col: int) -> Iterator[tuple[int, Window]]:
        """Tasks that hold a part of a chunk, and that part."""
        window, (rows, cols) = self.chunk_window(row, col), self.side
        across = -(-self.shape[1] // cols)
        for i in range(window.row0 // rows, -(-window.row1 // rows)):
            for j in range(window.col0 // cols, -(-window.col1 // cols)):
                task = Window(i * rows, (i + 1) * rows, j * cols, (j + 1) * cols)
                part = task.intersect(window)
                if part is not None:
                    yield i * across + j, part


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


def cells_of(
    parts: Sequence[tuple[tuple[int, int], Window]], placements: Sequence[Placement]
) -> list[Cell]:
    """Cells of a task, in the order in which they are reduced.

    Parameters
    ----------
    parts : sequence of (chunk, Window)
        Chunks of the store, and what of them lies in the task.
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


def hull(windows: Sequence[Window]) -> Window:
    """The smallest window around some."""
    return Window(
        min(w.row0 for w in windows), max(w.row1 for w in windows),
        min(w.col0 for w in windows), max(w.col1 for w in windows),
    )  # fmt: skip


def pixels_under(placement: Placement, windows: Sequence[Window]) -> Window | None:
    """Pixels of a raster under the hull of some lattice windows; None when it lies elsewhere."""
    met = placement.extent.intersect(hull(windows))
    return placement.pixels_of(met) if met else None
