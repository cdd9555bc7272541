"""A value raster as something that is read window by window.

An `OpenRaster` is one description for all kinds. Where its pixels come from is a `Pixels`, which
gives them as stored; flipping rows, widening dtypes, scale and offset are done here, once for all
kinds.
"""

from __future__ import annotations

import hashlib
import itertools
import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any, Protocol, TypeAlias, runtime_checkable

import numpy as np

from zoneraster._grid import Grid, Window, blocks_of
from zoneraster._values.attributes import Said
from zoneraster._values.decoding import Block, Decoding, DType, usable_nodata
from zoneraster.errors import StoreError, ValuesError, ZonerasterError, cure_of

Lanes: TypeAlias = tuple[slice, ...]

# What is decoded as a whole must fit into memory, whatever a file says of itself.
MAX_CHUNK_BYTES = 2**32


@contextmanager
def foreign_errors(label: str, failed: str, cure: str) -> Iterator[None]:
    """The one door for what codecs, GDAL, xarray, object stores and dask graphs raise.

    Raises
    ------
    ValuesError
        Naming the raster, what failed, the error and the cure.
    """
    try:
        yield
    except StoreError as err:
        if err.__cause__ is None:
            raise
        raise ValuesError(f"{label}: {failed}: {err}") from err  # of a disk or network
    except (ZonerasterError, ImportError, AssertionError):
        raise
    except Exception as err:
        cure = cure_of(err) or cure
        raise ValuesError(f"{label}: {failed} ({type(err).__name__}: {err}): {cure}") from err


def check_chunk(label: str, sides: Sequence[int], itemsize: int) -> None:
    """Refuse chunks that cannot be decoded, before anything is allocated.

    Raises
    ------
    ValuesError
    """
    if any(side < 1 for side in sides):
        raise ValuesError(f"{label}: chunks of {tuple(sides)} pixels hold none: write it again")
    n_bytes = math.prod(int(side) for side in sides) * itemsize
    if n_bytes > MAX_CHUNK_BYTES:
        shape = " x ".join(f"{side:,}" for side in sides)
        raise ValuesError(
            f"{label}: a chunk of {shape} pixels takes {n_bytes / 2**30:,.1f} GiB when it is "
            f"decoded, the limit is {MAX_CHUNK_BYTES >> 30} GiB: write it in smaller chunks"
        )


class Pixels(Protocol):
    """Where the pixels of a raster come from, as they are stored."""

    def read(self, lanes: Lanes, window: Window) -> Block:
        """Stored pixels, (lanes..., rows, cols)."""

    def narrowed(self, window: Window) -> Pixels:
        """The same for a window only, for shipping; windows keep their meaning."""

    def identity(self, window: Window) -> bytes | None:
        """What changes with the content of a window; None when only its pixels tell."""


@runtime_checkable
class SparsePixels(Pixels, Protocol):
    """Pixels in chunks of which some may never have been written."""

    def not_stored(self, lanes: Lanes, window: Window, block: Block) -> list[tuple[int, Window]]:
        """Parts of a window, which was read as `block`, that lie in chunks that are not stored.

        Each with the number of lanes that it stands for.
        """


