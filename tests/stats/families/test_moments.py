"""Sums and areas by slot against plain NumPy, on arrays of a few pixels."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.stats.runs import random_zones, slots_of
from zoneraster._stats import cut
from zoneraster._stats.families.custom import gather
from zoneraster._stats.families.folding import accumulate, fold_rows
from zoneraster._stats.families.moments import Moments
from zoneraster.arrays import WHOLE

few = settings(max_examples=25)


def accumulators(n: int, kind: type) -> tuple[Any, ...]:
    high, low = (np.inf, -np.inf) if kind is float else (2**62, -(2**62))
    zeros = [np.zeros(n) for _ in range(4)]
    return (
        np.zeros(n, bool), np.zeros(n, np.int64), np.zeros(n, kind), np.zeros(n, kind),
        np.full(n, high, kind), np.full(n, low, kind), *zeros,
    )  # fmt: skip


def flat(values: np.ndarray) -> tuple[np.ndarray, int, int]:
    """Pixels, first and step, as `accumulate` takes them."""
    return values.ravel(), 0, values.shape[1]


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
    accumulate(runs, None, flat(values), (1, 2, k), nodata, limits, areas, into)
    big = values[np.ix_((1 + np.arange(6)) // k, (2 + np.arange(40)) // k)]
    valid = (big == big) & ~((big == 3) & nodata[1])
    pixels, area = np.zeros(n, np.int64), np.zeros(n)
    no_zone, active = cut.count_pixels(runs, WHOLE, areas, np.zeros(n, bool), pixels, WHOLE, area)
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
    accumulate(runs, None, flat(values), (0, 0, 1), (0.0, False), limits, np.ones(1), into)
    assert (n.tolist(), total.tolist()) == ([2, 0], [3.0, 0.0])
    pixels = np.zeros(2, np.int64)
    assert cut.count_pixels(runs, none, np.ones(1), skip, pixels, none, none) == (0, 2)
    assert pixels.tolist() == [2, 2]


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


# One large value and small ones that are lost beside it, whichever comes first.
LOSSES = [[1.0, 1e17, 1.0, -1e17], [1e17, 1.0, -1e17, 1.0], [1.0, -1e17, 1.0, 1e17]]


@pytest.mark.parametrize("column", LOSSES)
def test_what_a_sum_loses_is_kept_run_by_run(column: list[float]) -> None:
    values = np.array(column)[:, None]
    runs = (np.arange(5), np.zeros(4, np.int32), np.zeros(4, np.int64), 1)
    skip, n, total, lost, *_ = into = accumulators(1, float)
    limits = (np.float64(0), np.inf, -np.inf)
    accumulate(runs, None, flat(values), (0, 0, 1), (0.0, False), limits, np.ones(4), into)
    assert not skip.any()
    assert (n[0], total[0] + lost[0]) == (4, 2.0)


@pytest.mark.parametrize("column", LOSSES)
def test_what_a_sum_loses_is_kept_row_by_row(column: list[float]) -> None:
    nothing, out = np.zeros(4), accumulators(1, float)[1:]
    rows = (np.ones(4, np.int64), np.array(column), *[nothing] * 7)
    fold_rows(np.zeros(4, np.int64), rows, out)
    assert out[1][0] + out[2][0] == 2.0


def test_merged_integer_sums_leave_room_for_as_many_rows_again() -> None:
    family = Moments.of(("sum",), np.dtype("int32"))
    rows = {
        "n": np.ones(3, np.int64),
        "total": np.full(3, 2**32 - 1),
        "lost": np.full(3, -1),
    }
    merged = family.merge(rows, np.zeros(3, np.int64), 1)
    assert family.finish(merged, "sum", None)[""].tolist() == [-3]
    assert 0 <= merged["total"][0] < 2**32
