"""Zones: polygons and their keys, read, checked and brought to the grid.

Keys stay exact (nothing passes through float64 on the way), coordinates stay exact where the
reference systems agree, and no row is dropped without being named.
"""

from __future__ import annotations

import hashlib
import json
import logging
import warnings
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import shapely
from pyproj import CRS

from zoneraster._grid import Grid
from zoneraster._zones.keys import SHOWN, list_some, with_key
from zoneraster._zones.reproject import Projection, reproject_rings
from zoneraster._zones.sources import Source, open_source, parsed_crs
from zoneraster._zones.wkb import (
    BROKEN,
    EMPTY,
    FINE,
    NOT_FINITE,
    NULL,
    POLYGON,
    SHORT_RING,
    SRID,
    Ragged,
    ragged_of,
    survey_rows,
    wkb_of,
)
from zoneraster.arrays import Floats, Ints, Objects
from zoneraster.errors import ZonerasterWarning, ZonesError

log = logging.getLogger(__name__)

OnInvalid = Literal["error", "skip", "repair"]

ROWS_AT_ONCE = 16_384
MAX_LATITUDE = 90 + 1e-9
MAX_LONGITUDE = 540.0
REASONS = {
    NULL: "geometry is null",
    EMPTY: "geometry is empty",
    BROKEN: "geometry is not readable WKB",
    SHORT_RING: "a ring has only {detail} vertices",
    NOT_FINITE: "vertex {detail} (counted from 0) is not finite",
    SRID: "geometry is EWKB with an SRID, not plain WKB",
}
TYPE_NAMES = (
    "Geometry", "Point", "LineString", "Polygon", "MultiPoint", "MultiLineString", "MultiPolygon",
    "GeometryCollection", "CircularString", "CompoundCurve", "CurvePolygon", "MultiCurve",
    "MultiSurface", "Curve", "Surface", "PolyhedralSurface", "TIN", "Triangle",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class SkippedRow:
    """A row of the input that is not burned.

    Parameters
    ----------
    row : int
        0-based row number in the input.
    key : object
        The zone's key.
    reason : str
    """

    row: int
    key: object
    reason: str


@dataclass(frozen=True, slots=True, eq=False)
class Zones:
    """Zones that can be burned, in input order.

    Parameters
    ----------
    table : pyarrow.Table
        Attributes without geometry.
    key : str
        Name of the column that names the zones.
    geometry : (n,) object
        shapely Polygon or MultiPolygon, 2-D, in the CRS of the grid.
    row : (n,) int64
        0-based row numbers in the input.
    skipped : tuple of SkippedRow
    invalid : tuple
        Keys of the zones whose rings cross themselves or each other. They are burned even-odd; with
        ``on_invalid="repair"`` they were repaired first.
    digest : str
        Hash of what will be burned, keys and pixel coordinates.
    """

    table: pa.Table
    key: str
    geometry: Objects
    row: Ints
    skipped: tuple[SkippedRow, ...]
    invalid: tuple[object, ...]
    digest: str


@dataclass(frozen=True, slots=True, eq=False)
class Rings:
    """Closed rings of all parts, in global pixel coordinates.

    Parameters
    ----------
    u, v : (n_vertices,) float64, pixels east and south of the grid's north-western corner
    ring_offsets : (n_rings + 1,) int64, into the vertices
    part_offsets : (n_parts + 1,) int64, into the rings
    part_zone : (n_parts,) int64, position of the part's zone in `Zones`
    """

    u: Floats
    v: Floats
    ring_offsets: Ints
    part_offsets: Ints
    part_zone: Ints


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
        What to do with rows that are null, empty, not polygons, or not finite: raise, or leave them
        out and list them. "repair" also rebuilds rings that cross themselves; otherwise these are
        burned even-odd.
    assume_crs : anything that `pyproj.CRS.from_user_input` takes, optional
        CRS of a source that declares none.
    layer : str, optional
        Raster of a file with several.

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
        warnings.warn(
            f"{found.label} declares spherical edges: they are burned as straight lines in its CRS",
            ZonerasterWarning,
            stacklevel=2,
        )
    found, key = with_key(found, key)
    geometry, skipped = _checked(found, key, raising=on_invalid == "error")
    row = np.flatnonzero(~shapely.is_missing(geometry))
    crossed = row[~_is_valid(geometry[row])]
    invalid = _keys(found, key, crossed)
    wkb = found.wkb
    if on_invalid == "repair" and crossed.size:
        geometry[crossed] = _repaired(geometry[crossed])
        gone = crossed[shapely.is_missing(geometry[crossed])]
        reason = "nothing is left of it after the repair"
        skipped += _skipped(found, key, gone, [reason] * gone.size)
        wkb = wkb_of(geometry)
        row = np.setdiff1d(row, gone)
    if row.size == 0:
        raise ZonesError(f"{found.label}: 0 zones left, all {len(skipped)} rows were skipped")
    table, geometry = found.table, geometry[row]
    if row.size < table.num_rows:
        table, wkb = table.take(pa.array(row)), wkb.take(pa.array(row))
    geometry, ragged = _brought(found, key, row, geometry, ragged_of(wkb), grid, assume_crs)
    log.info("%s: %d zones, %d rows skipped", found.label, row.size, len(skipped))
    return Zones(
        table=table,
        key=key,
        geometry=geometry,
        row=row,
        skipped=tuple(sorted(skipped, key=lambda one: one.row)),
        invalid=invalid,
        digest=_digest(table[key], _pixel_rings(ragged, grid)),
    )


def zone_rings(zones: Zones, grid: Grid) -> Rings:
    """Rings of zones in global pixel coordinates of a grid; empty rings and parts are left out."""
    return _pixel_rings(ragged_of(wkb_of(zones.geometry)), grid)


def _keys(found: Source, key: str, rows: Ints) -> tuple[object, ...]:
    return tuple(found.table[key].take(pa.array(rows)).to_pylist())


# ---- rows ----------------------------------------------------------------------------------------


def _checked(found: Source, key: str, *, raising: bool) -> tuple[Objects, list[SkippedRow]]:
    """Geometry of every row, 2-D, None where it cannot be burned, and the list of these rows."""
    survey = survey_rows(found.wkb)
    fine = survey[:, 0] == FINE
    geometry = _parsed(found.wkb, fine) if found.geometry is None else found.geometry.copy()
    geometry[~fine] = None
    survey[fine & shapely.is_missing(geometry), 0] = BROKEN
    bad = np.flatnonzero(survey[:, 0] != FINE)
    if raising and bad.size:
        shown = [f"{found.zone(key, r)}: {_reason(*survey[r, :2])}" for r in bad[:SHOWN]]
        codes = set(survey[bad, 0].tolist())
        cures = ["on_invalid='skip' (--on-invalid skip) leaves these rows out and lists them"]
        if max(codes) > 0:
            cures.append(
                "polygons come out of collections with GeoDataFrame.explode, out of curves with "
                "ogr2ogr -nlt CONVERT_TO_LINEAR"
            )
        if NULL in codes and found.label.lower().endswith(".shp"):
            cures.append("a Shapefile with null geometries may be damaged: compare with its source")
        listing = list_some(shown, bad.size, len(fine))
        raise ZonesError(f"{found.label}: cannot burn {listing}; {'; '.join(cures)}")
    reasons = [_reason(*survey[r, :2]) for r in bad]
    deep = shapely.has_z(geometry) | shapely.has_m(geometry)
    geometry[deep] = shapely.force_2d(geometry[deep])
    return geometry, _skipped(found, key, bad, reasons)


def _skipped(found: Source, key: str, rows: Ints, reasons: list[str]) -> list[SkippedRow]:
    keys = _keys(found, key, rows)
    return [SkippedRow(*one) for one in zip(rows.tolist(), keys, reasons, strict=True)]


def _reason(code: int, detail: int) -> str:
    if code > 0:
        name = TYPE_NAMES[code] if code < len(TYPE_NAMES) else f"geometry of WKB type {code}"
        return f"{name}, not Polygon or MultiPolygon"
    return REASONS[code].format(detail=detail)


def _parsed(wkb: pa.LargeBinaryArray, fine: npt.NDArray[np.bool_]) -> Objects:
    """Geometry of the rows that are fine; None where GEOS disagrees. Open rings are closed."""
    geometry = np.full(len(wkb), None, dtype=object)
    for start in range(0, len(wkb), ROWS_AT_ONCE):
        rows = slice(start, start + ROWS_AT_ONCE)
        blobs = wkb.slice(start, ROWS_AT_ONCE).to_numpy(zero_copy_only=False)
        blobs[~fine[rows]] = None
        geometry[rows] = shapely.from_wkb(blobs, on_invalid="fix")
    return geometry


def _is_valid(geometry: Objects) -> npt.NDArray[np.bool_]:
    if geometry.size <= ROWS_AT_ONCE:
        return np.asarray(shapely.is_valid(geometry))
    blocks = np.array_split(geometry, geometry.size // ROWS_AT_ONCE * 4)
    with ThreadPoolExecutor(2) as threads:
        return np.concatenate(list(threads.map(shapely.is_valid, blocks)))


def _repaired(geometry: Objects) -> Objects:
    """Valid polygons that cover what the rings enclose; None where no area is left."""
    repaired = shapely.make_valid(geometry, method="structure", keep_collapsed=False)
    parts, owner = shapely.get_parts(repaired, return_index=True)
    keep = (shapely.get_type_id(parts) == POLYGON) & ~shapely.is_empty(parts)
    out = np.full(geometry.size, None, dtype=object)
    shapely.multipolygons(parts[keep], indices=owner[keep], out=out)
    return out


def _brought(
    found: Source,
    key: str,
    row: Ints,
    geometry: Objects,
    ragged: Ragged,
    grid: Grid,
    assume_crs: object,
) -> tuple[Objects, Ragged]:
    """Bring geometry to the CRS of the grid."""
    source = _source_crs(found, assume_crs)

    def name(ring: int) -> str:
        part = np.searchsorted(ragged.part_offsets, ring, side="right") - 1
        return f"{found.label}: {found.zone(key, int(row[ragged.part_zone[part]]))}"

    _check_degrees(source, ragged, name)
    if source.equals(grid.crs, ignore_axis_order=True):
        return geometry, ragged
    projection = Projection.between(source, grid)
    xy, ring_offsets = reproject_rings(ragged.xy, ragged.ring_offsets, projection, ring_name=name)
    ragged = replace(ragged, xy=xy, ring_offsets=ring_offsets)
    zone_offsets = np.searchsorted(ragged.part_zone, np.arange(row.size + 1))
    offsets = (ring_offsets, ragged.part_offsets, zone_offsets)
    return shapely.from_ragged_array(shapely.GeometryType.MULTIPOLYGON, xy, offsets), ragged


def _source_crs(found: Source, assume_crs: object) -> CRS:
    assumed = parsed_crs(assume_crs, "assume_crs")
    crs = found.crs or assumed
    if crs is None:
        raise ZonesError(
            f"{found.label} declares no CRS: say which it is with assume_crs= (--assume-crs), "
            "e.g. 'EPSG:4326'"
        )
    if assumed is not None and not crs.equals(assumed, ignore_axis_order=True):
        raise ZonesError(
            f"{found.label} declares the CRS {crs.name}, not {assumed.name}: leave out "
            "assume_crs, or correct the CRS in the file"
        )
    return crs


def _check_degrees(source: CRS, ragged: Ragged, name: Callable[[int], str]) -> None:
    """Refuse coordinates that no longitude and latitude can have."""
    if not source.is_geographic or source.axis_info[0].unit_name != "degree":
        return
    checks = (
        (1, "y", MAX_LATITUDE, "-90..90: are the axes swapped, or is it another CRS?"),
        (0, "x", MAX_LONGITUDE, "-540..540: are these degrees, or is it another CRS?"),
    )
    for axis, letter, limit, rest in checks:
        far = np.flatnonzero(np.abs(ragged.xy[:, axis]) > limit)
        if far.size:
            ring = int(np.searchsorted(ragged.ring_offsets, far[0], side="right")) - 1
            raise ZonesError(
                f"{name(ring)}: {letter} = {ragged.xy[far[0], axis]:.10g} ({far.size} such "
                f"vertices in all) in {source.name} lies outside of {rest}"
            )


def _digest(keys: pa.ChunkedArray, rings: Rings) -> str:
    found = hashlib.blake2b(json.dumps(keys.to_pylist()).encode(), digest_size=16)
    for numbers in (rings.u, rings.v, rings.ring_offsets, rings.part_offsets, rings.part_zone):
        found.update(np.ascontiguousarray(numbers).data)
    return found.hexdigest()


# ---- well-known binary ---------------------------------------------------------------------------
# GEOS recurses into collections without a limit and can be crashed by a nested one. So it is given
# only what has been walked through here, and what has been walked through has its vertices as well.


def _pixel_rings(ragged: Ragged, grid: Grid) -> Rings:
    u, v = grid.to_pixels(ragged.xy[:, 0], ragged.xy[:, 1])
    return Rings(u, v, ragged.ring_offsets, ragged.part_offsets, ragged.part_zone)
