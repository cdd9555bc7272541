"""Spans to runs: who owns each pixel, and what all zones claim, against painted pixels."""

from __future__ import annotations

import time

import numba
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from zoneraster._burn.overlay import contested_pairs, covered_spans, overlay_spans

# Rows of spans (first column, end column, zone).
Rows = list[list[tuple[int, int, int]]]


def columns(rows: Rows) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Row pointers, first columns, end columns and zones, in painting order."""
    ptr = np.cumsum([0, *map(len, rows)])
    flat = np.array(
        [span for row in rows for span in sorted(row, key=lambda s: s[2])], np.int32
    ).reshape(-1, 3)
    return ptr, flat[:, 0].copy(), flat[:, 1].copy(), flat[:, 2].copy()


def painted(rows: Rows, n_zones: int, width: int) -> np.ndarray:
    """Which zones claim which pixels, (rows, n_zones, width) bool."""
    out = np.zeros((len(rows), n_zones, width), bool)
    for r, row in enumerate(rows):
        for first, end, zone in row:
            out[r, zone, first:end] = True
    return out


spans = st.tuples(st.integers(0, 11), st.integers(1, 12), st.integers(0, 4)).map(
    lambda s: (s[0], min(s[0] + s[1], 12), s[2])
)


@given(st.lists(st.lists(spans, max_size=40), min_size=1, max_size=4), st.integers(0, 2))
def test_runs_and_counts_are_those_of_painted_pixels(rows: Rows, below: int) -> None:
    height = len(rows) + below
    row_area = 1.0 + np.arange(len(rows)) * 10
    run_ptr, start, value, claimed, owned, contested, area = overlay_spans(
        *columns(rows), 5, height, 12, row_area
    )
    claims = painted(rows, 5, 12)
    canvas = np.zeros((height, 12), np.int64)
    for zone in range(5):
        canvas[: len(rows)][claims[:, zone]] = zone + 1
    for r in range(height):
        ends = [*start[run_ptr[r] + 1 : run_ptr[r + 1]], 12]
        runs = np.diff([start[run_ptr[r]], *ends])
        assert start[run_ptr[r]] == 0
        assert np.repeat(value[run_ptr[r] : run_ptr[r + 1]], runs).tolist() == canvas[r].tolist()
        assert (np.diff(value[run_ptr[r] : run_ptr[r + 1]]) != 0).all(), "runs are longest"
    shared = claims.sum(axis=1, keepdims=True) > 1
    own = canvas[: len(rows), None] == np.arange(1, 6)[:, None]
    assert claimed.tolist() == claims.sum(axis=(0, 2)).tolist()
    assert contested.tolist() == (claims & shared).sum(axis=(0, 2)).tolist()
    assert owned.tolist() == own.sum(axis=(0, 2)).tolist()
    assert area.tolist() == (own.sum(axis=2) * row_area[:, None]).sum(axis=0).tolist()


def test_each_row_of_a_chunk_has_an_area_of_its_own() -> None:
    rows: Rows = [[(0, 4, 0)], [(1, 3, 0), (2, 4, 1)], [(0, 1, 1)]]
    *_, area = overlay_spans(*columns(rows), 2, 3, 4, np.array([1.0, 10.0, 100.0]))
    assert area.tolist() == [4 * 1 + 1 * 10, 2 * 10 + 1 * 100]


@pytest.mark.parametrize("painted_first", ["the outermost", "the innermost"])
def test_the_cost_of_nested_zones_follows_their_spans(painted_first: str) -> None:
    # As plain Python a smaller case only shows that it works.
    n, height, width = (50, 4, 4000) if numba.config.DISABLE_JIT else (800, 400, 4000)
    first = np.arange(n, dtype=np.int32)
    end = (width - first).astype(np.int32)
    if painted_first == "the innermost":
        first, end = first[::-1].copy(), end[::-1].copy()
    tiled = [np.tile(a, height) for a in (first, end, np.arange(n, dtype=np.int32))]
    ptr = np.arange(height + 1, dtype=np.int64) * n
    overlay_spans(np.array([0, 1]), *(a[:1] for a in tiled), n, 1, width, np.ones(1))  # compiled
    started = time.process_time()
    *_, claimed, owned, contested, _ = overlay_spans(ptr, *tiled, n, height, width, np.ones(height))
    # Two hundredths of a second; a comparison of all pairs in all stretches takes 20 s.
    assert time.process_time() - started < 1
    assert claimed.tolist() == ((end - first) * height).tolist()
    assert owned.sum() == width * height
    inner = claimed if painted_first == "the outermost" else claimed[::-1]
    run_ptr, start, value, *_ = overlay_spans(ptr, *tiled, n, height, width, np.ones(height))
    few = (np.array([0, 2]), *(a[:2] for a in tiled))
    covered_spans(*few, overlay_spans(*few, n, 1, width, np.ones(1))[:3], n, width)  # compiled
    started = time.process_time()
    planes, *_ = covered_spans(ptr, *tiled, (run_ptr, start, value), n, width)
    assert time.process_time() - started < 1
    assert planes == n - 1
    assert inner[0] - contested.max() == 2 * height, "two columns have one zone"


@given(
    st.lists(st.lists(spans, max_size=40), min_size=1, max_size=4),
    st.integers(0, 2),
    st.permutations([0, 1, 2, 3, 4]) | st.just([0, 1, 1, 0, 2]),
)
def test_planes_hold_what_zones_claim_and_do_not_own(
    rows: Rows, below: int, counts_as: list[int]
) -> None:
    ptr, first, end, zone = columns(rows)
    height = len(rows) + below
    run_ptr, start, value, *_ = overlay_spans(ptr, first, end, zone, 5, height, 12, np.ones(height))
    # Zones that count as one are painted by their own order all the same.
    one = np.array(counts_as, np.int32)
    value = np.concatenate([[0], one + 1]).astype(np.int32)[value]
    n, plane_ptr, plane_start, plane_value = covered_spans(
        ptr, first, end, one[zone], (run_ptr, start, value), 5, 12
    )
    counted = np.zeros((height, 5, 12), np.int64)
    for line in range(n * height):
        a, b = plane_ptr[line : line + 2]
        ends = [*plane_start[a + 1 : b], 12]
        assert plane_start[a] == 0
        for begin, stop, v in zip(plane_start[a:b], ends, plane_value[a:b], strict=True):
            assert begin < stop
            if v:
                counted[line % height, v - 1, begin:stop] += 1
    claims = np.zeros((height, 5, 12), np.int64)
    for z in range(5):
        claims[: len(rows), one[z]] |= painted(rows, 5, 12)[:, z]
    owned = np.zeros_like(claims)
    for r in range(height):
        widths = np.diff([*start[run_ptr[r] : run_ptr[r + 1]], 12])
        owner = np.repeat(value[run_ptr[r] : run_ptr[r + 1]], widths)
        owned[r][owner[owner > 0] - 1, np.flatnonzero(owner)] = 1
    assert np.array_equal(counted, claims - owned)
    assert n == (claims - owned).sum(axis=1).max(), "as many planes as are needed"


def test_contested_pairs_names_both_zones_and_their_pixels() -> None:
    rows: Rows = [[(0, 5, 0), (2, 7, 1), (9, 10, 2)], [], [(0, 5, 0), (4, 9, 1), (8, 9, 2)]]
    pairs, n = contested_pairs(*columns(rows), 3, 9)
    assert pairs.tolist() == [[0, 1, 3 + 1], [1, 2, 1]]
    assert n == 2


@given(st.lists(st.lists(spans, max_size=40), min_size=1, max_size=4), st.integers(0, 12))
def test_contested_pairs_are_summed_over_rows_and_the_worst_are_kept(rows: Rows, most: int) -> None:
    expected: dict[tuple[int, int], int] = {}
    for row in rows:
        for i, (a, b, zone) in enumerate(row):
            for c, d, other in row[:i]:
                pixels = min(b, d) - max(a, c)
                if zone != other and pixels > 0:
                    pair = min(zone, other), max(zone, other)
                    expected[pair] = expected.get(pair, 0) + pixels
    worst = sorted(((-n, *pair) for pair, n in expected.items()))[:most]
    pairs, n_pairs = contested_pairs(*columns(rows), 5, most)
    assert pairs.tolist() == [[a, b, -n] for n, a, b in worst]
    assert n_pairs == len(expected)


@pytest.mark.parametrize(("n", "n_pairs"), [(100, 100 * 99 // 2), (380, 2**16)])
def test_of_a_great_many_pairs_some_are_summed_and_few_are_kept(n: int, n_pairs: int) -> None:
    first = np.arange(n, dtype=np.int32)
    end = (4000 - first).astype(np.int32)
    ptr = np.array([0, n], np.int64)
    pairs, found = contested_pairs(ptr, first, end, np.arange(n, dtype=np.int32), n, 256)
    assert found == n_pairs
    assert len(pairs) == 256
    assert pairs[:3].tolist() == [[0, 1, 4000 - 2], [0, 2, 4000 - 4], [1, 2, 4000 - 4]]
