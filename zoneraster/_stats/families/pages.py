"""Values of groups, held until their order is asked for, and what is told of them then.

Values are held as *codes*, integers that sort as they do, in pages of one pool that all groups of a
task share: page after page of a group is linked to the next. A group gives its pages back when it
is told, as *ranges*: how many of its values lie between two codes. A range of one code is exact.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from zoneraster._burn import inlined, kernel, put, sort_stretch
from zoneraster._stats.families.base import Block, is_valid
from zoneraster.arrays import Ints

# Values of a page: some are wasted at the end of each group.
PAGE = 64
# Bins into which the values of a group are counted before any is sorted.
_FEWEST_BINS, _MOST_BINS = 2**6, 2**14
# Fewer values than this are sorted by comparing, more by their digits of 8 bits.
_FEW = 256


class Coding(NamedTuple):
    """How values become codes.

    Parameters
    ----------
    dtype : numpy.dtype
        Of the codes: int32 where that holds them.
    is_float : bool
        Codes are bits, all but the sign turned over below zero.
    base : int
        What is taken from an integer.
    """

    dtype: np.dtype[Any]
    is_float: bool
    base: int

    @classmethod
    def of(cls, dtype: np.dtype[Any]) -> Coding:
        """Of values of a dtype."""
        size = 4 if dtype.itemsize <= 4 else 8
        return cls(np.dtype(f"i{size}"), dtype.kind == "f", 2**31 if dtype == np.uint32 else 0)

    @property
    def top(self) -> int:
        """All bits but the sign."""
        return int(np.iinfo(self.dtype).max)

    def bits_of(self, pixels: Block) -> Block:
        """Pixels as integers, which `hold` makes codes of."""
        return pixels.view(self.dtype) if self.is_float else pixels


class Pool(NamedTuple):
    """Pages, and which follows which.

    Parameters
    ----------
    codes : (pages * PAGE,) int32 or int64
    follows : (pages,) int32
        The next page of a group, or the next free one; -1 behind the last.
    state : (3,) int64
        Pages ever used, first free page, number of free pages.
    """

    codes: Ints
    follows: Any  # Any: int32, as kernels take it
    state: Ints

    @classmethod
    def of(cls, n_values: int, dtype: np.dtype[Any]) -> Pool:
        """Nothing held; memory is taken when it is first written."""
        n = n_values // PAGE
        state = np.array([0, -1, n], np.int64)
        return cls(np.empty(n * PAGE, dtype), np.empty(n, np.int32), state)

    @property
    def n_pages(self) -> int:
        """Number of pages, free or not."""
        return int(self.follows.size)


class Chains(NamedTuple):
    """The values of the slots of a lane.

    Parameters
    ----------
    first, last : (slots,) int32
        Pages, -1 where nothing is held.
    held, met : (slots,) int64
        Values that are held, and those of all that were ever held.
    """

    first: Any  # Any: int32, as kernels take it
    last: Any
    held: Ints
    met: Ints

    @classmethod
    def empty(cls, n: int) -> Chains:
        """Nothing held."""
        return cls(
            np.full(n, -1, np.int32), np.full(n, -1, np.int32),
            np.zeros(n, np.int64), np.zeros(n, np.int64),
        )  # fmt: skip

    def grown(self, n: int) -> Chains:
        """The same with room for `n` slots at least."""
        size = self.held.size
        if n <= size:
            return self
        more = Chains.empty(max(n, 2 * size))
        for old, new in zip(self, more, strict=True):
            new[:size] = old
        return more


@inlined
def _code_of(bits, is_float, top, base):  # type: ignore[no-untyped-def]
    """An integer that sorts as the value does; minus zero, which would be -1, is zero."""
    if not is_float:
        return np.int64(bits) - base
    code = np.int64(bits) if bits >= 0 else np.int64(bits ^ top)
    return code + (code == -1)


@inlined
def _new_page(follows, state):  # type: ignore[no-untyped-def]
    """Take a free page; there must be one."""
    page = state[1]
    if page >= 0:
        state[1] = follows[page]
    else:
        page = state[0]
        state[0] += 1
    state[2] -= 1
    follows[page] = -1
    return page


@inlined
def _hold_some(values, bits, nodata, coding, into):  # type: ignore[no-untyped-def]
    """Write the codes of the valid ones of some values one after the other; how many they are."""
    is_float, top, base = coding
    n = 0  # First as if all were valid, in a loop that the compiler turns into vectors.
    for i in range(values.size):
        into[i] = _code_of(bits[i], is_float, top, base)
        n += is_valid(values[i], nodata[0], nodata[1])
    if n < values.size:
        n = 0
        for i in range(values.size):
            into[n] = _code_of(bits[i], is_float, top, base)
            n += is_valid(values[i], nodata[0], nodata[1])
    return n


@kernel
def _hold_run(g, c, stop, pixels, place, nodata, coding, brackets, chains, gaps, pool):  # type: ignore[no-untyped-def]
    """`hold` for a run of slot `g`, columns `c` to `stop`; `pixels` are those of its row."""
    row, row_bits = pixels
    col_origin, k = place
    bptr, low, high = brackets
    first, last, held, met = chains
    codes, follows, state = pool
    everything = bptr.size == 0
    n, page = held[g], np.int64(last[g])
    at = page * PAGE + n % PAGE
    while c < stop:
        j = (col_origin + c) // k if k > 1 else col_origin + c
        end = min(stop, (j + 1) * k - col_origin)
        if not is_valid(row[j], nodata[0], nodata[1]):
            c = end
            continue
        code = _code_of(row_bits[j], coding[0], coding[1], coding[2])
        if not everything:
            b, b_end = bptr[g], bptr[g + 1]
            while b < b_end and code > high[b]:
                b += 1
            if b == b_end or code < low[b]:
                gaps[b + g] += end - c
                c = end
                continue
        if n % PAGE == 0:
            more = _new_page(follows, state)
            if page < 0:
                first[g] = more
            else:
                follows[page] = more
            page, at = more, more * PAGE
        # As many as fit into the page.
        full = c + PAGE - n % PAGE
        if everything and k == 1:
            end = min(stop, full)
            a, b = col_origin + c, col_origin + end
            m = _hold_some(row[a:b], row_bits[a:b], nodata, coding, codes[at : at + b - a])
        else:
            end = min(end, full)
            m = end - c
            codes[at : at + m] = code
        at, n, c = at + m, n + m, end
    met[g] += n - held[g]
    held[g], last[g] = n, page


@kernel
def hold(runs, start, pixels, place, nodata, coding, brackets, skip, chains, gaps, pool):  # type: ignore[no-untyped-def]
    """Hold the values of some rows of a cell, slot by slot.

    Parameters
    ----------
    runs : (ptr, begin, slot, width)
        See `cut`.
    start : int
        Row to begin with.
    pixels : (values, bits)
        (h, w) any number, and (h, w) integers: the values themselves, or the bits of floats.
    place : (row origin, column origin, k) int
    nodata : (value, bool)
    coding : (is_float, top, base)
        See `Coding`.
    brackets : (pointers (slots + 1,) int64, low, high)
        Only codes of a slot in one of its brackets, which ascend and share none, are held; others
        are counted, and slots without a bracket left out. No pointers: every code is held.
    skip : (slots,) bool
    chains, pool
        See there; changed in place.
    gaps : (brackets + slots,) int64
        Counts of codes before, between and behind the brackets of each slot, changed in place.

    Returns
    -------
    int
        First row that was not done, for want of free pages; the number of rows in the end.
    """
    ptr, begin, slot, width = runs
    values, bits = pixels
    row_origin, col_origin, k = place
    bptr, free = brackets[0], pool[2]
    for r in range(start, ptr.size - 1):
        if free[2] < ptr[r + 1] - ptr[r] + width // PAGE + 1:
            return r
        row = (values[(row_origin + r) // k], bits[(row_origin + r) // k])
        for i in range(ptr[r], ptr[r + 1]):
            g = slot[i]
            if g < 0 or skip[g] or (bptr.size and bptr[g] == bptr[g + 1]):
                continue
            c = np.int64(begin[i])
            stop = np.int64(begin[i + 1]) if i + 1 < ptr[r + 1] else np.int64(width)
            _hold_run(
                g, c, stop, row, (col_origin, k), nodata, coding, brackets, chains, gaps, pool
            )
    return ptr.size - 1


@kernel
def _gathered(g, chains, pool, into):  # type: ignore[no-untyped-def]
    """Values of a slot one after the other, its pages free again; how many there are."""
    first, last, held, _ = chains
    codes, follows, state = pool
    page, n, total = np.int64(first[g]), 0, held[g]
    while True:
        own = min(PAGE, total - n)
        put(into, n, codes[page * PAGE : page * PAGE + own])
        n += own
        state[2] += 1
        if n == total:
            break
        page = np.int64(follows[page])
    follows[page] = state[1]
    state[1] = first[g]
    held[g], first[g], last[g] = 0, -1, -1
    return n


@kernel
def _sort(values, spare, n_bits):  # type: ignore[no-untyped-def]
    """Sort values that agree in all but their lowest bits, in place."""
    n = values.size
    if n < _FEW:
        sort_stretch(values, 0, n)
        return
    for shift in range(0, n_bits, 8):
        count = np.zeros(257, np.int64)
        for i in range(n):
            count[((values[i] >> shift) & 255) + 1] += 1
        for d in range(256):
            count[d + 1] += count[d]
        for i in range(n):
            d = (values[i] >> shift) & 255
            spare[count[d]] = values[i]
            count[d] += 1
        put(values, 0, spare[:n])


@kernel
def _binned(values):  # type: ignore[no-untyped-def]
    """Count values in bins by their upper bits.

    Returns
    -------
    limits : (int, int)
        The least and the largest value.
    shift, bottom : int
        Of bin ``b`` are the values ``x >> shift == bottom + b``.
    count : (bins,) int32
    """
    lowest = highest = values[0]
    for x in values:
        lowest, highest = min(lowest, x), max(highest, x)
    low, high = np.int64(lowest), np.int64(highest)
    most = _FEWEST_BINS
    while most < _MOST_BINS and 8 * most < values.size:
        most *= 2
    # Halves, so that the difference of 64-bit codes is one.
    shift = 0 if (high >> 1) - (low >> 1) < most // 2 - 1 else 1
    while shift and (high >> shift) - (low >> shift) >= most:
        shift += 1
    bottom = low >> shift
    count = np.zeros((high >> shift) - bottom + 1, np.int32)
    for x in values:
        count[(np.int64(x) >> shift) - bottom] += 1
    return (low, high), shift, bottom, count


@kernel
def _opened(values, spare, bins, asked, depth):  # type: ignore[no-untyped-def]
    """Bring the values of some bins to the front, bin by bin.

    Of those that hold an asked rank, or more than `depth` values; of several codes all.

    Returns
    -------
    (bins,) int64
        Where the values of a bin end; -1 of the others.
    """
    shift, bottom, count = bins
    place = np.full(count.size, -1, np.int64)
    rank = n_open = np.int64(0)
    a = 0
    for b in range(count.size):
        c = np.int64(count[b])
        while a < asked.size and asked[a] < rank:
            a += 1
        if shift and c and (c > depth or (a < asked.size and asked[a] < rank + c)):
            place[b] = n_open
            n_open += c
        rank += c
    if n_open:
        for x in values:
            at = (np.int64(x) >> shift) - bottom
            if place[at] >= 0:
                spare[place[at]] = x
                place[at] += 1
        put(values, 0, spare[:n_open])
    return place


@kernel
def _ranges_of(values, spare, asked, room, out, k):  # type: ignore[no-untyped-def]
    """Ranges of the values of a group; the ranks that are asked for are exact.

    Parameters
    ----------
    values, spare : (n,) int32 or int64, (n or more,) of the same
        Written to.
    asked : (m,) int64
        Ranks from 0, ascending.
    room : int
        About how many ranges there may be; 0: only what is asked for.
    out : (n, 3) int64
        Least and largest code and number of values.
    k : int
        Ranges in it so far.

    Returns
    -------
    int
        Ranges in it now.

    Notes
    -----
    Values are counted in bins. Bins that hold an asked rank, or more values than a range may have,
    are sorted; all others are ranges as they are.
    """
    n = values.size
    limits, shift, bottom, count = _binned(values)
    low, high = limits
    depth = float(n)
    if room > 0:
        # No more codes than room: each is told by itself.
        few = n <= room or (high >> 1) - (low >> 1) < room >> 1
        depth = 0.0 if few else n / room
    place = _opened(values, spare, (shift, bottom, count), asked, depth)
    state = np.zeros(3, np.int64)
    for b in range(count.size):
        c = np.int64(count[b])
        if c and place[b] < 0:
            first = max(low, (bottom + b) << shift)
            last = min(high, ((bottom + b) << shift) + ((np.int64(1) << shift) - 1))
            k = _add(first, last, c, asked, depth, state, out, k)
        elif c:
            own = values[place[b] - c : place[b]]
            _sort(own, spare, shift)
            i = 0
            while i < c:
                first = i
                while i < c and own[i] == own[first]:
                    i += 1
                code = np.int64(own[first])
                k = _add(code, code, i - first, asked, depth, state, out, k)
    return k


@inlined
def _add(first, last, n, asked, depth, state, out, k):  # type: ignore[no-untyped-def]
    """Write a range, or join it to the one before.

    They are joined while they have no more values than `depth`, unless an asked rank lies in one of
    them.

    Parameters
    ----------
    first, last, n : int
        Least and largest code and number of values.
    state : (3,) int64
        Values before, asked ranks before, and whether the range written last may be joined.
    asked, depth, out, k
        See `_ranges_of`.

    Returns
    -------
    int
        Ranges written.
    """
    a = state[1]
    while a < asked.size and asked[a] < state[0]:
        a += 1
    alone = a < asked.size and asked[a] < state[0] + n
    if state[2] and not alone and out[k - 1, 2] + n <= depth:
        out[k - 1, 1] = last
        out[k - 1, 2] += n
    else:
        out[k, 0], out[k, 1], out[k, 2] = first, last, n
        k += 1
        state[2] = not alone
    state[0] += n
    state[1] = a
    return k


@kernel
def tell(slots, quantiles, room, chains, pool):  # type: ignore[no-untyped-def]
    """Ranges of the values of some slots, which are no longer held.

    Parameters
    ----------
    slots : (s,) int64
        That hold a value.
    quantiles : (q,) float64
        Whose two ranks are exact in slots all of whose values are still held.
    room : (s,) int64
        About how many ranges a slot may have; 0: only what the quantiles need.
    chains, pool
        See there; changed in place.

    Returns
    -------
    ptr : (s + 1,) int64
    ranges : (n, 3) int64
        Least and largest code and number of values, ascending, of each slot ``ptr[i]:ptr[i + 1]``.
    """
    _, _, held, met = chains
    most = total = 0
    for i in range(slots.size):
        n = held[slots[i]]
        most = max(most, n)
        total += min(n, 3 * room[i] + 4 * quantiles.size + 4)
    values, spare = np.empty(most, pool[0].dtype), np.empty(most, pool[0].dtype)
    out, ptr = np.empty((total, 3), np.int64), np.zeros(slots.size + 1, np.int64)
    ranks = np.empty(2 * quantiles.size, np.int64)
    k = 0
    for i in range(slots.size):
        g = slots[i]
        n_asked = 0
        if held[g] == met[g]:
            for q in quantiles:
                lower = np.int64(np.floor((held[g] - 1) * q))
                ranks[n_asked], ranks[n_asked + 1] = lower, min(lower + 1, held[g] - 1)
                n_asked += 2
        sort_stretch(ranks, 0, n_asked)
        n = _gathered(g, chains, pool, values)
        k = _ranges_of(values[:n], spare, ranks[:n_asked], room[i], out, k)
        ptr[i + 1] = k
    return ptr, out[:k]
