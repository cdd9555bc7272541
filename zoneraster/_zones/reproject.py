"""Rings from one reference system to another, with edges that stay where they were.

A straight edge bends when it is projected. Every edge whose chord would leave its true curve by
more than `MAX_DEVIATION_PIXELS` is halved until none does. An edge is always halved from its
smaller end and its points depend on its two ends alone, so polygons that share an edge share the
new points too, bit for bit. Pieces that cannot reach the grid are not halved: whatever way they
take, they cross the rows of the grid on the same side of it as their chord.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from zoneraster._zones.projection import Projection
from zoneraster._zones.wkb import Ragged
from zoneraster.arrays import Bools, Floats, Ints

# Half of the 0.1 pixel that is promised: chords are tested at three places, not everywhere.
MAX_DEVIATION_PIXELS = 0.05
# So far from where even steps would put them may places lie along a chord: further is a jump,
# where the projection is torn, or an edge whose scale changes so much that halves tell more.
MAX_UNEVEN_PIXELS = 0.5
# Of edges so short, one probe that lies so close to its place on the chord tells all.
SHORT_PIXELS, SHORT_DEVIATION_PIXELS = 256.0, 0.01
# Where it is: no simple fraction, so that what goes around the globe several times is not met at
# places where it seems to stand still.
PROBE = 0.381966
# Where places are tested along a piece.
PROBES = np.array([0.118034, 0.25, 0.5, 0.75])[:, None, None]
# An edge around the globe at 1 m needs 2**18 pieces. Deeper down there is no curve, but a cliff.
MAX_HALVINGS = 26
MAX_PIECES = 2**18
# Pieces that are looked at together: bounds the memory that takes.
BLOCK = 2**17

CLIFF_CURE = (
    "it crosses the antimeridian, a pole or the border of the projection; "
    "cut the polygon there, or choose a grid whose CRS has no such border inside the zones"
)


@dataclass(frozen=True, slots=True, eq=False)
class Reprojected:
    """Rings in another reference system.

    Parameters
    ----------
    xy : (m, 2) float64, in units of the grid's CRS
    ring_offsets : (n_rings + 1,) int64
    failed : dict of int to str
        Rings that have no place there, and why; their coordinates mean nothing.
    deviation : float
        Largest distance between an edge and its true curve that was measured, in pixels.
    """

    xy: Floats
    ring_offsets: Ints
    failed: dict[int, str] = field(default_factory=dict)
    deviation: float = 0.0


def reproject_rings(xy: Floats, ring_offsets: Ints, projection: Projection) -> Reprojected:
    """Project closed rings, densified so that edges stay within 0.1 pixel of their true curves.

    Parameters
    ----------
    xy : (n_vertices, 2) float64, in units of the source CRS
    ring_offsets : (n_rings + 1,) int64
        Ring ``i`` has the vertices ``ring_offsets[i]`` to ``ring_offsets[i + 1]``, the last of
        which equals the first.
    projection : Projection
    """
    projected = projection.project(xy)
    lost = np.flatnonzero(~np.isfinite(projected).all(axis=1))
    rings, first = np.unique(_ring_of(lost, ring_offsets), return_index=True)
    failed = {
        ring: f"vertex {_place(xy[vertex])} has no place in the grid's CRS, or one "
        "more than 2**40 pixels away: cut the polygon there"
        for ring, vertex in zip(rings.tolist(), lost[first].tolist(), strict=True)
    }
    is_edge = np.ones(len(xy), np.bool_)
    is_edge[ring_offsets[1:][np.diff(ring_offsets) > 0] - 1] = False
    for ring in failed:
        is_edge[ring_offsets[ring] : ring_offsets[ring + 1]] = False
    edges = np.flatnonzero(is_edge)
    edges = edges[(xy[edges] != xy[edges + 1]).any(axis=1)]
    may_bend, near = _may_bend(xy, edges, projected, projection)
    edges = edges[may_bend]
    after, points, stuck, far = _halve(xy, edges, projection)
    for vertex in stuck.tolist():
        failed.setdefault(
            int(_ring_of(vertex, ring_offsets)),
            f"the edge {_place(xy[vertex])} to {_place(xy[vertex + 1])} cannot be followed into "
            f"the grid's CRS: {CLIFF_CURE}",
        )
    # Numbers of new points in front of each vertex.
    shift = np.zeros(len(xy) + 1, np.int64)
    np.cumsum(np.bincount(after, minlength=len(xy)), out=shift[1:])
    out = np.empty((len(xy) + len(after), 2), np.float64)
    old = np.arange(len(xy)) + shift[:-1]
    is_new = np.ones(len(out), np.bool_)
    is_new[old] = False
    out[old] = projected
    out[is_new] = points
    return Reprojected(out, ring_offsets + shift[ring_offsets], failed, max(near, far))


def _ring_of(vertex: Ints | int, ring_offsets: Ints) -> Ints:
    """Number of the ring that a vertex is in."""
    found: Ints = np.searchsorted(ring_offsets, vertex, side="right") - 1
    return found


def _halve(xy: Floats, edges: Ints, projection: Projection) -> tuple[Ints, Floats, Ints, float]:
    """Points to insert: the vertex each follows (ascending), its projected place; edges that fail.

    The last one is how far pieces that are not halved were found to be off their chords, in pixels.

    Edges are called by their first vertex. One fails that still bends after `MAX_HALVINGS`, or in
    more than `MAX_PIECES` places at a time; its points mean nothing.
    """
    a, b, flipped = _ends(xy, edges)
    edge = np.arange(edges.size)
    # Position along the edge: exact, because halvings only ever add a binary digit.
    low, high = np.zeros(edges.size), np.ones(edges.size)
    found: list[tuple[Ints, Floats, Floats]] = []
    is_stuck, worst = np.zeros(edges.size, np.bool_), 0.0
    for depth in range(MAX_HALVINGS + 1):
        bends, off = _bends(a, b, projection)
        worst = max(worst, off)
        pieces = np.bincount(edge[bends], minlength=edges.size)
        is_stuck |= (pieces > MAX_PIECES) | ((depth == MAX_HALVINGS) & (pieces > 0))
        bends &= ~is_stuck[edge]
        if not bends.any():
            break
        a, b, edge, low, high = a[bends], b[bends], edge[bends], low[bends], high[bends]
        middle, half = (a + b) / 2, (low + high) / 2
        found.append((edge, half, projection.project(middle)))
        a, b = np.concatenate([a, middle]), np.concatenate([middle, b])
        low, high = np.concatenate([low, half]), np.concatenate([half, high])
        edge = np.concatenate([edge, edge])
    stuck = edges[is_stuck]
    if not found:
        return np.empty(0, np.int64), np.empty((0, 2), np.float64), stuck, worst
    edge = np.concatenate([one for one, _, _ in found])
    along = np.concatenate([one for _, one, _ in found])
    order = np.lexsort((np.where(flipped[edge], 1 - along, along), edge))
    points = np.concatenate([one for _, _, one in found])[order]
    return edges[edge[order]], points, stuck, worst


def _ends(xy: Floats, edges: Ints) -> tuple[Floats, Floats, Bools]:
    """Ends of edges, the smaller one first, and whether that is their second vertex."""
    a, b = xy[edges], xy[edges + 1]
    flipped: Bools = (a[:, 0] > b[:, 0]) | ((a[:, 0] == b[:, 0]) & (a[:, 1] > b[:, 1]))
    a[flipped], b[flipped] = b[flipped], a[flipped]
    return a, b, flipped


def _bends(a: Floats, b: Floats, projection: Projection) -> tuple[Bools, float]:
    """Whether a piece that may reach the grid leaves its chord, or jumps, (n,) bool.

    Also how far those that may and do not are off it, in pixels.
    """
    out, worst = np.empty(len(a), np.bool_), 0.0
    for start in range(0, len(a), BLOCK):
        some = slice(start, start + BLOCK)
        out[some], off = _leaves_chord(a[some], b[some], projection)
        worst = max(worst, off)
    return out, worst


def _leaves_chord(a: Floats, b: Floats, projection: Projection) -> tuple[Bools, float]:
    """`_bends` of a few pieces.

    The places of probes must lie on the chord, and along it about where even steps put them.
    """
    first, last = projection.pixels(np.concatenate([a, b])).reshape(2, -1, 2)
    probes = projection.pixels((a + PROBES * (b - a)).reshape(-1, 2)).reshape(len(PROBES), -1, 2)
    with np.errstate(invalid="ignore", over="ignore"):
        if projection.turn:
            last = _next_to(first, last, projection.turn)
            probes = _next_to(first + PROBES * (last - first), probes, projection.turn)
        chord = last - first
        squared = np.maximum((chord**2).sum(axis=1), np.finfo(np.float64).tiny)
        from_start = probes - first
        share = (from_start * chord).sum(axis=2) / squared
        along = np.clip(share, 0, 1)
        deviation = np.hypot(*np.moveaxis(from_start - along[..., None] * chord, 2, 0)).max(axis=0)
        uneven = (np.abs(share - PROBES[..., 0]) * np.sqrt(squared)).max(axis=0)
        # Written so that a point without a place (inf, hence nan) counts as bending.
        is_true = (deviation <= MAX_DEVIATION_PIXELS) & (uneven <= MAX_UNEVEN_PIXELS)
        places = np.concatenate([[first, last], probes])
        low, high = places.min(axis=0), places.max(axis=0)
        # Between places that are known a curve may swing out, but not by half of its own size.
        room = (high - low).max(axis=1)[:, None] / 2 + 1
        if projection.turn:
            by = _next_to(projection.box.mean(axis=0), (low + high) / 2, projection.turn)
            by -= (low + high) / 2
            low, high = low + by, high + by
        is_apart = ((high + room < projection.box[0]) | (low - room > projection.box[1])).any(
            axis=1
        )
    bends: Bools = ~(is_true | is_apart)
    return bends, float(deviation[is_true & ~is_apart].max(initial=0.0))


def _next_to(near: Floats, places: Floats, turn: float) -> Floats:
    """Places (..., 2) moved by whole turns to where they are next to others."""
    moved = places.copy()
    moved[..., 0] -= turn * np.round((places[..., 0] - near[..., 0]) / turn)
    return moved


def _may_bend(
    xy: Floats, edges: Ints, projected: Floats, projection: Projection
) -> tuple[Bools, float]:
    """Which edges have to be tested; of most, which are short, one probe is enough to tell.

    Also how far the others are off their chords, in pixels.
    """
    a, b, flipped = _ends(xy, edges)
    first, last = projected[edges + flipped] / projection.resolution, projected[edges + ~flipped]
    chord = last / projection.resolution - first
    probe = projection.pixels(a + PROBE * (b - a))
    with np.errstate(invalid="ignore", over="ignore"):
        is_short = np.hypot(*chord.T) <= SHORT_PIXELS
        off = np.hypot(*(probe - first - PROBE * chord).T)
        is_true = is_short & (off <= SHORT_DEVIATION_PIXELS)
    return ~is_true, float(off[is_true].max(initial=0.0))


def _place(point: Floats) -> str:
    return f"({point[0]:.10g}, {point[1]:.10g})"


def without_loops(ragged: Ragged) -> Ragged:
    """Rings of four vertices at least, which GEOS, and so the zone table, wants."""
    short = np.flatnonzero(np.diff(ragged.ring_offsets) == 3)
    if not short.size:
        return ragged
    # There and back along one edge.
    offsets = ragged.ring_offsets
    xy = np.insert(ragged.xy, offsets[short + 1], ragged.xy[offsets[short]], axis=0)
    offsets = offsets + np.searchsorted(short, np.arange(offsets.size))
    return Ragged(xy, offsets, ragged.part_offsets, ragged.part_zone)
