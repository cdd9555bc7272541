"""Why two places that should meet do not."""

from __future__ import annotations

from pyproj import CRS

from zoneraster._grid.crs import is_in_degrees

# West, south, east, north.
Box = tuple[float, float, float, float]


def likely_reason(one: Box, other: Box, crs: CRS, *, what: str, is_brought: bool = False) -> str:
    """The likely reason for which one place lies beside another, and the cure.

    Parameters
    ----------
    one, other : west, south, east, north
        In units of the CRS.
    crs : pyproj.CRS
    what : str
        What lies in `one`, in the plural: "the zones".
    is_brought : bool
        It was brought to the CRS from another.
    """
    west, south, east, north = one
    if _meet((south, west, north, east), other):
        return f"x and y of {what} seem to be swapped; they are read as east and north"
    if is_in_degrees(crs):
        if any(_meet((west + by, south, east + by, north), other) for by in (-360, 360)):
            return "one has longitudes of 0..360 and the other of -180..180 degrees: shift one"
    elif not is_brought and _meet(one, (-540, -90, 540, 90)):
        return f"{what} seem to be in degrees: do they declare the CRS that they have?"
    return f"are these {what} of another place, or is the CRS of one of both another?"


def _meet(one: Box, other: Box) -> bool:
    return one[0] < other[2] and other[0] < one[2] and one[1] < other[3] and other[1] < one[3]
