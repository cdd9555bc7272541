"""Grids, windows and chunkings: integer and rational arithmetic of pixels.

A grid keeps its step and its origin as fractions, so that grids are compared, aligned and stored
without a tolerance. Pixel (row 0, col 0) is the north-western one; its corner has the pixel
coordinates u = 0, v = 0 and its centre u = v = 0.5. Rows come before columns, x before y.
"""

from __future__ import annotations

import functools
import importlib
import math
import operator
import os
import sys
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from fractions import Fraction
from typing import TYPE_CHECKING, Any, TypeAlias, overload

import numpy as np
import numpy.typing as npt
from affine import Affine
from pyproj import CRS
from pyproj.exceptions import CRSError

from zoneraster.errors import GridError

if TYPE_CHECKING:
    import xarray as xr

    GLOBAL_30M: Grid

Number: TypeAlias = int | float | Fraction | str
Attributes: TypeAlias = Mapping[Any, Any]  # Any: a file may hold anything

SNAP_PIXELS = Fraction(1, 10**6)
STEP_TOLERANCE = Fraction(1, 10**12)
MAX_SIDE = 2**31
# Beyond it float64 pixel coordinates are coarser than 1/4096 pixel.
MAX_PIXEL_COORDINATE = 2**40
MAX_CHUNK_BYTES = 2**31
BATCH_SIDES = (8, 4, 2, 1)
MIN_BATCHES = 64
# A transform attribute and coordinates this close say the same; coordinates may be float32.
FIT_PIXELS = 1e-3
GEOGRAPHIC_DIMENSIONS = (("lat", "lon"), ("latitude", "longitude"))
SPATIAL_DIMENSIONS = (("y", "x"), *GEOGRAPHIC_DIMENSIONS)


@dataclass(frozen=True, slots=True)
class Window:
    """Rows ``row0 <= row < row1`` and columns ``col0 <= col < col1``; at least one pixel.

    Parameters
    ----------
    row0, row1, col0, col1 : int
        Half-open ranges, in pixels. Negative ones are places north or west of a grid.

    Raises
    ------
    GridError
        For a window without pixels.

    Examples
    --------
    >>> Window(0, 4, 2, 6).intersect(Window(3, 9, 0, 3))
    Window(row0=3, row1=4, col0=2, col1=3)
    """

    row0: int
    row1: int
    col0: int
    col1: int

    def __post_init__(self) -> None:
        if self.row0 >= self.row1 or self.col0 >= self.col1:
            raise GridError(
                f"{self} holds no pixel: give row0 < row1 and col0 < col1 (ends are not included)"
            )

    @property
    def height(self) -> int:
        """Number of rows."""
        return self.row1 - self.row0

    @property
    def width(self) -> int:
        """Number of columns."""
        return self.col1 - self.col0

    @property
    def shape(self) -> tuple[int, int]:
        """Height and width."""
        return self.height, self.width

    @property
    def slices(self) -> tuple[slice, slice]:
        """The window as an index of a (rows, cols) array.

        Raises
        ------
        GridError
            For a window that starts before row or column 0, where numpy would count from the end.
        """
        if self.row0 < 0 or self.col0 < 0:
            raise GridError(f"{self} starts outside of the array: intersect it with the grid first")
        return slice(self.row0, self.row1), slice(self.col0, self.col1)

    def intersect(self, other: Window) -> Window | None:
        """Return the pixels in both windows, None when there are none."""
        row0, row1 = max(self.row0, other.row0), min(self.row1, other.row1)
        col0, col1 = max(self.col0, other.col0), min(self.col1, other.col1)
        return Window(row0, row1, col0, col1) if row0 < row1 and col0 < col1 else None


