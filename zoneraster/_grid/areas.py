"""True areas of pixels: one number per row, never an area raster."""

from __future__ import annotations

import functools

import numpy as np
import numpy.typing as npt

from zoneraster._grid.grid import Grid
from zoneraster.errors import GridError


# The chunks of a row share their areas.
@functools.lru_cache(maxsize=64)
def row_areas(grid: Grid, row0: int, row1: int) -> npt.NDArray[np.float64]:
    """Area of one pixel in each row of a window.

    Parameters
    ----------
    grid : Grid
    row0, row1 : int
        Half-open rows.

    Returns
    -------
    (row1 - row0,) float64, square metres, not to be written to
        On a geographic grid the area on the CRS's ellipsoid between two parallels and two
        meridians, ``b**2 / 2 * (q(north) - q(south)) * width`` with
        ``q(phi) = sin(phi) / (1 - (e sin(phi))**2) + atanh(e sin(phi)) / e``
        (Snyder, Map Projections, 1987, equation 3-12); on a projected grid the area in the plane.
    """
    step_x, step_y = (float(step) for step in grid.resolution)
    if not grid.is_geographic:
        unit = grid.crs.axis_info[0].unit_conversion_factor if grid.crs.axis_info else 1.0
        return _read_only(np.full(row1 - row0, step_x * step_y * unit * unit))
    ellipsoid = grid.crs.ellipsoid
    if ellipsoid is None:
        raise GridError(f"{grid.crs.name} names no ellipsoid: areas cannot be told")
    a, b = ellipsoid.semi_major_metre, ellipsoid.semi_minor_metre
    north = float(grid.origin[1])
    to_radians = grid.crs.axis_info[0].unit_conversion_factor
    latitude = (north - np.arange(row0, row1 + 1) * step_y) * to_radians
    # Grids may stick out of the globe by half a pixel; there is no area beyond a pole.
    sine = np.sin(np.clip(latitude, -np.pi / 2, np.pi / 2))
    e = np.sqrt(1.0 - (b / a) ** 2)
    if e == 0.0:
        q = 2.0 * sine
    else:
        q = sine / (1.0 - (e * sine) ** 2) + np.arctanh(e * sine) / e
    return _read_only(0.5 * b * b * (q[:-1] - q[1:]) * step_x * to_radians)


def _read_only(areas: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """The same array, safe to be shared."""
    areas.flags.writeable = False
    return areas
