"""Tiles that make one raster: where each lies on one lattice, and reading across them.

Tiles are alike (dtype, nodata, scale, dimensions) and lie on one lattice, or they are refused. Only
those that a window meets are read. Where none lies, there is a hole: no value, and counted in the
audit like chunks of a Zarr that were never written. Where several lie, the last one that has a
value counts.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from zoneraster._grid import Grid, Window, hull, same_crs
from zoneraster._values.attributes import Said
from zoneraster._values.decoding import Block, Decoding, DType, with_nodata
from zoneraster._values.opened import Lanes, OpenRaster, SparsePixels, digest_of
from zoneraster._values.relation import relation
from zoneraster.errors import AlignmentError, ValuesError

# A tile up to so many pixels is read as a whole where its own blocks are not its parts.
_SMALL_TILE = 2**24


@dataclass(frozen=True, slots=True, eq=False)
class Tile:
    """A part of a mosaic.

    Parameters
    ----------
    raster : OpenRaster
    shown : Window
        What of it is shown, in its own pixels.
    row, col : int
        Where that begins in the mosaic.
    is_opaque : bool
        It covers what lies below it where it has no value, too.
    """

    raster: OpenRaster
    shown: Window
    row: int
    col: int
    is_opaque: bool = False

    @property
    def window(self) -> Window:
        """What it covers in the mosaic."""
        return self.shown.moved(self.row - self.shown.row0, self.col - self.shown.col0)

    def own(self, window: Window) -> Window:
        """Pixels of its own under a window of the mosaic."""
        return window.moved(self.shown.row0 - self.row, self.shown.col0 - self.col)


# ---- pixels ------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, eq=False)
class MosaicPixels:
    """Pixels of tiles, each in the mosaic's dtype.

    Parameters
    ----------
    tiles : tuple of Tile
        Later ones lie on top.
    dtype : numpy.dtype
    hole : number
        What pixels hold where no tile lies.
    sizes : tuple of int
        Of the dimensions in front of rows and columns.
    overlaps : bool
        Some tiles lie over others.
    """

    tiles: tuple[Tile, ...]
    dtype: DType
    hole: int | float
    sizes: tuple[int, ...]
    overlaps: bool
    _ends: npt.NDArray[np.int64] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_ends", _ends_of([tile.window for tile in self.tiles]))

    def _met(self, window: Window) -> list[tuple[Tile, Window]]:
        """Tiles that a window meets, from below to the top, and what they share with it."""
        row0, row1, col0, col1 = self._ends.T
        rows = (row0 < window.row1) & (row1 > window.row0)
        at = np.flatnonzero(rows & (col0 < window.col1) & (col1 > window.col0))
        met = ((self.tiles[i], self.tiles[i].window.intersect(window)) for i in at.tolist())
        return [(tile, shared) for tile, shared in met if shared is not None]

    def read(self, lanes: Lanes, window: Window) -> Block:
        """Pixels of all tiles that the window meets."""
        met = self._met(window)
        if len(met) == 1 and met[0][1] == window:
            tile = met[0][0]
            return tile.raster.plain(lanes, tile.own(window)).astype(self.dtype, copy=False)
        counts = [len(range(*lane.indices(n))) for lane, n in zip(lanes, self.sizes, strict=True)]
        block = np.full((*counts, *window.shape), self.hole, self.dtype)
        for tile, shared in met:
            pixels = tile.raster.plain(lanes, tile.own(shared))
            into = block[(..., *shared.within(window).slices)]
            if self.overlaps and not tile.is_opaque:
                np.copyto(into, pixels, where=~tile.raster.decoding.is_missing(pixels))
            else:
                into[...] = pixels
        return block

    def not_stored(self, lanes: Lanes, window: Window, block: Block) -> list[tuple[int, Window]]:
        """Holes of a window, and what tiles have not stored."""
        met = self._met(window)
        n_lanes = math.prod(
            len(range(*lane.indices(n))) for lane, n in zip(lanes, self.sizes, strict=True)
        )
        found = [(n_lanes, hole) for hole in _holes(window, [shared for _, shared in met])]
        for tile, shared in met:
            if isinstance(tile.raster.pixels, SparsePixels) and not self.overlaps:
                pixels = block[(..., *shared.within(window).slices)]
                absent = tile.raster.not_stored(lanes, tile.own(shared), pixels)
                moved = (shared.row0 - tile.own(shared).row0, shared.col0 - tile.own(shared).col0)
                found += [(n, part.moved(*moved)) for n, part in absent]
        return found

    def narrowed(self, window: Window) -> MosaicPixels:
        """Those tiles alone that the window meets."""
        tiles = tuple(
            replace(tile, raster=tile.raster.narrowed(tile.own(shared)))
            for tile, shared in self._met(window)
        )
        return replace(self, tiles=tiles)

    def identity(self, window: Window) -> bytes | None:
        """Digest of the identities of all tiles that the window meets; None where one has none."""
        said = []
        for tile, shared in self._met(window):
            own = tile.raster.quick_identity(tile.own(shared))
            if own is None:
                return None
            said.append((tile.row, tile.col, own))
        return digest_of("tiles", repr(said))


def _ends_of(windows: Sequence[Window]) -> npt.NDArray[np.int64]:
    """First and last rows and columns, (windows, 4)."""
    ends = [(one.row0, one.row1, one.col0, one.col1) for one in windows]
    return np.array(ends, np.int64).reshape(-1, 4)


def _holes(window: Window, covered: Sequence[Window]) -> list[Window]:
    """What of a window no other one covers, as windows."""
    rows = sorted({window.row0, window.row1, *(n for w in covered for n in (w.row0, w.row1))})
    cols = sorted({window.col0, window.col1, *(n for w in covered for n in (w.col0, w.col1))})
    is_hole = np.ones((len(rows) - 1, len(cols) - 1), bool)
    for one in covered:
        r0, r1, c0, c1 = (
            rows.index(one.row0), rows.index(one.row1), cols.index(one.col0), cols.index(one.col1)
        )  # fmt: skip
        is_hole[r0:r1, c0:c1] = False
    return [Window(rows[i], rows[i + 1], cols[j], cols[j + 1]) for i, j in np.argwhere(is_hole)]


# ---- making one --------------------------------------------------------------------------------


def joined(rasters: Sequence[OpenRaster], name: str, label: str) -> OpenRaster:
    """One raster of tiles, each where its own grid says.

    Parameters
    ----------
    rasters : sequence of OpenRaster
        Later ones lie on top.
    name, label : str
        Of the result.

    Raises
    ------
    ValuesError
        For tiles that are not alike, not on one lattice, or of which two cover the same pixels.
    """
    first = rasters[0]
    corners = [_corner_on(first, raster) for raster in rasters]
    seen: dict[Window, str] = {}
    windows = []
    for raster, (row, col) in zip(rasters, corners, strict=True):
        window = _whole(raster).moved(row, col)
        if window in seen:
            raise ValuesError(
                f"{label}: {seen[window]} and {raster.label} cover the same pixels, so they are no "
                "tiles of one raster: give each as a raster of its own, {name: path, ...}, or "
                "choose by a pattern such as 'folder/*_loss_*.tif'"
            )
        seen[window] = raster.label
        windows.append(window)
    around = hull(windows)
    tiles = [
        Tile(raster, _whole(raster), window.row0 - around.row0, window.col0 - around.col0)
        for raster, window in zip(rasters, windows, strict=True)
    ]
    (step_x, step_y), (west, north) = first.grid.resolution, first.grid.origin
    corner = west + around.col0 * step_x, north - around.row0 * step_y
    transform = (step_x, 0, corner[0], 0, -step_y, corner[1])
    return mosaic(tiles, Grid(first.grid.crs, transform, around.shape), name, label)


def mosaic(tiles: Sequence[Tile], grid: Grid, name: str, label: str) -> OpenRaster:
    """One raster of tiles that are alike, each where it is said to lie on a grid.

    Raises
    ------
    ValuesError
        For tiles that are not alike.
    """
    first = tiles[0].raster
    for tile in tiles[1:]:
        _check_alike(first, tile.raster, label)
    n_covered, n_twice = _coverage([tile.window for tile in tiles])
    decoding, hole = _with_holes(first.decoding, has_holes=n_covered < math.prod(grid.shape))
    sizes = tuple(coord.size for coord in first.coords)
    remarks = tuple(dict.fromkeys(itertools.chain(*(tile.raster.remarks for tile in tiles))))
    if len(remarks) > 1:
        remarks = (f"{remarks[0]} (and {len(remarks) - 1} of other tiles)",)
    told: dict[str, Any] = {**first.told, "tiles": len(tiles)}
    if n_twice:
        told["overlap"] = n_twice
        twice = f"{label}: {n_twice:,} pixels lie in several tiles"
        remarks += (f"{twice}: the last one that has a value counts",)
    return replace(
        first,
        name=name,
        label=label,
        grid=grid,
        chunks=(*first.chunks[:-2], *_chunks_of(tiles)),
        pixels=MosaicPixels(tuple(tiles), decoding.stored, hole, sizes, n_twice > 0),
        decoding=decoding,
        is_flipped=False,
        version=None,
        remarks=remarks,
        told=told,
    )


def _whole(raster: OpenRaster) -> Window:
    return Window(0, raster.grid.height, 0, raster.grid.width)


def _corner_on(first: OpenRaster, raster: OpenRaster) -> tuple[int, int]:
    """Row and column of a tile on the lattice of the first."""
    if raster is first:
        return 0, 0
    cure = "tiles of one raster lie on one lattice: give them as rasters of their own, or warp them"
    if not same_crs(raster.grid.crs, first.grid.crs):
        names = (raster.grid.crs.name, first.grid.crs.name)
        raise ValuesError(
            f"{raster.label} is in {names[0]}, and {first.label} in {names[1]}: {cure}"
        )
    try:
        found = relation(raster.grid, first.grid, label=raster.label)
    except AlignmentError:
        found = None
    if found is None or found.ratio != 1:
        steps = [
            "{:.9g} x {:.9g}".format(*map(float, one.grid.resolution)) for one in (raster, first)
        ]
        corners = ["{:.9g}, {:.9g}".format(*map(float, one.grid.origin)) for one in (raster, first)]
        raise ValuesError(
            f"{raster.label} has pixels of {steps[0]} from the corner {corners[0]}, and "
            f"{first.label} of {steps[1]} from {corners[1]}: {cure}"
        )
    return int(found.row), int(found.col)


def _check_alike(first: OpenRaster, other: OpenRaster, label: str) -> None:
    """Refuse a tile that means other things by its numbers than the first."""

    def said(raster: OpenRaster) -> dict[str, object]:
        decoding, told = raster.decoding, raster.decoding.said or Said()
        return {
            "dtype": str(decoding.stored),
            "nodata": tuple(sorted(told.nodata)),
            "scale and offset": (decoding.scale, decoding.offset),
            "valid range": (told.low, told.high),
            "units": raster.units,
            "dimensions": raster.dims,
            "coordinates": [coord.tolist() for coord in raster.coords],
            "mask": (decoding.nodata, decoding.missing, decoding.turned),
        }

    ours, theirs = said(first), said(other)
    for what, one in ours.items():
        if theirs[what] != one:
            cure = {
                "nodata": "say what it is for all, zr.Raster(..., nodata=...), with NaN among them "
                "in place of what they declare",
                "units": "say it for all, zr.Raster(..., units=...)",
                "scale and offset": "zr.Raster(..., raw=True) leaves them alone",
            }.get(what, "write them alike, or give them as rasters of their own")
            raise ValuesError(
                f"{label}: tiles of one raster are alike, and {other.label} has {what} "
                f"{theirs[what]!r:.80} where {first.label} has {one!r:.80}: {cure}"
            )


def _with_holes(decoding: Decoding, *, has_holes: bool) -> tuple[Decoding, int | float]:
    """What tiles are decoded by when their pixels are plain, and what a hole holds."""
    plain = replace(decoding, turned=None)
    if plain.nodata is not None:
        return plain, plain.nodata
    stored, hole = with_nodata(plain.stored)
    if stored.kind == "f" or not has_holes:
        return plain, hole if stored.kind == "f" else 0
    return replace(plain, stored=stored, nodata=hole), hole


def _chunks_of(tiles: Sequence[Tile]) -> tuple[int, int]:
    """Rows and columns that are best read at once: blocks of the tiles where these are parts."""
    raster = tiles[0].raster
    sides = []
    for axis, (block, size) in enumerate(
        zip(raster.chunks[-2:], (tiles[0].shown.height, tiles[0].shown.width), strict=True)
    ):
        starts = {(tile.row, tile.col)[axis] for tile in tiles}
        is_nested = all((start - min(starts)) % block == 0 for start in starts)
        is_small = tiles[0].shown.height * tiles[0].shown.width <= _SMALL_TILE
        sides.append(block if is_nested or not is_small else size)
    return sides[0], sides[1]


def _coverage(windows: Iterable[Window]) -> tuple[int, int]:
    """How many pixels lie in one window at least, and in several."""
    ends = _ends_of(list(windows))
    row0, row1, col0, col1 = ends.T
    rows, cols = np.unique(ends[:, :2]), np.unique(ends[:, 2:])
    widths = np.append(np.diff(cols), 0)
    once = twice = 0
    for top, bottom in itertools.pairwise(rows.tolist()):
        active = (row0 <= top) & (row1 >= bottom)
        steps = np.zeros(cols.size, np.int64)
        np.add.at(steps, np.searchsorted(cols, col0[active]), 1)
        np.add.at(steps, np.searchsorted(cols, col1[active]), -1)
        depth = np.cumsum(steps)
        once += (bottom - top) * int(widths[depth > 0].sum())
        twice += (bottom - top) * int(widths[depth > 1].sum())
    return once, twice
