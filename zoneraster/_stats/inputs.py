"""The rasters of a call: opened, brought onto the lattice, and each kept once."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeAlias

import numpy as np

from zoneraster._grid import Grid, Window, crs_name, likely_reason
from zoneraster._stats.keys import Key, as_key
from zoneraster._values import (
    AlignedRaster,
    Block,
    OpenRaster,
    Placement,
    Predicate,
    Raster,
    RasterLike,
    aligned,
    as_raster,
    common_fineness,
    label_of,
    method_of,
    open_raster,
    open_rasters,
    place,
    source_key,
)
from zoneraster.errors import ValuesError

# The average of two labels is no label.
_LABEL_METHOD = "nearest"


# What is reduced.
ValuesLike: TypeAlias = RasterLike | Mapping[str, RasterLike] | None


@dataclass(frozen=True, slots=True)
class Rasters:
    """All rasters of a call, each once, and who needs which.

    Parameters
    ----------
    rasters : tuple of OpenRaster
    placements : tuple of Placement
        Of each of them, on the lattice.
    fine : int
        Lattice pixels along a pixel of the store.
    measures : tuple of int
        Numbers of the rasters whose values are reduced.
    keys : tuple of (int, Key)
        Numbers of those that split the zones, and how.
    where : Predicate or None
        Over numbers of rasters.
    grid : Grid
        Of the store.
    weights : int or None
        Number of the one that weights the measures.
    """

    rasters: tuple[OpenRaster, ...]
    placements: tuple[Placement, ...]
    fine: int
    measures: tuple[int, ...]
    keys: tuple[tuple[int, Key], ...]
    where: Predicate | None
    grid: Grid
    weights: int | None = None

    def assumed(self, number: int, opened: OpenRaster) -> dict[str, Any]:
        """What is taken for granted of a measure, opened as it is: JSON, hence Any."""
        placement, method = self.placements[number], method_of(self.rasters[number])
        if method is not None:
            match = f"resampled by {method!r}"
        elif placement.factor > 1:
            match = f"pixels {placement.factor} times as wide as the grid's"
        else:
            match = "the grid's pixels" if self.fine == 1 else f"pixels 1/{self.fine} as wide"
        # What was opened, and what was done to it since.
        told = self.rasters[number].told
        return {**opened.assumed(), **told, "match": match}


# ---- measures ----------------------------------------------------------------------------------


def open_measures(values: RasterLike | Mapping[str, RasterLike]) -> list[tuple[OpenRaster, Raster]]:
    """Rasters of the measures, each with what was asked for.

    Raises
    ------
    ValuesError
        When there is none, and for measures of one name or of different extra dimensions.
    """
    named: Iterable[tuple[str | None, RasterLike]] = [(None, values)]  # type: ignore[list-item]
    # A Dataset is a mapping too.
    if isinstance(values, Mapping) and not hasattr(values, "data_vars"):
        named = values.items()
    found = [
        (opened, as_raster(source))
        for name, source in named
        for opened in open_rasters(source if name is None else {name: source})
    ]
    _check_measures([opened for opened, _ in found])
    return found


def _check_measures(measures: Sequence[OpenRaster]) -> None:
    names = [opened.name for opened in measures]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice or not names:
        raise ValuesError(
            f"measures named twice: {', '.join(twice)}" if twice else "no value raster given"
        )
    dims = {opened.dims: opened for opened in measures}
    if len(dims) > 1:
        said = " and ".join(f"{r.name!r} has {d or 'none'}" for d, r in dims.items())
        raise ValuesError(f"measures have different extra dimensions ({said}): call once for each")
    first = measures[0]
    for opened in measures:
        for dim, one, other in zip(opened.dims, first.coords, opened.coords, strict=True):
            if not _is_same(one, other):
                raise ValuesError(
                    f"measures {first.name!r} and {opened.name!r} have other coordinates along "
                    f"{dim!r}: call once for each"
                )


def _is_same(one: Block, other: Block) -> bool:
    """Equal coordinates; what is not a number or a time is like itself."""
    if one.shape != other.shape:
        return False
    nothing = (one != one) & (other != other)
    return bool(np.all((one == other) | nothing))


# ---- everything --------------------------------------------------------------------------------


def gather_rasters(
    grid: Grid,
    chunks: tuple[int, int],
    measures: Sequence[tuple[OpenRaster, Raster]],
    by: Mapping[str, RasterLike | Key],
    where: Predicate | None,
    resample: str | None,
    weights: RasterLike | None = None,
) -> Rasters:
    """Open rasters of keys and conditions, align all with the store, and keep each once.

    Parameters
    ----------
    grid : Grid
        Of the store.
    chunks : (int, int)
        Rows and columns of its chunks, in its pixels.
    measures : sequence of (OpenRaster, Raster)
        As `open_measures` gives them.
    by : mapping of name to Raster or Key
    where : Predicate or None
    resample : str or None
        Method for measures and weights that do not fit the store's grid; labels then take the
        nearest pixel.
    weights : Raster, optional

    Raises
    ------
    ValuesError
        For what cannot be opened, `AlignmentError` for what does not fit.
    """
    keys = [as_key(source) for source in by.values()]
    kept = _Kept(grid)
    of_measures = [kept.number_of(opened, asked, resample) for opened, asked in measures]
    # Without measures, the lattice is as fine as the labels.
    of_values = common_fineness(kept.rasters) if measures else None

    def number_of(asked: Raster) -> int:
        return kept.number_of(_open_flat(asked), asked, resample and _LABEL_METHOD, of_values)

    of_keys = [
        (number_of(key.raster), replace(key, raster=Raster(label_of(key.raster.source))))
        for key in keys
    ]
    of_weights = None
    if weights is not None:
        asked = as_raster(weights)
        of_weights = kept.number_of(_open_flat(asked), asked, resample, of_values)
    _check_condition(where)
    bound = None if where is None else where.bound(number_of)
    fine = common_fineness(kept.rasters) if of_values is None else of_values
    placements = tuple(place(one, fine, chunks) for one in kept.rasters)
    rasters = tuple(one.opened for one in kept.rasters)
    for number in of_measures:
        _check_overlap(rasters[number], placements[number], grid, fine)
    return Rasters(
        rasters, placements, fine, tuple(of_measures), tuple(of_keys), bound, grid, of_weights
    )


class _Kept:
    """Rasters that fit the store's grid, each once."""

    def __init__(self, grid: Grid) -> None:
        self.rasters: list[AlignedRaster] = []
        self._grid = grid
        self._numbers: dict[tuple[object, ...], int] = {}

    def number_of(
        self, opened: OpenRaster, asked: Raster, method: str | None, fine: int | None = None
    ) -> int:
        """Number of a raster; what was `asked` for it goes before `method`."""
        method = asked.resample or method
        one = aligned(opened, self._grid, method, fine)
        key = (*source_key(asked, opened), None if one.opened is opened else method)
        if key not in self._numbers:
            self._numbers[key] = len(self.rasters)
            self.rasters.append(one)
        return self._numbers[key]


def _check_condition(where: object) -> None:
    if where is not None and not isinstance(where, Predicate):
        raise ValuesError(
            f"where={label_of(where)} is no condition: compare a raster, e.g. zr.Raster(path) >= 30"
        )


def _open_flat(asked: Raster) -> OpenRaster:
    """The raster of a key or a condition."""
    opened = open_raster(asked)
    if opened.dims:
        raise ValuesError(
            f"{opened.label} has extra dimensions {opened.dims}, which keys, predicates and "
            "weights must not have: choose, e.g. zr.Raster(..., band=1), or one of an array"
        )
    return opened


def _check_overlap(opened: OpenRaster, placement: Placement, grid: Grid, fine: int) -> None:
    """Refuse values that lie elsewhere altogether: a likely mistake, and a table of nothing."""
    whole = Window(0, grid.height * fine, 0, grid.width * fine)
    if placement.extent.intersect(whole) is None:
        raise ValuesError(
            f"{opened.label} covers {opened.grid.bounds}, the grid {grid.bounds}, west, south, "
            f"east and north of {crs_name(grid.crs)}: they do not meet: "
            + likely_reason(opened.grid.bounds, grid.bounds, grid.crs, what="the pixels")
        )
