"""Zones: polygons and their keys, read, checked and brought to the grid.

Keys stay exact (nothing passes through float64 on the way), coordinates stay exact where the
reference systems agree, and no row is dropped without being named.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
import pyarrow as pa
from pyproj import CRS

from zoneraster._burn import BURN_RULE
from zoneraster._grid import Grid, same_crs
from zoneraster._zones.checks import (
    SkippedRow,
    Verdict,
    check_degrees,
    far_vertices,
    judge_rows,
    refuse_bad_rows,
    skipped_rows,
    with_far_rows,
)
from zoneraster._zones.keys import with_key
from zoneraster._zones.reproject import Projection, reproject_ragged
from zoneraster._zones.rings import Rings, pixel_rings
from zoneraster._zones.sources import Source, crs_of, file_digest, open_source
from zoneraster._zones.wkb import FINE, Ragged, Walk, multipolygon_wkb, walk_wkb
from zoneraster.arrays import Ints
from zoneraster.errors import ZonesError, warn

log = logging.getLogger(__name__)

OnInvalid = Literal["error", "skip", "repair"]

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
    skipped : tuple of SkippedRow
    invalid : tuple
        Keys of the zones whose rings cross themselves or each other. They are burned even-odd; with
        ``on_invalid="repair"`` they were repaired first.
    """

    table: pa.Table
    key: str
    ragged: Ragged
    wkb: pa.LargeBinaryArray
    row: Ints
    skipped: tuple[SkippedRow, ...]
    invalid: tuple[object, ...]

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
) -> Zones:
    """Read zones, check every row and bring them to the CRS of a grid.

    Parameters
    ----------
    source : path, URL or frame
        GeoParquet (also by URL, such as ``s3://bucket/zones.parquet``), GeoPackage, Shapefile,
        FlatGeobuf or GeoJSON; a GeoDataFrame, or anything whose ``compute()`` or ``to_geopandas()``
        gives one. Columns with further geometries or boxes of them are left out.
    grid : Grid
    key : str, optional
        Column that names the zones: unique whole numbers or text, without gaps. Default: `zone_id`
        when there is such a column, else a new column "row" with the row numbers, counted from 1.
    on_invalid : {"error", "skip", "repair"}
        What to do with rows that are null, empty, not polygons, not finite, or more than 2**40
        pixels away: raise, or leave them out and list them. "repair" also rebuilds rings that cross
        themselves; otherwise these are burned even-odd.
    assume_crs : anything that `pyproj.CRS.from_user_input` takes, optional
        CRS of a source that declares none.
    layer : str, optional
        Layer of a file with several.

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
    found = open_source(source, layer)
    if len(found.wkb) == 0:
        raise ZonesError(f"{found.label}: 0 zones; give a file or layer with at least one polygon")
    if found.is_spherical:
        warn(
            f"{found.label} declares spherical edges: they are burned as straight lines in its CRS"
        )
    found, key = with_key(found, key)
    walk, source = walk_wkb(found.wkb), crs_of(found, assume_crs)
    projection = None if same_crs(source, grid.crs) else Projection.between(source, grid)
    walk = with_far_rows(walk, grid if projection is None else None)
    verdict = judge_rows(found, walk, repair=on_invalid == "repair")
    if on_invalid == "error":
        refuse_bad_rows(found, key, verdict)
    zones = _fine_zones(found, key, walk, verdict)
    log.info("%s: %d zones, %d rows skipped", found.label, zones.row.size, len(zones.skipped))
    return _brought(zones, found, source, grid, projection)


def read_stable_zones(
    source: object,
    grid: Grid,
    *,
    digest: str,
    key: str | None = None,
    on_invalid: OnInvalid = "error",
    assume_crs: object = None,
    layer: str | None = None,
) -> tuple[Zones, str]:
    """Zones, and the digest of the very bytes that they were read from.

    Parameters
    ----------
    digest : str
        `source_digest` of the source, taken before. A file that has another one after it was read
        was replaced meanwhile, and is read again.
    source, grid, key, on_invalid, assume_crs, layer
        As `read_zones` takes them.

    Raises
    ------
    ZonesError
        As `read_zones`, and for a source that keeps changing.
    """
    for _ in range(READINGS):
        before = digest
        zones = read_zones(
            source, grid, key=key, on_invalid=on_invalid, assume_crs=assume_crs, layer=layer
        )
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


def _fine_zones(found: Source, key: str, walk: Walk, verdict: Verdict) -> Zones:
    """The rows that are burned, still in the CRS of the source."""
    row, skipped = np.flatnonzero(verdict.code == FINE), skipped_rows(found, key, verdict)
    if row.size == 0:
        raise ZonesError(f"{found.label}: 0 zones left, all {len(skipped)} rows were skipped")
    table, wkb, ragged = found.table, verdict.wkb, walk.ragged
    if row.size < table.num_rows:
        table, wkb = table.take(pa.array(row)), wkb.take(pa.array(row))
    if not verdict.is_as_walked:
        # Rows that are left out or were repaired: their rings went into the first walk.
        ragged = walk_wkb(wkb).ragged
    invalid = found.keys(key, verdict.crossed)
    return Zones(table, key, ragged, wkb, row, skipped, invalid)


def _brought(
    zones: Zones, found: Source, source: CRS, grid: Grid, projection: Projection | None
) -> Zones:
    """The same zones in the CRS of the grid."""
    ragged = zones.ragged

    def name(ring: int) -> str:
        part = np.searchsorted(ragged.part_offsets, ring, side="right") - 1
        return f"{found.label}: {found.zone(zones.key, int(zones.row[ragged.part_zone[part]]))}"

    check_degrees(source, ragged, name)
    if projection is None:
        return zones
    brought = reproject_ragged(ragged, projection, ring_name=name)
    far = far_vertices(brought.xy, grid)
    if far.size:
        ring = int(np.searchsorted(brought.ring_offsets, far[0], side="right")) - 1
        x, y = brought.xy[far[0]]
        raise ZonesError(
            f"{name(ring)}: vertex ({x:.10g}, {y:.10g}) of the grid's CRS lies more than 2**40 "
            f"pixels away ({far.size} such vertices in all): cut the zones to the area of that CRS"
        )
    return replace(zones, ragged=brought, wkb=multipolygon_wkb(brought, zones.row.size))
