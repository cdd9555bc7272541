"""Rings in pixels of a grid: what is burned."""

from __future__ import annotations

from dataclasses import dataclass

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


def pixel_rings(ragged: Ragged, grid: Grid) -> Rings:
    """Rings in pixels of a grid, from rings in units of its CRS."""
    u, v = grid.to_pixels(ragged.xy[:, 0], ragged.xy[:, 1])
    return Rings(u, v, ragged.ring_offsets, ragged.part_offsets, ragged.part_zone)
