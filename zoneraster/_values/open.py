"""Opening value rasters: what kind a source is, and which name each raster has."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import replace

from zoneraster._grid import Grid
from zoneraster._values.arrays import open_array, open_dataset
from zoneraster._values.files import FILE_SUFFIXES, FilePixels, open_file
from zoneraster._values.grid_of import grid_of_file, grid_of_object
from zoneraster._values.opened import OpenRaster, foreign_errors
from zoneraster._values.raster import Raster, RasterLike, as_raster, label_of
from zoneraster._values.resample import WarpedPixels
from zoneraster._values.turned import TurnedPixels
from zoneraster._values.zarrs import ZarrPixels, find_group, open_zarr
from zoneraster.blobs import Location
from zoneraster.errors import GridError, StoreError, ValuesError, warn


def open_rasters(values: RasterLike | Mapping[str, RasterLike]) -> list[OpenRaster]:
    """Open value rasters; no pixel is read.

    Parameters
    ----------
    values : path, URL, DataArray, Dataset or Raster; or a mapping of names to these
        A Dataset or Zarr group gives one raster for each variable with rows and columns, unless
        the `Raster` chooses one. In a mapping a single raster has the name of its key, several have
        ``{key}_{variable}``.

    Raises
    ------
    ValuesError
        For what cannot be opened or read as numbers, and for names that occur twice.
    GridError
        For a raster without a usable grid.
    ImportError
        For a raster file when rasterio is not installed.
    """
    import xarray as xr  # noqa: PLC0415

    if isinstance(values, Mapping) and not isinstance(values, xr.Dataset):
        rasters = [
            opened
            for key, value in values.items()
            for opened in _keyed(key, _open(as_raster(value)))
        ]
    else:
        rasters = _open(as_raster(values))
    seen: dict[str, str] = {}
    for opened in rasters:
        if opened.name in seen:
            raise ValuesError(
                f"two rasters have the name {opened.name!r} ({seen[opened.name]} and "
                f"{opened.label}): give a mapping of names to rasters"
            )
        seen[opened.name] = opened.label
    return rasters


def open_raster(source: RasterLike) -> OpenRaster:
    """Open one value raster; errors as `open_rasters`, and for a source that holds several."""
    asked = as_raster(source)
    rasters = _open(asked)
    if len(rasters) > 1:
        found = ", ".join(opened.name for opened in rasters)
        raise ValuesError(
            f"{_label(asked)} has several variables ({found}): choose one, "
            f"Raster(..., variable={rasters[0].name!r})"
        )
    return rasters[0]


def grid_like(obj: object) -> Grid:
    """Return the grid of a raster.

    Parameters
    ----------
    obj : xarray.DataArray, xarray.Dataset, Raster, or path of a raster
        A Zarr, or a file that rasterio opens. An xarray object needs a CRS: in its CF grid mapping
        (``crs_wkt``, ``spatial_ref`` or CF parameters), in ``proj:wkt2``, ``proj:code``,
        ``proj:projjson``, ``crs`` or GDAL's ``_CRS``; without any, latitudes and longitudes are
        EPSG:4326. Rows and columns are told by CF attributes or by names. The lattice comes from
        ``GeoTransform`` or ``spatial:transform`` where these fit the 1-D coordinates, else from the
        coordinates: in their units, as centres or edges by their bounds, and where they were
        rounded the simplest lattice that has them within their last digit and 1/1000 pixel.

    Returns
    -------
    Grid

    Raises
    ------
    GridError
        For an object without CRS or lattice, for coordinates that are uneven, south-up or run
        westward, for a path that rasterio cannot open, and for a Zarr with several grids.
    ImportError
        For the path of a file when rasterio is not installed.
    """
    if isinstance(obj, Raster):
        return open_raster(obj).grid
    if not isinstance(obj, str | os.PathLike):
        return grid_of_object(obj)
    asked = Raster(obj)
    label = _label(asked)
    group = find_group(Location.of(obj), label, FILE_SUFFIXES)
    if group is None:
        return grid_of_file(os.fspath(obj))
    found = {opened.grid: opened.name for opened in open_zarr(group, asked, label)}
    if len(found) > 1:
        raise GridError(
            f"{label} has several grids, of {', '.join(found.values())}: give the DataArray that "
            "is meant"
        )
    return next(iter(found))


def source_key(asked: Raster, opened: OpenRaster) -> tuple[object, ...]:
    """What two rasters have in common that read the same pixels, whatever they are called."""
    how = (asked.band, asked.nodata, str(asked.crs), asked.dims, asked.raw, asked.version)
    if isinstance(opened.pixels, ZarrPixels | FilePixels):
        return replace(opened.pixels, opening=""), *how
    return id(asked.source), asked.variable or opened.name, *how


def place_of(opened: OpenRaster) -> str | None:
    """Where the pixels of a raster are written anew when they change; None for arrays."""
    pixels = opened.pixels
    if isinstance(pixels, WarpedPixels):
        source = place_of(pixels.opened)
        return None if source is None else f"{source} {pixels.method}"
    if isinstance(pixels, TurnedPixels):
        return place_of(replace(opened, pixels=pixels.pixels))
    if isinstance(pixels, ZarrPixels):
        return f"{pixels.location} {pixels.location.options_hash} {pixels.variable} {pixels.axes}"
    return f"{pixels.path} {pixels.bands}" if isinstance(pixels, FilePixels) else None


def _keyed(key: str, rasters: list[OpenRaster]) -> list[OpenRaster]:
    if len(rasters) == 1:
        return [replace(rasters[0], name=key)]
    return [replace(opened, name=f"{key}_{opened.name}") for opened in rasters]


def _label(asked: Raster) -> str:
    """Label without what a URL may carry: a password or a signature."""
    scheme, mark, rest = label_of(asked.source).partition("://")
    if not mark:
        return scheme
    host, slash, path = rest.partition("?")[0].partition("/")
    return f"{scheme}://{host.rpartition('@')[2]}{slash}{path}"


def _open(asked: Raster) -> list[OpenRaster]:
    """The rasters of a source; whatever opening it raises is ours, with its name."""
    if asked.version is not None and not isinstance(asked.version, str):
        raise ValuesError(f"version={asked.version!r} must be a text, such as '2024-06'")
    cure = "check the source, or open it with xarray and give the DataArray"
    with foreign_errors(_label(asked), "cannot be opened", cure):
        found = [replace(opened, version=asked.version) for opened in _opened(asked)]
    warn(*(text for opened in found for text in opened.remarks))
    return found


def _opened(asked: Raster) -> list[OpenRaster]:
    import xarray as xr  # noqa: PLC0415

    label, source = _label(asked), asked.source
    if isinstance(source, str | os.PathLike | Location):
        return _open_place(source, asked, label)
    if isinstance(source, xr.DataArray):
        return [open_array(source, asked, label)]
    if isinstance(source, xr.Dataset):
        return open_dataset(source, asked, label)
    raise ValuesError(
        f"cannot read values from a {type(source).__name__}: give the path or URL of a Zarr or "
        "GeoTIFF, an xarray DataArray or a Dataset"
    )


def _open_place(
    place: str | os.PathLike[str] | Location, asked: Raster, label: str
) -> list[OpenRaster]:
    """The rasters at a path or URL."""
    if not isinstance(place, Location) and os.fspath(place).startswith("/vsi"):
        raise ValuesError(f"{label}: GDAL's virtual paths are not followed: give a plain one")
    try:
        location = Location.of(place)
    except StoreError as err:
        raise ValuesError(f"{label}: {err}") from err
    group = find_group(location, label, FILE_SUFFIXES)
    if group is None:
        return [open_file(asked, location, label)]
    return open_zarr(group, asked, label)
