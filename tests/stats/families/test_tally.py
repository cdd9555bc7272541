"""Values counted by slot against plain Python, on arrays of a few pixels."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.stats.runs import random_zones, slots_of, table
from zoneraster._stats.families.tally import tally

few = settings(max_examples=25)


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
    nodata = (values.dtype.type(2), True)
    runs, into = (ptr, begin, slot, 40), (np.zeros(0, np.int64), *table())
    counts, _, pairs, m = tally(
        runs, (values, bits), (1, 2, k), nodata, (0, is_float, top), skip, into
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
    # The same with four bits left out below.
    into = (np.zeros(0, np.int64), *table())
    counts, _, pairs, m = tally(
        runs, (values, bits), (1, 2, k), nodata, (4, is_float, top), skip, into
    )
    coarse: dict[tuple[int, int], int] = {}
    for (zone, value), t in expected.items():
        coarse[zone, code(value) >> 4] = coarse.get((zone, code(value) >> 4), 0) + t
    assert coarse == {
        (int(entries[g, 1]), int(c)): int(t) for (g, c), t in zip(pairs[:m], counts, strict=False)
    }
