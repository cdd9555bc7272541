"""The four steps of every family: start, add, merge, finish; and the records of statistics."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.conftest import ROOT
from tests.stats.runs import random_zones, slots_of
from zoneraster._stats.families import (
    Band,
    Family,
    Group,
    Leaves,
    Lists,
    Rows,
    Stat,
    Values,
    classes,
    join_rows,
    moments,
    order,
)
from zoneraster._stats.families.classes import Classes
from zoneraster._stats.families.custom import Custom
from zoneraster._stats.families.moments import Moments
from zoneraster._stats.families.order import Bounded, Order

pytestmark = pytest.mark.filterwarnings("ignore:overflow:RuntimeWarning")  # hashes wrap

LARGEST = Stat(
    "largest",
    init=lambda: (-np.inf,),
    update=lambda s, x, a: (max(s[0], float(x.max())),),
    combine=lambda s, t: (max(s[0], t[0]),),
    finalize=lambda s: s[0],
)
INT = np.dtype("int32")
FAMILIES: dict[str, tuple[Family, str]] = {
    # Without areas, which differ by row: the parts below begin at row 0 each.
    "moments": (Moments(("extremes", "squares"), is_integer=True), "sum"),
    "classes": (Classes(INT), "majority"),
    "order": (Order((0.5,), INT, few=True), "median"),
    "bounded": (Bounded(np.dtype("float32"), 16), "median"),
    "custom": (Custom((LARGEST,)), "largest"),
}


def counted(family: Family, zones: np.ndarray, pixels: np.ndarray, n: int) -> Rows:
    """Rows of zones 1 to n after one task over some pixels."""
    ptr, begin, slot, (_, entries, n_slots) = slots_of(zones)
    into = family.start(1)
    areas = np.linspace(1, 2, zones.shape[0])
    values = Values(
        "test", 0, [Band(0, ptr, begin, slot)], zones.shape[1], pixels, (0, 0, 1), None, areas,
        np.zeros(n_slots, bool), lambda slots: entries[slots, 1:],
        lambda: np.zeros(n_slots, bool),
    )  # fmt: skip
    family.add(into, values)
    rows = family.rows(into, Leaves(np.arange(n_slots), n_slots, lambda: np.zeros(n_slots, bool)))
    return family.merge(rows, entries[:n_slots, 1] - 1, n)


def same(one: Rows, other: Rows) -> bool:
    def flat(column: Any) -> list[Any]:
        return [column.ptr, *column.values] if isinstance(column, Lists) else [column]

    return list(one) == list(other) and all(
        np.allclose(a, b, rtol=1e-12, equal_nan=True)
        for name in one
        for a, b in zip(flat(one[name]), flat(other[name]), strict=True)
    )


@pytest.mark.parametrize("name", FAMILIES)
@settings(max_examples=15)
@given(seed=st.integers(0, 2**32 - 1), cut=st.integers(1, 5))
def test_tasks_that_are_merged_count_what_one_task_counts(name: str, seed: int, cut: int) -> None:
    family, statistic = FAMILIES[name]
    rng = np.random.default_rng(seed)
    zones = random_zones(rng, (6, 20))
    pixels = rng.integers(-9, 9, zones.shape).astype("float32" if name == "bounded" else INT)
    whole = counted(family, zones, pixels, 4)
    parts = [counted(family, zones[a], pixels[a], 4) for a in (slice(cut), slice(cut, None))]
    merged = family.merge(join_rows(parts), np.tile(np.arange(4), 2), 4)
    assert same(merged, whole)
    group = Group(np.ones(4, np.int64), np.ones(4), 1.0, 1.0)
    one, other = (family.finish(rows, statistic, group) for rows in (merged, whole))
    assert one is not None
    assert other is not None
    np.testing.assert_array_equal(one[""], other[""])


@pytest.mark.parametrize(
    "lie",
    [
        lambda pixels: np.pad(pixels, 3)[3:-3, 3:-3],
        lambda pixels: pixels[::-1].copy()[::-1],
        lambda pixels: np.repeat(pixels, 2, axis=0)[::2],
        lambda pixels: np.repeat(pixels, 2, axis=0)[::-2][::-1],
    ],
    ids=["cut", "turned", "every other", "every other, turned twice"],
)
def test_rows_count_the_same_wherever_they_lie_in_memory(
    lie: Callable[[np.ndarray], np.ndarray],
) -> None:
    family, rng = FAMILIES["moments"][0], np.random.default_rng(5)
    assert [name for name, (own, _) in FAMILIES.items() if own.in_place] == ["moments"]
    for shape in ((6, 20), (1, 20), (6, 1)):
        zones, pixels = random_zones(rng, shape), rng.integers(-9, 9, shape).astype(INT)
        assert same(counted(family, zones, lie(pixels), 4), counted(family, zones, pixels, 4))


@pytest.mark.parametrize("name", FAMILIES)
def test_groups_without_a_pixel_change_nothing(name: str) -> None:
    family, _ = FAMILIES[name]
    zones = random_zones(np.random.default_rng(3), (6, 20))
    pixels = zones.astype("float32" if name == "bounded" else INT)
    rows = counted(family, zones, pixels, 4)
    more = family.merge(join_rows([rows, family.blank(4)]), np.tile(np.arange(4), 2), 4)
    assert same(rows, more)


def test_a_family_knows_its_own_statistics_only() -> None:
    group = Group(np.zeros(1, np.int64), np.zeros(1), 1.0, 1.0)
    for family, statistic in FAMILIES.values():
        rows = family.blank(1)
        assert family.finish(rows, statistic, group) is not None
        assert family.finish(rows, "no such statistic", group) is None


def test_the_table_of_formulas_in_the_docs_is_that_of_the_records() -> None:
    page = (ROOT / "docs" / "explanation" / "statistics.md").read_text()
    page = page[page.index("## Formulas") : page.index("The example is one zone")]
    said = {
        name: formula
        for names, formula in re.findall(r"^\| (`.*?`(?:, .*?)?) \| (.*?) \|", page, re.MULTILINE)
        for name in re.findall(r"`(\w[\w.]*)`", names)
    }
    records = {**moments.STATISTICS, **classes.STATISTICS}
    assert {name: said.get(name) for name in records} == {
        name: record.formula for name, record in records.items()
    }
    assert said["q0.9"] == order.FORMULA
