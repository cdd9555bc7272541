"""Zones: polygons and their keys, read, checked and brought to the grid.

Keys stay exact (nothing passes through float64 on the way), coordinates stay exact where the
reference systems agree, and no row is dropped without being named.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pyproj import CRS

from zoneraster._burn import BURN_RULE
from zoneraster._grid import Grid, same_crs
from zoneraster._zones.checks import (
    SkippedRow,
    Verdict,
    judge_rows,
    refuse_bad_rows,
    refuse_lost_rows,
    skipped_rows,
    wide_rows,
    with_far_rows,
    with_rows_beyond_degrees,
    without_overshoot,
    without_short_rings,
)
from zoneraster._zones.columns import of_a_store
from zoneraster._zones.keys import Kept, with_key
from zoneraster._zones.paths import file_digest, open_source
from zoneraster._zones.projection import Projection
from zoneraster._zones.reproject import reproject_rings, without_loops
from zoneraster._zones.rings import Rings, pixel_rings
from zoneraster._zones.seams import (
    Joined,
    cut_along,
    followed_over_the_seam,
    holds,
    joined_at_the_seam,
)
from zoneraster._zones.sources import Source, crs_of
from zoneraster._zones.wkb import FINE, Ragged, Walk, multipolygon_wkb, taken, walk_wkb
from zoneraster.arrays import Ints
from zoneraster.errors import NAMED, ZonesError, name_some, number_of

log = logging.getLogger(__name__)

OnInvalid = Literal["error", "skip", "repair"]

TORN = (
    "torn at the seam of the globe, put together: edges that lead over half of it go the shorter "
    "way, over the seam (where they do not, give them a vertex on their way)"
)
POLAR = "with a ring around a pole and no edge along it, which was led to the pole"

# A file that changes while it is read is read again, so many times in all.
READINGS = 3


@dataclass(frozen=True, slots=True, eq=False)
class Zones:
    """Zones that can be burned, in input order.

    Parameters
    ----------
    table : pyarrow.Table
        Attributes without geometry.
    key : str
        Name of the column that names the zones.
    ragged : Ragged
        Closed rings in units of the CRS of the grid.
    wkb : (n,) pyarrow.LargeBinaryArray
        The same rings as the zone table stores them: Polygon or MultiPolygon, 2-D.
    row : (n,) int64
        0-based row numbers in the input.
    everything : pyarrow.Table
        Attributes of all rows of the input, those that are left out among them.
    skipped : tuple of SkippedRow
    invalid : tuple
        Keys of the zones whose rings cross themselves or each other. They are burned even-odd; with
        ``on_invalid="repair"`` they were repaired first.
    is_numbered : bool
        The key is the number of the row, or an index without a name.
    is_repaired : bool
        Rings that crossed each other were rebuilt.
    own : tuple of str
        Columns of the store that the zones come from.
    refused : mapping of str to str
        Columns that were left out, and why.
    notes : tuple of str
        What was guessed, assumed or left out, in sentences for the report.
    cut : tuple
        Keys of the zones that went beyond a pole or the seam by a little, and were cut there.
    wide : tuple
        Keys of the zones with a part that spans more than 180 degrees of their own CRS.
    operation : str
        How they were reprojected; empty where they were not.
    """

    table: pa.Table
    key: str
    ragged: Ragged
    wkb: pa.LargeBinaryArray
    row: Ints
    everything: pa.Table
    skipped: tuple[SkippedRow, ...]
    invalid: tuple[object, ...]
    is_numbered: bool = False
    is_repaired: bool = False
    own: tuple[str, ...] = ()
    refused: Mapping[str, str] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    cut: tuple[object, ...] = ()
    wide: tuple[object, ...] = ()
    operation: str = ""

    def keys(self) -> pa.ChunkedArray:
        """The user's key of each zone."""
        return self.table[self.key]


