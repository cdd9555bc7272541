"""What a table of statistics is made of, and the audit of every pixel behind it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from zoneraster._stats.keys import (
    BELOW_CODE,
    EXCLUDED_CODE,
    NODATA_CODE,
    UNKNOWN_CODE,
    UNLISTED_CODE,
    Key,
)
from zoneraster._stats.partial import Partial
from zoneraster._stats.statistics import Wanted
from zoneraster.errors import ClosureError


@dataclass(frozen=True, slots=True)
class MeasureInfo:
    """A measure as the table shows it.

    Parameters
    ----------
    name : str
    dtype : numpy.dtype
    area_unit : str
        Of area sums.
    """

    name: str
    dtype: np.dtype[Any]
    area_unit: str


@dataclass(frozen=True, slots=True)
class Layout:
    """What rows and columns of the table there are.

    Parameters
    ----------
    wanted : Wanted
    measures : tuple of MeasureInfo
        None for pixels and areas alone.
    keys : mapping of name to Key
    dims : mapping of name to (n,) coordinates
        Extra dimensions.
    area_unit : str
    roll_up, attributes : tuple of str
        Columns of the zone table: to merge zones by, and to show.
    fine : int
        Lattice pixels along a pixel of the store.
    """

    wanted: Wanted
    measures: tuple[MeasureInfo, ...]
    keys: Mapping[str, Key]
    dims: Mapping[str, npt.NDArray[Any]]
    area_unit: str
    roll_up: tuple[str, ...]
    attributes: tuple[str, ...]
    fine: int


def _is_unknown(partial: Partial) -> npt.NDArray[np.bool_]:
    """Rows left out although a layer of the predicate has no value there."""
    if partial.index.shape[1] == 2:
        return np.zeros(partial.n_rows, bool)
    return np.asarray(partial.index[:, 2] == UNKNOWN_CODE)


def is_excluded(partial: Partial) -> npt.NDArray[np.bool_]:
    """Rows that a predicate leaves out."""
    if partial.index.shape[1] == 2:
        return np.zeros(partial.n_rows, bool)
    return np.isin(partial.index[:, 2], (EXCLUDED_CODE, UNKNOWN_CODE))


def check_closure(partial: Partial, layout: Layout, zones: pa.Table) -> dict[str, Any]:
    """Add up zones, no zone and nodata; compare with the pixels read and with the build's counts.

    Returns
    -------
    dict
        JSON-able, the same whoever ran the tasks.
    """
    first = partial.index[:, 0] == 0
    excluded = is_excluded(partial)
    in_zones = int(partial.pixels[first].sum())
    if in_zones + partial.no_zone != partial.read:
        raise ClosureError(
            f"{in_zones:,} pixels in zones and {partial.no_zone:,} without make "
            f"{partial.read:,} read: please report this"
        )
    _compare_with_build(partial, layout, zones, first)
    audit: dict[str, Any] = {
        "pixels_read": partial.read,
        "no_zone": partial.no_zone,
        "in_zones": in_zones,
        "excluded": int(partial.pixels[first & excluded].sum()),
        "excluded_without_value": int(partial.pixels[first & _is_unknown(partial)].sum()),
        "pixels_per_store_pixel": layout.fine**2,
    }
    kept = int(partial.pixels[first & ~excluded].sum())
    n_lanes = max(1, int(np.prod([c.size for c in layout.dims.values()], dtype=np.int64)))
    audit["measures"] = {
        info.name: {
            "valid": int(moments.n.sum()),
            "nodata": kept * n_lanes - int(moments.n.sum()),
            "outside": outside * n_lanes,
        }
        for info, moments, outside in zip(
            layout.measures, partial.moments, partial.outside, strict=True
        )
    }
    audit["keys"] = {
        name: {
            what: int(partial.pixels[first & (partial.index[:, 2 + k] == code)].sum())
            for what, code in (
                ("nodata", NODATA_CODE), ("unlisted", UNLISTED_CODE), ("below", BELOW_CODE)
            )
        }
        for k, name in enumerate(layout.keys)
    }  # fmt: skip
    return audit


def _compare_with_build(
    partial: Partial, layout: Layout, zones: pa.Table, first: npt.NDArray[np.bool_]
) -> None:
    """Raise unless each zone has just the pixels that the build says it owns."""
    if "owned" not in zones.column_names:
        return
    ids, number = np.unique(partial.index[first, 1], return_inverse=True)
    found = np.zeros(ids.size, np.int64)
    np.add.at(found, number, partial.pixels[first])
    known = zones["zone_id"].to_numpy().astype(np.int64)
    owned = zones["owned"].to_numpy().astype(np.int64) * layout.fine**2
    counted = np.zeros(known.size, np.int64)
    if ids.size:
        place = np.minimum(np.searchsorted(ids, known), ids.size - 1)
        counted = np.where(ids[place] == known, found[place], 0)
    wrong = np.flatnonzero(counted != owned)
    if wrong.size:
        i = wrong[0]
        raise ClosureError(
            f"{wrong.size:,} zones have other pixel counts than the build found, first zone "
            f"{known[i]} (id): {counted[i]:,} instead of {owned[i]:,}; run zoneraster verify"
        )
