"""Values held in pages, and the ranges that are told of them, against sorted NumPy arrays."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.stats.runs import random_zones, slots_of
from zoneraster._stats.families.pages import PAGE, Chains, Coding, Pool, hold, tell

pytestmark = pytest.mark.filterwarnings("ignore:overflow:RuntimeWarning")  # hashes wrap

DTYPES = ["uint8", "int16", "uint16", "int32", "uint32", "int64", "float32", "float64"]
ALL = (np.zeros(0, np.int64),) * 3
HALF = np.array([0.5])


def some_values(rng: np.random.Generator, dtype: str, shape: tuple[int, ...]) -> np.ndarray:
    """All over the dtype, or a few neighbours many times; floats with all that is special."""
    kind = np.dtype(dtype)
    if kind.kind == "f":
        values = rng.normal(0, 1, shape) * 10.0 ** rng.integers(-30, 30, shape)
        values[rng.random(shape) < 0.3] = rng.choice([-1.5, 2, 2.25])
        for special in (np.nan, np.inf, -np.inf, 0.0, -0.0, 5e-324):
            values[rng.random(shape) < 0.1] = special
        return values.astype(dtype)
    limits = np.iinfo(kind)
    wide = rng.integers(limits.min, limits.max, shape, kind, endpoint=True)
    near = limits.max - rng.integers(0, 4, shape).astype(dtype)
    return np.where(rng.random(shape) < rng.random(), wide, near).astype(dtype)


def code_of(values: np.ndarray, coding: Coding) -> list[int]:
    """Codes of valid values, sorted, found in another way than the kernel's."""
    if not coding.is_float:
        return sorted(int(v) - coding.base for v in values.ravel())
    found = []
    for v in (values.astype(values.dtype) + 0.0).ravel():
        bits = int(np.abs(v).view(coding.dtype))
        found.append(-bits - 1 if v < 0 else bits)
    return sorted(found)


def held(
    values: np.ndarray, zones: np.ndarray, k: int = 1, brackets: Any = ALL, n_gaps: int = 0
) -> tuple[Any, ...]:
    """Values of all slots of an image, in a pool without a page to spare for each."""
    ptr, begin, slot, (_, entries, n) = slots_of(zones)
    coding = Coding.of(values.dtype)
    chains, pool = Chains.empty(n), Pool.of(PAGE * (zones.size + 9), coding.dtype)
    gaps = np.zeros(n_gaps, np.int64)
    rows = hold(
        (ptr, begin, slot, zones.shape[1]), 0, (values, coding.bits_of(values)), (0, 0, k),
        (values.dtype.type(0), False), (coding.is_float, coding.top, coding.base), brackets,
        np.zeros(n, bool), tuple(chains), gaps, tuple(pool),
    )  # fmt: skip
    assert rows == zones.shape[0]
    return chains, pool, gaps, entries[:n, 1], coding


