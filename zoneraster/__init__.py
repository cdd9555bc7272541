"""zoneraster: the zone raster for zonal statistics on rasters too large for any machine."""

from __future__ import annotations

from typing import TYPE_CHECKING

from zoneraster.build import build as build
from zoneraster.build import build_part as build_part
from zoneraster.build import finish as finish
from zoneraster.build import make_plan
from zoneraster.build import run as run
from zoneraster.errors import AlignmentError as AlignmentError
from zoneraster.errors import BuildInterrupted as BuildInterrupted
from zoneraster.errors import ClosureError as ClosureError
from zoneraster.errors import CorruptStoreError as CorruptStoreError
from zoneraster.errors import GridError as GridError
from zoneraster.errors import IncompleteBuildError as IncompleteBuildError
from zoneraster.errors import OverlapError as OverlapError
from zoneraster.errors import StoreBusyError as StoreBusyError
from zoneraster.errors import StoreError as StoreError
from zoneraster.errors import StoreMismatchError as StoreMismatchError
from zoneraster.errors import ValuesError as ValuesError
from zoneraster.errors import ZonerasterError as ZonerasterError
from zoneraster.errors import ZonesError as ZonesError
from zoneraster.grid import Grid as Grid
from zoneraster.inspect import info as info
from zoneraster.inspect import open_manifest as open_manifest
from zoneraster.inspect import open_store, open_zones
from zoneraster.inspect import status as status
from zoneraster.inspect import verify as verify
from zoneraster.layers import Layer as Layer
from zoneraster.layers import labels as labels
from zoneraster.layers import thresholds as thresholds
from zoneraster.like import grid_like as grid_like
from zoneraster.manifest import Manifest as Manifest
from zoneraster.statistics import Stat as Stat
from zoneraster.stats import zonal_stats as zonal_stats
from zoneraster.windows import Window as Window

if TYPE_CHECKING:
    from zoneraster.grid import GLOBAL_30M as GLOBAL_30M

__version__ = "0.1.0"
# The names people read: zr.plan, zr.open, zr.zones.
plan, open, zones = make_plan, open_store, open_zones  # noqa: A001


def __getattr__(name: str) -> Grid:
    if name == "GLOBAL_30M":
        from zoneraster import grid  # noqa: PLC0415 - built on first use: it opens PROJ's database

        return grid.GLOBAL_30M
    raise AttributeError(f"module 'zoneraster' has no attribute {name!r}")
