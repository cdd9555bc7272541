"""Rows and columns of an xarray variable: which dimensions they are, and where their centres lie.

What a coordinate says of itself counts: its CF attributes tell its role, its units those of the
numbers, its bounds whether these are centres, and its digits how far they were rounded.
"""

from __future__ import annotations

import math
import re
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
from pyproj import CRS

from zoneraster._grid import SNAP_PIXELS, STEP_TOLERANCE, exact, simplest, simplest_between
from zoneraster.arrays import Floats
from zoneraster.errors import GridError, warn

if TYPE_CHECKING:
    import xarray as xr

Attributes: TypeAlias = Mapping[Any, Any]  # Any: a file may hold anything
Dims: TypeAlias = tuple[str, str]

# No centre may be moved further, in pixels.
FIT_PIXELS = 1e-3
# More decimals than these are all that a float64 has.
_MAX_DECIMALS = 12

_NAMES = (
    ("y", "x"),
    ("lat", "lon"),
    ("latitude", "longitude"),
    ("northing", "easting"),
    ("yc", "xc"),
    ("ydim", "xdim"),
    ("nlat", "nlon"),
    ("rlat", "rlon"),
)
_GEOGRAPHIC_NAMES = {"lat": "y", "latitude": "y", "lon": "x", "longitude": "x"}
_STANDARD_NAMES = {
    "latitude": "y", "projection_y_coordinate": "y", "grid_latitude": "y",
    "projection_y_angular_coordinate": "y",
    "longitude": "x", "projection_x_coordinate": "x", "grid_longitude": "x",
    "projection_x_angular_coordinate": "x",
}  # fmt: skip
_DEGREES_OF = re.compile(r"degrees?_?(n|north|e|east)", re.IGNORECASE)
# In metres and in radians.
_LENGTHS = {
    "m": 1.0, "metre": 1.0, "meter": 1.0, "km": 1000.0, "kilometre": 1000.0, "kilometer": 1000.0,
    "cm": 0.01, "centimetre": 0.01, "centimeter": 0.01, "mm": 0.001, "millimetre": 0.001,
    "millimeter": 0.001, "hm": 100.0, "ft": 0.3048, "foot": 0.3048, "feet": 0.3048,
    "us survey foot": 1200 / 3937, "us-ft": 1200 / 3937, "ftus": 1200 / 3937,
    "international foot": 0.3048,
}  # fmt: skip
_ANGLES = {
    "degree": math.pi / 180, "deg": math.pi / 180, "°": math.pi / 180,
    "rad": 1.0, "radian": 1.0, "microradian": 1e-6, "urad": 1e-6, "µrad": 1e-6,
    "milliradian": 1e-3, "mrad": 1e-3,
    "arcminute": math.pi / 10800, "arcmin": math.pi / 10800, "arc minute": math.pi / 10800,
    "arcsecond": math.pi / 648000, "arcsec": math.pi / 648000, "arc second": math.pi / 648000,
}  # fmt: skip


# ---- which dimensions --------------------------------------------------------------------------


def spatial_dims(
    dataset: xr.Dataset, dims: Sequence[Hashable], said: Attributes, asked: Dims | None = None
) -> Dims | None:
    """Dimensions of rows and columns; None where nothing tells them.

    Parameters
    ----------
    dataset : xarray.Dataset
    dims : sequence of names
        Among which they are.
    said : mapping
        Attributes; ``spatial:dimensions`` counts.
    asked : (str, str), optional
        Names that are taken without looking.

    Notes
    -----
    The attribute ``spatial:dimensions`` tells them, or CF's ``axis``, ``standard_name`` and
    ``units`` of their coordinates, in this order, or names, in lower case or upper case.
    """
    if asked is not None:
        return _pair(asked, dims)
    declared = said.get("spatial:dimensions", ())
    if not isinstance(declared, tuple | list | np.ndarray):
        raise TypeError(f"spatial:dimensions is {declared!r}, no two names")
    written = _pair(declared, dims)
    if written is not None:
        return written
    coordinates = {dim: coordinate_of(dataset, dim) for dim in dims}
    attributes = {dim: one.attrs for dim, one in coordinates.items() if one is not None}
    roles: dict[str, str] = {}
    for rule in (_role_by_axis, _role_by_standard_name, _role_by_units):
        found = {dim: rule(attrs) for dim, attrs in attributes.items()}
        for role in {"y", "x"} - {*roles}:
            fitting = [str(dim) for dim, its in found.items() if its == role]
            if len(fitting) == 1:
                roles[role] = fitting[0]
    if len({*roles.values()}) == 2:
        return roles["y"], roles["x"]
    return _dims_by_name(dims)


