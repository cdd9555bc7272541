"""Variables of xarray: in memory, backed by dask, or opened lazily.

What a variable says of itself (names of dimensions, coordinates, attributes, chunks) makes an
`OpenRaster` of it, wherever its pixels come from: those of a Zarr group are read in `zarrs`.
"""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from zoneraster._grid import Window, checked_crs
from zoneraster._values.attributes import said_of
from zoneraster._values.axes import spatial_dims
from zoneraster._values.decoding import Block, decoding_of, plain_dtype, with_nodata
from zoneraster._values.grid_of import Located, locate, no_dims
from zoneraster._values.opened import Lanes, OpenRaster, Pixels, digest_block
from zoneraster._values.raster import Raster, stem_of
from zoneraster.errors import GridError, ValuesError, name_some, warn

if TYPE_CHECKING:
    import xarray as xr

# Side of what is read at once of an array that has no chunks, in pixels.
ARRAY_SIDE = 4000
# Names that libraries give to what has none.
NO_NAMES = ("band_data", "__xarray_dataarray_variable__")
_UNNAMED = "zoneraster:raster"


# ---- pixels ------------------------------------------------------------------------------------


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
        return self.axes.cut(self.variable, lanes, window.moved(-self.row0, -self.col0))

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

    def identity(self, window: Window) -> bytes | None:
        """Digest of pixels in memory.

        None for those that are read or computed: names in a graph, and times of folders, stay as
        they are when what is behind them changes.
        """
        cut = self._cut(self.axes.all_lanes(), window)
        return digest_block(self.axes.load(cut)) if cut._in_memory else None


# ---- opening -----------------------------------------------------------------------------------


class PixelsOf(Protocol):
    """Where the pixels of a variable are read from."""

    def __call__(self, variable: xr.Variable, axes: Axes, /) -> Pixels:
        """Pixels of a variable whose dimensions are told apart."""


def open_array(array: xr.DataArray, asked: Raster, label: str) -> OpenRaster:
    """The raster of an array; no pixel is read.

    Raises
    ------
    ValuesError, GridError
        For what cannot be reduced or placed.
    """
    if asked.variable not in (None, array.name):
        raise ValuesError(
            f"{label}: variable={asked.variable!r} is for a Dataset or Zarr group with several "
            "variables: leave it away"
        )
    opened = raster_of(array.to_dataset(name=_UNNAMED), _UNNAMED, asked, label, ArrayPixels)
    opened = replace(opened, name=NO_NAMES[0] if array.name is None else str(array.name))
    return _renamed(opened, array.encoding.get("source"))


def open_dataset(dataset: xr.Dataset, asked: Raster, label: str) -> list[OpenRaster]:
    """The rasters of a dataset in its order, or the one asked for; errors as `open_array`."""
    return [
        _renamed(
            raster_of(dataset, name, asked, f"{label} variable {name!r}", ArrayPixels),
            dataset[name].encoding.get("source"),
        )
        for name in chosen_variables(dataset, asked, label)
    ]


def is_bare_array(source: Any) -> bool:
    """Whether it is a NumPy or dask array, or like one: pixels, and nothing that places them."""
    return all(hasattr(source, name) for name in ("shape", "dtype", "ndim")) and not hasattr(
        source, "dims"
    )


def open_bare_array(pixels: Any, asked: Raster, label: str) -> OpenRaster:
    """The raster of an array that `asked` places; errors as `open_array`, and where it does not."""
    import xarray as xr  # noqa: PLC0415

    if asked.transform is None or asked.crs is None:
        raise ValuesError(
            f"an array of {pixels.shape} does not say where it lies: zr.Raster(array, "
            "transform=(a, b, c, d, e, f), crs='EPSG:4326')"
        )
    if pixels.ndim not in (2, 3):
        raise ValuesError(
            f"an array of {pixels.shape}: its dimensions must be (rows, cols) or (band, rows, cols)"
        )
    six = [float(number) for number in asked.transform][:6]
    if isinstance(pixels, np.ma.MaskedArray):
        if pixels.dtype.kind in "iu" and pixels.mask.any():
            wider, nodata = with_nodata(plain_dtype(pixels.dtype, label))
            pixels = np.ma.filled(pixels.astype(wider), nodata)
            asked = replace(asked, nodata=(*(asked.asked_nodata or ()), nodata))
        else:
            pixels = np.ma.filled(pixels, np.nan) if pixels.dtype.kind == "f" else pixels.data
    dims = ("band", "y", "x")[-pixels.ndim :]
    coords = {"band": np.arange(1, len(pixels) + 1)} if pixels.ndim == 3 else {}
    array = xr.DataArray(pixels, coords, dims, attrs={"spatial:transform": six})
    return replace(open_array(array, asked, label), name="value")


