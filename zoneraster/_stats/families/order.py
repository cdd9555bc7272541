"""Order statistics, exact by counting: leading bits first, then the rest where the ranks lie.

One pass counts the upper 16 bits of all values; the next ones look only at the values whose upper
bits are those of a wanted order statistic, 16 bits further each time. Counts add up, so that
neither the order of tasks nor their number matters, and nothing is random.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from zoneraster._stats.families.base import Columns, Group, Members, Values
from zoneraster._stats.families.rows import Lists, Rows, counts_of, group_numbers, take
from zoneraster._stats.families.tally import (
    Counting,
    Tally,
    add_counts,
    tally_of,
    tally_rows,
    total_of,
    value_of,
)
from zoneraster.arrays import Bools, Floats, Ints

# Of "median" and "q0.25": Hyndman and Fan 1996, type 7, the default of NumPy.
FORMULA = "linear interpolation between the sorted values at rank (n - 1) q"
_QUANTILE = re.compile(r"q(0|1|0?\.\d+|1\.0+)")


def quantile_of(name: str) -> float | None:
    """The quantile that a name stands for: "q0.25", "median"; None for other names."""
    if name == "median":
        return 0.5
    return float(name[1:]) if _QUANTILE.fullmatch(name) else None


@dataclass(frozen=True, slots=True, eq=False)
class Order(Counting):
    """The family for one measure, in one of its passes.

    Parameters
    ----------
    quantiles : tuple of float
    dtype : numpy.dtype
        Of the values.
    lows : tuple of int
        Lower bits that each pass leaves out of what it counts; the last one leaves out none where
        quantiles are to be exact.
    step : int
        Which pass this is.
    prefixes : mapping of (lane, zone id, codes...) to (m,) int64, optional
        Upper bits that the pass before narrowed each group down to.
    """

    quantiles: tuple[float, ...]
    dtype: np.dtype[Any]
    lows: tuple[int, ...]
    step: int = 0
    prefixes: Mapping[tuple[int, ...], Ints] | None = None

    @classmethod
    def of(
        cls, quantiles: tuple[float, ...], dtype: np.dtype[Any], *, few: bool, exact: bool
    ) -> Order:
        """The first pass; the only one for values of 16 bits, for few values, or bounded errors."""
        bits = 8 * dtype.itemsize
        if bits <= 16 or few:
            lows: tuple[int, ...] = (0,)
        elif dtype.kind == "f" and not exact:
            # Sign, exponent and 7 bits: half a step is 1/256 of the value.
            lows = (16,) if bits == 32 else (45,)
        else:
            lows = tuple(range(bits - 16, -1, -16))
        return cls(quantiles, dtype, lows)

    @property
    def low(self) -> int:
        """Bits that this pass leaves out below."""
        return self.lows[self.step]

    @property
    def high(self) -> int:
        """Bits that the pass before left out below."""
        return self.lows[self.step - 1] if self.step else 0

    def start(self, n_lanes: int) -> list[_Lane]:
        """Nothing counted."""
        return [_Lane(Tally.empty(), []) for _ in range(n_lanes)]

    def add(self, into: list[_Lane], values: Values) -> None:
        """Count values, or those with a wanted prefix."""
        lane = into[values.lane]
        wanted = None if self.prefixes is None else self._wanted(lane, values)
        lane.own = add_counts(lane.own, values, low=self.low, high=self.high, wanted=wanted)

    def _wanted(self, lane: _Lane, values: Values) -> tuple[Ints, Ints]:
        """Prefixes of all slots, as `tally` takes them; they are looked up once for each slot."""
        assert self.prefixes is not None
        nothing = np.zeros(0, np.int64)
        keys = values.keys_of(np.arange(len(lane.prefixes), values.n_slots)).tolist()
        lane.prefixes += [self.prefixes.get((values.lane, *key), nothing) for key in keys]
        sizes = [0, *(p.size for p in lane.prefixes)]
        return np.cumsum(sizes), np.concatenate([nothing, *lane.prefixes])

    def rows(self, into: list[_Lane], leaves: Ints, n_slots: int) -> Rows:
        """Counts of some slots, lane by lane."""
        return tally_rows([lane.own for lane in into], leaves, n_slots, self.low)

    def finish(self, rows: Rows, name: str, group: Group) -> Columns | None:
        """The column of a quantile."""
        q = quantile_of(name)
        if q is None:
            return None
        counts, left_out = tally_of(rows), self.lows[-1]
        if left_out:
            code, count = counts.values
            counts = Lists(counts.ptr, (code + (1 << left_out >> 1), count))
        return {"": quantile(counts, q, self.dtype)}

    @property
    def has_more(self) -> bool:
        """Whether another pass follows."""
        return self.step + 1 < len(self.lows)

    def again(self, rows: Rows, index: Ints, members: Members) -> Order:
        """The next pass: it counts the values whose prefix a quantile of the table lies in.

        Parameters
        ----------
        rows : Rows
            What the passes so far have counted.
        index : (rows, columns) int64
            Lane, zone id and codes of each row.
        members : Members
            Which rows of the table they count for. Quantiles are those of the table's rows, so it
            is there that ranks are looked up.
        """
        counts = tally_of(rows)
        part: Lists = take(counts, members.row)
        code, count = part.values
        merged = counts_of(members.final[part.row], code, count, members.n)
        final, prefix = self._prefixes_of(merged)
        # What a row of the table looks into, all rows that count for it have to look into.
        start = np.searchsorted(final, np.arange(members.n + 1))
        sizes = np.diff(start)[members.final]
        ends = np.cumsum(sizes)
        place = np.repeat(start[members.final] - ends + sizes, sizes) + np.arange(sizes.sum())
        pairs, _ = group_numbers(
            np.stack([np.repeat(members.row, sizes), prefix[place]], axis=1).astype(np.int64)
        )
        some = np.unique(pairs[:, 0])
        # Splitting nothing gives one list of nothing.
        lists = np.split(pairs[:, 1], np.searchsorted(pairs[:, 0], some)[1:])[: some.size]
        found = dict(zip(map(tuple, index[some].tolist()), lists, strict=True))
        return replace(self, step=self.step + 1, prefixes=found)

    def _prefixes_of(self, counts: Lists) -> tuple[Ints, Ints]:
        """Row and upper bits of all order statistics, ascending and each once."""
        n = total_of(counts)
        rows = np.flatnonzero(n > 0)
        found = [np.zeros((0, 2), np.int64)]
        for q in self.quantiles:
            for rank in order_statistic_ranks(n[rows], q)[:2]:
                prefix = counts.values[0][find_rank(counts, rows, rank)] >> self.low
                found.append(np.stack([rows, prefix], axis=1))
        pairs, _ = group_numbers(np.concatenate(found))
        return pairs[:, 0], pairs[:, 1]

    def refined(self, rows: Rows, index: Ints, finer: Rows, finer_index: Ints) -> Rows:
        """Counts in which the prefixes that this pass looked into give way to what it found."""
        assert self.prefixes is not None
        counts, more = tally_of(rows), tally_of(finer)
        code, count = counts.values
        looked: Bools = np.zeros(code.size, bool)
        place = {}
        for i, row in enumerate(map(tuple, index.tolist())):
            place[row] = i
            prefixes = self.prefixes.get(row)
            if prefixes is not None:
                own = slice(counts.ptr[i], counts.ptr[i + 1])
                looked[own] = np.isin(code[own] >> self.high, prefixes)
        at = np.array([place[row] for row in map(tuple, finer_index.tolist())], np.int64)
        return {
            "counts": counts_of(
                np.concatenate([counts.row[~looked], at[more.row]]),
                np.concatenate([code[~looked], more.values[0]]),
                np.concatenate([count[~looked], more.values[1]]),
                index.shape[0],
            )
        }

    def said(self) -> tuple[object, ...]:
        """Which bits it counts."""
        return ("order", self.low, self.high)

    def found(self) -> bytes:
        """Digest of the prefixes."""
        digest = hashlib.blake2b(digest_size=16)
        for row, prefixes in sorted((self.prefixes or {}).items()):
            digest.update(repr(row).encode() + prefixes.tobytes())
        return digest.digest()


@dataclass(slots=True)
class _Lane:
    """Accumulators of a lane: counts, and the prefixes of the slots met so far."""

    own: Tally
    prefixes: list[Ints]


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


def order_statistic_ranks(n: Ints, q: float) -> tuple[Ints, Ints, Floats]:
    """Ranks (from 0) between which a quantile lies, and how far: ``(n - 1) q``.

    Returns
    -------
    lower, upper : (...) int64
    share : (...) float64
    """
    place = np.maximum(n - 1, 0) * q
    lower = np.floor(place).astype(np.int64)
    return lower, np.minimum(lower + 1, np.maximum(n - 1, 0)), place - lower


def find_rank(counts: Lists, rows: Ints, rank: Ints) -> Ints:
    """Positions among all counts of the values with given ranks (from 0) in some rows."""
    total = np.concatenate([[0], np.cumsum(counts.values[1])])
    found: Ints = np.searchsorted(total, total[counts.ptr[rows]] + rank, side="right") - 1
    return found
