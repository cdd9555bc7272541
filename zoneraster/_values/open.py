"""Opening value rasters: what kind a source is, and which name each raster has."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeAlias, cast

from zoneraster._grid import Grid
from zoneraster._values.arrays import is_bare_array, open_array, open_bare_array, open_dataset
from zoneraster._values.datasets import (
    DATASET_SUFFIXES,
    DatasetPixels,
    is_dataset_file,
    open_dataset_file,
)
from zoneraster._values.files import FILE_SUFFIXES, FilePixels, open_file
from zoneraster._values.grid_of import grid_of_file, grid_of_object
from zoneraster._values.listing import files_within, is_pattern, matching, name_of
from zoneraster._values.mosaic import MosaicPixels, joined
from zoneraster._values.opened import OpenRaster, foreign_errors
from zoneraster._values.raster import Raster, RasterLike, as_raster, label_of
from zoneraster._values.resample import WarpedPixels
from zoneraster._values.stac import files_of_items, files_of_items_file, is_items, is_items_file
from zoneraster._values.vrt import open_vrt, text_of_vrt
from zoneraster._values.zarrs import (
    ZARR_NODES,
    ZarrPixels,
    find_group,
    is_zarr_store,
    open_zarr,
    open_zarr_store,
)
from zoneraster.blobs import Location, suffix_of
from zoneraster.errors import GridError, StoreError, ValuesError, warn

_REQUESTS = 16  # headers of tiles that are read at once over a network


def open_rasters(values: RasterLike | Mapping[str, RasterLike]) -> list[OpenRaster]:
    """Open value rasters; no pixel is read.

    Parameters
    ----------
    values : path, URL, DataArray, Dataset, tiles, array or Raster; or a mapping of names to these
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
    # A Dataset is a mapping, too.
    if isinstance(values, Mapping) and not hasattr(values, "data_vars"):
        rasters = [
            opened
            for key, value in values.items()
            for opened in _keyed(key, _open(as_raster(value)))
        ]
    else:
        rasters = _open(as_raster(cast("RasterLike", values)))
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
    place = _pixels_key(opened)
    if place is not None:
        return place, *how
    return id(asked.source), asked.variable or opened.name, *how


def _pixels_key(opened: OpenRaster) -> object:
    """What stands for the pixels of a raster that is read from a place; None for others."""
    pixels = opened.pixels
    if isinstance(pixels, MosaicPixels):
        keys = [_pixels_key(tile.raster) for tile in pixels.tiles]
        where = [(tile.row, tile.col, tile.shown) for tile in pixels.tiles]
        return None if None in keys else (opened.grid.shape, *zip(keys, where, strict=True))
    if isinstance(pixels, ZarrPixels | FilePixels | DatasetPixels):
        return replace(pixels, opening="")
    return None


def place_of(opened: OpenRaster) -> str | None:
    """Where the pixels of a raster are written anew when they change; None for arrays."""
    pixels = opened.pixels
    if isinstance(pixels, WarpedPixels):
        source = place_of(pixels.opened)
        return None if source is None else f"{source} {pixels.method}"
    if isinstance(pixels, MosaicPixels):
        places = [place_of(tile.raster) for tile in pixels.tiles]
        known = [place for place in places if place is not None]
        return "\n".join(known) if len(known) == len(places) else None
    if isinstance(pixels, ZarrPixels):
        return f"{pixels.location} {pixels.location.options_hash} {pixels.variable} {pixels.axes}"
    if isinstance(pixels, DatasetPixels):
        return f"{pixels.path} {pixels.variable} {pixels.axes}"
    return f"{pixels.path} {pixels.bands}" if isinstance(pixels, FilePixels) else None


def is_raster_place(place: str | os.PathLike[str]) -> bool:
    """Whether a path or URL is that of rasters, by its name and what lies there, and no store."""
    try:
        location = Location.of(place)
    except StoreError:
        return False
    suffix = suffix_of(location.url)
    if is_pattern(location):
        return True
    if location.is_local and Path(location.url).is_dir():
        blobs = location.blobs()
        if any(blobs.has(name) for name in ZARR_NODES):
            return False
        return any(path.suffix.lower() in FILE_SUFFIXES for path in Path(location.url).iterdir())
    return suffix in (*FILE_SUFFIXES, *DATASET_SUFFIXES, ".vrt")


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
    label, source = _label(asked), asked.source
    if asked.transform is not None and not is_bare_array(source):
        raise ValuesError(
            f"{label}: transform= is for NumPy and dask arrays; a {type(source).__name__} has its "
            "own places: leave it out"
        )
    has_place = isinstance(source, str | os.PathLike | Location | list | tuple)
    if asked.storage_options and not has_place:
        raise ValuesError(f"{label}: storage_options= are for what is opened from a URL")
    tiles = _tiles_of(source, asked, label)
    if tiles is not None:
        return _open_tiles(*tiles, label)
    if isinstance(source, str | os.PathLike | Location):
        return _open_place(source, asked, label)
    import xarray as xr  # noqa: PLC0415 - slow import, which files do without

    if isinstance(source, xr.DataArray):
        return [open_array(source, asked, label)]
    if isinstance(source, xr.Dataset):
        return open_dataset(source, asked, label)
    if is_zarr_store(source):
        return open_zarr_store(source, asked, label)
    if is_bare_array(source):
        return [open_bare_array(source, asked, label)]
    raise ValuesError(
        f"cannot read values from a {type(source).__name__}: give the path or URL of a Zarr or "
        "GeoTIFF, an xarray DataArray or a Dataset, a list of tiles, or an array with transform= "
        "and crs="
    )


