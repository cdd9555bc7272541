"""Where a raster lies on a grid: whole numbers and fractions, found once."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction

from zoneraster._grid import Grid
from zoneraster.errors import AlignmentError, GridError

# Decimals of a transform or of coordinates are often cut: no edge may be off by more than this.
_FIT_PIXELS = Fraction(1, 1000)


@dataclass(frozen=True, slots=True)
class Relation:
    """Where a raster lies on the store's grid.

    Parameters
    ----------
    row, col : Fraction
        Its north-western corner, in pixels of the store; whole numbers of the raster's own pixels
        where these are smaller.
    ratio : Fraction
        Side of its pixels, in pixels of the store: a whole number, or one part of one.
    """

    row: Fraction
    col: Fraction
    ratio: Fraction

    @property
    def fineness(self) -> int:
        """Its pixels along a pixel of the store; 1 where they are as large or larger."""
        return self.ratio.denominator


# Of a raster that was resampled to the store's grid.
SAME = Relation(Fraction(0), Fraction(0), Fraction(1))


def relation(raster: Grid, store: Grid, *, label: str) -> Relation:
    """Find where a raster lies on the store's grid.

    Raises
    ------
    AlignmentError
        When neither the ratio nor its inverse is a whole number, or the corner is off the lattice.
    """
    cure = (
        "give resample='nearest', resample='average' or another method, resample='sum' for totals "
        "per pixel, "
        "or build a store on a grid like it"
    )
    try:
        row, col, ratio = _with_steps_of(store, raster).offset_in(store)
    except GridError as err:
        raise AlignmentError(f"{label}: {err}, or {cure}") from err
    if 1 not in {ratio.numerator, ratio.denominator}:
        raise AlignmentError(
            f"{label}: its pixels are {float(ratio):.6g} times as wide as the grid's, not a whole "
            f"number of times as wide or as narrow: {cure}"
        )
    fine = ratio.denominator
    # Coordinates are floats, and a raster's own lattice need not show what they were before.
    row, col = (_snapped(place * fine) / fine for place in (row, col))
    if (row * fine).denominator != 1 or (col * fine).denominator != 1:
        raise AlignmentError(
            f"{label}: its corner lies at row {float(row):.6g}, column {float(col):.6g} of the "
            f"grid, between the pixels (ratio {ratio}): check for a shift by half a pixel, "
            f"or {cure}"
        )
    return Relation(row, col, ratio)


def _snapped(place: Fraction) -> Fraction:
    """The whole number next to a place that is within 1/1000 pixel of one."""
    whole = Fraction(round(place))
    return whole if abs(place - whole) <= _FIT_PIXELS else place


def _with_steps_of(store: Grid, raster: Grid) -> Grid:
    """The raster with steps that fit the store's, where that moves no edge by 1/1000 pixel."""
    steps = []
    for mine, theirs, n in zip(
        raster.resolution, store.resolution, raster.shape[::-1], strict=True
    ):
        ratio = mine / theirs
        whole = Fraction(round(ratio)) if ratio >= 1 else Fraction(1, round(1 / ratio))
        fits = n * abs(ratio / whole - 1) <= _FIT_PIXELS
        steps.append(whole * theirs if fits else mine)
    west, north = raster.origin
    return Grid(raster.crs, (steps[0], 0, west, 0, -steps[1], north), raster.shape)
