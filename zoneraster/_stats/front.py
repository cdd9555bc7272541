"""The front door: what a call was given as zones. A store, polygons or a raster of labels."""

from __future__ import annotations

import math
import os
import shutil
import tempfile
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn, TypeAlias

import numpy as np
import pyarrow as pa

from zoneraster._build import PlanOptions, clear_plan, plan_once
from zoneraster._grid import Grid, Window, blocks_near, hull, is_in_degrees, same_crs
from zoneraster._stats.decoded import ArrayRuns
from zoneraster._stats.planes import ZoneRuns, ZoneSource
from zoneraster._stats.runs import StoredZones, find_zones, forget_opened
from zoneraster._store import PixelRule
from zoneraster._values import (
    ZARR_NODES,
    OpenRaster,
    Raster,
    is_raster_place,
    label_of,
    open_raster,
    place_of,
)
from zoneraster._zones import READABLE, OnInvalid, is_polygons
from zoneraster.arrays import Ints
from zoneraster.blobs import Location, Options, suffix_of
from zoneraster.errors import OptionError, StoreError, ValuesError, ZonesError, warn
from zoneraster.executors import ExecutorLike, Tick

if TYPE_CHECKING:
    import geopandas

# What stands for zones: a path or URL, a frame, a Raster or DataArray. Any: frames are duck-typed.
ZonesLike: TypeAlias = Any
# Labels are read in pieces of about so many pixels a side, where their own chunks are smaller or
# there are none.
_SIDE, _SMALL = 2000, 1000
# Pixels are those of one lattice where their places differ by less than this of a pixel.
_SAME_PLACE = 1e-3


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """How polygons are read; a store and labels have nothing of this.

    Parameters
    ----------
    key : str, optional
    on_invalid : {"error", "skip", "repair"}, optional
    assume_crs : optional
    layer : str, optional
    """

    key: str | None = None
    on_invalid: OnInvalid | None = None
    assume_crs: object = None
    layer: str | None = None

    def refuse(self, what: str) -> None:
        """Raise where something is asked for that only polygons have."""
        values = {one.name: getattr(self, one.name) for one in fields(self)}
        asked = [f"{name}={value!r}" for name, value in values.items() if value is not None]
        if asked:
            raise OptionError(
                f"{', '.join(asked)} would say how polygons are read, and {what}: leave it out"
            )


@dataclass(frozen=True, slots=True, eq=False)
class Given:
    """What a call was given as zones, and what it was found to be: a store, labels or polygons.

    Parameters
    ----------
    zones : path, URL, GeoDataFrame, lazy frame, DataArray or Raster
    labels : Raster or None
        Where it is a raster of labels.
    is_store : bool
        A store, or an array `zone`; neither of both are polygons.
    """

    zones: ZonesLike
    labels: Raster | None
    is_store: bool


@contextmanager
def opened_zones(
    given: Given,
    rasters: Sequence[OpenRaster],
    reading: Reading,
    *,
    options: Options = None,
    executor: ExecutorLike = None,
    rule: PixelRule | None = None,
    with_geometry: bool = False,
    progress: Tick | None = None,
) -> Iterator[ZoneSource]:
    """The zones of a call; what was planned for it is cleared away at the end.

    Parameters
    ----------
    given : Given
    rasters : sequence of OpenRaster
        Polygons are burned on the lattice of the finest of them.
    reading : Reading
    options : mapping, optional
        For fsspec, of a store.
    executor : optional
        Threads share memory; others find the plan on disk.
    rule : {"centre", "touched", "fraction"}, optional
        Which pixels zones have; by default that of a store, and centres.
    with_geometry : bool
        Polygons will be asked for.
    progress : callable, optional
    """
    zones = given.zones
    if given.labels is not None:
        reading.refuse(f"{label_of(given.labels.source)} is a raster")
        yield LabelZones.of(given.labels)
    elif given.is_store:
        location = Location.of(zones, options)
        reading.refuse(f"{location} has read its own already")
        yield find_zones(location)
    else:
        asked = PlanOptions(
            grid=_lattice_of(rasters, zones), key=reading.key, assume_crs=reading.assume_crs,
            on_invalid=reading.on_invalid or "error", layer=reading.layer,
        )  # fmt: skip
        with _passing_place(in_memory=executor in (None, "threads", "serial")) as location:
            spec, summary = plan_once(
                zones, location, asked, rule=rule or "centre", with_geometry=with_geometry,
                progress=progress,
            )  # fmt: skip
            warn(*summary.warnings(grid="the raster"))
            place = os.path.abspath(zones) if _is_path(zones) else ""  # noqa: PTH100 - of a URL too
            yield StoredZones(
                location, spec.digest(), is_planned=True, is_burned=False, place=place
            )


