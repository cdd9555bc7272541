"""zoneraster: the zone raster for zonal statistics on rasters too large for any machine.

The names of `__all__`, and `zoneraster.open`, are what is promised; everything else may move.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

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
from zoneraster.registering import register_with_xarray

if TYPE_CHECKING:
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
    from zoneraster._grid.grid import GLOBAL_30M
    from zoneraster._stats import Key, Stat, cells, labels, thresholds, zonal_stats
    from zoneraster._store import Manifest
    from zoneraster._values import Predicate, Raster, grid_like
    from zoneraster.maps import plot
    from zoneraster.warming import WarmReport, warm

    open = open_store  # noqa: A001

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
    # machine code
    "warm",
    # grids
    "Grid", "GLOBAL_30M", "Window", "grid_like",
    # what the verbs return
    "BuildReport", "PlanSummary", "RunSummary", "Status", "VerifyReport", "WarmReport",
    "Manifest",
    # errors
    "ZonerasterError", "OptionError", "GridError", "ZonesError", "OverlapError", "ValuesError",
    "AlignmentError", "StoreError", "StoreMismatchError", "IncompleteBuildError",
    "CorruptStoreError", "ClosureError", "StoreBusyError", "WorkerDiedError", "BuildInterrupted",
    "ZonerasterWarning",
]  # fmt: skip

# Rooms are opened when a name of theirs is first asked for: all of them take half a second, and
# `zoneraster --help` needs none.
_ROOMS = {
    "_build": (
        "BuildReport", "PlanSummary", "RunSummary", "Status", "VerifyReport", "build", "build_part",
        "finish", "info", "open_manifest", "run", "status", "verify",
    ),
    "_grid": ("Grid", "Window"),
    "_grid.grid": ("GLOBAL_30M",),
    "_stats": ("Key", "Stat", "cells", "labels", "thresholds", "zonal_stats"),
    "_store": ("Manifest",),
    "_values": ("Predicate", "Raster", "grid_like"),
    "maps": ("plot",),
    "warming": ("WarmReport", "warm"),
}  # fmt: skip
# Where each name is, and what it is called there. `open` is not in `__all__`, as `from zoneraster
# import *` would replace the builtin; `Layer` is the name that `Raster` had in 0.1.
_HOMES = {name: (room, name) for room, names in _ROOMS.items() for name in names} | {
    "plan": ("_build", "make_plan"),
    "sets": ("_build", "open_sets"),
    "zones": ("_build", "open_zones"),
    "open": ("_build", "open_store"),
    "Layer": ("_values", "Raster"),
}

# `array.zones`, for arrays of xarray.
register_with_xarray()


def __getattr__(name: str) -> Any:  # Any: whatever the name stands for
    if name not in _HOMES:
        raise AttributeError(f"module 'zoneraster' has no attribute {name!r}")
    room, there = _HOMES[name]
    found = getattr(importlib.import_module(f"zoneraster.{room}"), there)
    globals()[name] = found
    return found


def __dir__() -> list[str]:
    return sorted([*__all__, "open", "__version__"])
