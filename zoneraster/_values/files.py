"""Raster files, through rasterio."""

from __future__ import annotations

import os
import threading
import uuid
from collections.abc import Sequence
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
from affine import Affine

from zoneraster._grid import Grid
from zoneraster._values.opened import (
    Decoding,
    DType,
    OpenRaster,
    plain_dtype,
    usable_nodata,
    with_nodata,
)
from zoneraster._values.pixels import DRIVERS, FilePixels, local_state, open_file
from zoneraster._values.raster import Raster
from zoneraster.blobs import Location
from zoneraster.errors import GridError, ValuesError

URL_SCHEMES = ("http", "https", "s3", "gs", "gcs", "az")


def stem_of(path: str) -> str:
    """Name of a file or group without folder and ending."""
    return PurePosixPath(path.partition("?")[0].rstrip("/")).stem


def open_file_raster(layer: Raster, location: Location, label: str) -> OpenRaster:
    """The raster of a file; no pixel is read.

    Raises
    ------
    ValuesError, GridError
        For what cannot be opened, reduced or placed.
    """
    if layer.variable is not None:
        raise ValuesError(
            f"{label} is a raster file, which has bands and no variables: replace "
            f"variable={layer.variable!r} by band=1, 2, ..."
        )
    path = _checked_file(location, label)
    stamp = None if "://" in path else local_state(Path(path))
    try:
        opened = open_file(path, stamp, os.getpid(), threading.get_ident())
    except OSError as err:
        raise ValuesError(
            f"{label}: cannot be opened ({err}): give a file that GDAL reads with one of "
            f"{', '.join(DRIVERS)}, a Zarr, or open it with xarray and give the DataArray"
        ) from err
    bands, alpha = _bands_of_file(opened, layer.band, label)
    decoding, read_as, mask_value = _decoding_of_file(opened, bands, alpha, layer, label)
    is_single = layer.band is not None or len(bands) == 1
    grid, is_flipped = _grid_of_file(opened, layer.crs, label)
    lanes = len(bands) if opened.profile.get("interleave") == "pixel" else 1
    sides = [min(pair) for pair in zip(opened.block_shapes[bands[0] - 1], grid.shape, strict=True)]
    return OpenRaster(
        name=stem_of(path),
        label=label,
        grid=grid,
        units=layer.units if layer.units is not None else opened.units[bands[0] - 1] or None,
        dims=() if is_single else ("band",),
        coords=() if is_single else (np.array(bands),),
        chunks=(*sides,) if is_single else (lanes, *sides),
        pixels=FilePixels(path, bands, is_single, read_as, mask_value, alpha, uuid.uuid4().hex),
        decoding=decoding,
        is_flipped=is_flipped,
    )


def _checked_file(location: Location, label: str) -> str:
    """A path for rasterio that leads to the file itself and to no other."""
    scheme, mark, rest = location.url.partition("://")
    if mark:
        if scheme not in URL_SCHEMES:
            raise ValuesError(
                f"{label}: raster files are not read from {scheme}://: download it, or use one of "
                + ", ".join(URL_SCHEMES)
            )
        return f"gs://{rest}" if scheme == "gcs" else location.url
    path = Path(location.url)
    if path.is_dir():
        raise ValuesError(f"{label} is a folder without Zarr metadata: give one file or Zarr")
    if not path.is_file():
        raise ValuesError(f"{label}: no such file: check the path")
    with path.open("rb") as file:
        if b"<VRTDataset" in file.read(4096):
            raise ValuesError(
                f"{label} is a VRT, which leads to any other file: write it out, e.g. "
                "gdal_translate mosaic.vrt mosaic.tif"
            )
    return location.url


def _bands_of_file(opened: Any, band: int | None, label: str) -> tuple[tuple[int, ...], int | None]:
    """Numbers of the bands to read, and of the alpha band; opened is rasterio's, hence Any."""
    kinds = zip(opened.indexes, opened.colorinterp, strict=True)
    alpha = next((index for index, kind in kinds if kind.name == "alpha"), None)
    if band is None:
        bands = tuple(index for index in opened.indexes if index != alpha)
    elif band in opened.indexes:
        bands = (int(band),)
    else:
        raise ValuesError(f"{label} has no band {band}, its are 1 to {opened.count}")
    # Alone, it holds the values.
    return (bands, alpha) if bands and alpha not in bands else ((alpha or 1,), None)


def _decoding_of_file(
    opened: Any, bands: tuple[int, ...], alpha: int | None, layer: Raster, label: str
) -> tuple[Decoding, DType, int | float | None]:
    """Decoding, dtype to read as, and what masked pixels become; opened is rasterio's."""

    def common(values: Sequence[Any], what: str) -> Any:
        found = {repr(values[band - 1]): values[band - 1] for band in bands}
        if len(found) > 1:
            raise ValuesError(
                f"{label}: its bands differ in {what} ({', '.join(found)}): choose one, "
                "Raster(..., band=1), or give several layers"
            )
        return next(iter(found.values()))

    names = [opened.dtypes[band - 1] for band in bands]
    # complex_int16 is known to GDAL only.
    dtype = np.result_type(*("c8" if name.startswith("complex") else name for name in names))
    stored = plain_dtype(dtype, label)
    declared = layer.nodata if layer.nodata is not None else common(opened.nodatavals, "nodata")
    nodata = usable_nodata(declared, dtype)
    scale, offset = (1.0, 0.0)
    if not layer.raw:
        scale, offset = common(opened.scales, "scale"), common(opened.offsets, "offset")
    flags = {flag.name for band in bands for flag in opened.mask_flag_enums[band - 1]}
    mask_value: int | float | None = None
    if alpha is not None or flags & {"per_dataset", "alpha"}:
        if stored.kind == "f":
            mask_value = np.nan
        elif nodata is not None:
            mask_value = nodata
        else:
            stored, mask_value = with_nodata(stored)
            nodata = int(mask_value)
    # Read as it is, so that values beyond int64 are seen and not cut.
    read_as = dtype if dtype == np.uint64 and mask_value is None else stored
    return Decoding(stored, nodata, float(scale), float(offset)), read_as, mask_value


def _grid_of_file(opened: Any, crs: object, label: str) -> tuple[Grid, bool]:
    """Grid, and whether rows are stored from south to north; opened is rasterio's."""
    if opened.transform == Affine.identity():
        raise GridError(f"{label} is not georeferenced: write a transform, e.g. with rio edit-info")
    if crs is None and opened.crs is None:
        raise GridError(f"{label} has no CRS: give it, Raster({label!r}, crs='EPSG:4326')")
    a, b, c, d, e, f = tuple(opened.transform)[:6]
    is_flipped = e > 0
    transform = (a, b, c, d, -e, f + e * opened.height) if is_flipped else (a, b, c, d, e, f)
    try:
        return Grid(
            opened.crs.to_wkt() if crs is None else crs, transform, opened.shape
        ), is_flipped
    except GridError as err:
        raise GridError(f"{label}: {err}") from err
