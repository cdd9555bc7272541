"""The grid of a raster: reference system, lattice and size.

A grid keeps its step and its origin as fractions, so that grids are compared, aligned and stored
without a tolerance. Pixel (row 0, col 0) is the north-western one; its corner has the pixel
coordinates u = 0, v = 0 and its centre u = v = 0.5. Rows come before columns, x before y.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
from affine import Affine
from pyproj import CRS

from zoneraster._grid.chunking import checked_shape
from zoneraster._grid.crs import checked_crs, crs_name, crs_names, is_in_degrees, same_crs
from zoneraster._grid.fractions import (
    SNAP_PIXELS,
    Number,
    check_size,
    checked_step,
    counted,
    exact,
    exact_origin,
    exact_step,
    number_text,
)
from zoneraster.errors import GridError
from zoneraster.notebook import record_html

if TYPE_CHECKING:
    GLOBAL_30M: Grid


# Rotation terms that move no corner further are none.
NOISE_PIXELS = Fraction(1, 1000)
# Beyond it float64 pixel coordinates are coarser than 1/4096 pixel.
MAX_PIXEL_COORDINATE = 2**40


@dataclass(frozen=True, slots=True, init=False, eq=False, repr=False)
class Grid:
    """A north-up raster's reference system, lattice and size.

    Parameters
    ----------
    crs : anything that `pyproj.CRS.from_user_input` takes
    transform : affine.Affine, or the six numbers a, b, c, d, e, f
        ``x = a*col + c`` and ``y = e*row + f`` with a > 0 and e < 0, in units of the CRS; b and d
        are 0, or move no corner by more than 1/1000 pixel.
        A float step within 1e-12 (relative) of a simple fraction is that fraction. The origin is a
        whole number of steps when it is within 1e-6 pixels of one, else a simple fraction of a
        step that rounds to it, else its own decimal. Fractions are taken as they are.
    shape : (int, int)
        Rows and columns, at most 2**31 each.

    Attributes
    ----------
    crs : pyproj.CRS
    transform : affine.Affine
        The nearest floats of the step and the origin.
    shape : (int, int)
    resolution : (Fraction, Fraction)
        Exact step in x and in y, both positive, in units of the CRS.
    origin : (Fraction, Fraction)
        Exact west and north edge, in units of the CRS.

    Raises
    ------
    GridError
        For an unknown CRS, a rotated, sheared or south-up transform, a step that is not positive
        and finite, a size below 1 or above 2**31, or an origin more than 2**40 pixels away from 0.

    Notes
    -----
    Grids are equal when step, origin and shape are equal and the CRS equivalent. The order of axes
    does not count, because x is always east and y north: OGC:CRS84 is EPSG:4326.

    Examples
    --------
    >>> Grid("EPSG:4326", (0.00025, 0, 10, 0, -0.00025, 50), (4000, 8000))
    Grid('EPSG:4326', resolution=0.00025, bounds=(10.0, 49.0, 12.0, 50.0), shape=(4000, 8000))
    """

    crs: CRS
    transform: Affine
    shape: tuple[int, int]
    resolution: tuple[Fraction, Fraction]
    origin: tuple[Fraction, Fraction]

    def __init__(
        self, crs: object, transform: Affine | Sequence[Number], shape: Sequence[int]
    ) -> None:
        rows, cols = checked_shape(shape)
        step_x, west, step_y, north = _lattice(transform, (rows, cols))
        if max(abs(west / step_x) + cols, abs(north / step_y) + rows) > MAX_PIXEL_COORDINATE:
            raise GridError(
                f"origin ({float(west)!r}, {float(north)!r}) is more than 2**40 pixels of "
                f"{number_text(step_x)} x {number_text(step_y)} away from 0, too far for float64: "
                "check the units of the resolution"
            )
        put = functools.partial(object.__setattr__, self)
        put("crs", checked_crs(crs))
        put("transform", Affine(*map(float, (step_x, 0, west, 0, -step_y, north))))
        put("shape", (rows, cols))
        put("resolution", (step_x, step_y))
        put("origin", (west, north))

    @classmethod
    def from_bounds(
        cls,
        bounds: Sequence[Number],
        resolution: Number | tuple[Number, Number],
        crs: object = "EPSG:4326",
    ) -> Grid:
        """Make the grid that fills bounds with whole pixels.

        Parameters
        ----------
        bounds : (west, south, east, north), in units of the CRS
        resolution : number, text like "1/3600", or a pair (x, y) of these
            Side of a pixel in units of the CRS.
        crs : anything that `pyproj.CRS.from_user_input` takes

        Raises
        ------
        GridError
            As for `Grid`, and for bounds that are empty or not a whole number of pixels.

        Examples
        --------
        >>> Grid.from_bounds((-180, -90, 180, 90), "1/3600").shape
        (648000, 1296000)
        """
        (west, south, east, north), (step_x, step_y) = _box_and_steps(bounds, resolution)
        exact_shape = ((north - south) / step_y, (east - west) / step_x)
        rows, cols = (round(side) for side in exact_shape)
        if max(abs(exact_shape[0] - rows), abs(exact_shape[1] - cols)) > SNAP_PIXELS:
            raise GridError(_not_whole((west, south, east, north), (step_x, step_y)))
        return cls(crs, (step_x, 0, west, 0, -step_y, north), (rows, cols))

    @classmethod
    def covering(
        cls,
        bounds: Sequence[Number],
        step: Number | tuple[Number, Number],
        crs: object = "EPSG:4326",
    ) -> Grid:
        """Make the smallest grid that covers bounds and whose edges lie on whole steps.

        Parameters
        ----------
        bounds : (west, south, east, north), in units of the CRS
        step : number, text like "1/3600", or a pair (x, y) of these
            Side of a pixel in units of the CRS. All edges are multiples of it, so that grids of one
            step lie on one lattice.
        crs : anything that `pyproj.CRS.from_user_input` takes

        Raises
        ------
        GridError
            As for `Grid`, and for bounds that are empty.

        Examples
        --------
        >>> Grid.covering((5.03, 45.1, 5.97, 45.98), 0.25).bounds
        (5.0, 45.0, 6.0, 46.0)
        """
        box, steps = _box_and_steps(bounds, step)
        west, south, east, north = _whole_steps_around(box, steps)
        shape = (int((north - south) / steps[1]), int((east - west) / steps[0]))
        return cls(crs, (steps[0], 0, west, 0, -steps[1], north), shape)

    @property
    def height(self) -> int:
        """Number of rows."""
        return self.shape[0]

    @property
    def width(self) -> int:
        """Number of columns."""
        return self.shape[1]

    @property
    def bounds(self) -> tuple[float, float, float, float]:
        """West, south, east, north as the nearest floats, in units of the CRS."""
        (west, north), (step_x, step_y) = self.origin, self.resolution
        south, east = north - self.height * step_y, west + self.width * step_x
        return float(west), float(south), float(east), float(north)

    @property
    def is_geographic(self) -> bool:
        """Whether x and y are longitude and latitude."""
        return self.crs.is_geographic

    def to_pixels(
        self, x: npt.ArrayLike, y: npt.ArrayLike
    ) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
        """Pixel coordinates of places in the grid's CRS.

        ``u = -c/a + x*(1/a)`` and ``v = -f/e + y*(1/e)``, each operation rounded on its own: the
        burn rule promises the same bits everywhere, so this order is part of it.

        Parameters
        ----------
        x, y : array_like of float
            East and north coordinates, in units of the CRS.

        Returns
        -------
        u, v : float64 arrays of the shape of x and of y, in pixels from the north-western corner
        """
        a, c, e, f = self.transform.a, self.transform.c, self.transform.e, self.transform.f
        u = -c / a + np.asarray(x, dtype=np.float64) * (1 / a)
        v = -f / e + np.asarray(y, dtype=np.float64) * (1 / e)
        return np.asarray(u), np.asarray(v)

    def x_centres(self) -> npt.NDArray[np.float64]:
        """Centres of the columns, (width,) float64, west to east, in units of the CRS."""
        return _centres(self.origin[0], self.resolution[0], self.width)

    def y_centres(self) -> npt.NDArray[np.float64]:
        """Centres of the rows, (height,) float64, north to south, in units of the CRS."""
        return _centres(self.origin[1], -self.resolution[1], self.height)

    def offset_in(self, other: Grid) -> tuple[Fraction, Fraction, Fraction]:
        """Where this grid begins on another grid, and how large its pixels are there.

        Grids are aligned when both offsets are whole numbers and the ratio or its inverse is one.

        Returns
        -------
        row_offset, col_offset : Fraction
            Position of this grid's north-western corner, in pixels of the other.
        ratio : Fraction
            Side of this grid's pixels, in pixels of the other.

        Raises
        ------
        GridError
            When the CRS differ, or the ratios in x and y.

        Examples
        --------
        >>> fine = Grid.from_bounds((0, 0, 2, 1), 0.25)
        >>> [str(part) for part in Grid.from_bounds((1, 0, 2, 0.5), 0.5).offset_in(fine)]
        ['2', '4', '2']
        """
        if not same_crs(self.crs, other.crs):
            mine, theirs = crs_names(self.crs, other.crs)
            raise GridError(
                f"the grids have different CRS, {mine} and {theirs}: reproject one of them first, "
                "or, where a raster is in the other one all the same, say so, Raster(..., crs=...)"
            )
        ratio_x, ratio_y = (
            mine / theirs for mine, theirs in zip(self.resolution, other.resolution, strict=True)
        )
        if ratio_x != ratio_y:
            raise GridError(
                f"pixels are {number_text(ratio_x)} times as wide and {number_text(ratio_y)} "
                "times as high as the other grid's: resample one of them to pixels of the same "
                "proportions"
            )
        row_offset = (other.origin[1] - self.origin[1]) / other.resolution[1]
        col_offset = (self.origin[0] - other.origin[0]) / other.resolution[0]
        return row_offset, col_offset, ratio_x

    def to_dict(self) -> dict[str, object]:
        """Describe the grid without loss in types that JSON knows; `from_dict` reads it."""
        authority = self.crs.to_authority(min_confidence=100)
        return {
            "crs": {"wkt": self.crs.to_wkt(), "authority": authority and ":".join(authority)},
            "resolution": [str(step) for step in self.resolution],
            "origin": [str(edge) for edge in self.origin],
            "shape": list(self.shape),
        }

    @classmethod
    def from_dict(cls, description: Mapping[str, object]) -> Grid:
        """Inverse of `to_dict`.

        Raises
        ------
        GridError
            When something is missing or not of its kind.
        """
        match description:
            case {
                "crs": {"wkt": str(wkt)},
                "resolution": [str(step_x), str(step_y)],
                "origin": [str(west), str(north)],
                "shape": [int(rows), int(cols)],
            }:
                edges = (exact(west), exact(north))
                steps = (exact(step_x), exact(step_y))
                return cls(wkt, (steps[0], 0, edges[0], 0, -steps[1], edges[1]), (rows, cols))
        raise GridError(
            f"not the description of a grid: {dict(description)!r:.200}; expected crs.wkt (text), "
            "resolution and origin (two texts each) and shape (two integers)"
        )

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Grid):
            return NotImplemented
        return self._lattice_key() == other._lattice_key() and same_crs(self.crs, other.crs)

    def __hash__(self) -> int:
        # Equivalent CRS may differ in text, so the CRS cannot take part.
        return hash(self._lattice_key())

    def __repr__(self) -> str:
        return (
            f"Grid({crs_name(self.crs)!r}, resolution={_pair(self.resolution)}, "
            f"bounds={self.bounds}, shape={self.shape})"
        )

    def _repr_html_(self) -> str:
        rows, cols = self.shape
        said = {
            "reference system": crs_name(self.crs),
            "resolution": _pair(self.resolution),
            "bounds (west, south, east, north)": self.bounds,
            "rows": rows,
            "columns": cols,
        }
        return record_html("grid", said)

    def _lattice_key(self) -> Hashable:
        return self.resolution, self.origin, self.shape


def columns_around(grid: Grid) -> int:
    """Columns from a meridian around the globe to itself; 0 where a grid does not go around."""
    around = 360 / grid.resolution[0]
    goes_around = around.denominator == 1 and around <= grid.width
    return int(around) if goes_around and is_in_degrees(grid.crs) else 0


@functools.cache
def _global_30m() -> Grid:
    return Grid.from_bounds((-180, -90, 180, 90), Fraction(1, 4000))


if not TYPE_CHECKING:

    def __getattr__(name: str) -> Grid:
        # Lazy, because looking up a CRS opens the database of PROJ.
        if name == "GLOBAL_30M":
            return _global_30m()
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def _lattice(
    transform: Affine | Sequence[Number], shape: tuple[int, int]
) -> tuple[Fraction, Fraction, Fraction, Fraction]:
    """Exact step_x, west, step_y, north of a transform."""
    given = tuple(transform)
    order = "the order is a, b, c, d, e, f; for GDAL's order use affine.Affine.from_gdal"
    if len(given) not in {6, 9}:
        raise GridError(f"a transform has six numbers, not {given!r}; {order}")
    a, b, c, d, e, f = given[:6]
    # What programs leave of a turn by nothing, such as cos(pi/2), moves no corner.
    turned = abs(exact(b)) * shape[0], abs(exact(d)) * shape[1]
    if turned[0] > NOISE_PIXELS * abs(exact(a)) or turned[1] > NOISE_PIXELS * abs(exact(e)):
        raise GridError(
            f"the transform is rotated or sheared (b={b!r}, d={d!r}): "
            f"warp the raster to a north-up one; {order}"
        )
    step_x, step_e = checked_step(exact_step(a), a), exact_step(e)
    if step_e > 0:
        raise GridError(
            f"the transform is south-up (e={e!r}): flip the rows, so that the first one is "
            f"northernmost; {order}"
        )
    step_y = checked_step(-step_e, e)
    lattice = step_x, exact_origin(c, step_x), step_y, exact_origin(f, step_y)
    check_size(lattice)
    return lattice


def _box_and_steps(
    bounds: Sequence[Number], resolution: Number | tuple[Number, Number]
) -> tuple[tuple[Fraction, ...], tuple[Fraction, Fraction]]:
    """Bounds and steps as people mean them; edges next to whole steps are these."""
    pair: Sequence[Number] = (
        resolution if isinstance(resolution, (tuple, list)) else (resolution, resolution)
    )
    if len(pair) != 2 or len(bounds) != 4:
        raise GridError(
            "expected bounds (west, south, east, north) and resolution as one number or a pair "
            f"(x, y), not {bounds!r} and {resolution!r}"
        )
    step_x, step_y = (checked_step(exact_step(side), side) for side in pair)
    west, east = (exact_origin(edge, step_x) for edge in bounds[0::2])
    south, north = (exact_origin(edge, step_y) for edge in bounds[1::2])
    if west >= east or south >= north:
        raise GridError(
            f"bounds {tuple(bounds)!r} are empty: give west < east and south < north "
            "(a grid over the antimeridian has east > 180)"
        )
    return (west, south, east, north), (step_x, step_y)


def _whole_steps_around(
    bounds: tuple[Fraction, ...], steps: tuple[Fraction, Fraction]
) -> tuple[Fraction, Fraction, Fraction, Fraction]:
    """The least bounds around others whose edges are multiples of the steps."""
    (west, south, east, north), (step_x, step_y) = bounds, steps
    return (
        math.floor(west / step_x) * step_x, math.floor(south / step_y) * step_y,
        math.ceil(east / step_x) * step_x, math.ceil(north / step_y) * step_y,
    )  # fmt: skip


def _not_whole(bounds: tuple[Fraction, ...], steps: tuple[Fraction, Fraction]) -> str:
    """Say which bounds, around all of these, and which resolution would do."""
    west, south, east, north = bounds
    cols, rows = (east - west) / steps[0], (north - south) / steps[1]
    whole_cols, whole_rows = max(round(cols), 1), max(round(rows), 1)
    around = _whole_steps_around(bounds, steps)
    sides = ((east - west) / whole_cols, (north - south) / whole_rows)
    return (
        f"bounds {tuple(map(float, bounds))} hold {counted(rows)} rows x {counted(cols)} columns "
        f"of {_pair(steps)}, not a whole number: Grid.covering(...) takes bounds "
        f"{tuple(map(float, around))} around them; or take resolution {_pair(sides)}"
    )


def _pair(steps: tuple[Fraction, Fraction]) -> str:
    x, y = map(number_text, steps)
    return x if x == y else f"({x}, {y})"


def _centres(origin: Fraction, step: Fraction, count: int) -> npt.NDArray[np.float64]:
    """Return ``origin + (k + 0.5) * step`` for k < count, rounded once where integers allow it."""
    half = step / 2
    denominator = math.lcm(origin.denominator, half.denominator)
    first, every = int((origin + half) * denominator), int(step * denominator)
    if max(denominator, abs(first), abs(first + every * count)) < 2**53:
        numerators = first + every * np.arange(count, dtype=np.int64)
        return numerators.astype(np.float64) / denominator
    return float(origin) + (np.arange(count, dtype=np.float64) + 0.5) * float(step)
