"""Opening value rasters: Zarr, raster files, arrays in memory or backed by dask."""

from __future__ import annotations

import json
import os
import uuid
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from pyproj import CRS
from pyproj.exceptions import CRSError

from zoneraster._grid import Grid
from zoneraster._values.files import open_file_raster, stem_of
from zoneraster._values.grid_of import SPATIAL_DIMENSIONS, grid_like
from zoneraster._values.opened import (
    UNREADABLE,
    Block,
    Decoding,
    OpenRaster,
    Pixels,
    plain_dtype,
    usable_nodata,
)
from zoneraster._values.pixels import (
    ZARR_NODES,
    ArrayPixels,
    Axes,
    ZarrPixels,
    get_or_none,
    open_group,
)
from zoneraster._values.raster import Raster, RasterLike, as_raster, label_of
from zoneraster.blobs import Location
from zoneraster.errors import GridError, StoreError, ValuesError

if TYPE_CHECKING:
    import xarray as xr

FILE_SUFFIXES = (".tif", ".tiff", ".jp2", ".img", ".asc", ".hgt", ".png")
ARRAY_SIDE = 4000
# Names that libraries give to what has none.
NO_NAMES = ("band_data", "__xarray_dataarray_variable__")
_UNNAMED = "zoneraster:raster"
_CRS_NAMES = {"crs_wkt", "spatial_ref", "grid_mapping_name", "proj:wkt2", "proj:code", "crs"}
_TRANSFORM_NAMES = {"GeoTransform", "spatial:transform"}


