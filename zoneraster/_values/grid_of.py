"""The grid of a raster that exists: an xarray object, or a file."""

from __future__ import annotations

import importlib
from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import TYPE_CHECKING, Any

from affine import Affine
from pyproj import CRS
from pyproj.exceptions import CRSError

from zoneraster._grid import Grid, checked_crs, has_wgs84_shape
from zoneraster._values.axes import (
    FIT_PIXELS,
    Attributes,
    Centres,
    Dims,
    are_degrees,
    axis_of,
    centres_of,
    spatial_dims,
)
from zoneraster.errors import GridError, warn, without

if TYPE_CHECKING:
    import xarray as xr

_NORTH_UP = (
    "coordinates must run from west to east and from north to south: use "
    "obj.sortby(x).sortby(y, ascending=False)"
)
# Attributes that name a reference system, of a grid mapping and of anything else.
_MAPPING_NAMES = (
    "crs_wkt",
    "spatial_ref",
    "proj:wkt2",
    "proj:code",
    "proj:projjson",
    "esri_pe_string",
)
_PLACE_NAMES = (
    "proj:wkt2",
    "proj:code",
    "proj:projjson",
    "crs",
    "_CRS",
    "crs_wkt",
    "esri_pe_string",
)


def grid_of_object(obj: object) -> Grid:
    """Return the grid of an xarray object, see `grid_like`."""
    try:
        import xarray as xr  # noqa: PLC0415
    except ImportError as err:
        raise without("xarray", "grid_like") from err
    if isinstance(obj, xr.DataArray):
        obj = obj.to_dataset(name="zoneraster:raster")
    if not isinstance(obj, xr.Dataset):
        raise GridError(
            f"cannot tell the grid of a {type(obj).__name__}: give a Grid, an xarray DataArray or "
            "Dataset, or the path of a raster"
        )
    found = locate(obj)
    if found.is_flipped:
        raise GridError(_NORTH_UP)
    if found.bounds_left is not None:
        raise GridError(
            f"coordinates of {found.bounds_left!r} may be centres or edges of pixels: their "
            "bounds, which tell, stayed behind in the Dataset: give the Dataset, or drop the "
            "attribute 'bounds' where they are centres"
        )
    return found.grid


def grid_of_file(path: str) -> Grid:
    """Return the grid of a file that rasterio opens, see `grid_like`."""
    try:
        rasterio = importlib.import_module("rasterio")
    except ImportError as err:
        raise without("rasterio", f"reading the grid of {path!r}") from err
    try:
        with rasterio.open(path) as raster:
            crs, transform, shape = raster.crs, raster.transform, raster.shape
    except rasterio.errors.RasterioIOError as err:
        raise GridError(f"cannot open raster {path!r}: {err}: check the path") from err
    if crs is None:
        raise GridError(
            f"raster {path!r} has no CRS: write one, e.g. rio edit-info --crs EPSG:4326"
        )
    return Grid(crs.to_wkt(), transform, shape)


@dataclass(frozen=True, slots=True)
class Located:
    """Where a variable lies.

    Parameters
    ----------
    dims : (str, str)
        Dimensions of rows and columns.
    grid : Grid
    is_flipped : bool
        Rows run from south to north.
    bounds_left : str or None
        Name of declared bounds that are not there, of coordinates that look like edges.
    """

    dims: Dims
    grid: Grid
    is_flipped: bool
    bounds_left: str | None = None