def _renamed(opened: OpenRaster, source: object) -> OpenRaster:
    """A raster with a name that says something, where a library gave it one that does not."""
    if opened.name not in NO_NAMES:
        return opened
    return replace(opened, name=stem_of(source) if isinstance(source, str) else "value")


def chosen_variables(dataset: xr.Dataset, asked: Raster, label: str) -> list[str]:
    """Names of the variables to read.

    Raises
    ------
    ValuesError
        When there is none with rows and columns, or not the one that is asked for.
    """
    every = ", ".join(map(str, dataset.data_vars)) or "none"
    if asked.variable is not None:
        if asked.variable not in dataset.data_vars:
            raise ValuesError(f"{label} has no variable {asked.variable!r}, its are: {every}")
        return [asked.variable]
    names = [str(name) for name in dataset.data_vars if _spatial(dataset, name, asked)]
    if not names:
        raise ValuesError(
            f"{label} has no variable with rows and columns (its variables: {every}): name the "
            "two dimensions, Raster(..., dims=('y', 'x')), or rename them to y and x"
        )
    texts = [name for name in names if dataset[name].dtype.kind in "OSUT"]
    if texts and len(texts) < len(names):
        warn(f"{label}: variables of text are left out: {name_some(texts)}")
        names = [name for name in names if name not in texts]
    return names


def raster_of(
    dataset: xr.Dataset, name: str, asked: Raster, label: str, pixels_of: PixelsOf
) -> OpenRaster:
    """The raster of a variable.

    Parameters
    ----------
    dataset : xarray.Dataset
        Its coordinates and attributes say where the variable lies.
    name : str
        Of the variable, and of the raster.
    asked : Raster
        Its options go before what the variable says of itself.
    label : str
        For errors.
    pixels_of : callable
        Gives where the pixels are read from.

    Raises
    ------
    ValuesError, GridError
        For what cannot be reduced or placed.
    """
    array, spatial = dataset[name], _spatial(dataset, name, asked)
    if spatial is None:
        raise ValuesError(f"{label}: {no_dims(array.dims, asked.dims)}")
    said = said_of(
        array.attrs, array.encoding, array.dtype, asked, label, lambda: _is_condition(array)
    )
    fixed = _fixed_band(array, asked.band, label)
    kept = tuple(str(dim) for dim in array.dims if dim not in {*spatial, *dict(fixed)})
    located = _located(dataset, name, asked, label)
    axes = Axes((*kept, *spatial), fixed)
    units = asked.units if asked.units is not None else array.attrs.get("units")
    return OpenRaster(
        name=name,
        label=label,
        grid=located.grid,
        units=None if units is None else str(units),
        dims=kept,
        coords=tuple(_coordinate(array, dim) for dim in kept),
        chunks=_chunks_of_variable(array, axes.kept),
        pixels=pixels_of(array.variable, axes),
        decoding=decoding_of(said, array.dtype, label),
        is_flipped=located.is_flipped,
        remarks=said.remarks,
    )


def _is_condition(array: xr.DataArray) -> bool:
    """Whether an array in memory holds 0 and 1 and nothing else."""
    return array.variable._in_memory and np.array_equal(np.unique(array.values), [0, 1])


def _spatial(dataset: xr.Dataset, name: Hashable, asked: Raster) -> tuple[str, str] | None:
    """Dimensions of rows and columns."""
    array = dataset[name]
    return spatial_dims(dataset, array.dims, {**dataset.attrs, **array.attrs}, asked.dims)


def _located(dataset: xr.Dataset, name: str, asked: Raster, label: str) -> Located:
    """Where a variable lies; errors name it."""
    try:
        crs = None if asked.crs is None else checked_crs(asked.crs)
    except GridError as err:
        raise ValuesError(f"{label}: {err}") from err
    try:
        return locate(dataset, name, crs=crs, dims=asked.dims)
    except GridError as err:
        raise GridError(f"{label}: {err}") from err


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


def with_dates(dataset: xr.Dataset) -> xr.Dataset:
    """A dataset that was opened as it is stored, with its coordinates unpacked and as dates.

    Data may be "days since" too, as alerts are: these stay numbers to reduce.
    """
    decoded = {name: _decoded(name, one.variable) for name, one in dataset.coords.items()}
    return dataset.assign_coords(decoded)


def _decoded(name: Hashable, coordinate: xr.Variable) -> xr.Variable:
    """A coordinate, unpacked, as a date where it is one; numbers where xarray makes none of it."""
    import xarray as xr  # noqa: PLC0415

    is_packed = not {"scale_factor", "add_offset", "_Unsigned"}.isdisjoint(coordinate.attrs)
    given = xr.Dataset(coords={name: coordinate})
    try:
        made = xr.decode_cf(given, mask_and_scale=is_packed, decode_timedelta=False)
    except ValueError:
        # Units such as "months since", of no fixed length.
        return coordinate
    return made.variables[name]
