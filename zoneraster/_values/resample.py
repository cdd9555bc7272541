"""Value rasters on another lattice, warped by GDAL.

GDAL rounds where a window begins, so pixels would depend on how windows are cut. Here they cannot:
the lattice is cut into fixed tiles, each is warped as a whole from its own window of the source,
and a window is put together from the tiles it touches.
"""

from __future__ import annotations

import functools
import hashlib
import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction

import numpy as np
from affine import Affine
from pyproj import CRS, Transformer
from pyproj.exceptions import ProjError

from zoneraster._grid import Grid, Window
from zoneraster._values.align import hull
from zoneraster._values.opened import Block, Decoding, DType, Lanes, OpenRaster, with_nodata
from zoneraster.arrays import Floats
from zoneraster.errors import AlignmentError, ValuesError

METHODS = (
    "nearest", "bilinear", "cubic", "cubic_spline", "lanczos", "average", "mode", "max", "min",
    "med", "q1", "q3", "sum", "rms",
)  # fmt: skip
# These give values that are there already, so integers stay integers.
PICKING = ("nearest", "mode", "max", "min")
TILE_SIDES = (500, 250, 125, 50, 25, 10, 5, 2, 1)
MAX_TILE_SOURCE_SIDE = 4000
MAX_READ_PIXELS = 2**26
CHUNK_SIDE = 2000
# Points a side at which a tile is looked up in the source.
LATTICE = 33
# Pixels of the source; rasterio takes 0 for an error.
TOLERANCE = 1e-9
# Lanczos looks three pixels away, of the source or of the target, whichever are larger.
FOOTPRINT = 3
MARGIN = 4
# What the true edge of a tile may leave the lattice of points by, as a share of the tile.
BEND_SHARE = 0.02


