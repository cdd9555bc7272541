"""zoneraster: the zone raster for zonal statistics on rasters too large for any machine.

The names of `__all__`, and `zoneraster.open`, are what is promised; everything else may move.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from zoneraster._build import (
    BuildReport,
    PlanSummary,
    RunSummary,
    Status,
    VerifyReport,
    build,
    build_part,
    finish,
    info,
    open_manifest,
    open_store,
    run,
    status,
    verify,
)
from zoneraster._build import make_plan as plan
from zoneraster._build import open_sets as sets
from zoneraster._build import open_zones as zones
from zoneraster._grid import Grid, Window
from zoneraster._stats import Key, Stat, cells, labels, thresholds, zonal_stats
from zoneraster._store import Manifest
from zoneraster._values import Predicate, Raster, grid_like
from zoneraster.accessor import register_with_xarray
from zoneraster.errors import (
    AlignmentError,
    BuildInterrupted,
    ClosureError,
    CorruptStoreError,
    GridError,
    IncompleteBuildError,
    OptionError,
    OverlapError,
    StoreBusyError,
    StoreError,
    StoreMismatchError,
    ValuesError,
    WorkerDiedError,
    ZonerasterError,
    ZonerasterWarning,
    ZonesError,
)
from zoneraster.maps import plot

if TYPE_CHECKING:
    from zoneraster._grid.grid import GLOBAL_30M

__version__ = "0.1.0"
__all__ = [
    # build
    "build", "build_part", "plan", "run", "finish",
    # look
    "status", "verify", "info", "zones", "sets", "cells", "open_manifest",
    # statistics
    "zonal_stats", "Raster", "labels", "thresholds", "Stat", "Key", "Predicate",
    # maps
    "plot",
    # grids
    "Grid", "GLOBAL_30M", "Window", "grid_like",
    # what the verbs return
    "BuildReport", "PlanSummary", "RunSummary", "Status", "VerifyReport", "Manifest",
    # errors
    "ZonerasterError", "OptionError", "GridError", "ZonesError", "OverlapError", "ValuesError",
    "AlignmentError", "StoreError", "StoreMismatchError", "IncompleteBuildError",
    "CorruptStoreError", "ClosureError", "StoreBusyError", "WorkerDiedError", "BuildInterrupted",
    "ZonerasterWarning",
]  # fmt: skip

# Not in `__all__`: `from zoneraster import *` would replace the builtin.
open = open_store  # noqa: A001

# `array.zones`, for arrays of xarray.
register_with_xarray()


# Any: a grid, or the class that was renamed.
def __getattr__(name: str) -> Any:
    if name == "GLOBAL_30M":
        from zoneraster._grid import grid  # noqa: PLC0415 - on first use: it opens PROJ's database

        return grid.GLOBAL_30M
    if name == "Layer":
        return Raster  # its name in 0.1
    raise AttributeError(f"module 'zoneraster' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*__all__, "open", "__version__"])
