"""Where the pixels of value rasters come from: xarray variables, Zarr groups, raster files."""

from __future__ import annotations

import functools
import itertools
import json
import os
import threading
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

import numpy as np

from zoneraster._grid import Window
from zoneraster._values.chunks import ChunkLayout, parse_metadata
from zoneraster._values.opened import Block, DType, Lanes, digest_of
from zoneraster.blobs import Blobs, LocalBlobs, Location

if TYPE_CHECKING:
    import xarray as xr

# Others read what a file tells them to (VRT, WMS, GTI) or need another tool to choose a variable.
DRIVERS = ("GTiff", "HFA", "ENVI", "EHdr", "AAIGrid", "JP2OpenJPEG", "PNG", "SRTMHGT")
SUFFIX_DRIVERS = {".jp2": "JP2OpenJPEG", ".img": "HFA", ".asc": "AAIGrid", ".png": "PNG"}
ZARR_NODES = ("zarr.json", ".zmetadata", ".zgroup", ".zarray")


@dataclass(frozen=True, slots=True)
class Axes:
    """Which dimension is which: those kept, rows and columns last, and positions of the others."""

    kept: tuple[str, ...]
    fixed: tuple[tuple[str, int], ...]

    def cut(self, variable: xr.Variable, lanes: Lanes, window: Window) -> xr.Variable:
        """Lanes and window of a variable; nothing is read or moved yet."""
        keys = (*lanes, *window.slices)
        return variable.isel({**dict(zip(self.kept, keys, strict=True)), **dict(self.fixed)})

    def load(self, variable: xr.Variable) -> Block:
        """Pixels of what was cut, rows and columns last."""
        data: Any = variable.values if variable.chunks is None else variable.data  # Any: dask's
        if variable.chunks is not None:
            # In the thread of the task: a scheduler of its own would fight with ours.
            data = data.compute(scheduler="synchronous")
        # Moved when read: an array that is opened lazily reads point by point once it is moved.
        return np.transpose(data, [variable.dims.index(name) for name in self.kept])

    def all_lanes(self) -> Lanes:
        """Slices that leave nothing out."""
        return (slice(None),) * (len(self.kept) - 2)


@dataclass(frozen=True, slots=True, eq=False)
class ArrayPixels:
    """Pixels of an xarray variable, of which `row0` and `col0` may have been cut off."""

    variable: xr.Variable
    axes: Axes
    row0: int = 0
    col0: int = 0

    def _cut(self, lanes: Lanes, window: Window) -> xr.Variable:
        moved = Window(
            window.row0 - self.row0, window.row1 - self.row0,
            window.col0 - self.col0, window.col1 - self.col0,
        )  # fmt: skip
        return self.axes.cut(self.variable, lanes, moved)

    def read(self, lanes: Lanes, window: Window) -> Block:
        """Stored pixels."""
        return self.axes.load(self._cut(lanes, window))

    def narrowed(self, window: Window) -> ArrayPixels:
        """The window alone."""
        cut = self._cut(self.axes.all_lanes(), window)
        if cut.chunks is not None:
            import dask.base  # noqa: PLC0415 - whoever has such an array has it loaded

            # Slicing keeps the whole graph; optimizing drops what the window does not need.
            optimize: Any = dask.base.optimize  # Any: untyped
            (data,) = optimize(cut.data)
            cut = cut.copy(deep=False, data=data)
        return ArrayPixels(cut, Axes(self.axes.kept, ()), window.row0, window.col0)

    def identity(self, window: Window) -> bytes:
        """Digest of the pixels, of a dask array that of its graph."""
        cut = self._cut(self.axes.all_lanes(), window)
        if cut.chunks is None:
            return _digest_block(self.axes.load(cut))
        import dask.base  # noqa: PLC0415

        return str(dask.base.tokenize(cut.data)).encode()