def given_zones(zones: ZonesLike, values: object) -> Given:
    """What zones are, before anything is opened; refuses what is not there, or swapped with values.

    Raises
    ------
    ZonesError
        For what cannot be zones.
    StoreError
        Where there is nothing at the path of the zones.
    OptionError
        For values that are polygons.
    """
    labels = _as_labels(zones)
    is_lazy = hasattr(zones, "compute") or hasattr(zones, "to_geopandas")
    if not (_is_path(zones) or _is_polygons(zones) or is_lazy or labels):
        cure = ", zr.Raster(array, transform=..., crs=...)" if hasattr(zones, "ndim") else ""
        raise ZonesError(
            f"cannot take zones from a {type(zones).__name__}: give a store, polygons (a file, "
            f"GeoDataFrame or GeoSeries) or a raster of labels{cure}"
        )
    if not _is_polygons(values):
        # A pattern of tiles is no path that could be there.
        is_pattern = labels is not None and any(mark in label_of(zones) for mark in "*?[")
        is_folder = not is_pattern and _is_store(zones)
        return Given(zones, labels, is_store=is_folder and labels is None)
    said = f"{label_of(values)} holds polygons, which are no values"
    if labels is not None:
        raise OptionError(
            f"{said}, and {label_of(zones)} is a raster: zones come first, then values: swap them"
        )
    raise OptionError(f"{said}: give a raster to reduce in the zones of {label_of(zones)}")


# ---- what it is ----------------------------------------------------------------------------------


def _is_path(given: object) -> bool:
    return isinstance(given, str | os.PathLike | Location)


def _is_polygons(given: Any) -> bool:  # Any: whatever was given
    """A frame with geometries, or the path of a file of them."""
    if _is_path(given):
        return is_polygons(given.url if isinstance(given, Location) else os.fspath(given))
    return hasattr(given, "geometry") or hasattr(given, "geom_type")


def _as_labels(given: Any) -> Raster | None:  # Any: whatever was given
    """A raster of labels; None for anything else."""
    if isinstance(given, Raster):
        return given
    if _is_path(given):
        is_raster = not _is_polygons(given) and is_raster_place(given)
        return Raster(given) if is_raster else None
    if isinstance(given, list | tuple):
        return Raster(given)
    return Raster(given) if hasattr(given, "dims") and hasattr(given, "coords") else None


def _is_store(given: Any) -> bool:  # Any: whatever was given
    """A path that is none of a file."""
    if isinstance(given, Location):
        return True
    if not _is_path(given):
        return False
    if suffix_of(os.fspath(given)) == ".zip" and "://" not in os.fspath(given):
        location = Location.of(given)
        return location.is_zip and any(location.blobs().has(name) for name in ZARR_NODES)
    if _is_polygons(given):
        return False
    if "://" in os.fspath(given):
        return True
    path = Path(given).expanduser()
    if not path.exists():
        _refuse_absent(path)
    return not path.is_file()


def _refuse_absent(path: Path) -> NoReturn:
    if path.suffix == ".zarr":
        raise StoreError(
            f"no zone store at {path}: build it first, or give polygons or a raster of labels in "
            "its place"
        )
    raise StoreError(
        f"there is nothing at {path}: give a store, a file of polygons ({READABLE}) or a raster of "
        "labels"
    )


# ---- polygons ------------------------------------------------------------------------------------


@contextmanager
def _passing_place(*, in_memory: bool) -> Iterator[Location]:
    """A place for a plan, of which nothing is left in the end."""
    name = f"zoneraster-{uuid.uuid4().hex}"
    folder = None if in_memory else tempfile.mkdtemp(prefix=name)
    location = Location.of(f"memory://{name}" if folder is None else folder)
    try:
        yield location
    finally:
        forget_opened()
        if folder is not None:
            shutil.rmtree(folder, ignore_errors=True)
        else:
            clear_plan(location)


def _lattice_of(rasters: Sequence[OpenRaster], zones: object) -> Grid:
    """The finest lattice among some rasters, as far as any of them reaches.

    Raises
    ------
    ValuesError
        Without a raster.
    """
    if not rasters:
        raise ValuesError(
            f"{label_of(zones)} has no pixels of its own: give values=, or by=, or build a "
            "store on a grid of your choice"
        )
    grids = [raster.grid for raster in rasters]
    alike = [grid for grid in grids if same_crs(grid.crs, grids[0].crs)]
    finest = min(alike, key=lambda grid: math.prod(grid.resolution))
    (step_x, step_y), (x, y) = finest.resolution, finest.origin
    edges = np.array(
        [
            ((west - x) / step_x, (y - north) / step_y, (east - x) / step_x, (y - south) / step_y)
            for west, south, east, north in (grid.bounds for grid in alike)
        ]
    )
    whole = np.where(np.abs(edges - np.round(edges)) < _SAME_PLACE, np.round(edges), edges)
    firsts, ends = np.floor(whole[:, :2]).astype(int), np.ceil(whole[:, 2:]).astype(int)
    row0, row1 = int(firsts[:, 1].min()), int(ends[:, 1].max())
    turn = float(360 / step_x) if is_in_degrees(finest.crs) else math.inf
    col0, col1 = _columns(firsts[:, 0], ends[:, 0], finest.width, turn)
    if (row0, col0) == (0, 0) and (row1, col1) == finest.shape:
        return finest
    corner = (x + col0 * step_x, y - row0 * step_y)
    transform = (step_x, 0, corner[0], 0, -step_y, corner[1])
    return Grid(finest.crs, transform, (row1 - row0, col1 - col0))


