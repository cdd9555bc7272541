"""Raster files, through rasterio."""

from __future__ import annotations

import functools
import os
import threading
import uuid
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from affine import Affine

from zoneraster._grid import Grid, Window
from zoneraster._values.attributes import Said, said_of
from zoneraster._values.decoding import Block, Decoding, DType, decoding_of, with_nodata
from zoneraster._values.opened import (
    Lanes,
    OpenRaster,
    check_chunk,
    digest_of,
    foreign_errors,
)
from zoneraster._values.raster import Raster, stem_of
from zoneraster.blobs import URL_SCHEMES, Location, file_state, object_state, suffix_of
from zoneraster.errors import GridError, ValuesError, without

FILE_SUFFIXES = (".tif", ".tiff", ".jp2", ".img", ".asc", ".hgt", ".png")
# Others read what a file tells them to (VRT, WMS, GTI) or need another tool to choose a variable.
DRIVERS = ("GTiff", "HFA", "ENVI", "EHdr", "AAIGrid", "JP2OpenJPEG", "PNG", "SRTMHGT")
SUFFIX_DRIVERS = {".jp2": "JP2OpenJPEG", ".img": "HFA", ".asc": "AAIGrid", ".png": "PNG"}
# rasterio knows no way to the others; local URLs have become paths before.
_UNREADABLE_SCHEMES = ("file", "local", "memory", "abfs", "abfss")
READABLE_SCHEMES = tuple(scheme for scheme in URL_SCHEMES if scheme not in _UNREADABLE_SCHEMES)


# ---- opening -----------------------------------------------------------------------------------


def open_file(asked: Raster, location: Location, label: str) -> OpenRaster:
    """The raster of a file; no pixel is read.

    Raises
    ------
    ValuesError, GridError
        For what cannot be opened, reduced or placed.
    """
    if asked.variable is not None:
        raise ValuesError(
            f"{label} is a raster file, which has bands and no variables: replace "
            f"variable={asked.variable!r} by band=1, 2, ..."
        )
    if location.options:
        raise ValuesError(
            f"{label}: GDAL reads raster files and takes no storage options: set them in the "
            "environment, such as AWS_S3_ENDPOINT"
        )
    path = _checked_file(location, label)
    cure = (
        f"give a file that GDAL reads with one of {', '.join(DRIVERS)}, a Zarr, or open it with "
        "xarray and give the DataArray"
    )
    with foreign_errors(label, "cannot be opened", cure):
        file = _open_here(path)
    bands, alpha = _bands_of_file(file, asked.band, label)
    for band in bands:
        check_chunk(label, file.block_shapes[band - 1], 8)
    said, decoding, read_as, mask_value = _decoding_of_file(file, bands, alpha, asked, label)
    is_single = asked.band is not None or len(bands) == 1
    grid, is_flipped = _grid_of_file(file, asked.crs, label)
    lanes = len(bands) if file.profile.get("interleave") == "pixel" else 1
    sides = [min(pair) for pair in zip(file.block_shapes[bands[0] - 1], grid.shape, strict=True)]
    return OpenRaster(
        name=stem_of(path),
        label=label,
        grid=grid,
        units=asked.units if asked.units is not None else file.units[bands[0] - 1] or None,
        dims=() if is_single else ("band",),
        coords=() if is_single else (np.array(bands),),
        chunks=(*sides,) if is_single else (lanes, *sides),
        pixels=FilePixels(path, bands, is_single, read_as, mask_value, alpha, uuid.uuid4().hex),
        decoding=decoding,
        is_flipped=is_flipped,
        remarks=said.remarks,
    )


def _checked_file(location: Location, label: str) -> str:
    """A path for rasterio that leads to the file itself and to no other."""
    scheme, mark, rest = location.url.partition("://")
    if mark:
        if scheme not in READABLE_SCHEMES:
            raise ValuesError(
                f"{label}: raster files are not read from {scheme}://: download it, or use one of "
                + ", ".join(READABLE_SCHEMES)
            )
        return f"gs://{rest}" if scheme == "gcs" else location.url
    path = Path(location.url)
    if path.is_dir():
        raise ValuesError(
            f"{label} is a folder without Zarr metadata and without raster files "
            f"({', '.join(FILE_SUFFIXES)}): give one file, a Zarr, or the folder of the tiles"
        )
    if not path.is_file():
        raise ValuesError(f"{label}: no such file: check the path")
    with path.open("rb") as head:
        if b"<VRTDataset" in head.read(4096):
            raise ValuesError(
                f"{label} is a VRT inside of another one, which may lead to any other file: write "
                "it out, e.g. gdal_translate mosaic.vrt mosaic.tif"
            )
    return location.url


def _bands_of_file(file: Any, band: int | None, label: str) -> tuple[tuple[int, ...], int | None]:
    """Numbers of the bands to read, and of the alpha band; `file` is rasterio's, hence Any."""
    kinds = zip(file.indexes, file.colorinterp, strict=True)
    alpha = next((index for index, kind in kinds if kind.name == "alpha"), None)
    if band is None:
        bands = tuple(index for index in file.indexes if index != alpha)
    elif band in file.indexes:
        bands = (int(band),)
    else:
        raise ValuesError(f"{label} has no band {band}, its are 1 to {file.count}")
    # Alone, it holds the values.
    return (bands, alpha) if bands and alpha not in bands else ((alpha or 1,), None)


