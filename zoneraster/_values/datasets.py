"""Files that xarray opens by one of its engines: NetCDF, HDF5, GRIB."""

from __future__ import annotations

import functools
import importlib.util
import uuid
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from zoneraster._grid import Window
from zoneraster._values.arrays import Axes, chosen_variables, raster_of, with_dates
from zoneraster._values.decoding import Block
from zoneraster._values.opened import Lanes, OpenRaster, check_chunk, digest_of, foreign_errors
from zoneraster._values.raster import Raster, stem_of
from zoneraster.blobs import Location, file_state, suffix_of
from zoneraster.errors import ValuesError

if TYPE_CHECKING:
    import xarray as xr

_HDF = (".nc", ".nc4", ".cdf", ".h5", ".hdf5", ".he5", ".hdf")
_GRIB = (".grib", ".grib2", ".grb", ".grb2")
DATASET_SUFFIXES = (*_HDF, *_GRIB)
# Engines of xarray that open a file, the modules that they need, and what installs them.
_ENGINES = {
    **dict.fromkeys(_HDF, (("netcdf4", "netCDF4"), ("h5netcdf", "h5netcdf"))),
    **dict.fromkeys(_GRIB, (("cfgrib", "cfgrib"),)),
}


def is_dataset_file(location: Location) -> bool:
    """A NetCDF, HDF5 or GRIB file, by its ending."""
    return suffix_of(location.url) in DATASET_SUFFIXES


def open_dataset_file(asked: Raster, location: Location, label: str) -> list[OpenRaster]:
    """The rasters of a file, by name; no pixel is read.

    Raises
    ------
    ValuesError, GridError
        For what cannot be opened, reduced or placed.
    ImportError
        Where no engine of xarray for such a file is installed.
    """
    if not location.is_local:
        raise ValuesError(
            f"{label}: such files are read from disk: download it, or open it with xarray and give "
            "the Dataset"
        )
    if not Path(location.url).is_file():
        raise ValuesError(f"{label}: no such file: check the path")
    if asked.storage_options:
        raise ValuesError(f"{label}: a local file takes no storage options: leave them out")
    engine, opening = _engine_of(location, label), uuid.uuid4().hex
    group, _, name = (asked.variable or "").rpartition("/")
    cure = "check that xarray.open_dataset opens it, and give that"
    with foreign_errors(label, f"cannot be opened by xarray's engine {engine!r}", cure):
        dataset = _open(location.url, engine, group, opening)
    asked = replace(asked, variable=name) if group else asked
    names = chosen_variables(dataset, asked, label)
    is_only = len(names) == 1 and asked.variable is None

    def opened_as(name: str) -> OpenRaster:
        def pixels(_: xr.Variable, axes: Axes) -> DatasetPixels:
            return DatasetPixels(location.url, engine, group, name, opening, axes)

        sides = dataset[name].encoding.get("chunksizes") or ()
        check_chunk(f"{label}/{name}", sides, dataset[name].dtype.itemsize)
        return raster_of(dataset, name, asked, label if is_only else f"{label}/{name}", pixels)

    opened = [opened_as(name) for name in names]
    return [replace(opened[0], name=stem_of(location.url))] if is_only else opened


def _engine_of(location: Location, label: str) -> str:
    """The first engine for a file that is installed."""
    engines = _ENGINES[suffix_of(location.url)]
    for engine, module in engines:
        if importlib.util.find_spec(module) is not None:
            return engine
    raise ImportError(
        f"reading {label!r} needs {' or '.join(module for _, module in engines)}: "
        f"pip install {engines[0][1]}"
    )


@functools.lru_cache(maxsize=64)
def _open(path: str, engine: str, group: str, opening: str) -> xr.Dataset:
    """Open a file: data stay as stored, times among the coordinates become dates."""
    import xarray as xr  # noqa: PLC0415

    # An index file beside what is read would be a surprise.
    extra: dict[str, Any] = {"backend_kwargs": {"indexpath": ""}} if engine == "cfgrib" else {}
    if group:
        extra["group"] = group
    opened = xr.open_dataset(
        path, engine=engine, chunks=None, cache=False, mask_and_scale=False, decode_times=False,
        **extra,
    )  # fmt: skip
    made = with_dates(opened)
    # Opened again where pixels are read: an open file may not be written anew.
    opened.close()
    return made


@dataclass(frozen=True, slots=True)
class DatasetPixels:
    """Pixels of a variable of a file, which each process opens for itself, once."""

    path: str
    engine: str
    group: str
    variable: str
    opening: str  # names one call of open_dataset_file
    axes: Axes

    def read(self, lanes: Lanes, window: Window) -> Block:
        """Stored pixels."""
        dataset = _open(self.path, self.engine, self.group, self.opening)
        return self.axes.load(self.axes.cut(dataset.variables[self.variable], lanes, window))

    def narrowed(self, window: Window) -> DatasetPixels:
        """The path is all there is to ship."""
        return self

    def identity(self, window: Window) -> bytes:
        """Digest of the state of the file."""
        return digest_of(self.group, self.variable, repr(file_state(Path(self.path))))
