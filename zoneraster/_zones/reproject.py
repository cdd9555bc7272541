"""Rings from one reference system to another, with edges that stay where they were.

A straight edge bends when it is projected. Every edge whose chord would leave its true curve by
more than `MAX_DEVIATION_PIXELS` is halved until none does. An edge is always halved from its
smaller end and its points depend on its two ends alone, so polygons that share an edge share the
new points too, bit for bit.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
from pyproj import CRS, Transformer
from pyproj.exceptions import ProjError

from zoneraster._grid import Grid
from zoneraster._zones.wkb import Ragged
from zoneraster.arrays import Bools, Floats, Ints
from zoneraster.errors import ZonesError

# Half of the 0.1 pixel that is promised: chords are tested at three places, not everywhere.
MAX_DEVIATION_PIXELS = 0.05
# An edge around the globe at 1 m needs 2**18 pieces. Deeper down there is no curve, but a cliff.
MAX_HALVINGS = 26
# A piece of a smooth curve has quarters of similar length; on a cliff one of them has it all.
CLIFF_SHARE = 0.75
CLIFF_PIXELS = 1.0
# With fewer edges it is cheaper to test each than to learn first where edges can bend at all.
MAX_EDGES_ALL_TESTED = 50_000
LATTICE_CELLS = 64
LATTICE_SAFETY = 4.0

CLIFF_CURE = (
    "it crosses the antimeridian, a pole or the border of the projection; "
    "cut the polygon there, or choose a grid whose CRS has no such border inside the zones"
)


@dataclass(frozen=True, slots=True)
class Projection:
    """From a source CRS to the CRS of a grid.

    Parameters
    ----------
    transformer : pyproj.Transformer
        With x east and y north on both sides.
    resolution : (2,) float64
        Size of a pixel in x and in y, in units of the grid's CRS.
    """

    transformer: Transformer
    resolution: Floats

    @classmethod
    def between(cls, source: CRS, grid: Grid) -> Projection:
        """Projection from `source` to the CRS of `grid`.

        Raises
        ------
        ZonesError
            When PROJ knows no way from one to the other.
        """
        try:
            transformer = Transformer.from_crs(source, grid.crs, always_xy=True)
        except ProjError as err:
            raise ZonesError(
                f"PROJ cannot bring {source.name} to the grid's {grid.crs.name} ({err}): "
                "reproject the zones yourself, or choose another CRS for the grid"
            ) from err
        return cls(transformer, np.array([float(step) for step in grid.resolution]))

    def project(self, xy: Floats) -> Floats:
        """Coordinates (n, 2) in the grid's CRS; inf where there are none."""
        x, y = self.transformer.transform(xy[:, 0], xy[:, 1])
        return np.stack([x, y], axis=1)

    def pixels(self, xy: Floats) -> Floats:
        """Coordinates (n, 2) in pixels, counted from the origin of the grid's CRS."""
        return self.project(xy) / self.resolution


def reproject_ragged(
    ragged: Ragged, projection: Projection, *, ring_name: Callable[[int], str]
) -> Ragged:
    """Rings of zones in the CRS of a grid, see `reproject_rings`."""
    offsets = ragged.ring_offsets
    xy, offsets = reproject_rings(ragged.xy, offsets, projection, ring_name=ring_name)
    # There and back along one edge: GEOS, and so the zone table, wants four vertices of a ring.
    short = np.flatnonzero(np.diff(offsets) == 3)
    if short.size:
        xy = np.insert(xy, offsets[short + 1], xy[offsets[short]], axis=0)
        offsets = offsets + np.searchsorted(short, np.arange(offsets.size))
    return replace(ragged, xy=xy, ring_offsets=offsets)


