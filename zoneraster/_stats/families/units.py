"""Units of values: which sums mean something."""

from __future__ import annotations

import re
from collections.abc import Container

from zoneraster.errors import ValuesError

# Square metres of each unit of areas.
AREA_UNITS = {"m2": 1.0, "ha": 1e4, "km2": 1e6}
_PER_AREA = re.compile(
    r"(?:/|\bper\b)\s*(?P<after>ha|hectares?|km2|km²|km\^2|m2|m²|m\^2)(?![A-Za-z0-9])"
    r"|(?<![A-Za-z])(?P<power>ha|km|m)\s*\^?\s*(?:\*\*)?\s*(?P<exponent>-\d|⁻[¹²])(?!\d)",
    re.IGNORECASE,
)
_PER_PIXEL = re.compile(r"(?:/|\bper\b)\s*(?:px|pixel|cell)\b|\b(?:px|pixel|cell)\s*\^?-1", re.I)


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


def check_units(wanted: Container[str], name: str, units: str | None, *, factor: float) -> None:
    """Refuse sums of rates, rates of what is no rate, and sums of totals that stand several times.

    Parameters
    ----------
    wanted : names of statistics
    name : str
        Of the measure.
    units : str or None
    factor : float
        Side of the raster's pixels in pixels of the reduction.

    Raises
    ------
    ValuesError
    """
    unit = rate_unit(units)
    if unit and "sum" in wanted:
        raise ValuesError(
            f"the sum of {name!r} ({units}) over pixels means nothing, as it is a rate per {unit}: "
            "ask for 'area_sum' (the total) or 'area_mean', or set its units with "
            "zr.Raster(..., units='') where they are wrong"
        )
    is_total = bool(_PER_PIXEL.search(units or ""))
    if is_total and factor > 1 and "sum" in wanted:
        raise ValuesError(
            f"{name!r} ({units}) holds a total in each pixel, and its pixels are {factor:g} times "
            "as wide as the store's, so that each would be added several times: divide it by the "
            "area of its pixels and ask for 'area_sum', or build a store on its grid"
        )
    if is_total and ("area_sum" in wanted or "area_mean" in wanted):
        raise ValuesError(
            f"{name!r} ({units}) is a total per pixel, which must not be multiplied by areas: ask "
            "for 'sum' and 'mean', or set its units with zr.Raster(..., units='') where they are "
            "wrong"
        )
