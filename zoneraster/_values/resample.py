"""Value rasters on another lattice.

GDAL rounds where a window begins, so pixels would depend on how windows are cut. Here they cannot:
the lattice is cut into fixed tiles, each is warped as a whole from its own window of the source
(`warp`), and a window is put together from the tiles that it touches. The steps of reading one:

1. `tiles_under`: tiles that it touches, and the window of the source that each of them needs;
2. `neighbourhoods`: tiles whose windows are read at once, as far as memory allows;
3. `prepared`: what was read in the dtype and with the nodata of the result;
4. `warped`, tile by tile, each put where it belongs.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
from pyproj.exceptions import ProjError

from zoneraster._grid import Grid, Window, block_window, blocks_under, hull
from zoneraster._values.decoding import Block, Decoding, DType, with_nodata
from zoneraster._values.opened import Lanes, OpenRaster, digest_of
from zoneraster._values.warp import Tile, tile_of, tile_side, warped
from zoneraster.errors import AlignmentError, ValuesError, without

METHODS = (
    "nearest", "bilinear", "cubic", "cubic_spline", "lanczos", "average", "mode", "max", "min",
    "med", "q1", "q3", "sum", "rms",
)  # fmt: skip
# These give values that are there already, so integers stay integers.
PICKING = ("nearest", "mode", "max", "min")
MAX_READ_PIXELS = 2**26
CHUNK_SIDE = 2000


# ---- asking for it -----------------------------------------------------------------------------


def check_method(method: str) -> None:
    """Refuse methods that there are not.

    Raises
    ------
    ValuesError
    """
    if method not in METHODS:
        raise ValuesError(f"unknown resampling method {method!r}: use one of {', '.join(METHODS)}")


def resampled(opened: OpenRaster, grid: Grid, method: str) -> OpenRaster:
    """A raster on another grid.

    Parameters
    ----------
    opened : OpenRaster
    grid : Grid
        Lattice and CRS of the result.
    method : str
        "nearest", "mode", "max" and "min" keep the dtype of integers, but for a wider one where
        there is no nodata value; all others give float64, or float32 from float32. Floats have
        NaN where there is no value.

    Returns
    -------
    OpenRaster
        Pixels outside of the source are nodata. How windows are cut does not change a pixel.

    Raises
    ------
    ValuesError
        For an unknown method.
    AlignmentError
        When PROJ knows no way between the reference systems.
    ImportError
        Without rasterio.
    """
    check_method(method)
    try:
        import rasterio.vrt  # noqa: F401, PLC0415 - optional
    except ImportError as err:
        raise without("rasterio", f"resampling {opened.label}") from err
    dtype, fill = opened.dtype, opened.nodata
    if method not in PICKING and dtype.kind != "f":
        dtype = np.dtype(np.float64)
    if dtype.kind == "f" or fill is None:
        dtype, fill = with_nodata(dtype)
    try:
        side = tile_side(opened.grid, grid)
    except ProjError as err:
        raise AlignmentError(
            f"{opened.label}: PROJ cannot bring {opened.grid.crs.name} to {grid.crs.name} ({err}): "
            "reproject the raster yourself"
        ) from err
    return replace(
        opened,
        grid=grid,
        chunks=(*opened.chunks[:-2], *(min(CHUNK_SIDE, size) for size in grid.shape)),
        pixels=WarpedPixels(opened, grid, method, dtype, fill, side),
        decoding=Decoding(dtype, None if dtype.kind == "f" else fill),
        is_flipped=False,
        version=None,  # that of the source is a part of what is warped
    )


def method_of(opened: OpenRaster) -> str | None:
    """How a raster was resampled; None where it was not."""
    return opened.pixels.method if isinstance(opened.pixels, WarpedPixels) else None


# ---- steps -------------------------------------------------------------------------------------


def tiles_under(window: Window, side: int, source: Grid, target: Grid) -> list[Tile]:
    """Tiles that a window of the target touches; those without a pixel of the source left out."""
    sides = (side, side)
    blocks = itertools.product(*blocks_under(window, sides))
    tiles = (tile_of(block_window(at, sides, target.shape), source, target) for at in blocks)
    return [tile for tile in tiles if tile is not None]


def neighbourhoods(tiles: Sequence[Tile]) -> Iterator[tuple[Window, Sequence[Tile]]]:
    """Tiles that share one read of the source, and the window that is read for them."""
    if not tiles:
        return
    around = hull([tile.source for tile in tiles])
    if around.height * around.width <= MAX_READ_PIXELS or len(tiles) == 1:
        yield around, tiles
        return
    half = len(tiles) // 2
    yield from neighbourhoods(tiles[:half])
    yield from neighbourhoods(tiles[half:])


def prepared(block: Block, nodata: float | None, dtype: DType, fill: float, *, label: str) -> Block:
    """Pixels of the source in the dtype of the result, with its nodata.

    Parameters
    ----------
    block : (lanes..., rows, cols) array
    nodata : int, float or None
        Of the block.
    dtype : numpy.dtype
    fill : int or float
        Nodata of the result.
    label : str
        For errors.

    Raises
    ------
    ValuesError
        For whole numbers beyond 2**53, which GDAL's float64 cannot hold.
    """
    if block.dtype.kind == "i" and block.dtype.itemsize == 8:
        large = np.abs(block) > 2**53
        if nodata is not None:
            large &= block != nodata
        if large.any():
            raise ValuesError(
                f"{label}: value {block[large][0]} is beyond 2**53, which cannot "
                "be resampled exactly: give values on the grid's own lattice"
            )
    out = block.astype(dtype)
    if nodata is not None and nodata != fill:
        out[block == nodata] = fill
    return out


# ---- pixels ------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, eq=False)
class WarpedPixels:
    """Pixels of a raster on another grid.

    Parameters
    ----------
    opened : OpenRaster
        What is warped.
    grid : Grid
    method : str
    dtype : numpy.dtype
        Of the result.
    fill : int or float
        Nodata of the result.
    side : int
        Of the tiles, in pixels of `grid`.
    """

    opened: OpenRaster
    grid: Grid
    method: str
    dtype: DType
    fill: int | float
    side: int

    def read(self, lanes: Lanes, window: Window) -> Block:
        """Warped pixels, (lanes..., rows, cols)."""
        opened, method, fill = self.opened, self.method, self.fill
        n_lanes = [
            len(range(*lane.indices(coord.size)))
            for lane, coord in zip(lanes, opened.coords, strict=True)
        ]
        out = np.full((*n_lanes, *window.shape), fill, self.dtype)
        for around, tiles in neighbourhoods(self._tiles(window)):
            block = prepared(
                opened.read(lanes, around), opened.nodata, self.dtype, fill, label=opened.label
            )
            for tile in tiles:
                needed = block[(..., *tile.source.within(around).slices)]
                pixels = warped(needed, tile, opened.grid, self.grid, method=method, fill=fill)
                part = tile.window.intersect(window)
                assert part is not None
                taken = pixels[(..., *part.within(tile.window).slices)]
                out[(..., *part.within(window).slices)] = taken
        return out

    def narrowed(self, window: Window) -> WarpedPixels:
        """Warp what is left of the source."""
        opened = self.opened.narrowed(self._source_of(window) or Window(0, 1, 0, 1))
        return self if opened is self.opened else replace(self, opened=opened)

    def identity(self, window: Window) -> bytes | None:
        """Digest of the part of the source that the window is made of."""
        source = self._source_of(window)
        content = b"" if source is None else self.opened.quick_identity(source)
        if content is None:
            return None
        grids = (self.opened.grid.to_dict(), self.grid.to_dict())
        return digest_of(repr((self.method, self.side, *grids)), content)

    def _tiles(self, window: Window) -> list[Tile]:
        return tiles_under(window, self.side, self.opened.grid, self.grid)

    def _source_of(self, window: Window) -> Window | None:
        tiles = self._tiles(window)
        return hull([tile.source for tile in tiles]) if tiles else None
