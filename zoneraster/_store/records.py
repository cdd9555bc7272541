"""Records of the manifest: which edges and toggles a zone has in a chunk."""

from __future__ import annotations

import hashlib
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from zoneraster.arrays import Floats, Ints

RECORD_SCHEMA = pa.schema(
    [
        ("chunk_row", pa.int32()),
        ("chunk_col", pa.int32()),
        ("zone_id", pa.uint32()),
        ("full", pa.bool_()),
        ("edges", pa.list_(pa.float64())),
        ("toggles", pa.list_(pa.int32())),
    ]
)


class Records(NamedTuple):
    """Records of some chunks in painting order, as flat arrays (see `partition.partition`)."""

    chunk_row: npt.NDArray[np.int32]
    chunk_col: npt.NDArray[np.int32]
    zone_id: npt.NDArray[np.uint32]
    full: npt.NDArray[np.bool_]
    edge_ptr: Ints
    edges: Floats
    toggle_ptr: Ints
    toggles: npt.NDArray[np.int32]

    def of_chunk(self, first: int, n: int) -> Records:
        """The records ``first`` to ``first + n``, arrays shared."""
        s = slice(first, first + n)
        e, t = self.edge_ptr[first : first + n + 1], self.toggle_ptr[first : first + n + 1]
        return Records(
            self.chunk_row[s], self.chunk_col[s], self.zone_id[s], self.full[s],
            e - e[0], self.edges[e[0] : e[-1]], t - t[0], self.toggles[t[0] : t[-1]],
        )  # fmt: skip

    def take(self, order: Ints) -> Records:
        """Records in another order."""
        edge_ptr, edges = _taken(self.edge_ptr, self.edges, order)
        toggle_ptr, toggles = _taken(self.toggle_ptr, self.toggles, order)
        return Records(
            self.chunk_row[order], self.chunk_col[order], self.zone_id[order], self.full[order],
            edge_ptr, edges, toggle_ptr, toggles,
        )  # fmt: skip

    def has_toggles_within(self, height: int) -> bool:
        """Toggles come in pairs of ascending rows of a chunk of that height."""
        pairs = self.toggles.reshape(-1, 2) if self.toggles.size % 2 == 0 else None
        return bool(
            pairs is not None
            and not (self.toggle_ptr % 2).any()
            and (pairs[:, 0] >= 0).all()
            and (pairs[:, 0] <= pairs[:, 1]).all()
            and (pairs[:, 1] <= height).all()
        )

    def to_table(self) -> pa.Table:
        """Arrow table of `RECORD_SCHEMA`."""
        edges = pa.ListArray.from_arrays(
            pa.array((self.edge_ptr * 4).astype(np.int32)), pa.array(self.edges.reshape(-1))
        )
        toggles = pa.ListArray.from_arrays(
            pa.array(self.toggle_ptr.astype(np.int32)), pa.array(self.toggles)
        )
        columns = [self.chunk_row, self.chunk_col, self.zone_id, self.full, edges, toggles]
        return pa.Table.from_arrays([pa.array(c) for c in columns], schema=RECORD_SCHEMA)

    @classmethod
    def from_table(cls, table: pa.Table) -> Records:
        """Inverse of `to_table`."""
        edges = table["edges"].combine_chunks()
        toggles = table["toggles"].combine_chunks()
        return cls(
            table["chunk_row"].to_numpy(),
            table["chunk_col"].to_numpy(),
            table["zone_id"].to_numpy(),
            table["full"].to_numpy(),
            edges.offsets.to_numpy().astype(np.int64) // 4,
            edges.values.to_numpy(zero_copy_only=True).reshape(-1, 4),
            toggles.offsets.to_numpy().astype(np.int64),
            toggles.values.to_numpy(zero_copy_only=True),
        )


def chunk_fingerprint(spec_hash: bytes, records: Records, layer: int | None = None) -> bytes:
    """Hash of everything that decides a chunk's bytes: 16 bytes, BLAKE2b.

    Parameters
    ----------
    spec_hash : bytes
    records : Records
        Those of one chunk, in painting order.
    layer : int, optional
        In which they are, where there are layers.
    """
    digest = hashlib.blake2b(spec_hash, digest_size=16)
    place = [records.chunk_row[0], records.chunk_col[0], *([] if layer is None else [layer])]
    digest.update(np.array(place, "<i4").tobytes())
    for array in (records.zone_id, records.full, records.edge_ptr, records.toggle_ptr):
        digest.update(np.ascontiguousarray(array).tobytes())
    digest.update(np.ascontiguousarray(records.edges).data)
    digest.update(np.ascontiguousarray(records.toggles).data)
    return digest.digest()


def _taken(ptr: Ints, values: Any, order: Ints) -> tuple[Ints, Any]:  # Any: as the values are
    """Lists in another order."""
    sizes = np.diff(ptr)[order]
    ends = np.concatenate([[0], np.cumsum(sizes)])
    return ends, values[np.repeat(ptr[order] - ends[:-1], sizes) + np.arange(ends[-1])]