def _pair(names: Any, dims: Sequence[Hashable]) -> Dims | None:
    """Two names that are among dimensions; None for anything else. Any: an attribute, maybe."""
    if not isinstance(names, tuple | list | np.ndarray) or len(names) != 2 or names[0] == names[1]:
        return None
    return (str(names[0]), str(names[1])) if {*names} <= {*dims} else None


def _dims_by_name(dims: Sequence[Hashable]) -> Dims | None:
    for pair in _NAMES:
        fitting = [[str(dim) for dim in dims if str(dim).lower() == name] for name in pair]
        if [len(names) for names in fitting] == [1, 1]:
            return fitting[0][0], fitting[1][0]
    return None


def _role_by_axis(attributes: Attributes) -> str | None:
    role = str(attributes.get("axis")).lower()
    return role if role in {"y", "x"} else None


def _role_by_standard_name(attributes: Attributes) -> str | None:
    return _STANDARD_NAMES.get(str(attributes.get("standard_name")).lower())


def _role_by_units(attributes: Attributes) -> str | None:
    found = _DEGREES_OF.fullmatch(str(attributes.get("units")).strip())
    return found and {"n": "y", "e": "x"}[found[1][0].lower()]


def are_degrees(dataset: xr.Dataset, dims: Dims) -> bool:
    """Whether rows and columns are latitudes and longitudes by what they are called."""

    def role(dim: str) -> str | None:
        coordinate = coordinate_of(dataset, dim)
        attributes = {} if coordinate is None else coordinate.attrs
        standard = str(attributes.get("standard_name")).lower()
        by_name = standard if standard in _STANDARD_NAMES else dim.lower()
        return _GEOGRAPHIC_NAMES.get(by_name) or _role_by_units(attributes)

    return (role(dims[0]), role(dims[1])) == ("y", "x")


def coordinate_of(dataset: xr.Dataset, dim: Hashable) -> xr.Variable | None:
    """The row of numbers along a dimension: of its name, or the only one that tells its role."""
    if dim in dataset.coords:
        return dataset.variables[dim]
    rules = (_role_by_axis, _role_by_standard_name, _role_by_units)
    along = [
        one.variable
        for one in dataset.coords.values()
        if one.dims == (dim,) and any(rule(one.attrs) for rule in rules)
    ]
    return along[0] if len(along) == 1 else None


# ---- where the centres lie ---------------------------------------------------------------------


@dataclass(frozen=True, slots=True, eq=False)
class Centres:
    """Centres of pixels along an axis.

    Parameters
    ----------
    name : str
        "y" or "x", for errors.
    values : float64 array
        In units of the reference system, as they are stored.
    decimals : float64 array
        The same; of float32 the decimals that they stand for.
    digits : float
        Half of the last decimal that they are written with, or of the last bit of float32, in
        these units: how far rounding may have moved them; 0 for what has all digits of a float64.
    width : float or None
        Of a pixel, where bounds tell it.
    bounds_left : str or None
        Name of bounds that are declared and not there.
    """

    name: str
    values: Floats
    decimals: Floats
    digits: float
    width: float | None
    bounds_left: str | None = None

    @property
    def is_rising(self) -> bool:
        """Whether they run eastward or northward."""
        return self.values.size > 1 and bool(self.values[0] < self.values[-1])

    def turned(self) -> Centres:
        """The same in opposite order."""
        values, decimals = self.values[::-1], self.decimals[::-1]
        return replace(self, values=values, decimals=decimals)


