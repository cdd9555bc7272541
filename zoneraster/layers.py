"""What is read at each pixel: layers, the labels that group them, predicates that choose pixels.

Pure records. Nothing is opened here; `values` opens layers, `reduce` evaluates what stands here.
"""

from __future__ import annotations

import operator
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
import numpy.typing as npt

from zoneraster.errors import ValuesError

if TYPE_CHECKING:
    import xarray as xr

# What can be opened as a raster.
SourceLike: TypeAlias = "str | os.PathLike[str] | xr.DataArray | xr.Dataset"
LayerLike: TypeAlias = "SourceLike | Layer"
Bools: TypeAlias = npt.NDArray[np.bool_]
# Any: the dtype of the layer.
Read: TypeAlias = "Callable[[Layer | int], tuple[npt.NDArray[Any], Bools]]"

# Codes of pixels that no label of a key describes; real codes lie far above.
NODATA_CODE = -(2**62)
UNLISTED_CODE = NODATA_CODE + 1
BELOW_CODE = NODATA_CODE + 2
EXCLUDED_CODE = NODATA_CODE + 3
# Left out too, and a layer of the predicate has no value there.
UNKNOWN_CODE = EXCLUDED_CODE + 1
# Of pixels that a predicate leaves in.
INCLUDED_CODE = 0
_BUCKETS = ("nodata", "unlisted")


@dataclass(frozen=True, slots=True, eq=False)
class Layer:
    """A raster, and how to read it.

    Parameters
    ----------
    source : path, URL, xarray.DataArray or xarray.Dataset
        Zarr, GeoTIFF or COG; arrays in memory or backed by dask.
    variable : str, optional
        Which variable of a Zarr group or Dataset with several.
    band : int, optional
        Which band, from 1, of a raster file with several.
    nodata : number, optional
        The value that means "no value", in stored units; by default what the raster declares. NaN
        always means it.
    units : str, optional
        Such as "Mg/ha"; by default the attribute `units`. Decides whether sums or area sums make
        sense.
    crs : optional
        Reference system to take in place of the declared one.
    raw : bool
        Leave a declared scale and offset alone.
    resample : str, optional
        How a raster on another lattice is brought to the store's: "nearest", "average", ...

    Notes
    -----
    Comparisons (``layer >= 30``) give predicates for ``where=``; so do `isin` and `is_valid`.

    Examples
    --------
    >>> (Layer("tcd.zarr") >= 30) | Layer("mangrove.zarr").isin([1, 2])
    (tcd.zarr >= 30 | mangrove.zarr isin (1, 2))
    """

    source: SourceLike
    variable: str | None = field(default=None, kw_only=True)
    band: int | None = field(default=None, kw_only=True)
    nodata: float | None = field(default=None, kw_only=True)
    units: str | None = field(default=None, kw_only=True)
    crs: object = field(default=None, kw_only=True)
    raw: bool = field(default=False, kw_only=True)
    resample: str | None = field(default=None, kw_only=True)

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


def label_of(source: object) -> str:
    """Name of a source for people."""
    if isinstance(source, str | os.PathLike):
        return os.fspath(source)
    name = getattr(source, "name", None)
    return f"{type(source).__name__} {name!r}" if name else type(source).__name__


def as_layer(source: LayerLike) -> Layer:
    """A layer, with the defaults where only a source is given."""
    return source if isinstance(source, Layer) else Layer(source)


class Predicate:
    """A condition on pixels; combine with ``&``, ``|`` and ``~``. Made by comparing a `Layer`."""

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

    def layers(self) -> Iterator[Layer]:
        """Layers that the condition reads; one that stands twice comes twice."""
        raise NotImplementedError

    def bound(self, number: Callable[[Layer], int]) -> Predicate:
        """The same condition with numbers in place of layers: what travels to workers."""
        raise NotImplementedError

    def holds(self, read: Read) -> Bools:
        """Where the condition holds.

        Parameters
        ----------
        read : callable
            Gives the pixels of a layer, by its number, and which of them hold a value.
        """
        raise NotImplementedError


