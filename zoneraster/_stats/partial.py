"""Partials: accumulators of groups that can be merged, in memory and as Parquet.

A partial has one row per group and *lane* (one combination of the coordinates of extra dimensions).
`fold` merges the rows of a group from left to right, so that the result depends on the order of
partials alone; that order is the order of tasks, whoever ran them and when.
"""

from __future__ import annotations

import io
import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from zoneraster._stats import reduce
from zoneraster._stats.ragged import Ragged, _take_ragged, group_numbers, ragged_of, stacked
from zoneraster._stats.statistics import Parts, Stat
from zoneraster.arrays import Floats, Ints, Numbers
from zoneraster.errors import CorruptStoreError

FORMAT_VERSION = "1"
_LOW_BITS = 32


class Moments(NamedTuple):
    """Accumulators of one measure, one entry per row (see `reduce.accumulate`).

    `total` and `lost` are a float sum and what rounding took from it, or for integers the lower 32
    bits of an exact sum and the rest. What no statistic needs has no entries.
    """

    n: Ints
    total: Numbers
    lost: Numbers
    lowest: Numbers
    highest: Numbers
    mean: Floats
    m2: Floats
    area: Floats
    area_total: Floats

    @classmethod
    def empty(cls, shape: tuple[int, ...], parts: Parts, *, is_integer: bool) -> Moments:
        """Accumulators that nothing was added to."""
        none = (*shape[:-1], 0)
        extremes = shape if parts.extremes else none
        squares, areas = shape if parts.squares else none, shape if parts.areas else none
        kind: type[Any] = np.int64 if is_integer else np.float64  # Any: a scalar type
        high = np.iinfo(np.int64).max if is_integer else np.inf
        low = np.iinfo(np.int64).min if is_integer else -np.inf
        return cls(
            np.zeros(shape, np.int64), np.zeros(shape, kind), np.zeros(shape, kind),
            np.full(extremes, high, kind), np.full(extremes, low, kind),
            np.zeros(squares), np.zeros(squares), np.zeros(areas), np.zeros(areas),
        )  # fmt: skip

    def take(self, rows: Ints) -> Moments:
        """Some rows, in a given order."""
        return Moments._make(a[rows] if a.size else a for a in self)

    @property
    def is_integer(self) -> bool:
        """Sums are exact integers."""
        return self.total.dtype.kind == "i"

    def carry(self) -> None:
        """Move what exceeds 32 bits from `total` to `lost`, in place; integers only."""
        np.add(self.lost, self.total >> _LOW_BITS, out=self.lost)
        np.bitwise_and(self.total, (1 << _LOW_BITS) - 1, out=self.total)

    def sums(self) -> Numbers:
        """Final sums: int64 where all fit, else float64."""
        if not self.is_integer:
            with np.errstate(invalid="ignore"):
                # Of an infinite sum nothing can be lost.
                return np.where(np.isfinite(self.total), self.total + self.lost, self.total)
        exact = [
            (int(high) << _LOW_BITS) + int(low)
            for high, low in zip(self.lost, self.total, strict=True)
        ]
        fits = all(-(2**63) <= n < 2**63 for n in exact)
        return np.array(exact, np.int64 if fits else np.float64)


@dataclass(frozen=True, slots=True, eq=False)
class Partial:
    """What a task found, or several together.

    Parameters
    ----------
    index : (rows, 2 + keys) int64
        Lane, zone id and the code of each key.
    pixels, area : (rows,) int64, float64
        All pixels of the group, with a value or not; where that is wanted also their area in square
        metres.
    moments : tuple of Moments
        One per measure.
    tallies : tuple of Ragged or None
        How often each value occurs, one per measure.
    states : tuple of lists of float64 arrays
        States of custom statistics, one list per statistic and measure.
    read, no_zone : int
        Lattice pixels of the cells, and those without a zone.
    outside : tuple of int
        For each measure, pixels of zones that the raster does not cover.
    """

    index: Ints
    pixels: Ints
    area: Floats
    moments: tuple[Moments, ...]
    tallies: tuple[Ragged | None, ...]
    states: tuple[list[Floats], ...]
    read: int
    no_zone: int
    outside: tuple[int, ...]

    @property
    def n_rows(self) -> int:
        """Number of rows."""
        return int(self.index.shape[0])

    def take(self, rows: Ints) -> Partial:
        """Some rows, in a given order; the totals stay."""
        return replace(
            self,
            index=self.index[rows],
            pixels=self.pixels[rows],
            area=self.area[rows] if self.area.size else self.area,
            moments=tuple(m.take(rows) for m in self.moments),
            tallies=tuple(t and _take_ragged(t, rows) for t in self.tallies),
            states=tuple([s[i] for i in rows.tolist()] for s in self.states),
        )


