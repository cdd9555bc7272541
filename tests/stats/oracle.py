"""Zonal statistics in plain NumPy on whole arrays: the independent answer."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]


def on_grid(
    values: Array, shape: tuple[int, int], place: tuple[int, int, int], fill: float
) -> tuple[Array, Array]:
    """Pixels of a raster on a canvas, and where the raster is: place is (row, col, factor)."""
    row, col, k = place
    big = np.repeat(np.repeat(values, k, axis=0), k, axis=1)
    out = np.full(shape, fill, values.dtype)
    there = np.zeros(shape, bool)
    r0, r1 = max(row, 0), min(row + big.shape[0], shape[0])
    c0, c1 = max(col, 0), min(col + big.shape[1], shape[1])
    if r0 < r1 and c0 < c1:
        out[r0:r1, c0:c1] = big[r0 - row : r1 - row, c0 - col : c1 - col]
        there[r0:r1, c0:c1] = True
    return out, there


def statistics(values: Array, areas: Array, pixels: int) -> dict[str, float]:
    """Every statistic of the valid values of one group, in the order of the array."""
    n = values.size
    exact = [float(v) for v in values.tolist()]
    found: dict[str, float] = {
        "pixels": pixels,
        "count": n,
        "valid": n,
        "nodata": pixels - n,
        "sum": sum(values.tolist()) if values.dtype.kind in "iu" else math.fsum(exact),
        "area": math.fsum(areas.tolist()),
        "area_sum": math.fsum((areas * values).tolist()),
        "variety": np.unique(values).size,
    }
    if not n:
        nothing = (
            "mean", "min", "max", "range", "var", "std", "median", "q0.1", "majority", "minority",
            "area_mean",
        )  # fmt: skip
        return {**found, **dict.fromkeys(nothing, math.nan)}
    wide = values.astype(np.float64)
    kinds, counts = np.unique(values, return_counts=True)
    found |= {
        "mean": found["sum"] / n,
        "min": wide.min(),
        "max": wide.max(),
        "range": wide.max() - wide.min(),
        "var": math.fsum(((wide - found["sum"] / n) ** 2).tolist()) / n,
        "std": math.sqrt(math.fsum(((wide - found["sum"] / n) ** 2).tolist()) / n),
        "median": np.quantile(wide, 0.5),
        "q0.1": np.quantile(wide, 0.1),
        "majority": kinds[np.argmax(counts)],
        "minority": kinds[np.argmin(counts)],
        "area_mean": found["area_sum"] / found["area"],
    }
    return found


def zonal(
    zones: Array,
    values: Array,
    valid: Array,
    areas: Array,
    keys: Mapping[str, Array] | None = None,
) -> dict[tuple[int, ...], dict[str, float]]:
    """Statistics by zone and labels: boolean masks, one group at a time."""
    stacked = np.stack([zones, *(keys or {}).values()], axis=-1).astype(np.int64)
    inside = zones > 0
    found = {}
    for group in np.unique(stacked[inside], axis=0):
        mask = inside & (stacked == group).all(axis=-1)
        own = mask & valid
        found[tuple(group.tolist())] = statistics(values[own], areas[own], int(mask.sum()))
    return found
