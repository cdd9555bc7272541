"""From stored pixels to values: dtypes that are reduced, nodata, scale and offset."""

from __future__ import annotations

import functools
import math
from dataclasses import dataclass, field
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from zoneraster._values.attributes import Said
from zoneraster._values.numbers import Number, decimal_of
from zoneraster.errors import ValuesError

Block: TypeAlias = npt.NDArray[Any]  # Any: of every dtype
DType: TypeAlias = np.dtype[Any]

# Pixels that are looked at together.
_AT_ONCE = 2**16
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
        In stored units: what every pixel without a value holds, but for those that are NaN.
    scale, offset : float
        ``value = stored * scale + offset``; 1 and 0 leave the dtype alone.
    missing : tuple of (number, number)
        Ranges, both ends included, of stored numbers that mean "no value" too.
    turned : numpy.dtype or None
        What stored integers are taken for: with a sign, or without one.
    said : Said or None
        What it was made of, for the audit.
    """

    stored: DType
    nodata: int | float | None
    scale: float = 1.0
    offset: float = 0.0
    missing: tuple[tuple[Number, Number], ...] = ()
    turned: DType | None = None
    said: Said | None = field(default=None, repr=False, compare=False)

    @property
    def is_scaled(self) -> bool:
        """Whether values differ from what is stored."""
        return (self.scale, self.offset) != (1.0, 0.0)

    def plain(self, block: Block, label: str, *, in_place: bool = False) -> Block:
        """Stored pixels in the dtype `stored`, C-contiguous, or where they are as far as can be."""
        if self.turned is not None:
            block = block.view(self.turned.newbyteorder(block.dtype.byteorder))
        if block.dtype.kind == "u" and block.dtype.itemsize == 8:
            self._check_uint64(block, label)
        with np.errstate(over="ignore"):  # uint64 wraps, and only nodata does
            plain = np.asarray(block, dtype=self.stored)
        return plain if in_place and _has_whole_rows(plain) else np.ascontiguousarray(plain)

    def is_missing(self, plain: Block) -> npt.NDArray[np.bool_]:
        """Which of the pixels that `plain` gives hold no value."""
        missing = np.asarray(plain != plain)
        if self.nodata is not None:
            missing |= plain == self.nodata
        for low, high in self.missing:
            missing |= (plain >= low) & (plain <= high)
        return missing

    def values(self, block: Block, label: str, *, in_place: bool = False) -> Block:
        """Values of stored pixels, C-contiguous, or where these are as far as can be."""
        plain = self.plain(block, label, in_place=in_place and not self.missing)
        if self.is_scaled:
            values = self._scaled(plain)
            if self.nodata is not None:
                values[plain == self.nodata] = np.nan
            for low, high in self.missing:
                values[(plain >= low) & (plain <= high)] = np.nan
            return values
        return self._with_one_nodata(plain) if self.missing else plain

    def _with_one_nodata(self, plain: Block) -> Block:
        """Stored pixels in which all that holds no value is `nodata`; mostly it is so already."""
        fill = np.nan if self.nodata is None else self.nodata
        pixels, found = plain.reshape(-1), plain
        # Few at a time, which stay in the cache.
        for a in range(0, pixels.size, _AT_ONCE):
            some = pixels[a : a + _AT_ONCE]
            for low, high in self.missing:
                others = (some >= low) & (some <= high) & (some != fill)
                if not others.any():
                    continue
                if found is plain:
                    found = plain.copy()  # it may be a view of the source
                found.reshape(-1)[a : a + _AT_ONCE][others] = fill
        return found

    def _scaled(self, plain: Block) -> npt.NDArray[np.float64]:
        """Scaled values: floats next to the decimals that they stand for, 3 by 0.1 being 0.3."""
        values = plain.astype(np.float64)
        whole = _as_integers(self.scale, self.offset)
        if whole is None:
            values *= self.scale
            values += self.offset
            return values
        # A quotient of two exact numbers is rounded once.
        factor, shift, divisor = whole
        values *= factor
        values += shift
        values /= divisor
        return values

    def _check_uint64(self, block: Block, label: str) -> None:
        large = block >= np.uint64(2**63)
        wrapped = [(self.nodata, self.nodata), *self.missing]
        for low, high in wrapped:
            if low is not None and low == high and low < 0:
                large &= block != np.uint64(int(low) + 2**64)
        if large.any():
            raise ValuesError(
                f"{label}: value {block[large][0]} does not fit int64, the widest integer that is "
                "reduced: convert the raster to float64, or give Raster(nodata=...) if it is nodata"
            )


def _has_whole_rows(block: Block) -> bool:
    """Each row is in one piece, in a memory of such items that may be written to.

    What may not is another type to compilers.
    """
    *_, step, along = block.strides
    size = block.itemsize
    return along == size and step % size == 0 and block.flags.writeable


@functools.lru_cache(maxsize=256)
def _as_integers(scale: float, offset: float) -> tuple[float, float, float] | None:
    """Factor, shift and divisor: whole numbers that do what scale and offset do, if they are short.

    Stored numbers up to 2**22, and with a shorter scale larger ones, are brought exactly.
    """
    factor, shift = decimal_of(scale), decimal_of(offset)
    if not (factor.is_finite() and shift.is_finite()):
        return None
    digits = max(0, *(-int(number.normalize().as_tuple().exponent) for number in (factor, shift)))
    if digits > 22:
        return None
    whole = [int(number.scaleb(digits)) for number in (factor, shift)]
    if abs(whole[0]) >= 2**31 or abs(whole[1]) >= 2**52:
        return None
    return float(whole[0]), float(whole[1]), float(10**digits)


def decoding_of(said: Said, dtype: DType, label: str) -> Decoding:
    """Decoding of an array by what it says of its numbers.

    Parameters
    ----------
    said : Said
    dtype : numpy.dtype
        As stored.
    label : str
        For errors.

    Raises
    ------
    ValuesError
        For what is not a number.
    """
    dtype = dtype if said.dtype is None else said.dtype
    stored = plain_dtype(dtype, label)
    usable = [usable_nodata(value, dtype) for value in said.nodata]
    nodata = list(dict.fromkeys(value for value in usable if value is not None))
    if dtype.kind == "f":
        missing = [near(value, stored) for value in nodata]
    else:
        missing = [(value, value) for value in nodata[1:]]
    missing += _outside(said, stored)
    if missing and not nodata and stored.kind != "f":
        # Outside of the valid range, so that no valid pixel has it.
        least, greatest = missing[0]
        nodata = [greatest if least == np.iinfo(stored).min else least]
    return Decoding(
        stored,
        nodata[0] if nodata else None,
        said.scale,
        said.offset,
        tuple(ends for ends in missing if nodata[:1] != [ends[0]] or ends[0] != ends[1]),
        said.dtype,
        said,
    )


def _outside(said: Said, stored: DType) -> list[tuple[Number, Number]]:
    """Ranges of stored numbers below and above the valid ones."""
    low, high, found = said.low, said.high, list[tuple[Number, Number]]()
    if stored.kind == "f":
        if low is not None:
            found.append((-np.inf, float(np.nextafter(stored.type(low), stored.type(-np.inf)))))
        if high is not None:
            found.append((float(np.nextafter(stored.type(high), stored.type(np.inf))), np.inf))
        return found
    limits = np.iinfo(stored)
    if low is not None and low > limits.min:
        least = limits.max + 1 if low == np.inf else math.ceil(low)
        found.append((limits.min, min(least - 1, limits.max)))
    if high is not None and high < limits.max:
        greatest = limits.min - 1 if high == -np.inf else math.floor(high)
        found.append((max(greatest + 1, limits.min), limits.max))
    return [(int(least), int(greatest)) for least, greatest in found if least <= greatest]


def near(nodata: float, dtype: DType) -> tuple[float, float]:
    """Least and greatest float that GDAL takes for a nodata value; files cut its last digits.

    These are the floats `v` with ``abs(v - nodata) < 2**-22 * abs(v + nodata)``.
    """
    if not np.isfinite(nodata) or nodata == 0:
        return nodata, nodata
    size, share, most = abs(nodata), 2.0**-22, float(np.finfo(dtype).max)
    ends = []
    for ratio, inwards in (((1 - share) / (1 + share), np.inf), ((1 + share) / (1 - share), 0)):
        end = dtype.type(min(size * ratio, most))
        while not abs(float(end) - size) < share * (float(end) + size):
            end = np.nextafter(end, dtype.type(inwards))
        ends.append(float(end))
    return (ends[0], ends[1]) if nodata > 0 else (-ends[1], -ends[0])


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
    if value is None or value != value:
        return None
    if dtype.kind == "f":
        with np.errstate(over="ignore"):
            rounded = float(dtype.type(value))
        return rounded if np.isfinite(rounded) or np.isinf(value) else None
    if value in (math.inf, -math.inf) or int(value) != value:
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
