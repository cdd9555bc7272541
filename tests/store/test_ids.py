"""Zone ids stand for keys, and are never given twice."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from tests.zones.samples import HUGE, says
from zoneraster._store.ids import assign_ids, id_dtype


def chunked(keys: Any) -> pa.ChunkedArray:
    return pa.chunked_array([keys])


@pytest.mark.parametrize(
    ("keys", "ids"),
    [
        ([5, 300, 2**32 - 1], [5, 300, 2**32 - 1]),
        ([5.0, 3.0], [5, 3]),
        ([5, 0], [1, 2]),
        ([-1, 7], [1, 2]),
        ([2**32, 7], [1, 2]),
        ([HUGE, HUGE + 1], [1, 2]),
        (["10", "7"], [1, 2]),
        (pa.array([9, 8], pa.uint64()), [9, 8]),
    ],
)
def test_ids_are_the_keys_where_they_can_be(keys: Any, ids: list[int]) -> None:
    got = assign_ids(chunked(keys))
    assert got.tolist() == ids
    assert got.dtype == np.uint32


def test_a_key_keeps_its_id_and_new_keys_follow() -> None:
    previous = pa.table({"key": ["a", "b", "gone"], "zone_id": pa.array([2, 1, 9], pa.uint32())})
    assert assign_ids(chunked(["new", "b", "a", "z"]), previous=previous).tolist() == [10, 1, 2, 11]
    huge = pa.table({"key": [HUGE, HUGE + 1], "zone_id": [1, 2]})
    assert assign_ids(chunked([5, HUGE + 1]), previous=huge).tolist() == [3, 2]
    same = pa.table({"key": pa.array([4, 5], pa.int32()), "zone_id": [4, 5]})
    assert assign_ids(chunked([900, 5]), previous=same).tolist() == [900, 5]
    # An impossible id among the new keys: the others keep theirs all the same.
    assert assign_ids(chunked([0, 5]), previous=same).tolist() == [6, 5]


def test_ids_are_refused_when_keys_change_type_or_run_out() -> None:
    said = "keys are text (string), those of the last build are whole numbers (int64)"
    with says(said, "same key column"):
        assign_ids(chunked(["a"]), previous=pa.table({"key": [1], "zone_id": [1]}))
    full = pa.table({"key": ["a"], "zone_id": [2**32 - 1]})
    with says("1 new zones need ids beyond 4294967295", "build a new store"):
        assign_ids(chunked(["b"]), previous=full)


@pytest.mark.parametrize(
    ("max_id", "dtype"),
    [(0, "u1"), (255, "u1"), (256, "u2"), (65_535, "u2"), (65_536, "u4"), (2**32 - 1, "u4")],
)
def test_the_smallest_dtype_is_chosen(max_id: int, dtype: str) -> None:
    assert id_dtype(max_id) == np.dtype(dtype)


def test_an_id_beyond_uint32_is_refused() -> None:
    with says("zone id 4294967296 is outside of 0..4294967295"):
        id_dtype(2**32)
