"""Ranges that are true, however they were made, against the values that they tell of."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from zoneraster._stats.families import ranges as room
from zoneraster._stats.families.ranges import (
    ALLOWED,
    brackets_of,
    find_rank,
    joined,
    merged,
    order_statistic_ranks,
    ranges_of,
    replaced,
    settled,
    thinned,
    within_allowance,
)
from zoneraster._stats.families.rows import Lists, join, total_of

QUANTILES = (0.0, 0.3, 0.5, 1.0)


def true_ranges(rng: np.random.Generator, values: np.ndarray) -> list[tuple[int, int, int]]:
    """Sorted values cut anywhere, each piece told by codes around it."""
    values = np.sort(values)
    cuts = np.flatnonzero(rng.random(max(values.size - 1, 0)) < rng.random()) + 1
    found = []
    for piece in np.split(values, cuts):
        if piece.size:
            wide = rng.integers(0, 2) * rng.integers(0, 5, 2)
            found.append((int(piece[0] - wide[0]), int(piece[-1] + wide[1]), piece.size))
    return found


def random_rows(rng: np.random.Generator, n_rows: int) -> tuple[list[np.ndarray], Lists]:
    own = [rng.integers(-20, 20, rng.integers(0, 40)) for _ in range(n_rows)]
    parts = [(i, *r) for i, v in enumerate(own) for r in true_ranges(rng, v)]
    row, low, high, n = np.array(parts or np.zeros((0, 4)), np.int64).reshape(-1, 4).T
    return own, ranges_of(row, low, high, n, n_rows)


def check_brackets(values: list[np.ndarray], ranges: Lists) -> None:
    """Between its bracket lies each order statistic."""
    rows, low, high = brackets_of(ranges, QUANTILES)
    some = [i for i, own in enumerate(values) if own.size]
    assert total_of(ranges).tolist() == [own.size for own in values]
    place = iter(zip(rows.tolist(), low.tolist(), high.tolist(), strict=True))
    for q in QUANTILES:
        for which in (0, 1):
            for i in some:
                own = np.sort(values[i])
                rank = order_statistic_ranks(np.array([own.size]), q)[which][0]
                row, a, b = next(place)
                assert row == i
                assert a <= own[rank] <= b
    assert next(place, None) is None


@settings(max_examples=80)
@given(seed=st.integers(0, 2**32 - 1))
def test_order_statistics_lie_in_their_brackets_when_rows_are_merged(seed: int) -> None:
    rng = np.random.default_rng(seed)
    values, ranges = random_rows(rng, 6)
    check_brackets(values, ranges)
    number = rng.integers(0, 3, 6)
    both = merged(ranges, number, 3)
    pairs = list(zip(values, number.tolist(), strict=True))
    nothing = np.zeros(0, int)
    check_brackets(
        [np.concatenate([nothing, *(own for own, i in pairs if i == g)]) for g in range(3)], both
    )
    # In one step or in two.
    first = merged(ranges, np.array([0, 0, 1, 1, 2, 2]), 3)
    again = merged(first, np.zeros(3, np.int64), 1)
    once = merged(ranges, np.zeros(6, np.int64), 1)
    for one, other in zip((again.ptr, *again.values), (once.ptr, *once.values), strict=True):
        np.testing.assert_array_equal(one, other)


@settings(max_examples=80)
@given(seed=st.integers(0, 2**32 - 1))
def test_thinned_ranges_are_true_and_what_was_known_stays_known(seed: int) -> None:
    rng = np.random.default_rng(seed)
    values, ranges = random_rows(rng, 5)
    more, other = random_rows(rng, 5)
    values = [np.concatenate(pair) for pair in zip(values, more, strict=True)]
    ranges = merged(join([ranges, other]), np.tile(np.arange(5), 2), 5)
    row, low, high = brackets_of(ranges, QUANTILES)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(room, "ALLOWED", 0)
        patch.setattr(room, "_IN_ALL", 0)
        fewer = thinned(ranges, QUANTILES, np.full(5, 1))
    assert (fewer.sizes <= ranges.sizes).all()
    check_brackets(values, fewer)
    found = brackets_of(fewer, QUANTILES)
    known = low == high
    assert (found[0] == row).all()
    assert (found[1][known] == low[known]).all()
    assert (found[2][known] == high[known]).all()


@settings(max_examples=80)
@given(seed=st.integers(0, 2**32 - 1))
def test_rows_that_get_no_more_keep_what_is_known_of_them_alone(seed: int) -> None:
    rng = np.random.default_rng(seed)
    values, ranges = random_rows(rng, 6)
    is_whole = rng.random(6) < 0.6
    fewer = settled(ranges, QUANTILES, is_whole)
    check_brackets(values, fewer)
    row, low, high = brackets_of(ranges, QUANTILES)
    for before, after in zip((row, low, high), brackets_of(fewer, QUANTILES), strict=True):
        np.testing.assert_array_equal(after, before)
    is_known = np.ones(6, bool)
    is_known[row[low < high]] = False
    short = is_whole & is_known
    assert (fewer.sizes[short] <= 4 * len(QUANTILES) + 1).all()
    for i in np.flatnonzero(~short):
        old, new = (slice(*own.ptr[i : i + 2]) for own in (ranges, fewer))
        assert [v[old].tolist() for v in ranges.values] == [v[new].tolist() for v in fewer.values]


@settings(max_examples=200)
@given(
    items=st.lists(st.tuples(st.integers(0, 3), st.integers(0, 4), st.integers(0, 2)), max_size=40),
    is_sorted=st.booleans(),
)
def test_the_order_of_items_is_that_of_lexsort(
    items: list[tuple[int, int, int]], is_sorted: bool
) -> None:
    if is_sorted:
        items = sorted(items, key=lambda item: item[0])
    owner, low, wide = np.array(items or np.zeros((0, 3)), np.int64).reshape(-1, 3).T
    high = low + wide
    np.testing.assert_array_equal(room._order_of(owner, low, high), np.lexsort((high, low, owner)))


def test_long_lists_are_thinned_to_about_their_room(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(room, "_IN_ALL", 0)
    n = 10_000
    code = np.random.default_rng(0).permutation(n)
    ranges = ranges_of(np.zeros(n, np.int64), code, code, np.ones(n, np.int64), 1)
    fewer = thinned(ranges, (0.5,), np.array([100]))
    assert 100 <= fewer.sizes[0] <= 205
    # The median is two values, and they are still there by themselves.
    low, high, count = fewer.values
    assert set(low[(low == high) & (count == 1)].tolist()) == {4999, 5000}


def test_the_shortest_lists_may_stay_as_long_as_all_have_few_on_average(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    sizes = np.array([5 * ALLOWED, 0, ALLOWED // 2, 4 * ALLOWED, 0])
    assert within_allowance(sizes).all()  # as there are few of them
    monkeypatch.setattr(room, "_IN_ALL", 0)
    assert within_allowance(sizes).tolist() == [False, True, True, True, True]


def test_brackets_that_share_a_code_are_one() -> None:
    row, low = np.array([1, 0, 0, 0, 3]), np.array([5, 4, 1, 8, -(2**63)])
    high = np.array([6, 7, 4, 9, 2**63 - 1])
    found = joined(row, low, high, 4)
    assert found.ptr.tolist() == [0, 2, 3, 3, 4]
    assert found.values[0].tolist() == [1, 8, 5, -(2**63)]
    assert found.values[1].tolist() == [7, 9, 6, 2**63 - 1]


def test_rows_that_are_told_anew_give_way_and_others_stay() -> None:
    old = ranges_of(
        np.array([0, 1, 1]), np.array([1, 2, 3]), np.array([9, 2, 7]), np.ones(3, int), 3
    )
    new = ranges_of(np.array([1]), np.array([4]), np.array([4]), np.array([2]), 2)
    found = replaced(old, np.array([0, 1]), new)
    assert found.ptr.tolist() == [0, 1, 2, 2]
    assert [v.tolist() for v in found.values] == [[1, 4], [9, 4], [1, 2]]


def test_a_rank_is_found_among_counts() -> None:
    counts = Lists(np.array([0, 2, 2, 3]), (np.array([5, 7, 9]), np.array([2, 3, 1])))
    found = find_rank(counts, np.array([0, 0, 2]), np.array([1, 2, 0]))
    assert found.tolist() == [0, 1, 2]
