"""Dtypes, nodata, scale and offset, whatever a raster is made of."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import rasterio

from tests.values.samples import (
    array,
    check_reading,
    every,
    pixels,
    write_tif,
    write_zarr,
)
from zoneraster._values.open import open_raster
from zoneraster._values.raster import Raster
from zoneraster.errors import ValuesError


@pytest.mark.slow
def test_scale_and_offset_are_applied_and_nodata_becomes_nan(tmp_path: Path) -> None:
    source = pixels()
    expected = np.where(source == 7, np.nan, source * 0.5 + 3)
    packed = array(source, scale_factor=0.5, add_offset=3.0, missing_value=7)
    zarr = write_zarr(tmp_path / "a.zarr", packed.to_dataset().reset_coords("spatial_ref"))
    tif = write_tif(tmp_path / "a.tif", source, nodata=7)
    with rasterio.open(tif, "r+") as file:
        file.scales, file.offsets, file.units = (0.5,), (3.0,), ("m",)
    assert open_raster(tif).units == "m"
    for given in (packed, packed.chunk(), zarr, tif):
        opened = open_raster(given)
        assert (opened.dtype, opened.nodata) == (np.float64, None)
        check_reading(opened, expected)
        raw = open_raster(Raster(given, raw=True))
        assert (raw.dtype, raw.nodata) == (np.int16, 7)
        check_reading(raw, source)


@pytest.mark.parametrize(
    ("given", "read"),
    [
        ("bool", "u1"), ("int8", "i2"), ("uint8", "u1"), (">i4", "i4"), ("uint32", "u4"),
        ("uint64", "i8"), ("int64", "i8"), ("float16", "f4"), (">f8", "f8"), ("float32", "f4"),
    ],
)  # fmt: skip
def test_dtypes_become_those_of_the_reductions(given: str, read: str) -> None:
    source = (pixels() % 2).astype(given)
    opened = open_raster(array(source))
    assert opened.dtype == np.dtype(read)
    assert opened.dtype.isnative
    check_reading(opened, source.astype(read))


def test_uint64_has_nodata_beyond_int64_but_no_values_there() -> None:
    source = pixels(dtype="uint64")
    source[0, 0] = 2**64 - 1
    opened = open_raster(array(source, _FillValue=2**64 - 1))
    assert opened.nodata == -1
    assert every(opened)[0, 0] == -1
    assert every(opened)[1, 1] == source[1, 1]
    with pytest.raises(ValuesError, match="value 18446744073709551615 does not fit int64"):
        every(open_raster(array(source)))


@pytest.mark.parametrize(
    ("dtype", "nodata", "expected"),
    [
        ("uint8", -9999, None), ("uint8", 7.5, None), ("uint8", np.inf, None), ("uint8", 255, 255),
        ("float32", 0.1, float(np.float32(0.1))), ("float32", 1e300, None),
        ("float32", np.nan, None),
        ("float64", -np.inf, -np.inf), ("bool", 2, None), ("int64", -(2**63), -(2**63)),
    ],
)  # fmt: skip
def test_nodata_that_no_pixel_can_hold_is_none(
    dtype: str, nodata: float, expected: float | None
) -> None:
    assert open_raster(Raster(array(pixels(dtype=dtype)), nodata=nodata)).nodata == expected
    assert open_raster(array(pixels(dtype=dtype), _FillValue=nodata)).nodata == expected


@pytest.mark.parametrize(
    ("values", "cure"),
    [
        (pixels().astype("complex64"), "its real part"),
        (pixels().astype("datetime64[ns]"), r"np.timedelta64\(1, 'D'\)"),
        (pixels().astype("timedelta64[ns]"), "array / np.timedelta64"),
        (pixels().astype(str), r"astype\('float32'\)"),
        (pixels().astype(object), r"astype\('float32'\)"),
    ],
)
def test_what_is_no_number_is_refused_with_the_cure(values: npt.NDArray[Any], cure: str) -> None:
    with pytest.raises(ValuesError, match=f"DataArray 'tcd' holds .*cannot be reduced.*{cure}"):
        open_raster(array(values))


def test_attributes_that_cannot_be_are_refused() -> None:
    with pytest.raises(ValuesError, match="attribute _FillValue='none' is not a number"):
        open_raster(array(_FillValue="none"))
    with pytest.raises(ValuesError, match="unknown CRS 'EPSG:1'"):
        open_raster(Raster(array(), crs="EPSG:1"))
    assert open_raster(array(_FillValue="7", missing_value=[7])).nodata == 7