def open_rasters(
    values: RasterLike | Mapping[str, RasterLike], *, names: Sequence[str] | None = None
) -> list[OpenRaster]:
    """Open value rasters; no pixel is read.

    Parameters
    ----------
    values : path, URL, DataArray, Dataset or Raster; or a mapping of names to these
        A Dataset or Zarr group gives one raster for each variable with rows and columns, unless
        the layer chooses one. In a mapping a single raster has the name of its key, several have
        ``{key}_{variable}``.
    names : sequence of str, optional
        Other names for the rasters, in their order.

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
            raster
            for key, value in values.items()
            for raster in _keyed(key, _open(as_raster(value)))
        ]
    else:
        rasters = _open(as_raster(values))
    if names is not None:
        if isinstance(names, str) or len(names) != len(rasters):
            raise ValuesError(
                f"names={names!r} for {len(rasters)} rasters "
                f"({', '.join(raster.name for raster in rasters)}): give a list with one for each"
            )
        rasters = [replace(one, name=name) for one, name in zip(rasters, names, strict=True)]
    seen: dict[str, str] = {}
    for raster in rasters:
        if raster.name in seen:
            raise ValuesError(
                f"two rasters have the name {raster.name!r} ({seen[raster.name]} and "
                f"{raster.label}): give a mapping of names to rasters"
            )
        seen[raster.name] = raster.label
    return rasters


def open_raster(layer: RasterLike, *, name: str | None = None) -> OpenRaster:
    """Open one value raster; errors as `open_rasters`, and for a layer that holds several."""
    rasters = _open(as_raster(layer))
    if len(rasters) > 1:
        found = ", ".join(raster.name for raster in rasters)
        raise ValuesError(
            f"{_label(as_raster(layer))} has several variables ({found}): choose one, "
            f"Raster(..., variable={rasters[0].name!r})"
        )
    return rasters[0] if name is None else replace(rasters[0], name=name)


def _keyed(key: str, rasters: list[OpenRaster]) -> list[OpenRaster]:
    if len(rasters) == 1:
        return [replace(rasters[0], name=key)]
    return [replace(raster, name=f"{key}_{raster.name}") for raster in rasters]


def _label(layer: Raster) -> str:
    """Label without what a URL may carry: a password or a signature."""
    scheme, mark, rest = label_of(layer.source).partition("://")
    if not mark:
        return scheme
    host, slash, path = rest.partition("?")[0].partition("/")
    return f"{scheme}://{host.rpartition('@')[2]}{slash}{path}"


def _open(layer: Raster) -> list[OpenRaster]:
    import xarray as xr  # noqa: PLC0415

    label, source = _label(layer), layer.source
    if isinstance(source, str | os.PathLike):
        if os.fspath(source).startswith("/vsi"):
            raise ValuesError(f"{label}: GDAL's virtual paths are not followed: give a plain one")
        try:
            location = Location.of(source)
        except StoreError as err:
            raise ValuesError(f"{label}: {err}") from err
        group = _find_group(location, label)
        return [open_file_raster(layer, location, label)] if group is None else group(layer)
    if isinstance(source, xr.DataArray):
        return [_open_array(source, layer, label)]
    if isinstance(source, xr.Dataset):
        rasters = [
            _raster_of(source, name, layer, f"{label} variable {name!r}", ArrayPixels)
            for name in _choose(source, layer, label)
        ]
        return [_renamed(one, source[one.name].encoding.get("source")) for one in rasters]
    raise ValuesError(
        f"cannot read values from a {type(source).__name__}: give the path or URL of a Zarr or "
        "GeoTIFF, an xarray DataArray or a Dataset"
    )


def _open_array(array: xr.DataArray, layer: Raster, label: str) -> OpenRaster:
    if layer.variable not in (None, array.name):
        raise ValuesError(
            f"{label}: variable={layer.variable!r} is for a Dataset or Zarr group with several "
            "variables: leave it away"
        )
    raster = _raster_of(array.to_dataset(name=_UNNAMED), _UNNAMED, layer, label, ArrayPixels)
    raster = replace(raster, name=NO_NAMES[0] if array.name is None else str(array.name))
    return _renamed(raster, array.encoding.get("source"))


def _renamed(raster: OpenRaster, source: object) -> OpenRaster:
    """A raster with a name that says something, where a library gave it one that does not."""
    if raster.name not in NO_NAMES:
        return raster
    return replace(raster, name=stem_of(source) if isinstance(source, str) else "value")


def _choose(dataset: xr.Dataset, layer: Raster, label: str) -> list[str]:
    """Variables to read."""
    every = ", ".join(map(str, dataset.data_vars)) or "none"
    if layer.variable is not None:
        if layer.variable not in dataset.data_vars:
            raise ValuesError(f"{label} has no variable {layer.variable!r}, its are: {every}")
        return [layer.variable]
    names = [str(name) for name in dataset.data_vars if _spatial(dataset, name)]
    if not names:
        raise ValuesError(
            f"{label} has no variable with rows and columns (its variables: {every}): rename the "
            "two dimensions to y and x"
        )
    return names


def _spatial(dataset: xr.Dataset, name: Hashable) -> tuple[str, str] | None:
    """Dimensions of rows and columns."""
    array = dataset[name]
    said = {**dataset.attrs, **array.attrs}.get("spatial:dimensions", SPATIAL_DIMENSIONS[0])
    found = (pair for pair in (tuple(said), *SPATIAL_DIMENSIONS) if {*pair} <= {*array.dims})
    return next(found, None)


class _PixelsOf(Protocol):
    def __call__(self, variable: xr.Variable, axes: Axes, /) -> Pixels: ...


def _raster_of(
    dataset: xr.Dataset, name: str, layer: Raster, label: str, pixels_of: _PixelsOf
) -> OpenRaster:
    """The raster of a variable."""
    array, spatial = dataset[name], _spatial(dataset, name)
    if spatial is None:
        raise ValuesError(
            f"{label}: cannot tell rows from columns in dimensions {array.dims}: rename them to "
            "y and x"
        )
    decoding = _decoding_of_attributes(array, layer, label)
    fixed = _fixed_band(array, layer.band, label)
    kept = tuple(str(dim) for dim in array.dims if dim not in {*spatial, *dict(fixed)})
    y_centres = array.coords[spatial[0]].values if spatial[0] in array.coords else np.empty(0)
    is_flipped = y_centres.size > 1 and bool(y_centres[0] < y_centres[-1])
    axes = Axes((*kept, *spatial), fixed)
    units = layer.units if layer.units is not None else array.attrs.get("units")
    return OpenRaster(
        name=name,
        label=label,
        grid=_grid_of_variable(dataset, name, layer.crs, label, spatial[0] if is_flipped else None),
        units=None if units is None else str(units),
        dims=kept,
        coords=tuple(_coordinate(array, dim) for dim in kept),
        chunks=_chunks_of_variable(array, axes.kept),
        pixels=pixels_of(array.variable, axes),
        decoding=decoding,
        is_flipped=is_flipped,
    )


def _fixed_band(array: xr.DataArray, band: int | None, label: str) -> tuple[tuple[str, int], ...]:
    """The band that is chosen, or the only one, which is no dimension worth a column."""
    n_bands = array.sizes.get("band")
    if band is None:
        return (("band", 0),) if n_bands == 1 else ()
    if n_bands is None:
        raise ValuesError(f"{label} has no dimension 'band': leave band={band} away")
    numbers = array.coords["band"].values if "band" in array.coords else np.arange(1, n_bands + 1)
    found = np.flatnonzero(numbers == band)
    if found.size != 1:
        raise ValuesError(f"{label} has no band {band}, its are {', '.join(map(str, numbers))}")
    return (("band", int(found[0])),)


def _coordinate(array: xr.DataArray, dim: str) -> Block:
    values = array.coords[dim].values if dim in array.coords else np.arange(array.sizes[dim])
    is_text = values.dtype.kind == "O" and all(isinstance(value, str) for value in values)
    return values.astype(str) if is_text else np.asarray(values)


def _chunks_of_variable(array: xr.DataArray, dims: tuple[str, ...]) -> tuple[int, ...]:
    said = array.chunksizes or array.encoding.get("preferred_chunks") or {}
    usual = dict.fromkeys(dims[:-2], 1)
    sides = (int(np.max(said.get(dim, usual.get(dim, ARRAY_SIDE)))) for dim in dims)
    return tuple(min(side, array.sizes[dim]) for dim, side in zip(dims, sides, strict=True))


def _grid_of_variable(
    dataset: xr.Dataset, name: str, crs: object, label: str, flipped: str | None
) -> Grid:
    """Grid of a variable, with another CRS or with the rows of dimension `flipped` reversed."""
    scalars = [str(name) for name, values in dataset.data_vars.items() if not values.dims]
    said = dataset.set_coords(scalars)[[name]].copy(deep=False)
    dropped = set() if crs is None else set(_CRS_NAMES)
    if flipped is not None:
        said = said.isel({flipped: slice(None, None, -1)})
        dropped |= _TRANSFORM_NAMES
    places: list[Any] = [said, *said.variables.values()]  # Any: all have attrs
    for place in places if dropped else []:
        place.attrs = {key: value for key, value in place.attrs.items() if key not in dropped}
    try:
        if crs is not None:
            said.attrs["proj:wkt2"] = CRS.from_user_input(crs).to_wkt()
        return grid_like(said)
    except CRSError as err:
        raise ValuesError(f"{label}: unknown CRS {crs!r:.200}: give a code or WKT") from err
    except GridError as err:
        raise GridError(f"{label}: {err}") from err


def _decoding_of_attributes(array: xr.DataArray, layer: Raster, label: str) -> Decoding:
    attributes = array.attrs

    def number(name: str) -> int | float | None:
        if attributes.get(name) is None or np.size(attributes[name]) == 0:
            return None
        value: object = np.ravel(attributes[name])[0].item()
        try:
            return value if isinstance(value, int | float) else float(str(value))
        except ValueError as err:
            raise ValuesError(
                f"{label}: attribute {name}={value!r} is not a number: correct it, or give "
                "Raster(nodata=..., raw=True)"
            ) from err

    if str(attributes.get("_Unsigned", "false")).lower() == "true":
        raise ValuesError(
            f"{label} keeps unsigned numbers in {array.dtype} (attribute _Unsigned): open it with "
            "xarray, which decodes that, and give the DataArray"
        )
    stored = plain_dtype(array.dtype, label)
    names = ("_FillValue", "missing_value", "nodata")
    said = [layer.nodata] if layer.nodata is not None else [number(name) for name in names]
    nodata = {usable_nodata(value, array.dtype) for value in said} - {None}
    if len(nodata) > 1:
        found = ", ".join(sorted(map(str, nodata)))
        raise ValuesError(
            f"{label} declares several nodata values ({found}): choose one, Raster(nodata=...)"
        )
    factor, offset = (None, None) if layer.raw else (number("scale_factor"), number("add_offset"))
    return Decoding(
        stored,
        next(iter(nodata), None),
        1.0 if factor is None else float(factor),
        0.0 if offset is None else float(offset),
    )


# ---- Zarr --------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Group:
    """A Zarr group to open."""

    url: str
    is_consolidated: bool
    label: str
    variable: str | None = None  # set for a path that leads to an array inside of it

    def __call__(self, layer: Raster) -> list[OpenRaster]:
        opening = uuid.uuid4().hex
        layer = layer if self.variable is None else replace(layer, variable=self.variable)
        try:
            dataset = open_group(self.url, self.is_consolidated, opening)
        except UNREADABLE as err:
            raise ValuesError(
                f"{self.label}: cannot be opened as Zarr ({type(err).__name__}: {err}): check "
                "that xarray.open_zarr opens it"
            ) from err
        # The group may have been found by listing a folder.
        names = sorted(_choose(dataset, layer, self.label))
        is_only = len(names) == 1 and layer.variable is None

        def raster(name: str) -> OpenRaster:
            def pixels(_: xr.Variable, axes: Axes) -> ZarrPixels:
                return ZarrPixels(self.url, name, self.is_consolidated, opening, axes)

            label = self.label if is_only or self.variable else f"{self.label}/{name}"
            return _raster_of(dataset, name, layer, label, pixels)

        rasters = [raster(name) for name in names]
        return [replace(rasters[0], name=stem_of(self.url))] if is_only else rasters


def _find_group(location: Location, label: str) -> _Group | None:
    """The Zarr group at a path or URL, None for anything else."""
    url = location.url.rstrip("/")
    suffix = PurePosixPath(url.partition("?")[0]).suffix.lower()
    if suffix in FILE_SUFFIXES or (location.is_local and not Path(url).is_dir()):
        return None
    found = _nodes(location)
    if not found and suffix != ".zarr":
        return None
    if not found:
        raise ValuesError(f"{label} has no Zarr metadata ({', '.join(ZARR_NODES)}): check the path")
    if not _is_array(found):
        return _Group(url, _is_consolidated(found), label)
    parent, _, variable = url.rpartition("/")
    around = _nodes(Location(parent))
    if not around or _is_array(around):
        raise ValuesError(
            f"{label} is a Zarr array without a group, so nothing says where it lies: write it "
            "with xarray, Dataset.to_zarr"
        )
    return _Group(parent, _is_consolidated(around), label, variable)


def _nodes(location: Location) -> dict[str, bytes]:
    blobs = location.blobs()
    found = {name: get_or_none(blobs, name) for name in ZARR_NODES}
    return {name: data for name, data in found.items() if data is not None}


def _is_array(nodes: Mapping[str, bytes]) -> bool:
    v3 = json.loads(nodes.get("zarr.json", b"{}"))
    return ".zarray" in nodes or v3.get("node_type") == "array"


def _is_consolidated(nodes: Mapping[str, bytes]) -> bool:
    v3 = json.loads(nodes.get("zarr.json", b"{}"))
    return ".zmetadata" in nodes or v3.get("consolidated_metadata") is not None
