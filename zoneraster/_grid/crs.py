"""Reference systems: taken from what users give, compared and named."""

from __future__ import annotations

from pyproj import CRS
from pyproj.exceptions import CRSError

from zoneraster.errors import GridError


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


def same_crs(one: CRS, other: CRS) -> bool:
    """Both place the same coordinates, x east and y north, alike; the order of axes is none."""
    return one is other or one.equals(other, ignore_axis_order=True)


def is_in_degrees(crs: CRS) -> bool:
    """Whether x and y are longitude and latitude in degrees."""
    return crs.is_geographic and crs.axis_info[0].unit_name == "degree"


def crs_name(crs: CRS) -> str:
    """Its authority code, or its own name where it has none."""
    authority = crs.to_authority(min_confidence=100)
    return ":".join(authority) if authority else crs.name
