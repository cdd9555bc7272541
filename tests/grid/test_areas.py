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


def test_a_row_that_sticks_out_of_the_globe_has_the_area_of_what_lies_on_it() -> None:
    # ERA5: 721 rows whose first and last centres are the poles.
    outside = Grid("EPSG:4326", (0.25, 0, -0.125, 0, -0.25, 90.125), (721, 1440))
    inside = Grid("EPSG:4326", (0.25, 0, -0.125, 0, -0.125, 90), (1440, 1440))
    areas, halves = row_areas(outside, 0, 721), row_areas(inside, 0, 1440)
    assert areas[0] == pytest.approx(halves[0], rel=1e-12)
    assert areas[-1] == pytest.approx(halves[-1], rel=1e-9)
    assert areas[1] == pytest.approx(halves[1] + halves[2], rel=1e-12)
    assert areas.sum() == pytest.approx(halves.sum(), rel=1e-12)
    assert (row_areas(Grid("EPSG:4326", (1, 0, 0, 0, -1, 95), (5, 1)), 0, 5) == 0).all()
