"""Where a condition holds."""

from __future__ import annotations

import operator
from collections.abc import Callable, Mapping
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from zoneraster._values import Combination, Comparison, Negation, Predicate
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
    if how == "isin":
        # As precise as the raster, like the other comparisons.
        listed = np.array(value, pixels.dtype if pixels.dtype.kind == "f" else None)
        return np.isin(pixels, listed) & valid
    return np.asarray(_COMPARE[how](pixels, value)) & valid
