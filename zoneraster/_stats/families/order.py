"""Order statistics: what a task sees of a group is sorted there, and told in ranges of codes.

A task holds the values of its groups in `pages` and tells of each group the order statistics that
are asked for, exactly, and in `ranges` how many values lie between them. Groups that one task has
seen whole are done. Of others it is known by then between which codes the wanted values lie:
another pass looks there, until they are known. Ranges are true wherever they come from, so that
neither the order of tasks nor their number matters, and nothing is random.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

import numpy as np

from zoneraster._stats.families.base import Columns, Group, Leaves, Members, OnePass, Values
from zoneraster._stats.families.pages import PAGE, Chains, Coding, Pool, hold, tell
from zoneraster._stats.families.ranges import (
    brackets_of,
    find_rank,
    joined,
    merged,
    order_statistic_ranks,
    ranges_of,
    replaced,
    room_of,
    settled,
    thinned,
    within_allowance,
)
from zoneraster._stats.families.rows import Lists, Rows, group_numbers, join, take, total_of
from zoneraster._stats.families.tally import Counting, tally_of, value_of
from zoneraster.arrays import Bools, Floats, Ints
from zoneraster.errors import ClosureError, ValuesError

# Of "median" and "q0.25": Hyndman and Fan 1996, type 7, the default of NumPy.
FORMULA = "linear interpolation between the sorted values at rank (n - 1) q"
_QUANTILE = re.compile(r"q(0|1|0?\.\d+|1\.0+)")
# Values that a task may hold, of 4 or 8 bytes each.
_HELD = 2**24
# Ranges that a lane of a task may have told before they are sorted and thinned.
_TOLD = 2**20


def quantile_of(name: str) -> float | None:
    """The quantile that a name stands for: "q0.25", "median"; None for other names."""
    if name == "median":
        return 0.5
    return float(name[1:]) if _QUANTILE.fullmatch(name) else None


def order_family(
    quantiles: tuple[float, ...], dtype: np.dtype[Any], *, few: bool, merges: bool, exact: bool
) -> Order | Bounded:
    """The family for some quantiles, with the options of `Wanted.families`."""
    if dtype.kind != "f" or few or exact:
        # All that is told of few values serves other calls, too: they merge as they like.
        return Order(quantiles, dtype, few, merges and not few)
    # Sign, exponent and 7 bits: half a step is 1/256 of the value.
    return Bounded(dtype, 16 if dtype.itemsize == 4 else 45)


class Looked(NamedTuple):
    """Where a pass looks.

    Parameters
    ----------
    rows : (rows, columns) int64
        Lane, zone id and codes of groups; zone ids ascending.
    brackets : Lists of (low, high)
        Codes between which their wanted values lie.
    """

    rows: Ints
    brackets: Lists

    def within(self, zones: Ints) -> Looked:
        """What concerns some zones, ascending."""
        zone = self.rows[:, 1]
        start = np.searchsorted(zone, zones)
        sizes = np.searchsorted(zone, zones, side="right") - start
        ends = np.cumsum(sizes)
        rows = np.repeat(start - ends + sizes, sizes) + np.arange(sizes.sum())
        return Looked(self.rows[rows], take(self.brackets, rows))

    def digest(self) -> bytes:
        """A hash of it."""
        digest = hashlib.blake2b(digest_size=16)
        for array in (self.rows, self.brackets.ptr, *self.brackets.values):
            digest.update(np.ascontiguousarray(array).tobytes())
        return digest.digest()


@dataclass(frozen=True, slots=True, eq=False)
class Order:
    """The family for one measure, in one of its passes.

    Parameters
    ----------
    quantiles : tuple of float
    dtype : numpy.dtype
        Of the values.
    few, merges : bool
        There are so few values that all may be told; rows of the table may count several groups.
    step : int
        Which pass this is.
    looked : Looked, optional
        Where it looks; the first pass looks everywhere.
    """

    quantiles: tuple[float, ...]
    dtype: np.dtype[Any]
    few: bool
    merges: bool = False
    step: int = 0
    looked: Looked | None = None

    in_place = False
    has_more = True

    @property
    def coding(self) -> Coding:
        """How values become codes."""
        return Coding.of(self.dtype)

    # ---- in a task -----------------------------------------------------------------------------

    def start(self, n_lanes: int) -> _Held:
        """Nothing held."""
        rows = {} if self.looked is None else _numbered(self.looked.rows)
        return _Held([_Lane() for _ in range(n_lanes)], rows)

    def add(self, into: _Held, values: Values) -> None:
        """Hold values, or those in a bracket."""
        lane, coding = into.lanes[values.lane], self.coding
        lane.chains = lane.chains.grown(values.n_slots)
        self._look_up(into, values)
        # The runs of a row must fit into half of the pool.
        least = 2 * PAGE * (values.width + values.width // PAGE + 2)
        if into.pool is None or into.pool.n_pages * PAGE < least:
            self._make_room(into, values, 1.0)
            into.pool = Pool.of(max(_HELD, least), coding.dtype)
        pixels = (values.pixels, coding.bits_of(values.pixels))
        said = (coding.is_float, coding.top, coding.base)
        for piece in values.pieces():
            row, rows = 0, piece.runs[0].size - 1
            while True:
                row = hold(
                    piece.runs, row, pixels, piece.place, values.mask, said, lane.brackets,
                    values.skip, tuple(lane.chains), lane.gaps, tuple(into.pool),
                )  # fmt: skip
                if row == rows:
                    break
                self._make_room(into, values, 0.5)

    def _look_up(self, into: _Held, values: Values) -> None:
        """Brackets of the slots that are new in a lane."""
        if self.looked is None:
            return
        lane = into.lanes[values.lane]
        new = np.arange(len(lane.rows), values.n_slots)
        if not new.size:
            return
        for key in values.keys_of(new).tolist():
            lane.rows.append(into.rows.get((values.lane, *key), -1))
        rows = np.array(lane.rows)
        found = take(self.looked.brackets, rows[rows >= 0])
        sizes = np.zeros(rows.size, np.int64)
        sizes[rows >= 0] = found.sizes
        ptr = np.concatenate([[0], np.cumsum(sizes)])
        lane.brackets = (ptr, *found.values)
        gaps = np.zeros(ptr[-1] + rows.size, np.int64)
        gaps[: lane.gaps.size] = lane.gaps
        lane.gaps = gaps

    def _make_room(self, into: _Held, values: Values, share: float) -> None:
        """Tell of groups until a share of all pages is free.

        First of those of whose zone no more is to come, then of the largest, which are the most
        likely to go on elsewhere.
        """
        if into.pool is None:
            return
        is_whole = self._is_done(values.is_whole())
        pages = [-(-lane.chains.held // PAGE) for lane in into.lanes]
        number = np.repeat(np.arange(len(pages)), [own.size for own in pages])
        slot = np.concatenate([np.arange(own.size) for own in pages])
        taken = np.concatenate(pages)
        whole = np.append(is_whole, False)[np.minimum(slot, is_whole.size)]
        order = np.lexsort((slot, number, -taken, ~whole))
        order = order[taken[order] > 0]
        free = int(into.pool.state[2]) + np.cumsum(taken[order])
        order = order[: int(np.searchsorted(free, share * into.pool.n_pages)) + 1]
        for i in np.unique(number[order]).tolist():
            own = order[number[order] == i]
            self._tell(into, into.lanes[i], slot[own], np.where(whole[own], 0, 1))

    def _tell(self, into: _Held, lane: _Lane, slots: Ints, times: Ints) -> None:
        """Tell of some slots of a lane: of all that they need, or of the quantiles alone.

        Parameters
        ----------
        into, lane
        slots : (s,) int64
        times : (s,) int64
            How much room each takes: 0 for quantiles alone, 1 as usual, 2 for each value.
        """
        if into.pool is None or not slots.size:
            return
        held, met = lane.chains.held[slots], lane.chains.met[slots]
        room = np.where(times == 2, held, self._room(met + lane.outside(slots)))
        # Ranks within a task mean nothing where another pass looks between two codes.
        quantiles = np.array(() if self.looked is not None else self.quantiles, np.float64)
        if self.looked is None:
            room[(times == 0) & (held == met)] = 0
        ptr, found = tell(slots, quantiles, room, tuple(lane.chains), tuple(into.pool))
        lane.told.append((np.repeat(slots, np.diff(ptr)), *found.T))
        if sum(slot.size for slot, *_ in lane.told) > lane.told_limit:
            n = lane.chains.held.size
            slot, low, high, count = map(np.concatenate, zip(*lane.told, strict=True))
            own = ranges_of(slot, low, high, count, n)
            own = thinned(own, self.quantiles, self._room(total_of(own)))
            lane.told = [(own.row, *own.values)]
            lane.told_limit = max(_TOLD, 2 * own.row.size)

    def _is_done(self, whole: Bools) -> Bools:
        """Of which groups no more is asked than the quantiles of what their task has seen."""
        return np.zeros_like(whole) if self.few or self.merges else whole

    def _room(self, n: Ints) -> Ints:
        """About how many ranges tell of `n` values: more in each pass, so that there is a last."""
        fewest = 2**8 if self.dtype.itemsize == 1 else 0
        room: Ints = np.minimum(np.maximum(room_of(n) * 4 ** min(self.step, 20), fewest), n)
        return n if self.few else room

    def rows(self, into: _Held, leaves: Leaves) -> Rows:
        """Ranges of some slots, lane by lane."""
        whole, parts, place = self._is_done(leaves.is_whole()), [], leaves.places()
        for lane in into.lanes:
            lane.chains = lane.chains.grown(leaves.n_slots)
            held = lane.chains.held[leaves.slot]
            # Small groups tell all; that makes no more of the ranges than groups are worth.
            fits = within_allowance(np.where(whole, 0, held)) & (
                lane.chains.met[leaves.slot] == held
            )
            times = np.where(whole, 0, np.where(fits, 2, 1))
            self._tell(into, lane, leaves.slot[held > 0], times[held > 0])
            slot, low, high, n = lane.all_told(self.coding.dtype)
            own = ranges_of(place[slot], low, high, n, leaves.slot.size)
            parts.append(thinned(own, self.quantiles, self._room(total_of(own))))
        return {"ranges": self._packed(join(parts))}

    # ---- of all tasks --------------------------------------------------------------------------

    def _packed(self, ranges: Lists) -> Lists:
        """Ranges in as few bytes as hold them."""
        low, high, n = ranges.values
        small = n.max(initial=0) < 2**31
        dtype = self.coding.dtype
        values = (low.astype(dtype), high.astype(dtype), n.astype(np.int32 if small else np.int64))
        return Lists(ranges.ptr, values)

    def blank(self, n: int) -> Rows:
        """Groups without a value."""
        nothing = np.zeros(0, np.int64)
        return {"ranges": self._packed(Lists(np.zeros(n + 1, np.int64), (nothing,) * 3))}

    def merge(self, rows: Rows, number: Ints, n: int) -> Rows:
        """Ranges of all rows of a group."""
        return {"ranges": self._packed(merged(_ranges(rows), number, n))}

    def condensed(self, rows: Rows, is_whole: Callable[[], Bools]) -> Rows:
        """Ranges of which those of crowded rows are joined, and of what is known already."""
        own = settled(_ranges(rows), self.quantiles, self._is_done(is_whole()))
        return {"ranges": self._packed(thinned(own, self.quantiles, self._room(total_of(own))))}

    def finish(self, rows: Rows, name: str, group: Group) -> Columns | None:
        """The column of a quantile."""
        q = quantile_of(name)
        if q is None:
            return None
        _, low, high = brackets_of(_ranges(rows), (q,))
        if (low < high).any():
            raise ClosureError(f"{name!r} is not known in the end: please report this")
        low, _, n = _ranges(rows).values
        code = low.astype(np.int64) + self.coding.base
        return {"": quantile(Lists(_ranges(rows).ptr, (code, n)), q, self.dtype)}

    def again(self, rows: Rows, index: Ints, members: Members) -> Order | None:
        """The next pass: it looks where the unknown quantiles of the table lie.

        Parameters
        ----------
        rows : Rows
            What the passes so far have told.
        index : (rows, columns) int64
            Lane, zone id and codes of each row.
        members : Members
            Which rows of the table they count for. Quantiles are those of the table's rows, so it
            is there that ranks are looked up.
        """
        found = merged(take(_ranges(rows), members.row), members.final, members.n)
        final, low, high = brackets_of(found, self.quantiles)
        unknown = np.zeros(members.n, bool)
        unknown[final[low < high]] = True
        if not unknown.any():
            return None
        # All that count for a row with something unknown look; and as they are counted anew, also
        # where what is known lies, of that row and of all others that they count for.
        some = np.isin(members.row, members.row[unknown[members.final]])
        looked = joined(final, low, high, members.n)
        row, own = members.row[some], take(looked, members.final[some])
        some_rows, number = np.unique(row, return_inverse=True)
        by_zone = np.argsort(index[some_rows, 1], kind="stable")
        place = np.empty(by_zone.size, np.int64)
        place[by_zone] = np.arange(by_zone.size)
        brackets = joined(place[number][own.row], own.values[0], own.values[1], some_rows.size)
        return replace(self, step=self.step + 1, looked=Looked(index[some_rows[by_zone]], brackets))

    def within(self, zones: Ints) -> tuple[Order, Ints]:
        """What a task with some zones needs of it, and which of them it looks at."""
        assert self.looked is not None
        looked = self.looked.within(zones)
        return replace(self, looked=looked), np.unique(looked.rows[:, 1])

    def refined(self, rows: Rows, index: Ints, finer: Rows, finer_index: Ints) -> Rows:
        """Ranges in which groups give way to what another pass, which counts them anew, tells.

        Raises
        ------
        ValuesError
            When that pass has met more or fewer values.
        """
        groups, number = group_numbers(np.concatenate([index, finer_index]))
        place = np.full(groups.shape[0], -1)
        place[number[: index.shape[0]]] = np.arange(index.shape[0])
        old = _ranges(rows)
        new = replaced(old, place[number[index.shape[0] :]], _ranges(finer))
        wrong = np.flatnonzero(total_of(old) != total_of(new))
        if wrong.size:
            raise ValuesError(
                f"values changed while they were read: zone {index[wrong[0], 1]} (id) has "
                f"{total_of(new)[wrong[0]]:,} instead of {total_of(old)[wrong[0]]:,} in another "
                "pass: let the raster be finished first"
            )
        return {"ranges": self._packed(new)}

    def said(self) -> tuple[object, ...]:
        """What it tells of."""
        return ("order", self.quantiles, self.few, self.merges, self.step)

    def found(self) -> bytes:
        """Digest of where it looks."""
        return b"" if self.looked is None else self.looked.digest()


def _ranges(rows: Rows) -> Lists:
    """The one column: (low, high, n) of each row, low ascending."""
    ranges = rows["ranges"]
    assert isinstance(ranges, Lists)
    return ranges


def _numbered(index: Ints) -> dict[tuple[int, ...], int]:
    return {row: i for i, row in enumerate(map(tuple, index.tolist()))}


@dataclass(slots=True)
class _Lane:
    """Accumulators of a lane.

    Parameters
    ----------
    chains : Chains
        What is held.
    told : list of (slot, low, high, n)
        Ranges of what was held.
    told_limit : int
        With more of them they are thinned.
    rows : list of int
        Row of `Looked` of each slot met so far, -1 for none.
    brackets, gaps
        See `pages.hold`.
    """

    chains: Chains = field(default_factory=lambda: Chains.empty(0))
    told: list[tuple[Ints, ...]] = field(default_factory=list)
    told_limit: int = _TOLD
    rows: list[int] = field(default_factory=list)
    brackets: tuple[Ints, ...] = (np.zeros(0, np.int64),) * 3
    gaps: Ints = field(default_factory=lambda: np.zeros(0, np.int64))

    def outside(self, slots: Ints) -> Ints:
        """Values of slots outside of their brackets."""
        ptr = self.brackets[0]
        if not ptr.size:
            return np.zeros(slots.size, np.int64)
        first = ptr[:-1] + np.arange(ptr.size - 1)
        total: Ints = np.add.reduceat(self.gaps, first) if first.size else self.gaps
        return total[slots]

    def all_told(self, dtype: np.dtype[Any]) -> tuple[Ints, ...]:
        """Slot, low, high and n of all ranges, those outside of brackets too."""
        ptr, low, high = self.brackets
        told = [*self.told, (np.zeros(0, np.int64),) * 4]
        if ptr.size:
            slot = np.repeat(np.arange(ptr.size - 1), np.diff(ptr))
            before, limits = np.arange(slot.size) + slot, np.iinfo(dtype)
            start = np.full(self.gaps.size, limits.min, np.int64)
            end = np.full(self.gaps.size, limits.max, np.int64)
            start[before + 1], end[before] = high + 1, low - 1
            owner = np.repeat(np.arange(ptr.size - 1), np.diff(ptr) + 1)
            some: Bools = self.gaps > 0
            told.append((owner[some], start[some], end[some], self.gaps[some]))
        slot, low, high, n = map(np.concatenate, zip(*told, strict=True))
        return slot, low, high, n


@dataclass(slots=True)
class _Held:
    """Accumulators of a task: its lanes, the pool that they share, and where to look."""

    lanes: list[_Lane]
    rows: dict[tuple[int, ...], int]
    pool: Pool | None = None


# ---- bounded -----------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Bounded(OnePass, Counting):
    """Quantiles of floats from counts of their leading bits.

    Parameters
    ----------
    dtype : numpy.dtype
        Of the values.
    low : int
        Bits that are left out below.
    """

    dtype: np.dtype[Any]
    low: int

    def finish(self, rows: Rows, name: str, group: Group) -> Columns | None:
        """The column of a quantile: the middle of what its leading bits may be."""
        q = quantile_of(name)
        if q is None:
            return None
        counts = tally_of(rows)
        code, count = counts.values
        middle = code + (1 << self.low >> 1)
        return {"": quantile(Lists(counts.ptr, (middle, count)), q, self.dtype)}

    def said(self) -> tuple[object, ...]:
        """Which bits it counts."""
        return ("bounded", self.low)


def quantile(counts: Lists, q: float, dtype: np.dtype[Any]) -> Floats:
    """Quantiles from counts of codes in full length; NaN for groups without values."""
    n = total_of(counts)
    found = np.full(n.size, np.nan)
    rows = np.flatnonzero(n > 0)
    if rows.size:
        code = counts.values[0]
        lower, upper, share = order_statistic_ranks(n[rows], q)
        a = value_of(code[find_rank(counts, rows, lower)], dtype).astype(np.float64)
        b = value_of(code[find_rank(counts, rows, upper)], dtype).astype(np.float64)
        with np.errstate(invalid="ignore", over="ignore"):
            # The order in which NumPy rounds: np.median, and np.quantile from the nearer side.
            near = np.where(share < 0.5, a + (b - a) * share, b - (b - a) * (1 - share))
            between = (a + b) / 2 if q == 0.5 else near
        found[rows] = np.where((share == 0) | (a == b), a, between)
    return found
