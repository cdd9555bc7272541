"""From stored pixels to values: dtypes that are reduced, nodata, scale and offset."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from zoneraster._values.raster import Raster
from zoneraster.errors import ValuesError

Block: TypeAlias = npt.NDArray[Any]  # Any: of every dtype
DType: TypeAlias = np.dtype[Any]

_CURES = {
    "c": "take its real part or its absolute value first",
    "M": "turn it into numbers first, e.g. days: (array - start) / np.timedelta64(1, 'D')",
    "m": "turn it into numbers first, e.g. days: array / np.timedelta64(1, 'D')",
}


@dataclass(frozen=True, slots=True)
class Decoding:
    """From stored pixels to values.

    Parameters
    ----------
    stored : numpy.dtype
        Native dtype of `plain_dtype` that holds every stored value.
    nodata : int, float or None
        In stored units.
    scale, offset : float
        ``value = stored * scale + offset``; 1 and 0 leave the dtype alone.
    """

    stored: DType
    nodata: int | float | None
    scale: float = 1.0
    offset: float = 0.0

    @property
    def is_scaled(self) -> bool:
        """Whether values differ from what is stored."""
        return (self.scale, self.offset) != (1.0, 0.0)

    def values(self, block: Block, label: str) -> Block:
        """Values of stored pixels, C-contiguous."""
        if block.dtype.kind == "u" and block.dtype.itemsize == 8:
            self._check_uint64(block, label)
        with np.errstate(over="ignore"):  # uint64 wraps, and only nodata does
            plain = np.ascontiguousarray(block, dtype=self.stored)
        if not self.is_scaled:
            return plain
        values = plain.astype(np.float64) * self.scale + self.offset
        if self.nodata is not None:
            values[plain == self.nodata] = np.nan
        return values

    def _check_uint64(self, block: Block, label: str) -> None:
        large = block >= np.uint64(2**63)
        if self.nodata is not None and self.nodata < 0:
            large &= block != np.uint64(self.nodata + 2**64)
        if large.any():
            raise ValuesError(
                f"{label}: value {block[large][0]} does not fit int64, the widest integer that is "
                "reduced: convert the raster to float64, or give Raster(nodata=...) if it is nodata"
            )


def decoding_of_attributes(
    attributes: Mapping[Any, Any], dtype: DType, asked: Raster, label: str
) -> Decoding:
    """Decoding of an array by what its CF attributes declare, and by what was asked.

    Parameters
    ----------
    attributes : mapping
        `_FillValue`, `missing_value`, `nodata`, `scale_factor`, `add_offset` and `_Unsigned` count.
    dtype : numpy.dtype
        As stored.
    asked : Raster
        Its `nodata` and `raw` go first.
    label : str
        For errors.

    Raises
    ------
    ValuesError
        For what is not a number, and for several nodata values.
    """

    def number(name: str) -> int | float | None:
        if attributes.get(name) is None or np.size(attributes[name]) == 0:
            return None
        value: object = np.ravel(attributes[name])[0].item()
        try:
            return value if isinstance(value, int | float) else float(str(value))
        except ValueError as err:
            raise ValuesError(
                f"{label}: attribute {name}={value!r} is not a number: correct it, or give "
                "Raster(nodata=..., raw=True)"
            ) from err

    if str(attributes.get("_Unsigned", "false")).lower() == "true":
        raise ValuesError(
            f"{label} keeps unsigned numbers in {dtype} (attribute _Unsigned): open it with "
            "xarray, which decodes that, and give the DataArray"
        )
    stored = plain_dtype(dtype, label)
    names = ("_FillValue", "missing_value", "nodata")
    said = [asked.nodata] if asked.nodata is not None else [number(name) for name in names]
    nodata = {usable_nodata(value, dtype) for value in said} - {None}
    if len(nodata) > 1:
        found = ", ".join(sorted(map(str, nodata)))
        raise ValuesError(
            f"{label} declares several nodata values ({found}): choose one, Raster(nodata=...)"
        )
    factor, offset = (None, None) if asked.raw else (number("scale_factor"), number("add_offset"))
    return Decoding(
        stored,
        next(iter(nodata), None),
        1.0 if factor is None else float(factor),
        0.0 if offset is None else float(offset),
    )


def plain_dtype(dtype: DType, label: str) -> DType:
    """Native dtype among u1, i2, u2, i4, u4, i8, f4, f8 that holds all values of a dtype.

    Raises
    ------
    ValuesError
        For what is not a number.
    """
    if dtype.kind not in "biuf":
        cure = _CURES.get(dtype.kind, "turn it into numbers first, e.g. array.astype('float32')")
        raise ValuesError(f"{label} holds {dtype}, which cannot be reduced: {cure}")
    wider = {"b1": "u1", "i1": "i2", "u8": "i8", "f2": "f4", "f16": "f8"}
    code = f"{dtype.kind}{dtype.itemsize}"
    return np.dtype(wider.get(code, code))


def usable_nodata(value: float | None, dtype: DType) -> int | float | None:
    """What stored pixels of a dtype are compared with; None for a value that none of them has.

    Parameters
    ----------
    value : number or None
    dtype : numpy.dtype
        As stored. Of uint64, which is read as int64, values from 2**63 wrap.
    """
    if value is None or np.isnan(value):
        return None
    if dtype.kind == "f":
        with np.errstate(over="ignore"):
            rounded = float(dtype.type(value))
        return rounded if np.isfinite(rounded) or np.isinf(value) else None
    if not np.isfinite(value) or int(value) != value:
        return None
    low, high = (0, 1) if dtype.kind == "b" else (np.iinfo(dtype).min, np.iinfo(dtype).max)
    if not low <= int(value) <= high:
        return None
    return int(value) - 2**64 if int(value) >= 2**63 else int(value)


def with_nodata(dtype: DType) -> tuple[DType, int | float]:
    """A dtype with room for a nodata value, and that value: NaN, or the least of a wider integer.

    int64 has no wider one, its least value serves.
    """
    if dtype.kind == "f":
        return dtype, np.nan
    wider = {"u1": "i2", "i2": "i4", "u2": "i4"}.get(f"{dtype.kind}{dtype.itemsize}", "i8")
    return np.dtype(wider), int(np.iinfo(wider).min)
