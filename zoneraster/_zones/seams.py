"""Rings that go over the seam of the globe, put together where they were stored torn apart.

Longitudes are plain numbers to whoever draws a polygon in a plane: stored between -180 and 180, a
ring over the antimeridian leads from 179 to -179 straight across the globe, and one around a pole
ends where it began, but for a turn. Here such rings go on beyond 180 (or 360), and a ring around a
pole is led to the pole and back. What lies beyond a grid comes in from the other side later, see
`rings`.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass, field, replace

import numpy as np
from pyproj import CRS

from zoneraster._grid import is_in_degrees
from zoneraster._zones.checks import NOISE, OVERSHOOT
from zoneraster._zones.wkb import Ragged
from zoneraster.arrays import Bools, Floats, Ints

PoleOf = Callable[[int], float | None]

PUZZLE = (
    "it goes around the globe more than once, or around both poles, or has a hole around a pole: "
    "cut the polygon there"
)
AROUND, HALF, QUARTER, POLE = 360.0, 180.0, 90.0, 90.0
# A hundredth of a millimetre beside the tear of a projection: more than the noise of radians.
CUT_DEGREES = 1e-10


@dataclass(frozen=True, slots=True, eq=False)
class Joined:
    """Rings that go on over the seam.

    Parameters
    ----------
    ragged : Ragged
    torn, polar : (n,) int64
        Numbers of the zones that had a part torn at the seam, and a part around a pole.
    """

    ragged: Ragged
    torn: Ints = field(default_factory=lambda: np.zeros(0, np.int64))
    polar: Ints = field(default_factory=lambda: np.zeros(0, np.int64))


def joined_at_the_seam(ragged: Ragged, crs: CRS) -> Joined:
    """Parts that are torn at the seam of their longitudes, in one piece.

    A part is torn where an edge longer than 180 degrees leads from one side of the seam to the
    other, with both its ends within 90 degrees of it. Edges of a whole turn, such as those of a box
    around the globe, edges along a pole where the ring is closed with them, and all parts that have
    other edges of more than 180 degrees stay as they are drawn.

    Parameters
    ----------
    ragged : Ragged
        In units of `crs`.
    crs : pyproj.CRS
        Rings in anything but degrees are returned as they are.
    """
    if not is_in_degrees(crs) or not ragged.part_zone.size:
        return Joined(ragged)
    made: dict[int, Floats] = {}
    zones: dict[bool, list[int]] = {False: [], True: []}
    for part, numbers, own in _long_parts(ragged):
        whole = _whole(own)
        if whole is not None:
            made |= zip(numbers, whole, strict=True)
            zones[len(whole[0]) > len(own[0])].append(int(ragged.part_zone[part]))
    if not made:
        return Joined(ragged)
    torn, polar = (np.unique(np.array(zones[is_polar], np.int64)) for is_polar in (False, True))
    return Joined(_with_rings(ragged, made), torn, polar)


def followed_over_the_seam(
    ragged: Ragged, lost: Collection[int], pole_of: PoleOf
) -> tuple[Ragged, dict[int, str]]:
    """Parts whose edges were followed into degrees, in one piece over the seam.

    What is followed has no edge of more than 180 degrees, so that those that seem to be longer lead
    over the seam.

    Parameters
    ----------
    ragged : Ragged
    lost : collection of int
        Rings whose coordinates mean nothing.
    pole_of : callable
        From the number of a ring that goes around a pole to the latitude of that pole, or None.

    Returns
    -------
    ragged : Ragged
    failed : dict of int to str
        Rings for which there is no such part, and why.
    """
    made: dict[int, Floats] = {}
    failed: dict[int, str] = {}
    for _, numbers, own in _long_parts(ragged):
        if not set(numbers).isdisjoint(lost):
            continue
        whole = _whole(own, functools.partial(pole_of, numbers[0]))
        is_polar = whole is not None and len(whole[0]) > len(own[0])
        if whole is None or (np.ptp(whole[0][:, 0]) > AROUND + NOISE and not is_polar):
            failed[numbers[0]] = PUZZLE
        else:
            made |= zip(numbers, whole, strict=True)
    return (_with_rings(ragged, made) if made else ragged), failed


def _long_parts(ragged: Ragged) -> Iterator[tuple[int, range, list[Floats]]]:
    """Parts with an edge longer than half a turn: their number, those of their rings, and these."""
    with np.errstate(invalid="ignore"):
        low, high = ragged.bounds
        if high[0] - low[0] <= HALF:
            return
    rings = np.unique(_ring_of(np.flatnonzero(_is_long(ragged)), ragged.ring_offsets))
    for part in np.unique(_ring_of(rings, ragged.part_offsets)).tolist():
        numbers = range(ragged.part_offsets[part], ragged.part_offsets[part + 1])
        own = [ragged.xy[ragged.ring_offsets[n] : ragged.ring_offsets[n + 1]] for n in numbers]
        yield part, numbers, own


def _ring_of(at: Ints, offsets: Ints) -> Ints:
    """What numbers belong to, by offsets."""
    found: Ints = np.searchsorted(offsets, at, side="right") - 1
    return found


def _is_long(ragged: Ragged) -> Bools:
    """Whether the edge that begins at a vertex is longer than half a turn."""
    long = np.zeros(len(ragged.xy), np.bool_)
    with np.errstate(invalid="ignore"):
        long[:-1] = np.abs(np.diff(ragged.xy[:, 0])) > HALF
    long[ragged.ring_offsets[1:] - 1] = False
    return long


def _whole(
    rings: list[Floats], followed: Callable[[], float | None] | None = None
) -> list[Floats] | None:
    """Rings of a part that is torn, in one piece; None for one that stays as it is drawn.

    Of a part that was `followed` this tells the latitude of the pole that the shell goes around.
    """
    x = np.concatenate([ring[:, 0] for ring in rings])
    low, high = float(x.min()), float(x.max())
    if low >= -HALF - OVERSHOOT and high <= HALF + OVERSHOOT:
        middle = 0.0
    elif low >= -OVERSHOOT and high <= AROUND + OVERSHOOT:
        middle = HALF
    else:
        return None  # they go on beyond the seam already
    turns = [_turns(ring, middle, is_followed=followed is not None) for ring in rings]
    known = [one for one in turns if one is not None]
    if len(known) < len(rings) or not any(one.any() for one in known):
        return None
    if any(one[-1] for one in known[1:]):
        return None  # a hole around a pole
    shell = _from_the_west(rings[0], known[0])
    if known[0][-1]:
        pole = _pole_beside(rings[0]) if followed is None else followed()
        if pole is None:
            return None
        shell = _closed_at(pole, rings[0], known[0])
    west, east = shell[:, 0].min(), shell[:, 0].max()
    out = [shell]
    for ring, own in zip(rings[1:], known[1:], strict=True):
        hole = _from_the_west(ring, own, west)
        if hole[:, 0].max() > east:
            return None
        out.append(hole)
    return out


def _turns(ring: Floats, middle: float, *, is_followed: bool) -> Ints | None:
    """Turns around the globe by which vertices have to be moved; None for other long edges.

    `middle` is the meridian that is opposite to the seam; where edges were followed, all that are
    long lead over it.
    """
    x, at_pole = ring[:, 0] - middle, np.abs(ring[:, 1]) == POLE
    step = np.diff(x)
    is_long = np.abs(step) > HALF
    if not is_followed:
        is_long &= np.abs(step) < AROUND - OVERSHOOT
        along = is_long & at_pole[:-1] & at_pole[1:]
        is_long &= ~along
        is_near = np.minimum(np.abs(x[:-1]), np.abs(x[1:])) >= QUARTER
        if (is_long & ~is_near).any():
            return None
        # Along a pole either way leads over the same place: that which closes the ring is meant.
        if np.sign(step[is_long]).sum() != 0 == np.sign(step[is_long | along]).sum():
            is_long |= along
    turns = np.zeros(len(ring), np.int64)
    np.cumsum(np.where(is_long, -np.sign(step), 0), out=turns[1:], dtype=np.int64)
    return turns if abs(turns[-1]) <= 1 else None


def _from_the_west(ring: Floats, turns: Ints, west: float = -HALF) -> Floats:
    """A ring moved by turns, and by as many more as bring its west next to `west`, east of it.

    What need not be moved keeps all its digits.
    """
    back = np.floor(((ring[:, 0] + turns * AROUND).min() - west) / AROUND)
    moved: Floats = ring + np.stack([(turns - back) * AROUND, np.zeros(len(ring))], axis=1)
    return moved


def _pole_beside(ring: Floats) -> float | None:
    """Latitude of the pole on the same side of the equator; None for a ring on both sides."""
    low, high = ring[:, 1].min(), ring[:, 1].max()
    return POLE if low > 0 else -POLE if high < 0 else None


def _closed_at(pole: float, ring: Floats, turns: Ints) -> Floats:
    """A ring that ends a turn from where it began, led along a pole.

    The way to the pole begins at the vertex next to it, so that it meets no edge.
    """
    first = int(np.argmin(np.abs(ring[:-1, 1] - pole)))
    order = np.concatenate([np.arange(first, len(ring)), np.arange(1, first + 1)])
    turns = np.concatenate([turns[first:], turns[1 : first + 1] + turns[-1]])
    ring = _from_the_west(ring[order], turns)
    corners = [[ring[-1, 0], pole], [ring[0, 0], pole], ring[0]]
    return np.concatenate([ring, corners])


def holds(ring: Floats, place: Floats) -> bool:
    """Whether a place (2,) lies inside of a ring, by the even-odd rule."""
    a, b = ring[:-1], ring[1:]
    with np.errstate(invalid="ignore", divide="ignore"):
        share = (place[1] - a[:, 1]) / (b[:, 1] - a[:, 1])
        is_right = a[:, 0] + share * (b[:, 0] - a[:, 0]) > place[0]
    crosses = (a[:, 1] <= place[1]) != (b[:, 1] <= place[1])
    return bool(np.count_nonzero(crosses & is_right) % 2)


# ---- cut where a projection is torn --------------------------------------------------------------


def cut_along(ragged: Ragged, meridian: float) -> Ragged:
    """Parts in degrees that go over a meridian, cut there: one part on each side.

    The cut is made `CUT_DEGREES` beside the meridian, so that each part is projected to its own
    side of the tear. Rings need not be valid: each is cut by itself, and its edges along the cut
    are even-odd like all others.
    """
    first = ragged.ring_offsets[ragged.part_offsets[:-1]]
    x = ragged.xy[:, 0]
    west, east = np.minimum.reduceat(x, first), np.maximum.reduceat(x, first)
    low = np.floor((west - meridian + CUT_DEGREES) / AROUND)
    high = np.ceil((east - meridian - CUT_DEGREES) / AROUND)
    over = np.flatnonzero(high - low > 1)
    if not over.size:
        return ragged
    pieces: list[Ragged] = []
    done = 0
    for part in over.tolist():
        pieces.append(_some_parts(ragged, done, part))
        own = _some_parts(ragged, part, part + 1)
        rings = np.split(own.xy, own.ring_offsets[1:-1])
        for strip in range(int(low[part]), int(high[part])):
            edge = meridian + strip * AROUND
            cut = [
                _between(ring, edge + CUT_DEGREES, edge + AROUND - CUT_DEGREES) for ring in rings
            ]
            if len(cut[0]):
                pieces.append(_one_part([ring for ring in cut if len(ring)], own.part_zone))
        done = part + 1
    return _chained([*pieces, _some_parts(ragged, done, len(first))])


def _between(ring: Floats, west: float, east: float) -> Floats:
    """A ring cut to the longitudes between two; empty where nothing is left.

    A cut edge has the same place in neighbours, whatever way they run along it.
    """
    for bound, side in ((west, 1.0), (east, -1.0)):
        is_in = side * (ring[:, 0] - bound) >= 0
        at = np.flatnonzero(is_in[:-1] != is_in[1:])
        a, b = ring[at], ring[at + 1]
        a, b = np.where(a[:, :1] < b[:, :1], (a, b), (b, a))
        y = a[:, 1] + (bound - a[:, 0]) / (b[:, 0] - a[:, 0]) * (b[:, 1] - a[:, 1])
        ring = np.insert(ring, at + 1, np.stack([np.full(y.size, bound), y], axis=1), axis=0)
        ring = ring[np.insert(is_in, at + 1, np.ones(at.size, np.bool_))]
        if len(ring) and (ring[0] != ring[-1]).any():
            ring = np.concatenate([ring, ring[:1]])
    return ring if len(ring) > 3 else ring[:0]


def _some_parts(ragged: Ragged, start: int, stop: int) -> Ragged:
    """Parts `start` to `stop` of all."""
    parts = ragged.part_offsets[start : stop + 1]
    rings = ragged.ring_offsets[parts[0] : parts[-1] + 1]
    xy = ragged.xy[rings[0] : rings[-1]]
    return Ragged(xy, rings - rings[0], parts - parts[0], ragged.part_zone[start:stop])


def _one_part(rings: list[Floats], part_zone: Ints) -> Ragged:
    ends = np.cumsum([0, *map(len, rings)])
    return Ragged(np.concatenate(rings), ends, np.array([0, len(rings)]), part_zone)


def _chained(pieces: list[Ragged]) -> Ragged:
    """Parts of several, one after the other."""

    def offsets(name: str) -> Ints:
        counts = [np.diff(getattr(one, name)) for one in pieces]
        return np.concatenate([[0], np.cumsum(np.concatenate(counts))])

    return Ragged(
        np.concatenate([one.xy for one in pieces]),
        offsets("ring_offsets"),
        offsets("part_offsets"),
        np.concatenate([one.part_zone for one in pieces]),
    )


def _with_rings(ragged: Ragged, made: dict[int, Floats]) -> Ragged:
    """The same rings, some of them others."""
    vertices = np.diff(ragged.ring_offsets)
    pieces, start = [], 0
    for number in sorted(made):
        pieces += [ragged.xy[start : ragged.ring_offsets[number]], made[number]]
        start = int(ragged.ring_offsets[number + 1])
        vertices[number] = len(made[number])
    xy = np.concatenate([*pieces, ragged.xy[start:]])
    return replace(ragged, xy=xy, ring_offsets=np.concatenate([[0], np.cumsum(vertices)]))