# Sources of tiles, how they are read, and what they are called together.
_Tiles: TypeAlias = tuple[Sequence[Any], Raster, str]


def _tiles_of(source: Any, asked: Raster, label: str) -> _Tiles | None:
    """Tiles of a list, or of STAC items, of which the asked variable is the asset; else None."""
    is_list = isinstance(source, list | tuple)
    items = source if is_list else [source]
    if items and all(map(is_items, items)):
        found = [files_of_items(one, asked.variable, label) for one in items]
        return _tiles_of_items([place for places in found for place in places], asked)
    if not is_list:
        return None
    places = [str(one) for one in source if isinstance(one, str | os.PathLike | Location)]
    return source, asked, name_of(places) if places else "value"


def _tiles_at(location: Location, asked: Raster, label: str) -> _Tiles | None:
    """Tiles that a pattern or a file of STAC items names; None for other places."""
    if is_pattern(location):
        found = matching(location, label)
        return [location.beside(place) for place in found], asked, name_of(found)
    if is_items_file(location):
        return _tiles_of_items(files_of_items_file(location, asked.variable, label), asked)
    return None


def _tiles_of_items(places: list[str], asked: Raster) -> _Tiles:
    return places, replace(asked, variable=None), asked.variable or name_of(places)


def _open_place(
    place: str | os.PathLike[str] | Location, asked: Raster, label: str
) -> list[OpenRaster]:
    """The rasters at a path or URL."""
    if not isinstance(place, Location) and os.fspath(place).startswith("/vsi"):
        raise ValuesError(f"{label}: GDAL's virtual paths are not followed: give a plain one")
    try:
        location = Location.of(place, asked.storage_options)
    except StoreError as err:
        raise ValuesError(f"{label}: {err}") from err
    tiles = _tiles_at(location, asked, label)
    if tiles is not None:
        return _open_tiles(*tiles, label)
    text = text_of_vrt(location)
    if text is not None:
        return [open_vrt(text, location, asked, label)]
    if is_dataset_file(location):
        return open_dataset_file(asked, location, label)
    group = find_group(location, label, FILE_SUFFIXES)
    if group is not None:
        return open_zarr(group, asked, label)
    found = _files_at(location, label)
    if found:
        return _open_tiles([location.beside(one) for one in found], asked, name_of(found), label)
    return [open_file(asked, location, label)]


def _files_at(location: Location, label: str) -> list[str]:
    """Raster files of a folder; none where it is none, or cannot be listed."""
    suffix = suffix_of(location.url)
    if location.is_local:
        return files_within(location, FILE_SUFFIXES, label)
    if suffix in FILE_SUFFIXES or location.url.startswith(("http://", "https://")):
        return []
    return files_within(location, FILE_SUFFIXES, label)


def _open_tiles(sources: Sequence[Any], asked: Raster, name: str, label: str) -> list[OpenRaster]:
    """One raster of tiles; one for each variable where they have several."""
    if not sources:
        raise ValuesError("a list without tiles: give one path at least")
    if any(isinstance(source, Raster) for source in sources):
        raise ValuesError(
            f"{label}: say of all tiles together how they are read, zr.Raster([path, ...], "
            "band=1), not of each"
        )
    tiles = [replace(asked, source=source) for source in sources]
    if all("://" in str(source) for source in sources):
        # Each header is a request or two, and most of the time is waiting.
        with ThreadPoolExecutor(min(_REQUESTS, len(tiles))) as pool:
            of_variables = list(pool.map(_opened, tiles))
    else:
        of_variables = list(map(_opened, tiles))
    first = of_variables[0]
    names = [opened.name for opened in first]
    for opened in of_variables:
        if len(opened) != len(first) or (len(first) > 1 and [one.name for one in opened] != names):
            said = " and ".join(", ".join(one.name for one in some) for some in (first, opened))
            raise ValuesError(
                f"{label}: tiles have other variables ({said}): choose one, Raster(..., variable=)"
            )
    if len(first) == 1:
        return [joined([opened[0] for opened in of_variables], name, label)]
    return [
        joined(list(tiles), tiles[0].name, f"{label} variable {tiles[0].name!r}")
        for tiles in zip(*of_variables, strict=True)
    ]
