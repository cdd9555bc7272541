"""The audit: where every pixel that was read has gone."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa

from zoneraster._stats.families import Rows
from zoneraster._stats.groups import is_excluded
from zoneraster._stats.keys import BELOW_CODE, NODATA_CODE, UNKNOWN_CODE, UNLISTED_CODE
from zoneraster._stats.partial import Partial
from zoneraster._stats.request import Layout
from zoneraster._store import TOGETHER_MARK
from zoneraster.arrays import Bools, Ints
from zoneraster.errors import ClosureError, number_of
from zoneraster.notebook import record_html


class Audit(dict[str, Any]):
    """A JSON-able dict that notebooks show as a table."""

    def _repr_html_(self) -> str:
        return record_html("where the pixels went", self)


def _is_unknown(partial: Partial) -> Bools:
    """Rows left out although a raster of the condition has no value there."""
    if partial.index.shape[1] == 2:
        return np.zeros(partial.n_rows, bool)
    return np.asarray(partial.index[:, 2] == UNKNOWN_CODE)


def check_closure(partial: Partial, layout: Layout, zones: pa.Table) -> Audit:
    """Add up zones, no zone and nodata; compare with the pixels read and with the build's counts.

    Returns
    -------
    Audit
        The same whoever ran the tasks.
    """
    first = partial.index[:, 0] == 0
    excluded = is_excluded(partial.index)
    in_zones = int(partial.pixels[first].sum())
    if in_zones - partial.shared + partial.no_zone != partial.read:
        raise ClosureError(
            f"{in_zones:,} pixels in zones, {partial.shared:,} of them once more, and "
            f"{partial.no_zone:,} without make {partial.read:,} read: please report this"
        )
    if layout.rule is None:
        _compare_with_build(partial, layout, zones, first)
    amount = partial.amount
    number = float if layout.is_weighted else int
    audit = Audit(
        pixels_read=partial.read,
        no_zone=partial.no_zone,
        in_zones=in_zones - partial.shared,
        zones="claimed" if layout.are_claimed else "owned",
        shared=partial.shared,
        excluded=number(amount[first & excluded].sum()),
        excluded_without_value=number(amount[first & _is_unknown(partial)].sum()),
        pixels_per_store_pixel=layout.fine**2,
    )
    if layout.is_selected:
        audit["zones_selected"] = zones.num_rows
    if layout.rule is not None:
        audit["pixels"] = layout.rule
    if layout.is_weighted:
        audit["covered"] = number(amount[first].sum())
    kept = number(amount[first & ~excluded].sum())
    audit |= _of_measures(partial, layout, kept)
    audit["keys"] = {
        name: {
            what: number(amount[first & (partial.index[:, 2 + k] == code)].sum())
            for what, code in (
                ("nodata", NODATA_CODE), ("unlisted", UNLISTED_CODE), ("below", BELOW_CODE)
            )
        }
        for k, name in enumerate(layout.keys)
    }  # fmt: skip
    return audit


def _of_measures(partial: Partial, layout: Layout, kept: float) -> dict[str, Any]:
    """What of each measure was met, taken for granted and weighted; of `kept` pixels of a lane."""
    number = float if layout.is_weighted else int

    def without_value(m: int) -> float:
        left = kept * layout.n_lanes - number(partial.valid(m).sum())
        # Sums of covered parts are rounded.
        return max(left, 0.0) if layout.is_weighted else left

    def not_stored(m: int) -> dict[str, int]:
        return {"filled": partial.not_stored[m]} if partial.not_stored[m] else {}

    audit: dict[str, Any] = {
        "measures": {
            measure.name: {
                "valid": number(partial.valid(m).sum()),
                "nodata": without_value(m),
                "outside": number(partial.outside[:, m].sum()),
                **not_stored(m),
            }
            for m, measure in enumerate(layout.measures)
        },
        "assumed": {measure.name: dict(measure.assumed) for measure in layout.measures},
    }
    if layout.weights:
        audit["weights"] = {
            "assumed": dict(layout.weights),
            "measures": {
                measure.name: _weights_met(partial.counted[m])
                for m, measure in enumerate(layout.measures)
            },
        }
    return audit


def _weights_met(counted: Sequence[Rows]) -> dict[str, float]:
    """Pixels with a value that have a weight, and that have none, and the sum of all weights."""
    rows = next((rows for rows in counted if "without" in rows), {})
    return {
        what: float(np.sum(rows[name])) if name in rows else 0.0
        for what, name in (("valid", "covered"), ("without", "without"), ("total", "weight"))
    }


def ends_inside(partial: Partial, layout: Layout) -> list[str]:
    """A warning for each measure whose raster ends inside of zones."""
    found = []
    first = (partial.index[:, 0] == 0) & ~is_excluded(partial.index)
    ids, number = np.unique(partial.index[first, 1], return_inverse=True)
    pixels = np.bincount(number, partial.amount[first], ids.size)
    for m, measure in enumerate(layout.measures):
        outside = np.bincount(number, partial.outside[first, m], ids.size)
        n, n_whole = int((outside > 0).sum()), int(((outside > 0) & (outside == pixels)).sum())
        if n:
            rest = f", all pixels of {n_whole:,} of them" if n_whole else ""
            found.append(
                f"{measure.name} does not reach {round(outside.sum(), 3):,.15g} pixels of "
                f"{number_of(n, 'zone')}{rest}; they count as nodata: {measure.reach}"
            )
    return found


def pixels_of_zones(zones: pa.Table, fine: int, *, are_claimed: bool) -> tuple[Ints, Ints]:
    """Zone ids, and the pixels of the lattice that the build counted; nothing where none did.

    Parameters
    ----------
    zones : pyarrow.Table
        The zone table.
    fine : int
        Lattice pixels along a pixel of the store.
    are_claimed : bool
        All that zones claim, or what they own.
    """
    name = "claimed" if are_claimed else "owned"
    if name not in zones.column_names:
        return np.zeros(0, np.int64), np.zeros(0, np.int64)
    known = zones["zone_id"].to_numpy().astype(np.int64)
    return known, zones[name].to_numpy().astype(np.int64) * fine**2


def _compare_with_build(partial: Partial, layout: Layout, zones: pa.Table, first: Bools) -> None:
    """Raise unless zones have just the pixels that the build counted: together, and each.

    What zones claim that count as one is known together only.
    """
    if layout.are_claimed and not layout.is_selected:
        _, owned = pixels_of_zones(zones, layout.fine, are_claimed=False)
        union = int(partial.pixels[first].sum()) - partial.shared
        # Also what sets of zones own.
        built = owned.sum() + int((zones.schema.metadata or {}).get(TOGETHER_MARK, 0))
        if owned.size and built != union:
            raise ClosureError(
                f"zones have {union:,} pixels, the build has found {built:,}; run zoneraster verify"
            )
    if layout.are_claimed and layout.roll_up:
        return
    known, expected = pixels_of_zones(zones, layout.fine, are_claimed=layout.are_claimed)
    ids, number = np.unique(partial.index[first, 1], return_inverse=True)
    found = np.zeros(ids.size, np.int64)
    np.add.at(found, number, partial.pixels[first])
    counted = np.zeros(known.size, np.int64)
    if ids.size:
        place = np.minimum(np.searchsorted(ids, known), ids.size - 1)
        counted = np.where(ids[place] == known, found[place], 0)
    wrong = np.flatnonzero(counted != expected)
    if wrong.size:
        i = wrong[0]
        raise ClosureError(
            f"{wrong.size:,} zones have other pixel counts than the build found, first zone "
            f"{known[i]} (id): {counted[i]:,} instead of {expected[i]:,}; run zoneraster verify"
        )
