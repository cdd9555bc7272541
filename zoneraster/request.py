"""What is asked of the tasks of the statistics: records that travel to workers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

from zoneraster.grid import Grid
from zoneraster.lattice import Placement, Tiling
from zoneraster.layers import Key, Predicate
from zoneraster.partials import Ints
from zoneraster.raster import Raster
from zoneraster.runs import StoreRef
from zoneraster.statistics import Wanted
from zoneraster.windows import Window


class Digits(NamedTuple):
    """Which bits of the ordered values a pass counts (see `reduce.tally`).

    Parameters
    ----------
    low, high : int
        Bits left out below, in this pass and in the one before.
    prefixes : dict of (lane, zone id, codes...) to (m,) int64, or None
        What the pass before narrowed each group down to.
    """

    low: int
    high: int = 0
    prefixes: dict[tuple[int, ...], Ints] | None = None


@dataclass(frozen=True, slots=True, eq=False)
class Request:
    """What is asked of every task.

    Parameters
    ----------
    store : StoreRef
    grid : Grid
        The lattice.
    fine : int
        Lattice pixels along a pixel of the store.
    tiling : Tiling
    placements : tuple of Placement
        One per raster.
    measures : tuple of int
        Rasters whose values are reduced.
    keys : tuple of (int, Key)
        Rasters that group, and how.
    where : Predicate or None
        Its layers are numbers of rasters.
    wanted : Wanted
    dims : tuple of int
        Sizes of the extra dimensions of the measures.
    moments : bool
        Count and sum; a second pass over the values has no need to.
    digits : tuple of Digits or None
        Per measure, what to tally.
    """

    store: StoreRef
    grid: Grid
    fine: int
    tiling: Tiling
    placements: tuple[Placement, ...]
    measures: tuple[int, ...]
    keys: tuple[tuple[int, Key], ...]
    where: Predicate | None
    wanted: Wanted
    dims: tuple[int, ...]
    moments: bool
    digits: tuple[Digits | None, ...]


@dataclass(frozen=True, slots=True)
class StatsTask:
    """A request, and the part of the lattice to answer it for.

    Parameters
    ----------
    request : Request
    number : int
        Tasks are merged in this order.
    parts : tuple of ((int, int), Window)
        Chunks of the store, and the lattice window of each.
    rasters : tuple of Raster
        Narrowed to the task.
    keep_as : str
        Key of its partial in the checkpoint.
    """

    request: Request
    number: int
    parts: tuple[tuple[tuple[int, int], Window], ...]
    rasters: tuple[Raster, ...]
    keep_as: str = ""
