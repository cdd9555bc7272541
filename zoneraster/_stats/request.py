"""What is asked: of the table, and of the tasks that count for it. Records that travel."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from zoneraster._grid import Grid, Window
from zoneraster._stats.families import Family, Wanted, kind_of, name_with_unit, unit_of
from zoneraster._stats.keys import Key
from zoneraster._stats.planes import ZoneSource
from zoneraster._stats.tiles import Part, Tiling
from zoneraster._store import PixelRule
from zoneraster._values import OpenRaster, Placement, Predicate, pixels_under
from zoneraster.arrays import Ints


@dataclass(frozen=True, slots=True)
class Measure:
    """A measure as the table shows it.

    Parameters
    ----------
    name : str
    dtype : numpy.dtype
        Of its values.
    rate_unit : str
        Unit of areas in area sums.
    units : str or None
        Of its values.
    assumed : mapping
        What is taken for granted of its raster, for the audit: JSON, hence Any.
    reach : str
        What the raster covers, and what the store, for people.
    """

    name: str
    dtype: np.dtype[Any]
    rate_unit: str
    units: str | None = None
    assumed: Mapping[str, Any] = field(default_factory=dict)
    reach: str = ""


@dataclass(frozen=True, slots=True)
class Layout:
    """What rows and columns the table is to have.

    Parameters
    ----------
    wanted : Wanted
    measures : tuple of Measure
        None for pixels and areas alone.
    keys : mapping of name to Key
    dims : mapping of name to (n,) coordinates
        Extra dimensions.
    area_unit : str
    roll_up, attributes : tuple of str
        Columns of the zone table: to merge zones by, and to show.
    fine : int
        Lattice pixels along a pixel of the store.
    are_claimed : bool
        Zones have all pixels that they claim, also those that others own.
    rule : {"centre", "touched", "fraction"}, optional
        By which rule zones have pixels, where it is another than that of the array.
    weights : mapping
        What is taken for granted of the raster of weights; empty without one. JSON, hence Any.
    is_selected : bool
        Not all zones are looked at.
    """

    wanted: Wanted
    measures: tuple[Measure, ...]
    keys: Mapping[str, Key]
    dims: Mapping[str, npt.NDArray[Any]]  # Any: numbers, dates or text
    area_unit: str
    roll_up: tuple[str, ...]
    attributes: tuple[str, ...]
    fine: int
    are_claimed: bool = False
    rule: PixelRule | None = None
    weights: Mapping[str, Any] = field(default_factory=dict)
    is_selected: bool = False

    @property
    def is_weighted(self) -> bool:
        """Pixels count by what is covered of them."""
        return self.rule == "fraction"

    @property
    def with_area(self) -> bool:
        """Areas of all pixels are shown, with a value or not."""
        return not self.measures or "pixel_area" in self.wanted.names

    def column_of(self, name: str, measure: Measure | None) -> tuple[str, str | None]:
        """Name of the column of a statistic, and its unit; areas carry it in their name."""
        prefix = f"{measure.name}_" if measure is not None and len(self.measures) > 1 else ""
        if name in (stat.name for stat in self.wanted.custom):
            return prefix + name, None
        kind = kind_of(name)
        unit = unit_of(kind, None if measure is None else measure.units, self.area_unit)
        return prefix + (name_with_unit(name, unit) if kind.startswith("area") else name), unit

    def columns(self) -> list[str]:
        """Names of the columns of statistics; of those with several, what these begin with."""
        measures = self.measures or (None,)
        return [self.column_of(name, m)[0] for m in measures for name in self.wanted.names]

    @property
    def n_lanes(self) -> int:
        """Combinations of the coordinates of extra dimensions."""
        return max(1, int(np.prod([c.size for c in self.dims.values()], dtype=np.int64)))


@dataclass(frozen=True, slots=True, eq=False)
class Request:
    """What is asked of every task.

    Parameters
    ----------
    zones : ZoneSource
    grid : Grid
        The lattice.
    fine : int
        Lattice pixels along a pixel of the store.
    tiling : Tiling
    placements : tuple of Placement
        One per raster.
    measures : tuple of int
        Rasters whose values are counted.
    families : tuple of tuple of Family
        What counts the values of each measure in this pass.
    keys : tuple of (int, Key)
        Rasters that group, and how.
    where : Predicate or None
        Its rasters are numbers of rasters.
    dims : tuple of int
        Sizes of the extra dimensions of the measures.
    with_area : bool
        Add up the areas of all pixels too.
    weights : int, optional
        The raster that weights the measures.
    only : (n,) int64, optional
        Zone ids that this pass looks at, ascending; others are passed over. None for all.
    """

    zones: ZoneSource
    grid: Grid
    fine: int
    tiling: Tiling
    placements: tuple[Placement, ...]
    measures: tuple[int, ...]
    families: tuple[tuple[Family, ...], ...]
    keys: tuple[tuple[int, Key], ...]
    where: Predicate | None
    dims: tuple[int, ...]
    with_area: bool
    weights: int | None = None
    only: Ints | None = None

    @property
    def n_lanes(self) -> int:
        """Combinations of the coordinates of extra dimensions."""
        return int(np.prod(self.dims, dtype=np.int64))

    @property
    def is_weighted(self) -> bool:
        """Pixels count by what is covered of them."""
        return self.zones.rule == "fraction"


@dataclass(frozen=True, slots=True)
class StatsTask:
    """A request, and the part of the lattice to answer it for.

    Parameters
    ----------
    request : Request
    number : int
        Tasks are merged in this order.
    parts : tuple of Part
    rasters : tuple of OpenRaster
        Narrowed to the task.
    keep_as : str or None
        Name of its partial in the checkpoint; None when the worker is to find it.
    candidates : tuple of str
        Keys among which the partial may be.
    """

    request: Request
    number: int
    parts: tuple[Part, ...]
    rasters: tuple[OpenRaster, ...]
    keep_as: str | None = None
    candidates: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Tasks:
    """Tasks of a request, made one at a time so that arrays in memory are cut as they are sent.

    Parameters
    ----------
    rasters : tuple of OpenRaster
    placements : tuple of Placement
    parts : mapping of int to tuple of Part
        By the number of the task.
    """

    rasters: tuple[OpenRaster, ...]
    placements: tuple[Placement, ...]
    parts: Mapping[int, tuple[Part, ...]]

    def of(self, requests: Mapping[int, Request]) -> Iterator[StatsTask]:
        """Tasks that something is asked of, in the order of their numbers."""
        for number in sorted(requests):
            windows = [part.window for part in self.parts[number]]
            rasters = tuple(
                self._narrowed(raster, placement, windows)
                for raster, placement in zip(self.rasters, self.placements, strict=True)
            )
            request = requests[number]
            zones = request.zones.narrowed([_on_grid(w, request.fine) for w in windows])
            if zones is not request.zones:
                request = replace(request, zones=zones)
            yield StatsTask(request, number, self.parts[number], rasters)

    @staticmethod
    def _narrowed(
        raster: OpenRaster, placement: Placement, windows: Sequence[Window]
    ) -> OpenRaster:
        met = pixels_under(placement, windows)
        return raster.narrowed(met) if met else raster

    @property
    def work(self) -> dict[int, int]:
        """Lattice pixels of each task."""
        return {
            number: sum(part.window.height * part.window.width for part in parts)
            for number, parts in self.parts.items()
        }


def _on_grid(window: Window, fine: int) -> Window:
    """The window of the grid that holds a window of the lattice."""
    return Window(
        window.row0 // fine, -(-window.row1 // fine), window.col0 // fine, -(-window.col1 // fine)
    )