def read_zones(
    source: object,
    grid: Grid,
    *,
    key: str | None = None,
    on_invalid: OnInvalid = "error",
    assume_crs: object = None,
    layer: str | None = None,
    kept: Kept | None = None,
) -> Zones:
    """Read zones, check every row and bring them to the CRS of a grid.

    Parameters
    ----------
    source : path, URL or frame
        GeoParquet (also by URL, such as ``s3://bucket/zones.parquet``), GeoPackage, Shapefile (also
        zipped), FlatGeobuf, GeoJSON and its sequences, TopoJSON, Esri JSON; a GeoDataFrame, or
        anything whose ``compute()`` or ``to_geopandas()`` gives one. Columns with further
        geometries or boxes of them are left out.
    grid : Grid
    key : str, optional
        Column that names the zones: unique whole numbers or text, without gaps. Also the ids of
        features, where a file has some: "fid", or "id" in GeoJSON. Default: the index of a frame,
        with its name; of a file the rows, counted from 0. Both are called "row" without a name.
    on_invalid : {"error", "skip", "repair"}
        What to do with rows that are null, empty, not polygons, not finite, more than 2**40 pixels
        away, or without a place in the CRS of the grid: raise, or leave them out and list them.
        "repair" also rebuilds rings that cross themselves, which are burned even-odd otherwise, and
        leaves out rings of less than three vertices instead of their rows.
    assume_crs : anything that `pyproj.CRS.from_user_input` takes, optional
        CRS of a source that declares none.
    layer : str, optional
        Layer of a file with several.
    kept : Kept, optional
        The key of the zones that a store has; taken without a `key`.

    Returns
    -------
    Zones
        Coordinates are those of the file, bit for bit, when its CRS is the grid's (in whatever axis
        order). Otherwise edges are densified and stay within 0.1 pixel of their true curves.

    Raises
    ------
    ZonesError
        Naming the file, the first rows with their keys, how many there are, and the cure.
    """
    if on_invalid not in ("error", "skip", "repair"):
        raise ZonesError(f"on_invalid is {on_invalid!r}: choose 'error', 'skip' or 'repair'")
    found = open_source(source, layer, key or (kept.key if kept else None))
    if len(found.wkb) == 0:
        raise ZonesError(f"{found.label}: 0 zones; give a file or layer with at least one polygon")
    keyed = with_key(of_a_store(found), key, kept)
    found, key, notes = keyed.found, keyed.key, [*keyed.found.notes]
    if found.is_spherical:
        notes.append(
            f"{found.label} declares spherical edges: they are burned as straight lines in its CRS"
        )
    source, said = crs_of(found, assume_crs)
    walk = walk_wkb(found.wkb)
    if on_invalid == "repair":
        found, walk, rows = without_short_rings(found, walk)
        if rows.size:
            notes.append(
                f"{number_of(rows.size, 'zone')} without rings of less than three vertices, which "
                f"were left out: {name_some(found.keys(key, rows[:NAMED]), rows.size)}"
            )
    joined = joined_at_the_seam(walk.ragged, source)
    found, walk = _with_joined(found, walk, joined)
    for rows, text in ((joined.torn, TORN), (joined.polar, POLAR)):
        if rows.size:
            named = name_some(found.keys(key, rows[:NAMED]), rows.size)
            notes.append(f"{number_of(rows.size, 'zone')} {text}: {named}")
    projection = None if same_crs(source, grid.crs) else Projection.between(source, grid)
    walk = with_far_rows(walk, grid if projection is None else None)
    walk, lost = with_rows_beyond_degrees(walk, source)
    verdict = judge_rows(found, walk, lost, repair=on_invalid == "repair")
    if on_invalid == "error":
        refuse_bad_rows(found, key, verdict)
    zones = _fine_zones(found, key, walk, verdict)
    if projection is not None:
        notes += projection.doubts
    zones = replace(
        zones, is_numbered=keyed.is_numbered, is_repaired=on_invalid == "repair", own=found.own,
        refused=found.refused, notes=(*notes, *said),
    )  # fmt: skip
    zones = _brought(zones, found, source, projection, on_invalid, joined.polar)
    log.info("%s: %d zones, %d rows skipped", found.label, zones.row.size, len(zones.skipped))
    return zones


def read_stable_zones(
    source: object,
    grid: Grid,
    *,
    digest: str,
    key: str | None = None,
    on_invalid: OnInvalid = "error",
    assume_crs: object = None,
    layer: str | None = None,
    kept: Kept | None = None,
) -> tuple[Zones, str]:
    """Zones, and the digest of the very bytes that they were read from.

    Parameters
    ----------
    digest : str
        `source_digest` of the source, taken before. A file that has another one after it was read
        was replaced meanwhile, and is read again.
    source, grid, key, on_invalid, assume_crs, layer, kept
        As `read_zones` takes them.

    Raises
    ------
    ZonesError
        As `read_zones`, and for a source that keeps changing.
    """
    for _ in range(READINGS):
        before = digest
        zones = read_zones(
            source, grid, key=key, on_invalid=on_invalid, assume_crs=assume_crs, layer=layer,
            kept=kept,
        )  # fmt: skip
        digest = file_digest(source)
        if digest in {before, ""}:
            return zones, before
        log.info("%s changed while it was read", source)
    raise ZonesError(
        f"{source} changed while it was read, {READINGS} times in a row: "
        "build again when nobody writes to it"
    )


def zone_rings(zones: Zones, grid: Grid, *, rule: int = BURN_RULE) -> Rings:
    """Rings of zones in global pixel coordinates of a grid; empty rings and parts are left out."""
    return pixel_rings(zones.ragged, grid, rule)


def _with_joined(found: Source, walk: Walk, joined: Joined) -> tuple[Source, Walk]:
    """The source with parts in one piece over the seam of the globe, and its walk."""
    made = np.union1d(joined.torn, joined.polar)
    if not made.size:
        return found, walk
    is_made = np.zeros(len(found.wkb), np.bool_)
    is_made[made] = True
    new = multipolygon_wkb(taken(joined.ragged, is_made), made.size)
    found = replace(found, wkb=pc.replace_with_mask(found.wkb, is_made, new), geometry=None)
    return found, walk_wkb(found.wkb)


