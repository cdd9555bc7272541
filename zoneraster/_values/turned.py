"""Rasters whose longitudes are counted from elsewhere: 0..360 degrees where a store has -180..180.

A raster that goes around the globe begins at any of its columns, and one that does not is moved by
whole turns. Pixels and their order stay as they are; only where windows are read from changes.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from fractions import Fraction

import numpy as np

from zoneraster._grid import Grid, Window, columns_around, is_in_degrees
from zoneraster._values.decoding import Block
from zoneraster._values.opened import Lanes, OpenRaster, Pixels, SparsePixels, digest_of

# Pixels beyond the store on either side, of which resampling makes those at its border.
MARGIN = 8
# Longitudes are of -540..540 degrees.
_TURNS = (0, -1, 1, -2, 2)


def turned(opened: OpenRaster, store: Grid) -> OpenRaster:
    """A raster in degrees moved around the globe, so that it covers a store.

    Parameters
    ----------
    opened : OpenRaster
    store : Grid

    Returns
    -------
    OpenRaster
        One that goes around the globe covers all columns of the store; its own are cut to these,
        and some more. Another is moved where it meets the store only after a turn. The same where
        neither is needed. Stores in other units have longitudes of -180..180.
    """
    grid = opened.grid
    if not is_in_degrees(grid.crs):
        return opened
    step, (west, north) = grid.resolution[0], grid.origin
    (low, high), east = _columns(store), west + grid.width * step
    if west <= low and high <= east:
        return opened
    around, first, width = columns_around(grid), 0, grid.width
    if around:
        first = (low - west) // step - MARGIN
        # So that what is read at once is whole chunks, as before.
        first -= first % opened.chunks[-1]
        width = -((west - high) // step) + MARGIN - first
        west += first * step
    else:
        covered = _covered((west, east), (low, high))
        turns = max(_TURNS, key=lambda by: covered[by])
        if covered[0] > 0 or covered[turns] <= 0:
            return opened
        west += turns * 360
    moved = Grid(grid.crs, (step, 0, west, 0, -grid.resolution[1], north), (grid.height, width))
    return replace(opened, grid=moved, pixels=TurnedPixels(opened.pixels, first, around or width))


def meets_twice(raster: Grid, store: Grid) -> bool:
    """Whether a raster that does not go around the globe meets a store on both sides of a seam.

    Only what lies where its longitudes say is read.
    """
    if not is_in_degrees(raster.crs) or columns_around(raster):
        return False
    covered = _covered(_columns(raster), _columns(store))
    return sum(width > 0 for width in covered.values()) > 1


def _columns(grid: Grid) -> tuple[Fraction, Fraction]:
    """West and east of a grid in degrees; of others, those of the longitudes that PROJ gives."""
    if not is_in_degrees(grid.crs):
        return Fraction(-180), Fraction(180)
    west = grid.origin[0]
    return west, west + grid.width * grid.resolution[0]


def _covered(
    raster: tuple[Fraction, Fraction], store: tuple[Fraction, Fraction]
) -> dict[int, Fraction]:
    """Degrees of a store that a raster covers after some turns; negative where it meets none."""
    (west, east), (low, high) = raster, store
    return {by: min(east + by * 360, high) - max(west + by * 360, low) for by in _TURNS}


def is_turned(opened: OpenRaster) -> bool:
    """Whether a raster was moved around the globe."""
    return isinstance(opened.pixels, TurnedPixels)


@dataclass(frozen=True, slots=True, eq=False)
class TurnedPixels:
    """Pixels of a raster that begins at another of its columns.

    Parameters
    ----------
    pixels : Pixels
        Those of the raster as it is stored.
    first : int
        Its column that comes first; negative ones and those beyond `around` are counted on around
        the globe.
    around : int
        Its columns around the globe.
    """

    pixels: Pixels
    first: int
    around: int

    def read(self, lanes: Lanes, window: Window) -> Block:
        """Stored pixels, (lanes..., rows, cols)."""
        blocks = [self.pixels.read(lanes, piece) for piece in self._pieces(window)]
        return blocks[0] if len(blocks) == 1 else np.concatenate(blocks, axis=-1)

    def narrowed(self, window: Window) -> TurnedPixels:
        """What is left of the source; all columns where a window goes over its border."""
        pieces = self._pieces(window)
        columns = (0, self.around) if len(pieces) > 1 else (pieces[0].col0, pieces[0].col1)
        pixels = self.pixels.narrowed(Window(window.row0, window.row1, *columns))
        return self if pixels is self.pixels else replace(self, pixels=pixels)

    def identity(self, window: Window) -> bytes | None:
        """That of the parts of the source."""
        found = [self.pixels.identity(piece) for piece in self._pieces(window)]
        known = [one for one in found if one is not None]
        if len(known) < len(found):
            return None
        return digest_of(repr((self.first, self.around)), *known)

    def not_stored(self, lanes: Lanes, window: Window, block: Block) -> list[tuple[int, Window]]:
        """What the source says of its parts."""
        if not isinstance(self.pixels, SparsePixels):
            return []
        out, done = [], 0
        for piece in self._pieces(window):
            part = block[..., done : done + piece.width]
            by = window.col0 + done - piece.col0
            found = self.pixels.not_stored(lanes, piece, part)
            out += [(n, one.moved(0, by)) for n, one in found]
            done += piece.width
        return out

    def _pieces(self, window: Window) -> list[Window]:
        """Windows of the source, from west to east."""
        pieces, col, end = [], window.col0 + self.first, window.col1 + self.first
        while col < end:
            start = col % self.around
            stop = min(start + end - col, self.around)
            pieces.append(Window(window.row0, window.row1, start, stop))
            col += stop - start
        return pieces
