"""Areas of pixels, one a row."""

from __future__ import annotations

import pytest

import zoneraster as zr
from zoneraster._grid.areas import row_areas
from zoneraster._grid.grid import Grid


def test_row_areas_add_up_to_the_ellipsoid() -> None:
    areas = row_areas(zr.GLOBAL_30M, 0, 720_000)
    assert areas.sum() * 1_440_000 / 1e6 == pytest.approx(510_065_621.724, rel=1e-9)


def test_row_areas_of_a_projected_grid_are_plane_and_in_square_metres() -> None:
    assert (
        row_areas(Grid("EPSG:2056", (30, 0, 0, 0, -30, 90), (3, 3)), 0, 2).tolist() == [900.0] * 2
    )
    feet = Grid("EPSG:2263", (100, 0, 0, 0, -100, 300), (3, 3))
    assert row_areas(feet, 0, 1)[0] == pytest.approx(10_000 * 0.3048006096012192**2)