def locate(
    dataset: xr.Dataset,
    name: Hashable | None = None,
    *,
    crs: object = None,
    dims: Dims | None = None,
) -> Located:
    """Find rows, columns and grid of a variable.

    Parameters
    ----------
    dataset : xarray.Dataset
    name : optional
        Of the variable; all of them otherwise.
    crs, dims : optional
        Taken in place of what the variable says.

    Raises
    ------
    GridError
        As `grid_like`, but rows may run from south to north.
    """
    variables = list(dataset.data_vars.values()) if name is None else [dataset[name]]
    attributes = {
        key: value for place in (dataset, *variables) for key, value in place.attrs.items()
    }
    if attributes.get("spatial:registration", "pixel") != "pixel":
        raise GridError("spatial:registration is not 'pixel': shift the raster by half a pixel")
    among = tuple(dataset.sizes) if name is None else dataset[name].dims
    found = spatial_dims(dataset, among, attributes, dims)
    if found is None:
        raise GridError(no_dims(among, dims))
    mapping, left_behind = _grid_mapping(dataset, variables, found)
    known = _crs_of(mapping, attributes) if crs is None else crs
    if known is None:
        known = _crs_by_names(dataset, found, left_behind)
    system = checked_crs(known)
    written = _transform_of_attributes(mapping, attributes)
    y, x = (centres_of(dataset, dim, at, system) for dim, at in zip(found, "yx", strict=True))
    shape = (dataset.sizes[found[0]], dataset.sizes[found[1]])
    if y is None or x is None:
        if written is None:
            raise GridError(_no_places(dataset, found))
        return Located(found, Grid(system, _north_up(written, shape[0]), shape), written.e > 0)
    is_flipped = y.is_rising
    north_up = y.turned() if is_flipped else y
    grid = None
    if written is not None:
        grid = _moved_to(Grid(system, _north_up(written, shape[0]), shape), north_up, x)
    left = None
    if grid is None:
        grid = _grid_of_centres(system, north_up, x)
        # Edges of pixels are whole numbers of pixels away from 0 far more often than centres are.
        for centres, edge, step in zip((x, y), grid.origin, grid.resolution, strict=True):
            if centres.bounds_left and (edge / step + Fraction(1, 2)).denominator == 1:
                left = centres.bounds_left
    return Located(found, grid, is_flipped, left)


def no_dims(dims: Sequence[Hashable], asked: Dims | None) -> str:
    """What to say when rows and columns are not told."""
    if asked is not None:
        return f"dims={asked!r} are not two of the dimensions {tuple(dims)}"
    return (
        f"cannot tell rows from columns in dimensions {tuple(dims)}: name them, "
        "Raster(..., dims=('y', 'x')), or rename them y and x"
    )


def _no_places(dataset: xr.Dataset, dims: Dims) -> str:
    bent = [name for name, one in dataset.coords.items() if {*dims} == {*one.dims}]
    if bent:
        return (
            f"the raster's places are two-dimensional ({', '.join(map(str, bent))}), as those of a "
            "swath or of a curvilinear grid are: warp it to a regular grid first"
        )
    return (
        f"the raster has neither coordinates {dims[0]!r} and {dims[1]!r} nor a transform: write "
        "one, e.g. obj.rio.write_transform(transform)"
    )


# ---- the reference system ----------------------------------------------------------------------


def _grid_mapping(
    dataset: xr.Dataset, variables: Sequence[xr.DataArray], dims: Dims
) -> tuple[Attributes, str | None]:
    """Attributes of the CF grid mapping variable, and the name of one that is not there."""
    said = [
        str(place["grid_mapping"])
        for variable in variables
        for place in (variable.encoding, variable.attrs)
        if place.get("grid_mapping")
    ]
    named = [name for text in said for name in _mappings_of(text, dims)]
    for name in (*named, "spatial_ref", "crs"):
        if name in dataset.variables and not dataset.variables[name].shape:
            return dataset.variables[name].attrs, None
    # What is computed has its coordinates left, and not the name of the one that counts.
    mappings = [
        one.attrs
        for one in dataset.coords.values()
        if not one.dims and not {"grid_mapping_name", *_MAPPING_NAMES}.isdisjoint(one.attrs)
    ]
    if not named and len(mappings) == 1:
        return mappings[0], None
    return {}, next(iter(named), None)


