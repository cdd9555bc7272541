"""Where rasters lie on the pixels that are reduced: whole numbers and fractions only.

The *lattice* is the store's grid, or a whole number of times finer where the values are. Everything
that a reduction reads is placed on it by whole numbers, or refused, or resampled to it. A raster's
`Relation` to the store's grid is found once; how fine the lattice has to be, how much is read at
once, and the raster's `Placement` follow from it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from zoneraster._grid import (
    Grid,
    Window,
    block_window,
    blocks_near,
    blocks_of,
    blocks_under,
    hull,
    same_crs,
)
from zoneraster._values.longitudes import turned_to
from zoneraster._values.opened import OpenRaster
from zoneraster._values.relation import SAME, Relation, relation
from zoneraster._values.resample import resampled
from zoneraster.errors import AlignmentError, ValuesError

# Pixels read at once from rasters whose chunks are wide strips.
_MAX_UNIT_PIXELS = 2**26
# Pixels around a grid that resampling may look at.
_MARGIN = 64


@dataclass(frozen=True, slots=True, eq=False)
class AlignedRaster:
    """A raster that fits the store's grid, and how."""

    opened: OpenRaster
    relation: Relation


def aligned(
    opened: OpenRaster, store: Grid, method: str | None, fine: int | None = None
) -> AlignedRaster:
    """The raster itself, or resampled to the store's grid where it has to be and may be.

    Longitudes that are full turns away are moved to the grid's. It is resampled where it is off the
    store's grid, or too fine for a lattice that is `fine` times finer.

    Parameters
    ----------
    opened : OpenRaster
    store : Grid
    method : str or None
        How to resample; None keeps the raster as it is, or refuses it.
    fine : int or None
        None while the lattice is still to be found.

    Raises
    ------
    AlignmentError
        When it does not fit and must not be resampled.
    """
    if method is not None or same_crs(opened.grid.crs, store.crs):
        # Resampling looks at neighbours, too.
        opened = turned_to(opened, store, margin=0 if method is None else _MARGIN)
    try:
        found = relation(opened.grid, store, label=opened.label)
    except AlignmentError:
        if method is None:
            raise
        return AlignedRaster(resampled(opened, store, method), SAME)
    if method is not None and fine is not None and fine % found.fineness:
        return AlignedRaster(resampled(opened, store, method), SAME)
    return AlignedRaster(opened, found)


# ---- a raster on the lattice -------------------------------------------------------------------


