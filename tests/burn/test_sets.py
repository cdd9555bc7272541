"""Pixels that several zones claim as sets of zones, against painted pixels."""

from __future__ import annotations

import itertools

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from tests.burn.test_overlay import Rows, columns, painted
from zoneraster._burn.sets import count_values, set_spans

WIDTH, N_ZONES = 12, 8
spans = st.tuples(st.integers(0, 11), st.integers(1, 12), st.integers(0, N_ZONES - 1)).map(
    lambda s: (s[0], min(s[0] + s[1], WIDTH), s[2])
)


@given(st.lists(st.lists(spans, max_size=40), min_size=1, max_size=4), st.integers(0, 2))
def test_each_pixel_stands_for_the_zones_that_claim_it(rows: Rows, below: int) -> None:
    height = len(rows) + below
    run_ptr, start, value, set_ptr, members = set_spans(*columns(rows), N_ZONES, height, WIDTH)
    sets = [frozenset(members[a:b].tolist()) for a, b in itertools.pairwise(set_ptr)]
    assert len(set(sets)) == len(sets)
    assert all(len(own) > 1 for own in sets)
    for a, b in itertools.pairwise(set_ptr):
        assert (np.diff(members[a:b]) > 0).all()
    claims = np.zeros((height, N_ZONES, WIDTH), bool)
    claims[: len(rows)] = painted(rows, N_ZONES, WIDTH)
    said = [frozenset(), *(frozenset([z]) for z in range(N_ZONES)), *sets]
    pixels = np.zeros(len(said), np.int64)
    area = np.zeros(len(said))
    row_area = 1.0 + np.arange(len(rows)) * 10
    for r in range(height):
        own = value[run_ptr[r] : run_ptr[r + 1]]
        ends = [*start[run_ptr[r] + 1 : run_ptr[r + 1]], WIDTH]
        assert start[run_ptr[r]] == 0
        assert (np.diff(own) != 0).all(), "runs are longest"
        found = np.repeat(own, np.diff([start[run_ptr[r]], *ends]))
        for c in range(WIDTH):
            assert said[found[c]] == frozenset(np.flatnonzero(claims[r, :, c]).tolist())
        if r < len(rows):
            np.add.at(pixels, found, 1)
            np.add.at(area, found, row_area[r])
    counted = count_values(run_ptr, value, start, len(said), WIDTH, row_area)
    np.testing.assert_array_equal(counted[0], pixels)
    np.testing.assert_allclose(counted[1], area, rtol=1e-14)


def test_many_sets_are_told_apart() -> None:
    rng = np.random.default_rng(1)
    rows = []
    for _ in range(300):
        zones = rng.choice(200, rng.integers(2, 6), replace=False).tolist()
        rows.append([(0, 3, zone) for zone in zones] + [(5, 9, zone) for zone in zones[:2]])
    run_ptr, _, value, set_ptr, members = set_spans(*columns(rows), 200, 300, 10)
    distinct = {frozenset(z for a, _, z in row if a == at) for row in rows for at in (0, 5)}
    assert set_ptr.size - 1 == len(distinct)
    for r, row in enumerate(rows):
        k = value[run_ptr[r]] - 201
        expected = sorted(z for a, _, z in row if a == 0)
        assert members[set_ptr[k] : set_ptr[k + 1]].tolist() == expected
