"""Small grids for the tests."""

from __future__ import annotations

from zoneraster._grid.grid import Grid

THIRD = "1/3600"


def small_grid(*, crs: object = "EPSG:4326") -> Grid:
    """2 rows and 3 columns of half a degree, north-west corner at 10 E, 50 N."""
    return Grid(crs, (0.5, 0, 10, 0, -0.5, 50), (2, 3))
