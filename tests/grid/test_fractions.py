"""Steps and origins: which number a float stands for."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest
from affine import Affine
from hypothesis import given
from hypothesis import strategies as st

from tests.grid.samples import THIRD
from zoneraster._grid.fractions import exact
from zoneraster._grid.grid import Grid
from zoneraster.errors import GridError


@pytest.mark.parametrize(
    ("given_step", "exact"),
    [
        (0.00025, Fraction(1, 4000)),
        (0.0002777777777777778, Fraction(1, 3600)),
        (0.000277777777778, Fraction(1, 3600)),
        ("0.000277777777778", Fraction(1, 3600)),
        (THIRD, Fraction(1, 3600)),
        (29.9, Fraction(299, 10)),
        (0.1, Fraction(1, 10)),
        (30.0, Fraction(30)),
        (30, Fraction(30)),
        (np.float64(28.5), Fraction(57, 2)),
        (np.int64(30), Fraction(30)),
        (1 / 12, Fraction(1, 12)),
        (10 / 33600, Fraction(1, 3360)),
        (90 / 27008, Fraction(45, 13504)),
        (0.00025000000000000006, Fraction(1, 4000)),
        # not close enough to a simple fraction: the decimal itself
        (0.00027778, Fraction(27778, 10**8)),
        (28.123456789, Fraction(28123456789, 10**9)),
        (0.0083333333, Fraction(83333333, 10**10)),
        (19.109257071294063, Fraction("19.109257071294063")),
        # a fraction is never touched
        (Fraction(1000, 3333333333), Fraction(1000, 3333333333)),
    ],
)
def test_the_step_is_the_fraction_a_person_meant(given_step, exact):
    assert Grid("EPSG:3857", (given_step, 0, 0, 0, -30, 0), (1, 1)).resolution[0] == exact


@given(st.integers(1, 9999), st.integers(1, 9999))
def test_every_simple_fraction_is_found_again_from_its_float(numerator, denominator):
    step = Fraction(numerator, denominator)
    grid = Grid("EPSG:4326", (float(step), 0, 0, 0, -float(step), 0), (1, 1))
    assert grid.resolution == (step, step)


@given(st.floats(1e-6, 1e6))
def test_the_step_of_any_float_is_within_1e_12_of_it(step):
    exact = Grid("EPSG:3857", (step, 0, 0, 0, -1, 0), (1, 1)).resolution[0]
    assert abs(exact - Fraction(step)) <= Fraction(step) * Fraction(1001, 10**15)


def test_an_origin_nearly_on_the_lattice_is_put_on_it():
    for noise in (0.0, 1e-12, -2e-10):
        grid = Grid("EPSG:4326", (0.00025, 0, -180 + noise, 0, -0.00025, 90 - noise), (1, 1))
        assert grid.origin == (-180, 90)
        assert grid.transform == Affine(0.00025, 0, -180, 0, -0.00025, 90)


def test_an_origin_off_the_lattice_is_its_decimal():
    grid = Grid("EPSG:4326", (0.25, 0, -180.125, 0, -0.25, 90.1), (1, 1))
    assert grid.origin == (Fraction(-1441, 8), Fraction(901, 10))
    # 4e-6 pixels are more than 1e-6
    grid = Grid("EPSG:4326", (0.00025, 0, 1e-9, 0, -0.00025, 0), (1, 1))
    assert grid.origin == (Fraction(1, 10**9), 0)


@pytest.mark.parametrize("parts", [2, 3, 12, 300])
def test_an_origin_at_a_part_of_a_pixel_loses_the_rounding_of_its_float(parts):
    step = Fraction(1, 12)
    origin = -180 + step * Fraction(1, parts)
    grid = Grid("EPSG:4326", (float(step), 0, float(origin), 0, -float(step), 90), (1, 1))
    assert grid.origin == (origin, 90)


def test_a_transform_within_the_last_digits_of_another_gives_the_same_grid():
    one = Grid("EPSG:4326", (1 / 3600, 0, -180, 0, -1 / 3600, 90), (10, 10))
    other = Grid("EPSG:4326", (0.000277777777778, 0, -180, 0, -0.000277777777778, 90), (10, 10))
    assert one == other
    assert one.transform == other.transform
    assert hash(one) == hash(other)


@pytest.mark.parametrize("text", ["1e-300000000", "1E+999999999", "1e401", "-1e-401", "1" * 65])
def test_a_text_that_stands_for_too_many_digits_is_refused_at_once(text: str) -> None:
    with pytest.raises(GridError, match="is no number for a grid: give at most 64"):
        exact(text)
    with pytest.raises(GridError, match="64 characters, and an exponent up to 400"):
        Grid.from_bounds((0, 0, 4, 4), text)


@pytest.mark.parametrize("text", ["hello", "1e", "e5", "1e2e3", "", "nan", "1e400", "1/0"])
def test_a_text_that_is_no_number_is_refused(text: str) -> None:
    with pytest.raises(GridError, match="is not a finite number"):
        exact(text)


def test_texts_up_to_the_limits_are_read() -> None:
    assert exact("0." + "0" * 61 + "1") == Fraction(1, 10**62)
    assert exact(" 1e-400 ") == Fraction(1, 10**400)
    assert exact("1_0E0_2") == 1000


def test_a_grid_that_could_not_be_stored_is_refused() -> None:
    long = Fraction(10**40 + 1, 3 * 10**39)
    with pytest.raises(GridError, match=r"3\.33.* fraction of 265 bits, more than the 200"):
        Grid("EPSG:3857", (long, 0, 0, 0, -1, 0), (1, 1))
    longest = Fraction(2**100 - 1, 2**98 + 1)
    grid = Grid("EPSG:3857", (longest, 0, 0, 0, -longest, 0), (1, 1))
    assert Grid.from_dict(grid.to_dict()) == grid
