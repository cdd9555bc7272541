"""Painting order of the zones."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import geopandas
import numpy as np
import pytest
import shapely

from zoneraster._build.order import paint_ranks
from zoneraster._grid import Grid
from zoneraster._store import Spec
from zoneraster._zones.read import read_zones
from zoneraster.errors import ZonesError

GRID = Grid.from_bounds((0, 0, 9, 9), 1, 3857)
SPEC = Spec(grid=GRID, chunks=(9, 9), batch=1, dtype="uint8", key="row")


def ranks(priority: Any = None, *, n: int = 0, overlap: str = "last", sign: str = "") -> list[int]:
    """Ranks of zones with these priorities."""
    n = n or len(priority)
    columns = {"other": range(n)} if priority is None else {"priority": priority}
    frame = geopandas.GeoDataFrame(columns, geometry=[shapely.box(0, 0, 1, 1)] * n, crs=3857)
    named = None if priority is None else f"{sign}priority"
    spec = replace(SPEC, overlap=overlap, priority=named)
    return paint_ranks(read_zones(frame, GRID), spec).tolist()


def test_zones_are_painted_in_input_order_and_backwards_for_first() -> None:
    assert ranks(n=3) == [0, 1, 2]
    assert ranks(n=3, overlap="first") == [2, 1, 0]


def test_a_higher_priority_is_painted_later() -> None:
    assert ranks([5, -1, 2.5]) == [2, 0, 1]
    assert ranks([5, -1, 2.5], overlap="first") == [0, 2, 1]
    assert ranks([5, -1, 2.5], sign="-") == [0, 2, 1]
    assert ranks([5, -1, 2.5], sign="-", overlap="first") == [2, 0, 1]


@pytest.mark.parametrize("kind", ["int64", "float64", "uint8"])
def test_of_equal_priorities_the_later_row_is_painted_later(kind: str) -> None:
    # More than a handful, because every sort is stable for a few.
    priority = np.random.default_rng(4).integers(0, 3, 500).astype(kind)
    expected = sorted(range(500), key=lambda row: (priority[row], row))
    assert np.argsort(ranks(priority)).tolist() == expected
    assert np.argsort(ranks(priority, overlap="first")).tolist() == expected[::-1]
    descending = sorted(range(500), key=lambda row: (-int(priority[row]), row))
    assert np.argsort(ranks(priority, sign="-")).tolist() == descending


def test_a_priority_with_gaps_or_of_text_is_refused() -> None:
    with pytest.raises(ZonesError, match="priority column 'priority' is empty in row 1"):
        ranks([1.0, np.nan])
    with pytest.raises(ZonesError, match=r"'priority' is (large_)?string, not numeric"):
        ranks(["a", "b"])
