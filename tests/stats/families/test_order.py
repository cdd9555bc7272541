"""Order statistics from counts, against NumPy to the last bit."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from zoneraster._stats.families.order import quantile
from zoneraster._stats.families.rows import Lists


def counts_of_values(values: list[float]) -> Lists:
    """Counts of float64 values, all in one row."""
    bits = np.unique(np.array(values) + 0.0).view(np.int64)
    codes = np.where(bits < 0, bits ^ (2**63 - 1), bits)
    found = np.unique(np.array(values) + 0.0, return_counts=True)[1]
    order = np.argsort(codes)
    return Lists(np.array([0, codes.size]), (codes[order], found[order]))


# Each is another number when it is rounded from the other side.
@pytest.mark.parametrize(
    ("values", "q"), [([0.1, 0.3], 0.9), ([0.7, 1.9], 0.7), ([0.1, 0.3], 0.1), ([0.1, 0.7], 0.2)]
)
def test_quantiles_are_rounded_from_the_nearer_side_as_numpy_does(
    values: list[float], q: float
) -> None:
    a, b = values
    assert a + (b - a) * q != b - (b - a) * (1 - q)
    found = quantile(counts_of_values(values), q, np.dtype("float64"))
    assert found.tolist() == [np.quantile(values, q)]


@given(
    st.lists(st.floats(-1e9, 1e9), min_size=1, max_size=20),
    st.floats(0, 1),
)
def test_quantiles_are_those_of_numpy_to_the_last_bit(values: list[float], q: float) -> None:
    found = quantile(counts_of_values(values), q, np.dtype("float64"))
    wanted = np.median(values) if q == 0.5 else np.quantile(values, q)
    assert found.tolist() == [wanted]
