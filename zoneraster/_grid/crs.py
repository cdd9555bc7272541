"""Reference systems: taken from what users give, compared and named.

A raster has places and no heights, x goes east and y north: of a system only the horizontal part
counts, and neither its spelling nor the order of its axes does.
"""

from __future__ import annotations

import functools
import math
import re
import warnings

import numpy as np
from pyproj import CRS, Proj
from pyproj.exceptions import CRSError, ProjError

from zoneraster.arrays import Floats
from zoneraster.errors import GridError

# Names that stand for none, of a datum.
_NO_NAME = re.compile(r"unknown|undefined|unnamed|not.?specified")
# Metres, and shares of an ellipsoid's radius and flattening: GRS 80 is that of WGS 84.
_PLACE_TOLERANCE = 1e-4
_RADIUS_TOLERANCE = 1e-9
_FLATTENING_TOLERANCE = 1e-8


def checked_crs(crs: object) -> CRS:
    """A reference system from anything that pyproj takes.

    Raises
    ------
    GridError
        For what is none.
    """
    try:
        return crs if isinstance(crs, CRS) else CRS.from_user_input(crs)
    except CRSError as err:
        raise GridError(f"unknown CRS {crs!r:.200}: give a code like 'EPSG:4326' or WKT") from err


# ---- comparing ---------------------------------------------------------------------------------


def same_crs(one: CRS, other: CRS) -> bool:
    """Both place the same coordinates, x east and y north, alike.

    Heights, the order of axes, names and the way of writing do not count. A system that names no
    datum but an ellipsoid like that of WGS 84 is the same as one on a datum with such an ellipsoid.
    """
    if one is other or one.equals(other, ignore_axis_order=True):
        return True
    return _same_parts(one.to_wkt(), other.to_wkt())


@functools.lru_cache(maxsize=256)
def _same_parts(one: str, other: str) -> bool:
    a, b = _horizontal(CRS(one)), _horizontal(CRS(other))
    if a.equals(b, ignore_axis_order=True):
        return True
    if a.is_geocentric or b.is_geocentric:
        return False
    return _same_shape(a, b) and _same_datum(a, b) and _same_places(a, b)


def _horizontal(crs: CRS) -> CRS:
    """Without heights, and without a transformation to another system that is kept with it."""
    if crs.is_compound:
        return _horizontal(crs.sub_crs_list[0])
    if crs.is_bound and crs.source_crs is not None:
        return _horizontal(crs.source_crs)
    return crs.to_2d() if len(crs.axis_info) == 3 and not crs.is_geocentric else crs


def _same_shape(one: CRS, other: CRS) -> bool:
    a, b = one.ellipsoid, other.ellipsoid
    if a is None or b is None:
        return False
    radii = (a.semi_major_metre, b.semi_major_metre)
    return math.isclose(*radii, rel_tol=_RADIUS_TOLERANCE) and math.isclose(
        _flattening(one), _flattening(other), abs_tol=_FLATTENING_TOLERANCE
    )


def _flattening(crs: CRS) -> float:
    shape = crs.ellipsoid
    return 1 - shape.semi_minor_metre / shape.semi_major_metre if shape else 0.0


def _same_datum(one: CRS, other: CRS) -> bool:
    base, its_base = one.geodetic_crs, other.geodetic_crs
    if base is None or its_base is None:
        return False
    if base.equals(its_base, ignore_axis_order=True) or _datum_name(one) == _datum_name(other):
        return True
    # What one version of PROJ calls otherwise than another has kept its number.
    codes = [_code(one), _code(other)], [_code(base), _code(its_base)]
    if any(a is not None and a == b for a, b in codes):
        return True
    if _flattening(one) == 0:
        return True
    return (_is_unnamed(one) or _is_unnamed(other)) and _is_modern(one)


def _code(crs: CRS) -> str | None:
    """The code that is written with it, if there is one."""
    said = crs.to_json_dict().get("id")
    return said and f"{said['authority']}:{said['code']}"


def _datum_name(crs: CRS) -> str:
    name = crs.datum.name.lower() if crs.datum else ""
    return re.sub(r"[^a-z0-9]|ensemble|^d_", "", name)