def common_fineness(rasters: Iterable[AlignedRaster]) -> int:
    """Lattice pixels along a pixel of the store: as fine as the rasters, which must all agree.

    Raises
    ------
    ValuesError
        When they do not.
    """
    fine: dict[int, str] = {}
    for one in rasters:
        fine.setdefault(one.relation.fineness, one.opened.label)
    if len(fine) > 1:
        said = " and ".join(f"{label} (1/{n})" for n, label in fine.items())
        raise ValuesError(
            f"values have pixels of different sizes below the grid's: {said}: call once for each"
        )
    return next(iter(fine), 1)


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
    chunk : (int, int)
        Rows and columns of what is decoded as a whole, in its own pixels; some make a unit.
    lead : int
        Rows, in its own pixels, by which its first chunk and unit are cut short: those of a raster
        that is stored from south to north.
    """

    factor: int
    row: int
    col: int
    height: int
    width: int
    unit: tuple[int, int]
    chunk: tuple[int, int]
    lead: int = 0

    @property
    def extent(self) -> Window:
        """What it covers, on the lattice."""
        k = self.factor
        return Window(self.row, self.row + self.height * k, self.col, self.col + self.width * k)

    @property
    def side(self) -> tuple[int, int]:
        """Rows and columns of a unit, in lattice pixels."""
        return self.unit[0] * self.factor, self.unit[1] * self.factor

    @property
    def first(self) -> tuple[int, int]:
        """Lattice row and column from which its chunks and units count."""
        return self.row - self.lead * self.factor, self.col

    def pixels_of(self, window: Window) -> Window:
        """Its pixels under a lattice window that lies inside its extent."""
        moved = window.moved(-self.row, -self.col)
        rows, cols = blocks_under(moved, (self.factor, self.factor))
        return Window(rows.start, rows.stop, cols.start, cols.stop)

    def lattice_of(self, window: Window) -> Window:
        """The lattice under a window of its pixels."""
        rows, cols, k = self.row, self.col, self.factor
        return Window(
            rows + window.row0 * k, rows + window.row1 * k,
            cols + window.col0 * k, cols + window.col1 * k,
        )  # fmt: skip

    def block_of(self, window: Window) -> tuple[int, int]:
        """Number, in both directions, of the unit that holds a cell."""
        # In a task every cell asks, so nothing is made that is not needed.
        rows, cols = self.side
        row = self.row - self.lead * self.factor
        return (window.row0 - row) // rows, (window.col0 - self.col) // cols

    def block_window(self, block: tuple[int, int], within: Window) -> Window:
        """Pixels of a block that a lattice window needs."""
        unit = block_window(block, self.unit, (self.height + self.lead, self.width))
        covered = self.extent.intersect(within)
        needed = covered and self.pixels_of(covered).intersect(unit.moved(-self.lead, 0))
        if needed is None:  # pragma: no cover - cells come from within
            raise AssertionError(f"block {block} has nothing in {within}")
        return needed

    def whole_chunks(self, window: Window) -> Window:
        """The chunks that a window of its pixels meets, which may reach beyond its ends."""
        (height, width), lead = self.chunk, self.lead
        rows, cols = blocks_under(window.moved(lead, 0), self.chunk)
        return Window(
            rows.start * height - lead, rows.stop * height - lead,
            cols.start * width, cols.stop * width,
        )  # fmt: skip

    def cuts(self, axis: int, start: int, stop: int) -> Iterator[int]:
        """Lattice rows (axis 0) or columns at which a new unit, or the raster, begins or ends."""
        begin, first, step = (self.row, self.col)[axis], self.first[axis], self.side[axis]
        end = begin + (self.height, self.width)[axis] * self.factor
        units = blocks_of(max(start, begin) - first, min(stop, end) - first, step)
        yield from (max(first + unit * step, begin) for unit in units)
        yield end


def place(one: AlignedRaster, fine: int, chunks: tuple[int, int]) -> Placement:
    """Place a raster on the lattice that is `fine` times finer than the store's grid.

    Parameters
    ----------
    one : AlignedRaster
    fine : int
    chunks : (int, int)
        Rows and columns of the chunks of the store, in its pixels: about as much is read at once.

    Raises
    ------
    AlignmentError
        For a raster that is finer than the lattice.
    """
    opened, ratio = one.opened, one.relation.ratio
    factor = ratio * fine
    if factor.denominator != 1:
        raise AlignmentError(
            f"{opened.label}: its pixels are {float(ratio):.6g} times as wide as the grid's, "
            "finer than the values that they choose or group: give resample='nearest' for it, or "
            "values as fine, or leave it out"
        )
    height, width = opened.grid.shape
    rows, cols = opened.chunks[-2:]
    # Chunks count from the row that is stored first.
    lead = -height % rows if opened.is_flipped else 0
    near = (max(1, int(chunks[0] / ratio)), max(1, int(chunks[1] / ratio)))
    unit = read_unit((rows, cols), near)
    return Placement(
        factor=int(factor),
        row=int(one.relation.row * fine),
        col=int(one.relation.col * fine),
        height=height,
        width=width,
        unit=(min(unit[0], height + lead), min(unit[1], width)),
        chunk=(rows, cols),
        lead=lead,
    )


def read_unit(chunks: tuple[int, int], near: tuple[int, int]) -> tuple[int, int]:
    """Whole chunks of about the size `near`, both in pixels of the raster, to be read at once."""
    rows, cols = (blocks_near(c, n) for c, n in zip(chunks, near, strict=True))
    if rows * cols > _MAX_UNIT_PIXELS:
        rows = min(rows, max(chunks[0], _MAX_UNIT_PIXELS // cols // chunks[0] * chunks[0]))
    return rows, cols


def pixels_under(placement: Placement, windows: Sequence[Window]) -> Window | None:
    """Pixels of a raster under the hull of some lattice windows; None when it lies elsewhere."""
    met = placement.extent.intersect(hull(windows))
    return placement.pixels_of(met) if met else None