def centres_of(dataset: xr.Dataset, dim: str, role: str, crs: CRS) -> Centres | None:
    """Centres along a dimension; None where it has no coordinate.

    Raises
    ------
    GridError
        For coordinates that are no finite numbers, in units that do not go with the reference
        system, or that lie neither at the centres nor at the edges of their bounds.
    """
    variable = coordinate_of(dataset, dim)
    if variable is None:
        return None
    values, width = _by_bounds(dataset, dim, variable, _numbers(dim, variable))
    is_short = variable.dtype.kind == "f" and variable.dtype.itemsize < 8
    digits, decimals = _written(values, is_short)
    factor = _unit_factor(dim, variable.attrs, crs)
    if factor != 1:
        values, decimals = values * factor, decimals * factor
        digits, width = digits * factor, width and width * factor
    said = _bounds_name(variable)
    left = None if said is None or said in dataset.variables else said
    return Centres(role, values, decimals, digits, width, left)


def _numbers(name: str, variable: xr.Variable) -> Floats:
    """Values of a coordinate, unpacked where that was not done."""
    values = variable.values
    if values.ndim == 0 or values.dtype.kind not in "fiu" or not np.isfinite(values).all():
        raise GridError(
            f"coordinate {name!r} ({values.dtype}) is not a row of finite numbers: "
            "give the pixel centres as float64"
        )
    said = {key: variable.attrs.get(key) for key in ("scale_factor", "add_offset")}
    if not any(value is not None for value in said.values()):
        # Not rounded anew: float32 are the numbers they are.
        return np.asarray(values, dtype=np.float64)
    if values.dtype.kind == "f" and not variable.encoding:
        warn(
            f"coordinate {name!r} holds {values.dtype} and declares {said}, which it has from what "
            "it was computed from: ignored"
        )
        return np.asarray(values, dtype=np.float64)
    try:
        scale, offset = (
            default if value is None else float(np.ravel(value)[0])
            for value, default in zip(said.values(), (1.0, 0.0), strict=True)
        )
    except (TypeError, ValueError, IndexError) as err:
        raise GridError(f"coordinate {name!r} declares {said}, no numbers: correct it") from err
    return values.astype(np.float64) * scale + offset


def _by_bounds(
    dataset: xr.Dataset, name: str, variable: xr.Variable, values: Floats
) -> tuple[Floats, float | None]:
    """Centres by CF bounds, and the width of a pixel; as they are where there are no bounds."""
    said = _bounds_name(variable)
    if said not in dataset.variables or values.size == 0:
        return values, None
    bounds = _numbers(str(said), dataset.variables[said])
    if bounds.shape != (values.size, 2):
        raise GridError(
            f"bounds {said!r} of coordinate {name!r} have the shape {bounds.shape}, not "
            f"{(values.size, 2)}: correct or drop them"
        )
    low, high = bounds.min(axis=1), bounds.max(axis=1)
    width, middle = float(np.median(high - low)), (low + high) / 2
    # The outer cells of a grid with centres on the poles are cut in half.
    inner = slice(1, -1) if values.size > 2 else slice(None)

    def fits(place: Floats) -> bool:
        return bool(np.abs(values - place)[inner].max() <= FIT_PIXELS * width)

    if fits(middle):
        return values, width
    if not (fits(low) or fits(high)):
        raise GridError(
            f"coordinate {name!r} lies neither at the centres nor at the edges of its bounds "
            f"{said!r} (first {values[0]:.9g}, within {low[0]:.9g} to {high[0]:.9g}): correct "
            "one of them, or drop the bounds"
        )
    warn(
        f"coordinate {name!r} has the {'lower' if fits(low) else 'upper'} edges of its bounds "
        f"{said!r}: the centres are those of the bounds"
    )
    return middle, width