def _fine_zones(found: Source, key: str, walk: Walk, verdict: Verdict) -> Zones:
    """The rows that are burned, still in the CRS of the source."""
    row, skipped = np.flatnonzero(verdict.code == FINE), skipped_rows(found, key, verdict)
    if row.size == 0:
        raise _nothing_left(found, skipped)
    table, wkb, ragged = found.table, verdict.wkb, walk.ragged
    if row.size < table.num_rows:
        table, wkb = table.take(pa.array(row)), wkb.take(pa.array(row))
    if not verdict.is_as_walked:
        # Rows that are left out or were repaired: their rings went into the first walk.
        ragged = walk_wkb(wkb).ragged
    invalid = found.keys(key, verdict.crossed)
    return Zones(table, key, ragged, wkb, row, found.table, skipped, invalid)


def _nothing_left(found: Source, skipped: Sequence[SkippedRow]) -> ZonesError:
    reasons = [f"row {one.row}: {one.reason}" for one in skipped]
    return ZonesError(
        f"{found.label}: 0 zones left, all {len(skipped)} rows were skipped: {name_some(reasons)}"
    )


def _brought(
    zones: Zones,
    found: Source,
    source: CRS,
    projection: Projection | None,
    on_invalid: OnInvalid,
    polar: Ints,
) -> Zones:
    """The same zones in the CRS of the grid, without those that have no place there.

    `polar` are rows that are wide because they go around a pole.
    """
    ragged, cut = without_overshoot(zones.ragged, source)
    wide = wide_rows(ragged, source)
    wide = wide[~np.isin(zones.row[wide], polar)]
    n, dropped = zones.row.size, np.zeros(0, np.int64)
    if projection is not None:
        ragged, failed, deviation = _projected(ragged, projection)
        if failed:
            zones, ragged, dropped = _without(failed, zones, ragged, found, on_invalid)
        ragged = without_loops(ragged)
        zones = replace(zones, wkb=multipolygon_wkb(ragged, zones.row.size))
        measured = f"edges measured {deviation:.2g} pixel off their curves at most"
        zones = replace(zones, operation=f"{projection.operation}; {measured}")
    # Positions among all that were read, some of which may just have been dropped.
    kept = np.delete(np.arange(n), dropped)
    cut, wide = (np.searchsorted(kept, np.setdiff1d(rows, dropped)) for rows in (cut, wide))
    keys = [tuple(zones.keys().take(pa.array(rows)).to_pylist()) for rows in (cut, wide)]
    return replace(zones, ragged=ragged, cut=keys[0], wide=keys[1])


def _projected(ragged: Ragged, projection: Projection) -> tuple[Ragged, dict[int, str], float]:
    """Rings in the CRS of the grid, those without a place there and why, and how exact edges are.

    They are in one piece over the seam of the globe, and cut where the CRS is torn.
    """
    if projection.tear is not None:
        ragged = cut_along(ragged, projection.tear)
    xy, offsets = ragged.xy, ragged.ring_offsets
    brought = reproject_rings(xy, offsets, projection)
    ragged = replace(ragged, xy=brought.xy, ring_offsets=brought.ring_offsets)
    failed = brought.failed
    if projection.turn:
        poles = projection.poles()

        def pole_of(number: int) -> float | None:
            ring = xy[offsets[number] : offsets[number + 1]]
            held = [latitude for latitude, place in poles if holds(ring, place)]
            return held[0] if len(held) == 1 else None

        ragged, more = followed_over_the_seam(ragged, [*failed], pole_of)
        failed = more | failed
    return ragged, failed, brought.deviation


def _without(
    failed: Mapping[int, str],
    zones: Zones,
    ragged: Ragged,
    found: Source,
    on_invalid: OnInvalid,
) -> tuple[Zones, Ragged, Ints]:
    """Zones and rings without those that have a failed ring, and positions of what is left out."""
    at: dict[int, str] = {}
    for ring, text in failed.items():
        part = int(np.searchsorted(ragged.part_offsets, ring, side="right")) - 1
        at.setdefault(int(ragged.part_zone[part]), text)
    said = {int(zones.row[position]): text for position, text in at.items()}
    if on_invalid == "error":
        refuse_lost_rows(found, zones.key, said)
    rows = np.array(sorted(said))
    keys = found.keys(zones.key, rows)
    skipped = [
        SkippedRow(row, key, said[row]) for row, key in zip(rows.tolist(), keys, strict=True)
    ]
    skipped = sorted((*zones.skipped, *skipped), key=lambda one: one.row)
    keep = np.ones(zones.row.size, np.bool_)
    keep[list(at)] = False
    if not keep.any():
        raise _nothing_left(found, skipped)
    table, row, gone = zones.table.filter(pa.array(keep)), zones.row[keep], set(keys)
    invalid = tuple(key for key in zones.invalid if key not in gone)
    zones = replace(zones, table=table, row=row, skipped=tuple(skipped), invalid=invalid)
    return zones, taken(ragged, keep), np.flatnonzero(~keep)
