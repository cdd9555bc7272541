"""A value raster as something that is read window by window.

An `OpenRaster` is one description for all kinds. Where its pixels come from is a `Pixels`, which
gives them as stored; flipping rows, widening dtypes, scale and offset are done here, once for all
kinds.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field, replace
from typing import Any, Protocol, TypeAlias

import numpy as np
import numpy.typing as npt

from zoneraster._grid import Grid, Window
from zoneraster.errors import ValuesError, ZonerasterError

Block: TypeAlias = npt.NDArray[Any]  # Any: of every dtype
DType: TypeAlias = np.dtype[Any]
Lanes: TypeAlias = tuple[slice, ...]

# What codecs, GDAL and object stores raise for bytes that are not there or not what they should be.
UNREADABLE = (OSError, ValueError, RuntimeError, KeyError, IndexError, TypeError, EOFError)
_CURES = {
    "c": "take its real part or its absolute value first",
    "M": "turn it into numbers first, e.g. days: (array - start) / np.timedelta64(1, 'D')",
    "m": "turn it into numbers first, e.g. days: array / np.timedelta64(1, 'D')",
}


class Pixels(Protocol):
    """Where the pixels of a raster come from, as they are stored."""

    def read(self, lanes: Lanes, window: Window) -> Block:
        """Stored pixels, (lanes..., rows, cols)."""

    def narrowed(self, window: Window) -> Pixels:
        """The same for a window only, for shipping; windows keep their meaning."""

    def identity(self, window: Window) -> bytes:
        """Digest of what is inside of a window."""


@dataclass(frozen=True, slots=True)
class Decoding:
    """From stored pixels to values.

    Parameters
    ----------
    stored : numpy.dtype
        Native dtype of `plain_dtype` that holds every stored value.
    nodata : int, float or None
        In stored units.
    scale, offset : float
        ``value = stored * scale + offset``; 1 and 0 leave the dtype alone.
    """

    stored: DType
    nodata: int | float | None
    scale: float = 1.0
    offset: float = 0.0

    @property
    def is_scaled(self) -> bool:
        """Whether values differ from what is stored."""
        return (self.scale, self.offset) != (1.0, 0.0)

    def values(self, block: Block, label: str) -> Block:
        """Values of stored pixels, C-contiguous."""
        if block.dtype.kind == "u" and block.dtype.itemsize == 8:
            self._check_uint64(block, label)
        with np.errstate(over="ignore"):  # uint64 wraps, and only nodata does
            plain = np.ascontiguousarray(block, dtype=self.stored)
        if not self.is_scaled:
            return plain
        values = plain.astype(np.float64) * self.scale + self.offset
        if self.nodata is not None:
            values[plain == self.nodata] = np.nan
        return values

    def _check_uint64(self, block: Block, label: str) -> None:
        large = block >= np.uint64(2**63)
        if self.nodata is not None and self.nodata < 0:
            large &= block != np.uint64(self.nodata + 2**64)
        if large.any():
            raise ValuesError(
                f"{label}: value {block[large][0]} does not fit int64, the widest integer that is "
                "reduced: convert the raster to float64, or give Raster(nodata=...) if it is nodata"
            )


@dataclass(frozen=True, slots=True, eq=False)
class OpenRaster:
    """A value raster that is read window by window; picklable, and safe to share among threads.

    Parameters
    ----------
    name : str
        Name of the measure or variable.
    label : str
        How an error names the raster.
    grid : Grid
    units : str or None
    dims : tuple of str
        Dimensions in front of rows and columns, such as ("time",).
    coords : tuple of 1-D arrays
        Coordinates along `dims`: dates, band numbers from 1, or 0 to n - 1 where there are none.
    chunks : tuple of int
        What is best read at once: along `dims`, then rows and columns, in pixels.
    pixels : Pixels
    decoding : Decoding
    is_flipped : bool
        Rows are stored from south to north.
    """

    name: str
    label: str
    grid: Grid
    units: str | None
    dims: tuple[str, ...]
    coords: tuple[Block, ...]
    chunks: tuple[int, ...]
    pixels: Pixels = field(repr=False)
    decoding: Decoding
    is_flipped: bool = False

    @property
    def dtype(self) -> DType:
        """Dtype of what `read` gives: u1, i2, u2, i4, u4, i8, f4 or f8, in native byte order."""
        return np.dtype(np.float64) if self.decoding.is_scaled else self.decoding.stored

    @property
    def nodata(self) -> int | float | None:
        """Value that means "no value", in units of what `read` gives; None when only NaN does."""
        return None if self.decoding.is_scaled else self.decoding.nodata

    def read(self, lanes: Lanes, window: Window) -> Block:
        """Pixels of a window, C-contiguous; may be a view of the source, so do not write into it.

        Parameters
        ----------
        lanes : tuple of slice
            One for each of `dims`.
        window : Window
            Inside of the grid.

        Returns
        -------
        array (lanes..., rows, cols) of `dtype`

        Raises
        ------
        ValuesError
            Naming the raster and the window when the pixels cannot be read.
        """
        assert len(lanes) == len(self.dims)
        try:
            block = self.pixels.read(lanes, self._stored(window))
        except ZonerasterError:
            raise
        except UNREADABLE as err:
            raise ValuesError(
                f"{self.label}: cannot read {window} ({type(err).__name__}: {err}): the file may "
                "be truncated or damaged, copy or write it again"
            ) from err
        assert block.shape[-2:] == window.shape
        return self.decoding.values(block[..., ::-1, :] if self.is_flipped else block, self.label)

    def narrowed(self, window: Window) -> OpenRaster:
        """Return the raster that a worker needs to read a window, or any part of it.

        Grid and windows stay; arrays in memory keep only the pixels of the window and dask arrays
        the graph of them. What is read from a path is returned as it is.
        """
        pixels = self.pixels.narrowed(self._stored(window))
        return self if pixels is self.pixels else replace(self, pixels=pixels)

    def identity(self, window: Window) -> bytes:
        """16 bytes that change with the content of a window, and with what gives it its meaning."""
        meaning = (self.grid.to_dict(), self.dims, self.decoding, self.is_flipped)
        coords = [(str(coord.dtype), coord.tolist()) for coord in self.coords]
        try:
            content = self.pixels.identity(self._stored(window))
        except OSError as err:
            raise ValuesError(
                f"{self.label}: cannot tell whether it changed ({err}): check the path and that "
                "you may list it"
            ) from err
        return digest_of(repr(meaning), repr(coords), repr(window), content)

    def _stored(self, window: Window) -> Window:
        height, width = self.grid.shape
        assert window.row0 >= 0 <= window.col0, window
        assert window.row1 <= height, window
        assert window.col1 <= width, window
        if not self.is_flipped:
            return window
        return Window(height - window.row1, height - window.row0, window.col0, window.col1)


def digest_of(*parts: str | bytes | memoryview) -> bytes:
    """16 bytes that change with any of the parts, or where one ends."""
    digest = hashlib.blake2b(digest_size=16)
    for part in parts:
        data = part.encode() if isinstance(part, str) else part
        digest.update(len(data).to_bytes(8, "little"))
        digest.update(data)
    return digest.digest()


def plain_dtype(dtype: DType, label: str) -> DType:
    """Native dtype among u1, i2, u2, i4, u4, i8, f4, f8 that holds all values of a dtype.

    Raises
    ------
    ValuesError
        For what is not a number.
    """
    if dtype.kind not in "biuf":
        cure = _CURES.get(dtype.kind, "turn it into numbers first, e.g. array.astype('float32')")
        raise ValuesError(f"{label} holds {dtype}, which cannot be reduced: {cure}")
    wider = {"b1": "u1", "i1": "i2", "u8": "i8", "f2": "f4", "f16": "f8"}
    code = f"{dtype.kind}{dtype.itemsize}"
    return np.dtype(wider.get(code, code))


def usable_nodata(value: float | None, dtype: DType) -> int | float | None:
    """What stored pixels of a dtype are compared with; None for a value that none of them has.

    Parameters
    ----------
    value : number or None
    dtype : numpy.dtype
        As stored. Of uint64, which is read as int64, values from 2**63 wrap.
    """
    if value is None or np.isnan(value):
        return None
    if dtype.kind == "f":
        with np.errstate(over="ignore"):
            rounded = float(dtype.type(value))
        return rounded if np.isfinite(rounded) or np.isinf(value) else None
    if not np.isfinite(value) or int(value) != value:
        return None
    low, high = (0, 1) if dtype.kind == "b" else (np.iinfo(dtype).min, np.iinfo(dtype).max)
    if not low <= int(value) <= high:
        return None
    return int(value) - 2**64 if int(value) >= 2**63 else int(value)


def with_nodata(dtype: DType) -> tuple[DType, int | float]:
    """A dtype with room for a nodata value, and that value: NaN, or the least of a wider integer.

    int64 has no wider one, its least value serves.
    """
    if dtype.kind == "f":
        return dtype, np.nan
    wider = {"u1": "i2", "i2": "i4", "u2": "i4"}.get(f"{dtype.kind}{dtype.itemsize}", "i8")
    return np.dtype(wider), int(np.iinfo(wider).min)
