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
_PIXEL = r"(?:grid[ _-]?)?(?:px|pixels?|cells?)"
_PER_PIXEL = re.compile(
    rf"(?:/|\bper\b)\s*{_PIXEL}\b|\b{_PIXEL}\s*(?:\^|\*\*)?\s*(?:-1|⁻¹)", re.IGNORECASE
)


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


def unit_of(kind: str, units: str | None, area: str) -> str | None:
    """Unit of a statistic; None where nothing tells.

    Parameters
    ----------
    kind : str
        "value" as the values are, "square", "total" (a sum over pixels), "area", "area_total" (a
        sum of values times areas); "" for plain numbers.
    units : str or None
        Of the values.
    area : str
        Of areas.

    Examples
    --------
    >>> unit_of("area_total", "Mg C ha-1", "ha"), unit_of("area_total", "mm", "km2")
    ('Mg C', 'mm km2')
    >>> unit_of("total", "people/pixel", "ha"), unit_of("square", "m s-1", "ha")
    ('people', '(m s-1)2')
    """
    units = (units or "").strip()
    if kind == "area":
        return area
    if kind == "area_total":
        if rate_unit(units):
            return _without(_PER_AREA, units) or "1"
        return area if units in {"", "1"} else f"{units} {area}"
    if not units:
        return None
    if kind == "total":
        return _without(_PER_PIXEL, units) or "1"
    return {"value": units, "square": f"({units})2"}.get(kind)


def _without(part: re.Pattern[str], units: str) -> str:
    """Units without the first such part."""
    return " ".join(part.sub(" ", units, count=1).split()).strip(" */.·")


def name_with_unit(name: str, unit: str | None) -> str:
    """A column's name with its unit behind it, without what names of files and arrays cannot hold.

    Examples
    --------
    >>> name_with_unit("area", "ha"), name_with_unit("area_sum", "Mg C/yr")
    ('area_ha', 'area_sum_Mg_C_per_yr')
    """
    said = re.sub(r"\s*/\s*", "_per_", unit or "")
    said = re.sub(r"[^\w%.-]+", "_", said).strip("_")
    return f"{name}_{said}" if said and said != "1" else name


def check_units(
    wanted: Container[str], name: str, units: str | None, *, factor: float, method: str | None
) -> None:
    """Refuse sums of rates, rates of what is no rate, and sums of totals that stand several times.

    Parameters
    ----------
    wanted : names of statistics
    name : str
        Of the measure.
    units : str or None
    factor : float
        Side of the raster's pixels in pixels of the reduction.
    method : str or None
        How it was resampled; None where it was not.

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
    if "sum" in wanted:
        check_totals(name, units, factor=factor, method=method)
    is_total = bool(_PER_PIXEL.search(units or ""))
    if is_total and ("area_sum" in wanted or "area_mean" in wanted):
        raise ValuesError(
            f"{name!r} ({units}) is a total per pixel, which must not be multiplied by areas: ask "
            "for 'sum' and 'mean', or set its units with zr.Raster(..., units='') where they are "
            "wrong"
        )


def check_totals(name: str, units: str | None, *, factor: float, method: str | None) -> None:
    """Refuse totals of pixels that would be added several times, or that resampling has changed.

    Parameters as in `check_units`.

    Raises
    ------
    ValuesError
    """
    if not _PER_PIXEL.search(units or ""):
        return
    if factor > 1:
        raise ValuesError(
            f"{name!r} ({units}) holds a total in each pixel, and its pixels are {factor:g} times "
            "as wide as the grid's, so that each would be added several times: divide it by the "
            "area of its pixels and ask for 'area_sum', or build a store on its grid"
        )
    if method not in (None, "sum"):
        raise ValuesError(
            f"{name!r} ({units}) holds a total in each pixel, and resampling by {method!r} does "
            "not keep totals: give resample='sum', which does, or build a store on its grid"
        )
