"""What an array says of its numbers: its own attributes, and those left from another."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import rasterio
import rasterio.shutil
import rioxarray
import xarray as xr

from tests.values import samples
from tests.values.samples import every, pixels, write_tif
from zoneraster._values.attributes import is_improbable
from zoneraster._values.open import open_raster
from zoneraster._values.raster import Raster
from zoneraster.errors import ValuesError, ZonerasterWarning


def array(source: npt.NDArray[Any] | None = None, **attrs: object) -> xr.DataArray:
    """An array of one lane with attributes, as if it had been opened."""
    return samples.array(pixels() if source is None else source, **attrs)


@pytest.fixture
def opened(tmp_path: Path) -> xr.DataArray:
    """A packed GeoTIFF with nodata 0, as rioxarray opens it."""
    path = write_tif(tmp_path / "dn.tif", pixels(dtype="uint16"), nodata=0)
    with rasterio.open(path, "r+") as file:
        file.scales, file.offsets = (0.02,), (-5.0,)
    return rioxarray.open_rasterio(path).squeeze(drop=True)


def values(given: object) -> npt.NDArray[Any]:
    """Values of a raster, NaN where there is none."""
    one = open_raster(given)  # type: ignore[arg-type]
    found = every(one).astype(np.float64)
    return found if one.nodata is None else np.where(found == one.nodata, np.nan, found)


@pytest.fixture(autouse=True)
def kept() -> Any:
    """Operations keep attributes, as they do by default from xarray 2025.11 on."""
    with xr.set_options(keep_attrs=True):
        yield


def test_what_an_opened_array_says_is_believed_in_silence(opened: xr.DataArray) -> None:
    source = pixels(dtype="uint16")
    expected = np.where(source == 0, np.nan, source * 0.02 - 5)
    with warnings.catch_warnings():
        warnings.simplefilter("error", ZonerasterWarning)
        for given in (
            opened,
            opened.isel(x=slice(None)),
            opened.copy(),
            opened.transpose("x", "y"),
        ):
            assert np.allclose(values(given), expected, rtol=1e-14, atol=0, equal_nan=True)


@pytest.mark.parametrize(
    "condition",
    [
        lambda a: a == 3, lambda a: (a > 3) & (a < 50), lambda a: ~(a > 3),
        lambda a: a.isin([1, 2]), lambda a: a.notnull(),
    ],
)  # fmt: skip
def test_a_condition_has_neither_nodata_nor_scale(
    opened: xr.DataArray, condition: Callable[[xr.DataArray], xr.DataArray]
) -> None:
    made = condition(opened)
    assert made.dtype == bool
    with warnings.catch_warnings():
        warnings.simplefilter("error", ZonerasterWarning)
        assert np.array_equal(values(made), made.values.astype(float))


@pytest.mark.parametrize(
    "computed",
    [
        lambda a: a * 0.02 - 273.15, lambda a: (a - a.mean()) / (a + 1.0), np.sqrt,
        lambda a: a.astype("float32"), lambda a: a.astype("float64").clip(1, 5), lambda a: -a / 2,
        lambda a: a.astype("int32") - 50, lambda a: a.astype("int8"),
    ],
)  # fmt: skip
def test_attributes_of_another_dtype_are_ignored_and_named(
    opened: xr.DataArray, computed: Callable[[xr.DataArray], xr.DataArray]
) -> None:
    made = computed(opened).drop_vars("spatial_ref").assign_coords(opened.coords)
    if made.dtype.kind == "i":
        made.attrs |= {"scale_factor": 1.0, "add_offset": 0.0}
    with pytest.warns(ZonerasterWarning) as told:
        assert np.array_equal(values(made), made.values.astype(float), equal_nan=True)
    said = " ".join(str(one.message) for one in told)
    assert "_FillValue" in said
    assert "is ignored, as it is uint16" in said
    assert ("scale_factor=0.02" in said) == (made.dtype.kind == "f")


def test_attributes_of_the_right_dtype_are_applied_to_a_computed_array_and_named(
    opened: xr.DataArray,
) -> None:
    made = opened + np.uint16(0)
    with pytest.warns(ZonerasterWarning) as told:
        assert np.array_equal(values(made), values(opened), equal_nan=True)
    (said,) = (str(one.message) for one in told)
    for part in (
        "_FillValue=0",
        "scale_factor=0.02",
        "add_offset=-5.0",
        "drop_attrs(deep=False)",
        "raw=True",
    ):
        assert part in said
    with warnings.catch_warnings():
        warnings.simplefilter("error", ZonerasterWarning)
        # Both cures, and the two ways to say that they are its own.
        bare = made.drop_attrs(deep=False)
        assert np.array_equal(values(bare), made.values)
        own = Raster(made, nodata=float("nan"), raw=True)
        assert np.array_equal(values(own), made.values)
        own = Raster(made, nodata=0, raw=True)
        assert np.array_equal(values(own), np.where(made == 0, np.nan, made), equal_nan=True)


def test_what_write_crs_adds_does_not_make_an_array_an_opened_one(opened: xr.DataArray) -> None:
    made = (opened * 0.5).rio.write_crs(3857, inplace=False)
    assert "grid_mapping" in made.encoding
    with pytest.warns(ZonerasterWarning, match="scale_factor=0.02 is ignored"):
        open_raster(Raster(made, crs=4326))


def test_a_condition_as_numbers_keeps_its_zeros(opened: xr.DataArray) -> None:
    made = (opened > 40).astype("uint16").assign_attrs(scale_factor=1.0, add_offset=0.0)
    with pytest.warns(ZonerasterWarning, match="_FillValue.* ignored, as .* nothing but 0 and 1"):
        assert np.array_equal(values(made), made.values)
    with warnings.catch_warnings():
        warnings.simplefilter("error", ZonerasterWarning)
        assert np.nanmin(values(Raster(made, nodata=0))) == 1


def test_attributes_of_an_array_made_by_hand_are_applied() -> None:
    given = (array() * 1.0).assign_attrs(nodata=7)
    with pytest.warns(ZonerasterWarning, match="made or computed, and carries nodata=7: applied"):
        assert np.isnan(values(given)).sum() == (pixels() == 7).sum()


@pytest.mark.parametrize(
    "name",
    ["_FillValue", "missing_value", "fill_value", "nodata", "nodatavals", "NODATA", "NoData_Value"],
)
@pytest.mark.parametrize("value", [7, [7], (7.0,), "7", np.int16(7), np.array([7], "int16")])
def test_nodata_is_known_by_many_names_and_types(name: str, value: object) -> None:
    assert open_raster(array(**{name: value})).nodata == 7


def test_all_nodata_values_count() -> None:
    source = pixels()
    right = np.where(np.isin(source, [7, 8, 9]), np.nan, source)
    for given in (
        array(missing_value=np.array([7, 8, 9], "int16")), array(missing_value="7, 8 9"),
        array(_FillValue=7, missing_value=[9, 8]),
        array(_FillValue=7, nodata=8, NODATA="9"), Raster(array(_FillValue=7), nodata=[8, 9]),
        Raster(array(missing_value=[7, 9]), nodata=np.int64(8)), Raster(array(), nodata={7, 8, 9}),
        Raster(array(_FillValue=3), nodata=np.array([7, 8, np.nan, 9])),
    ):  # fmt: skip
        assert np.array_equal(values(given), right, equal_nan=True)
    packed = array(missing_value=[7, 8, 9], scale_factor=0.5)
    assert np.array_equal(values(packed), right / 2, equal_nan=True)
    floats = array(source.astype("float32"), missing_value=[7, 8], nodata=9)
    assert np.array_equal(values(floats), right, equal_nan=True)
    assert np.array_equal(source, pixels())


def test_nan_among_nodata_takes_the_place_of_what_is_declared() -> None:
    given = array(_FillValue=7, valid_min=3)
    assert open_raster(Raster(given, nodata=np.nan)).nodata is None
    assert open_raster(Raster(given, nodata=[np.nan, 9])).nodata == 9


@pytest.mark.parametrize("value", ["-9999", "none", [1, "2"], {"a": 1}, object()])
def test_nodata_that_is_no_number_is_refused(value: Any) -> None:
    with pytest.raises(ValuesError, match="must be a number in stored units, or several"):
        Raster(array(), nodata=value)


def test_nodata_and_scales_of_bands_that_differ_are_refused() -> None:
    cube = xr.concat([array(), array()], "band").assign_attrs(nodatavals=(3, 4), scales=(0.5, 0.1))
    cube.encoding = {"dtype": cube.dtype}
    with pytest.raises(ValuesError, match=r"its bands differ in nodatavals \(3, 4\): choose one"):
        open_raster(cube)
    chosen = open_raster(Raster(cube.assign_coords(band=[1, 2]), band=2))
    assert (chosen.decoding.nodata, chosen.decoding.scale) == (4, 0.1)


# ---- valid ranges, _Unsigned -------------------------------------------------------------------


@pytest.mark.parametrize("dtype", ["uint8", "int16", "uint32", "int64", "float32", "float64"])
def test_pixels_out_of_the_valid_range_are_nodata(dtype: str) -> None:
    source = pixels(dtype=dtype)
    for attrs, low, high in (
        ({"valid_range": [20, 80]}, 20, 80), ({"valid_min": 20.0}, 20, 99),
        ({"valid_max": np.array(80, dtype)}, 0, 80), ({"valid_range": "{20,80}"}, 20, 80),
        ({"valid_min": 20, "valid_max": 80, "_FillValue": 50}, 20, 80),
    ):  # fmt: skip
        is_valid = (source >= low) & (source <= high) & (source != attrs.get("_FillValue", -1))
        expected = np.where(is_valid, source.astype(float), np.nan)
        assert np.array_equal(values(array(source, **attrs)), expected, equal_nan=True)


def test_a_valid_range_of_packed_integers_is_packed_unless_it_is_of_floats() -> None:
    source = pixels()
    kept = np.where((source >= 20) & (source <= 80), source * 0.5 + 1, np.nan)
    packing = {"scale_factor": 0.5, "add_offset": 1.0}
    given = array(valid_range=np.array([20, 80], "int16"), **packing)
    assert np.array_equal(values(given), kept, equal_nan=True)
    with pytest.warns(ZonerasterWarning, match="in units of the unpacked values"):
        found = values(array(valid_range=[11.0, 41.0], **packing))
    assert np.array_equal(found, kept, equal_nan=True)
    with pytest.warns(ZonerasterWarning, match="in units of the unpacked values"):
        found = values(array(valid_min=-40.0, scale_factor=-0.5))
    kept = np.where(source <= 80, source * -0.5, np.nan)
    assert np.array_equal(found, kept, equal_nan=True)


def test_a_valid_range_that_cannot_be_is_ignored_and_named() -> None:
    for attrs, why in (
        ({"valid_range": "0 to 100"}, "not two numbers"), ({"valid_min": [1, 2]}, "not one number"),
        ({"valid_range": [50, 2]}, "holds nothing"),
    ):  # fmt: skip
        with pytest.warns(ZonerasterWarning, match=why):
            assert np.array_equal(values(array(**attrs)), pixels())


@pytest.mark.parametrize("size", [1, 2, 4])
@pytest.mark.parametrize("order", ["<", ">"])
def test_integers_are_taken_with_or_without_a_sign_as_unsigned_says(size: int, order: str) -> None:
    signed = pixels(dtype=f"i{size}") - 50
    with_sign = signed.astype(f"{order}i{size}")
    without = signed.astype(f"u{size}").astype(f"{order}u{size}")
    for stored, attrs in (
        (with_sign, {"_Unsigned": "true", "_FillValue": -1}),
        (with_sign, {"_Unsigned": "True", "_FillValue": 2 ** (8 * size) - 1}),
        (without, {"_Unsigned": "false", "_FillValue": -1}),
        (without, {"_Unsigned": "true"}),
    ):
        given = array(stored, **attrs)
        if attrs["_Unsigned"] == "false":
            expected = np.where(signed == -1, np.nan, signed)
        else:
            expected = signed.astype(f"u{size}").astype(float)
            if "_FillValue" in attrs:
                expected[signed == -1] = np.nan
        assert np.array_equal(values(given), expected, equal_nan=True)


def test_unsigned_floats_are_named() -> None:
    with pytest.warns(ZonerasterWarning, match="_Unsigned='true' is ignored"):
        open_raster(array(pixels(dtype="float32"), _Unsigned="true"))


# ---- 64-bit integers, last digits --------------------------------------------------------------


@pytest.mark.parametrize("dtype", ["int64", "uint64"])
@pytest.mark.parametrize("nodata", [2**63 - 1, 2**53 + 1, -(2**63), 2**64 - 1, 2**63 + 1, 9])
def test_nodata_of_64_bit_integers_has_all_its_digits(
    tmp_path: Path, dtype: str, nodata: int
) -> None:
    if not np.iinfo(dtype).min <= nodata <= np.iinfo(dtype).max:
        return
    source = pixels(dtype=dtype)
    source[3, 4], source[5, 6], source[7, 8] = nodata, 2**53, 2**63 - 2
    plain = write_tif(tmp_path / "plain.tif", source)
    path = str(tmp_path / "a.tif")
    vrt = tmp_path / "a.vrt"
    rasterio.shutil.copy(plain, vrt, driver="VRT")
    text = vrt.read_text()
    where = text.index(">", text.index("<VRTRasterBand")) + 1
    vrt.write_text(f"{text[:where]}<NoDataValue>{nodata}</NoDataValue>{text[where:]}")
    rasterio.shutil.copy(vrt, path, driver="GTiff")
    for given in (path, array(source, _FillValue=nodata), Raster(plain, nodata=nodata)):
        one = open_raster(given)
        found = every(one)
        assert found.dtype == np.int64
        assert np.array_equal(found == one.nodata, source == nodata)
        assert np.array_equal(found[source != nodata], source[source != nodata].astype("int64"))


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("nodata", [-9999.0, 1e20, -3.4028234663852886e38, 0.1, 0.0, -32768.0])
def test_what_gdal_masks_is_masked(tmp_path: Path, dtype: str, nodata: float) -> None:
    # Near the greatest float32 GDAL's sums overflow, and it masks more.
    reach = 4e-7 if nodata < -1e38 and dtype == "float32" else 1e-6
    steps = np.linspace(0 if reach < 1e-6 else -reach, reach, 40 * 60).reshape(40, 60)
    source = (nodata * (1 - steps)).astype(dtype)
    path = write_tif(tmp_path / "a.tif", source, nodata=nodata)
    with rasterio.open(path) as file:
        masked = file.read_masks(1) == 0
    for given in (path, array(source, _FillValue=nodata), Raster(array(source), nodata=nodata)):
        assert np.array_equal(np.isnan(values(given)), masked)


def test_fill_values_that_no_measurement_has() -> None:
    for value, dtype in ((-9999, "f4"), (np.inf, "f8"), (1e20, "f4"), (-32768, "i2"), (255, "u1")):
        assert is_improbable(value, np.dtype(dtype))
    for value, dtype in ((0, "f4"), (100, "f4"), (0, "u1"), (1, "i2"), (-1, "i2"), (255, "i2")):
        assert not is_improbable(value, np.dtype(dtype))
