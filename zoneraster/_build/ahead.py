"""Kernels that another process compiles while this one still reads and plans zones.

numba compiles one kernel at a time in a process, and what burning needs takes as long as what
reading and planning need: on a new machine that is the first thing that users wait for. Both
processes write to the same cache on disk, where this one finds what the other has made.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import NamedTuple, TypeAlias

import numpy as np

from zoneraster._build.chunk import NO_ZONES, burn_chunk, chunk_runs
from zoneraster._burn import frame, gather_records, is_compiled, make_cells, overlay_spans
from zoneraster._grid import Grid
from zoneraster._store import BatchChunk, PixelRule, Records, Spec, ZoneSets
from zoneraster.arrays import Ints
from zoneraster.executors import Tick, cpu_count

# Waits for the other process.
Wait: TypeAlias = Callable[[], None]

# What a part of the work ends in: with that on disk, all of it is.
_LAST = {"store": frame.blocks, "centre": overlay_spans, "fraction": make_cells}
_LAST["touched"] = _LAST["centre"]


@contextmanager
def compiled_ahead(what: str, progress: Tick | None = None) -> Iterator[Wait]:
    """Have the kernels of burning compiled while something else is done.

    Parameters
    ----------
    what : {"store", "centre", "touched", "fraction"}
        Chunks of a store, or runs by a rule.
    progress : callable, optional

    Yields
    ------
    callable
        Call it before burning: it waits for the other process, if there is one. There is none where
        all is on disk already, or on a single core. Whatever becomes of it, a kernel that is not
        there is compiled where it is called.
    """
    if cpu_count() < 2 or not sys.executable or is_compiled(_LAST[what]):
        yield lambda: None
        return
    other = subprocess.Popen(
        [sys.executable, "-c", f"from {__name__} import burn_squares as b; b({what!r})"],
        stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
    )  # fmt: skip

    def wait() -> None:
        if progress is not None:
            progress("compile", 0, 1)
        other.wait()
        if progress is not None:
            progress("compile", 1, 1)

    try:
        yield wait
    finally:
        other.kill()
        other.wait()


class _TwoSquares(NamedTuple):
    """A plan of its own."""

    spec: Spec
    sets: ZoneSets | None = None
    crossing: Ints = NO_ZONES


def burn_squares(what: str) -> None:
    """Burn two squares of a few pixels that lie over each other, as stores and statistics do."""
    grid = Grid("EPSG:3857", (1, 0, 0, 0, -1, 8), (8, 8))
    spec = Spec(grid, chunks=(8, 8), batch=1, dtype="uint8", all_touched=what == "touched")
    records = _two_squares()
    if what == "store":
        burn_chunk(spec, records, 0, 0)
        return
    rule: PixelRule = "fraction" if what == "fraction" else spec.own_rule
    chunk = BatchChunk(0, 0, 0, 0, 0, 2, 0, b"")
    chunk_runs(_TwoSquares(spec), records, chunk, lambda ids: ids, rule)


def _two_squares() -> Records:
    """Records as they are read from a manifest, whose arrays cannot be written to."""
    edges = np.array([[1.2, 1.0, 1.2, 5.0], [5.2, 5.0, 5.2, 1.0]])
    none, zeros = np.zeros(2, np.int32), np.zeros(3, np.int64)
    # As planning does, in an order of its own.
    edge_ptr, edges, toggle_ptr, toggles = gather_records(
        np.arange(2), np.array([0, 2, 4]), np.arange(4), np.concatenate([edges, edges + 0.7]),
        zeros, none[:0],
    )  # fmt: skip
    records = Records(
        chunk_row=none, chunk_col=none, zone_id=np.array([1, 2], np.uint32),
        full=np.zeros(2, np.bool_), edge_ptr=edge_ptr, edges=edges, toggle_ptr=toggle_ptr,
        toggles=toggles,
    )  # fmt: skip
    return Records.from_table(records.to_table())
