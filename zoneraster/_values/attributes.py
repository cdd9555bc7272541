"""What an array says of its numbers, and what of it is believed.

Attributes outlive what they were said of: xarray keeps them through every operation, so that a
condition or a difference still carries the nodata and the scale of what it was computed from. What
an opened array says is believed; on others, what cannot be their own is ignored and what can be is
applied, and both are told.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any, TypeAlias

import numpy as np

from zoneraster._values.numbers import Number, decimal_of, plain_number
from zoneraster._values.raster import Raster
from zoneraster.errors import ValuesError

DType: TypeAlias = np.dtype[Any]
Attributes: TypeAlias = Mapping[Any, Any]

# Those of CF, rioxarray, GDAL and datashader, in small letters.
NODATA_NAMES = (
    "_fillvalue", "missing_value", "fill_value", "nodata", "nodatavals", "nodata_value",
    "nodatavalue", "no_data", "no_data_value",
)  # fmt: skip
_RANGE_NAMES = ("valid_range", "valid_min", "valid_max")
# What an array has in its encoding that was opened. `grid_mapping` and `_FillValue` are written
# into it by hand, too.
_OF_OPENED = ("source", "rasterio_dtype", "preferred_chunks", "chunks", "dtype", "original_shape")
_NINES = {-float("9" * n) for n in range(2, 10)} | {-9999.9, -999.9}
_EXTREMES = {-32767.0, -32768.0, -2147483647.0, -2147483648.0, 65535.0}


@dataclass(frozen=True, slots=True)
class Said:
    """What a raster says of its numbers.

    Parameters
    ----------
    nodata : tuple of numbers
        Values that mean "no value", as they are stored.
    scale, offset : float
        ``value = stored * scale + offset``.
    low, high : number or None
        Least and greatest valid number, as they are stored.
    dtype : numpy.dtype or None
        What stored integers are to be taken for: with a sign, or without one.
    remarks : tuple of str
        What is assumed or ignored, for warnings.
    fill : number or None
        What chunks of a Zarr array hold that were never written; None for NaN too, which is no
        value anyway.
    """

    nodata: tuple[Number, ...] = ()
    scale: float = 1.0
    offset: float = 0.0
    low: Number | Fraction | None = None
    high: Number | Fraction | None = None
    dtype: DType | None = None
    remarks: tuple[str, ...] = ()
    fill: Number | None = None


def said_of(
    attributes: Attributes,
    encoding: Attributes,
    dtype: DType,
    asked: Raster,
    label: str,
    is_condition: Callable[[], bool] = lambda: False,
) -> Said:
    """What an array says of its numbers.

    Parameters
    ----------
    attributes, encoding : mapping
        As xarray has them.
    dtype : numpy.dtype
        As stored.
    asked : Raster
        Its `nodata` and `raw` go before what is said.
    label : str
        For errors and remarks.
    is_condition : callable
        Whether the array holds nothing but 0 and 1; called where that decides.

    Raises
    ------
    ValuesError
        For nodata, a scale or an offset that are no numbers, and for bands that differ in them.
    """
    if dtype.kind not in "iuf":  # a condition has neither nodata nor scale
        return Said(asked.asked_nodata or ())
    is_opened = any(encoding.get(name) is not None for name in _OF_OPENED)
    reader = _Reader(attributes, dtype, asked, label, is_opened)
    viewed = reader.viewed()
    nodata = reader.nodata(encoding, is_condition)
    scale, offset = reader.scaling()
    low, high = reader.valid_range(scale, offset)
    reader.tell_applied()
    turned = [_turned(value, viewed) for value in nodata]
    if asked.raw:
        scale, offset = 1.0, 0.0
    low, high = _turned(low, viewed), _turned(high, viewed)
    remarks, fill = tuple(reader.remarks), _fill_of(attributes, encoding)
    return Said(tuple(turned), scale, offset, low, high, viewed, remarks, fill)


def _fill_of(attributes: Attributes, encoding: Attributes) -> Number | None:
    """The fill value of a Zarr array: xarray has it in format 2 as an attribute."""
    is_v2 = "compressors" in encoding and "serializer" not in encoding
    fill = plain_number(attributes.get("_FillValue") if is_v2 else encoding.get("fill_value"))
    return fill if isinstance(fill, int | float) and fill == fill else None


@dataclass(slots=True)
class _Reader:
    """Reads the attributes of one array and keeps what there is to remark."""

    attributes: Attributes
    dtype: DType
    asked: Raster
    label: str
    is_opened: bool
    remarks: list[str] = field(default_factory=list)
    # Attributes of a computed array that are taken for its own.
    applied: list[str] = field(default_factory=list)

    def _ignore(self, name: str, why: str) -> None:
        self.remarks.append(
            f"{self.label}: attribute {name}={self.attributes[name]!r} is ignored, {why}; "
            "array.drop_attrs(deep=False) ends this warning"
        )

    def _believed(self, name: str) -> tuple[Number, ...]:
        """Numbers of an attribute, but for what a computed array has left from another."""
        value = self.attributes.get(name)
        try:
            numbers = _numbers(value)
        except ValueError as err:
            raise ValuesError(
                f"{self.label}: attribute {name}={value!r} is not a number: correct it, or drop it "
                "with array.drop_attrs(deep=False) and give zr.Raster(array, nodata=...)"
            ) from err
        of = getattr(value, "dtype", None)
        if self.is_opened or of is None or of.kind not in "iuf" or of == self.dtype:
            return numbers
        if any(number == number for number in numbers):
            self._ignore(
                name, f"as it is {of} and the array {self.dtype}: left from what it was made of"
            )
        return ()

    def viewed(self) -> DType | None:
        """The dtype that `_Unsigned` says, where it is another one."""
        text = str(self.attributes.get("_Unsigned", "")).strip().lower()
        if text not in ("true", "false"):
            return None
        if self.dtype.kind == "f":
            self._ignore("_Unsigned", f"as it is for whole numbers and the array is {self.dtype}")
            return None
        kind = "u" if text == "true" else "i"
        if kind == self.dtype.kind:
            return None
        if not self.is_opened:
            self.applied.append(f"_Unsigned={text}")
        return np.dtype(f"{kind}{self.dtype.itemsize}")

    # ---- nodata

    def nodata(self, encoding: Attributes, is_condition: Callable[[], bool]) -> list[Number]:
        """Nodata values: those declared and those asked for."""
        asked = self.asked.asked_nodata
        if asked is not None and any(value != value for value in asked):
            return [value for value in asked if value == value]
        names = [name for name in self.attributes if str(name).lower() in NODATA_NAMES]
        declared: dict[Number, str] = {}
        for name in names:
            believed = self._believed(name)
            if str(name).lower() == "nodatavals":
                believed = self._of_band(name, believed)
            declared |= {value: str(name) for value in believed if value == value}
        declared = self._filled(declared, names, encoding)
        if asked is None:
            zero = not self.is_opened and self.dtype.kind in "iu" and set(declared) == {0}
            if zero and is_condition():
                self._ignore(
                    declared[0], "as the array was computed and holds nothing but 0 and 1; "
                    "zr.Raster(array, nodata=0) applies it"
                )  # fmt: skip
                declared = {}
        if not self.is_opened:
            self.applied += [
                f"{name}={value}"
                for value, name in declared.items()
                if value not in (asked or ()) and _can_hold(self.dtype, value)
            ]
        return list(dict.fromkeys([*declared, *(asked or ())]))

    def _filled(
        self, declared: dict[Number, str], names: list[Any], encoding: Attributes
    ) -> dict[Number, str]:
        """Nodata values with what the fill value of a Zarr array makes of them.

        It is what chunks hold that were never written, and need not mean "no value"; xarray takes
        it for nodata in format 2 and not in format 3.
        """
        is_gdals = "_CRS" in self.attributes  # GDAL writes nodata nowhere else
        is_v2 = "compressors" in encoding and "serializer" not in encoding
        if is_v2 and self.dtype.kind == "f" and set(declared) == {0} and names == ["_FillValue"]:
            if is_gdals or self.asked.asked_nodata is not None:
                return declared if is_gdals else {}
            self.remarks.append(
                f"{self.label}: are zeros values? The array has fill_value=0, which Zarr writes by "
                "itself, and no other nodata: they are taken for values; zr.Raster(..., nodata=0) "
                "makes them nodata, zr.Raster(..., nodata=float('nan')) ends this warning"
            )
            return {}
        fill = plain_number(encoding.get("fill_value"))
        if declared or not isinstance(fill, int | float) or fill != fill:
            return declared
        if is_gdals and fill != 0:
            return {fill: "fill_value"}
        if not is_improbable(fill, self.dtype) or fill in (self.asked.asked_nodata or ()):
            return declared
        self.remarks.append(
            f"{self.label}: is {fill} a value? The Zarr array has fill_value={fill} and declares "
            f"no nodata: it is taken for nodata; zr.Raster(..., nodata={fill}) ends this warning, "
            "zr.Raster(..., nodata=float('nan')) makes it a value"
        )
        return {fill: "fill_value"}

    def _of_band(self, name: str, numbers: tuple[Number, ...]) -> tuple[Number, ...]:
        """What an attribute with a number for each band says of the one that is read."""
        if len({repr(number) for number in numbers}) < 2:
            return numbers[:1]
        if self.asked.band is not None and 0 < self.asked.band <= len(numbers):
            return (numbers[self.asked.band - 1],)
        raise ValuesError(
            f"{self.label}: its bands differ in {name} {numbers}: choose one, zr.Raster(..., "
            "band=1), or give several rasters"
        )

    # ---- scale and valid range

    def scaling(self) -> tuple[float, float]:
        """Scale and offset, 1 and 0 where there are none."""
        found = []
        for name, of_bands, none in (
            ("scale_factor", "scales", 1.0),
            ("add_offset", "offsets", 0.0),
        ):
            name = name if name in self.attributes else of_bands
            value = self.attributes.get(name)
            try:
                numbers = self._of_band(name, _numbers(value))
            except ValueError as err:
                if isinstance(err, ValuesError):
                    raise
                raise ValuesError(
                    f"{self.label}: attribute {name}={value!r} is not a number: correct it, or "
                    "drop it with array.drop_attrs(deep=False)"
                ) from err
            number = float(decimal_of(numbers[0])) if numbers else none
            if not self.is_opened and number != none and not self.asked.raw:
                if self.dtype.kind == "f":
                    self._ignore(
                        name, f"as it is for packed whole numbers and the array is {self.dtype}: "
                        "left from what it was made of"
                    )  # fmt: skip
                    number = none
                else:
                    self.applied.append(f"{name}={number}")
            found.append(number)
        return found[0], found[1]

    def valid_range(
        self, scale: float, offset: float
    ) -> tuple[Number | Fraction | None, Number | Fraction | None]:
        """Least and greatest valid number, in stored units."""
        asked = self.asked.asked_nodata
        if asked is not None and any(value != value for value in asked):
            return None, None
        ends: list[Number | Fraction | None] = [None, None]
        for at, name in enumerate(_RANGE_NAMES):
            if self.attributes.get(name) is None:
                continue
            try:
                numbers = _numbers(self.attributes[name])
            except ValueError:
                numbers = ()
            if len(numbers) != (1 if at else 2):
                self._ignore(name, f"as it is not {'one number' if at else 'two numbers'}")
                continue
            if not self._believed(name):
                continue
            stored = self._packed(name, numbers, scale, offset)
            is_turned = scale < 0 and stored != numbers
            for number, end in zip(stored, (0, 1) if not at else (at - 1,), strict=True):
                ends[1 - end if is_turned else end] = number
            if not self.is_opened:
                self.applied.append(f"{name}={self.attributes[name]}")
        low, high = (None if end is None or end != end else end for end in ends)
        if low is not None and high is not None and low > high:
            self.remarks.append(
                f"{self.label}: its valid range, {low} to {high}, holds nothing and is ignored"
            )
            return None, None
        return low, high

    def _packed(
        self, name: str, numbers: tuple[Number, ...], scale: float, offset: float
    ) -> tuple[Number | Fraction, ...]:
        """A range in stored units; of packed integers, floats are in units of the values."""
        is_float = any(isinstance(number, float) for number in numbers)
        packed = (scale, offset) != (1.0, 0.0) and self.dtype.kind in "iu" and scale != 0
        if not packed or not is_float or not all(map(np.isfinite, numbers)):
            return numbers
        self.remarks.append(
            f"{self.label}: {name}={self.attributes[name]} is of floats and the array of packed "
            f"{self.dtype}: it is taken in units of the unpacked values"
        )
        factor, shift = Fraction(decimal_of(scale)), Fraction(decimal_of(offset))
        return tuple((Fraction(repr(float(number))) - shift) / factor for number in numbers)

    def tell_applied(self) -> None:
        """Remark what a computed array is taken to mean."""
        if self.applied:
            self.remarks.append(
                f"{self.label} was not opened but made or computed, and carries "
                f"{', '.join(self.applied)}: applied to it; where that is left from another "
                "raster, array.drop_attrs(deep=False) or zr.Raster(array, nodata=float('nan'), "
                "raw=True) leaves it out"
            )


def is_improbable(value: Number, dtype: DType) -> bool:
    """Whether no measurement has a value: infinite, enormous, all nines, the end of a dtype."""
    if value != value or abs(value) >= 1e15 or value in _NINES:
        return True
    if dtype.kind == "f":
        return value in _EXTREMES
    limits = np.iinfo(dtype)
    return value == limits.max or (value == limits.min and dtype.kind == "i")


def _can_hold(dtype: DType, value: Number) -> bool:
    """Whether a pixel of a dtype can have a value."""
    if dtype.kind == "f":
        return True
    limits = np.iinfo(dtype)
    return bool(np.isfinite(value)) and int(value) == value and limits.min <= value <= limits.max


def _turned(value: Any, viewed: DType | None) -> Any:  # Any: a number or None, as it came
    """A number as it is in the dtype that stored integers are taken for."""
    if viewed is None or value is None:
        return value
    limits, all_of = np.iinfo(viewed), 2 ** (8 * viewed.itemsize)
    if limits.min > value >= limits.min - all_of // 2:
        return value + all_of
    return value - all_of if limits.max < value < all_of else value


def _numbers(value: Any) -> tuple[Number, ...]:  # Any: an attribute
    """All numbers of an attribute; texts may hold several, as GDAL writes them.

    Raises
    ------
    ValueError
    """
    if value is None:
        return ()
    if isinstance(value, bytes):
        value = value.decode()
    if isinstance(value, str):
        parts: list[Any] = value.strip("{}[]() ").replace(",", " ").split() or [value]
    elif isinstance(value, np.ndarray | np.generic):
        parts = np.ravel(value).tolist()
    else:  # integers of any size stay whole
        parts = list(value) if isinstance(value, list | tuple) else [value]
    found = []
    for part in parts:
        if isinstance(part, str):
            part = int(part) if part.lstrip("+-").isdigit() else float(part)
        if part is None:
            continue
        part = part.item() if isinstance(part, np.generic) else part
        if not isinstance(part, int | float):
            raise ValueError(f"{part!r} is not a number")
        found.append(part)
    return tuple(found)
