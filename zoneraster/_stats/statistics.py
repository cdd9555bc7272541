"""Names of statistics: what each needs, and its formula from merged partials.

Formulas are written out in ``docs/explanation/statistics.md``. With values ``x_i`` of the ``n``
valid pixels of a group and their areas ``a_i``: sum, mean, population variance
``sum((x_i - mean)**2) / n``, quantiles by linear interpolation between order statistics (Hyndman
and Fan 1996, type 7, the default of NumPy), area sum ``sum(a_i x_i)`` and area mean
``sum(a_i x_i) / sum(a_i)``.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, TypeAlias

import numpy as np
import numpy.typing as npt

from zoneraster.arrays import Floats
from zoneraster.errors import ValuesError

# What a custom statistic keeps: numbers.
State: TypeAlias = "Sequence[float] | Floats"

SIMPLE = (
    "pixels", "count", "valid", "nodata", "sum", "mean", "min", "max", "range", "var", "std",
    "area", "pixel_area", "area_sum", "area_mean",
)  # fmt: skip
CATEGORICAL = ("majority", "minority", "variety", "histogram", "fractions")
# What can be told without values.
WITHOUT_VALUES = ("pixels", "count", "valid", "area", "pixel_area")
DEFAULT = ("count", "sum", "mean")
DEFAULT_WITHOUT_VALUES = ("pixels", "area")
AREA_UNITS = {"m2": 1.0, "ha": 1e4, "km2": 1e6}
_QUANTILE = re.compile(r"q(0|1|0?\.\d+|1\.0+)")
_PER_AREA = re.compile(
    r"(?:/|\bper\b)\s*(?P<after>ha|hectares?|km2|km²|km\^2|m2|m²|m\^2)(?![A-Za-z0-9])"
    r"|(?<![A-Za-z])(?P<power>ha|km|m)\s*\^?\s*(?:\*\*)?\s*(?P<exponent>-\d|⁻[¹²])(?!\d)",
    re.IGNORECASE,
)
_PER_PIXEL = re.compile(r"(?:/|\bper\b)\s*(?:px|pixel|cell)\b|\b(?:px|pixel|cell)\s*\^?-1", re.I)


@dataclass(frozen=True, slots=True)
class Stat:
    """A statistic of your own.

    Parameters
    ----------
    name : str
        Of the column.
    init : callable
        ``init()`` gives the state of a group without pixels: numbers in a tuple or array.
    update : callable
        ``update(state, values, areas)`` adds valid values of a group, (m,) in the raster's dtype,
        with the areas of their pixels, (m,) float64, square metres.
    combine : callable
        ``combine(a, b)`` merges two states.
    finalize : callable
        ``finalize(state)`` gives the number for the table.

    Notes
    -----
    States travel to workers and into checkpoints as float64; with processes the four functions have
    to be importable. The values of a group come in the order of tasks, cells, rows and columns.

    Examples
    --------
    >>> rms = Stat(
    ...     "rms",
    ...     init=lambda: (0, 0),
    ...     update=lambda s, x, a: (s[0] + x.size, s[1] + (x.astype(float) ** 2).sum()),
    ...     combine=lambda s, t: (s[0] + t[0], s[1] + t[1]),
    ...     finalize=lambda s: (s[1] / s[0]) ** 0.5 if s[0] else float("nan"),
    ... )
    >>> round(float(rms.finalize(rms.update(rms.init(), np.array([3, 4]), np.ones(2)))), 6)
    3.535534
    """

    name: str
    init: Callable[[], State]
    update: Callable[[State, npt.NDArray[Any], Floats], State]  # Any: the dtype of the raster
    combine: Callable[[State, State], State]
    finalize: Callable[[State], float]

    def initial(self) -> Floats:
        """State of a group without pixels."""
        return np.array(self.init(), np.float64)

    def updated(self, state: Floats, values: npt.NDArray[Any], areas: Floats) -> Floats:
        """State with more values."""
        return np.array(self.update(state, values, areas), np.float64)

    def combined(self, one: Floats, other: Floats) -> Floats:
        """State of two groups of pixels together."""
        return np.array(self.combine(one, other), np.float64)


class Parts(NamedTuple):
    """Which accumulators there are, beside counts and sums."""

    extremes: bool
    squares: bool
    areas: bool


@dataclass(frozen=True, slots=True)
class Wanted:
    """Statistics that were asked for.

    Parameters
    ----------
    names : tuple of str
        In the order of columns; custom ones among them.
    custom : tuple of Stat
    """

    names: tuple[str, ...]
    custom: tuple[Stat, ...] = ()

    @property
    def quantiles(self) -> dict[str, float]:
        """Names of quantiles and which they are."""
        found = {name: quantile_of(name) for name in self.names}
        return {name: q for name, q in found.items() if q is not None}

    @property
    def parts(self) -> Parts:
        """Which accumulators are needed."""
        names = set(self.names)
        return Parts(
            extremes=bool(names & {"min", "max", "range"}),
            squares=bool(names & {"var", "std"}),
            areas=bool(names & {"area", "area_sum", "area_mean"}),
        )

    @property
    def categories(self) -> bool:
        """Counts of every single value are needed."""
        return bool(set(CATEGORICAL) & set(self.names))

    @property
    def tallied(self) -> bool:
        """Counts of values, or of their leading bits, are needed."""
        return self.categories or bool(self.quantiles)


def quantile_of(name: str) -> float | None:
    """The quantile that a name stands for: "q0.25", "median"; None for other names."""
    if name == "median":
        return 0.5
    return float(name[1:]) if _QUANTILE.fullmatch(name) else None


def parse_stats(stats: Sequence[str | Stat] | str | Stat, *, has_values: bool) -> Wanted:
    """Check names of statistics.

    Raises
    ------
    ValuesError
        For unknown names, names given twice, and those that need values where there are none.
    """
    given = [stats] if isinstance(stats, str | Stat) else list(stats)
    names, custom = [], []
    for stat in given:
        if isinstance(stat, Stat):
            custom.append(stat)
            names.append(stat.name)
            continue
        if stat not in (*SIMPLE, *CATEGORICAL) and quantile_of(stat) is None:
            raise ValuesError(
                f"unknown statistic {stat!r}: choose from {', '.join((*SIMPLE, *CATEGORICAL))}, "
                "median, quantiles like q0.25, or give a zr.Stat"
            )
        if not has_values and stat not in WITHOUT_VALUES:
            raise ValuesError(
                f"statistic {stat!r} needs values, and values=None: give a raster, or ask only for "
                f"{', '.join(WITHOUT_VALUES)}"
            )
        names.append(stat)
    twice = {name for name in names if names.count(name) > 1}
    if twice or not names:
        raise ValuesError(
            f"statistics given twice: {', '.join(sorted(twice))}" if twice else "no statistics"
        )
    if custom and not has_values:
        raise ValuesError(f"statistic {custom[0].name!r} needs values, and values=None")
    return Wanted(tuple(names), tuple(custom))


def rate_unit(units: str | None) -> str | None:
    """Area unit of a rate: "ha" for "Mg/ha", "Mg ha-1", "t per hectare"; None for other units."""
    for found in _PER_AREA.finditer(units or ""):
        if found["after"]:
            after = found["after"].lower().replace("²", "2").replace("^", "")
            return "ha" if after.startswith("h") else after
        power, is_squared = found["power"].lower(), found["exponent"] in {"-2", "⁻²"}
        if (power == "ha") != is_squared:
            return "ha" if power == "ha" else f"{power}2"
    return None


def check_units(wanted: Wanted, name: str, units: str | None, *, factor: float) -> None:
    """Refuse sums of rates, rates of what is no rate, and sums of totals that stand several times.

    Parameters
    ----------
    wanted : Wanted
    name : str
    units : str or None
    factor : float
        Side of the raster's pixels in pixels of the reduction.

    Raises
    ------
    ValuesError
    """
    unit = rate_unit(units)
    if unit and "sum" in wanted.names:
        raise ValuesError(
            f"the sum of {name!r} ({units}) over pixels means nothing, as it is a rate per {unit}: "
            "ask for 'area_sum' (the total) or 'area_mean', or set its units with "
            "zr.Raster(..., units='') where they are wrong"
        )
    is_total = bool(_PER_PIXEL.search(units or ""))
    if is_total and factor > 1 and "sum" in wanted.names:
        raise ValuesError(
            f"{name!r} ({units}) holds a total in each pixel, and its pixels are {factor:g} times "
            "as wide as the store's, so that each would be added several times: divide it by the "
            "area of its pixels and ask for 'area_sum', or build a store on its grid"
        )
    if is_total and {"area_sum", "area_mean"} & set(wanted.names):
        raise ValuesError(
            f"{name!r} ({units}) is a total per pixel, which must not be multiplied by areas: ask "
            "for 'sum' and 'mean', or set its units with zr.Raster(..., units='') where they are "
            "wrong"
        )


def order_statistic_ranks(n: npt.NDArray[np.int64], q: float) -> tuple[Any, Any, Floats]:
    """Ranks (from 0) between which a quantile lies, and how far: ``(n - 1) q``.

    Returns
    -------
    lower, upper : (...) int64
    share : (...) float64
    """
    place = np.maximum(n - 1, 0) * q
    lower = np.floor(place).astype(np.int64)
    return lower, np.minimum(lower + 1, np.maximum(n - 1, 0)), place - lower