@dataclass(frozen=True, slots=True, eq=False)
class BlockPixels:
    """Pixels of a window, (lanes..., rows, cols), that were read before."""

    block: Block
    window: Window

    def read(self, lanes: Lanes, window: Window) -> Block:
        """Stored pixels."""
        pixels: Block = self.block[(*lanes, *window.within(self.window).slices)]
        return pixels

    def narrowed(self, window: Window) -> BlockPixels:
        """All of it is needed, or it would not have been read."""
        return self

    def identity(self, window: Window) -> None:
        """Only the pixels tell."""
        return


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
    version : str or None
        What the user calls the content by.
    remarks : tuple of str
        What was assumed or ignored when it was opened.
    told : mapping
        What else the audit has to say of how it was opened: JSON, hence Any.
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
    version: str | None = None
    remarks: tuple[str, ...] = ()
    told: Mapping[str, Any] = field(default_factory=dict)

    @property
    def dtype(self) -> DType:
        """Dtype of what `read` gives: u1, i2, u2, i4, u4, i8, f4 or f8, in native byte order."""
        return np.dtype(np.float64) if self.decoding.is_scaled else self.decoding.stored

    @property
    def nodata(self) -> int | float | None:
        """Value that means "no value", in units of what `read` gives; None when only NaN does."""
        return None if self.decoding.is_scaled else self.decoding.nodata

    def read(self, lanes: Lanes, window: Window, *, in_place: bool = False) -> Block:
        """Pixels of a window, C-contiguous; may be a view of the source, so do not write into it.

        Parameters
        ----------
        lanes : tuple of slice
            One for each of `dims`.
        window : Window
            Inside of the grid.
        in_place : bool
            Part of an array in memory may be left where it is: its rows are then in one piece each.

        Returns
        -------
        array (lanes..., rows, cols) of `dtype`

        Raises
        ------
        ValuesError
            Naming the raster and the window when the pixels cannot be read.
        """
        block = self._read(lanes, window)
        block = block[..., ::-1, :] if self.is_flipped else block
        return self.decoding.values(block, self.label, in_place=in_place)

    def not_stored(self, lanes: Lanes, window: Window, block: Block) -> list[tuple[int, Window]]:
        """Parts of a window, which was read as `block`, that lie in chunks that are not stored.

        Each with the number of lanes that it stands for; none where it is not known which chunks
        there are.
        """
        if not isinstance(self.pixels, SparsePixels):
            return []
        stored = block[..., ::-1, :] if self.is_flipped else block
        cure = "check the path and that you may read it"
        with foreign_errors(self.label, f"cannot tell what of {window} is stored", cure):
            found = self.pixels.not_stored(lanes, self._stored(window), stored)
        return [(n, self._stored(part)) for n, part in found]

    def assumed(self) -> dict[str, Any]:
        """What is taken for granted of its numbers and its place, for the audit: JSON, hence Any.

        Nodata values are those that its pixels can hold, as they are stored.
        """
        said, stored = self.decoding.said or Said(), self.decoding.stored
        authority = self.grid.crs.to_authority()
        found: dict[str, Any] = {
            "nodata": [v for v in said.nodata if usable_nodata(v, stored) is not None],
            "scale": self.decoding.scale,
            "offset": self.decoding.offset,
            "crs": ":".join(authority) if authority else self.grid.crs.name,
        }
        if (said.low, said.high) != (None, None):
            found["valid_range"] = [None if v is None else float(v) for v in (said.low, said.high)]
        if said.fill is not None:
            found["fill_value"] = said.fill
        return {**found, **self.told}

    def plain(self, lanes: Lanes, window: Window) -> Block:
        """Pixels of a window as they are stored, the northern row first, in `decoding.stored`."""
        block = self._read(lanes, window)
        return self.decoding.plain(block[..., ::-1, :] if self.is_flipped else block, self.label)

    def _read(self, lanes: Lanes, window: Window) -> Block:
        """Stored pixels of a window."""
        assert len(lanes) == len(self.dims)
        failed = f"cannot read {window}"
        cure = "the file may be truncated or damaged, copy or write it again"
        with foreign_errors(self.label, failed, cure):
            block = self.pixels.read(lanes, self._stored(window))
        assert block.shape[-2:] == window.shape
        return block

    def narrowed(self, window: Window) -> OpenRaster:
        """Return the raster that a worker needs to read a window, or any part of it.

        Grid and windows stay; arrays in memory keep only the pixels of the window and dask arrays
        the graph of them. What is read from a path is returned as it is.
        """
        with foreign_errors(self.label, f"cannot cut {window}", "check the array's dask graph"):
            pixels = self.pixels.narrowed(self._stored(window))
        return self if pixels is self.pixels else replace(self, pixels=pixels)

    def identity(self, window: Window) -> bytes:
        """16 bytes that change with the content of a window, and with what gives it its meaning.

        Read from the pixels where nothing else tells.
        """
        quick = self.quick_identity(window)
        if quick is not None:
            return quick
        found = (digest_block(self.read(*block)) for block in self._blocks(window))
        return self._identity_of(window, b"".join([b"pixels", *found]))

    def quick_identity(self, window: Window) -> bytes | None:
        """The same without reading pixels of a file; None when only they tell."""
        if self.version is not None:
            return self._identity_of(window, repr((self.label, self.name, self.version)).encode())
        failed = "cannot tell whether it changed"
        with foreign_errors(self.label, failed, "check the path and that you may list it"):
            content = self.pixels.identity(self._stored(window))
        return None if content is None else self._identity_of(window, content)

    def held(self, window: Window, limit: int) -> OpenRaster:
        """The raster with a window of it in memory, where that takes no more than `limit` bytes."""
        lanes = tuple(slice(0, coord.size) for coord in self.coords)
        n_pixels = window.height * window.width * math.prod(lane.stop for lane in lanes)
        if n_pixels * self.decoding.stored.itemsize > limit:
            return self
        stored = self._stored(window)
        return replace(self, pixels=BlockPixels(self._read(lanes, window), stored))

    def _blocks(self, window: Window) -> Iterator[tuple[Lanes, Window]]:
        """What is best read at once, of all lanes within a window."""
        spans = [(0, coord.size) for coord in self.coords]
        spans += [(window.row0, window.row1), (window.col0, window.col1)]
        ranges = [
            [slice(max(start, i * n), min(stop, (i + 1) * n)) for i in blocks_of(start, stop, n)]
            for (start, stop), n in zip(spans, self.chunks, strict=True)
        ]
        for *lanes, rows, cols in itertools.product(*ranges):
            yield tuple(lanes), Window(rows.start, rows.stop, cols.start, cols.stop)

    def _identity_of(self, window: Window, content: bytes) -> bytes:
        meaning = (self.grid.to_dict(), self.dims, self.decoding, self.is_flipped)
        coords = [(str(coord.dtype), coord.tolist()) for coord in self.coords]
        return digest_of(repr(meaning), repr(coords), repr(window), content)

    def _stored(self, window: Window) -> Window:
        height, width = self.grid.shape
        assert window.row0 >= 0 <= window.col0, window
        assert window.row1 <= height, window
        assert window.col1 <= width, window
        if not self.is_flipped:
            return window
        return Window(height - window.row1, height - window.row0, window.col0, window.col1)


def digest_block(block: Block) -> bytes:
    """16 bytes that change with any pixel of a block, or its shape or dtype."""
    # Pickling may change the byte order, which is no change of content.
    data = np.ascontiguousarray(block, dtype=block.dtype.newbyteorder("="))
    return digest_of(f"{data.dtype.str} {data.shape}", data.reshape(-1).view(np.uint8).data)


def digest_of(*parts: str | bytes | memoryview) -> bytes:
    """16 bytes that change with any of the parts, or where one ends."""
    digest = hashlib.blake2b(digest_size=16)
    for part in parts:
        data = part.encode() if isinstance(part, str) else part
        digest.update(len(data).to_bytes(8, "little"))
        digest.update(data)
    return digest.digest()
