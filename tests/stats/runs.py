"""Small images of zones as runs and slots, and back."""

from __future__ import annotations

from typing import Any

import numpy as np

from zoneraster._stats import cut
from zoneraster.arrays import WHOLE

Table = tuple[Any, Any, int]


def table(size: int = 4) -> Table:
    return np.full(size, -1, np.int32), np.empty((size // 2, 2), np.int64), 0


def painted(ptr: Any, begin: Any, slot: Any, width: int) -> np.ndarray:
    """Runs as an image of slots."""
    out = np.full((ptr.size - 1, width), -9)
    for r in range(ptr.size - 1):
        ends = [*begin[ptr[r] + 1 : ptr[r + 1]], width]
        for i, end in zip(range(ptr[r], ptr[r + 1]), ends, strict=True):
            out[r, begin[i] : end] = slot[i]
    return out


def slots_of(zones: np.ndarray) -> tuple[Any, Any, Any, Table]:
    """Runs and slots of a whole image."""
    height, width = zones.shape
    found = cut.zone_runs(cut.runs_of_pixels(zones), WHOLE, (0, height, 0, width), 1, table())
    return (*found[:3], found[4:])


def random_zones(rng: np.random.Generator, shape: tuple[int, int]) -> np.ndarray:
    small = rng.integers(0, 5, (shape[0] // 2 + 1, shape[1] // 3 + 1))
    return np.repeat(np.repeat(small, 2, 0), 3, 1)[: shape[0], : shape[1]].astype(np.uint32)
