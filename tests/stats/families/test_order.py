"""Order statistics: one task after another, pages that run short, and what is refused."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.stats.families.test_pages import DTYPES, some_values
from tests.stats.runs import random_zones, slots_of
from zoneraster._stats.families import Band, Group, Leaves, Members, Rows, Values, join_rows
from zoneraster._stats.families.order import Order
from zoneraster.errors import ValuesError

pytestmark = [
    pytest.mark.filterwarnings("ignore:overflow:RuntimeWarning"),  # hashes wrap
    pytest.mark.filterwarnings("ignore:invalid value:RuntimeWarning"),  # infinities
]

QUANTILES = {"q0": 0.0, "q0.1": 0.1, "median": 0.5, "q0.9": 0.9, "q1": 1.0}
ROOM = "zoneraster._stats.families.ranges"


def in_a_task(order: Order, zones: np.ndarray, pixels: np.ndarray, *, whole: bool) -> Rows:
    """Rows of zones 1 to 4 after one task, which reads a row at a time."""
    ptr, begin, slot, (_, entries, n) = slots_of(zones)
    into = order.start(1)
    for r in range(zones.shape[0]):
        a, b = ptr[r : r + 2]
        values = Values(
            "test", 0, [Band(0, np.array([0, b - a]), begin[a:b], slot[a:b])], zones.shape[1],
            pixels[r : r + 1], (0, 0, 1), None, np.ones(1), np.zeros(n, bool),
            lambda slots: entries[slots, 1:], lambda: np.full(n, whole),
        )  # fmt: skip
        order.add(into, values)
    rows = order.rows(into, Leaves(np.arange(n), n, lambda: np.full(n, whole)))
    return order.merge(rows, entries[:n, 1] - 1, 4)


def all_passes(order: Order, tasks: list[tuple[np.ndarray, np.ndarray]]) -> tuple[Rows, int]:
    """Rows of zones 1 to 4 when everything is known, and the number of passes."""
    index = np.stack([np.zeros(4, int), np.arange(1, 5)], axis=1)
    members = Members(np.arange(4), np.arange(4), 4)
    number = np.tile(np.arange(4), len(tasks))
    rows, again, n = None, order, 0
    while again is not None:
        parts = [in_a_task(again, *task, whole=len(tasks) == 1) for task in tasks]
        found = again.merge(join_rows(parts), number, 4)
        rows = found if rows is None else again.refined(rows, index, found, index)
        order, again, n = again, again.again(rows, index, members), n + 1
    assert rows is not None
    return rows, n


@settings(max_examples=60)
@given(
    seed=st.integers(0, 2**32 - 1),
    dtype=st.sampled_from(DTYPES),
    cut=st.integers(1, 9),
    n_pages=st.sampled_from([0, 2**20]),
    sparing=st.booleans(),
)
def test_passes_end_with_what_numpy_says(
    seed: int, dtype: str, cut: int, n_pages: int, sparing: bool
) -> None:
    rng = np.random.default_rng(seed)
    zones = random_zones(rng, (10, 20))
    pixels = some_values(rng, dtype, zones.shape)
    order = Order(tuple(QUANTILES.values()), np.dtype(dtype), few=False)
    tasks = [(zones[a], pixels[a]) for a in (slice(cut), slice(cut, None))]
    with pytest.MonkeyPatch.context() as patch:
        # Without pages to spare, groups are told several times in a task.
        patch.setattr("zoneraster._stats.families.order._HELD", n_pages)
        patch.setattr("zoneraster._stats.families.order._TOLD", 8 if sparing else 2**20)
        if sparing:
            for name, value in (("ALLOWED", 0), ("_IN_ALL", 0), ("_FEWEST", 1), ("_MOST", 1)):
                patch.setattr(f"{ROOM}.{name}", value)
        for some in (tasks, [(zones, pixels)]):
            rows, n = all_passes(order, some)
            assert n <= 12
            check(order, rows, zones, pixels)


def check(order: Order, rows: Rows, zones: np.ndarray, pixels: np.ndarray) -> None:
    group = Group(np.ones(4, np.int64), np.ones(4), 1.0, 1.0)
    for name, q in QUANTILES.items():
        columns = order.finish(rows, name, group)
        assert columns is not None
        for zone, found in zip(range(1, 5), columns[""].tolist(), strict=True):
            own = pixels[zones == zone].astype(np.float64)
            own = own[own == own]
            if not own.size:
                assert np.isnan(found)
            elif dtype_is_wide(pixels) or np.isinf(own).any():
                rank = (own.size - 1) * q
                low, high = np.sort(own)[[int(np.floor(rank)), int(np.ceil(rank))]]
                assert np.isnan(found) or low <= found <= high
            else:
                said = np.median(own) if name == "median" else np.quantile(own, q)
                assert found == said


def dtype_is_wide(pixels: np.ndarray) -> bool:
    """Between two integers of 64 bits NumPy rounds otherwise than float64 does."""
    return pixels.dtype == np.int64


@pytest.mark.parametrize("n_tasks", [1, 2])
def test_groups_of_many_more_values_than_pages_take_three_passes_at_most(
    monkeypatch: pytest.MonkeyPatch, n_tasks: int
) -> None:
    monkeypatch.setattr("zoneraster._stats.families.order._HELD", 0)
    rng = np.random.default_rng(1)
    zones = np.ones((60, 3000), np.uint32)
    zones[:, 1000:] = 2
    pixels = rng.normal(0, 1, zones.shape).astype("float32")
    order = Order((0.5,), pixels.dtype, few=False)
    step = 60 // n_tasks
    tasks = [(zones[a : a + step], pixels[a : a + step]) for a in range(0, 60, step)]
    rows, n = all_passes(order, tasks)
    assert n <= 3
    columns = order.finish(rows, "median", Group(np.ones(4), np.ones(4), 1.0, 1.0))
    assert columns is not None
    for zone in (1, 2):
        assert columns[""][zone - 1] == np.median(pixels[zones == zone].astype(float))


def test_values_that_change_between_two_passes_are_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in (("ALLOWED", 0), ("_IN_ALL", 0), ("_FEWEST", 1), ("_MOST", 1)):
        monkeypatch.setattr(f"{ROOM}.{name}", value)
    zones = np.ones((2, 30), np.uint32)
    pixels = np.random.default_rng(1).normal(0, 1, zones.shape).astype("float32")
    order = Order((0.5,), pixels.dtype, few=False)
    index = np.stack([np.zeros(4, int), np.arange(1, 5)], axis=1)
    rows = in_a_task(order, zones, pixels, whole=False)
    parts = [in_a_task(order, zones[a], pixels[a], whole=False) for a in (slice(1), slice(1, 2))]
    rows = order.merge(join_rows(parts), np.tile(np.arange(4), 2), 4)
    again = order.again(rows, index, Members(np.arange(4), np.arange(4), 4))
    assert again is not None
    pixels[0, :3] = np.nan
    finer = in_a_task(again, zones, pixels, whole=False)
    with pytest.raises(ValuesError, match=r"values changed .* zone 1 \(id\) has 57 instead of 60"):
        again.refined(rows, index, finer, index)


def test_what_is_known_of_a_group_that_is_not_done_is_not_lost() -> None:
    # One of two ranks is known, and the other lies at the end of its bracket.
    zones = np.ones((1, 8), np.uint32)
    order = Order((0.5,), np.dtype("int32"), few=False)
    pixels = np.array([[0, 1, 2, 3, 5, 6, 7, 9]], np.int32)
    known = in_a_task(order, zones, pixels, whole=True)["ranges"]
    assert [v.tolist() for v in known.values] == [[0, 3, 5, 6], [2, 3, 5, 9], [3, 1, 1, 3]]  # type: ignore[union-attr]
