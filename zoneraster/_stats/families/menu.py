"""The statistics that there are: names to the families that count for them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from zoneraster._stats.families import classes, moments, weighted
from zoneraster._stats.families.base import Family
from zoneraster._stats.families.classes import Classes
from zoneraster._stats.families.custom import Custom, Stat
from zoneraster._stats.families.moments import Moments
from zoneraster._stats.families.order import order_family, quantile_of
from zoneraster._stats.families.parts import Parts
from zoneraster._stats.families.weighted import Weighted, WeightedClasses
from zoneraster.errors import ValuesError, nearest

# All names but those of quantiles, of which "median" is one.
STATISTICS = (
    *moments.STATISTICS, "median", *classes.STATISTICS, *weighted.STATISTICS,
    weighted.FRACTIONS.name,
)  # fmt: skip
# What others call them.
_ALIASES = {
    "average": "mean", "avg": "mean", "total": "sum", "minimum": "min", "maximum": "max",
    "stdev": "std", "stddev": "std", "variance": "var", "mode": "majority", "unique": "variety",
    "frac": "fractions", "quantile": "q0.9", "percentile": "q0.9",
}  # fmt: skip
WEIGHTED = (*weighted.STATISTICS, weighted.FRACTIONS.name)
DEFAULT = ("count", "sum", "mean")
DEFAULT_WITHOUT_VALUES = ("pixels", "area")
DEFAULT_WITH_WEIGHTS = ("count", "weighted_sum", "weighted_mean")


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
    def has_quantiles(self) -> bool:
        """Quantiles were asked for, the median among them."""
        return any(quantile_of(name) is not None for name in self.names)

    def families(
        self,
        dtype: np.dtype[Any],
        *,
        few: bool = False,
        merges: bool = False,
        exact: bool = True,
        is_weighted: bool = False,
    ) -> tuple[Family, ...]:
        """Families that count for these statistics; the moments, which count values, come first.

        Parameters
        ----------
        dtype : numpy.dtype
            Of the values.
        few : bool
            There are so few values that all may be told.
        merges : bool
            Rows of the table may count several groups.
        exact : bool
            Quantiles of floats are exact.
        is_weighted : bool
            Pixels count by what is covered of them.
        """
        found: list[Family] = [Moments.of(self.names, dtype, is_weighted=is_weighted)]
        quantiles = tuple(q for q in map(quantile_of, self.names) if q is not None)
        has_classes = any(name in classes.STATISTICS for name in self.names)
        if is_weighted and (has_classes or quantiles):
            found.append(Parts(dtype))
        elif has_classes:
            found.append(Classes(dtype))
        elif quantiles:
            found.append(order_family(quantiles, dtype, few=few, merges=merges, exact=exact))
        if any(name in weighted.STATISTICS for name in self.names):
            found.append(Weighted())
        if weighted.FRACTIONS.name in self.names:
            found.append(WeightedClasses(dtype))
        if self.custom:
            found.append(Custom(self.custom))
        return tuple(found)


def kind_of(name: str) -> str:
    """Of which kind the unit of a statistic is, see `units.unit_of`."""
    for records in (moments.STATISTICS, classes.STATISTICS, weighted.STATISTICS):
        if name in records:
            return records[name].kind
    return "" if quantile_of(name) is None else "value"


def parse_stats(
    stats: Sequence[str | Stat] | str | Stat, *, has_values: bool, has_weights: bool = False
) -> Wanted:
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
        if stat not in STATISTICS and quantile_of(stat) is None:
            close = nearest(str(stat), STATISTICS, all_of_them=True, alias=_ALIASES)
            raise ValuesError(
                f"unknown statistic {stat!r}: {close}, quantiles like q0.25, or give a zr.Stat"
            )
        if not has_values and stat not in moments.OF_PIXELS:
            raise ValuesError(
                f"statistic {stat!r} needs values, and there are none: give a raster, values=..., "
                f"or ask only for {', '.join(moments.OF_PIXELS)}"
            )
        if not has_weights and stat in WEIGHTED:
            raise ValuesError(f"statistic {stat!r} needs weights: give a raster, weights=...")
        names.append(stat)
    twice = {name for name in names if names.count(name) > 1}
    if twice or not names:
        raise ValuesError(
            f"statistics given twice: {', '.join(sorted(twice))}" if twice else "no statistics"
        )
    if custom and not has_values:
        raise ValuesError(
            f"statistic {custom[0].name!r} needs values, and there are none: give a raster, "
            "values=..."
        )
    return Wanted(tuple(names), tuple(custom))
