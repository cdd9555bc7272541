"""The rasters of a call: opened, brought onto the lattice, and each kept once."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import Any

import numpy as np

from zoneraster._grid import Grid, Window
from zoneraster._stats.keys import Key, as_key
from zoneraster._values import (
    FilePixels,
    OpenRaster,
    Placement,
    Predicate,
    Raster,
    RasterLike,
    ZarrPixels,
    as_raster,
    label_of,
    open_raster,
    open_rasters,
    place,
    read_unit,
    relation,
    resampled,
)
from zoneraster.errors import ValuesError

_CATEGORY_METHOD = "nearest"


@dataclass(frozen=True, slots=True)
class Rasters:
    """All rasters of a call, each once, and who needs which."""

    rasters: tuple[OpenRaster, ...]
    placements: tuple[Placement, ...]
    fine: int
    measures: tuple[int, ...]
    keys: tuple[tuple[int, Key], ...]
    where: Predicate | None


def open_measures(values: RasterLike | Mapping[str, RasterLike]) -> list[tuple[OpenRaster, Raster]]:
    """Rasters of the measures, each with the layer that it comes from."""
    named: Iterable[tuple[str | None, RasterLike]] = [(None, values)]  # type: ignore[list-item]
    # A Dataset is a mapping too.
    if isinstance(values, Mapping) and not hasattr(values, "data_vars"):
        named = values.items()
    found = [
        (raster, as_raster(source))
        for name, source in named
        for raster in open_rasters(source if name is None else {name: source})
    ]
    names = [raster.name for raster, _ in found]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice or not found:
        raise ValuesError(
            f"measures named twice: {', '.join(twice)}" if twice else "no value raster given"
        )
    dims = {raster.dims: raster for raster, _ in found}
    if len(dims) > 1:
        said = " and ".join(f"{r.name!r} has {d or 'none'}" for d, r in dims.items())
        raise ValuesError(f"measures have different extra dimensions ({said}): call once for each")
    first = found[0][0]
    for raster, _ in found:
        for dim, one, other in zip(raster.dims, first.coords, raster.coords, strict=True):
            if not np.array_equal(one, other):
                raise ValuesError(
                    f"measures {first.name!r} and {raster.name!r} have other coordinates along "
                    f"{dim!r}: call once for each"
                )
    return found


def _source_key(layer: Raster, raster: OpenRaster) -> tuple[Any, ...]:
    """What two layers have in common that read the same pixels, whatever they are called."""
    how = (layer.band, layer.nodata, str(layer.crs), layer.raw)
    if isinstance(raster.pixels, ZarrPixels | FilePixels):
        return repr(replace(raster.pixels, opening="")), *how
    return id(layer.source), layer.variable or raster.name, *how


def gather_rasters(
    grid: Grid,
    chunks: tuple[int, int],
    measures: Sequence[tuple[OpenRaster, Raster]],
    by: Mapping[str, RasterLike | Key],
    where: Predicate | None,
    resample: str | None,
) -> Rasters:
    """Open keys and predicate layers, align everything, and keep each raster once."""
    keys = {name: as_key(source) for name, source in by.items()}
    numbers: dict[tuple[Any, ...], int] = {}
    rasters: list[OpenRaster] = []

    def number_of(raster: OpenRaster, layer: Raster, method: str | None) -> int:
        method = layer.resample or method
        aligned = _aligned(raster, grid, method, of_values)
        key = (*_source_key(layer, raster), None if aligned is raster else method)
        if key not in numbers:
            numbers[key] = len(rasters)
            rasters.append(aligned)
        return numbers[key]

    def number_of_label(layer: Raster) -> int:
        raster = open_raster(layer)
        if raster.dims:
            raise ValuesError(
                f"{raster.label} has extra dimensions {raster.dims}, which keys and predicates "
                "must not have: choose, e.g. zr.Raster(..., band=1) or array.isel(...)"
            )
        return number_of(raster, layer, resample and _CATEGORY_METHOD)

    of_values: int | None = None
    of_measures = [number_of(raster, layer, resample) for raster, layer in measures]
    of_values = _fineness(rasters, of_measures, grid) if measures else None
    of_keys = [
        (number_of_label(key.raster), replace(key, raster=Raster(label_of(key.raster.source))))
        for key in keys.values()
    ]
    if where is not None and not isinstance(where, Predicate):
        raise ValuesError(
            f"where={label_of(where)} is no condition: compare a layer, e.g. zr.Raster(path) >= 30"
        )
    bound = None if where is None else where.bound(number_of_label)
    fine = _fineness(rasters, of_measures or range(len(rasters)), grid)
    placements = []
    for raster in rasters:
        rows, cols = _units(raster, grid, chunks)
        placements.append(place(raster.grid, grid, fine, (rows, cols), label=raster.label))
    _check_overlap(rasters, placements, of_measures, grid, fine)
    return Rasters(
        tuple(rasters), tuple(placements), fine, tuple(of_measures), tuple(of_keys), bound
    )


def _aligned(raster: OpenRaster, grid: Grid, method: str | None, fine: int | None) -> OpenRaster:
    """The raster itself, or resampled where it has to be and may be.

    It has to be off the store's lattice, or too fine for that of values, `fine` times finer.
    """
    try:
        ratio = relation(raster.grid, grid, label=raster.label)[2]
    except ValuesError:
        if method is None:
            raise
        return resampled(raster, grid, method)
    is_too_fine = fine is not None and fine % ratio.denominator != 0
    return raster if method is None or not is_too_fine else resampled(raster, grid, method)


def _fineness(rasters: Sequence[OpenRaster], measures: Iterable[int], grid: Grid) -> int:
    """Lattice pixels along a pixel of the store: as fine as the values, which must all agree."""
    fine: dict[int, str] = {}
    for i in measures:
        ratio = relation(rasters[i].grid, grid, label=rasters[i].label)[2]
        fine.setdefault(max(1, ratio.denominator), rasters[i].label)
    if len(fine) > 1:
        said = " and ".join(f"{label} (1/{n})" for n, label in fine.items())
        raise ValuesError(
            f"values have pixels of different sizes below the store's: {said}: call once for each"
        )
    return next(iter(fine), 1)


def _units(raster: OpenRaster, grid: Grid, chunks: tuple[int, int]) -> tuple[int, int]:
    """Pixels of a raster to read at once: about a chunk of the store."""
    ratio: Fraction = relation(raster.grid, grid, label=raster.label)[2]
    near = [max(1, int(side / ratio)) for side in chunks]
    rows, cols = raster.chunks[-2:]
    return read_unit((rows, cols), (near[0], near[1]))


def _check_overlap(
    rasters: Sequence[OpenRaster],
    placements: Sequence[Placement],
    measures: Sequence[int],
    grid: Grid,
    fine: int,
) -> None:
    """Refuse values that lie elsewhere altogether: a likely mistake, and a table of nothing."""
    whole = Window(0, grid.height * fine, 0, grid.width * fine)
    for i in measures:
        if placements[i].extent.intersect(whole) is None:
            raise ValuesError(
                f"{rasters[i].label} covers {rasters[i].grid.bounds}, the store {grid.bounds}: "
                "they do not meet; check coordinates and reference system"
            )
