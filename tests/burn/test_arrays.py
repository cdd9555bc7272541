"""Copies and sorts of kernels beside NumPy's."""

from __future__ import annotations

import hypothesis.strategies as st
import numba
import numpy as np
import pytest
from hypothesis import given
from hypothesis.extra import numpy as hnp

from zoneraster._burn.arrays import (
    grown,
    grown_rows,
    put,
    sort_order,
    sort_stretch,
    stable_order,
)

KEYS = st.sampled_from(["i4", "i8", "f8"]).flatmap(
    lambda kind: hnp.arrays(
        kind,
        st.integers(0, 200),
        # Few, so that many are equal; and many.
        elements=st.integers(0, 5) | st.integers(-(2**20), 2**20),
    )
)


@given(KEYS, st.data())
def test_a_stretch_is_sorted_and_nothing_else(values: np.ndarray, data: st.DataObject) -> None:
    start = data.draw(st.integers(0, values.size))
    end = data.draw(st.integers(start, values.size))
    right = values.copy()
    right[start:end] = np.sort(right[start:end])
    sort_stretch(values, start, end)
    np.testing.assert_array_equal(values, right)


@given(KEYS)
def test_equal_keys_keep_their_order(keys: np.ndarray) -> None:
    np.testing.assert_array_equal(stable_order(keys), np.argsort(keys, kind="stable"))


@given(KEYS, st.data())
def test_places_are_sorted_by_the_keys_that_they_stand_for(
    keys: np.ndarray, data: st.DataObject
) -> None:
    order = np.asarray(data.draw(st.permutations(range(keys.size))), np.int64)
    start = data.draw(st.integers(0, keys.size))
    right = order.copy()
    right[start:] = order[start:][np.argsort(keys[order[start:]], kind="stable")]
    sort_order(order, start, keys.size, keys)
    np.testing.assert_array_equal(order, right)


@pytest.mark.parametrize("n", [24, 25, 48, 49, 2000 if numba.config.DISABLE_JIT else 100_000])
def test_long_lists_in_order_and_backwards(n: int) -> None:
    backwards = np.arange(n)[::-1].copy()
    np.testing.assert_array_equal(stable_order(backwards), np.arange(n)[::-1])
    sort_stretch(backwards, 0, n)
    np.testing.assert_array_equal(backwards, np.arange(n))
    np.testing.assert_array_equal(stable_order(backwards), np.arange(n))


def test_copies_have_the_room_that_is_asked_for() -> None:
    assert grown(np.arange(3), 0).tolist()[:3] == [0, 1, 2]
    assert grown(np.arange(3), 0).size == 6
    assert grown(np.arange(3), 10).size == 10
    rows = np.arange(6).reshape(3, 2)
    assert grown_rows(rows, 4).shape == (6, 2)
    np.testing.assert_array_equal(grown_rows(rows, 9)[:3], rows)
    into = np.zeros(5, np.int64)
    put(into, 2, np.array([7, 8]))
    assert into.tolist() == [0, 0, 7, 8, 0]
