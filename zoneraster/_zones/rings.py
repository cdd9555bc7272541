"""Rings in pixels of a grid: what is burned."""

from __future__ import annotations

from dataclasses import dataclass

from zoneraster._burn import snap
from zoneraster._grid import Grid
from zoneraster._zones.wkb import Ragged
from zoneraster.arrays import Floats, Ints


@dataclass(frozen=True, slots=True, eq=False)
class Rings:
    """Closed rings of all parts, in global pixel coordinates.

    Parameters
    ----------
    u, v : (n_vertices,) float64, pixels east and south of the grid's north-western corner
    ring_offsets : (n_rings + 1,) int64, into the vertices
    part_offsets : (n_parts + 1,) int64, into the rings
    part_zone : (n_parts,) int64, position of the part's zone in `Zones`
    """

    u: Floats
    v: Floats
    ring_offsets: Ints
    part_offsets: Ints
    part_zone: Ints


def pixel_rings(ragged: Ragged, grid: Grid, rule: int) -> Rings:
    """Rings in pixels of a grid, from rings in units of its CRS, by a burn rule."""
    u, v = pixel_places(ragged.xy, grid, rule)
    return Rings(u, v, ragged.ring_offsets, ragged.part_offsets, ragged.part_zone)


def pixel_places(xy: Floats, grid: Grid, rule: int) -> tuple[Floats, Floats]:
    """Where a burn rule has places: the one way from units of a CRS to pixels.

    Parameters
    ----------
    xy : (n, 2) float64, in units of the CRS of the grid
    grid : Grid
    rule : int
        1 takes the coordinates as they are computed, 2 frees them of their noise, see `snap`.

    Returns
    -------
    u, v : (n,) float64, global pixel coordinates
    """
    u, v = grid.to_pixels(xy[:, 0], xy[:, 1])
    if rule > 1:
        snap(u)
        snap(v)
    return u, v
