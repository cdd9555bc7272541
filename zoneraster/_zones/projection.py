"""The one operation that brings zones to the reference system of a grid.

Left to itself, PROJ chooses an operation for each point, by the areas for which operations are
made: coordinates then jump by some metres where one area ends and another begins. Here it is chosen
once, for the area of the grid.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import Any

import numpy as np
from pyproj import CRS, Transformer
from pyproj.aoi import AreaOfInterest
from pyproj.exceptions import ProjError
from pyproj.transformer import TransformerGroup

from zoneraster._grid import MAX_PIXEL_COORDINATE, Grid, crs_name, is_in_degrees
from zoneraster.arrays import Floats
from zoneraster.errors import ZonesError

# So close to a meridian is next to it.
_NEXT_DEGREES = 1e-6
# What PROJ says of x before y: a step of its own, and from 9.8 on this.
_IN_ORDER = " (with axis order normalized for visualization)"


@dataclass(frozen=True, slots=True)
class Projection:
    """From a source CRS to the CRS of a grid.

    Parameters
    ----------
    transformer : pyproj.Transformer
        With x east and y north on both sides.
    resolution : (2,) float64
        Size of a pixel in x and in y, in units of the grid's CRS.
    box : (2, 2) float64
        South-western and north-eastern corner of the grid, as `pixels` counts.
    operation : str
        What a report says of the operation.
    doubts : tuple of str
        What it warns of.
    turn : float
        Pixels around the globe, where places of a CRS in metres are brought to a grid in degrees: x
        may be off by whole turns. 0 elsewhere.
    tear : float or None
        Meridian of a source in degrees along which the grid's CRS is torn, such as 180 for
        EPSG:3857; None where it is not.
    """

    transformer: Transformer
    resolution: Floats
    box: Floats
    operation: str = ""
    doubts: tuple[str, ...] = ()
    turn: float = 0.0
    tear: float | None = None

    @classmethod
    def between(cls, source: CRS, grid: Grid) -> Projection:
        """Projection from `source` to the CRS of `grid`.

        Raises
        ------
        ZonesError
            When PROJ knows no way from one to the other.
        """
        area = _area(grid)
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # of a missing file, which `doubts` tells
                group = TransformerGroup(
                    source,
                    grid.crs,
                    always_xy=True,
                    area_of_interest=area,  # type: ignore[arg-type]
                )
            if not group.transformers:
                raise ProjError("no operation that could be used")
        except ProjError as err:
            raise ZonesError(
                f"PROJ cannot bring {source.name} to the grid's {grid.crs.name} ({err}): "
                "reproject the zones yourself, or choose another CRS for the grid"
            ) from err
        chosen = _chosen(group, area)
        resolution = np.array([float(step) for step in grid.resolution])
        west, south, east, north = grid.bounds
        box = np.array([[west, south], [east, north]]) / resolution
        said = f"{crs_name(source)} to {crs_name(grid.crs)}: {_name(chosen)}"
        turn, tear = 0.0, None
        if is_in_degrees(grid.crs) and not source.is_geographic:
            turn = 360 / resolution[0]
        elif is_in_degrees(source) and not grid.is_geographic:
            tear = _tear(chosen, grid.crs)
        return cls(chosen, resolution, box, said, _doubts(group, chosen), turn, tear)

    def project(self, xy: Floats) -> Floats:
        """Coordinates (n, 2) in the grid's CRS; inf where there are none within 2**40 pixels."""
        x, y = self.transformer.transform(xy[:, 0], xy[:, 1])
        places = np.stack([x, y], axis=1)
        with np.errstate(invalid="ignore", over="ignore"):
            near = (np.abs(places / self.resolution) <= MAX_PIXEL_COORDINATE).all(axis=1)
        places[~near] = np.inf
        return places

    def poles(self) -> list[tuple[float, Floats]]:
        """Latitudes of the poles that have a place in the source CRS, and these places."""
        y = np.array([90.0, -90.0])
        x = self.transformer.transform(np.zeros(2), y, direction="INVERSE")
        places = np.stack(x, axis=1)
        return [(float(y[n]), places[n]) for n in range(2) if np.isfinite(places[n]).all()]

    def pixels(self, xy: Floats) -> Floats:
        """Coordinates (n, 2) in pixels, counted from the origin of the grid's CRS."""
        return self.project(xy) / self.resolution


