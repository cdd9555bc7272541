"""Numbers as people mean them: decimals, ratios and floats as exact fractions."""

from __future__ import annotations

import math
import sys
from decimal import Decimal
from fractions import Fraction
from typing import TypeAlias

import numpy as np

from zoneraster.errors import GridError

Number: TypeAlias = int | float | Fraction | str


SNAP_PIXELS = Fraction(1, 10**6)


STEP_TOLERANCE = Fraction(1, 10**12)


MAX_PIXEL_RATIO = 1000


def exact(value: Number) -> Fraction:
    """Return the number that a person would read: 0.1 is 1/10, not its binary expansion."""
    try:
        if isinstance(value, (str, Fraction)):
            exact = Fraction(value)
        elif isinstance(value, (int, np.integer)):
            exact = Fraction(int(value))
        else:
            exact = Fraction(repr(float(value)))
        float(exact)  # overflows for what no transform can hold
    except (ValueError, TypeError, ArithmeticError) as err:
        raise GridError(
            f"{value!r} is not a finite number: give a number, or text like '1/3600'"
        ) from err
    return exact


def simplest(value: Fraction, tolerance: Fraction) -> Fraction:
    """Return a simple fraction within a relative tolerance of a value, else the value itself.

    ``numerator * denominator * tolerance <= 1e-4`` keeps accidents rare: about one random number in
    10,000 is that close to a fraction that simple.
    """
    if value == 0:
        return value
    limit = math.isqrt(int(Fraction(1, 10**4) / tolerance / abs(value)))
    simple = value.limit_denominator(max(limit, 1))
    return simple if abs(simple - value) <= tolerance * abs(value) else value


def _is_ratio(value: Number) -> bool:
    return isinstance(value, Fraction) or (isinstance(value, str) and "/" in value)


def exact_step(value: Number) -> Fraction:
    """Return the step that a decimal stands for: 0.000277777777778 is 1/3600."""
    given = exact(value)
    return given if _is_ratio(value) else simplest(given, STEP_TOLERANCE)


def exact_origin(value: Number, step: Fraction) -> Fraction:
    """Return a whole number of steps where the value is within 1e-6 pixels of one."""
    given = exact(value)
    if _is_ratio(value):
        return given
    steps = given / step
    if abs(steps - round(steps)) <= SNAP_PIXELS:
        return round(steps) * step
    # A coarse grid may begin at any pixel of a finer one, say at 1/2 or 2/3 of its own; only the
    # rounding of the float is taken away.
    simple = steps.limit_denominator(MAX_PIXEL_RATIO) * step
    return simple if abs(simple - given) <= 2 * math.ulp(float(given)) else given


def checked_step(step: Fraction, given: object) -> Fraction:
    # A subnormal step has no finite inverse.
    if float(step) < sys.float_info.min:
        raise GridError(f"resolution must be a positive finite number, not {given!r}")
    return step


def number_text(value: Fraction) -> str:
    """Return a number as a person would type it: 30, 0.00025, 1/3600."""
    decimal = f"{float(value):.17g}" if value.denominator == 1 else repr(float(value))
    short = value.denominator < 10**7 and Fraction(decimal) != value
    return str(value) if short else decimal


def counted(value: Fraction | int) -> str:
    """A number for people."""
    return f"{Decimal(value.numerator) / Decimal(value.denominator):,.12g}"
