"""How often each value occurs: what order statistics and classes are found from.

Values are counted as integers that sort as they do, whose lower bits may be left out.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from zoneraster._burn import inlined, kernel, put
from zoneraster._stats.cut import ensure_room, find
from zoneraster._stats.families.base import Block, Leaves, Values, is_valid
from zoneraster._stats.families.rows import Lists, Rows, counts_of, join
from zoneraster.arrays import Ints, Numbers
from zoneraster.errors import ValuesError

MAX_VALUES = 2**26  # pairs of group and value that a task may hold


class Tally(NamedTuple):
    """Accumulators of a lane: counts of the pairs (slot, code) of a table (see `cut.find`)."""

    counts: Ints
    places: Any  # Any: (2**p,) int32, as kernels take it
    entries: Ints
    n: int

    @classmethod
    def empty(cls) -> Tally:
        """Nothing counted."""
        none = np.full(1024, -1, np.int32)
        return cls(np.zeros(0, np.int64), none, np.empty((512, 2), np.int64), 0)


def add_counts(own: Tally, values: Values, *, low: int) -> Tally:
    """Count values.

    Parameters
    ----------
    own : Tally
    values : Values
    low : int
        Bits left out below.
    """
    bits, is_float, top = bits_of(values.pixels)
    for piece in values.pieces():
        own = Tally._make(
            tally(
                piece.runs, (values.pixels, bits), piece.place, values.mask,
                (low, is_float, top), values.skip, tuple(own),
            )
        )  # fmt: skip
        if own.n > MAX_VALUES:
            raise ValuesError(
                f"{values.label}: more than {MAX_VALUES:,} different values in one task: "
                "majority, variety and the like are for rasters of classes; ask for quantiles"
            )
    return own


def tally_rows(lanes: list[Tally], leaves: Leaves, *, low: int) -> Rows:
    """Counts of some slots, lane by lane, as one column; codes in full length."""
    parts, place = [], leaves.places()
    for own in lanes:
        slot, code = own.entries[: own.n].T
        parts.append(counts_of(place[slot], code << low, own.counts[: own.n], leaves.slot.size))
    return {"counts": join(parts)}


class Counting:
    """What families share that count values."""

    __slots__ = ()

    low: int = 0  # bits of the codes that are left out below

    def start(self, n_lanes: int) -> list[Tally]:
        """Nothing counted."""
        return [Tally.empty() for _ in range(n_lanes)]

    def add(self, into: list[Tally], values: Values) -> None:
        """Count values."""
        into[values.lane] = add_counts(into[values.lane], values, low=self.low)

    def rows(self, into: list[Tally], leaves: Leaves) -> Rows:
        """Counts of some slots, lane by lane."""
        return tally_rows(into, leaves, low=self.low)

    def blank(self, n: int) -> Rows:
        """Counts of groups without a value."""
        nothing = np.zeros(0, np.int64)
        return {"counts": Lists(np.zeros(n + 1, np.int64), (nothing, nothing))}

    def merge(self, rows: Rows, number: Ints, n: int) -> Rows:
        """Add counts of equal codes of a group."""
        counts = tally_of(rows)
        code, count = counts.values
        return {"counts": counts_of(number[counts.row], code, count, n)}


def tally_of(rows: Rows) -> Lists:
    """The one column: (code, count) of each row, codes ascending."""
    counts = rows["counts"]
    assert isinstance(counts, Lists)
    return counts


def bits_of(pixels: Block) -> tuple[Block, bool, int]:
    """Pixels as integers that can be told apart, if they are floats, all bits but a sign."""
    if pixels.dtype.kind == "f":
        size = pixels.dtype.itemsize
        return pixels.view(f"i{size}"), True, 2 ** (8 * size - 1) - 1
    return pixels, False, 0


def value_of(code: Ints, dtype: np.dtype[Any]) -> Numbers:
    """Values that codes in full length stand for."""
    if dtype.kind != "f":
        return code
    size = dtype.itemsize
    top = 2 ** (8 * size - 1) - 1
    bits = np.where(code >= 0, code, code ^ top)
    return bits.astype(f"i{size}").view(dtype).astype(np.float64)


@inlined
def ordered(bits, top):  # type: ignore[no-untyped-def]
    """Bits of a float as an integer that sorts as the float does."""
    return np.int64(bits) if bits >= 0 else np.int64(bits ^ top)


@kernel
def tally(runs, pixels, place, nodata, shift, skip, into):  # type: ignore[no-untyped-def]
    """Count how often each value occurs in each slot.

    Parameters
    ----------
    runs : (ptr, begin, slot, width)
        See `cut`.
    pixels : (values, bits)
        (h, w) any number, and (h, w) integers: the values themselves, or the bits of floats.
    place : (row origin, column origin, k) int
    nodata : (value, bool)
    shift : (int, is_float, top)
        Lower bits of the ordered value that the code leaves out; `top` has all bits but the sign.
    skip : (slots,) bool
    into : (counts, places, entries, n)
        (capacity,) int64, and the table of pairs (slot, code) that it counts.

    Returns
    -------
    counts, places, entries, n
    """
    ptr, begin, slot, width = runs
    values, bits = pixels
    counts, places, entries, n = into
    row_origin, col_origin, k = place
    low, is_float, top = shift
    for r in range(ptr.size - 1):
        places, entries = ensure_room(places, entries, n, width)
        if counts.size < entries.shape[0]:
            more = np.zeros(entries.shape[0], np.int64)
            put(more, 0, counts)
            counts = more
        row, row_bits = values[(row_origin + r) // k], bits[(row_origin + r) // k]
        for i in range(ptr[r], ptr[r + 1]):
            g = slot[i]
            if g < 0 or skip[g]:
                continue
            c = np.int64(begin[i])
            stop = np.int64(begin[i + 1]) if i + 1 < ptr[r + 1] else np.int64(width)
            while c < stop:
                j = (col_origin + c) // k
                first, x = c, row_bits[j]
                last = (col_origin + stop - 1) // k
                v = row[j]
                while j < last and row_bits[j + 1] == x:
                    j += 1
                c = min(stop, (j + 1) * k - col_origin)
                if not is_valid(v, nodata[0], nodata[1]):
                    continue
                code = ordered(x, top) if is_float else np.int64(x)
                if is_float and v == 0:
                    code = 0  # minus zero
                number = find(g, code >> low, places, entries, n)
                n = max(n, number + 1)
                counts[number] += c - first
    return counts, places, entries, n