def reproject_rings(
    xy: Floats,
    ring_offsets: Ints,
    projection: Projection,
    *,
    ring_name: Callable[[int], str],
) -> tuple[Floats, Ints]:
    """Project closed rings, densified so that edges stay within 0.1 pixel of their true curves.

    Parameters
    ----------
    xy : (n_vertices, 2) float64, in units of the source CRS
    ring_offsets : (n_rings + 1,) int64
        Ring ``i`` has the vertices ``ring_offsets[i]`` to ``ring_offsets[i + 1]``, the last of
        which equals the first.
    projection : Projection
    ring_name : callable
        How a message names ring ``i``.

    Returns
    -------
    xy : (m, 2) float64, in units of the grid's CRS
    ring_offsets : (n_rings + 1,) int64

    Raises
    ------
    ZonesError
        For a vertex that has no place in the grid's CRS, and for an edge that cannot be followed.
    """

    def name(vertex: int) -> str:
        return ring_name(int(np.searchsorted(ring_offsets, vertex, side="right")) - 1)

    projected = projection.project(xy)
    lost = np.flatnonzero(~np.isfinite(projected).all(axis=1))
    if lost.size:
        raise ZonesError(
            f"{name(int(lost[0]))}: vertex {_place(xy[lost[0]])} has no place in the grid's CRS "
            f"({lost.size} such vertices in all): cut the zones to the area of that CRS"
        )
    starts = np.ones(len(xy), np.bool_)
    starts[ring_offsets[1:][np.diff(ring_offsets) > 0] - 1] = False
    edges = np.flatnonzero(starts)
    edges = edges[(xy[edges] != xy[edges + 1]).any(axis=1)]
    if edges.size > MAX_EDGES_ALL_TESTED:
        edges = edges[_may_bend(xy, edges, projection)]
    after, points = _halve(xy, edges, projection, name)
    # Numbers of new points in front of each vertex.
    shift = np.zeros(len(xy) + 1, np.int64)
    np.cumsum(np.bincount(after, minlength=len(xy)), out=shift[1:])
    out = np.empty((len(xy) + len(after), 2), np.float64)
    old = np.arange(len(xy)) + shift[:-1]
    is_new = np.ones(len(out), np.bool_)
    is_new[old] = False
    out[old] = projected
    out[is_new] = points
    return out, ring_offsets + shift[ring_offsets]


def _halve(
    xy: Floats, edges: Ints, projection: Projection, name: Callable[[int], str]
) -> tuple[Ints, Floats]:
    """Points to insert: the vertex each of them follows (ascending), and its projected place."""
    a, b = xy[edges], xy[edges + 1]
    flipped = (a[:, 0] > b[:, 0]) | ((a[:, 0] == b[:, 0]) & (a[:, 1] > b[:, 1]))
    a[flipped], b[flipped] = b[flipped], a[flipped]
    edge = np.arange(edges.size)
    # Position along the edge: exact, because halvings only ever add a binary digit.
    low, high = np.zeros(edges.size), np.ones(edges.size)
    found: list[tuple[Ints, Floats, Floats]] = []
    for _ in range(MAX_HALVINGS):
        middle = (a + b) / 2
        bends = _leaves_chord(a, middle, b, projection)
        if not bends.any():
            break
        a, b, middle, edge = a[bends], b[bends], middle[bends], edge[bends]
        low, high = low[bends], high[bends]
        half = (low + high) / 2
        found.append((edge, half, projection.project(middle)))
        a, b = np.concatenate([a, middle]), np.concatenate([middle, b])
        low, high = np.concatenate([low, half]), np.concatenate([half, high])
        edge = np.concatenate([edge, edge])
    else:
        vertex = int(edges[edge.min()])
        raise ZonesError(
            f"{name(vertex)}: the edge {_place(xy[vertex])} to {_place(xy[vertex + 1])} cannot be "
            f"followed into the grid's CRS: {CLIFF_CURE}"
        )
    if not found:
        return np.empty(0, np.int64), np.empty((0, 2), np.float64)
    edge = np.concatenate([one for one, _, _ in found])
    along = np.concatenate([one for _, one, _ in found])
    order = np.lexsort((np.where(flipped[edge], 1 - along, along), edge))
    return edges[edge[order]], np.concatenate([one for _, _, one in found])[order]


