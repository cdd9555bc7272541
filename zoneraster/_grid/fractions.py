"""Numbers as people mean them: decimals, ratios and floats as exact fractions."""

from __future__ import annotations

import math
import sys
from collections.abc import Iterable
from decimal import Decimal
from fractions import Fraction
from typing import TypeAlias

import numpy as np

from zoneraster.errors import GridError

Number: TypeAlias = int | float | Fraction | str


SNAP_PIXELS = Fraction(1, 10**6)


STEP_TOLERANCE = Fraction(1, 10**12)


MAX_PIXEL_RATIO = 1000


# A few characters can name a number of any size, and an exact one has all of its digits: texts are
# judged before they become numbers. No float has an exponent beyond 324.
MAX_CHARACTERS = 64
MAX_EXPONENT = 400
# Numerator and denominator of so many bits together have a text of at most 64 characters.
MAX_BITS = 200


def exact(value: Number) -> Fraction:
    """Return the number that a person would read: 0.1 is 1/10, not its binary expansion.

    Raises
    ------
    GridError
        For what is no finite number, or a text with more than 64 characters or an exponent beyond
        400.
    """
    try:
        if isinstance(value, str):
            _check_text(value)
        if isinstance(value, (str, Fraction)):
            exact = Fraction(value)
        elif isinstance(value, (int, np.integer)):
            exact = Fraction(int(value))
        else:
            exact = Fraction(repr(float(value)))
        float(exact)  # overflows for what no transform can hold
    except GridError:
        raise
    except (ValueError, TypeError, ArithmeticError) as err:
        raise GridError(
            f"{value!r} is not a finite number: give a number, or text like '1/3600'"
        ) from err
    return exact


def _check_text(text: str) -> None:
    """Refuse a text that may stand for a number of a great many digits."""
    _, _, exponent = text.lower().partition("e")
    if len(text) > MAX_CHARACTERS or (exponent and abs(int(exponent)) > MAX_EXPONENT):
        raise GridError(
            f"{text[:MAX_CHARACTERS]!r} is no number for a grid: give at most {MAX_CHARACTERS} "
            f"characters, and an exponent up to {MAX_EXPONENT}"
        )


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


def simplest_between(low: Fraction, high: Fraction) -> Fraction:
    """The fraction of the fewest digits between two positive numbers, both included.

    Fewest digits after the leading one: of 0.0833 to 0.0834 it is 1/12, of 29,998 to 30,003 it is
    30,000.
    """
    power = Fraction(10) ** math.floor(math.log10(float(low)))
    return _least_denominator(low / power, high / power) * power


def _least_denominator(low: Fraction, high: Fraction) -> Fraction:
    below = math.floor(low)
    if below == low:
        return low
    if below + 1 <= high:
        return Fraction(below + 1)
    return below + 1 / _least_denominator(1 / (high - below), 1 / (low - below))


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


def check_size(values: Iterable[Fraction]) -> None:
    """Refuse fractions whose text `exact` would not read again."""
    for value in values:
        bits = value.numerator.bit_length() + value.denominator.bit_length()
        if bits > MAX_BITS:
            raise GridError(
                f"{float(value)!r} is given as a fraction of {bits} bits, more than the {MAX_BITS} "
                "that a grid can store: give it as a decimal, or as a simpler fraction"
            )


def number_text(value: Fraction) -> str:
    """Return a number as a person would type it: 30, 0.00025, 1/3600."""
    decimal = f"{float(value):.17g}" if value.denominator == 1 else repr(float(value))
    short = value.denominator < 10**7 and Fraction(decimal) != value
    return str(value) if short else decimal


def counted(value: Fraction | int) -> str:
    """A number for people."""
    return f"{Decimal(value.numerator) / Decimal(value.denominator):,.12g}"
