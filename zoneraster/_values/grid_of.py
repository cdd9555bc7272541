"""The grid of a raster that exists: an xarray object, or a file."""

from __future__ import annotations

import importlib
import math
import os
from collections.abc import Mapping
from fractions import Fraction
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
import numpy.typing as npt
from affine import Affine
from pyproj import CRS
from pyproj.exceptions import CRSError

from zoneraster._grid import SNAP_PIXELS, STEP_TOLERANCE, Grid, exact, simplest
from zoneraster.errors import GridError

if TYPE_CHECKING:
    import xarray as xr

Attributes: TypeAlias = Mapping[Any, Any]  # Any: a file may hold anything

# A transform attribute and coordinates this close say the same; coordinates may be float32.
FIT_PIXELS = 1e-3
GEOGRAPHIC_DIMENSIONS = (("lat", "lon"), ("latitude", "longitude"))
SPATIAL_DIMENSIONS = (("y", "x"), *GEOGRAPHIC_DIMENSIONS)


def grid_like(obj: object) -> Grid:
    """Return the grid of a raster.

    Parameters
    ----------
    obj : xarray.DataArray, xarray.Dataset, or path of a raster
        An xarray object needs a CRS: in its CF grid mapping (``crs_wkt``, ``spatial_ref`` or CF
        parameters), in ``proj:wkt2``, ``proj:code`` or ``crs``; without any, dimensions named lat
        and lon are EPSG:4326. Its lattice comes from ``GeoTransform`` or ``spatial:transform``
        where these fit its 1-D coordinates, else from the coordinates alone.

    Returns
    -------
    Grid

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
        raise GridError(
            f"raster {path!r} has no CRS: write one, e.g. rio edit-info --crs EPSG:4326"
        )
    return Grid(crs.to_wkt(), transform, shape)


def _grid_of_dataset(dataset: xr.Dataset) -> Grid:
    variables = list(dataset.data_vars.values())
    attributes = {
        name: value for place in (dataset, *variables) for name, value in place.attrs.items()
    }
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
        for variable in dataset.data_vars.values()
        for place in (variable.encoding, variable.attrs)
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
    simple = simplest(exact(step), max(STEP_TOLERANCE, exact(noise)))
    return simple, first - float(simple) / 2