def _end_to_end(arrays: Sequence[Numbers]) -> Numbers:
    return arrays[0] if len(arrays) == 1 else np.concatenate(arrays)


def joined(partials: Sequence[Partial]) -> Partial:
    """Rows of partials one after the other, with the totals of the first."""
    first = partials[0]
    tallies = [
        stacked([part for part in parts if part is not None]) if parts[0] is not None else None
        for parts in zip(*(p.tallies for p in partials), strict=True)
    ]
    return Partial(
        _end_to_end([p.index for p in partials]),
        _end_to_end([p.pixels for p in partials]),
        _end_to_end([p.area for p in partials]),
        tuple(
            Moments._make(_end_to_end(column) for column in zip(*parts, strict=True))
            for parts in zip(*(p.moments for p in partials), strict=True)
        ),
        tuple(tallies),
        tuple(
            [state for part in parts for state in part]
            for parts in zip(*(p.states for p in partials), strict=True)
        ),
        first.read,
        first.no_zone,
        first.outside,
    )


def fold(partials: Sequence[Partial], stats: Sequence[Stat] = ()) -> Partial:
    """Merge partials from left to right: one row per group.

    Parameters
    ----------
    partials : sequence of Partial, one at least
    stats : sequence of Stat
        Of `states`.
    """
    rows = joined(partials)
    groups, number = group_numbers(rows.index)
    n = groups.shape[0]
    pixels, area = np.zeros(n, np.int64), np.zeros(n if rows.area.size else 0)
    np.add.at(pixels, number, rows.pixels)
    if rows.area.size:
        np.add.at(area, number, rows.area)
    moments = []
    for columns in rows.moments:
        have = Parts(columns.lowest.size > 0, columns.m2.size > 0, columns.area.size > 0)
        merged = Moments.empty((n,), have, is_integer=columns.is_integer)
        reduce.fold_rows(number, *columns, tuple(merged))
        if merged.is_integer:
            merged.carry()
        moments.append(merged)
    return Partial(
        groups, pixels, area, tuple(moments),
        tuple(tally and _fold_ragged(tally, number, n) for tally in rows.tallies),
        tuple(
            _fold_states(states, number, n, stat)
            for states, stat in zip(rows.states, stats, strict=True)
        ),
        sum(p.read for p in partials), sum(p.no_zone for p in partials),
        tuple(map(sum, zip(*(p.outside for p in partials), strict=True))),
    )  # fmt: skip


def _fold_ragged(tally: Ragged, number: Ints, n: int) -> Ragged:
    """Add counts of equal codes of a group."""
    return ragged_of(np.repeat(number, np.diff(tally.ptr)), tally.code, tally.count, n)


def _fold_states(states: list[Floats], number: Ints, n: int, stat: Stat) -> list[Floats]:
    """Combine the states of a custom statistic."""
    merged: list[Floats | None] = [None] * n
    for g, state in zip(number.tolist(), states, strict=True):
        old = merged[g]
        merged[g] = state if old is None else stat.combined(old, state)
    return [stat.initial() if state is None else state for state in merged]


# ---- Parquet -----------------------------------------------------------------------------------