def _bounds_name(variable: xr.Variable) -> str | None:
    said = variable.attrs.get("bounds") or variable.encoding.get("bounds")
    return None if said is None else str(said)


def _unit_factor(name: str, attributes: Attributes, crs: CRS) -> float:
    """What coordinates are multiplied by, so that they are in units of the reference system."""
    said = attributes.get("units")
    if said is None or not str(said).strip():
        return 1.0
    axis = crs.axis_info[0] if crs.axis_info else None
    kind, size = _parsed_unit(str(said))
    if axis is None or kind is None:
        warn(
            f"coordinate {name!r} has units {said!r}, which say nothing here: taken for those of "
            f"the CRS ({axis.unit_name if axis else 'none'})"
        )
        return 1.0
    own = "angle" if crs.is_geographic else "length"
    if kind == "angle" and own == "length":
        height = _height_of_satellite(crs)
        if height is None:
            raise GridError(_other_units(name, said, axis.unit_name))
        size *= height
    elif kind != own:
        raise GridError(_other_units(name, said, axis.unit_name))
    factor = size / axis.unit_conversion_factor
    whole = round(factor)
    return float(whole) if whole and math.isclose(factor, whole, rel_tol=1e-9) else factor


def _other_units(name: str, said: object, unit: str) -> str:
    return (
        f"coordinate {name!r} is in {said}, and the CRS in {unit}: correct the attribute units, or "
        "name the reference system of the coordinates, Raster(..., crs=...)"
    )


def _height_of_satellite(crs: CRS) -> float | None:
    """Metres along a radian of a geostationary view."""
    parameters = crs.coordinate_operation.params if crs.coordinate_operation else []
    heights = [one.value for one in parameters if one.name.lower() == "satellite height"]
    return float(heights[0]) if heights else None


def _parsed_unit(text: str) -> tuple[str | None, float]:
    """Kind of a unit, None for an unknown one, and its size in metres or radians."""
    found = re.fullmatch(r"\s*([0-9.]+(?:e[+-]?\d+)?)?\s*\*?\s*(\D.*?)\s*", text.lower())
    if found is None:
        return None, 1.0
    count, name = float(found[1] or 1), found[2].replace("_", " ")
    for kind, sizes in (("length", _LENGTHS), ("angle", _ANGLES)):
        for one in (name, name.removesuffix("s")):
            if one in sizes:
                return kind, count * sizes[one]
    if _DEGREES_OF.fullmatch(found[2].replace(" ", "_")):
        return "angle", count * _ANGLES["degree"]
    return None, 1.0


# ---- the lattice of an axis --------------------------------------------------------------------


def _written(values: Floats, is_short: bool) -> tuple[float, Floats]:
    """Half of the last digit that centres are written with, and the decimals they stand for."""
    largest = float(np.abs(values).max(initial=0))
    with np.errstate(over="ignore"):
        is_short = is_short or bool((values.astype(np.float32) == values).all())
    noise = float(np.spacing(np.float32(largest))) / 2 if is_short else 2 * math.ulp(largest)
    for n in range(_MAX_DECIMALS + 1):
        decimals = np.round(values, n)
        if (np.abs(values - decimals) <= noise).all():
            return 10.0**-n / 2 + (noise if is_short else 0), decimals if is_short else values
    return 0.0, values