@dataclass(frozen=True, slots=True, eq=False)
class Comparison(Predicate):
    """A layer against a number; false where the layer has no value."""

    layer: Layer | int
    how: str
    value: Any  # Any: a number, several, or None

    def __post_init__(self) -> None:
        values = {"isvalid": (), "isin": self.value}.get(self.how, (self.value,))
        if not all(isinstance(n, int | float | np.number) and n == n for n in values):
            raise ValuesError(
                f"{self.layer} {self.how} {self.value!r}: a layer is compared with numbers; "
                "is_valid() tells pixels with a value, & and | join conditions of two layers"
            )

    def layers(self) -> Iterator[Layer]:
        """The one layer."""
        if isinstance(self.layer, Layer):
            yield self.layer

    def bound(self, number: Callable[[Layer], int]) -> Predicate:
        """With the number of the layer."""
        assert isinstance(self.layer, Layer)
        return replace(self, layer=number(self.layer))

    def holds(self, read: Read) -> Bools:
        """Where the comparison holds."""
        pixels, valid = read(self.layer)
        if self.how == "isvalid":
            return valid
        if self.how == "isin":
            # As precise as the raster, like the other comparisons.
            listed = np.array(self.value, pixels.dtype if pixels.dtype.kind == "f" else None)
            return np.isin(pixels, listed) & valid
        return np.asarray(_COMPARE[self.how](pixels, self.value)) & valid

    def __repr__(self) -> str:
        return f"{self.layer} {self.how}" + ("" if self.value is None else f" {self.value!r}")


_COMPARE: Mapping[str, Callable[..., Any]] = {
    ">=": operator.ge,
    ">": operator.gt,
    "<=": operator.le,
    "<": operator.lt,
    "==": operator.eq,
    "!=": operator.ne,
}
COMPARISONS = tuple(_COMPARE)


@dataclass(frozen=True, slots=True, eq=False)
class Combination(Predicate):
    """Two conditions joined by ``&`` or ``|``."""

    how: str
    left: Predicate
    right: Predicate

    def layers(self) -> Iterator[Layer]:
        """Layers of both sides."""
        yield from self.left.layers()
        yield from self.right.layers()

    def bound(self, number: Callable[[Layer], int]) -> Predicate:
        """With numbers on both sides."""
        return replace(self, left=self.left.bound(number), right=self.right.bound(number))

    def holds(self, read: Read) -> Bools:
        """Where both, or one of them, hold."""
        left, right = self.left.holds(read), self.right.holds(read)
        return left & right if self.how == "&" else left | right

    def __repr__(self) -> str:
        return f"({self.left!r} {self.how} {self.right!r})"


@dataclass(frozen=True, slots=True, eq=False)
class Negation(Predicate):
    """Everything else; pixels without a value too."""

    of: Predicate

    def layers(self) -> Iterator[Layer]:
        """Layers of the negated condition."""
        yield from self.of.layers()

    def bound(self, number: Callable[[Layer], int]) -> Predicate:
        """With numbers inside."""
        return replace(self, of=self.of.bound(number))

    def holds(self, read: Read) -> Bools:
        """Where the condition does not hold."""
        return ~self.of.holds(read)

    def __repr__(self) -> str:
        return f"~{self.of!r}"


@dataclass(frozen=True, slots=True, eq=False)
class Key:
    """A layer whose labels split the zones: what `labels` and `thresholds` give.

    Parameters
    ----------
    layer : Layer
    listed : tuple of numbers or None
        Labels, or thresholds in ascending order; None takes every whole number that occurs.
    names : tuple or None
        What the labels are called in the result.
    nodata, unlisted : int or str
        What pixels without a value, and with a label that is not listed, are called in the result;
        "error" refuses them.
    cumulative : bool
        The listed numbers are thresholds: a pixel counts for each one that it reaches.
    """

    layer: Layer
    listed: tuple[float, ...] | None = None
    names: tuple[Any, ...] | None = None  # Any: the user's names
    nodata: int | str = -1
    unlisted: int | str = -2
    cumulative: bool = False

    def codes(self, values: npt.NDArray[Any], nodata: float | None) -> npt.NDArray[np.int64]:
        """Codes of pixel values: positions in `listed`, or the labels themselves.

        Parameters
        ----------
        values : (...) any number
        nodata : number or None

        Returns
        -------
        (...) int64
            Beside codes from 0 on, or labels, `NODATA_CODE`, `UNLISTED_CODE` and `BELOW_CODE`.
        """
        missing = values != values
        if nodata is not None:
            missing |= values == nodata
        # As precise as the raster: its 0.1 may be a float32.
        listed = np.array(self.listed, values.dtype if values.dtype.kind == "f" else None)
        if self.listed is None:
            codes = self._observed(values, missing)
        elif self.cumulative:
            codes = np.searchsorted(listed, values, side="right").astype(np.int64)
            codes[:] = np.where(codes == 0, BELOW_CODE, codes - 1)
        else:
            order = np.argsort(listed)
            ascending = listed[order]
            place = np.minimum(np.searchsorted(ascending, values), len(ascending) - 1)
            found = ascending[place] == values
            codes = np.where(found, order[place], UNLISTED_CODE).astype(np.int64)
        codes[missing] = NODATA_CODE
        return codes

    def _observed(self, values: npt.NDArray[Any], missing: Bools) -> npt.NDArray[np.int64]:
        """Labels as they are; they have to be whole numbers."""
        if values.dtype.kind == "f":
            with np.errstate(invalid="ignore"):
                odd = ~missing & ((values != np.floor(values)) | (np.abs(values) >= 2.0**53))
            if odd.any():
                raise ValuesError(
                    f"key {self.layer} holds {values[odd][0].item()!r}, labels are whole numbers: "
                    "use zr.thresholds for ranges, or list the labels with zr.labels"
                )
            values = np.where(missing, 0, values)
        elif (
            values.dtype.itemsize == 8
            and (~missing & ((values >= 2**61) | (values <= -(2**61)))).any()
        ):
            raise ValuesError(f"key {self.layer} holds labels beyond 2**61: list them instead")
        return values.astype(np.int64)

    def name_of(self, code: int) -> Any:  # Any: a number or the user's name
        """What a code is called in the result."""
        if code == NODATA_CODE:
            return self.nodata
        if code == UNLISTED_CODE:
            return self.unlisted
        if self.listed is None:
            return code
        return self.names[code] if self.names else self.listed[code]