def encode_partial(partial: Partial) -> bytes:
    """Parquet bytes of a partial; equal content, equal bytes."""
    columns: dict[str, pa.Array] = {
        "lane": pa.array(partial.index[:, 0]),
        "zone_id": pa.array(partial.index[:, 1]),
    }
    for k in range(partial.index.shape[1] - 2):
        columns[f"key{k}"] = pa.array(partial.index[:, 2 + k])
    columns["pixels"] = pa.array(partial.pixels)
    numbers: dict[str, Numbers] = {"area": partial.area}
    for m, moments in enumerate(partial.moments):
        numbers |= {f"m{m}_{name}": values for name, values in moments._asdict().items()}
    # What no statistic needs has no column.
    columns |= {name: pa.array(v) for name, v in numbers.items() if v.size == partial.n_rows}
    for m, ragged in enumerate(partial.tallies):
        if ragged is not None:
            for name, values in (("code", ragged.code), ("count", ragged.count)):
                columns[f"m{m}_{name}"] = pa.LargeListArray.from_arrays(
                    pa.array(ragged.ptr), pa.array(values)
                )
    for s, states in enumerate(partial.states):
        columns[f"s{s}"] = pa.array([state.tolist() for state in states], pa.list_(pa.float64()))
    said = {
        "read": partial.read, "no_zone": partial.no_zone, "outside": partial.outside,
        "keys": partial.index.shape[1] - 2, "measures": len(partial.moments),
        "tallied": [t is not None for t in partial.tallies], "states": len(partial.states),
    }  # fmt: skip
    table = pa.table(columns).replace_schema_metadata(
        {"zoneraster:partial": FORMAT_VERSION, "zoneraster:totals": json.dumps(said)}
    )
    sink = io.BytesIO()
    pq.write_table(
        table, sink, compression="zstd", write_statistics=False, write_page_checksum=True
    )
    return sink.getvalue()


def decode_partial(key: str, data: bytes) -> Partial:
    """Inverse of `encode_partial`.

    Raises
    ------
    CorruptStoreError
        When the bytes are no partial, or damaged.
    """
    try:
        table = pq.read_table(
            pa.BufferReader(data), page_checksum_verification=True, use_threads=False
        )
        metadata = table.schema.metadata
        if metadata[b"zoneraster:partial"].decode() != FORMAT_VERSION:
            raise CorruptStoreError(f"partial {key} has another format version: delete it")
        said = json.loads(metadata[b"zoneraster:totals"])
        columns = {name: table[name].combine_chunks() for name in table.column_names}
    except (pa.ArrowException, OSError, KeyError, TypeError, ValueError) as err:
        raise CorruptStoreError(f"partial {key} cannot be read ({err}): delete it") from err

    def numbers(name: str, kind: Any = np.float64) -> Any:  # Any: int64 or float64
        if name not in columns:
            return np.zeros(0, kind)
        return np.array(columns[name].to_numpy(zero_copy_only=False))

    names = ["lane", "zone_id", *(f"key{k}" for k in range(said["keys"]))]
    return Partial(
        np.stack([numbers(name) for name in names], axis=1),
        numbers("pixels"),
        numbers("area").astype(np.float64),
        tuple(
            Moments._make(
                # Extremes that were not wanted are still of the type of the sum.
                numbers(
                    f"m{m}_{name}",
                    numbers(f"m{m}_total").dtype if name in {"lowest", "highest"} else np.float64,
                )
                for name in Moments._fields
            )
            for m in range(said["measures"])
        ),
        tuple(
            _decode_ragged(columns[f"m{m}_code"], columns[f"m{m}_count"]) if tallied else None
            for m, tallied in enumerate(said["tallied"])
        ),
        tuple(
            [np.array(state, np.float64) for state in columns[f"s{s}"].to_pylist()]
            for s in range(said["states"])
        ),
        said["read"],
        said["no_zone"],
        tuple(said["outside"]),
    )


def _decode_ragged(code: pa.LargeListArray, count: pa.LargeListArray) -> Ragged:
    return Ragged(
        np.array(code.offsets.to_numpy(), np.int64),
        np.array(code.values.to_numpy(), np.int64),
        np.array(count.values.to_numpy(), np.int64),
    )