def _columns(firsts: Ints, ends: Ints, width: int, turn: float) -> tuple[int, int]:
    """First and end column of some rasters together, where those a turn apart are one place.

    Parameters
    ----------
    firsts, ends : (n,) int
        Of each raster, counted from the first column of the finest.
    width : int
        Columns of the finest, which all are among those found, but for those beyond a turn.
    turn : float
        Columns of a turn; infinite where there is none.
    """
    period = 0 if math.isinf(turn) else round(turn)
    if not period or abs(turn - period) > _SAME_PLACE:
        return int(firsts.min()), int(ends.max())
    # To where they are closest to the finest.
    moved = period * np.round((firsts + ends - width) / (2 * period)).astype(int)
    first, end = int((firsts - moved).min()), int((ends - moved).max())
    first = min(max(first, width - period), 0) if end - first > period else first
    return first, min(end, first + period)


# ---- labels --------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class LabelZones:
    """Zones that a raster of integers has, each with the pixels that hold its number.

    What the raster declares as nodata is no zone. Where it declares none, or 0, 0 is none.

    Parameters
    ----------
    token : str
        Equal ones are opened once in a process.
    raster : OpenRaster
    chunks : (int, int)
        Rows and columns of what is read at once.
    selected : bytes
        Ids of the zones that are looked at, int64 in ascending order; none for all of them.
    """

    token: str
    raster: OpenRaster = field(compare=False)
    chunks: tuple[int, int] = field(compare=False)
    selected: bytes = b""

    @classmethod
    def of(cls, labels: Raster) -> LabelZones:
        """Opened, as its integers are stored."""
        raster = open_raster(replace(labels, raw=True))
        rows, cols = (
            min(size, blocks_near(side, _SIDE) if side < _SMALL else side)
            for side, size in zip(raster.chunks[-2:], raster.grid.shape, strict=True)
        )
        return cls(uuid.uuid4().hex, raster, (rows, cols))

    @property
    def shift(self) -> int:
        """1 where 0 is a label like any other."""
        return int(bool(self.raster.nodata))

    def open(self) -> ZoneRuns:
        """Runs of the decoded pixels."""
        return ArrayRuns(self.raster, self.chunks, selected=self.selected, shift=self.shift)

    def narrowed(self, windows: Sequence[Window]) -> LabelZones:
        """With the pixels of some windows, where they are in memory."""
        (height, width), met = self.chunks, hull(windows)
        # Chunks are read whole.
        chunks = Window(
            met.row0 // height * height,
            min(-(-met.row1 // height) * height, self.raster.grid.height),
            met.col0 // width * width,
            min(-(-met.col1 // width) * width, self.raster.grid.width),
        )
        raster = self.raster.narrowed(chunks)
        return self if raster is self.raster else replace(self, raster=raster)

    def table(self) -> tuple[pa.Table, str]:
        """No table: a column zone_id with the zones that are looked at, none where it is all."""
        return self.rows(None), "zone_id"

    def rows(self, table: pa.Table | None) -> pa.Table:
        """A row for each zone that is looked at, none where it is all."""
        return pa.table({"zone_id": np.frombuffer(self.selected, np.int64)})

    def polygons(self) -> geopandas.GeoSeries:
        """None are known."""
        raise StoreError(
            f"{self.raster.label} is a raster of labels, without polygons: leave out geometry="
        )

    def ruled(self, rule: PixelRule) -> ZoneSource:
        """Whole pixels alone are known."""
        raise StoreError(
            f"{self.raster.label} is a raster of labels: of its zones nothing is known but their "
            f"pixels, leave out pixels={rule!r}"
        )

    def claimed(self, table: pa.Table, merged_by: tuple[str, ...]) -> LabelZones:
        """The same: a pixel has one label."""
        return self

    def selecting(self, zones: Ints) -> LabelZones:
        """These zones alone."""
        return replace(self, selected=np.sort(zones.astype(np.int64)).tobytes())

    def said(self) -> tuple[object, ...]:
        """Which of them are looked at; the rest is in the identity of the pixels."""
        return ("labels", self.selected)

    @property
    def place(self) -> str:
        """Where the labels lie."""
        return place_of(self.raster) or ""

    @property
    def is_selected(self) -> bool:
        """Not all labels are looked at."""
        return bool(self.selected)

    @property
    def remarkable(self) -> dict[str, Any]:
        """None are known."""
        return {}

    @property
    def owns_all(self) -> bool:
        """A pixel has one label, or one in each layer."""
        return False

    @property
    def are_claimed(self) -> bool:
        """A pixel has one label."""
        return False

    @property
    def merged_by(self) -> tuple[str, ...]:
        """They have no table."""
        return ()

    @property
    def rule(self) -> None:
        """Their own."""
        return None
