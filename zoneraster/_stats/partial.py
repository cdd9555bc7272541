"""Partials: what tasks have counted, merged in a fixed order, and kept as Parquet.

A partial has one row per group and *lane* (one combination of the coordinates of extra dimensions).
`fold` merges the rows of a group from left to right, so that the result depends on the order of
partials alone; that order is the order of tasks, whoever ran them and when.
"""

from __future__ import annotations

import io
import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeAlias

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from zoneraster._stats.families import (
    Family,
    Lists,
    Rows,
    group_numbers,
    join_rows,
    take_rows,
)
from zoneraster.arrays import Floats, Ints, Numbers
from zoneraster.errors import CorruptStoreError

# Families of each measure.
Families: TypeAlias = tuple[tuple[Family, ...], ...]
FORMAT_VERSION = "4"


@dataclass(frozen=True, slots=True, eq=False)
class Partial:
    """What a task counted, or several together.

    Parameters
    ----------
    index : (rows, 2 + keys) int64
        Lane, zone id and the code of each key.
    pixels : (rows,) int64
        All pixels of the group, with a value or not.
    covered, area : (rows,) float64, or empty
        What zones cover of them, in pixels, and their area in square metres, where that is wanted.
    counted : tuple of tuple of Rows
        Accumulators of each measure's families.
    read, no_zone : int
        Lattice pixels of the cells, and those without a zone.
    outside : (rows, measures) float64
        Pixels of the group, or what of them is covered, that a raster does not reach.
    not_stored : tuple of int
        For each measure, pixels of zones in chunks of the raster that were never written.
    shared : int
        Pixels of zones beyond those read: a pixel that n zones claim, n - 1 times.
    """

    index: Ints
    pixels: Ints
    covered: Floats
    area: Floats
    counted: tuple[tuple[Rows, ...], ...]
    outside: Floats
    read: int = 0
    no_zone: int = 0
    not_stored: tuple[int, ...] = ()
    shared: int = 0

    @property
    def n_rows(self) -> int:
        """Number of rows."""
        return int(self.index.shape[0])

    @property
    def n_bytes(self) -> int:
        """Size in memory."""
        columns = [c for own in self.counted for rows in own for c in rows.values()]
        arrays = [
            a for c in columns for a in ((c.ptr, *c.values) if isinstance(c, Lists) else (c,))
        ]
        return sum(
            a.nbytes
            for a in (self.index, self.pixels, self.covered, self.area, self.outside, *arrays)
        )

    @property
    def amount(self) -> Numbers:
        """Pixels of each row, or what of them is covered."""
        return self.covered if self.covered.size else self.pixels

    def valid(self, measure: int) -> Numbers:
        """Of `amount`, what has a value of a measure: the moments, which come first, know."""
        n = self.counted[measure][0]["n"]
        assert not isinstance(n, Lists)
        return n

    def take(self, rows: Ints) -> Partial:
        """Some rows, in a given order; the totals stay."""
        return replace(
            self,
            index=self.index[rows],
            pixels=self.pixels[rows],
            covered=self.covered[rows] if self.covered.size else self.covered,
            area=self.area[rows] if self.area.size else self.area,
            outside=self.outside[rows],
            counted=tuple(tuple(take_rows(own, rows) for own in m) for m in self.counted),
        )


def blank(
    index: Ints, families: Families, *, with_area: bool, is_weighted: bool = False
) -> Partial:
    """Rows of groups without a pixel."""
    n = index.shape[0]
    return Partial(
        index,
        np.zeros(n, np.int64),
        np.zeros(n if is_weighted else 0),
        np.zeros(n if with_area else 0),
        tuple(tuple(family.blank(n) for family in own) for own in families),
        np.zeros((n, len(families))),
        not_stored=(0,) * len(families),
    )


def joined(partials: Sequence[Partial]) -> Partial:
    """Rows of partials one after the other, with the totals of the first."""
    if len(partials) == 1:
        return partials[0]
    return replace(
        partials[0],
        index=np.concatenate([p.index for p in partials]),
        pixels=np.concatenate([p.pixels for p in partials]),
        covered=np.concatenate([p.covered for p in partials]),
        area=np.concatenate([p.area for p in partials]),
        outside=np.concatenate([p.outside for p in partials]),
        counted=tuple(
            tuple(join_rows(parts) for parts in zip(*own, strict=True))
            for own in zip(*(p.counted for p in partials), strict=True)
        ),
    )