@dataclass(frozen=True, slots=True)
class ZarrPixels:
    """Pixels of a variable of a Zarr group, which each process opens for itself, once."""

    url: str
    variable: str
    is_consolidated: bool
    opening: str  # names one call of open_rasters: what is written anew later is opened anew
    axes: Axes

    def _opened(self) -> xr.Variable:
        dataset = open_group(self.url, self.is_consolidated, self.opening)
        return dataset.variables[self.variable]

    def read(self, lanes: Lanes, window: Window) -> Block:
        """Stored pixels."""
        block = self._one_chunk(lanes, window)
        if block is not None:
            return block
        return self.axes.load(self.axes.cut(self._opened(), lanes, window))

    def _one_chunk(self, lanes: Lanes, window: Window) -> Block | None:
        """Stored pixels that lie in one chunk of a plain array; None for others."""
        blobs, layout = _open_chunks(self.url, self.variable, self.opening)
        if layout is None:
            return None
        variable = self._opened()
        keys = dict(zip(self.axes.kept, (*lanes, *window.slices), strict=True))
        fixed = {name: slice(at, at + 1) for name, at in self.axes.fixed}
        sizes = [(str(name), size) for name, size in variable.sizes.items()]
        spans = [{**keys, **fixed}[name].indices(size)[:2] for name, size in sizes]
        found = layout.key_of(spans)
        if found is None:
            return None
        key, parts = found
        block = layout.decode(get_or_none(blobs, f"{self.variable}/{key}"), parts)
        if block is None:
            return None
        names = [name for name, _ in sizes]
        block = block[tuple(0 if name in fixed else slice(None) for name in names)]
        left = [name for name in names if name not in fixed]
        return block.transpose([left.index(name) for name in self.axes.kept])

    def narrowed(self, window: Window) -> ZarrPixels:
        """The path is all there is to ship."""
        return self

    def identity(self, window: Window) -> bytes:
        """Digest of the metadata and of size and time of each chunk that the window touches."""
        location = Location.of(self.url)
        blobs = location.blobs()
        metadata = [
            get_or_none(blobs, f"{self.variable}/{name}") for name in (*ZARR_NODES, ".zattrs")
        ]
        keys = self._chunk_keys(json.loads(metadata[0] or metadata[3] or b"{}"), window)
        if keys is None or self.url.startswith("http"):
            # Neither chunks to look at nor a listing of them: the pixels themselves then.
            return _digest_block(self.read(self.axes.all_lanes(), window))
        paths = (f"{self.variable}/{key}" for key in keys)
        if isinstance(blobs, LocalBlobs):
            states = [repr(local_state(blobs.root / path)) for path in paths]
        else:
            listing = _listing(f"{self.url}/{self.variable}", self.opening)
            states = [listing.get(path.removeprefix(f"{self.variable}/"), "") for path in paths]
        return digest_of(*(repr(part) for part in metadata), repr(states))

    def _chunk_keys(self, metadata: Mapping[str, Any], window: Window) -> Iterator[str] | None:
        """Keys below the array, None for layouts unknown here; metadata is JSON, hence Any."""
        prefix: list[str] = []
        if metadata.get("zarr_format") == 2:
            sides, separator = metadata["chunks"], metadata.get("dimension_separator", ".")
        elif metadata.get("chunk_grid", {}).get("name") == "regular":
            sides = metadata["chunk_grid"]["configuration"]["chunk_shape"]
            encoding = metadata["chunk_key_encoding"]
            is_v3 = encoding["name"] == "default"
            prefix = ["c"] if is_v3 else []
            said = encoding.get("configuration") or {}
            separator = said.get("separator", "/" if is_v3 else ".")
        else:
            return None
        spans = {name: (at, at + 1) for name, at in self.axes.fixed}
        *_, y, x = self.axes.kept
        spans |= {y: (window.row0, window.row1), x: (window.col0, window.col1)}
        variable = self._opened()
        named = (spans.get(str(name), (0, size)) for name, size in variable.sizes.items())
        ranges = [range(a // n, -(-b // n)) for (a, b), n in zip(named, sides, strict=True)]
        indices = itertools.product(*ranges)
        return (separator.join([*prefix, *map(str, index)]) for index in indices)


@dataclass(frozen=True, slots=True)
class FilePixels:
    """Pixels of a raster file."""

    path: str
    bands: tuple[int, ...]
    is_single: bool  # the only band makes no dimension
    dtype: DType
    mask_value: int | float | None  # what masked pixels become; None without a mask
    alpha: int | None  # band that is the mask; GDAL takes it for one beside 1 or 3 bands only
    opening: str

    def read(self, lanes: Lanes, window: Window) -> Block:
        """Stored pixels; a mask or alpha band is written into them."""
        bands = list(self.bands if self.is_single else self.bands[lanes[0]])
        stamp = None if "://" in self.path else local_state(Path(self.path))
        opened = open_file(self.path, stamp, os.getpid(), threading.get_ident())
        spans = ((window.row0, window.row1), (window.col0, window.col1))
        block: Block = opened.read(bands, window=spans, out_dtype=self.dtype)
        if self.mask_value is not None:
            if self.alpha is None:
                is_masked = opened.read_masks(bands, window=spans) == 0
            else:
                alpha = opened.read(self.alpha, window=spans)
                is_masked = np.broadcast_to(alpha == 0, block.shape)
            block[is_masked] = self.mask_value
        return block[0] if self.is_single else block

    def narrowed(self, window: Window) -> FilePixels:
        """The path is all there is to ship."""
        return self

    def identity(self, window: Window) -> bytes:
        """Digest of size and time of the file and of those beside it that belong to it."""
        if "://" in self.path:
            return digest_of(self.path, repr(self.bands), _remote_state(self.path, self.opening))
        stamp = local_state(Path(self.path))
        opened = open_file(self.path, stamp, os.getpid(), threading.get_ident())
        states = [local_state(Path(file)) for file in sorted(opened.files)]
        return digest_of(repr(self.bands), repr(states))


@functools.lru_cache(maxsize=64)
def open_group(url: str, is_consolidated: bool, opening: str) -> xr.Dataset:
    """Open a Zarr group: data stay as stored, times among the coordinates become dates."""
    import xarray as xr  # noqa: PLC0415 - slow, and not needed for raster files

    opened = xr.open_dataset(
        url, engine="zarr", consolidated=is_consolidated, chunks=None, cache=False,
        mask_and_scale=False, decode_times=False,
    )  # fmt: skip
    # Data may be "days since" too, as alerts are: these are numbers to reduce.
    coords = opened.coords.to_dataset()
    decoded = xr.decode_cf(coords, mask_and_scale=False, decode_timedelta=False)
    return opened.assign_coords(decoded.coords)


@functools.lru_cache(maxsize=64)
def _open_chunks(url: str, variable: str, opening: str) -> tuple[Blobs, ChunkLayout | None]:
    """Where the chunks of a Zarr array are, and how they are stored."""
    blobs = Location.of(url).blobs()
    return blobs, parse_metadata(get_or_none(blobs, f"{variable}/zarr.json"))


@functools.lru_cache(maxsize=256)
def open_file(path: str, stamp: object, process: int, thread: int) -> Any:  # Any: rasterio's
    """Open a raster file, once in a thread: GDAL's datasets must not be shared."""
    try:
        import rasterio  # noqa: PLC0415 - optional
    except ImportError as err:
        raise ImportError(
            f"reading {path!r} needs rasterio: pip install 'zoneraster[raster]'"
        ) from err
    # Elsewhere each attempt is a request, so the suffix chooses; here the content does.
    suffix = PurePosixPath(path.partition("?")[0]).suffix.lower()
    drivers = (SUFFIX_DRIVERS.get(suffix, "GTiff"),) if "://" in path else DRIVERS
    refusals = []
    for driver in drivers:
        try:
            return rasterio.open(path, driver=driver)
        except rasterio.errors.RasterioIOError as err:
            refusals.append(err)
    raise refusals[0]


def _digest_block(block: Block) -> bytes:
    # Pickling may change the byte order, which is no change of content.
    data = np.ascontiguousarray(block, dtype=block.dtype.newbyteorder("="))
    return digest_of(f"{data.dtype.str} {data.shape}", data.reshape(-1).view(np.uint8).data)


def get_or_none(blobs: Blobs, key: str) -> bytes | None:
    """Bytes of a key; None where there is no such file."""
    try:
        return blobs.get(key)
    except (FileNotFoundError, NotADirectoryError, IsADirectoryError):
        return None


def local_state(path: Path) -> tuple[int, int] | None:
    """Size and time of a file, ns; None where there is none."""
    try:
        status = path.stat()
    except FileNotFoundError:
        return None
    return status.st_size, status.st_mtime_ns


def _state(info: Mapping[str, object]) -> str:
    """What changes when an object is written again."""
    said = {name.lower(): value for name, value in info.items()}
    names = ("size", "etag", "mtime", "lastmodified", "last_modified", "updated", "created")
    return repr([said.get(name) for name in names])


@functools.lru_cache(maxsize=256)
def _remote_state(url: str, opening: str) -> str:
    import fsspec  # noqa: PLC0415

    files, path = fsspec.core.url_to_fs(url)
    files.invalidate_cache()
    return _state(files.info(path))


@functools.lru_cache(maxsize=16)
def _listing(url: str, opening: str) -> dict[str, str]:
    """States of everything below a URL by key: one listing instead of a request for each chunk."""
    import fsspec  # noqa: PLC0415

    files, path = fsspec.core.url_to_fs(url)
    files.invalidate_cache()
    skip = len(path.strip("/")) + 1
    found = files.find(path, detail=True)
    return {name.lstrip("/")[skip:]: _state(info) for name, info in found.items()}
