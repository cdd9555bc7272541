"""Windows of pixels."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from zoneraster._grid.windows import Window, hull
from zoneraster.errors import GridError


def test_a_window_knows_its_size_and_its_slices():
    window = Window(1, 4, 2, 4)
    assert (window.height, window.width, window.shape) == (3, 2, (3, 2))
    assert window.slices == (slice(1, 4), slice(2, 4))


def test_windows_that_only_touch_share_no_pixel():
    window = Window(0, 4, 0, 4)
    assert window.intersect(Window(2, 6, 3, 5)) == Window(2, 4, 3, 4)
    assert window.intersect(Window(4, 6, 0, 4)) is None
    assert window.intersect(Window(0, 4, 4, 6)) is None


@pytest.mark.parametrize("edges", [(3, 3, 0, 1), (0, 1, 2, 2), (4, 3, 0, 1)])
def test_a_window_without_pixels_is_refused(edges):
    with pytest.raises(GridError, match=r"holds no pixel: give row0 < row1 and col0 < col1"):
        Window(*edges)


def test_slices_of_a_window_north_or_west_of_the_array_are_refused():
    with pytest.raises(GridError, match="starts outside of the array: intersect it with the grid"):
        _ = Window(-1, 2, 0, 2).slices
    assert Window(-1, 2, 0, 2).intersect(Window(0, 9, 0, 9)) == Window(0, 2, 0, 2)


windows = st.tuples(
    st.integers(0, 12), st.integers(1, 12), st.integers(0, 12), st.integers(1, 12)
).map(lambda w: Window(w[0], w[0] + w[1], w[2], w[2] + w[3]))


@given(windows, windows)
def test_intersecting_windows_is_intersecting_painted_pixels(one, other):
    first, second = np.zeros((2, 24, 24), dtype=bool)
    first[one.slices] = second[other.slices] = True
    both = one.intersect(other)
    painted = np.zeros((24, 24), dtype=bool)
    if both is not None:
        painted[both.slices] = True
    np.testing.assert_array_equal(painted, first & second)
    assert both == other.intersect(one)
    assert one.intersect(one) == one


@given(windows)
def test_a_window_comes_back_from_its_painted_pixels(window):
    painted = np.zeros((24, 24), dtype=bool)
    painted[window.slices] = True
    rows, cols = np.nonzero(painted)
    assert painted.sum() == window.height * window.width
    assert Window(rows.min(), rows.max() + 1, cols.min(), cols.max() + 1) == window


def test_a_window_is_moved_and_counted_from_another():
    window = Window(3, 5, 7, 8)
    assert window.moved(-4, 2) == Window(-1, 1, 9, 10)
    assert window.within(Window(2, 9, 4, 9)) == Window(1, 3, 3, 4)
    assert window.within(window) == Window(0, 2, 0, 1)


@given(windows, windows)
def test_pixels_within_a_window_are_those_of_the_whole(inner, outer):
    both = inner.intersect(outer)
    if both is not None:
        pixels = np.arange(24 * 24).reshape(24, 24)
        of_outer = pixels[outer.slices]
        np.testing.assert_array_equal(of_outer[both.within(outer).slices], pixels[both.slices])


@given(st.lists(windows, min_size=1, max_size=4))
def test_a_hull_is_the_smallest_window_around_some(some):
    around = hull(some)
    assert all(around.intersect(one) == one for one in some)
    assert around.row0 in {w.row0 for w in some}
    assert around.row1 in {w.row1 for w in some}
    assert around.col0 in {w.col0 for w in some}
    assert around.col1 in {w.col1 for w in some}
