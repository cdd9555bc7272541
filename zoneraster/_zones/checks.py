"""What is wrong with a row: judged once, then refused, skipped or repaired."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import shapely
from pyproj import CRS

from zoneraster._grid import MAX_PIXEL_COORDINATE, Grid, is_in_degrees
from zoneraster._zones.simple import is_surely_simple
from zoneraster._zones.sources import Source
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
    Walk,
    multipolygon_wkb,
    objects_of,
    walk_wkb,
)
from zoneraster.arrays import Bools, Floats, Ints, Objects
from zoneraster.errors import NAMED, ZonesError, name_some

# Of rows that the walk called fine: a repair left no area, a vertex is too far away, or has no
# place at all, which is told for each such row.
GONE, FAR, PLACE = -7, -8, -9
REASONS = {
    NULL: "geometry is null",
    EMPTY: "geometry is empty",
    BROKEN: "geometry is not readable WKB",
    SHORT_RING: "a ring has only {detail} vertices",
    NOT_FINITE: "vertex {detail} (counted from 0) is not finite",
    SRID: "geometry is EWKB with an SRID, not plain WKB",
    FAR: "vertex {detail} (counted from 0) is too far away: beyond 2**40 pixels or CRS units",
    GONE: "nothing is left of it after the repair",
}
TYPE_NAMES = (
    "Geometry", "Point", "LineString", "Polygon", "MultiPoint", "MultiLineString", "MultiPolygon",
    "GeometryCollection", "CircularString", "CompoundCurve", "CurvePolygon", "MultiCurve",
    "MultiSurface", "Curve", "Surface", "PolyhedralSurface", "TIN", "Triangle",
)  # fmt: skip
# Degrees beyond a pole or the seam that are cut: float32 has 90.0000076. What is less than noise
# is not worth a word.
OVERSHOOT, NOISE = 1e-4, 1e-9
MAX_LONGITUDE = 540 + OVERSHOOT
# Objects of so many rows are made while those before them are checked.
ROWS_AT_ONCE = 4_096


SKIP_CURE = "on_invalid='skip' leaves these rows out and lists them"


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
class Verdict:
    """What became of the rows of a source.

    Parameters
    ----------
    code, detail : (n,) int64
        As the walk found them, and `GONE`; `FINE` rows are burned.
    wkb : (n,) pyarrow.LargeBinaryArray
        Of the rows that are fine: 2-D, little endian, with closed rings.
    crossed : (m,) int64
        Rows whose rings cross themselves or each other.
    is_as_walked : bool
        Every row is burned with the rings that the walk found.
    said : mapping of int to str
        What is wrong with the rows whose code is `PLACE`.
    """

    code: Ints
    detail: Ints
    wkb: pa.LargeBinaryArray
    crossed: Ints
    is_as_walked: bool
    said: Mapping[int, str]


def far_vertices(ragged: Ragged, grid: Grid | None) -> Ints:
    """Vertices that lie too far away to be burned, ascending.

    Beyond 2**40 pixels float64 no longer tells where an edge crosses a row, and further out the
    arithmetic overflows; beyond 2**40 degrees or metres there is nothing that could be brought to
    another CRS. Fill values such as 1e38 or 1.8e308 are found here.

    Parameters
    ----------
    ragged : Ragged
    grid : Grid or None
        That whose CRS the vertices are in; None where it has another one.
    """

    def is_far(x: Floats, y: Floats) -> Bools:
        with np.errstate(over="ignore", invalid="ignore"):
            u, v = (x, y) if grid is None else grid.to_pixels(x, y)
            near: Bools = np.maximum(np.abs(u), np.abs(v)) <= MAX_PIXEL_COORDINATE
        return ~near

    xy = ragged.xy
    if not xy.size:
        return np.zeros(0, np.int64)
    if not is_far(*np.stack(ragged.bounds, axis=1)).any():
        return np.zeros(0, np.int64)
    return np.flatnonzero(is_far(xy[:, 0], xy[:, 1]))


def with_far_rows(walk: Walk, grid: Grid | None) -> Walk:
    """The same walk, in which rows with a vertex that is too far away are not fine."""
    ragged = walk.ragged
    far = far_vertices(ragged, grid)
    if not far.size:
        return walk
    rows, at = np.unique(_row_of(ragged, far), return_index=True)
    first_part = np.searchsorted(ragged.part_zone, rows)
    code, detail = walk.code.copy(), walk.detail.copy()
    code[rows] = FAR
    detail[rows] = far[at] - ragged.ring_offsets[ragged.part_offsets[first_part]]
    return replace(walk, code=code, detail=detail)


def without_short_rings(found: Source, walk: Walk) -> tuple[Source, Walk, Ints]:
    """The source without rings of less than three vertices, its walk, and the rows that had some.

    A row of which nothing is left stays as it is.
    """
    rows = np.flatnonzero(walk.code == SHORT_RING)
    if not rows.size:
        return found, walk, rows
    rest = walk_wkb(found.wkb.take(pa.array(rows)), drop_short=True)
    is_left = rest.code == FINE
    new = multipolygon_wkb(rest.ragged, rows.size).filter(pa.array(is_left))
    mask = np.zeros(len(found.wkb), np.bool_)
    mask[rows[is_left]] = True
    found = replace(found, wkb=pc.replace_with_mask(found.wkb, mask, new), geometry=None)
    return found, walk_wkb(found.wkb), rows[is_left]


def judge_rows(found: Source, walk: Walk, said: Mapping[int, str], *, repair: bool) -> Verdict:
    """Ask GEOS about the rows that the walk calls fine, and repair crossed rings where wanted.

    The only place where rows are objects, a block at a time: GEOS parses the next rows while
    threads check the last ones. It is not asked about rows that are simple beyond doubt.
    """
    code = walk.code.copy()
    is_asked = (code == FINE) & ~(walk.is_plain & is_surely_simple(walk.ragged, code.size))
    rewritten: dict[int, bytes] = {}
    pending: list[Future[tuple[Ints, Objects]]] = []
    with ThreadPoolExecutor(2) as threads:
        for start in range(0, len(code), ROWS_AT_ONCE):
            rows, geometry = _objects_asked(found, is_asked, start)
            is_missing = shapely.is_missing(geometry)
            code[rows[is_missing]] = BROKEN
            rows, geometry = rows[~is_missing], _flat(geometry[~is_missing])
            odd = ~walk.is_plain[rows]
            rewritten |= zip(rows[odd].tolist(), shapely.to_wkb(geometry[odd]), strict=True)
            pending.append(threads.submit(_crossed, rows, geometry))
    crossed = np.concatenate([one.result()[0] for one in pending])
    if repair and crossed.size:
        repaired = _repaired(np.concatenate([one.result()[1] for one in pending]))
        is_gone = shapely.is_missing(repaired)
        code[crossed[is_gone]] = GONE
        rows, geometry = crossed[~is_gone], repaired[~is_gone]
        rewritten |= zip(rows.tolist(), shapely.to_wkb(geometry), strict=True)
    is_as_walked = bool((code == FINE).all()) and not (repair and crossed.size)
    wkb = _replaced(found.wkb, rewritten)
    return Verdict(code, walk.detail, wkb, crossed, is_as_walked, said)


def _objects_asked(found: Source, is_asked: Bools, start: int) -> tuple[Ints, Objects]:
    """Rows of a block that GEOS is asked about, and their objects; None where it disagrees."""
    rows = start + np.flatnonzero(is_asked[start : start + ROWS_AT_ONCE])
    if found.geometry is not None:
        return rows, found.geometry[rows]
    return rows, objects_of(found.wkb.take(pa.array(rows)))


def _flat(geometry: Objects) -> Objects:
    """Objects without heights and measures."""
    is_deep = shapely.has_z(geometry) | shapely.has_m(geometry)
    if is_deep.any():
        geometry = geometry.copy()
        geometry[is_deep] = shapely.force_2d(geometry[is_deep])
    return geometry


def _crossed(rows: Ints, geometry: Objects) -> tuple[Ints, Objects]:
    """Those whose rings cross themselves or each other; shapely drops the GIL meanwhile."""
    is_crossed = ~shapely.is_valid(geometry)
    return rows[is_crossed], geometry[is_crossed]


def _repaired(geometry: Objects) -> Objects:
    """Valid polygons that cover what the rings enclose; None where no area is left."""
    repaired = shapely.make_valid(geometry, method="structure", keep_collapsed=False)
    parts, owner = shapely.get_parts(repaired, return_index=True)
    keep = (shapely.get_type_id(parts) == POLYGON) & ~shapely.is_empty(parts)
    out = np.full(geometry.size, None, dtype=object)
    shapely.multipolygons(parts[keep], indices=owner[keep], out=out)
    return out


def _replaced(wkb: pa.LargeBinaryArray, rewritten: Mapping[int, bytes]) -> pa.LargeBinaryArray:
    """WKB of all rows, some of it written anew."""
    if not rewritten:
        return wkb
    rows = sorted(rewritten)
    mask = np.zeros(len(wkb), np.bool_)
    mask[rows] = True
    new = pa.array([rewritten[row] for row in rows], pa.large_binary())
    return pc.replace_with_mask(wkb, mask, new)


def refuse_bad_rows(found: Source, key: str, verdict: Verdict) -> None:
    """Raise when any row cannot be burned.

    Raises
    ------
    ZonesError
        With the first rows, how many there are, and the cures.
    """
    bad = np.flatnonzero(verdict.code != FINE)
    if not bad.size:
        return
    shown = [f"{found.zone(key, row)}: {_reason(verdict, row)}" for row in bad[:NAMED].tolist()]
    codes = set(verdict.code[bad].tolist())
    cures = [SKIP_CURE]
    if max(codes) > 0:
        cures.append(
            "polygons come out of collections with GeoDataFrame.explode, out of curves with "
            "ogr2ogr -nlt CONVERT_TO_LINEAR"
        )
    if NULL in codes and found.label.lower().endswith(".shp"):
        cures.append("a Shapefile with null geometries may be damaged: compare with its source")
    raise _refusal(found, shown, bad.size, cures)


def refuse_lost_rows(found: Source, key: str, said: Mapping[int, str]) -> None:
    """Raise for rows that have no place on the grid.

    Raises
    ------
    ZonesError
        As `refuse_bad_rows`.
    """
    shown = [f"{found.zone(key, row)}: {said[row]}" for row in sorted(said)[:NAMED]]
    raise _refusal(found, shown, len(said), [SKIP_CURE])


def _refusal(found: Source, shown: Sequence[str], n: int, cures: Sequence[str]) -> ZonesError:
    return ZonesError(
        f"{found.label}: cannot burn {n} of {len(found.wkb)} rows: "
        f"{name_some(shown, n)}; {'; '.join(cures)}"
    )


def skipped_rows(found: Source, key: str, verdict: Verdict) -> tuple[SkippedRow, ...]:
    """Rows that are not burned, and why."""
    bad = np.flatnonzero(verdict.code != FINE)
    reasons = [_reason(verdict, row) for row in bad.tolist()]
    named = zip(bad.tolist(), found.keys(key, bad), reasons, strict=True)
    return tuple(SkippedRow(*one) for one in named)


def _reason(verdict: Verdict, row: int) -> str:
    code, detail = int(verdict.code[row]), int(verdict.detail[row])
    if code == PLACE:
        return verdict.said[row]
    if code > 0:
        name = TYPE_NAMES[code] if code < len(TYPE_NAMES) else f"geometry of WKB type {code}"
        return f"{name}, not Polygon or MultiPolygon"
    return REASONS[code].format(detail=detail)


def with_rows_beyond_degrees(walk: Walk, source: CRS) -> tuple[Walk, dict[int, str]]:
    """The same walk, in which rows with a place that no longitude or latitude has are not fine.

    Returns
    -------
    walk : Walk
    said : dict of int to str
        What is wrong with these rows.
    """
    said: dict[int, str] = {}
    if not is_in_degrees(source) or not walk.ragged.xy.size:
        return walk, said
    low, high = walk.ragged.bounds
    checks = (
        (1, "y", 90 + OVERSHOOT, "-90..90: are the axes swapped, or is it another CRS?"),
        (0, "x", MAX_LONGITUDE, "-540..540: are these degrees, or is it another CRS?"),
    )
    for axis, letter, limit, rest in checks:
        if max(-low[axis], high[axis]) <= limit:
            continue
        far = np.flatnonzero(np.abs(walk.ragged.xy[:, axis]) > limit)
        rows, at = np.unique(_row_of(walk.ragged, far), return_index=True)
        for row, vertex in zip(rows.tolist(), far[at].tolist(), strict=True):
            value = walk.ragged.xy[vertex, axis]
            text = f"{letter} = {value:.10g} in {source.name} lies outside of {rest}"
            said.setdefault(row, text)
    if not said:
        return walk, said
    # Rows that are not fine for another reason keep it.
    said = {row: text for row, text in said.items() if walk.code[row] == FINE}
    code = walk.code.copy()
    code[list(said)] = PLACE
    return replace(walk, code=code), said


def _row_of(ragged: Ragged, vertices: Ints) -> Ints:
    """Rows that vertices belong to."""
    ring = np.searchsorted(ragged.ring_offsets, vertices, side="right") - 1
    rows: Ints = ragged.part_zone[np.searchsorted(ragged.part_offsets, ring, side="right") - 1]
    return rows


def without_overshoot(ragged: Ragged, source: CRS) -> tuple[Ragged, Ints]:
    """Rings cut at the poles and at the seam, where they are beyond them by `OVERSHOOT` at most.

    Longitudes above 180 are beyond only where no zone goes on: others are of 0..360 degrees.

    Returns
    -------
    ragged : Ragged
    rows : (n,) int64
        Those that were cut by more than the noise of their coordinates.
    """
    if not is_in_degrees(source) or not ragged.xy.size:
        return ragged, np.zeros(0, np.int64)
    (west, south), (east, north) = ragged.bounds
    if west >= -180 and east <= 180 and south >= -90 and north <= 90:
        return ragged, np.zeros(0, np.int64)
    x, y = ragged.xy[:, 0], ragged.xy[:, 1]
    cut_x, cut_y = x, np.clip(y, -90, 90)
    for bound in (180.0, 360.0, 540.0):
        if bound < east <= bound + OVERSHOOT:
            cut_x = np.minimum(cut_x, bound)
        if -bound > west >= -bound - OVERSHOOT:
            cut_x = np.maximum(cut_x, -bound)
    moved = np.maximum(np.abs(cut_x - x), np.abs(cut_y - y))
    if not moved.any():
        return ragged, np.zeros(0, np.int64)
    rows = np.unique(_row_of(ragged, np.flatnonzero(moved > NOISE)))
    return replace(ragged, xy=np.stack([cut_x, cut_y], axis=1)), rows


def wide_rows(ragged: Ragged, source: CRS) -> Ints:
    """Rows with a part wider than half the globe, which may cross the antimeridian uncut."""
    if not source.is_geographic or not ragged.part_zone.size:
        return np.zeros(0, np.int64)
    half = np.pi / source.axis_info[0].unit_conversion_factor
    first = ragged.ring_offsets[ragged.part_offsets[:-1]]
    x = ragged.xy[:, 0]
    width = np.maximum.reduceat(x, first) - np.minimum.reduceat(x, first)
    return np.unique(ragged.part_zone[width > half])
