"""Labels and thresholds that split the zones."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from zoneraster._values import (
    Raster,
    RasterLike,
    as_precise,
    as_raster,
    least_whole,
    plain_number,
)
from zoneraster.arrays import Bools, Ints
from zoneraster.errors import ValuesError

# Codes of pixels that no label of a key describes; real codes lie far above.
NODATA_CODE = -(2**62)
UNLISTED_CODE = NODATA_CODE + 1
BELOW_CODE = NODATA_CODE + 2
EXCLUDED_CODE = NODATA_CODE + 3
# Left out too, and a raster of the condition has no value there.
UNKNOWN_CODE = EXCLUDED_CODE + 1
# Of pixels that a condition leaves in.
INCLUDED_CODE = 0
# Labels that are not listed and refused, each by a code of its own below all others.
_REFUSED, _LARGEST = NODATA_CODE - 2**61, 2**60
_BUCKETS = ("nodata", "unlisted")


@dataclass(frozen=True, slots=True, eq=False)
class Key:
    """A raster whose labels split the zones: what `labels` and `thresholds` give.

    Parameters
    ----------
    raster : Raster
    listed : tuple of numbers or None
        Labels, or thresholds in ascending order; None takes every whole number that occurs.
    names : tuple or None
        What the labels are called in the result.
    nodata, unlisted : int or str
        What pixels without a value, and with a label that is not listed, are called in the result;
        "error" refuses them.
    cumulative : bool
        The listed numbers are thresholds: a pixel counts for each one that it reaches.
    """

    raster: Raster
    listed: tuple[float, ...] | None = None
    names: tuple[Any, ...] | None = None  # Any: the user's names
    nodata: int | str = -1
    unlisted: int | str = -2
    cumulative: bool = False

    def codes(self, values: npt.NDArray[Any], nodata: float | None) -> npt.NDArray[np.int64]:
        """Codes of pixel values: positions in `listed`, or the labels themselves.

        Parameters
        ----------
        values : (...) any number
        nodata : number or None

        Returns
        -------
        (...) int64
            Beside codes from 0 on, or labels, `NODATA_CODE`, `UNLISTED_CODE` and `BELOW_CODE`.
        """
        missing = values != values
        if nodata is not None:
            missing |= values == nodata
        if self.listed is None:
            codes = self._observed(values, missing)
        elif self.cumulative:
            listed, _ = self._listed_as(values.dtype)
            codes = np.searchsorted(listed, values, side="right").astype(np.int64)
            codes[:] = np.where(codes == 0, BELOW_CODE, codes - 1)
        else:
            codes = np.full(values.shape, UNLISTED_CODE, np.int64)
            listed, number = self._listed_as(values.dtype)
            if number.size:
                order = np.argsort(listed)
                ascending, number = listed[order], number[order]
                place = np.minimum(np.searchsorted(ascending, values), len(ascending) - 1)
                found = ascending[place] == values
                codes[found] = number[place][found]
            if self.unlisted == "error":
                codes = _with_refused(codes, values, missing)
        codes[missing] = NODATA_CODE
        return codes

    def _listed_as(self, dtype: np.dtype[Any]) -> tuple[npt.NDArray[Any], Ints]:
        """Listed numbers as pixels of a dtype have them, and their positions.

        As precise as floats are: their 0.1 may be a float32. Of whole numbers a threshold is the
        next one above it, and what none of them can be is left out.
        """
        assert self.listed is not None
        number = np.arange(len(self.listed))
        if dtype.kind == "f":
            return as_precise(self.listed, dtype), number
        whole = [least_whole(value) for value in self.listed]
        kept = [
            i for i, n in enumerate(whole)
            if n < 2**63 and (self.cumulative or n == self.listed[i])
        ]  # fmt: skip
        return np.array([whole[i] for i in kept], np.int64), number[kept]

    def _observed(self, values: npt.NDArray[Any], missing: Bools) -> npt.NDArray[np.int64]:
        """Labels as they are; they have to be whole numbers."""
        if values.dtype.kind == "f":
            with np.errstate(invalid="ignore"):
                odd = ~missing & ((values != np.floor(values)) | (np.abs(values) >= 2.0**53))
            if odd.any():
                raise ValuesError(
                    f"key {self.raster} holds {plain_number(values[odd][0])!r}, labels are whole "
                    "numbers: use zr.thresholds for ranges, or list the labels with zr.labels"
                )
            values = np.where(missing, 0, values)
        elif (
            values.dtype.itemsize == 8
            and (~missing & ((values >= 2**61) | (values <= -(2**61)))).any()
        ):
            raise ValuesError(f"key {self.raster} holds labels beyond 2**61: list them instead")
        return values.astype(np.int64)

    def refused(self, codes: Ints) -> dict[int, str]:
        """What stands in the way, by the positions of codes that this key refuses."""
        found: dict[int, str] = {}
        if self.nodata == "error":
            at = np.flatnonzero(codes == NODATA_CODE)
            found |= dict.fromkeys(at.tolist(), "no value")
        if self.unlisted == "error":
            for place in np.flatnonzero((codes == UNLISTED_CODE) | (codes < NODATA_CODE)).tolist():
                label = int(codes[place]) - _REFUSED
                is_known = codes[place] < NODATA_CODE
                found[place] = f"the label {label}" if is_known else "a label"
        return found

    def name_of(self, code: int) -> Any:  # Any: a number or the user's name
        """What a code is called in the result."""
        if code == NODATA_CODE:
            return self.nodata
        if code == UNLISTED_CODE:
            return self.unlisted
        if self.listed is None:
            return code
        return self.names[code] if self.names else self.listed[code]


def _with_refused(codes: Ints, values: npt.NDArray[Any], missing: Bools) -> Ints:
    """Codes that tell labels apart which are not listed, where these are whole numbers."""
    with np.errstate(invalid="ignore"):
        is_whole = ~missing & (values == np.floor(values)) & (np.abs(values) < _LARGEST)
    at = is_whole & (codes == UNLISTED_CODE)
    codes[at] = _REFUSED + values[at].astype(np.int64)
    return codes


def labels(
    source: RasterLike,
    listed: Sequence[float] | Mapping[float, str] | None = None,
    *,
    nodata: int | str | None = None,
    unlisted: int | str | None = None,
) -> Key:
    """Group by the labels of a raster.

    Parameters
    ----------
    source : Raster, or anything a raster is opened from
    listed : sequence of numbers or mapping of number to name, optional
        Which labels there are; all whole numbers that occur by default.
    nodata, unlisted : int or str, optional
        What to call pixels without a value, and pixels with a label that is not listed: by default
        -1 and -2, or "nodata" and "unlisted" where labels have names. "error" refuses them.

    Returns
    -------
    Key

    Raises
    ------
    ValuesError
        For labels that are no finite numbers, and for names that are no text or given twice.

    Examples
    --------
    >>> labels("loss_year.zarr", {1: "2001", 2: "2002"}).unlisted
    'unlisted'
    """
    names: tuple[str, ...] | None = None
    if isinstance(listed, Mapping):
        names = tuple(listed.values())
        if not all(isinstance(name, str) for name in names):
            raise ValuesError(f"names of labels must be text, not {list(names)!r}")
        if len(set(names)) != len(names):
            raise ValuesError(f"two labels have one name in {list(names)!r}: add their rows after")
    numbers: tuple[Any, ...] | None = None
    if listed is not None:
        numbers = tuple(map(plain_number, listed))
    _check_numbers(numbers, "labels")
    usual: tuple[int | str, int | str] = _BUCKETS if names else (-1, -2)
    given = (
        usual[0] if nodata is None else nodata,
        usual[1] if unlisted is None else unlisted,
    )
    wanted, said = (str, "text, as the labels have names") if names else (int, "a whole number")
    for name, what in zip(given, _BUCKETS, strict=True):
        if name != "error" and not isinstance(name, wanted):
            raise ValuesError(f"{what}={name!r} must be {said}, or 'error'")
    return Key(as_raster(source), numbers, names, *given)


def thresholds(source: RasterLike, values: Sequence[float], *, nodata: int | str = -1) -> Key:
    """Group by cumulative thresholds: a pixel counts for every threshold that it reaches.

    Parameters
    ----------
    source : Raster, or anything a raster is opened from
    values : sequence of numbers
    nodata : int or "error"
        What to call pixels without a value.

    Returns
    -------
    Key
        Pixels below the lowest threshold are in no row; their number stands in the audit.

    Raises
    ------
    ValuesError
        For thresholds that are no finite numbers, and for a `nodata` that is no whole number.
    """
    numbers = tuple(map(plain_number, values))
    _check_numbers(numbers, "thresholds")
    if nodata != "error" and not isinstance(nodata, int):
        raise ValuesError(f"nodata={nodata!r} must be a whole number, or 'error'")
    return Key(as_raster(source), tuple(sorted(numbers)), nodata=nodata, cumulative=True)


def _check_numbers(numbers: tuple[Any, ...] | None, what: str) -> None:  # Any: what users give
    if numbers is None:
        return
    if not numbers:
        raise ValuesError(f"no {what} are listed: give at least one number")
    if not all(isinstance(n, int | float) and np.isfinite(n) for n in numbers):
        raise ValuesError(f"{what} must be finite numbers, not {list(numbers)!r}")
    if len(set(numbers)) != len(numbers):
        raise ValuesError(f"{what} are listed twice in {list(numbers)!r}")


def as_key(source: RasterLike | Key) -> Key:
    """A key; a bare raster groups by all its labels."""
    return source if isinstance(source, Key) else labels(source)