def labels(
    source: LayerLike,
    listed: Sequence[float] | Mapping[float, str] | None = None,
    *,
    nodata: int | str | None = None,
    unlisted: int | str | None = None,
) -> Key:
    """Group by the labels of a raster.

    Parameters
    ----------
    source : Layer, or anything a layer is made of
    listed : sequence of numbers or mapping of number to name, optional
        Which labels there are; all whole numbers that occur by default.
    nodata, unlisted : int or str, optional
        What to call pixels without a value, and pixels with a label that is not listed: by default
        -1 and -2, or "nodata" and "unlisted" where labels have names. "error" refuses them.

    Returns
    -------
    Key

    Examples
    --------
    >>> labels("loss_year.zarr", {1: "2001", 2: "2002"}).unlisted
    'unlisted'
    """
    names: tuple[str, ...] | None = None
    if isinstance(listed, Mapping):
        names = tuple(listed.values())
        if not all(isinstance(name, str) for name in names):
            raise ValuesError(f"names of labels must be text, not {list(names)!r}")
        if len(set(names)) != len(names):
            raise ValuesError(f"two labels have one name in {list(names)!r}: add their rows after")
    numbers: tuple[Any, ...] | None = None if listed is None else tuple(listed)
    _check_numbers(numbers, "labels")
    usual: tuple[int | str, int | str] = _BUCKETS if names else (-1, -2)
    given = (
        usual[0] if nodata is None else nodata,
        usual[1] if unlisted is None else unlisted,
    )
    wanted, said = (str, "text, as the labels have names") if names else (int, "a whole number")
    for name, what in zip(given, _BUCKETS, strict=True):
        if name != "error" and not isinstance(name, wanted):
            raise ValuesError(f"{what}={name!r} must be {said}, or 'error'")
    return Key(as_layer(source), numbers, names, *given)


def thresholds(source: LayerLike, values: Sequence[float], *, nodata: int | str = -1) -> Key:
    """Group by cumulative thresholds: a pixel counts for every threshold that it reaches.

    Parameters
    ----------
    source : Layer, or anything a layer is made of
    values : sequence of numbers
    nodata : int or "error"
        What to call pixels without a value.

    Returns
    -------
    Key
        Pixels below the lowest threshold are in no row; their number stands in the audit.
    """
    _check_numbers(tuple(values), "thresholds")
    if nodata != "error" and not isinstance(nodata, int):
        raise ValuesError(f"nodata={nodata!r} must be a whole number, or 'error'")
    return Key(as_layer(source), tuple(sorted(values)), nodata=nodata, cumulative=True)


def _check_numbers(numbers: tuple[Any, ...] | None, what: str) -> None:  # Any: what users give
    if numbers is None:
        return
    if not numbers:
        raise ValuesError(f"no {what} are listed: give at least one number")
    if not all(isinstance(n, int | float | np.number) and np.isfinite(n) for n in numbers):
        raise ValuesError(f"{what} must be finite numbers, not {list(numbers)!r}")
    if len(set(numbers)) != len(numbers):
        raise ValuesError(f"{what} are listed twice in {list(numbers)!r}")


def as_key(source: LayerLike | Key) -> Key:
    """A key; a bare layer groups by all its labels."""
    return source if isinstance(source, Key) else labels(source)
