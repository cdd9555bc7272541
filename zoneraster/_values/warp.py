"""One tile from another grid, warped by GDAL: functions of arrays, windows and two grids."""

from __future__ import annotations

import functools
from dataclasses import dataclass
from fractions import Fraction

import numpy as np
from affine import Affine
from pyproj import CRS, Transformer

from zoneraster._grid import Grid, Window, same_crs
from zoneraster._values.decoding import Block
from zoneraster.arrays import Floats

TILE_SIDES = (500, 250, 125, 50, 25, 10, 5, 2, 1)
MAX_TILE_SOURCE_SIDE = 4000
# Points a side at which a tile is looked up in the source.
LATTICE = 33
# Pixels of the source; rasterio takes 0 for an error.
TOLERANCE = 1e-9
# Lanczos looks three pixels away, of the source or of the target, whichever are larger.
FOOTPRINT = 3
MARGIN = 4
# What the true edge of a tile may leave the lattice of points by, as a share of the tile.
BEND_SHARE = 0.02


@dataclass(frozen=True, slots=True)
class Tile:
    """A tile of the target, and what warping it takes.

    Parameters
    ----------
    window : Window
        Pixels of the target.
    source : Window
        Pixels of the source that they are made of.
    scales : (float, float)
        Pixels of the target along one of the source, in x and in y; GDAL would guess them from the
        window of the source that it gets.
    """

    window: Window
    source: Window
    scales: tuple[float, float]


def tile_of(window: Window, source: Grid, target: Grid) -> Tile | None:
    """The tile on a window of the target; None where the source has no pixel for it."""
    u, v = _places(target, window, source)
    needed = _pixels_around(u, v, window, source)
    if needed is None:
        return None
    return Tile(window, needed, (_scale(u, window), _scale(v, window)))


def tile_side(source: Grid, target: Grid) -> int:
    """The largest side of tiles, in pixels of the target, whose window of the source is not large.

    Raises
    ------
    pyproj.exceptions.ProjError
        When PROJ knows no way between the reference systems.
    """
    height, width = source.shape
    middle = Window(height // 2, height // 2 + 1, width // 2, width // 2 + 1)
    u, v = _finite(*_places(source, middle, target))
    if not u.size:
        return TILE_SIDES[0]
    # Pixels of the source along one of the target's.
    ratio = 1 / max(np.ptp(u), np.ptp(v), 1e-6)
    fitting = (side for side in TILE_SIDES if side * ratio <= MAX_TILE_SOURCE_SIDE)
    return next(fitting, TILE_SIDES[-1])


def warped(
    block: Block, tile: Tile, source: Grid, target: Grid, *, method: str, fill: float
) -> Block:
    """Warp one tile.

    Parameters
    ----------
    block : (lanes..., rows, cols) of any dtype that GDAL knows
        Pixels of the source under ``tile.source``.
    tile : Tile
    source, target : Grid
    method : str
        Resampling method of rasterio.
    fill : int or float
        Nodata of the block, and of the result.

    Returns
    -------
    (lanes..., rows, cols) array of the dtype of the block
        Pixels of ``tile.window``.
    """
    lanes = block.reshape(-1, *tile.source.shape)
    out = np.empty((len(lanes), *tile.window.shape), block.dtype)
    for at, lane in enumerate(lanes):
        # One by one: together, GDAL takes a pixel for valid where any of the lanes is.
        out[at] = _warped_lane(lane, tile, source, target, method, fill)
    return out.reshape(*block.shape[:-2], *tile.window.shape)


def _warped_lane(
    lane: Block, tile: Tile, source: Grid, target: Grid, method: str, fill: float
) -> Block:
    from rasterio import MemoryFile  # noqa: PLC0415 - optional
    from rasterio.enums import Resampling  # noqa: PLC0415
    from rasterio.vrt import WarpedVRT  # noqa: PLC0415

    source_crs, target_crs = _wkts(source.crs, target.crs)
    (height, width), (x_scale, y_scale) = tile.window.shape, tile.scales
    with MemoryFile() as memory:
        with memory.open(
            driver="GTiff", count=1, height=tile.source.height, width=tile.source.width,
            dtype=lane.dtype, nodata=fill, crs=source_crs,
            transform=_transform(source, tile.source),
        ) as file:  # fmt: skip
            file.write(np.ascontiguousarray(lane), 1)
        # Not `reproject`, which places pixels to 1/8 of one and cannot be told to do better.
        with (
            memory.open() as file,
            WarpedVRT(
                file, crs=target_crs, transform=_transform(target, tile.window), height=height,
                width=width, src_nodata=fill, nodata=fill, resampling=Resampling[method],
                tolerance=TOLERANCE, XSCALE=x_scale, YSCALE=y_scale,
            ) as vrt,
        ):  # fmt: skip
            out: Block = vrt.read(1)
    return out


def _pixels_around(u: Floats, v: Floats, window: Window, source: Grid) -> Window | None:
    """Pixels of the source that a method may look at for places all over a window of the target."""
    u, v = _finite(u, v)
    if not u.size:
        return None
    spans = []
    for place, side in ((v, window.height), (u, window.width)):
        low, high = place.min(), place.max()
        footprint = FOOTPRINT * max(1.0, (high - low) / side)
        margin = MARGIN + footprint + BEND_SHARE * (high - low)
        spans += [int(np.floor(low - margin)), int(np.ceil(high + margin))]
    return Window(*spans).intersect(Window(0, source.height, 0, source.width))


def _scale(place: Floats, window: Window) -> float:
    """Pixels of the target along one of the source, by the coordinate u or v of places there."""
    along = (np.abs(np.diff(place, axis=0)), np.abs(np.diff(place, axis=1)))
    sides = (window.height / (LATTICE - 1), window.width / (LATTICE - 1))
    steps = [
        float(np.median(steps[np.isfinite(steps)])) / side if np.isfinite(steps).any() else 0
        for steps, side in zip(along, sides, strict=True)
    ]
    return 1 / sum(steps) if sum(steps) > 0 else 1.0


def _places(grid: Grid, window: Window, other: Grid) -> tuple[Floats, Floats]:
    """Pixel coordinates in another grid of points all over a window.

    Returns
    -------
    u, v : (LATTICE, LATTICE) float64
        NaN where the other reference system has no place for a point.
    """
    transform = _transform(grid, window)
    x = transform.c + np.linspace(0, window.width, LATTICE) * transform.a
    y = transform.f + np.linspace(0, window.height, LATTICE) * transform.e
    xs, ys = np.meshgrid(x, y)
    transformer = _transformer(*_wkts(grid.crs, other.crs))
    if transformer is not None:
        xs, ys = transformer.transform(xs, ys)
    # PROJ gives infinity; NaN is quiet in differences.
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
    return source.to_wkt(), (source if same_crs(source, target) else target).to_wkt()


@functools.lru_cache(maxsize=64)
def _transformer(source: str, target: str) -> Transformer | None:
    """Transformer with x before y; None where there is nothing to do."""
    return None if source == target else Transformer.from_crs(source, target, always_xy=True)
