"""Limits, labels and thresholds against pixels, as the decimals that they stand for."""

from __future__ import annotations

import operator
from collections.abc import Callable
from decimal import Decimal
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st

import zoneraster as zr
from tests.stats.samples import build, raster
from zoneraster._stats.keys import BELOW_CODE, UNLISTED_CODE
from zoneraster._stats.where import holds
from zoneraster._values import Comparison, open_raster

HOW: dict[str, Callable[[Any, Any], bool]] = {
    ">=": operator.ge, ">": operator.gt, "<=": operator.le, "<": operator.lt, "==": operator.eq,
    "!=": operator.ne,
}  # fmt: skip
DTYPES = ("uint8", "int16", "uint16", "int32", "uint32", "int64", "float32", "float64")


@pytest.fixture
def store(tmp_path: Path) -> Path:
    return build(tmp_path / "zones.zarr", np.ones((3, 3), int))


def holding(pixels: npt.NDArray[Any], how: str, value: Any) -> list[bool]:
    """Where a comparison holds, all pixels being valid."""
    bound = Comparison(zr.Raster("a"), how, value).bound(lambda _: 0)
    return holds(bound, lambda _: (pixels, np.ones(pixels.shape, bool))).tolist()  # type: ignore[no-any-return]


@given(
    st.sampled_from(DTYPES),
    st.lists(st.integers(-(2**63), 2**64) | st.integers(-3, 300), min_size=1, max_size=5),
    st.floats(allow_nan=False) | st.integers(-(2**70), 2**70) | st.sampled_from([0.5, 254.5, -1.5]),
)
def test_a_limit_is_compared_exactly_with_whole_numbers(
    dtype: str, numbers: list[int], limit: float
) -> None:
    if dtype.startswith("f"):
        return
    limits = np.iinfo(dtype)
    pixels = np.array([min(max(n, limits.min), limits.max) for n in numbers], dtype)
    for how, right in HOW.items():
        assert holding(pixels, how, limit) == [right(int(pixel), limit) for pixel in pixels]
    assert holding(pixels, "isin", [limit, 7]) == [int(p) in (limit, 7) for p in pixels]


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize(
    "kind", [float, np.float64, np.float32, np.array, lambda v: np.array(v, "f4")]
)
def test_numbers_of_numpy_are_those_of_python(dtype: str, kind: Callable[[float], Any]) -> None:
    pixels = np.array([0.1, 0.2, 0.3], dtype)
    for how, right in HOW.items():
        expected = [right(n, 2) for n in (1, 2, 3)]
        assert holding(pixels, how, kind(0.2)) == expected
    assert holding(pixels, "isin", [kind(0.1), kind(0.3)]) == [True, False, True]
    key = zr.labels("a.zarr", [kind(0.3), kind(0.1)])
    assert key.codes(pixels, None).tolist() == [1, UNLISTED_CODE, 0]
    assert [key.name_of(code) for code in (0, 1)] == [0.3, 0.1]
    reached = zr.thresholds("a.zarr", [kind(0.3), kind(0.2)])
    assert reached.codes(pixels, None).tolist() == [BELOW_CODE, 0, 1]


def test_a_number_of_numpy_may_stand_on_the_left() -> None:
    tcd = zr.Raster("tcd.zarr")
    for number in (np.float64(30), np.int16(30), np.array(30)):
        assert repr(number <= tcd) == repr(tcd >= 30).replace("30", repr(number.item()))
    assert repr(tcd == np.True_) == "tcd.zarr == True"


def test_labels_and_thresholds_of_64_bits_are_exact() -> None:
    pixels = np.array([2**62, 2**62 + 1, -(2**63), 2**63 - 1], "int64")
    key = zr.labels("a.zarr", [2**62 + 1, 0.5, 2**63 - 1, 1e300, -(2**63)])
    assert key.codes(pixels, None).tolist() == [UNLISTED_CODE, 0, 4, 2]
    reached = zr.thresholds("a.zarr", [2**62 + 1, 2.5, 1e300])
    assert reached.codes(pixels, None).tolist() == [0, 1, BELOW_CODE, 1]


@pytest.mark.parametrize(
    ("scale", "offset", "dtype"),
    [
        (0.1, 0.0, "uint8"), (0.1, 0.0, "float32"), (0.01, -273.15, "int16"),
        (0.0001, 0.0, "int32"),
        (0.02, -273.15, "uint16"), (np.float32(0.01), 0.0, "int16"),
        (np.float32(0.1), np.float32(0.3), "int16"), (0.05, -1e-9, "float64"),
    ],
)  # fmt: skip
def test_packed_pixels_are_the_decimals_that_they_stand_for(
    scale: float, offset: float, dtype: str
) -> None:
    stored = np.arange(1, 10).reshape(3, 3)
    exact = [
        float(int(n) * Fraction(Decimal(str(scale))) + Fraction(Decimal(str(offset))))
        for n in stored.ravel()
    ]
    packed = open_raster(raster(stored, dtype=dtype, scale_factor=scale, add_offset=offset))
    pixels = packed.read((), zr.Window(0, 3, 0, 3)).ravel()
    assert pixels.tolist() == exact
    for how, right in HOW.items():
        assert holding(pixels, how, exact[2]) == [right(n, 3) for n in range(1, 10)]
    key = zr.labels("a.zarr", exact[::-1])
    assert key.codes(pixels, None).tolist() == list(range(9))[::-1]


@pytest.mark.slow
@given(
    st.integers(-(2**31), 2**31 - 1), st.integers(1, 10**6), st.integers(0, 9),
    st.integers(-(10**6), 10**6), st.integers(0, 4),
)  # fmt: skip
def test_unpacked_values_are_the_nearest_floats(
    stored: int, digits: int, places: int, shift: int, shift_places: int
) -> None:
    scale, offset = Decimal(digits).scaleb(-places), Decimal(shift).scaleb(-shift_places)
    packed = raster(
        np.full((1, 1), stored), zr.Grid.from_bounds((0, 0, 1, 1), 1), dtype="int32",
        scale_factor=float(scale), add_offset=float(offset),
    )  # fmt: skip
    found = float(open_raster(packed).read((), zr.Window(0, 1, 0, 1))[0, 0])
    exact = stored * Fraction(scale) + Fraction(offset)
    if abs(stored) * digits * 10**4 < 2**52:
        assert found == float(exact)
    else:
        assert found == pytest.approx(float(exact), rel=1e-15, abs=float(abs(offset)) * 1e-15)


@pytest.mark.slow
def test_classes_have_short_names(store: Path) -> None:
    tenths = raster(np.arange(1, 10).reshape(3, 3), dtype="uint8", scale_factor=0.1)
    table = zr.zonal_stats(store, tenths, stats="histogram", where=zr.Raster(tenths) <= 0.3)
    assert list(table.columns) == ["histogram_0.1", "histogram_0.2", "histogram_0.3"]
    values = raster(np.arange(9).reshape(3, 3) / 10, dtype="float32")
    table = zr.zonal_stats(store, values, stats="histogram")
    assert list(table.columns) == ["histogram_0", *(f"histogram_0.{n}" for n in range(1, 9))]
    near = np.nextafter(np.float32(0.3), np.float32(1))
    values = raster([[0.3, near, 1e10], [0.3, near, -2], [0.5, 0.5, 0.5]], dtype="float32")
    table = zr.zonal_stats(store, values, stats="histogram")
    assert table["histogram_0.3"].iloc[0] == 2
    assert table[f"histogram_{near!s}"].iloc[0] == 2
    assert table["histogram_10000000000"].iloc[0] == 1
