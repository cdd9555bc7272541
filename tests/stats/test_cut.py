"""Runs cut by labels, and counted, on images of a few pixels."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.stats.runs import painted, random_zones, slots_of, table
from zoneraster._stats import cut
from zoneraster.arrays import WHOLE

pytestmark = pytest.mark.filterwarnings("ignore:overflow:RuntimeWarning")  # hashes wrap

NO_LUT = np.zeros(0, np.int64)
NO_KEEP = (-(2**63), -(2**63))
cases = given(seed=st.integers(0, 2**32 - 1), k=st.sampled_from([1, 1, 2, 5]))
few = settings(max_examples=25)


@few
@given(seed=st.integers(0, 2**32 - 1), fine=st.integers(1, 3))
def test_runs_of_a_window_are_those_of_the_image(seed: int, fine: int) -> None:
    rng = np.random.default_rng(seed)
    zones = random_zones(rng, (6, 11)) * 1000
    row0, col0 = (int(rng.integers(0, n * fine - 1)) for n in zones.shape)
    row1 = int(rng.integers(row0 + 1, 6 * fine + 1))
    col1 = int(rng.integers(col0 + 1, 11 * fine + 1))
    window = (row0, row1, col0, col1)
    *runs, _, _, entries, n = cut.zone_runs(cut.runs_of_pixels(zones), WHOLE, window, fine, table())
    image = painted(*runs, col1 - col0)
    big = np.repeat(np.repeat(zones, fine, 0), fine, 1)[row0:row1, col0:col1]
    found = np.where(image < 0, 0, entries[np.maximum(image, 0), 1]) if n else np.zeros_like(big)
    assert np.array_equal(found, big)
    assert (entries[:n, 0] == -1).all()


@few
@cases
def test_refined_runs_pair_slots_with_codes(seed: int, k: int) -> None:
    rng = np.random.default_rng(seed)
    zones = random_zones(rng, (6, 40))
    ptr, begin, slot, found = slots_of(zones)
    labels = np.repeat(rng.integers(-2, 3, (9, 30)), rng.integers(1, 30, 30), axis=1).astype("i2")
    lut = rng.integers(7, 9, 5).astype(np.int64) if seed % 2 else NO_LUT
    origin = (int(rng.integers(0, 3)), int(rng.integers(0, 3)))
    *runs, _, _, entries, n = cut.refine(
        (ptr, begin, slot, 40), WHOLE, labels, (*origin, k), (lut, -2), NO_KEEP, found
    )
    at = np.ix_((origin[0] + np.arange(6)) // k, (origin[1] + np.arange(40)) // k)
    codes = lut[labels[at].astype(int) + 2] if lut.size else labels[at]
    image = painted(*runs, 40)
    assert ((image < 0) == (zones == 0)).all()
    inside = image >= 0
    assert np.array_equal(entries[image[inside], 1], codes[inside])
    assert np.array_equal(entries[entries[image[inside], 0], 1], zones[inside])
    assert n == found[2] + len({*zip(zones[inside].tolist(), codes[inside].tolist(), strict=True)})
    # Runs are as long as can be.
    for r in range(6):
        own = runs[2][runs[0][r] : runs[0][r + 1]]
        assert (own[1:] != own[:-1]).all()


def test_runs_with_a_code_to_keep_are_left_alone() -> None:
    ptr, begin, slot, found = slots_of(np.array([[1, 1, 1, 2, 2, 2]], np.uint32))
    labels = np.array([[0, 1, 0, 1, 0, 1]], np.uint8)
    keep = (int(found[1][0, 1]), -5)  # the code of the first zone
    *runs, _, _, _, n = cut.refine(
        (ptr, begin, slot, 6), WHOLE, labels, (0, 0, 1), (NO_LUT, 0), keep, found
    )
    assert runs[1].tolist() == [0, 3, 4, 5]
    assert n == 4


def test_codes_are_joined_as_digits() -> None:
    numbers = np.array([[1, 2], [3, 4]], np.int32)
    labels = np.array([[9, 9, 9], [9, -1, 0], [9, 1, -1]], np.int8)
    cut.join_codes(numbers, labels, (1, 1), np.array([5, 6, 7], np.int32), -1, 10)
    assert numbers.tolist() == [[15, 26], [37, 45]]


def test_a_table_grows_and_keeps_its_numbers() -> None:
    zones = np.arange(1, 201, dtype=np.uint32).reshape(2, 100)
    _, _, slot, (places, entries, n) = slots_of(zones)
    assert n == 200
    assert entries[slot, 1].tolist() == zones.ravel().tolist()
    assert places.size >= 2 * n
    again = cut.zone_runs(cut.runs_of_pixels(zones), WHOLE, (0, 2, 0, 100), 1, (places, entries, n))
    assert again[6] == n
    assert np.array_equal(again[2], slot)