@dataclass(frozen=True, slots=True, init=False, eq=False, repr=False)
class Grid:
    """A north-up raster's reference system, lattice and size.

    Parameters
    ----------
    crs : anything that `pyproj.CRS.from_user_input` takes
    transform : affine.Affine, or the six numbers a, b, c, d, e, f
        ``x = a*col + c`` and ``y = e*row + f`` with a > 0, e < 0, b = d = 0, in units of the CRS.
        A float step within 1e-12 (relative) of a simple fraction is that fraction; the origin is a
        whole number of steps when it is within 1e-6 pixels of one. Fractions are taken as they are.
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
        step_x, west, step_y, north = _lattice(transform)
        rows, cols = _checked_shape(shape)
        if max(abs(west / step_x) + cols, abs(north / step_y) + rows) > MAX_PIXEL_COORDINATE:
            raise GridError(
                f"origin ({float(west)!r}, {float(north)!r}) is more than 2**40 pixels of "
                f"{_text(step_x)} x {_text(step_y)} away from 0, too far for float64: "
                "check the units of the resolution"
            )
        put = functools.partial(object.__setattr__, self)
        put("crs", _checked_crs(crs))
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
        one = isinstance(resolution, (str, float, int, Fraction, np.number))
        pair: Sequence[Number] = (resolution, resolution) if one else tuple(resolution)
        if len(pair) != 2 or len(bounds) != 4:
            raise GridError(
                "expected bounds (west, south, east, north) and resolution as one number or a pair "
                f"(x, y), not {bounds!r} and {resolution!r}"
            )
        step_x, step_y = (_checked_step(_exact_step(side), side) for side in pair)
        west, east = (_exact_origin(edge, step_x) for edge in bounds[0::2])
        south, north = (_exact_origin(edge, step_y) for edge in bounds[1::2])
        if west >= east or south >= north:
            raise GridError(
                f"bounds {tuple(bounds)!r} are empty: give west < east and south < north "
                "(a grid over the antimeridian has east > 180)"
            )
        exact_shape = ((north - south) / step_y, (east - west) / step_x)
        rows, cols = (round(side) for side in exact_shape)
        if max(abs(exact_shape[0] - rows), abs(exact_shape[1] - cols)) > SNAP_PIXELS:
            raise GridError(_not_whole((west, south, east, north), (step_x, step_y)))
        return cls(crs, (step_x, 0, west, 0, -step_y, north), (rows, cols))

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
        if not _same_crs(self.crs, other.crs):
            raise GridError(
                f"the grids have different CRS, {_crs_name(self.crs)} and {_crs_name(other.crs)}: "
                "reproject one of them first"
            )
        ratio_x, ratio_y = (
            mine / theirs for mine, theirs in zip(self.resolution, other.resolution, strict=True)
        )
        if ratio_x != ratio_y:
            raise GridError(
                f"pixels are {_text(ratio_x)} times as wide and {_text(ratio_y)} times as high as "
                "the other grid's: resample one of them to pixels of the same proportions"
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
                edges = (_exact(west), _exact(north))
                steps = (_exact(step_x), _exact(step_y))
                return cls(wkt, (steps[0], 0, edges[0], 0, -steps[1], edges[1]), (rows, cols))
        raise GridError(
            f"not the description of a grid: {dict(description)!r:.200}; expected crs.wkt (text), "
            "resolution and origin (two texts each) and shape (two integers)"
        )

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Grid):
            return NotImplemented
        return self._lattice_key() == other._lattice_key() and _same_crs(self.crs, other.crs)

    def __hash__(self) -> int:
        # Equivalent CRS may differ in text, so the CRS cannot take part.
        return hash(self._lattice_key())

    def __repr__(self) -> str:
        return (
            f"Grid({_crs_name(self.crs)!r}, resolution={_pair(self.resolution)}, "
            f"bounds={self.bounds}, shape={self.shape})"
        )

    def _lattice_key(self) -> Hashable:
        return self.resolution, self.origin, self.shape


@dataclass(frozen=True, slots=True)
class Chunking:
    """How a grid is cut into chunks, and chunks are gathered into square batches.

    Chunks and batches are numbered from the north-west; those at the south and east edge may reach
    beyond the grid, their windows stop there.

    Parameters
    ----------
    shape : (int, int)
        Rows and columns of the grid.
    chunks : (int, int)
        Rows and columns of a chunk, in pixels; at most 2 GiB of uint32.
    batch : int
        Chunks along each side of a batch.

    Raises
    ------
    GridError
        For sizes below 1, or a chunk of more than 2 GiB.

    Examples
    --------
    >>> Chunking((10, 10), (4, 4), 2).chunk_window(2, 0)
    Window(row0=8, row1=10, col0=0, col1=4)
    """

    shape: tuple[int, int]
    chunks: tuple[int, int]
    batch: int

    def __post_init__(self) -> None:
        _checked_shape(self.shape)
        rows, cols = self.chunks
        if rows < 1 or cols < 1 or self.batch < 1:
            raise GridError(
                f"chunks of {rows} x {cols} pixels in batches of {self.batch}: "
                "all of these must be at least 1"
            )
        if rows * cols * 4 > MAX_CHUNK_BYTES:
            raise GridError(
                f"a chunk of {rows} x {cols} pixels takes {rows * cols * 4 / 2**30:.1f} GiB as "
                "uint32, the limit is 2 GiB: take smaller chunks, e.g. 4000"
            )

    @classmethod
    def of(cls, grid: Grid, chunks: int | tuple[int, int]) -> Chunking:
        """Cut a grid, with the largest batches of 8, 4, 2 or 1 chunks a side that leave 64 of them.

        Parameters
        ----------
        grid : Grid
        chunks : int or (int, int)
            Rows and columns of a chunk, in pixels.
        """
        rows, cols = (chunks, chunks) if isinstance(chunks, int) else chunks
        candidates = (cls(grid.shape, (rows, cols), batch) for batch in BATCH_SIDES)
        enough = (chunking for chunking in candidates if chunking.n_batches >= MIN_BATCHES)
        return next(enough, cls(grid.shape, (rows, cols), 1))

    @property
    def n_rows(self) -> int:
        """Number of rows of chunks."""
        return -(-self.shape[0] // self.chunks[0])

    @property
    def n_cols(self) -> int:
        """Number of columns of chunks."""
        return -(-self.shape[1] // self.chunks[1])

    @property
    def batch_rows(self) -> int:
        """Number of rows of batches."""
        return -(-self.n_rows // self.batch)

    @property
    def batch_cols(self) -> int:
        """Number of columns of batches."""
        return -(-self.n_cols // self.batch)

    @property
    def n_batches(self) -> int:
        """Number of batches."""
        return self.batch_rows * self.batch_cols

    def chunk_window(self, i: int, j: int) -> Window:
        """Pixels of the chunk in chunk row i and chunk column j, cut to the grid.

        Raises
        ------
        GridError
            For a chunk that is not there.
        """
        if not (0 <= i < self.n_rows and 0 <= j < self.n_cols):
            raise GridError(
                f"there is no chunk ({i}, {j}): rows are 0..{self.n_rows - 1}, "
                f"columns 0..{self.n_cols - 1}"
            )
        return self._window(i, i + 1, j, j + 1)

    @overload
    def batch_of(self, i: int, j: int) -> int: ...

    @overload
    def batch_of(
        self, i: npt.NDArray[np.integer], j: npt.NDArray[np.integer]
    ) -> npt.NDArray[np.int64]: ...

    def batch_of(
        self, i: int | npt.NDArray[np.integer], j: int | npt.NDArray[np.integer]
    ) -> int | npt.NDArray[np.int64]:
        """Return the number of the batch that a chunk is in, row by row from 0.

        Parameters
        ----------
        i, j : int, or integer arrays of one shape
            Chunk row and chunk column. They are not checked.

        Returns
        -------
        int, or int64 array
        """
        if isinstance(i, np.ndarray) or isinstance(j, np.ndarray):
            # Batch numbers may not fit the dtype of the indices.
            wide_i, wide_j = np.asarray(i, dtype=np.int64), np.asarray(j, dtype=np.int64)
            return wide_i // self.batch * self.batch_cols + wide_j // self.batch
        return i // self.batch * self.batch_cols + j // self.batch

    def batch_chunks(self, b: int) -> tuple[int, int, int, int]:
        """Chunks of a batch: half-open ranges of chunk rows i0, i1 and chunk columns j0, j1.

        Raises
        ------
        GridError
            For a batch that is not there.
        """
        if not 0 <= b < self.n_batches:
            raise GridError(f"there is no batch {b}: batches are 0..{self.n_batches - 1}")
        row, col = divmod(b, self.batch_cols)
        i0, j0 = row * self.batch, col * self.batch
        return i0, min(i0 + self.batch, self.n_rows), j0, min(j0 + self.batch, self.n_cols)

    def batch_window(self, b: int) -> Window:
        """Pixels of a batch, cut to the grid; errors as `batch_chunks`."""
        return self._window(*self.batch_chunks(b))

    def _window(self, i0: int, i1: int, j0: int, j1: int) -> Window:
        (rows, cols), (height, width) = self.chunks, self.shape
        return Window(i0 * rows, min(i1 * rows, height), j0 * cols, min(j1 * cols, width))


def grid_like(obj: object) -> Grid:
    """Return the grid of a raster.

    Parameters
    ----------
    obj : xarray.DataArray, xarray.Dataset, or path of a raster
        An xarray object needs a CRS: in its CF grid mapping (``crs_wkt``, ``spatial_ref`` or CF
        parameters), in ``proj:wkt2``, ``proj:code`` or ``crs``; without any, dimensions named lat
        and lon are EPSG:4326. Its lattice comes from ``GeoTransform`` or ``spatial:transform``
        where these fit its 1-D coordinates, else from the coordinates alone.

    Raises
    ------
    GridError
        For an object without CRS or lattice, for coordinates that are uneven, south-up or run
        westward, and for a path that rasterio cannot open.
    ImportError
        For a path when rasterio is not installed.
    """
    if isinstance(obj, (str, os.PathLike)):
        return _grid_of_raster(os.fspath(obj))
    try:
        import xarray as xr  # noqa: PLC0415
    except ImportError as err:
        raise ImportError("grid_like needs xarray: pip install xarray") from err
    if isinstance(obj, xr.DataArray):
        obj = obj.to_dataset(name="zoneraster:raster")
    if not isinstance(obj, xr.Dataset):
        raise GridError(
            f"cannot tell the grid of a {type(obj).__name__}: give an xarray DataArray or Dataset, "
            "or the path of a raster"
        )
    return _grid_of_dataset(obj)


@functools.cache
def _global_30m() -> Grid:
    return Grid.from_bounds((-180, -90, 180, 90), Fraction(1, 4000))


if not TYPE_CHECKING:

    def __getattr__(name: str) -> Grid:
        # Lazy, because looking up a CRS opens the database of PROJ.
        if name == "GLOBAL_30M":
            return _global_30m()
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def _exact(value: Number) -> Fraction:
    """Return the number that a person would read: 0.1 is 1/10, not its binary expansion."""
    try:
        if isinstance(value, (str, Fraction)):
            exact = Fraction(value)
        elif isinstance(value, (int, np.integer)):
            exact = Fraction(int(value))
        else:
            exact = Fraction(repr(float(value)))
        float(exact)  # overflows for what no transform can hold
    except (ValueError, TypeError, ArithmeticError) as err:
        raise GridError(
            f"{value!r} is not a finite number: give a number, or text like '1/3600'"
        ) from err
    return exact


def _simplest(value: Fraction, tolerance: Fraction) -> Fraction:
    """Return a simple fraction within a relative tolerance of a value, else the value itself.

    ``numerator * denominator * tolerance <= 1e-4`` keeps accidents rare: about one random number in
    10,000 is that close to a fraction that simple.
    """
    if value == 0:
        return value
    limit = math.isqrt(int(Fraction(1, 10**4) / tolerance / abs(value)))
    simple = value.limit_denominator(max(limit, 1))
    return simple if abs(simple - value) <= tolerance * abs(value) else value


def _exact_step(value: Number) -> Fraction:
    """Return the step that a decimal stands for: 0.000277777777778 is 1/3600."""
    exact = _exact(value)
    if isinstance(value, Fraction) or (isinstance(value, str) and "/" in value):
        return exact
    return _simplest(exact, STEP_TOLERANCE)


def _exact_origin(value: Number, step: Fraction) -> Fraction:
    """Return a whole number of steps where the value is within 1e-6 pixels of one."""
    exact = _exact(value)
    if isinstance(value, Fraction):
        return exact
    steps = round(exact / step)
    return steps * step if abs(exact / step - steps) <= SNAP_PIXELS else exact


def _checked_step(step: Fraction, given: object) -> Fraction:
    # A subnormal step has no finite inverse.
    if float(step) < sys.float_info.min:
        raise GridError(f"resolution must be a positive finite number, not {given!r}")
    return step


def _lattice(transform: Affine | Sequence[Number]) -> tuple[Fraction, Fraction, Fraction, Fraction]:
    """Exact step_x, west, step_y, north of a transform."""
    given = tuple(transform)
    order = "the order is a, b, c, d, e, f; for GDAL's order use affine.Affine.from_gdal"
    if len(given) not in {6, 9}:
        raise GridError(f"a transform has six numbers, not {given!r}; {order}")
    a, b, c, d, e, f = given[:6]
    if _exact(b) or _exact(d):
        raise GridError(
            f"the transform is rotated or sheared (b={b!r}, d={d!r}): "
            f"warp the raster to a north-up one; {order}"
        )
    step_x, step_e = _checked_step(_exact_step(a), a), _exact_step(e)
    if step_e > 0:
        raise GridError(
            f"the transform is south-up (e={e!r}): flip the rows, so that the first one is "
            f"northernmost; {order}"
        )
    step_y = _checked_step(-step_e, e)
    return step_x, _exact_origin(c, step_x), step_y, _exact_origin(f, step_y)


def _checked_shape(shape: Sequence[int]) -> tuple[int, int]:
    try:
        rows, cols = map(operator.index, shape)
    except (TypeError, ValueError) as err:
        raise GridError(f"shape must be two integers (rows, cols), not {shape!r}") from err
    if not (1 <= rows <= MAX_SIDE and 1 <= cols <= MAX_SIDE):
        raise GridError(
            f"{_count(rows)} rows x {_count(cols)} columns: each must be 1 to 2**31; "
            "check that bounds and resolution have the same units"
        )
    return rows, cols


def _checked_crs(crs: object) -> CRS:
    try:
        return crs if isinstance(crs, CRS) else CRS.from_user_input(crs)
    except CRSError as err:
        raise GridError(f"unknown CRS {crs!r:.200}: give a code like 'EPSG:4326' or WKT") from err


def _same_crs(one: CRS, other: CRS) -> bool:
    return one is other or one.equals(other, ignore_axis_order=True)


def _crs_name(crs: CRS) -> str:
    authority = crs.to_authority(min_confidence=100)
    return ":".join(authority) if authority else crs.name


def _text(value: Fraction) -> str:
    """Return a number as a person would type it: 30, 0.00025, 1/3600."""
    decimal = f"{float(value):.17g}" if value.denominator == 1 else repr(float(value))
    short = value.denominator < 10**7 and Fraction(decimal) != value
    return str(value) if short else decimal


def _count(value: Fraction | int) -> str:
    return f"{Decimal(value.numerator) / Decimal(value.denominator):,.12g}"


def _not_whole(bounds: tuple[Fraction, ...], steps: tuple[Fraction, Fraction]) -> str:
    """Say which bounds and which resolution would do; the north-west corner stays."""
    west, south, east, north = bounds
    cols, rows = (east - west) / steps[0], (north - south) / steps[1]
    whole_cols, whole_rows = max(round(cols), 1), max(round(rows), 1)
    fitting = (west, north - whole_rows * steps[1], west + whole_cols * steps[0], north)
    sides = ((east - west) / whole_cols, (north - south) / whole_rows)
    return (
        f"bounds {tuple(map(float, bounds))} hold {_count(rows)} rows x {_count(cols)} columns of "
        f"{_pair(steps)}, not a whole number: take bounds {tuple(map(float, fitting))} or "
        f"resolution {_pair(sides)}"
    )


def _pair(steps: tuple[Fraction, Fraction]) -> str:
    x, y = map(_text, steps)
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


def _grid_of_raster(path: str) -> Grid:
    try:
        rasterio = importlib.import_module("rasterio")
    except ImportError as err:
        raise ImportError(
            f"reading the grid of {path!r} needs rasterio: pip install 'zoneraster[raster]'"
        ) from err
    try:
        with rasterio.open(path) as raster:
            crs, transform, shape = raster.crs, raster.transform, raster.shape
    except rasterio.errors.RasterioIOError as err:
        raise GridError(f"cannot open raster {path!r}: {err}") from err
    if crs is None:
        raise GridError(f"raster {path!r} has no CRS: write one, e.g. rio edit-info --crs EPSG:4326")
    return Grid(crs.to_wkt(), transform, shape)


def _grid_of_dataset(dataset: xr.Dataset) -> Grid:
    layers = list(dataset.data_vars.values())
    attributes = {name: value for place in (dataset, *layers) for name, value in place.attrs.items()}
    y, x = _spatial_dimensions(dataset, attributes)
    mapping = _grid_mapping(dataset)
    crs = _crs_of_attributes(mapping, attributes)
    if crs is None and (y, x) in GEOGRAPHIC_DIMENSIONS:
        crs = "EPSG:4326"
    if crs is None:
        raise GridError("the raster has no CRS: write one, e.g. obj.rio.write_crs('EPSG:4326')")
    transform = _transform_of_attributes(mapping, attributes)
    written = transform and Grid(crs, transform, (dataset.sizes[y], dataset.sizes[x]))
    if not {y, x} <= set(dataset.coords):
        if written:
            return written
        raise GridError(
            f"the raster has neither coordinates {y!r} and {x!r} nor a transform: write one, e.g. "
            "obj.rio.write_transform(transform)"
        )
    y_centres, x_centres = (_centres_of(dataset, name) for name in (y, x))
    moved = written and _moved_to(written, y_centres, x_centres)
    return moved or _grid_of_centres(crs, y_centres, x_centres)


def _spatial_dimensions(dataset: xr.Dataset, attributes: Attributes) -> tuple[str, str]:
    if attributes.get("spatial:registration", "pixel") != "pixel":
        raise GridError("spatial:registration is not 'pixel': shift the raster by half a pixel")
    for y, x in (attributes.get("spatial:dimensions", ("y", "x")), *SPATIAL_DIMENSIONS):
        if {y, x} <= set(dataset.sizes):
            return y, x
    raise GridError(
        f"cannot tell rows from columns in dimensions {tuple(dataset.sizes)}: rename them y and x"
    )


def _grid_mapping(dataset: xr.Dataset) -> Attributes:
    """Attributes of the CF grid mapping variable; empty without one."""
    # CF's long form is "name: coordinate coordinate".
    named = [
        str(place.get("grid_mapping")).split(":")[0]
        for layer in dataset.data_vars.values()
        for place in (layer.encoding, layer.attrs)
    ]
    found = (name for name in (*named, "spatial_ref", "crs") if name in dataset.variables)
    return next((dataset.variables[name].attrs for name in found), {})


def _crs_of_attributes(mapping: Attributes, attributes: Attributes) -> object:
    """Return what names the CRS, None when nothing does."""
    written = [mapping.get(name) for name in ("crs_wkt", "spatial_ref")]
    written += [attributes.get(name) for name in ("proj:wkt2", "proj:code", "crs")]
    if any(written) or "grid_mapping_name" not in mapping:
        return next(filter(None, written), None)
    try:
        return CRS.from_cf(dict(mapping))
    except (CRSError, KeyError) as err:
        raise GridError(f"cannot read the CF grid mapping {dict(mapping)!r:.200}: {err}") from err


def _transform_of_attributes(mapping: Attributes, attributes: Attributes) -> Affine | None:
    gdal, affine = mapping.get("GeoTransform"), attributes.get("spatial:transform")
    written = affine if gdal is None else gdal
    if written is None:
        return None
    try:
        numbers = written.split() if isinstance(written, str) else written
        six = [float(number) for number in numbers][:6]
        return Affine(*six) if gdal is None else Affine.from_gdal(*six)
    except (TypeError, ValueError) as err:
        raise GridError(f"cannot read the transform {written!r}: expected six numbers") from err


def _centres_of(dataset: xr.Dataset, name: str) -> npt.NDArray[np.float64]:
    values = dataset[name].values
    if values.ndim != 1 or values.dtype.kind not in "fiu" or not np.isfinite(values).all():
        raise GridError(
            f"coordinate {name!r} ({values.dtype}) is not a row of finite numbers: "
            "give the pixel centres as float64"
        )
    return np.asarray(values, dtype=np.float64)


def _moved_to(
    grid: Grid, y_centres: npt.NDArray[np.float64], x_centres: npt.NDArray[np.float64]
) -> Grid | None:
    """Return the grid moved by whole pixels to the coordinates, None where it does not fit them.

    Slicing an xarray object leaves its transform attribute behind, so the coordinates decide.
    """
    u, v = grid.to_pixels(x_centres, y_centres)
    row, col = round(v[0] - 0.5), round(u[0] - 0.5)
    ends = (v[0] - row, v[-1] - row, u[0] - col, u[-1] - col)
    wanted = (0.5, grid.height - 0.5, 0.5, grid.width - 0.5)
    if max(abs(end - want) for end, want in zip(ends, wanted, strict=True)) > FIT_PIXELS:
        return None
    (step_x, step_y), (west, north) = grid.resolution, grid.origin
    transform = (step_x, 0, west + col * step_x, 0, -step_y, north - row * step_y)
    return Grid(grid.crs, transform, grid.shape)


def _grid_of_centres(
    crs: object, y_centres: npt.NDArray[np.float64], x_centres: npt.NDArray[np.float64]
) -> Grid:
    (step_y, north), (step_x, west) = _axis(y_centres, "y"), _axis(x_centres, "x")
    if step_x < 0 or step_y > 0:
        raise GridError(
            "coordinates must run from west to east and from north to south: use "
            "obj.sortby(x).sortby(y, ascending=False)"
        )
    return Grid(crs, (step_x, 0, west, 0, step_y, north), (y_centres.size, x_centres.size))


def _axis(centres: npt.NDArray[np.float64], name: str) -> tuple[Fraction, float]:
    """Signed step and outer edge of pixel centres that are even to 1e-6 pixels."""
    if centres.size < 2:
        raise GridError(
            f"{centres.size} {name} coordinate has no step: write a transform, e.g. "
            "obj.rio.write_transform(transform)"
        )
    first, last = float(centres[0]), float(centres[-1])
    step = (last - first) / (centres.size - 1)
    uneven = float(np.abs(centres - (first + np.arange(centres.size) * step)).max())
    if step == 0 or uneven > SNAP_PIXELS * abs(step):
        raise GridError(
            f"{name} coordinates are uneven by up to {uneven:.3g} at a mean step of {step:.6g} "
            "(1e-6 of it is allowed): give the centres of a regular grid as float64, not float32"
        )
    # The ends are rounded to float64, so the step of a short axis is less sharp than 1e-12.
    noise = 4 * math.ulp(max(abs(first), abs(last))) / abs(last - first)
    exact = _simplest(_exact(step), max(STEP_TOLERANCE, _exact(noise)))
    return exact, first - float(exact) / 2