def _decoding_of_file(
    file: Any, bands: tuple[int, ...], alpha: int | None, asked: Raster, label: str
) -> tuple[Said, Decoding, DType, int | float | None]:
    """What is said, decoding, dtype to read as, what masked pixels become; `file` is rasterio's."""

    def common(values: Sequence[Any], what: str) -> Any:
        found = {repr(values[band - 1]): values[band - 1] for band in bands}
        if len(found) > 1:
            raise ValuesError(
                f"{label}: its bands differ in {what} ({', '.join(found)}): choose one, "
                "Raster(..., band=1), or give several rasters"
            )
        return next(iter(found.values()))

    names = [file.dtypes[band - 1] for band in bands]
    # complex_int16 is known to GDAL only.
    dtype = np.result_type(*("c8" if name.startswith("complex") else name for name in names))
    flags = {flag.name for band in bands for flag in file.mask_flag_enums[band - 1]}
    declared = common(file.nodatavals, "nodata")
    attributes = {
        "_FillValue": declared,
        "scale_factor": common(file.scales, "scale"),
        "add_offset": common(file.offsets, "offset"),
    }
    tags = [file.tags(band) if band in bands else {} for band in file.indexes]
    for name in ("valid_range", "valid_min", "valid_max"):
        attributes[name] = common([of_band.get(name) for of_band in tags], name)
    is_masked = alpha is not None or bool(flags & {"per_dataset", "alpha"})
    asked_nodata = asked.asked_nodata or ()
    # GDAL knows all digits of the nodata of 64-bit integers, and gives a float of it.
    is_long = dtype.kind in "iu" and dtype.itemsize == 8 and "nodata" in flags
    if is_long and not any(value != value for value in asked_nodata):
        is_masked = True
        if declared is not None and abs(declared) >= 2**53:
            attributes["_FillValue"] = None
    said = said_of(attributes, {"source": file.name}, dtype, asked, label)
    decoding = decoding_of(said, dtype, label)
    if not is_masked:
        return said, decoding, dtype if dtype == np.uint64 else decoding.stored, None
    # Read as it is, so that values beyond int64 are seen and not cut.
    read_as, mask_value = (dtype if dtype == np.uint64 else decoding.stored), decoding.nodata
    if read_as.kind == "f":
        mask_value = np.nan
    elif mask_value is None:
        wider, mask_value = with_nodata(decoding.stored)
        decoding = replace(decoding, stored=wider, nodata=mask_value)
        read_as = dtype if dtype == np.uint64 else wider
    if read_as == np.uint64 and mask_value < 0:
        mask_value += 2**64
    return said, decoding, read_as, mask_value


def _grid_of_file(file: Any, crs: object, label: str) -> tuple[Grid, bool]:
    """Grid, and whether rows are stored from south to north; `file` is rasterio's."""
    n_points = len(file.gcps[0])
    if file.transform == Affine.identity() and n_points:
        raise GridError(
            f"{label} is placed by {n_points} ground control points, not by a transform: warp it, "
            "e.g. gdalwarp -tps in.tif out.tif"
        )
    if file.transform == Affine.identity():
        raise GridError(f"{label} is not georeferenced: write a transform, e.g. with rio edit-info")
    if crs is None and file.crs is None:
        raise GridError(f"{label} has no CRS: give it, Raster({label!r}, crs='EPSG:4326')")
    a, b, c, d, e, f = tuple(file.transform)[:6]
    is_flipped = e > 0
    transform = (a, b, c, d, -e, f + e * file.height) if is_flipped else (a, b, c, d, e, f)
    try:
        return Grid(file.crs.to_wkt() if crs is None else crs, transform, file.shape), is_flipped
    except GridError as err:
        raise GridError(f"{label}: {err}") from err


# ---- pixels ------------------------------------------------------------------------------------


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
        file = _open_here(self.path)
        spans = ((window.row0, window.row1), (window.col0, window.col1))
        block: Block = file.read(bands, window=spans, out_dtype=self.dtype)
        if self.mask_value is not None:
            if self.alpha is None:
                is_masked = file.read_masks(bands, window=spans) == 0
            else:
                alpha = file.read(self.alpha, window=spans)
                is_masked = np.broadcast_to(alpha == 0, block.shape)
            block[is_masked] = self.mask_value
        return block[0] if self.is_single else block

    def narrowed(self, window: Window) -> FilePixels:
        """The path is all there is to ship."""
        return self

    def identity(self, window: Window) -> bytes | None:
        """Digest of the state of the file and of those beside it that belong to it."""
        if "://" in self.path:
            state = _remote_state(self.path, self.opening)
            return None if state is None else digest_of(self.path, repr(self.bands), state)
        states = [file_state(Path(name)) for name in sorted(_open_here(self.path).files)]
        return digest_of(repr(self.bands), repr(states))


def _open_here(path: str) -> Any:  # Any: rasterio's
    """The raster file, opened once in this thread and again once it is written anew."""
    stamp = None if "://" in path else file_state(Path(path))
    return _open_file(path, stamp, os.getpid(), threading.get_ident())


@functools.lru_cache(maxsize=256)
def _open_file(path: str, stamp: object, process: int, thread: int) -> Any:  # Any: rasterio's
    """Open a raster file, once in a thread: GDAL's datasets must not be shared."""
    try:
        import rasterio  # noqa: PLC0415 - optional
    except ImportError as err:
        raise without("rasterio", f"reading {path!r}") from err
    # Elsewhere each attempt is a request, so the suffix chooses; here the content does.
    suffix = suffix_of(path)
    drivers = (SUFFIX_DRIVERS.get(suffix, "GTiff"),) if "://" in path else DRIVERS
    refusals = []
    for driver in drivers:
        try:
            return rasterio.open(path, driver=driver)
        except rasterio.errors.RasterioIOError as err:
            refusals.append(err)
    raise refusals[0]


@functools.lru_cache(maxsize=256)
def _remote_state(url: str, opening: str) -> str | None:
    import fsspec  # noqa: PLC0415

    files, path = fsspec.core.url_to_fs(url)
    files.invalidate_cache()
    return object_state(files.info(path))