def _tear(transformer: Transformer, crs: CRS) -> float | None:
    """The meridian opposite to that of the origin, if places on its two sides are far apart."""
    parameters = crs.coordinate_operation.params if crs.coordinate_operation else []
    origin = [
        float(one.value) * float(one.unit_conversion_factor) * 180 / np.pi
        for one in parameters
        if one.name.lower().startswith("longitude of")
    ]
    if not origin:
        return None
    tear = float(np.round(origin[0] + 180, 9))
    # Two steps up to the meridian from the west, and one from the east.
    x = tear + np.array([[-2.0], [-1.0], [1.0]]) * _NEXT_DEGREES
    y = np.broadcast_to([-60.0, -30.0, -1.0, 1.0, 30.0, 60.0], (3, 6))
    at = np.stack(transformer.transform(np.broadcast_to(x, y.shape).ravel(), y.ravel()))
    at = at.reshape(2, 3, -1)
    with np.errstate(invalid="ignore"):
        step, gap = np.hypot(*(at[:, 1] - at[:, 0])), np.hypot(*(at[:, 2] - at[:, 1]))
        is_torn = bool((gap > 1000 * step).any())
    return tear if is_torn else None


def _area(grid: Grid) -> AreaOfInterest | None:
    """Where the grid lies, in degrees; None where that cannot be said."""
    try:
        to_degrees = Transformer.from_crs(grid.crs, "EPSG:4326", always_xy=True)
        bounds = to_degrees.transform_bounds(*grid.bounds)
    except ProjError:
        return None
    west, south, east, north = bounds
    if not np.isfinite(bounds).all() or south >= north:
        return None
    # Grids of 0..360 degrees, or a little more than the globe.
    if east - west >= 360:
        west, east = -180.0, 180.0
    west, east = ((x + 180) % 360 - 180 if abs(x) > 180 else x for x in (west, east))
    return AreaOfInterest(west, max(south, -90.0), east, min(north, 90.0))


def _chosen(group: TransformerGroup, area: AreaOfInterest | None) -> Transformer:
    """The most exact operation made for all of an area; of several the one for least else.

    Without one, that which PROJ puts first: it is made for most of the area.
    """
    fit: list[tuple[float, float, int, Transformer]] = []
    for one in group.transformers:
        made_for: Any = one.area_of_use  # Any: typed as if it were always there
        accuracy = _accuracy(one)
        if area is None or made_for is None or accuracy < 0:
            continue
        west, south, east, north = made_for.bounds
        is_inside = west <= area.west_lon_degree <= area.east_lon_degree <= east
        if is_inside and south <= area.south_lat_degree and area.north_lat_degree <= north:
            fit.append((accuracy, (east - west) * (north - south), len(fit), one))
    return min(fit)[-1] if fit else group.transformers[0]


def _accuracy(one: Transformer) -> float:
    """Accuracy of an operation in metres, -1 where PROJ does not know it."""
    # A projection alone is exact; from PROJ 9.8 on it has no accuracy once its axes are in order.
    steps = one.operations or ()
    is_exact = bool(steps) and all(step.type_name == "Conversion" for step in steps)
    return 0.0 if is_exact and one.accuracy < 0 else float(one.accuracy)


def _name(chosen: Transformer) -> str:
    """Steps of an operation and its accuracy."""
    said = (chosen.description or "").removesuffix(_IN_ORDER)
    named = [step for step in said.split(" + ") if not step.startswith("axis order change")]
    accuracy = _accuracy(chosen)
    told = "accuracy unknown" if accuracy < 0 else f"accuracy {accuracy:g} m"
    return f"{' + '.join(named) or 'the same places'}, {told}"


def _doubts(group: TransformerGroup, chosen: Transformer) -> tuple[str, ...]:
    """Whether the operation only guesses, and whether a better one lacks a file."""
    doubts = []
    if any(step.has_ballpark_transformation for step in chosen.operations or ()):
        doubts.append(
            f"zones were reprojected by a ballpark operation ({_name(chosen)}), which ignores that "
            "the datums differ, often by 100 m and more: reproject the zones yourself if that "
            "matters"
        )
    if not group.best_available and group.unavailable_operations:
        better = group.unavailable_operations[0]
        files = ", ".join(grid.short_name for grid in better.grids if not grid.available)
        doubts.append(
            f"zones were reprojected by {_name(chosen)}; PROJ has a better operation, "
            f"{better.name}, accuracy {better.accuracy:g} m, but not its file {files}: get it with "
            "projsync or PROJ_NETWORK=ON"
        )
    return tuple(doubts)
