"""Where a condition holds."""

from __future__ import annotations

import operator
from collections.abc import Callable, Mapping
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from zoneraster._values import (
    Combination,
    Comparison,
    Negation,
    Predicate,
    as_precise,
    least_whole,
)
from zoneraster.arrays import Bools

# Pixels of a raster, by its number, and which of them hold a value. Any: the dtype of the raster.
Read: TypeAlias = Callable[[int], tuple[npt.NDArray[Any], Bools]]

_COMPARE: Mapping[str, Callable[..., Any]] = {
    ">=": operator.ge,
    ">": operator.gt,
    "<=": operator.le,
    "<": operator.lt,
    "==": operator.eq,
    "!=": operator.ne,
}


def holds(predicate: Predicate, read: Read) -> Bools:
    """Where a condition holds.

    Parameters
    ----------
    predicate : Predicate
        Bound: its rasters are numbers.
    read : callable
        Gives the pixels of a raster, by its number, and which of them hold a value.

    Returns
    -------
    bool array of the shape of what `read` gives
    """
    match predicate:
        case Combination(how, left, right):
            one, other = holds(left, read), holds(right, read)
            return one & other if how == "&" else one | other
        case Negation(of):
            return ~holds(of, read)
        case Comparison(int(raster), how, value):
            return _compared(*read(raster), how, value)
    raise AssertionError(f"not a bound condition: {predicate!r}")


# Any: the dtype of the raster; a number, several, or None.
def _compared(pixels: npt.NDArray[Any], valid: Bools, how: str, value: Any) -> Bools:
    """Where a comparison holds; nowhere without a value."""
    if how == "isvalid":
        return valid
    if pixels.dtype.kind != "f":
        return _compared_whole(pixels, how, value) & valid
    if how == "isin":
        return np.isin(pixels, as_precise(value, pixels.dtype)) & valid
    limit = as_precise((value,), pixels.dtype)[0]
    return np.asarray(_COMPARE[how](pixels, limit)) & valid


def _compared_whole(pixels: npt.NDArray[Any], how: str, value: Any) -> Bools:
    """Where a comparison with whole numbers holds: exact in 64 bits, and for limits of any kind."""
    limits = np.iinfo(pixels.dtype)
    if how in ("isin", "==", "!="):
        several = value if how == "isin" else (value,)
        whole = [int(v) for v in several if limits.min <= v <= limits.max and int(v) == v]
        is_one = len(whole) == 1
        wanted = np.array(whole, pixels.dtype)
        found = np.asarray(pixels == wanted[0]) if is_one else np.isin(pixels, wanted)
        return ~found if how == "!=" else found
    least = least_whole(value, above=how in (">", "<="))
    if not limits.min < least <= limits.max:
        reached = np.full(pixels.shape, least <= limits.min)
    else:
        reached = np.asarray(pixels >= pixels.dtype.type(least))
    return reached if how in (">=", ">") else ~reached
