"""Colours, names and scales of maps: functions of arrays, which know nothing of stores."""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np
import numpy.typing as npt

from zoneraster.arrays import Bools, Ints

# Paul Tol's light colours: told apart by colour-blind eyes, with black letters legible on each.
LIGHT = ("#77AADD", "#EEDD88", "#FFAABB", "#99DDFF", "#BBCC33", "#44BB99", "#EE8866", "#AAAA00")
# Okabe and Ito's: the same for classes, without black and grey.
CLASSES = ("#0072B2", "#E69F00", "#009E73", "#F0E442", "#CC79A7", "#56B4E9", "#D55E00", "#785EF0")
# Maps rarely need more of them, and are calmer with fewer.
_MOSTLY = 6
# Lines between zones are drawn as long as they are not most of the picture.
_LINES = 0.3
# Pixels that are left free around a name.
_AROUND = 2


def borders(ids: npt.NDArray[np.uint32]) -> Bools:
    """Pixels of zones that end to the right or below; none where these are many.

    Parameters
    ----------
    ids : (rows, cols) uint32
    """
    found = np.zeros(ids.shape, bool)
    found[:, :-1] |= ids[:, :-1] != ids[:, 1:]
    found[:-1] |= ids[:-1] != ids[1:]
    found &= ids > 0
    return found if found.sum() <= _LINES * max(1, (ids > 0).sum()) else np.zeros_like(found)


def neighbours(ids: npt.NDArray[np.uint32]) -> tuple[Ints, Ints]:
    """Pairs of zones that share a side of a pixel, each pair both ways round.

    Parameters
    ----------
    ids : (rows, cols) uint32
    """
    found = []
    for one, other in ((ids[:, :-1], ids[:, 1:]), (ids[:-1], ids[1:])):
        differ = (one != other) & (one > 0) & (other > 0)
        low = np.minimum(one[differ], other[differ]).astype(np.uint64)
        high = np.maximum(one[differ], other[differ]).astype(np.uint64)
        found.append(np.unique(low << np.uint64(32) | high))
    pairs = np.unique(np.concatenate(found))
    low = (pairs >> np.uint64(32)).astype(np.int64)
    high = (pairs & np.uint64(2**32 - 1)).astype(np.int64)
    return np.concatenate([low, high]), np.concatenate([high, low])


def distinct_colours(ids: npt.NDArray[np.uint32]) -> dict[int, int]:
    """A number of a colour for each zone, and others for zones that touch.

    Parameters
    ----------
    ids : (rows, cols) uint32

    Returns
    -------
    dict
        Zone id to number, from 0.
    """
    one, other = neighbours(ids)
    order = np.argsort(one, kind="stable")
    one, other = one[order], other[order]
    known = np.unique(ids[ids > 0]).astype(np.int64)
    begin, end = np.searchsorted(one, known), np.searchsorted(one, known, side="right")
    chosen: dict[int, int] = {}
    used = [0] * _MOSTLY
    for i in np.argsort(begin - end, kind="stable"):
        taken = {chosen.get(int(zone)) for zone in other[begin[i] : end[i]]}
        free = [c for c in range(len(used)) if c not in taken]
        if not free:
            used.append(0)
            free = [len(used) - 1]
        # Of those that may be, the one that has been taken least.
        colour = min(free, key=lambda c: (used[c], c))
        chosen[int(known[i])] = colour
        used[colour] += 1
    return chosen


def name_places(
    ids: npt.NDArray[np.uint32], sizes: Mapping[int, tuple[int, int]]
) -> dict[int, tuple[float, float]]:
    """Where the names of zones fit into their own pixels.

    Parameters
    ----------
    ids : (rows, cols) uint32
    sizes : mapping of zone id to (width, height)
        Of the names, pixels.

    Returns
    -------
    dict
        Zone id to column and row of the middle of its name, as near to the middle of the zone as
        it fits. Zones into which it does not fit are left out.
    """
    found = {}
    for zone, (row0, row1, col0, col1) in _boxes(ids).items():
        if zone not in sizes:
            continue
        width, height = (size + 2 * _AROUND for size in sizes[zone])
        if col1 - col0 < width or row1 - row0 < height:
            continue
        inside = ids[row0:row1, col0:col1] == zone
        sums = np.zeros((inside.shape[0] + 1, inside.shape[1] + 1), np.int64)
        sums[1:, 1:] = inside.cumsum(0).cumsum(1)
        filled = sums[height:, width:] - sums[:-height, width:]
        filled = filled - sums[height:, :-width] + sums[:-height, :-width]
        rows, cols = np.nonzero(filled == width * height)
        if not rows.size:
            continue
        y, x = (n.mean() for n in np.nonzero(inside))
        best = np.argmin((rows + height / 2 - y) ** 2 + (cols + width / 2 - x) ** 2)
        found[zone] = (col0 + cols[best] + width / 2, row0 + rows[best] + height / 2)
    return found


def _boxes(ids: npt.NDArray[np.uint32]) -> dict[int, tuple[int, int, int, int]]:
    """First and end row and column of each zone."""
    rows, cols = np.nonzero(ids)
    known, number = np.unique(ids[rows, cols], return_inverse=True)
    low = np.full((2, known.size), np.iinfo(np.int64).max)
    high = np.zeros((2, known.size), np.int64)
    for k, places in enumerate((rows, cols)):
        np.minimum.at(low[k], number, places)
        np.maximum.at(high[k], number, places + 1)
    return {
        int(zone): (int(low[0, i]), int(high[0, i]), int(low[1, i]), int(high[1, i]))
        for i, zone in enumerate(known)
    }


def round_length(longest: float) -> float:
    """The longest of 1, 2, 5, 10, 20, ... that is not longer.

    Parameters
    ----------
    longest : float
        Above 0.
    """
    unit: float = 10.0 ** math.floor(math.log10(longest))
    return unit * max(n for n in (1, 2, 5) if n * unit <= longest * (1 + 1e-9))


def rgb(colours: tuple[str, ...]) -> npt.NDArray[np.uint8]:
    """Colours as numbers, (n, 3)."""
    return np.array([tuple(bytes.fromhex(one[1:])) for one in colours], np.uint8)


def degrees(value: float, letters: str) -> str:
    """A longitude ("EW") or latitude ("NS") as maps write it."""
    rounded = round(value, 6)
    letter = letters[0] if rounded > 0 else letters[1] if rounded < 0 else ""
    return f"{abs(rounded):.4g}° {letter}".rstrip()