@dataclass(frozen=True, slots=True, eq=False)
class WarpedPixels:
    """Pixels of a raster on another grid.

    Parameters
    ----------
    raster : OpenRaster
        What is warped.
    grid : Grid
    method : str
    dtype : numpy.dtype
        Of the result.
    fill : int or float
        Nodata of the result.
    tile : int
        Side of the tiles, in pixels of `grid`.
    """

    raster: OpenRaster
    grid: Grid
    method: str
    dtype: DType
    fill: int | float
    tile: int

    def read(self, lanes: Lanes, window: Window) -> Block:
        """Warped pixels, (lanes..., rows, cols)."""
        n_lanes = [
            len(range(*lane.indices(coord.size)))
            for lane, coord in zip(lanes, self.raster.coords, strict=True)
        ]
        out = np.full((*n_lanes, *window.shape), self.fill, self.dtype)
        pairs = [(tile, self._source_window(tile)) for tile in self._tiles(window)]
        self._fill(out, window, lanes, [(tile, source) for tile, source in pairs if source])
        return out

    def narrowed(self, window: Window) -> WarpedPixels:
        """Warp what is left of the source."""
        source = self._source_of(window) or Window(0, 1, 0, 1)
        raster = self.raster.narrowed(source)
        return self if raster is self.raster else replace(self, raster=raster)

    def identity(self, window: Window) -> bytes:
        """Digest of the part of the source that the window is made of."""
        source = self._source_of(window)
        content = b"" if source is None else self.raster.identity(source)
        said = repr((self.method, self.tile, self.raster.grid.to_dict(), self.grid.to_dict()))
        return hashlib.blake2b(said.encode() + content, digest_size=16).digest()

    def _tiles(self, window: Window) -> Iterator[Window]:
        """Tiles that a window touches, cut to the grid."""
        height, width = self.grid.shape
        rows = range(window.row0 // self.tile, -(-window.row1 // self.tile))
        cols = range(window.col0 // self.tile, -(-window.col1 // self.tile))
        for row, col in itertools.product(rows, cols):
            row0, col0 = row * self.tile, col * self.tile
            yield Window(row0, min(row0 + self.tile, height), col0, min(col0 + self.tile, width))

    def _source_of(self, window: Window) -> Window | None:
        found = [self._source_window(tile) for tile in self._tiles(window)]
        return _hull([source for source in found if source is not None])

    def _source_window(self, tile: Window) -> Window | None:
        """Pixels of the source that a tile may need; None where there are none."""
        u, v = _finite(*_places(self.grid, tile, self.raster.grid))
        if not u.size:
            return None
        spans = []
        for low, high, side in (
            (v.min(), v.max(), tile.height),
            (u.min(), u.max(), tile.width),
        ):
            footprint = FOOTPRINT * max(1.0, (high - low) / side)
            margin = MARGIN + footprint + BEND_SHARE * (high - low)
            spans += [int(np.floor(low - margin)), int(np.ceil(high + margin))]
        height, width = self.raster.grid.shape
        return Window(*spans).intersect(Window(0, height, 0, width))

    def _fill(
        self, out: Block, window: Window, lanes: Lanes, pairs: Sequence[tuple[Window, Window]]
    ) -> None:
        """Warp tiles into a window; neighbours share one read, as far as memory allows."""
        around = _hull([source for _, source in pairs])
        if around is None:
            return
        if around.height * around.width > MAX_READ_PIXELS and len(pairs) > 1:
            half = len(pairs) // 2
            self._fill(out, window, lanes, pairs[:half])
            self._fill(out, window, lanes, pairs[half:])
            return
        block = self._prepared(self.raster.read(lanes, around))
        for tile, source in pairs:
            part = tile.intersect(window)
            assert part is not None
            inside = _within(source, around)
            warped = self._warp(block[(..., *inside.slices)], source, tile)
            target, taken = _within(part, window), _within(part, tile)
            out[(..., *target.slices)] = warped[(..., *taken.slices)]

    def _prepared(self, block: Block) -> Block:
        """Source pixels in the dtype of the result, with its nodata."""
        nodata = self.raster.nodata
        if block.dtype.kind == "i" and block.dtype.itemsize == 8:
            large = np.abs(block) > 2**53
            if nodata is not None:
                large &= block != nodata
            if large.any():
                raise ValuesError(
                    f"{self.raster.label}: value {block[large][0]} is beyond 2**53, which cannot "
                    "be resampled exactly: give values on the store's own lattice"
                )
        prepared = block.astype(self.dtype)
        if nodata is not None and nodata != self.fill:
            prepared[block == nodata] = self.fill
        return prepared

    def _warp(self, block: Block, source: Window, tile: Window) -> Block:
        lanes = block.reshape(-1, *source.shape)
        out = np.empty((len(lanes), *tile.shape), self.dtype)
        options = self._scales(tile)
        for at, lane in enumerate(lanes):
            # One by one: together, GDAL takes a pixel for valid where any of the lanes is.
            out[at] = self._warp_lane(lane, source, tile, options)
        return out.reshape(*block.shape[:-2], *tile.shape)

    def _scales(self, tile: Window) -> dict[str, float]:
        """Pixels of the tile along one of the source; GDAL would guess from the window it gets."""
        u, v = _places(self.grid, tile, self.raster.grid)
        scales = {}
        for name, place in (("XSCALE", u), ("YSCALE", v)):
            along = (np.abs(np.diff(place, axis=0)), np.abs(np.diff(place, axis=1)))
            sides = (tile.height / (LATTICE - 1), tile.width / (LATTICE - 1))
            steps = [
                float(np.median(steps[np.isfinite(steps)])) / side
                if np.isfinite(steps).any()
                else 0
                for steps, side in zip(along, sides, strict=True)
            ]
            scales[name] = 1 / sum(steps) if sum(steps) > 0 else 1.0
        return scales

    def _warp_lane(
        self, lane: Block, source: Window, tile: Window, options: dict[str, float]
    ) -> Block:
        from rasterio import MemoryFile  # noqa: PLC0415 - optional
        from rasterio.enums import Resampling  # noqa: PLC0415
        from rasterio.vrt import WarpedVRT  # noqa: PLC0415

        source_crs, target_crs = _wkts(self.raster.grid.crs, self.grid.crs)
        with MemoryFile() as memory:
            with memory.open(
                driver="GTiff", count=1, height=source.height, width=source.width,
                dtype=self.dtype, nodata=self.fill, crs=source_crs,
                transform=_transform(self.raster.grid, source),
            ) as file:  # fmt: skip
                file.write(np.ascontiguousarray(lane), 1)
            # Not `reproject`, which places pixels to 1/8 of one and cannot be told to do better.
            with (
                memory.open() as file,
                WarpedVRT(
                    file, crs=target_crs, transform=_transform(self.grid, tile),
                    height=tile.height, width=tile.width, src_nodata=self.fill, nodata=self.fill,
                    resampling=Resampling[self.method], tolerance=TOLERANCE, **options,
                ) as warped,
            ):  # fmt: skip
                out: Block = warped.read(1)
        return out


def check_method(method: str) -> None:
    """Refuse methods that there are not.

    Raises
    ------
    ValuesError
    """
    if method not in METHODS:
        raise ValuesError(f"unknown resampling method {method!r}: use one of {', '.join(METHODS)}")


def resampled(raster: OpenRaster, grid: Grid, method: str) -> OpenRaster:
    """A raster on another grid.

    Parameters
    ----------
    raster : OpenRaster
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
        raise ImportError(
            f"resampling {raster.label} needs rasterio: pip install 'zoneraster[raster]'"
        ) from err
    dtype, fill = raster.dtype, raster.nodata
    if method not in PICKING and dtype.kind != "f":
        dtype = np.dtype(np.float64)
    if dtype.kind == "f" or fill is None:
        dtype, fill = with_nodata(dtype)
    try:
        side = _tile_side(raster.grid, grid)
    except ProjError as err:
        raise AlignmentError(
            f"{raster.label}: PROJ cannot bring {raster.grid.crs.name} to {grid.crs.name} ({err}): "
            "reproject the raster yourself"
        ) from err
    chunks = (*raster.chunks[:-2], *(min(CHUNK_SIDE, side) for side in grid.shape))
    return replace(
        raster,
        grid=grid,
        chunks=chunks,
        pixels=WarpedPixels(raster, grid, method, dtype, fill, side),
        decoding=Decoding(dtype, None if dtype.kind == "f" else fill),
        is_flipped=False,
    )


def _tile_side(source: Grid, grid: Grid) -> int:
    """The largest side of tiles whose window of the source is not too large."""
    height, width = source.shape
    middle = Window(height // 2, height // 2 + 1, width // 2, width // 2 + 1)
    u, v = _finite(*_places(source, middle, grid))
    if not u.size:
        return TILE_SIDES[0]
    # Pixels of the source along one of the grid's.
    ratio = 1 / max(np.ptp(u), np.ptp(v), 1e-6)
    fitting = (side for side in TILE_SIDES if side * ratio <= MAX_TILE_SOURCE_SIDE)
    return next(fitting, TILE_SIDES[-1])


def _places(grid: Grid, window: Window, other: Grid) -> tuple[Floats, Floats]:
    """Pixel coordinates in another grid, (LATTICE, LATTICE), of points all over a window."""
    transform = _transform(grid, window)
    x = transform.c + np.linspace(0, window.width, LATTICE) * transform.a
    y = transform.f + np.linspace(0, window.height, LATTICE) * transform.e
    xs, ys = np.meshgrid(x, y)
    transformer = _transformer(*_wkts(grid.crs, other.crs))
    if transformer is not None:
        xs, ys = transformer.transform(xs, ys)
    # Infinite where there is no place; NaN is that too, and quiet in differences.
    nowhere = ~(np.isfinite(xs) & np.isfinite(ys))
    xs, ys = np.where(nowhere, np.nan, xs), np.where(nowhere, np.nan, ys)
    return other.to_pixels(xs, ys)


def _finite(u: Floats, v: Floats) -> tuple[Floats, Floats]:
    is_place = np.isfinite(u) & np.isfinite(v)
    return u[is_place], v[is_place]


def _transform(grid: Grid, window: Window) -> Affine:
    """Transform of a window, rounded once."""
    (step_x, step_y), (west, north) = grid.resolution, grid.origin
    edges: tuple[Fraction, Fraction] = (west + window.col0 * step_x, north - window.row0 * step_y)
    return Affine(float(step_x), 0.0, float(edges[0]), 0.0, -float(step_y), float(edges[1]))


def _wkts(source: CRS, target: CRS) -> tuple[str, str]:
    """WKT of both; of equivalent systems one, so that nothing is rounded on the way."""
    is_same = source is target or source.equals(target, ignore_axis_order=True)
    return source.to_wkt(), source.to_wkt() if is_same else target.to_wkt()


@functools.lru_cache(maxsize=64)
def _transformer(source: str, target: str) -> Transformer | None:
    """Transformer with x before y; None where there is nothing to do."""
    return None if source == target else Transformer.from_crs(source, target, always_xy=True)


def _hull(windows: Sequence[Window]) -> Window | None:
    return hull(windows) if windows else None


def _within(window: Window, other: Window) -> Window:
    """A window in pixels of another that holds it."""
    return Window(
        window.row0 - other.row0, window.row1 - other.row0,
        window.col0 - other.col0, window.col1 - other.col0,
    )  # fmt: skip