def _is_unnamed(crs: CRS) -> bool:
    return crs.datum is None or _NO_NAME.match(crs.datum.name.lower()) is not None


def _is_modern(crs: CRS) -> bool:
    """Its ellipsoid is that of WGS 84, or GRS 80: datums on these are a metre or two apart."""
    return _same_shape(crs, CRS("EPSG:4326"))


def has_wgs84_shape(crs: CRS) -> bool:
    """Whether it names an ellipsoid like that of WGS 84 and no datum, as CF parameters often do."""
    return _is_unnamed(crs) and _is_modern(crs)


def _same_places(one: CRS, other: CRS) -> bool:
    """Both have the same coordinates for the same longitudes and latitudes."""
    plain = [crs.is_geographic and not crs.is_derived for crs in (one, other)]
    if any(plain):
        units = {crs.axis_info[0].unit_conversion_factor for crs in (one, other)}
        meridians = [_meridian(crs) for crs in (one, other)]
        return all(plain) and len(units) == 1 and math.isclose(*meridians, abs_tol=1e-9)
    x, y = _sample(one, other)
    mine, theirs = _placed(one, x, y), _placed(other, x, y)
    if mine is None or theirs is None:
        # PROJ does not know the method.
        return _code(one) is not None and _code(one) == _code(other)
    apart = np.hypot(*(mine - theirs))
    told = apart[np.isfinite(apart)]
    return bool(told.size) and bool(told.max() <= _PLACE_TOLERANCE)


def _meridian(crs: CRS) -> float:
    zero = crs.prime_meridian
    return float(zero.longitude) * float(zero.unit_conversion_factor) if zero else 0.0


def _sample(*systems: CRS) -> tuple[Floats, Floats]:
    """Longitudes and latitudes over the area of use of one of them, or over the globe."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        area = next((one.area_of_use for one in systems if one.area_of_use), None)
    west, south, east, north = area.bounds if area else (-179.0, -89.0, 179.0, 89.0)
    east = east + 360 if east < west else east
    x, y = np.meshgrid(np.linspace(west, east, 19), np.linspace(south, north, 19))
    return (x.ravel() + 180) % 360 - 180, y.ravel()


def _placed(crs: CRS, x: Floats, y: Floats) -> Floats | None:
    """East and north, NaN where there is no place; None where PROJ cannot tell."""
    with warnings.catch_warnings():
        # That the text it goes by has no datum is just what is wanted.
        warnings.simplefilter("ignore")
        try:
            placed = np.array(Proj(crs)(x, y), dtype=np.float64)
        except (CRSError, ProjError):
            return None
    return np.where(np.isfinite(placed), placed, np.nan)


# ---- naming ------------------------------------------------------------------------------------


def is_in_degrees(crs: CRS) -> bool:
    """Whether x and y are longitude and latitude in degrees."""
    return crs.is_geographic and crs.axis_info[0].unit_name == "degree"


def crs_name(crs: CRS) -> str:
    """Its authority code, or its own name where it has none."""
    authority = crs.to_authority(min_confidence=100)
    return ":".join(authority) if authority else crs.name


def crs_names(one: CRS, other: CRS) -> tuple[str, str]:
    """Names in full of two that differ, so that one sees in what."""
    names = [_full_name(crs, with_datum=False) for crs in (one, other)]
    if names[0] == names[1] or any(_NO_NAME.match(crs.name.lower()) for crs in (one, other)):
        names = [_full_name(crs, with_datum=True) for crs in (one, other)]
    if names[0] == names[1]:
        names = [crs.to_wkt() for crs in (one, other)]
    return names[0], names[1]


def _full_name(crs: CRS, *, with_datum: bool) -> str:
    authority = crs.to_authority(min_confidence=100)
    said = [":".join(authority)] if authority else []
    if with_datum and crs.datum is not None and crs.ellipsoid is not None:
        shape = f"{crs.ellipsoid.semi_major_metre:.12g}, {crs.ellipsoid.inverse_flattening:.12g}"
        said += [f"datum {crs.datum.name}", f"ellipsoid {crs.ellipsoid.name} ({shape})"]
    return f"{crs.name} ({'; '.join(said)})" if said else crs.name
