"""A value raster and how to read it, and the conditions that comparing it makes.

Pure records. Nothing is opened here.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Any, ForwardRef, TypeAlias

import numpy as np
import numpy.typing as npt

from zoneraster._values.numbers import Number, plain_number
from zoneraster.arrays import Later
from zoneraster.blobs import Location
from zoneraster.errors import ValuesError

if TYPE_CHECKING:
    import xarray as xr

    XarrayLike: TypeAlias = xr.DataArray | xr.Dataset
else:
    xr = Later("xarray")
    XarrayLike = ForwardRef("xr.DataArray | xr.Dataset", module=__name__)

# What can be opened as a raster; several of them are its tiles. Any: those, and all dtypes.
SourceLike: TypeAlias = (
    str | os.PathLike[str] | Location | XarrayLike | Sequence[Any] | npt.NDArray[Any]
)

COMPARISONS = (">=", ">", "<=", "<", "==", "!=")


@dataclass(frozen=True, slots=True, eq=False)
class Raster:
    """A value raster, and how to read it.

    Parameters
    ----------
    source : path, URL, xarray.DataArray, xarray.Dataset, array, or sequence of these
        Zarr, GeoTIFF or COG, NetCDF, HDF5 or GRIB, arrays in memory or backed by dask. Tiles of one
        raster as a list, a folder of raster files, a pattern such as ``tiles/*.tif``, a VRT whose
        sources lie beside it, or STAC items. An array without places of its own needs `transform`
        and `crs`.
    variable : str, optional
        Which variable of a Zarr group or Dataset with several, or asset of STAC items.
    band : int, optional
        Which band, from 1, of a raster file with several.
    nodata : number or sequence of numbers, optional
        Values that mean "no value", in stored units, beside those that the raster declares. NaN
        always means it; where it is among them, they take the place of what is declared.
    units : str, optional
        Such as "Mg/ha"; by default the attribute `units`. Decides whether sums or area sums make
        sense.
    crs : optional
        Reference system to take in place of the declared one.
    transform : affine.Affine or six numbers, optional
        Of a NumPy or dask array, (rows, cols) or (band, rows, cols): a, b, c, d, e, f.
    dims : (str, str), optional
        Dimensions of rows and columns of a Zarr, DataArray or Dataset, where it is not told by CF
        attributes or by names such as (y, x) and (lat, lon).
    raw : bool
        Leave a declared scale and offset alone.
    resample : str, optional
        How a raster on another lattice is brought to the store's: "nearest", "average", ...

    version : str, optional
        Stands for the pixels in a checkpoint: give another one whenever they change. Without it a
        checkpoint goes by the state of files and objects, and reads what is backed by dask or
        opened lazily to see whether it changed.
    storage_options : mapping, optional
        For fsspec, of a Zarr at a URL; never shown.

    Notes
    -----
    Comparisons (``raster >= 30``) give conditions for ``where=``; so do `isin` and `is_valid`.

    Examples
    --------
    >>> (Raster("tcd.zarr") >= 30) | Raster("mangrove.zarr").isin([1, 2])
    (tcd.zarr >= 30 | mangrove.zarr isin (1, 2))
    """

    source: SourceLike
    variable: str | None = field(default=None, kw_only=True)
    band: int | None = field(default=None, kw_only=True)
    nodata: float | Sequence[float] | None = field(default=None, kw_only=True)
    units: str | None = field(default=None, kw_only=True)
    crs: object = field(default=None, kw_only=True)
    transform: Sequence[float] | None = field(default=None, kw_only=True)
    dims: tuple[str, str] | None = field(default=None, kw_only=True)
    raw: bool = field(default=False, kw_only=True)
    resample: str | None = field(default=None, kw_only=True)
    version: str | None = field(default=None, kw_only=True)
    storage_options: Mapping[str, object] | None = field(default=None, kw_only=True, repr=False)

    # So that NumPy's numbers leave `0.3 <= raster` to the raster.
    __array_ufunc__ = None

    def __post_init__(self) -> None:
        asked = plain_number(self.nodata)
        if isinstance(asked, list | tuple | set | np.ndarray):
            asked = tuple(map(plain_number, asked))
        given = asked if isinstance(asked, tuple) else () if asked is None else (asked,)
        if not all(isinstance(value, int | float) for value in given):
            raise ValuesError(
                f"nodata={self.nodata!r} must be a number in stored units, or several: "
                "nodata=-9999, nodata=[-99, -88]"
            )
        object.__setattr__(self, "nodata", asked)

    @property
    def asked_nodata(self) -> tuple[Number, ...] | None:
        """The nodata values that were given; None where none were."""
        if self.nodata is None or isinstance(self.nodata, tuple):
            return self.nodata
        return (self.nodata,)  # type: ignore[return-value]

    def __ge__(self, value: float) -> Predicate:
        return Comparison(self, ">=", value)

    def __gt__(self, value: float) -> Predicate:
        return Comparison(self, ">", value)

    def __le__(self, value: float) -> Predicate:
        return Comparison(self, "<=", value)

    def __lt__(self, value: float) -> Predicate:
        return Comparison(self, "<", value)

    def __eq__(self, value: object) -> Predicate:  # type: ignore[override]
        return Comparison(self, "==", value)

    def __ne__(self, value: object) -> Predicate:  # type: ignore[override]
        return Comparison(self, "!=", value)

    __hash__ = object.__hash__

    def isin(self, values: Sequence[float]) -> Predicate:
        """Pixels that hold one of some values."""
        return Comparison(self, "isin", tuple(values))

    def is_valid(self) -> Predicate:
        """Pixels that hold a value at all."""
        return Comparison(self, "isvalid", None)

    def __str__(self) -> str:
        return label_of(self.source)


RasterLike: TypeAlias = SourceLike | Raster


def label_of(source: object) -> str:
    """Name of a source for people."""
    if isinstance(source, str | os.PathLike | Location):
        return str(source) if isinstance(source, Location) else os.fspath(source)
    if isinstance(source, list | tuple) and source:
        return (
            f"{label_of(source[0])} and {len(source) - 1} more"
            if source[1:]
            else label_of(source[0])
        )
    name = getattr(source, "name", None)  # of a Dataset it is a variable
    is_named = isinstance(name, str) and bool(name)
    return f"{type(source).__name__} {name!r}" if is_named else type(source).__name__


def stem_of(path: str) -> str:
    """Name of a file or group without folder and ending."""
    return PurePosixPath(path.partition("?")[0].rstrip("/")).stem


def as_raster(source: RasterLike) -> Raster:
    """A raster, with the defaults where only a source is given."""
    return source if isinstance(source, Raster) else Raster(source)


class Predicate:
    """A condition on pixels; combine with ``&``, ``|`` and ``~``. Made by comparing a `Raster`."""

    __slots__ = ()

    def __and__(self, other: Predicate) -> Predicate:
        return Combination("&", self, other)

    def __or__(self, other: Predicate) -> Predicate:
        return Combination("|", self, other)

    def __invert__(self) -> Predicate:
        return Negation(self)

    def __bool__(self) -> bool:
        raise ValuesError(
            "a condition on pixels is neither true nor false: combine conditions with & | ~, not "
            "with and, or, not, and put comparisons in parentheses"
        )

    def bound(self, number: Callable[[Raster], int]) -> Predicate:
        """The same condition with numbers in place of rasters: what travels to workers."""
        raise NotImplementedError


@dataclass(frozen=True, slots=True, eq=False)
class Comparison(Predicate):
    """A raster against a number; false where the raster has no value.

    Parameters
    ----------
    raster : Raster, or its number once it is bound
    how : one of `COMPARISONS`, "isin" or "isvalid"
    value : number, numbers, or None
    """

    raster: Raster | int
    how: str
    value: Any  # Any: a number, several, or None

    def __post_init__(self) -> None:
        values = {"isvalid": (), "isin": self.value}.get(self.how, (self.value,))
        values = tuple(map(plain_number, values))
        if self.how != "isvalid":
            object.__setattr__(self, "value", values if self.how == "isin" else values[0])
        if not all(isinstance(n, int | float) and n == n for n in values):
            raise ValuesError(
                f"{self.raster} {self.how} {self.value!r}: a raster is compared with numbers; "
                "is_valid() tells pixels with a value, & and | join conditions of two rasters"
            )

    def bound(self, number: Callable[[Raster], int]) -> Predicate:
        """With the number of the raster."""
        assert isinstance(self.raster, Raster)
        return replace(self, raster=number(self.raster))

    def __repr__(self) -> str:
        return f"{self.raster} {self.how}" + ("" if self.value is None else f" {self.value!r}")


@dataclass(frozen=True, slots=True, eq=False)
class Combination(Predicate):
    """Two conditions joined by ``&`` or ``|``."""

    how: str
    left: Predicate
    right: Predicate

    def bound(self, number: Callable[[Raster], int]) -> Predicate:
        """With numbers on both sides."""
        return replace(self, left=self.left.bound(number), right=self.right.bound(number))

    def __repr__(self) -> str:
        return f"({self.left!r} {self.how} {self.right!r})"


@dataclass(frozen=True, slots=True, eq=False)
class Negation(Predicate):
    """Everything else; pixels without a value too."""

    of: Predicate

    def bound(self, number: Callable[[Raster], int]) -> Predicate:
        """With numbers inside."""
        return replace(self, of=self.of.bound(number))

    def __repr__(self) -> str:
        return f"~{self.of!r}"
