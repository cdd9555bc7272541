"""The kernels of the statistics against plain NumPy, on arrays of a few pixels."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from zoneraster._stats import cut
from zoneraster._stats.families.custom import gather
from zoneraster._stats.families.moments import accumulate, fold_rows
from zoneraster._stats.families.tally import tally

pytestmark = pytest.mark.filterwarnings("ignore:overflow:RuntimeWarning")  # hashes wrap

NO_LUT = np.zeros(0, np.int64)
NO_KEEP = (-(2**63), -(2**63))
Table = tuple[Any, Any, int]


def table(size: int = 4) -> Table:
    return np.full(size, -1, np.int32), np.empty((size // 2, 2), np.int64), 0


def painted(ptr: Any, begin: Any, slot: Any, width: int) -> np.ndarray:
    """Runs as an image of slots."""
    out = np.full((ptr.size - 1, width), -9)
    for r in range(ptr.size - 1):
        ends = [*begin[ptr[r] + 1 : ptr[r + 1]], width]
        for i, end in zip(range(ptr[r], ptr[r + 1]), ends, strict=True):
            out[r, begin[i] : end] = slot[i]
    return out


def slots_of(zones: np.ndarray) -> tuple[Any, Any, Any, Table]:
    """Runs and slots of a whole image."""
    height, width = zones.shape
    found = cut.zone_runs(cut.runs_of_pixels(zones), (0, height, 0, width), 1, table())
    return (*found[:3], found[3:])


def random_zones(rng: np.random.Generator, shape: tuple[int, int]) -> np.ndarray:
    small = rng.integers(0, 5, (shape[0] // 2 + 1, shape[1] // 3 + 1))
    return np.repeat(np.repeat(small, 2, 0), 3, 1)[: shape[0], : shape[1]].astype(np.uint32)


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
    *runs, _, entries, n = cut.zone_runs(cut.runs_of_pixels(zones), window, fine, table())
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
    *runs, _, entries, n = cut.refine(
        (ptr, begin, slot, 40), labels, (*origin, k), (lut, -2), NO_KEEP, found
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
    *runs, _, _, n = cut.refine((ptr, begin, slot, 6), labels, (0, 0, 1), (NO_LUT, 0), keep, found)
    assert runs[1].tolist() == [0, 3, 4, 5]
    assert n == 4


def test_codes_are_joined_as_digits() -> None:
    numbers = np.array([[1, 2], [3, 4]], np.int32)
    labels = np.array([[9, 9, 9], [9, -1, 0], [9, 1, -1]], np.int8)
    cut.join_codes(numbers, labels, (1, 1), np.array([5, 6, 7], np.int32), -1, 10)
    assert numbers.tolist() == [[15, 26], [37, 45]]


def accumulators(n: int, kind: type) -> tuple[Any, ...]:
    high, low = (np.inf, -np.inf) if kind is float else (2**62, -(2**62))
    zeros = [np.zeros(n) for _ in range(4)]
    return (
        np.zeros(n, bool), np.zeros(n, np.int64), np.zeros(n, kind), np.zeros(n, kind),
        np.full(n, high, kind), np.full(n, low, kind), *zeros,
    )  # fmt: skip


@few
@given(
    seed=st.integers(0, 2**32 - 1),
    k=st.sampled_from([1, 1, 2, 5]),
    dtype=st.sampled_from(["f4", "f8", "u1", "i4"]),
)
def test_values_are_accumulated_by_slot(seed: int, k: int, dtype: str) -> None:
    rng = np.random.default_rng(seed)
    zones = random_zones(rng, (6, 40))
    ptr, begin, slot, (_, entries, n) = slots_of(zones)
    values = rng.integers(0, 20, (9, 50)).astype(dtype)
    if dtype.startswith("f"):
        values[rng.random(values.shape) < 0.2] = np.nan
    kind = values.dtype.type
    nodata = (kind(3), bool(seed % 2))
    is_float = dtype.startswith("f")
    limits = (
        (np.float64(0), kind(np.inf), kind(-np.inf)) if is_float
        else (np.int64(0), kind(np.iinfo(dtype).max), kind(np.iinfo(dtype).min))
    )  # fmt: skip
    into = accumulators(n, float if is_float else np.int64)
    areas = rng.random(6)
    runs = (ptr, begin, slot, 40)
    accumulate(runs, values, (1, 2, k), nodata, limits, areas, into)
    big = values[np.ix_((1 + np.arange(6)) // k, (2 + np.arange(40)) // k)]
    valid = (big == big) & ~((big == 3) & nodata[1])
    pixels, area = np.zeros(n, np.int64), np.zeros(n)
    no_zone, active = cut.count_pixels(runs, areas, np.zeros(n, bool), pixels, area)
    assert no_zone == (zones == 0).sum()
    assert active == (zones > 0).sum()
    area_of = np.broadcast_to(areas[:, None], zones.shape)
    for g in range(n):
        zone = zones == entries[g, 1]
        own = big[zone & valid].astype(np.float64)
        assert pixels[g] == zone.sum()
        assert area[g] == pytest.approx(area_of[zone].sum())
        _, count, total, lost, low, high, mean, m2, own_area, area_total = (a[g] for a in into)
        assert count == own.size
        assert total + lost == own.sum()
        if own.size:
            assert (low, high) == (own.min(), own.max())
            assert mean == pytest.approx(own.mean())
            assert m2 == pytest.approx(((own - own.mean()) ** 2).sum(), abs=1e-9)
            assert own_area == pytest.approx(area_of[zone & valid].sum())
            assert area_total == pytest.approx((area_of[zone & valid] * own).sum())
    offset, gathered, gathered_areas = gather(runs, values, (1, 2, k), nodata, areas, n)
    for g in range(n):
        own = (zones == entries[g, 1]) & valid
        part = slice(offset[g], offset[g + 1])
        assert np.array_equal(gathered[part], big[own])
        assert np.array_equal(gathered_areas[part], area_of[own])


def test_what_is_not_wanted_and_skipped_slots_are_left_alone() -> None:
    ptr, begin, slot, _ = slots_of(np.array([[1, 1, 2, 2]], np.uint32))
    none = np.zeros(0)
    skip, n, total = np.array([False, True]), np.zeros(2, np.int64), np.zeros(2)
    into = (skip, n, total, np.zeros(2), none, none, none, none, none, none)
    limits = (np.float64(0), np.inf, -np.inf)
    values = np.array([[1.0, 2.0, 4.0, 8.0]])
    runs = (ptr, begin, slot, 4)
    accumulate(runs, values, (0, 0, 1), (0.0, False), limits, np.ones(1), into)
    assert (n.tolist(), total.tolist()) == ([2, 0], [3.0, 0.0])
    pixels = np.zeros(2, np.int64)
    assert cut.count_pixels(runs, np.ones(1), skip, pixels, none) == (0, 2)
    assert pixels.tolist() == [2, 2]


@few
@given(seed=st.integers(0, 2**32 - 1), k=st.sampled_from([1, 3]), is_float=st.booleans())
def test_values_are_tallied_by_slot(seed: int, k: int, is_float: bool) -> None:
    rng = np.random.default_rng(seed)
    zones = random_zones(rng, (6, 40))
    ptr, begin, slot, (_, entries, n) = slots_of(zones)
    values = rng.integers(-3, 4, (9, 50)).astype("f4" if is_float else "i2")
    if is_float:
        values[values == 1] = -0.0
        values[rng.random(values.shape) < 0.2] = np.nan
    bits = values.view("i4") if is_float else values
    top, skip = 2**31 - 1, np.zeros(n, bool)
    everything = (np.zeros(0, np.int64), np.zeros(0, np.int64))
    nodata = (values.dtype.type(2), True)
    runs, into = (ptr, begin, slot, 40), (np.zeros(0, np.int64), *table())
    counts, _, pairs, m = tally(
        runs, (values, bits), (1, 2, k), nodata, (0, 0, is_float, top), everything, skip, into
    )
    big = values[np.ix_((1 + np.arange(6)) // k, (2 + np.arange(40)) // k)]
    valid = (big == big) & (big != 2)
    found = {
        (int(entries[g, 1]), int(c)): int(t) for (g, c), t in zip(pairs[:m], counts, strict=False)
    }
    expected: dict[tuple[int, float], int] = {}
    for zone, value in zip(zones[valid].tolist(), big[valid].tolist(), strict=True):
        if zone:
            expected[zone, value + 0.0] = expected.get((zone, value + 0.0), 0) + 1

    def code(value: float) -> int:
        if not is_float:
            return int(value)
        b = int(np.float32(value).view(np.int32))
        return b if b >= 0 else b ^ top

    assert found == {(zone, code(value)): t for (zone, value), t in expected.items()}
    # Only the values with a wanted prefix, cut to it.
    first = code(-3.0)
    wanted = (np.arange(n + 1), np.full(n, first >> 4))
    into = (np.zeros(0, np.int64), *table())
    counts, _, pairs, m = tally(
        runs, (values, bits), (1, 2, k), nodata, (2, 4, is_float, top), wanted, skip, into
    )
    below = [t for (_, v), t in expected.items() if code(v) >> 4 == first >> 4]
    assert int(counts[:m].sum()) == sum(below)
    assert {int(c) for c in pairs[:m, 1]} <= {code(v) >> 2 for _, v in expected}


def test_rows_are_folded_in_order() -> None:
    n = np.array([2, 0, 3, 1])
    total, lost = np.array([1e16, 5.0, 1.0, -1e16]), np.array([0.0, 0.0, 0.5, 0.0])
    low, high = np.array([1.0, 9.0, 0.0, 2.0]), np.array([5.0, -9.0, 3.0, 4.0])
    mean, m2 = np.array([3.0, 0.0, 1.0, 2.0]), np.array([2.0, 0.0, 4.0, 0.0])
    area = np.array([1.0, 0.0, 2.0, 4.0])
    out = list(accumulators(1, float)[1:])
    rows = (n, total, lost, low, high, mean, m2, area, 10 * area)
    fold_rows(np.zeros(4, np.int64), rows, tuple(out))
    count, sums, lacking, lowest, highest, average, squares, areas, area_totals = (
        a[0] for a in out
    )
    assert (count, sums + lacking) == (6, 1.5)
    assert (lowest, highest, areas, area_totals) == (0.0, 5.0, 7.0, 70.0)
    values = [2.0, 4.0, 1 - 2**0.5, 1.0, 1 + 2**0.5, 2.0]
    assert average == pytest.approx(np.mean(values))
    assert squares == pytest.approx(np.var(values) * 6)


def test_a_table_grows_and_keeps_its_numbers() -> None:
    zones = np.arange(1, 201, dtype=np.uint32).reshape(2, 100)
    _, _, slot, (places, entries, n) = slots_of(zones)
    assert n == 200
    assert entries[slot, 1].tolist() == zones.ravel().tolist()
    assert places.size >= 2 * n
    again = cut.zone_runs(cut.runs_of_pixels(zones), (0, 2, 0, 100), 1, (places, entries, n))
    assert again[5] == n
    assert np.array_equal(again[2], slot)
