"""What is asked of the tasks of the statistics: records that travel to workers."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from zoneraster._grid import Grid, Window
from zoneraster._stats.keys import Key
from zoneraster._stats.runs import StoreRef
from zoneraster._stats.statistics import Wanted
from zoneraster._stats.tiles import Tiling
from zoneraster._values import OpenRaster, Placement, Predicate, pixels_under
from zoneraster.arrays import Ints


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
    rasters : tuple of OpenRaster
        Narrowed to the task.
    keep_as : str
        Key of its partial in the checkpoint.
    """

    request: Request
    number: int
    parts: tuple[tuple[tuple[int, int], Window], ...]
    rasters: tuple[OpenRaster, ...]
    keep_as: str = ""


@dataclass(frozen=True, slots=True)
class Tasks:
    """Tasks of a request, made one at a time so that arrays in memory are cut as they are sent."""

    rasters: tuple[OpenRaster, ...]
    placements: tuple[Placement, ...]
    parts: Mapping[int, tuple[tuple[tuple[int, int], Window], ...]]

    def of(self, request: Request) -> Iterator[StatsTask]:
        """All tasks, in the order of their numbers."""
        for number in sorted(self.parts):
            windows = [window for _, window in self.parts[number]]
            rasters = tuple(
                self._narrowed(raster, placement, windows)
                for raster, placement in zip(self.rasters, self.placements, strict=True)
            )
            yield StatsTask(request, number, self.parts[number], rasters)

    @staticmethod
    def _narrowed(
        raster: OpenRaster, placement: Placement, windows: Sequence[Window]
    ) -> OpenRaster:
        met = pixels_under(placement, windows)
        return raster.narrowed(met) if met else raster