def _leaves_chord(a: Floats, middle: Floats, b: Floats, projection: Projection) -> Bools:
    """Whether the projected edge leaves its chord, or jumps, (n,) bool."""
    path = [a, (a + middle) / 2, middle, (middle + b) / 2, b]
    places = projection.pixels(np.concatenate(path)).reshape(len(path), -1, 2)
    chord = places[-1] - places[0]
    with np.errstate(invalid="ignore", over="ignore"):
        squared = np.maximum((chord**2).sum(axis=1), np.finfo(np.float64).tiny)
        from_start = places[1:-1] - places[0]
        along = np.clip((from_start * chord).sum(axis=2) / squared, 0, 1)
        deviation = np.hypot(*np.moveaxis(from_start - along[..., None] * chord, 2, 0)).max(axis=0)
        steps = np.hypot(*np.moveaxis(np.diff(places, axis=0), 2, 0))
        total = steps.sum(axis=0)
        jumps = (total > CLIFF_PIXELS) & (steps.max(axis=0) > CLIFF_SHARE * total)
        # Written so that a point without a place (inf, hence nan) counts as bending.
        bends: Bools = ~(deviation <= MAX_DEVIATION_PIXELS) | jumps | ~np.isfinite(total)
    return bends


def _may_bend(xy: Floats, edges: Ints, projection: Projection) -> Bools:
    """Which edges are long enough to bend, judged by second differences on a lattice.

    An edge ``d`` bends by at most ``max |f''| d**2 / 8``. The second derivatives of the projection
    are taken from a lattice over all vertices, as the largest of a cell and its eight neighbours,
    four times over; edges longer than a cell, and cells where a place is missing, count as bending.
    """
    low, high = xy.min(axis=0), xy.max(axis=0)
    step = np.where(high > low, high - low, 1.0) / (2 * LATTICE_CELLS)
    nodes = np.arange(-2, 2 * LATTICE_CELLS + 3)
    x, y = np.meshgrid(low[0] + nodes * step[0], low[1] + nodes * step[1], indexing="ij")
    f = projection.pixels(np.stack([x.ravel(), y.ravel()], axis=1)).reshape(*x.shape, 2)
    with np.errstate(invalid="ignore", over="ignore"):
        second = (
            f[2:, 1:-1] - 2 * f[1:-1, 1:-1] + f[:-2, 1:-1],
            f[1:-1, 2:] - 2 * f[1:-1, 1:-1] + f[1:-1, :-2],
            (f[2:, 2:] - f[2:, :-2] - f[:-2, 2:] + f[:-2, :-2]) / 4,
        )
        bend = np.max([np.hypot(*np.moveaxis(one, 2, 0)) for one in second], axis=0)
    bend[~np.isfinite(bend)] = np.inf
    for axis in (0, 1):
        # A cell has three nodes a side, its neighbours two more on either side.
        width = [(3, 3) if axis == padded else (0, 0) for padded in (0, 1)]
        padded_bend = np.pad(bend, width, mode="edge")
        bend = np.lib.stride_tricks.sliding_window_view(padded_bend, 7, axis).max(axis=-1)
    # The cell of the middle, so that an edge is judged alike in both directions.
    middle = (xy[edges] + xy[edges + 1]) / 2
    cell = np.minimum(((middle - low) / (2 * step)).astype(np.int64), LATTICE_CELLS - 1)
    length = np.abs(xy[edges + 1] - xy[edges]) / step
    # The centre of a cell is node 2 * cell + 1, and the first node of `bend` is -1.
    most = bend[2 * cell[:, 0] + 2, 2 * cell[:, 1] + 2]
    with np.errstate(invalid="ignore"):
        deviation = LATTICE_SAFETY * most * length.sum(axis=1) ** 2 / 8
    bends: Bools = (length.max(axis=1) > 2) | ~(deviation <= MAX_DEVIATION_PIXELS)
    return bends


def _place(point: Floats) -> str:
    return f"({point[0]:.10g}, {point[1]:.10g})"
