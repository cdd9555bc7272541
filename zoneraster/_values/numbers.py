"""Numbers as the decimals that they stand for: 0.3, whatever holds it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from decimal import Decimal
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

Number: TypeAlias = int | float


def plain_number(value: Any) -> Any:  # Any: numbers become Python's, all else is as it was
    """A number of NumPy, or a 0-d array of one, as the Python number of the same decimals.

    Examples
    --------
    >>> plain_number(np.float32(0.1)), plain_number(np.int16(3)), plain_number("a")
    (0.1, 3, 'a')
    """
    if isinstance(value, np.ndarray) and value.ndim == 0:
        value = value[()]
    if isinstance(value, np.floating):
        return float(str(value))
    return value.item() if isinstance(value, np.integer | np.bool_) else value


def decimal_of(value: float) -> Decimal:
    """The decimal that a scale or an offset stands for.

    A float64 that a float32 could hold was one, where that has fewer digits: formats widen what
    they keep.

    Examples
    --------
    >>> decimal_of(0.1), decimal_of(float(np.float32(0.01)))
    (Decimal('0.1'), Decimal('0.01'))
    """
    with np.errstate(over="ignore"):
        narrow = np.float32(value)
    return Decimal(str(narrow) if float(narrow) == value else repr(float(value)))


def as_precise(values: Sequence[float], dtype: np.dtype[Any]) -> npt.NDArray[Any]:
    """Limits and labels in the dtype of floats that they are compared with."""
    with np.errstate(over="ignore"):  # what no float32 reaches is infinite
        return np.array(values, dtype)


def least_whole(value: float, *, above: bool = False) -> int:
    """The least whole number that is at least a value, or above it; of 64 bits or one more."""
    if math.isinf(value):
        return 2**63 if value > 0 else -(2**63)
    least = math.floor(value) + 1 if above else math.ceil(value)
    return max(-(2**63), min(least, 2**63))
