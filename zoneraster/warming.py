"""Compile all kernels before they are needed: for images of containers and workers of clusters.

Kernels are compiled for the types that they are called with, so small zones are burned and small
rasters reduced in as many ways as there are; what numba keeps of it on disk is what is wanted.
"""

from __future__ import annotations

import tempfile
import time
import warnings
from collections.abc import Callable
from contextlib import closing
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import zoneraster as zr
from zoneraster._burn import kept_in, put
from zoneraster.bars import shown
from zoneraster.executors import Progress, run_tasks

if TYPE_CHECKING:
    import geopandas
    import xarray as xr

_SIDE = 16
_OVERLAPS = ("last", "first", "error", "sets", "layers")
_PRODUCTS = ("cover", "percent", "count")
_NUMBERS = ("uint8", "int16", "uint16", "int32", "float32", "float64")
_RULES = ("centre", "fraction")


@dataclass(frozen=True, slots=True)
class WarmReport:
    """What `warm` did.

    Parameters
    ----------
    folder : str
        Below which machine code is kept.
    compiled : int
        Kernels that were compiled now, each for some types.
    seconds : float
    """

    folder: str
    compiled: int
    seconds: float

    def to_dict(self) -> dict[str, Any]:
        """For JSON."""
        return asdict(self)

    def __str__(self) -> str:
        """One line."""
        return f"{self.compiled:,} kernels compiled in {self.seconds:.0f} s, kept in {self.folder}"


def warm(*, workers: int | None = None, progress: Progress | None = None) -> WarmReport:
    """Compile all kernels, so that no later call has to wait for that.

    Parameters
    ----------
    workers : int, optional
        Processes; one a core by default.
    progress : bool or callable, optional
        As for `build`.

    Returns
    -------
    WarmReport

    Raises
    ------
    OptionError
        For fewer than one worker.
    """
    started, done, folder = time.perf_counter(), 0, kept_in(put)
    before = set(folder.rglob("*.nbc"))
    with shown(progress) as tick:
        # What many need comes first, or each of them would compile it.
        for names in (["build"], [name for name in _TASKS if name != "build"]):
            with closing(run_tasks(_do, names, executor="processes", workers=workers)) as results:
                for _ in results:
                    done += 1
                    if tick is not None:
                        tick("compile", done, len(_TASKS))
    seconds = time.perf_counter() - started
    return WarmReport(str(folder), len({*folder.rglob("*.nbc")} - before), seconds)


# ---- tasks ---------------------------------------------------------------------------------------


def _do(name: str) -> None:
    """A task in a process of its own, where nobody is told of tiny zones."""
    with warnings.catch_warnings(), tempfile.TemporaryDirectory() as folder:
        warnings.simplefilter("ignore")
        _TASKS[name](Path(folder))


def _zones(*, apart: bool = False) -> geopandas.GeoDataFrame:
    """Zones with holes and parts, some over each other, some smaller than a pixel."""
    import geopandas  # noqa: PLC0415 - slow import
    import shapely  # noqa: PLC0415

    ring = shapely.Point(5, 5).buffer(4).difference(shapely.Point(5, 5).buffer(1))
    small = [shapely.box(x, 1.2, x + 0.3, 1.5) for x in (2.1, 9.6)]
    several = shapely.MultiPolygon([shapely.Point(x, 9.1).buffer(2.4) for x in (7.1, 8.2, 13.0)])
    shapes = [ring, *small] if apart else [ring, several, *small, several.buffer(0.5)]
    return geopandas.GeoDataFrame({"kind": range(len(shapes))}, geometry=shapes, crs=3857)


def _grid() -> zr.Grid:
    return zr.Grid.from_bounds((0, 0, _SIDE, _SIDE), 1, 3857)


def _raster(dtype: str) -> xr.DataArray:
    import numpy as np  # noqa: PLC0415 - slow import
    import xarray as xr  # noqa: PLC0415

    values = np.arange(_SIDE * _SIDE).reshape(_SIDE, _SIDE).astype(dtype)
    places = {"y": _grid().y_centres(), "x": _grid().x_centres()}
    return xr.DataArray(
        values, places, ("y", "x"), "values", {"crs": "EPSG:3857", "_FillValue": values[0, 0]}
    )


def _build(folder: Path) -> None:
    zr.build(_zones(), folder / "zones.zarr", grid=_grid(), chunks=8)


def _build_by(**options: Any) -> Callable[[Path], None]:
    def task(folder: Path) -> None:
        zones = _zones(apart=options.get("overlap") == "error")
        zr.build(zones, folder / "zones.zarr", grid=_grid(), chunks=8, **options)

    return task


def _reduce(dtype: str, rule: Any) -> Callable[[Path], None]:
    def task(_folder: Path) -> None:
        values = _raster(dtype)
        moments = ["count", "sum", "mean", "std", "min", "max", "area"]
        for stats in (moments, ["median", "q0.9"], ["majority", "variety", "fractions"]):
            zr.zonal_stats(_zones(), values, stats=stats, pixels=rule)
        zr.zonal_stats(
            _zones(), values, stats=[*moments, "weighted_mean"], pixels=rule,
            by={"class": zr.labels(values, [1, 2])}, where=zr.Raster(values) > 0, weights=values,
        )  # fmt: skip

    return task


_TASKS: dict[str, Callable[[Path], None]] = {
    "build": _build,
    **{name: _build_by(overlap=name) for name in _OVERLAPS},
    **{name: _build_by(product=name) for name in _PRODUCTS},
    "touched": _build_by(all_touched=True),
    "min_pixels": _build_by(min_pixels=1),
    **{f"{dtype} {rule}": _reduce(dtype, rule) for dtype in _NUMBERS for rule in _RULES},
}
