"""Where rasters lie on the pixels that are reduced: integers only.

The *lattice* is the store's grid, or a whole number of times finer where the values are. Everything
that a reduction reads is placed on it by whole numbers, or refused. *Tasks* cut the lattice so that
the chunks of all rasters fit into them where that is possible; *cells* cut a task along the chunks
of everything, so that one cell needs one chunk of each raster.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction

from zoneraster._grid import Grid, Window
from zoneraster.errors import AlignmentError, GridError

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