def axis_of(centres: Centres) -> tuple[Fraction, Fraction | float]:
    """Step, negative southward or westward, and outer edge of pixel centres.

    They are even to the last digits of a float64, or a simple lattice has them within what they
    were rounded by, at most 1/1000 pixel, or they are even to 1e-6 pixels.

    Raises
    ------
    GridError
        When none of it holds.
    """
    values, name = centres.values, centres.name
    if values.size == 1 and centres.width:
        # Rows go south, columns east.
        side = simplest(exact(centres.width), STEP_TOLERANCE) * (-1 if name == "y" else 1)
        return side, float(values[0]) - float(side) / 2
    if values.size < 2:
        raise GridError(
            f"{values.size} {name} coordinate has no step: write a transform, e.g. "
            "obj.rio.write_transform(transform)"
        )
    even = [one for one in (values, centres.decimals) if _unevenness(one) <= _noise(one)]
    if even and values[0] != values[-1]:
        return min(map(_even_lattice, even), key=lambda found: found[0].denominator)
    uneven, step = _unevenness(values), float(values[-1] - values[0]) / (values.size - 1)
    digits = min(centres.digits, FIT_PIXELS * abs(step))
    found = _rounded_lattice(centres.decimals, step, digits) if digits else None
    if found is not None:
        return found
    if step == 0 or uneven > SNAP_PIXELS * abs(step):
        raise GridError(
            f"{name} coordinates are uneven by up to {uneven:.3g} at a mean step of {step:.6g}, "
            f"more than rounding them to their last digit explains ({centres.digits:.1g}, and at "
            "most 1/1000 pixel): give exact centres, or write a transform, e.g. "
            "obj.rio.write_transform(transform)"
        )
    return _even_lattice(values)


def _unevenness(values: Floats) -> float:
    step = float(values[-1] - values[0]) / (values.size - 1)
    return float(np.abs(values - (float(values[0]) + np.arange(values.size) * step)).max())


def _noise(values: Floats) -> float:
    """What the ends may be off by, each rounded to float64."""
    return 4 * math.ulp(max(abs(float(values[0])), abs(float(values[-1]))))


def _even_lattice(values: Floats) -> tuple[Fraction, float]:
    first, last = float(values[0]), float(values[-1])
    step = (last - first) / (values.size - 1)
    # The ends are rounded, so the step of a short axis is less sharp than 1e-12.
    noise = _noise(values) / abs(last - first)
    simple = simplest(exact(step), max(STEP_TOLERANCE, exact(noise)))
    return simple, first - float(simple) / 2


def _rounded_lattice(
    values: Floats, step: float, digits: float
) -> tuple[Fraction, Fraction] | None:
    """The simplest step and edge whose centres are these, once rounded; None where none are."""
    sign, counts = (-1 if step < 0 else 1), np.arange(values.size)
    slope = abs(float(np.polyfit(counts, values - values[0], 1)[0]))
    slack = digits + 2 * math.ulp(float(np.abs(values).max()))
    # Any step of the widest span is tried; where that is too simple, one nearer to the mean slope.
    reach = 2 * slack / (values.size - 1)
    for span in (reach / 2**n for n in range(12)):
        low, high = Fraction(slope - span), Fraction(slope + span)
        if low <= 0:
            continue
        simple = sign * simplest_between(low, high)
        left = values - counts * float(simple)
        if left.max() - left.min() <= 2 * slack:
            edge = (Fraction(float(left.max()) - slack), Fraction(float(left.min()) + slack))
            half = simple / 2
            return simple, _simplest_edge(edge[0] - half, edge[1] - half, abs(simple))
    return None


def _simplest_edge(low: Fraction, high: Fraction, step: Fraction) -> Fraction:
    """A whole number of steps, a half, a third ... or the shortest decimal within a span."""
    middle = (low + high) / 2
    for parts in (1, 2, 3, 4, 5, 6, 8, 10, 12):
        near = Fraction(round(middle / step * parts), parts) * step
        if low <= near <= high:
            return near
    return next(
        near
        for near in (Fraction(round(middle * 10**n), 10**n) for n in range(400))
        if low <= near <= high
    )