def expected(values: np.ndarray, zones: np.ndarray, k: int, zone: int) -> np.ndarray:
    rows, cols = np.indices(zones.shape)
    own = values[rows // k, cols // k][zones == zone]
    return own[own == own]


@settings(max_examples=60)
@given(
    seed=st.integers(0, 2**32 - 1),
    dtype=st.sampled_from(DTYPES),
    k=st.sampled_from([1, 3]),
    room=st.sampled_from([0, 1, 2, 5, 40, 10_000]),
    quantiles=st.lists(st.sampled_from([0.0, 0.01, 0.25, 0.5, 0.9, 1.0]), max_size=3),
)
def test_ranges_are_true_and_ranks_that_are_asked_for_are_exact(
    seed: int, dtype: str, k: int, room: int, quantiles: list[float]
) -> None:
    rng = np.random.default_rng(seed)
    zones = random_zones(rng, (24, 30))
    values = some_values(rng, dtype, zones.shape)
    chains, pool, _, ids, coding = held(values, zones, k)
    own = {z: expected(values, zones, k, z) for z in ids.tolist()}
    assert chains.held[: ids.size].tolist() == [own[z].size for z in ids.tolist()]
    slots = np.flatnonzero(chains.held[: ids.size])
    ptr, ranges = tell(
        slots, np.array(quantiles, float), np.full(slots.size, room), tuple(chains), tuple(pool)
    )
    assert pool.state[2] == pool.n_pages
    assert not chains.held.any()
    for i, slot in enumerate(slots.tolist()):
        codes = code_of(own[int(ids[slot])], coding)
        low, high, n = ranges[ptr[i] : ptr[i + 1]].T
        assert (low <= high).all()
        assert (high[:-1] < low[1:]).all()
        for a, b, count in zip(low.tolist(), high.tolist(), n.tolist(), strict=True):
            assert sum(a <= code <= b for code in codes) == count
        assert n.sum() == len(codes)
        assert low.size <= 3 * room + 4 * len(quantiles) + 1
        ends = np.cumsum(n)
        for q in quantiles:
            rank = int(np.floor((len(codes) - 1) * q))
            for r in (rank, min(rank + 1, len(codes) - 1)):
                at = int(np.searchsorted(ends, r, side="right"))
                assert low[at] == high[at] == codes[r]
        if room >= len(codes):
            assert (low == high).all()


@settings(max_examples=30)
@given(seed=st.integers(0, 2**32 - 1), dtype=st.sampled_from(DTYPES), k=st.sampled_from([1, 2]))
def test_values_outside_of_brackets_are_counted_between_them(seed: int, dtype: str, k: int) -> None:
    rng = np.random.default_rng(seed)
    zones = random_zones(rng, (12, 15))
    values = some_values(rng, dtype, zones.shape)
    ids = slots_of(zones)[3][1][: slots_of(zones)[3][2], 1]
    coding = Coding.of(values.dtype)
    codes = [code_of(expected(values, zones, k, z), coding) for z in ids.tolist()]
    # Up to two brackets a slot, of codes that occur; none for every third one.
    lists = [
        sorted(rng.choice(sorted(set(own)), min(2 * (i % 3), len(set(own)) // 2 * 2), False))
        for i, own in enumerate(codes)
    ]
    ptr = np.cumsum([0, *(len(own) // 2 for own in lists)])
    flat = np.array([c for own in lists for c in own], np.int64)
    brackets = (ptr, flat[::2].copy(), flat[1::2].copy())
    n_gaps = int(ptr[-1]) + ids.size
    chains, _, gaps, _, _ = held(values, zones, k, brackets, n_gaps)
    for g, own in enumerate(codes):
        inside = list(zip(lists[g][::2], lists[g][1::2], strict=True))
        first = int(ptr[g]) + g
        counted = gaps[first : first + len(inside) + 1]
        if not inside:
            assert chains.held[g] == counted.sum() == 0
            continue
        assert chains.held[g] == sum(a <= c <= b for c in own for a, b in inside)
        limits = [-np.inf, *(x for pair in inside for x in pair), np.inf]
        between = zip(limits[::2], limits[1::2], strict=True)
        assert counted.tolist() == [sum(a < c < b for c in own) for a, b in between]


def test_a_full_pool_stops_before_a_row_and_goes_on_once_groups_have_been_told() -> None:
    zones = np.repeat(np.arange(1, 5, dtype=np.uint32)[None], 40, 0).repeat(30, 1)
    values = np.random.default_rng(0).normal(0, 1, zones.shape)
    ptr, begin, slot, (_, _, n) = slots_of(zones)
    coding, width = Coding.of(values.dtype), zones.shape[1]
    chains, pool = Chains.empty(n), Pool.of(PAGE * 20, coding.dtype)
    row, told = 0, np.zeros(n, np.int64)
    stops = 0
    while True:
        row = hold(
            (ptr, begin, slot, width), row, (values, coding.bits_of(values)), (0, 0, 1),
            (0.0, False), (True, coding.top, 0), ALL, np.zeros(n, bool), tuple(chains),
            np.zeros(0, np.int64), tuple(pool),
        )  # fmt: skip
        some = np.flatnonzero(chains.held)
        ends, found = tell(some, HALF, np.full(some.size, 4), tuple(chains), tuple(pool))
        for i, g in enumerate(some.tolist()):
            told[g] += found[ends[i] : ends[i + 1], 2].sum()
        assert pool.state[2] == 20
        if row == zones.shape[0]:
            break
        stops += 1
    assert stops >= 2
    assert told.tolist() == [40 * 30] * 4


def test_slots_that_are_left_out_hold_nothing() -> None:
    zones = np.array([[1, 1, 2, 2, 2]], np.uint32)
    ptr, begin, slot, (_, _, n) = slots_of(zones)
    values = np.array([[7, 8, 9, 3, 9]], np.int32)
    coding, chains = Coding.of(values.dtype), Chains.empty(n)
    pool = Pool.of(PAGE * 9, coding.dtype)
    hold(
        (ptr, begin, slot, 5), 0, (values, values), (0, 0, 1), (np.int32(9), True),
        (False, coding.top, 0), ALL, np.array([True, False]), tuple(chains),
        np.zeros(0, np.int64), tuple(pool),
    )  # fmt: skip
    assert chains.held.tolist() == [0, 1]
    _, found = tell(np.array([1]), HALF, np.zeros(1, np.int64), tuple(chains), tuple(pool))
    assert found.tolist() == [[3, 3, 1]]


def test_a_group_of_equal_values_is_one_range_and_of_two_two() -> None:
    zones = np.ones((1, 300), np.uint32)
    for values, said in (
        (np.full((1, 300), 2.5), [300]), (np.repeat([[1.0, 3.0]], 150, 1), [150, 150])
    ):  # fmt: skip
        chains, pool, _, _, _ = held(values, zones)
        room = np.zeros(1, np.int64)
        _, found = tell(np.zeros(1, np.int64), HALF, room, tuple(chains), tuple(pool))
        assert found[:, 2].tolist() == said
        assert (found[:, 0] == found[:, 1]).all()