def _mappings_of(text: str, dims: Dims) -> list[str]:
    """Names of grid mappings, that of the dimensions first.

    CF's long form is "name: coordinate coordinate name: coordinate coordinate".
    """
    coordinates: dict[str, list[str]] = {}
    for word in text.split():
        if word.endswith(":"):
            coordinates[word[:-1]] = []
        elif coordinates:
            coordinates[[*coordinates][-1]].append(word)
        else:
            return [word]
    return sorted(coordinates, key=lambda name: not {*dims} <= {*coordinates[name]})


def _crs_of(mapping: Attributes, attributes: Attributes) -> object:
    """Return what names the CRS, None when nothing does."""
    written = [mapping.get(name) for name in _MAPPING_NAMES]
    written += [attributes.get(name) for name in _PLACE_NAMES]
    if any(map(_is_said, written)):
        return _readable(next(filter(_is_said, written)))
    if "grid_mapping_name" not in mapping:
        return None
    try:
        crs = CRS.from_cf(dict(mapping))
    except (CRSError, KeyError) as err:
        raise GridError(
            f"cannot read the CF grid mapping {dict(mapping)!r:.200} ({err}): name the reference "
            "system, Raster(..., crs=...)"
        ) from err
    is_plain = mapping["grid_mapping_name"] == "latitude_longitude"
    return "EPSG:4326" if is_plain and has_wgs84_shape(crs) else crs


def _is_said(value: object) -> bool:
    return value is not None and value != "" and value != {}


def _readable(said: Any) -> object:  # Any: whatever an attribute holds
    """What pyproj takes; GDAL writes the same system in several ways into one attribute."""
    if isinstance(said, dict):
        return next((said[key] for key in ("wkt", "projjson", "url") if said.get(key)), said)
    return said.item() if hasattr(said, "item") else said


def _crs_by_names(dataset: xr.Dataset, dims: Dims, left_behind: str | None) -> str:
    """EPSG:4326 for latitudes and longitudes of which nothing else is said."""
    told = (
        f"its grid mapping {left_behind!r} stayed behind in the Dataset: give the Dataset, or "
        f"the array of ds.set_coords({left_behind!r})"
    )
    if not are_degrees(dataset, dims):
        if left_behind is not None:
            raise GridError(f"the raster has no CRS, {told}, or Raster(..., crs='EPSG:4326')")
        raise GridError("the raster has no CRS: write one, e.g. obj.rio.write_crs('EPSG:4326')")
    if left_behind is not None:
        warn(f"{dims[0]} and {dims[1]} are taken for EPSG:4326, as {told}")
    return "EPSG:4326"


# ---- the lattice -------------------------------------------------------------------------------


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


def _north_up(transform: Affine, height: int) -> Affine:
    """The transform of the same pixels, the northern row first."""
    a, b, c, d, e, f = tuple(transform)[:6]
    return Affine(a, b, c, d, -e, f + e * height) if e > 0 else transform


def _moved_to(grid: Grid, y: Centres, x: Centres) -> Grid | None:
    """Return the grid moved by whole pixels to the coordinates, None where it does not fit them.

    Slicing an xarray object leaves its transform attribute behind, so the coordinates decide.
    """
    u, v = grid.to_pixels(x.values, y.values)
    row, col = round(v[0] - 0.5), round(u[0] - 0.5)
    ends = (v[0] - row, v[-1] - row, u[0] - col, u[-1] - col)
    wanted = (0.5, grid.height - 0.5, 0.5, grid.width - 0.5)
    if max(abs(end - want) for end, want in zip(ends, wanted, strict=True)) > FIT_PIXELS:
        return None
    (step_x, step_y), (west, north) = grid.resolution, grid.origin
    transform = (step_x, 0, west + col * step_x, 0, -step_y, north - row * step_y)
    return Grid(grid.crs, transform, grid.shape)


def _grid_of_centres(crs: CRS, y: Centres, x: Centres) -> Grid:
    (step_y, north), (step_x, west) = axis_of(y), axis_of(x)
    if step_x < 0 or step_y > 0:
        raise GridError(_NORTH_UP)
    return Grid(crs, (step_x, 0, west, 0, step_y, north), (y.values.size, x.values.size))