def fold(partials: Sequence[Partial], families: Families) -> Partial:
    """Merge partials from left to right: one row per group, in ascending order.

    Parameters
    ----------
    partials : sequence of Partial, one at least
    families : tuple of tuple of Family
        Those that counted them.
    """
    rows = joined(partials)
    groups, number = group_numbers(rows.index)
    n = groups.shape[0]
    pixels, outside = np.zeros(n, np.int64), np.zeros((n, rows.outside.shape[1]))
    covered, area = (np.zeros(n if own.size else 0) for own in (rows.covered, rows.area))
    np.add.at(pixels, number, rows.pixels)
    np.add.at(outside, number, rows.outside)
    for own, total in ((rows.covered, covered), (rows.area, area)):
        if own.size:
            np.add.at(total, number, own)
    return Partial(
        groups,
        pixels,
        covered,
        area,
        tuple(
            tuple(
                family.merge(counted, number, n)
                for family, counted in zip(own, columns, strict=True)
            )
            for own, columns in zip(families, rows.counted, strict=True)
        ),
        outside,
        sum(p.read for p in partials),
        sum(p.no_zone for p in partials),
        tuple(map(sum, zip(*(p.not_stored for p in partials), strict=True))),
        sum(p.shared for p in partials),
    )


# ---- Parquet -----------------------------------------------------------------------------------


def encode_partial(partial: Partial) -> bytes:
    """Parquet bytes of a partial; equal content, equal bytes."""
    index = {f"index{k}": column for k, column in enumerate(partial.index.T)}
    columns: dict[str, pa.Array] = {name: pa.array(column) for name, column in index.items()}
    columns["pixels"] = pa.array(partial.pixels)
    columns |= {f"outside{m}": pa.array(column) for m, column in enumerate(partial.outside.T)}
    for name, added in (("covered", partial.covered), ("area", partial.area)):
        if added.size == partial.n_rows:
            columns[name] = pa.array(added)
    for m, own in enumerate(partial.counted):
        for f, rows in enumerate(own):
            for name, column in rows.items():
                columns |= _encoded(f"m{m}.{f}.{name}", column)
    said = {
        "read": partial.read, "no_zone": partial.no_zone,
        "not_stored": partial.not_stored, "shared": partial.shared,
        "columns": [[[[name, len(c.values) if isinstance(c, Lists) else 0]
                      for name, c in rows.items()] for rows in own] for own in partial.counted],
    }  # fmt: skip
    table = pa.table(columns).replace_schema_metadata(
        {"zoneraster:partial": FORMAT_VERSION, "zoneraster:totals": json.dumps(said)}
    )
    sink = io.BytesIO()
    pq.write_table(
        table, sink, compression="zstd", write_statistics=False, write_page_checksum=True
    )
    return sink.getvalue()


def _encoded(name: str, column: Numbers | Lists) -> dict[str, pa.Array]:
    """A column; of lists one for each of the parallel arrays."""
    if not isinstance(column, Lists):
        return {name: pa.array(column)}
    return {
        f"{name}.{v}": pa.LargeListArray.from_arrays(pa.array(column.ptr), pa.array(values))
        for v, values in enumerate(column.values)
    }


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
        index = [name for name in columns if name.startswith("index")]
        outside = [_numbers(columns[f"outside{m}"]) for m in range(len(said["columns"]))]
        return Partial(
            np.stack([_numbers(columns[name]) for name in index], axis=1),
            _numbers(columns["pixels"]),
            _numbers(columns["covered"]) if "covered" in columns else np.zeros(0),
            _numbers(columns["area"]) if "area" in columns else np.zeros(0),
            tuple(
                tuple(
                    {name: _decoded(columns, f"m{m}.{f}.{name}", n_lists) for name, n_lists in rows}
                    for f, rows in enumerate(own)
                )
                for m, own in enumerate(said["columns"])
            ),
            np.array(outside, np.float64).reshape(len(outside), table.num_rows).T,
            said["read"],
            said["no_zone"],
            tuple(said["not_stored"]),
            said["shared"],
        )
    except (pa.ArrowException, OSError, KeyError, TypeError, ValueError) as err:
        raise CorruptStoreError(f"partial {key} cannot be read ({err}): delete it") from err


def _decoded(columns: dict[str, pa.Array], name: str, n_lists: int) -> Numbers | Lists:
    if not n_lists:
        numbers: Numbers = _numbers(columns[name])
        return numbers
    lists = [columns[f"{name}.{v}"] for v in range(n_lists)]
    return Lists(_numbers(lists[0].offsets), tuple(_numbers(one.values) for one in lists))


def _numbers(column: pa.Array) -> Any:  # Any: int64 or float64, as was written
    return np.array(column.to_numpy(zero_copy_only=False))
